// Puts charts on the pages' figures; live.ts keeps what is seen up to date.
import { empty, type Answer } from "./answer";
import type { Chart } from "./chart";
import type { Kind, Spec } from "./spec";
import { follow } from "./live";

interface Figure extends HTMLElement {
  /** For tests: what is drawn. */
  shown?: () => { name: string; data: unknown }[];
}

const drawn = new Map<Figure, Chart>();

/** The drawing of charts is much larger than all else: it comes when it is needed. */
let drawing: Promise<typeof import("./chart")> | undefined;
function loaded(): Promise<typeof import("./chart")> {
  const href = document.querySelector<HTMLScriptElement>("script[data-chart]")?.dataset.chart;
  return (drawing ??= import(href ?? "") as Promise<typeof import("./chart")>);
}

function specOf(f: Figure): Spec {
  return {
    id: f.id.replace(/^chart-/, ""),
    kind: f.dataset.kind as Kind,
    title: f.querySelector("h3")?.textContent ?? "",
    unit: f.dataset.unit ?? "",
    names: JSON.parse(f.dataset.names ?? "{}") as Record<string, string>,
    order: JSON.parse(f.dataset.order ?? "[]") as string[],
    mean: f.dataset.mean !== undefined,
    whole: f.dataset.whole,
  };
}

async function draw(f: Figure): Promise<void> {
  const box = f.querySelector<HTMLElement>(".canvas");
  const href = f.dataset.chart;
  if (!box || !href) return;
  const [{ Chart }, response] = await Promise.all([loaded(), fetch(href, { headers: { Accept: "application/json" } })]);
  if (!response.ok) throw new Error(`${href}: ${response.status}`);
  const answer = (await response.json()) as Answer;
  if (empty(answer)) {
    f.classList.add("tabular"); // which says that there is nothing
    f.dataset.drawn = "empty";
    return;
  }
  if (f.dataset.drawn === "empty") f.classList.remove("tabular");
  let chart = drawn.get(f);
  if (chart) chart.spec = specOf(f); // with the names of what is new
  else {
    chart = new Chart(box, specOf(f));
    drawn.set(f, chart);
    f.shown = () => chart!.shown();
    new ResizeObserver(() => chart!.resize()).observe(box);
    withTable(f);
  }
  await chart.draw(answer);
  f.dataset.drawn = "yes";
}

/** The button that shows a chart's table in its place. */
function withTable(f: Figure): void {
  const button = f.querySelector<HTMLButtonElement>(".as-table");
  if (!button) return;
  button.hidden = false;
  button.onclick = () => {
    const on = f.classList.toggle("tabular");
    button.setAttribute("aria-expanded", String(on));
    button.textContent = on ? "Chart" : "Table";
    drawn.get(f)?.resize();
  };
}

function figures(): NodeListOf<Figure> {
  return document.querySelectorAll<Figure>("figure[data-chart]");
}

function failed(f: Figure, err: unknown): void {
  console.warn("a chart could not be drawn:", err);
  f.classList.add("tabular");
  f.dataset.drawn = "failed";
}

// Charts are drawn when they are about to be seen.
const seen = new IntersectionObserver((entries) => {
  for (const e of entries) {
    if (!e.isIntersecting) continue;
    seen.unobserve(e.target);
    const f = e.target as Figure;
    draw(f).catch((err: unknown) => failed(f, err));
  }
}, { rootMargin: "600px" });
for (const f of figures()) seen.observe(f);

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const c of drawn.values()) c.redraw();
});

follow({ redraw: (f) => draw(f as Figure) });
