// What began and ended: bars in lanes over time, such as campaigns by kind.
import type { Answer, Span } from "./answer";
import { moment } from "./format";
import { base, categoryAxis, clip, textWidth, tooltip } from "./layout";
import type { Option } from "./option";
import { marks, timeAxis } from "./option_axis";
import type { Size, Spec } from "./spec";
import { palette, type Theme } from "./theme";

interface CustomApi {
  value: (dimension: number) => number;
  coord: (at: [number, number]) => [number, number];
  size: (of: [number, number]) => [number, number];
}

/** Rows of bars that do not overlap, so that each is seen: the least that a lane needs. */
function stack(spans: Span[], to: number): { row: number; rows: number }[] {
  const ends = new Map<string, number[]>();
  const rows = spans.map((s) => {
    const lane = ends.get(s.lane) ?? [];
    ends.set(s.lane, lane);
    const from = Date.parse(s.from);
    let row = lane.findIndex((end) => end <= from);
    if (row < 0) row = lane.length;
    lane[row] = s.to ? Math.max(Date.parse(s.to), from + 1) : to;
    return row;
  });
  return rows.map((row, i) => ({ row, rows: ends.get(spans[i]!.lane)!.length }));
}

export function timeline(a: Answer, spec: Spec, theme: Theme, size: Size): Option {
  const from = Date.parse(a.from);
  const to = Date.parse(a.to);
  const spans = [...(a.spans ?? [])].sort((x, y) => Date.parse(x.from) - Date.parse(y.from));
  const lanes = [...new Set(spans.map((s) => s.lane))].sort((x, y) => {
    const [i, j] = [spec.order.indexOf(x), spec.order.indexOf(y)];
    return (i < 0 ? 1e5 : i) - (j < 0 ? 1e5 : j) || x.localeCompare(y, "en");
  });
  const places = stack(spans, to);
  const kinds = [...new Set(spans.map((s) => s.kind ?? s.lane))];
  const colours = palette(kinds, theme);
  const colour = (s: Span) => colours[kinds.indexOf(s.kind ?? s.lane)] ?? theme.rest;
  const marked = marks(a, spec, theme, size, from, to);
  return {
    ...base([], colours, theme, size, marked.above),
    xAxis: timeAxis(theme, from, to),
    yAxis: categoryAxis(theme, lanes, {
      inverse: true,
      axisLabel: { color: theme.soft, fontSize: 11, interval: 0, formatter: (v: string) => clip(spec.names[v] ?? v, Math.min(170, size.width / 3), 11) },
      splitLine: { show: true, lineStyle: { color: theme.grid } },
    }),
    useUTC: true,
    series: [{
      type: "custom",
      name: spec.title,
      clip: true,
      encode: { x: [0, 1], y: 2 },
      data: spans.map((s) => [Math.max(from, Date.parse(s.from)), s.to ? Date.parse(s.to) : to, lanes.indexOf(s.lane)]),
      renderItem: (p: { dataIndex: number; coordSys: { x: number; width: number } }, api: CustomApi) => {
        const s = spans[p.dataIndex]!;
        const { row, rows } = places[p.dataIndex]!;
        const [x, y] = api.coord([api.value(0), api.value(2)]);
        const [end] = api.coord([api.value(1), api.value(2)]);
        const lane = api.size([0, 1])[1] * 0.76;
        const height = Math.min(22, lane / rows - 1);
        const left = Math.max(x, p.coordSys.x);
        const width = Math.max(3, Math.min(end, p.coordSys.x + p.coordSys.width) - left);
        const top = y - (rows * (height + 1)) / 2 + row * (height + 1);
        const label = spec.names[s.name] ?? s.name;
        const fits = height >= 12 && textWidth(label, 11) < width - 10;
        return {
          type: "rect",
          shape: { x: left, y: top, width, height, r: Math.min(4, height / 2) },
          style: { fill: colour(s), opacity: s.to ? 0.85 : 1 },
          ...(fits ? { textContent: { type: "text", style: { text: label, fill: theme.card, fontSize: 11, fontFamily: theme.font } }, textConfig: { position: "insideLeft", distance: 6 } } : {}),
        };
      },
      markLine: marked.line,
      markArea: marked.area,
    }],
    tooltip: tooltip(theme, size, {
      trigger: "item",
      formatter: (p: { dataIndex: number }) => {
        const s = spans[p.dataIndex];
        if (!s) return "";
        const until = s.to ? moment(Date.parse(s.to), "hour") : "still going on";
        return [spec.names[s.name] ?? s.name, `${moment(Date.parse(s.from), "hour")} – ${until} UTC`, s.note ?? ""].filter(Boolean).join("\n");
      },
    }),
  };
}
