// The one place that knows how a chart is drawn: from an answer, what the chart
// is, a theme and a size, to an option of ECharts. It runs in pages and, through
// package render, on the server: it knows no document, no canvas and no clock, and
// the same input gives the same option.
import type { EChartsCoreOption } from "echarts/core";
import type { Answer } from "./answer";
import { columns } from "./option_columns";
import { heat } from "./option_heat";
import { worldmap, type World } from "./option_map";
import { likely, rank, split } from "./option_ranks";
import { sankey } from "./option_sankey";
import { timeline } from "./option_timeline";
import { times } from "./option_times";
import type { Size, Spec } from "./spec";
import type { Theme } from "./theme";

export type Option = EChartsCoreOption;

/**
 * Makes the option of a chart. A worldmap needs the world, which is registered
 * with ECharts under that name.
 */
export function build(answer: Answer, spec: Spec, theme: Theme, size: Size, world?: World): Option {
  switch (spec.kind) {
    case "columns":
      return columns(answer, spec, theme, size);
    case "rank":
      return rank(answer, spec, theme, size);
    case "split":
      return split(answer, spec, theme, size);
    case "likely":
      return likely(answer, spec, theme, size);
    case "matrix":
    case "heat":
      return heat(answer, spec, theme, size);
    case "sankey":
      return sankey(answer, spec, theme, size);
    case "timeline":
      return timeline(answer, spec, theme, size);
    case "worldmap":
      if (!world) throw new Error("a map needs the world");
      return worldmap(answer, spec, theme, size, world);
    case "line":
    case "area":
    case "share":
    case "portion":
      return times(answer, spec, theme, size);
    default:
      throw new Error(`there is no form ${String(spec.kind)}`);
  }
}
