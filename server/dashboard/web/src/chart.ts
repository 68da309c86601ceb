// Draws one figure's chart into a page. Loaded once a chart is about to be seen.
import type { Answer } from "./answer";
import { build } from "./option";
import { aside } from "./option_times";
import type { World } from "./option_map";
import { init, registerMap, type ECharts } from "./parts";
import type { Spec } from "./spec";
import { themeOf, type Theme } from "./theme";

function theme(): Theme {
  const style = getComputedStyle(document.documentElement);
  return themeOf((name) => style.getPropertyValue(name), getComputedStyle(document.body).fontFamily);
}

let world: Promise<World> | undefined;

/** The world's shapes, which only a map needs. */
async function shapes(): Promise<World> {
  const href = document.querySelector<HTMLScriptElement>("script[data-world]")?.dataset.world ?? "";
  const response = await fetch(href);
  if (!response.ok) throw new Error(`${href}: ${response.status}`);
  const w = (await response.json()) as World;
  registerMap("world", w as never);
  return w;
}

export class Chart {
  private world: World | undefined;
  private readonly instance: ECharts;
  private answer: Answer | undefined;

  constructor(box: HTMLElement, public spec: Spec) {
    this.instance = init(box, null, { renderer: "svg" });
  }

  /** What is drawn, for tests: the answer's numbers, as ECharts has them. */
  shown(): { name: string; data: unknown }[] {
    const series = (this.instance.getOption() as { series?: { id?: string; name: string; data: unknown }[] }).series ?? [];
    return series.filter((s) => !s.id?.startsWith(aside)).map((s) => ({ name: s.name, data: s.data }));
  }

  async draw(answer: Answer): Promise<void> {
    this.answer = answer;
    if (this.spec.kind === "worldmap") this.world = await (world ??= shapes());
    this.redraw();
  }

  redraw(): void {
    if (!this.answer) return;
    const size = { width: this.instance.getWidth(), height: this.instance.getHeight() };
    this.instance.setOption(build(this.answer, this.spec, theme(), size, this.world), { notMerge: true });
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
