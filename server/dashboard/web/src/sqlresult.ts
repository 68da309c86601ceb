// A query's result as a table, as CSV, and, if it has the shape, as an answer to draw.
import type { Answer, Row } from "./answer";
import type { Cell, Result } from "./sqlengine";

/** How many rows are put on the page. */
export const shown = 500;
const mostSeries = 8;
const mostBars = 40;

const twoDigits = (n: number) => String(n).padStart(2, "0");

function text(c: Cell): string {
  if (c === null) return "";
  if (c instanceof Date) {
    const day = `${c.getUTCFullYear()}-${twoDigits(c.getUTCMonth() + 1)}-${twoDigits(c.getUTCDate())}`;
    const time = `${twoDigits(c.getUTCHours())}:${twoDigits(c.getUTCMinutes())}`;
    return time === "00:00" ? day : `${day} ${time}`;
  }
  return String(c);
}

const numbers = new Intl.NumberFormat("en", { maximumFractionDigits: 3 });

function display(c: Cell): string {
  return typeof c === "number" ? numbers.format(c).replaceAll(",", "\u202f") : text(c);
}

export function table(r: Result): HTMLTableElement {
  const t = document.createElement("table");
  const head = t.createTHead().insertRow();
  for (const c of r.columns) {
    const th = document.createElement("th");
    th.scope = "col";
    th.textContent = c.name;
    if (c.kind === "number") th.className = "n";
    head.append(th);
  }
  const body = t.createTBody();
  for (const row of r.rows.slice(0, shown)) {
    const tr = body.insertRow();
    row.forEach((c, i) => {
      const td = tr.insertCell();
      td.textContent = display(c);
      if (r.columns[i]!.kind !== "number") td.className = "t";
    });
  }
  return t;
}

/** RFC 4180; what a spreadsheet would take for a formula is marked as text. */
export function csv(r: Result): string {
  const quote = (c: Cell): string => {
    if (typeof c === "number") return String(c);
    const s = c instanceof Date ? c.toISOString() : text(c);
    const safe = /^[=+\-@\t\r]/.test(s) ? "'" + s : s;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [r.columns.map((c) => quote(c.name)), ...r.rows.map((row) => row.map(quote))].map((line) => line.join(",") + "\r\n").join("");
}

export interface Drawable {
  kind: "line" | "columns";
  title: string;
  answer: Answer;
}

/** Numbers over time, one series for each text or each column of numbers; or bars of the first texts. */
export function drawable(r: Result): Drawable | undefined {
  const at = r.columns.findIndex((c) => c.kind === "time");
  const texts = r.columns.flatMap((c, i) => (c.kind === "text" ? [i] : []));
  const values = r.columns.flatMap((c, i) => (c.kind === "number" ? [i] : []));
  if (values.length === 0 || r.rows.length < 2) return undefined;
  const first = values[0]!;
  if (at < 0) {
    if (texts.length === 0 || r.rows.length > mostBars) return undefined;
    const value = values[values.length - 1]!;
    const rows = r.rows.map((row): Row => ({ group: { name: texts.map((i) => text(row[i] ?? null)).join(" ") || "(none)" }, count: Number(row[value] ?? 0) }));
    if (new Set(rows.map((x) => x.group!.name)).size < rows.length) return undefined;
    return { kind: "columns", title: r.columns[value]!.name, answer: answer(["name"], rows) };
  }
  if (new Set(r.rows.map((row) => text(row[at] ?? null))).size < 2) return undefined;
  const long = r.rows.flatMap((row) => {
    const time = row[at];
    if (!(time instanceof Date) || Number.isNaN(time.getTime())) return [];
    const of = texts.length > 0 ? [first] : values;
    return of.map((i): Row => ({
      time: time.toISOString(),
      group: { series: texts.length > 0 ? texts.map((t) => text(row[t] ?? null)).join(" ") || "(none)" : r.columns[i]!.name },
      count: Number(row[i] ?? 0),
    }));
  });
  const sums = new Map<string, number>();
  for (const x of long) sums.set(x.group!.series!, (sums.get(x.group!.series!) ?? 0) + Math.abs(x.count));
  const greatest = new Set([...sums].sort((a, b) => b[1] - a[1]).slice(0, mostSeries).map(([name]) => name));
  const kept = long.filter((x) => greatest.has(x.group!.series!));
  const title = texts.length > 0 ? `${r.columns[first]!.name} by ${texts.map((i) => r.columns[i]!.name).join(" and ")}` : values.map((i) => r.columns[i]!.name).join(", ");
  return { kind: "line", title: sums.size > mostSeries ? `${title}: the ${mostSeries} greatest of ${sums.size}` : title, answer: answer(["time", "series"], kept) };
}

function answer(by: string[], rows: Row[]): Answer {
  const times = rows.flatMap((x) => (x.time ? [x.time] : [])).sort();
  const steps = [...new Set(times)].map((t) => Date.parse(t));
  const hourly = steps.some((t) => t % 86_400_000 !== 0);
  const from = times[0] ?? "";
  const to = times[times.length - 1] ?? "";
  return { metric: "", unit: "", grain: hourly ? "hour" : "day", from, to, complete: to, by, total: rows.reduce((sum, x) => sum + x.count, 0), rows };
}
