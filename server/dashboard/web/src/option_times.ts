// Series over time: lines, stacked areas, parts of 100 % or of a whole.
import { overTime, type Answer, type Series } from "./answer";
import { amount, moment, whole } from "./format";
import { base, tooltip, valueAxis } from "./layout";
import type { Option } from "./option";
import { during, marks, timeAxis } from "./option_axis";
import type { Size, Spec } from "./spec";
import { palette, type Theme } from "./theme";

type Point = [time: number, value: number | null, count?: number];

/** What is drawn of an answer: series and, where they are parts, what of. */
interface Drawn {
  series: Series[];
  points: Point[][];
}

function drawn(a: Answer, spec: Spec): Drawn {
  const all = overTime(a, spec);
  const portion = spec.kind === "portion";
  const series = portion ? all.filter((s) => s.key !== spec.whole) : all;
  if (spec.kind !== "share" && !portion) return { series, points: series.map((s) => s.points) };
  const totals = new Map<number, number>();
  for (const s of all) {
    if (portion && s.key !== spec.whole) continue;
    for (const [t, v] of s.points) totals.set(t, (totals.get(t) ?? 0) + (v ?? 0));
  }
  return { series, points: series.map((s) => s.points.map(([t, v]): Point => (v === null ? [t, null] : [t, (100 * v) / Math.max(totals.get(t) ?? 0, 1), v]))) };
}

/** How ids of series begin that are no series of the answer's. */
export const aside = "aside ";

const lengths = { window: 300_000, hour: 3_600_000, day: 86_400_000 };

/** How long a period is: of windows, which are as long as the server says, the least that lies between two. */
function period(a: Answer, points: Point[][]): number {
  if (a.grain !== "window") return lengths[a.grain];
  const times = points[0]?.map(([t]) => t) ?? [];
  return Math.min(lengths.window, ...times.slice(1).map((t, i) => t - times[i]!));
}

/**
 * The time before, shifted to this one's place, as dashed lines: of lines one each,
 * of areas their sum, of parts of 100 % their upper edges.
 */
function earlier(a: Answer, spec: Spec, now: Drawn, colours: string[], theme: Theme): object[] {
  const before = a.before ?? spec.before;
  if (!before || before.rows.length === 0) return [];
  const shift = Date.parse(a.from) - Date.parse(before.from);
  const then = drawn(before, spec);
  let n = 0;
  const dashed = (name: string, colour: string, data: Point[]) => ({
    type: "line", id: `${aside}before ${n++}`, name, data: data.map(([t, v]) => [t + shift, v]), symbol: "none", silent: true, z: 4,
    lineStyle: { width: 1.5, type: [5, 4], color: colour, opacity: 0.85 }, itemStyle: { color: colour },
    emphasis: { disabled: true }, tooltip: { show: false },
  });
  if (spec.kind === "line" || spec.kind === "portion") {
    return then.series.flatMap((s, i) => {
      const at = now.series.findIndex((n) => n.key === s.key);
      return at < 0 && now.series.length > 0 ? [] : [dashed(`${s.name}, before`, colours[at] ?? theme.soft, then.points[i]!)];
    });
  }
  const edges = new Map<number, number | null>(); // null where lines break off
  const lines: object[] = [];
  // Edges are stacked in the order of what is drawn now, so that they can be compared.
  const order = [...now.series.map((s) => then.series.findIndex((t) => t.key === s.key)), ...then.series.map((_, i) => i)].filter((i, n, all) => i >= 0 && all.indexOf(i) === n);
  order.forEach((i, place) => {
    for (const [t, v] of then.points[i]!) {
      const sum = edges.get(t);
      edges.set(t, v === null || sum === null ? null : (sum ?? 0) + v);
    }
    const last = place === order.length - 1;
    if (spec.kind === "share" ? !last : last) {
      const data = [...edges].sort(([x], [y]) => x - y).map(([t, v]): Point => [t, v]);
      lines.push(dashed("Before", theme.ink, data));
    }
  });
  return lines;
}

/** The intervals that counts lie in, as a shade around each line. */
function bands(a: Answer, spec: Spec, now: Drawn, colours: string[]): object[] {
  if (!spec.band || spec.kind !== "line") return [];
  const words = a.by.filter((b) => b !== "time");
  return now.series.flatMap((s, i) => {
    const at = a.rows.flatMap((r) => r.low === undefined || r.high === undefined || words.map((w) => r.group?.[w] ?? "").join(" ") !== s.key
      ? [] : [[Date.parse(r.time ?? a.from), r.low, r.high] as [number, number, number]]);
    // A shade ends where its line does.
    const holes = s.points.flatMap(([t, v]) => (v === null ? [t] : []));
    const runs = new Map<number, typeof at>();
    for (const p of at.sort((x, y) => x[0] - y[0])) {
      const run = holes.filter((h) => h < p[0]).length;
      runs.set(run, [...(runs.get(run) ?? []), p]);
    }
    return [...runs.values()].filter((r) => r.length > 1).map((r) => band(`${s.name}, interval`, colours[i]!, r));
  });
}

