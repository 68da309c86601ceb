// Draws one figure's chart from its answer.
import { BarChart, LineChart, type BarSeriesOption, type LineSeriesOption } from "echarts/charts";
import {
  GridComponent, LegendComponent, MarkAreaComponent, TooltipComponent,
  type GridComponentOption, type LegendComponentOption, type TooltipComponentOption,
} from "echarts/components";
import { init, use, type ComposeOption, type ECharts } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { byGroup, overTime, type Answer, type Reading, type Series } from "./answer";
import { amount, moment, tick, whole } from "./format";

use([LineChart, BarChart, GridComponent, LegendComponent, MarkAreaComponent, TooltipComponent, SVGRenderer]);

type Option = ComposeOption<
  LineSeriesOption | BarSeriesOption | GridComponentOption | LegendComponentOption | TooltipComponentOption
>;
export type Kind = "line" | "area" | "share" | "portion" | "columns";

// What has a meaning has its colour everywhere.
const meaning: Record<string, string> = {
  "1xx": "--s-rest", "2xx": "--s0", "3xx": "--s1", "4xx": "--s2", "5xx": "--s4",
  "TLS 1.3": "--s0", "TLS 1.2": "--s1", "TLS 1.1": "--s2", "TLS 1.0": "--s4",
  "http/3": "--s0", "http/2": "--s1", "http/1.1": "--s2", "http/1.0": "--s3",
  ipv6: "--s0", ipv4: "--s1", unix: "--s3",
  browser: "--s0", bot: "--s2", tool: "--s3", app: "--s1", none: "--s5",
  h3: "--s0", h2: "--s1", present: "--s0", absent: "--s2",
  warn: "--s2", error: "--s4", panic: "--s3", fatal: "--s5",
  consistent: "--s0", inconsistent: "--s4", unknown: "--s-rest",
  other: "--s-rest",
  "0.5": "--s0", "0.9": "--s1", "0.99": "--s2",
};

function palette(series: Series[]): string[] {
  const style = getComputedStyle(document.documentElement);
  const named = series.map((s) => s.key.startsWith("\u0000") ? "--s-rest" : meaning[s.key]);
  const free = Array.from({ length: 8 }, (_, i) => `--s${i}`).filter((c) => !named.includes(c));
  let next = 0;
  return named.map((given) => {
    const name = given ?? (free.length ? free[next++ % free.length] : "--s-rest")!;
    return style.getPropertyValue(name).trim();
  });
}

// A line of a legend is as high as an item, 14, and the gap, which is the same both ways.
const legend = { gap: 11, item: 10, space: 5, line: 25, font: 12, most: 4 };
let pen: CanvasRenderingContext2D | null | undefined;

/** How many lines a legend of these names takes in a box of that width. */
function legendLines(names: string[], width: number): number {
  pen ??= document.createElement("canvas").getContext("2d");
  if (pen) pen.font = `${legend.font}px ${getComputedStyle(document.body).fontFamily}`;
  let lines = 1;
  let x = 0;
  for (const name of names) {
    const w = legend.item + legend.space + (pen?.measureText(name).width ?? 7 * name.length);
    if (x > 0 && x + w > width) {
      lines++;
      x = 0;
    }
    x += w + legend.gap;
  }
  return lines;
}

export class Chart {
  private readonly instance: ECharts;
  private answer: Answer | undefined;

  constructor(box: HTMLElement, private readonly kind: Kind, private readonly reading: Reading) {
    this.instance = init(box, null, { renderer: "svg" });
  }

  /** What is drawn, for tests: the numbers, as ECharts has them. */
  shown(): { name: string; data: unknown }[] {
    const series = (this.instance.getOption() as { series?: { name: string; data: unknown }[] }).series ?? [];
    return series.map((s) => ({ name: s.name, data: s.data }));
  }

  draw(answer: Answer): void {
    this.answer = answer;
    this.redraw();
  }

  redraw(): void {
    if (!this.answer) return;
    const option = this.kind === "columns" ? this.columns(this.answer) : this.times(this.answer);
    this.instance.setOption(option, { notMerge: true });
  }

  resize(): void {
    const width = this.instance.getWidth();
    this.instance.resize();
    if (this.instance.getWidth() !== width) this.redraw(); // its legend may break otherwise
  }

