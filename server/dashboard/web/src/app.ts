// Puts charts on the pages' figures; live.ts keeps what is seen up to date.
import { empty, type Annotation, type Answer } from "./answer";
import type { Chart } from "./chart";
import "./frame";
import type { Spec } from "./spec";
import { follow } from "./live";
import { suggest } from "./search";

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
  return JSON.parse(f.dataset.spec ?? "{}") as Spec;
}

async function json<T>(href: string): Promise<T> {
  const response = await fetch(href, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`${href}: ${response.status}`);
  return (await response.json()) as T;
}

async function draw(f: Figure): Promise<void> {
  const box = f.querySelector<HTMLElement>(".canvas");
  const href = f.dataset.chart;
  if (!box || !href) return;
  const { before, notes } = f.dataset;
  const [{ Chart }, answer, was, happened] = await Promise.all([
    loaded(), json<Answer>(href), before ? json<Answer>(before) : undefined, notes ? annotations(notes) : [],
  ]);
  if (was && !empty(was)) answer.before = was;
  answer.annotations = happened;
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

const asked = new Map<string, Promise<Annotation[]>>();

/** What happened in a page's time, which all of its charts have in common. Charts do without if need be. */
function annotations(href: string): Promise<Annotation[]> {
  let known = asked.get(href);
  if (!known) {
    known = json<{ annotations: Annotation[] }>(href).then((a) => a.annotations).catch(() => []);
    asked.clear(); // one page, one time
    asked.set(href, known);
    setTimeout(() => asked.delete(href), 10_000);
  }
  return known;
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
suggest();
