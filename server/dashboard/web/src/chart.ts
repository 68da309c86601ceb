// Draws one figure's chart into a page. Loaded once a chart is about to be seen.
import type { Answer } from "./answer";
import { build } from "./option";
import { init, type ECharts } from "./parts";
import type { Spec } from "./spec";
import { themeOf, type Theme } from "./theme";

function theme(): Theme {
  const style = getComputedStyle(document.documentElement);
  return themeOf((name) => style.getPropertyValue(name), getComputedStyle(document.body).fontFamily);
}

export class Chart {
  private readonly instance: ECharts;
  private answer: Answer | undefined;

  constructor(box: HTMLElement, private readonly spec: Spec) {
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
    const size = { width: this.instance.getWidth(), height: this.instance.getHeight() };
    this.instance.setOption(build(this.answer, this.spec, theme(), size), { notMerge: true });
  }

  resize(): void {
    const width = this.instance.getWidth();
    this.instance.resize();
    if (this.instance.getWidth() !== width) this.redraw(); // its legend may break otherwise
  }

  dispose(): void {
    this.instance.dispose();
  }
}