/** A shade between a lower and an upper line: [time, low, high]. */
export function band(name: string, colour: string, data: [number, number, number][]): object {
  return {
    type: "custom", id: `${aside}${name} ${data[0]?.[0]}`, name, data, silent: true, clip: true, z: 1, encode: { x: 0, y: [1, 2] },
    tooltip: { show: false }, itemStyle: { color: colour },
    renderItem: (p: { dataIndex: number }, api: { coord: (at: [number, number]) => [number, number] }) => p.dataIndex > 0 ? undefined : {
      type: "polygon",
      shape: { points: [...data.map(([t, low]) => api.coord([t, low])), ...data.toReversed().map(([t, , high]) => api.coord([t, high]))] },
      style: { fill: colour, opacity: 0.16 },
    },
  };
}

export function times(a: Answer, spec: Spec, theme: Theme, size: Size): Option {
  const now = drawn(a, spec);
  const { series, points } = now;
  const portion = spec.kind === "portion";
  const share = spec.kind === "share" || portion;
  const stacked = spec.kind !== "line" && !portion;
  const colours = palette(series.map((s) => s.key), theme);
  const complete = Date.parse(a.complete);
  const to = Date.parse(a.to);
  const few = Math.max(0, ...points.map((p) => p.length)) < 3;
  // Counting may have begun long after the range did.
  const first = Math.min(...points.flatMap((p) => (p[0] ? [p[0][0]] : [])));
  const from = Date.parse(a.from);
  const late = Number.isFinite(first) && first - from > 0.9 * (to - from) ? to - (to - first) * 1.25 : from;
  const marked = marks(a, spec, theme, size, late, to);
  const each = period(a, points);
  // No part is more than the whole, whatever a round scale would have room for.
  const most = portion ? Math.max(0, ...[points, ...(a.before ?? spec.before ? [drawn((a.before ?? spec.before)!, spec).points] : [])].flat(2).map((p) => p[1] ?? 0)) : 0;
  const before = earlier(a, spec, now, colours, theme);
  return {
    ...base(series.map((s) => s.name), colours, theme, size, marked.above),
    xAxis: timeAxis(theme, late, to),
    yAxis: share
      ? valueAxis(theme, (v) => (portion ? +v.toFixed(2) : Math.round(v)) + "\u202f%", portion ? { min: 0, ...(most > 75 ? { max: 100, interval: 25 } : {}) } : { min: 0, max: 100, interval: 25 })
      : valueAxis(theme, (v) => amount(v, a.unit), { minInterval: a.unit === "" && !spec.mean ? 1 : 0 }),
    useUTC: true,
    series: [...series.map((s, i) => ({
      type: "line",
      name: s.name,
      data: points[i],
      stack: stacked ? "all" : undefined,
      symbol: "circle",
      symbolSize: 6,
      showSymbol: few,
      lineStyle: { width: stacked ? 1 : 2 },
      areaStyle: stacked ? { opacity: share ? 0.82 : 0.6 } : series.length === 1 ? { opacity: 0.12 } : undefined,
      emphasis: { disabled: true },
      markArea: i === 0 ? marked.area : undefined,
      markLine: i === 0 ? marked.line : undefined,
      itemStyle: { color: colours[i] },
    })), ...bands(a, spec, now, colours), ...before],
    tooltip: tooltip(theme, size, {
      trigger: "axis",
      axisPointer: { type: "line", lineStyle: { color: theme.soft, type: "solid", opacity: 0.4 } },
      formatter: (ps: unknown) => {
        const at = (ps as { seriesName: string; seriesIndex: number; value: Point }[])
          .flatMap((p) => (p.value[1] === null || p.seriesIndex >= series.length ? [] : [{ seriesName: p.seriesName, value: p.value as [number, number, number?] }]));
        const t = at[0]?.value[0];
        if (t === undefined) return "";
        const lines = at.map((p) => {
          const v = share ? `${p.value[1].toFixed(1)}\u202f%  (${whole(p.value[2] ?? 0)})` : a.unit === "" && !spec.mean ? whole(p.value[1]) : amount(p.value[1], a.unit);
          return `${p.seriesName}  ${v}`;
        });
        const growing = t >= complete ? "\nstill coming in" : "";
        const happened = during(a, spec, t, t + each).map((title) => "\n" + title).join("");
        return `${moment(t, a.grain)} UTC\n${(stacked ? lines.reverse() : lines).join("\n")}${growing}${happened}`;
      },
    }),
  };
}
