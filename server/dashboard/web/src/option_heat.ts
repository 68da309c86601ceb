// Rows and columns of squares, each in a shade of how much there is of it: two
// words of by, or one over time. A matrix's squares are parts of its rows' wholes.
import { keyOf, nameOf, rest, suppressed, type Answer, type Row } from "./answer";
import { amount, moment, tick, whole } from "./format";
import { base, categoryAxis, clip, textWidth, tooltip } from "./layout";
import type { Option } from "./option";
import { scaleBar, shade } from "./scale";
import type { Size, Spec } from "./spec";
import { mix, type Theme } from "./theme";

interface Cell {
  row: number;
  column: number;
  count: number;
  /** Of the row's whole, if it has one: 0 … 1. */
  part?: number;
}

const mostRows = 24;
const mostColumns = 400;

interface Grid {
  rows: string[];
  columns: string[];
  cells: Cell[];
}

/** The two axes' keys of a row of the answer, undefined for what is in no square. */
function keys(a: Answer, spec: Spec, r: Row): [string, string] | undefined {
  const words = a.by.filter((b) => b !== "time");
  if (a.by.includes("time")) return [keyOf(a, r), String(Date.parse(r.time ?? a.from))];
  if (r.rest || r.suppressed) return undefined;
  const column = spec.columns ?? words[1] ?? "";
  const row = words.find((w) => w !== column) ?? "";
  return [r.group?.[row] ?? "", r.group?.[column] ?? ""];
}

function grid(a: Answer, spec: Spec): Grid {
  const sums = new Map<string, Map<string, number>>();
  const columnSums = new Map<string, number>();
  for (const r of a.rows) {
    const k = keys(a, spec, r);
    if (!k) continue;
    const row = sums.get(k[0]) ?? new Map<string, number>();
    sums.set(k[0], row);
    row.set(k[1], (row.get(k[1]) ?? 0) + r.count);
    if (k[1] !== spec.whole) columnSums.set(k[1], (columnSums.get(k[1]) ?? 0) + r.count);
  }
  const total = (key: string, row: Map<string, number>) =>
    spec.wholes?.[key] ?? (spec.whole ? (row.get(spec.whole) ?? 0) : [...row.values()].reduce((x, y) => x + y, 0));
  const place = (v: string) => {
    if (v === rest || v === suppressed) return 1e6;
    const i = spec.order.indexOf(v);
    return i < 0 ? 1e5 : i;
  };
  const overTime = a.by.includes("time");
  const parts = spec.whole !== undefined || spec.wholes !== undefined || spec.kind === "matrix";
  const rows = [...sums].sort(([x, xs], [y, ys]) => place(x) - place(y) || total(y, ys) - total(x, xs)).slice(0, mostRows);
  const columns = [...columnSums].sort(([x, n], [y, o]) => (overTime ? +x - +y : place(x) - place(y) || o - n)).map(([c]) => c).slice(-mostColumns);
  const cells = rows.flatMap(([r, sum], i) => columns.flatMap((c, j): Cell[] => {
    const count = sum.get(c);
    if (count === undefined) return [];
    return [{ row: i, column: j, count, ...(parts ? { part: Math.min(1, count / Math.max(total(r, sum), 1)) } : {}) }];
  }));
  return { rows: rows.map(([r]) => r), columns, cells };
}

export function heat(a: Answer, spec: Spec, theme: Theme, size: Size): Option {
  const g = grid(a, spec);
  const overTime = a.by.includes("time");
  const parts = g.cells.some((c) => c.part !== undefined);
  const values = g.cells.map((c) => c.count).filter((v) => v > 0);
  const most = Math.max(1, ...values);
  const least = Math.max(1, Math.min(most, ...values));
  const colour = (c: Cell) => (c.part === undefined ? shade(theme, c.count, least, most) : mix(theme.track, theme.accent, c.part));
  const text = (c: Cell) => (c.part === undefined ? amount(c.count, a.unit) : (100 * c.part).toFixed(c.part < 0.1 ? 1 : 0) + "\u202f%");
  const rowName = (r: string) => nameOf(r, a, spec);
  const columnName = (c: string) => (overTime ? moment(+c, a.grain) : (spec.names[c] ?? (c || "None")));
  const left = Math.min(190, size.width / 3);
  const frame = base([], [theme.accent], theme, size);
  const room = (size.width - left) / Math.max(g.columns.length, 1);
  return {
    ...frame,
    grid: { ...frame.grid, bottom: parts ? 8 : 38 },
    xAxis: categoryAxis(theme, g.columns, {
      axisLabel: overTime
        ? { color: theme.soft, fontSize: 11, hideOverlap: true, formatter: (v: string) => tick(+v) }
        : { color: theme.soft, fontSize: 11, interval: 0, rotate: g.columns.some((c) => textWidth(columnName(c), 11) > room) ? 40 : 0, formatter: (v: string) => clip(columnName(v), 110, 11) },
      axisLine: { show: false },
    }),
    yAxis: categoryAxis(theme, g.rows, {
      inverse: true,
      axisLabel: { color: theme.soft, fontSize: 11, interval: 0, formatter: (v: string) => clip(rowName(v), left - 20, 11) },
      axisLine: { show: false },
    }),
    ...(parts ? {} : { graphic: scaleBar(theme, size, least, most, (v) => amount(v, a.unit)) }),
    series: [{
      type: "custom",
      name: spec.title,
      encode: { x: 0, y: 1 },
      data: g.cells.map((c) => [c.column, c.row, c.part === undefined ? c.count : 100 * c.part]),
      renderItem: (p: { dataIndex: number }, api: { coord: (at: number[]) => number[]; size: (of: number[]) => number[] }) => {
        const c = g.cells[p.dataIndex]!;
        const [x, y] = api.coord([c.column, c.row]) as [number, number];
        const [w, h] = api.size([1, 1]) as [number, number];
        const gap = Math.min(2, w / 6);
        const label = text(c);
        const fits = h >= 15 && textWidth(label, 11) < w - 6;
        const dark = c.part === undefined ? Math.log(c.count / least + 1) > 0.6 * Math.log(most / least + 1) : c.part > 0.55;
        return {
          type: "rect",
          shape: { x: x - w / 2 + gap / 2, y: y - h / 2 + gap / 2, width: w - gap, height: h - gap, r: Math.min(3, w / 6) },
          style: { fill: colour(c) },
          ...(fits ? { textContent: { type: "text", style: { text: label, fill: dark ? theme.card : theme.ink, fontSize: 11, fontFamily: theme.font } }, textConfig: { position: "inside" } } : {}),
        };
      },
    }],
    tooltip: tooltip(theme, size, {
      trigger: "item",
      formatter: (p: { dataIndex: number }) => {
        const c = g.cells[p.dataIndex];
        return c ? `${rowName(g.rows[c.row] ?? "")}\n${columnName(g.columns[c.column] ?? "")}\n${whole(c.count)}${c.part === undefined ? "" : `  (${text(c)})`}` : "";
      },
    }),
  };
}
