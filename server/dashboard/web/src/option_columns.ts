// Columns: one, or one for each quantile, a group.
import { byGroup, type Answer } from "./answer";
import { amount } from "./format";
import { base, categoryAxis, clip, tooltip, valueAxis } from "./layout";
import type { Option } from "./option";
import type { Size, Spec } from "./spec";
import { palette, type Theme } from "./theme";

export function columns(a: Answer, spec: Spec, theme: Theme, size: Size): Option {
  const { categories, series } = byGroup(a, spec);
  const colours = palette(series.map((s) => s.key), theme);
  return {
    ...base(series.map((s) => s.name), colours, theme, size),
    xAxis: categoryAxis(theme, categories, {
      axisLabel: { color: theme.soft, fontSize: 11, interval: 0, rotate: categories.length > 5 ? 40 : 0, formatter: (v: string) => clip(v, 120, 11) },
    }),
    yAxis: valueAxis(theme, (v) => amount(v, a.unit), a.q ? { type: "log" } : {}),
    series: series.map((s, i) => ({
      type: "bar", name: s.name, barMaxWidth: 34, barGap: "12%",
      // A logarithmic axis has no 0: bars start at its lowest line.
      data: s.points.map(([, v]) => (a.q ? Math.max(v ?? 0, 1) : v)),
      itemStyle: { color: colours[i], borderRadius: [4, 4, 0, 0] },
      emphasis: { disabled: true },
    })),
    tooltip: tooltip(theme, size, {
      trigger: "axis",
      axisPointer: { type: "shadow", shadowStyle: { color: theme.soft, opacity: 0.08 } },
      formatter: (ps: unknown) => {
        const points = ps as { seriesName: string; name: string; value: number }[];
        return [points[0]?.name ?? "", ...points.map((p) => `${p.seriesName}  ${amount(p.value, a.unit)}`)].join("\n");
      },
    }),
  };
}
