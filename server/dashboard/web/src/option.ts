// The one place that knows how a chart is drawn: from an answer, what the chart
// is, a theme and a size, to an option of ECharts. It runs in pages and, through
// package render, on the server: it knows no document, no canvas and no clock, and
// the same input gives the same option.
import type { EChartsCoreOption } from "echarts/core";
import type { Answer } from "./answer";
import { columns } from "./option_columns";
import { times } from "./option_times";
import type { Size, Spec } from "./spec";
import type { Theme } from "./theme";

export type Option = EChartsCoreOption;

export function build(answer: Answer, spec: Spec, theme: Theme, size: Size): Option {
  switch (spec.kind) {
    case "columns":
      return columns(answer, spec, theme, size);
    default:
      return times(answer, spec, theme, size);
  }
}
