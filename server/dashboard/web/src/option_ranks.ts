// Pictures of what pages have as tables with bars: ranks, rows of parts, and
// estimates with their intervals.
import { keyOf, nameOf, type Answer } from "./answer";
import { amount } from "./format";
import { base, categoryAxis, clip, tooltip, valueAxis } from "./layout";
import type { Option } from "./option";
import type { Size, Spec } from "./spec";
import { palette, type Theme } from "./theme";

const mostRows = 14;
const mostColumns = 6;

function frame(theme: Theme, size: Size, names: string[], rows: string[], colours: string[]) {
  return {
    ...base(names, colours, theme, size),
    yAxis: categoryAxis(theme, rows, {
      inverse: true,
      axisLabel: { color: theme.ink, fontSize: 12, interval: 0, formatter: (v: string) => clip(v, Math.min(220, size.width / 3), 12) },
      axisLine: { show: false },
    }),
  };
}

/** How many rows there is room for. */
const fitting = (size: Size) => Math.max(3, Math.min(mostRows, Math.floor((size.height - 50) / 20)));

export function rank(a: Answer, spec: Spec, theme: Theme, size: Size): Option {
  // What is no group like others stands last.
  const ordered = [...a.rows].sort((x, y) => +(!!x.rest || !!x.suppressed) - +(!!y.rest || !!y.suppressed));
  const rows = ordered.slice(0, fitting(size));
  const names = rows.map((r) => nameOf(keyOf(a, r), a, spec));
  const f = frame(theme, size, [], names, [theme.accent]);
  return {
    ...f,
    grid: { ...f.grid, right: 60 },
    xAxis: valueAxis(theme, (v) => amount(v, a.unit), { splitNumber: 3 }),
    series: [{
      type: "bar", name: spec.title, barMaxWidth: 16,
      data: rows.map((r) => ({ value: r.count, itemStyle: { color: r.rest || r.suppressed ? theme.rest : theme.accent, borderRadius: [0, 3, 3, 0] } })),
      label: { show: true, position: "right", color: theme.soft, fontSize: 11, formatter: (p: { value: number }) => amount(p.value, a.unit) },
      emphasis: { disabled: true },
    }],
    tooltip: tooltip(theme, size, { trigger: "axis", axisPointer: { type: "shadow" } }),
  };
}

export function split(a: Answer, spec: Spec, theme: Theme, size: Size): Option {
  const words = a.by.filter((b) => b !== "time");
  const column = spec.columns ?? words[1] ?? "";
  const row = words.find((w) => w !== column) ?? "";
  const sums = new Map<string, Map<string, number>>();
  const columnSums = new Map<string, number>();
  for (const r of a.rows) {
    if (r.rest || r.suppressed) continue;
    const [k, c] = [r.group?.[row] ?? "", r.group?.[column] ?? ""];
    const parts = sums.get(k) ?? new Map<string, number>();
    sums.set(k, parts);
    parts.set(c, (parts.get(c) ?? 0) + r.count);
    columnSums.set(c, (columnSums.get(c) ?? 0) + r.count);
  }
  const of = (parts: Map<string, number>) => [...parts.values()].reduce((x, y) => x + y, 0);
  const rows = [...sums].sort(([, x], [, y]) => of(y) - of(x)).slice(0, fitting(size));
  const name = (v: string) => spec.names[v] ?? (v || "None");
  const columns = [...columnSums].sort(([, x], [, y]) => y - x).map(([c]) => c);
  const shown = columns.slice(0, mostColumns);
  const order = (c: string) => spec.order.indexOf(c);
  shown.sort((x, y) => (order(x) < 0 ? 1e5 : order(x)) - (order(y) < 0 ? 1e5 : order(y)));
  const all = columns.length > shown.length ? [...shown, "\u0000rest"] : shown;
  const colours = palette(all, theme);
  const names = all.map((c) => (c === "\u0000rest" ? "Everything else" : name(c)));
  return {
    ...frame(theme, size, names, rows.map(([r]) => name(r)), colours),
    xAxis: valueAxis(theme, (v) => Math.round(v) + "\u202f%", { min: 0, max: 100, interval: 25 }),
    series: all.map((c, i) => ({
      type: "bar", name: names[i], stack: "all", barMaxWidth: 16,
      data: rows.map(([, parts]) => {
        const n = c === "\u0000rest" ? of(parts) - shown.reduce((s, x) => s + (parts.get(x) ?? 0), 0) : (parts.get(c) ?? 0);
        return (100 * n) / Math.max(of(parts), 1);
      }),
      itemStyle: { color: colours[i] },
      emphasis: { disabled: true },
    })),
    tooltip: tooltip(theme, size, { trigger: "axis", axisPointer: { type: "shadow" }, valueFormatter: (v: number) => v.toFixed(1) + "\u202f%" }),
  };
}

/** A row of /api/v1/interception, whose shares are of 1. */
interface Estimated {
  group?: string;
  estimate?: { share: number; low: number; high: number } | null;
}

export function likely(a: Answer, spec: Spec, theme: Theme, size: Size): Option {
  const estimated = (a.rows as unknown as Estimated[]).flatMap((r) => (r.estimate ? [{ name: spec.names[r.group ?? ""] ?? (r.group || "All"), ...r.estimate }] : []));
  const rows = estimated.sort((x, y) => y.share - x.share).slice(0, fitting(size));
  const f = frame(theme, size, [], rows.map((r) => r.name), [theme.accent]);
  const percent = (v: number) => +(100 * v).toPrecision(3) + "\u202f%";
  return {
    ...f,
    xAxis: valueAxis(theme, (v) => +v.toFixed(2) + "\u202f%", { min: 0, splitNumber: 3 }),
    series: [{
      type: "custom",
      name: spec.title,
      encode: { x: [0, 1, 2], y: 3 },
      data: rows.map((r, i) => [100 * r.low, 100 * r.share, 100 * r.high, i]),
      renderItem: (_: unknown, api: { value: (d: number) => number; coord: (at: number[]) => number[] }) => {
        const at = (d: number) => api.coord([api.value(d), api.value(3)]) as [number, number];
        const [low, y] = at(0);
        const [point] = at(1);
        const [high] = at(2);
        return {
          type: "group",
          children: [
            { type: "rect", shape: { x: low, y: y - 5, width: Math.max(high - low, 2), height: 10, r: 3 }, style: { fill: theme.accent, opacity: 0.35 } },
            { type: "rect", shape: { x: point - 1.5, y: y - 7, width: 3, height: 14 }, style: { fill: theme.accent } },
          ],
        };
      },
    }],
    tooltip: tooltip(theme, size, {
      trigger: "item",
      formatter: (p: { dataIndex: number }) => {
        const r = rows[p.dataIndex];
        return r ? `${r.name}\n${percent(r.share)}, between ${percent(r.low)} and ${percent(r.high)}` : "";
      },
    }),
  };
}
