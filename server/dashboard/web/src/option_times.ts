// Series over time: lines, stacked areas, parts of 100 % or of a whole.
import { overTime, type Answer, type Series } from "./answer";
import { amount, moment, tick, whole } from "./format";
import { base, tooltip, valueAxis } from "./layout";
import type { Option } from "./option";
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

export function times(a: Answer, spec: Spec, theme: Theme, size: Size): Option {
  const { series, points } = drawn(a, spec);
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
  return {
    ...base(series.map((s) => s.name), colours, theme, size),
    xAxis: {
      type: "time",
      min: late, max: to,
      axisLabel: { color: theme.soft, formatter: (v: number) => tick(v), hideOverlap: true, fontSize: 11 },
      axisLine: { lineStyle: { color: theme.line } },
      axisTick: { show: false },
      splitLine: { show: false },
      axisPointer: { label: { show: false } },
    },
    yAxis: share
      ? valueAxis(theme, (v) => (portion ? +v.toFixed(2) : Math.round(v)) + "\u202f%", portion ? { min: 0 } : { min: 0, max: 100, interval: 25 })
      : valueAxis(theme, (v) => amount(v, a.unit), { minInterval: a.unit === "" && !spec.mean ? 1 : 0 }),
    useUTC: true,
    series: series.map((s, i) => ({
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
      // What has not all been reported yet.
      markArea: i === 0 && complete < to
        ? { silent: true, itemStyle: { color: theme.soft, opacity: 0.07 }, data: [[{ xAxis: Math.max(complete, late) }, { xAxis: to }]] }
        : undefined,
      itemStyle: { color: colours[i] },
    })),
    tooltip: tooltip(theme, size, {
      trigger: "axis",
      axisPointer: { type: "line", lineStyle: { color: theme.soft, type: "solid", opacity: 0.4 } },
      formatter: (ps: unknown) => {
        const at = (ps as { seriesName: string; value: Point }[])
          .flatMap((p) => (p.value[1] === null ? [] : [{ seriesName: p.seriesName, value: p.value as [number, number, number?] }]));
        const t = at[0]?.value[0];
        if (t === undefined) return "";
        const lines = at.map((p) => {
          const v = share ? `${p.value[1].toFixed(1)}\u202f%  (${whole(p.value[2] ?? 0)})` : a.unit === "" && !spec.mean ? whole(p.value[1]) : amount(p.value[1], a.unit);
          return `${p.seriesName}  ${v}`;
        });
        const growing = t >= complete ? "\nstill coming in" : "";
        return `${moment(t, a.grain)} UTC\n${(stacked ? lines.reverse() : lines).join("\n")}${growing}`;
      },
    }),
  };
}