  private colour(name: string): string {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  private base(series: Series[]): Option {
    const ink = this.colour("--ink");
    const soft = this.colour("--soft");
    const lines = legendLines(series.map((s) => s.name), this.instance.getWidth() - 12);
    const scroll = lines > legend.most;
    return {
      animation: false,
      color: palette(series),
      textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
      grid: { left: 8, right: 14, top: series.length > 1 ? 15 + legend.line * (scroll ? 1 : lines) : 16, bottom: 8, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
      legend: series.length > 1
        ? { type: scroll ? "scroll" : "plain", pageTextStyle: { color: soft }, pageIconColor: soft, pageIconInactiveColor: this.colour("--line"), left: 4, right: 4, top: 0, itemWidth: legend.item, itemHeight: legend.item, itemGap: legend.gap, icon: "roundRect", textStyle: { color: soft, fontSize: legend.font, lineHeight: 14 }, inactiveColor: this.colour("--s-rest") }
        : { show: false },
      tooltip: {
        trigger: "axis",
        // HTML would need inline styles, which the pages' policy forbids.
        renderMode: "richText",
        confine: true,
        backgroundColor: this.colour("--card"),
        borderColor: this.colour("--line"),
        borderWidth: 1,
        padding: [8, 12],
        textStyle: { color: ink, fontSize: 12, lineHeight: 18 } as object,
        axisPointer: { type: this.kind === "columns" ? "shadow" : "line", lineStyle: { color: soft, type: "solid", opacity: 0.4 }, shadowStyle: { color: soft, opacity: 0.08 } },
      },
    };
  }

  private valueAxis(format: (v: number) => string, more: object = {}) {
    return {
      type: "value" as const,
      axisLabel: { color: this.colour("--soft"), formatter: (v: number) => format(v), fontSize: 11 },
      splitLine: { lineStyle: { color: this.colour("--grid") } },
      splitNumber: 4,
      ...more,
    };
  }

  private times(a: Answer): Option {
    const all = overTime(a, this.reading);
    const portion = this.kind === "portion";
    const share = this.kind === "share" || portion;
    const series = portion ? all.filter((s) => s.key !== this.reading.whole) : all;
    const totals = new Map<number, number>();
    for (const s of all) {
      if (portion && s.key !== this.reading.whole) continue;
      for (const [t, v] of s.points) totals.set(t, (totals.get(t) ?? 0) + (v ?? 0));
    }
    const colours = palette(series);
    const complete = Date.parse(a.complete);
    const to = Date.parse(a.to);
    const stacked = this.kind !== "line" && !portion;
    const few = Math.max(0, ...series.map((s) => s.points.length)) < 3;
    const axis = share
      ? this.valueAxis((v) => (portion ? +v.toFixed(2) : Math.round(v)) + "\u202f%", portion ? { min: 0 } : { min: 0, max: 100, interval: 25 })
      : this.valueAxis((v) => amount(v, a.unit), { minInterval: a.unit === "" && !this.reading.mean ? 1 : 0 });
    // Counting may have begun long after the range did.
    const first = Math.min(...series.flatMap((s) => (s.points[0] ? [s.points[0][0]] : [])));
    const from = Date.parse(a.from);
    const late = Number.isFinite(first) && first - from > 0.9 * (to - from) ? to - (to - first) * 1.25 : from;
    return {
      ...this.base(series),
      xAxis: {
        type: "time",
        min: late, max: to,
        axisLabel: { color: this.colour("--soft"), formatter: (v: number) => tick(v), hideOverlap: true, fontSize: 11 },
        axisLine: { lineStyle: { color: this.colour("--line") } },
        axisTick: { show: false },
        splitLine: { show: false },
        axisPointer: { label: { show: false } },
      },
      yAxis: axis,
      useUTC: true,
      series: series.map((s, i): LineSeriesOption => ({
        type: "line",
        name: s.name,
        data: share ? s.points.map(([t, v]) => (v === null ? [t, null] : [t, (100 * v) / Math.max(totals.get(t) ?? 0, 1), v])) : s.points,
        stack: stacked ? "all" : undefined,
        symbol: "circle",
        symbolSize: 6,
        showSymbol: few,
        lineStyle: { width: stacked ? 1 : 2 },
        areaStyle: stacked ? { opacity: share ? 0.82 : 0.6 } : series.length === 1 ? { opacity: 0.12 } : undefined,
        emphasis: { disabled: true },
        // What has not all been reported yet.
        markArea: i === 0 && complete < to
          ? { silent: true, itemStyle: { color: this.colour("--soft"), opacity: 0.07 }, data: [[{ xAxis: Math.max(complete, late) }, { xAxis: to }]] }
          : undefined,
        itemStyle: { color: colours[i] },
      })),
      tooltip: {
        ...this.base(series).tooltip,
        formatter: (ps: unknown) => {
          const points = (ps as { seriesName: string; value: [number, number | null, number?] }[])
            .flatMap((p) => (p.value[1] === null ? [] : [{ seriesName: p.seriesName, value: p.value as [number, number, number?] }]));
          const t = points[0]?.value[0];
          if (t === undefined) return "";
          const lines = points.map((p) => {
            const v = share ? `${p.value[1].toFixed(1)}\u202f%  (${whole(p.value[2] ?? 0)})` : a.unit === "" && !this.reading.mean ? whole(p.value[1]) : amount(p.value[1], a.unit);
            return `${p.seriesName}  ${v}`;
          });
          const growing = t >= complete ? "\nstill coming in" : "";
          return `${moment(t, a.grain)} UTC\n${(stacked ? lines.reverse() : lines).join("\n")}${growing}`;
        },
      },
    } as Option;
  }

  private columns(a: Answer): Option {
    const { categories, series } = byGroup(a, this.reading);
    const colours = palette(series);
    return {
      ...this.base(series),
      xAxis: {
        type: "category", data: categories,
        axisLabel: { color: this.colour("--soft"), fontSize: 11, interval: 0, rotate: categories.length > 5 ? 40 : 0 },
        axisLine: { lineStyle: { color: this.colour("--line") } },
        axisTick: { show: false },
      },
      yAxis: a.q
        ? { ...this.valueAxis((v) => amount(v, a.unit)), type: "log" }
        : this.valueAxis((v) => amount(v, a.unit)),
      series: series.map((s, i): BarSeriesOption => ({
        type: "bar", name: s.name, barMaxWidth: 34, barGap: "12%",
        // A logarithmic axis has no 0: bars start at its lowest line.
        data: s.points.map(([, v]) => (a.q ? Math.max(v ?? 0, 1) : v)),
        itemStyle: { color: colours[i], borderRadius: [4, 4, 0, 0] },
        emphasis: { disabled: true },
      })),
      tooltip: {
        ...this.base(series).tooltip,
        formatter: (ps: unknown) => {
          const points = ps as { seriesName: string; name: string; value: number }[];
          return [points[0]?.name ?? "", ...points.map((p) => `${p.seriesName}  ${amount(p.value, a.unit)}`)].join("\n");
        },
      },
    } as Option;
  }
}
