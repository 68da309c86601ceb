// The page of SQL: what is asked, what came, and the link that carries the query.
import type { Chart } from "./chart";
import { broken, Engine, Ended, limits, type File, type Result } from "./sqlengine";
import { csv, drawable, shown, table } from "./sqlresult";

const form = document.querySelector<HTMLFormElement>("#sql");
if (form) void page(form);

function byID<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

async function page(form: HTMLFormElement): Promise<void> {
  const query = byID<HTMLTextAreaElement>("query");
  const run = byID<HTMLButtonElement>("run");
  const stop = byID<HTMLButtonElement>("stop");
  const link = byID<HTMLButtonElement>("link");
  const save = byID<HTMLButtonElement>("save");
  const status = byID("sql-status");
  const say = (what: string, wrong = false) => {
    status.textContent = what;
    status.classList.toggle("wrong", wrong);
  };
  const ready = new Set([...document.querySelectorAll<HTMLAnchorElement>("a.question")].map((a) => carried(a.hash)));
  const manifest = form.dataset.manifest!;
  let engine: Engine | undefined;
  let last: Result | undefined;

  const ask = async () => {
    run.disabled = true;
    stop.hidden = false;
    try {
      history.replaceState(null, "", hash(query.value));
      engine ??= new Engine(form.dataset.engine!, await files(manifest), manifest.slice(0, manifest.lastIndexOf("/") + 1), Number(form.dataset.seconds));
      last = await engine.run(query.value, say);
      await show(last, form.dataset.charts!);
      save.hidden = false;
      say(`${last.more ? "The first " : ""}${last.rows.length} ${last.rows.length === 1 ? "row" : "rows"} in ${Math.round(last.milliseconds)} ms.`);
    } catch (err) {
      save.hidden = true;
      byID("result").hidden = true;
      say(explained(err), true);
    } finally {
      run.disabled = false;
      stop.hidden = true;
      form.dataset.answers = String(Number(form.dataset.answers ?? 0) + 1); // for tests
    }
  };

  form.addEventListener("submit", (e) => {
    e.preventDefault();
    if (!run.disabled) void ask();
  });
  query.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) form.requestSubmit();
  });
  stop.addEventListener("click", () => engine?.stop());
  link.addEventListener("click", () => void copy(query.value, say));
  save.addEventListener("click", () => last && download(last));

  // A query that came with a link is not run before its reader says so, unless it is one of ours.
  const take = () => {
    const sql = carried(location.hash);
    if (sql === undefined) return;
    query.value = sql;
    query.rows = Math.min(Math.max(sql.split("\n").length + 1, 9), 30);
    if (ready.has(sql)) {
      form.scrollIntoView();
      void ask();
    } else say("This query came with the link. Run it, if you like.");
  };
  run.disabled = link.hidden = false;
  addEventListener("hashchange", take);
  take();
}

async function files(manifest: string): Promise<File[]> {
  const response = await fetch(manifest);
  if (!response.ok) throw new Error(`the list of files can’t be had: ${response.status}`);
  return ((await response.json()) as { files: File[] }).files;
}

function carried(hash: string): string | undefined {
  return new URLSearchParams(hash.slice(1)).get("q") ?? undefined;
}

function hash(sql: string): string {
  return "#q=" + encodeURIComponent(sql);
}

async function copy(sql: string, say: (what: string) => void): Promise<void> {
  history.replaceState(null, "", hash(sql));
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is copied.");
  } catch {
    say("The link is in the address bar.");
  }
}

function download(r: Result): void {
  const a = document.createElement("a");
  a.href = URL.createObjectURL(new Blob([csv(r)], { type: "text/csv" }));
  a.download = "result.csv";
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 1000);
}

function explained(err: unknown): string {
  const text = (err instanceof Error ? err.message : String(err)).replace(/^Invalid Input Error: Attempting to fetch from an unsuccessful query result\s*Error: /, "");
  if (err instanceof Ended) return text;
  if (/XMLHttpRequest|Failed to (fetch|open|execute)|NetworkError|HTTP/i.test(text)) return `${text} (A query can read the files of this data set, and nothing else.)`;
  if (/unreachable|abort\(/i.test(text)) return `DuckDB failed, and is loaded anew for the next query (${text}).`;
  if (broken.test(text)) return `It needed more memory than a query may have here (${text}).`;
  return text;
}

let chart: { of: Chart; box: ResizeObserver } | undefined;

async function show(r: Result, charts: string): Promise<void> {
  byID("result").hidden = false;
  byID("result-table").replaceChildren(table(r));
  const notes = [];
  if (r.more) notes.push(`Only the first ${limits.rows} rows are taken from DuckDB.`);
  if (r.rows.length > shown) notes.push(`The first ${shown} are on the page; the CSV has ${r.rows.length}.`);
  byID("result-note").textContent = notes.join(" ");
  const figure = byID("result-chart");
  const d = drawable(r);
  figure.hidden = !d;
  if (!d) return;
  byID("result-chart-title").textContent = d.title.charAt(0).toUpperCase() + d.title.slice(1);
  const { Chart } = (await import(charts)) as typeof import("./chart");
  chart?.box.disconnect();
  chart?.of.dispose();
  const box = figure.querySelector<HTMLElement>(".canvas")!;
  const drawn = new Chart(box, { id: "result", kind: d.kind, title: d.title, unit: "", names: { "": d.title }, order: [], mean: false, whole: undefined });
  drawn.draw(d.answer);
  chart = { of: drawn, box: new ResizeObserver(() => drawn.resize()) };
  chart.box.observe(box);
}
