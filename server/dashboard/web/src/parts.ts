// The parts of ECharts that charts are made of: nothing else of it is in the pages.
import { BarChart, CustomChart, LineChart, SankeyChart } from "echarts/charts";
import { GeoComponent, GraphicComponent, GridComponent, LegendComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import { use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

use([
  LineChart, BarChart, CustomChart, SankeyChart,
  GeoComponent, GraphicComponent, GridComponent, LegendComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent,
  SVGRenderer,
]);

export { init, registerMap, type ECharts } from "echarts/core";
