// What /api/v1/query and /api/v1/quantiles give, as series to draw.

export interface Row {
  time?: string;
  group?: Record<string, string>;
  rest?: boolean;
  suppressed?: boolean;
  count: number;
  sum?: number;
  quantiles?: number[];
  /** The interval that the count lies in with the confidence that the page says. */
  low?: number;
  high?: number;
}

/** Something that happened, on a chart's axis of time. Without an end it is a moment. */
export interface Annotation {
  time: string;
  end?: string;
  kind: "release" | "incident" | "campaign" | "gap" | string;
  title: string;
  href?: string;
}

/** A stretch of time in a lane of a timeline. Without an end it goes on. */
export interface Span {
  from: string;
  to?: string;
  lane: string;
  name: string;
  /** What it is of its lane's things: has a colour. */
  kind?: string;
  note?: string;
}

export interface Answer {
  metric: string;
  unit: string;
  grain: "window" | "hour" | "day";
  from: string;
  to: string;
  complete: string;
  by: string[];
  q?: number[];
  total: number;
  rows: Row[];
  annotations?: Annotation[];
  /** The same of the time before, as long, and shifted by that when it is drawn. */
  before?: Answer;
  /** Of a timeline, in place of rows. */
  spans?: Span[];
}

/** Reports whether there is nothing to draw. */
export function empty(a: Answer): boolean {
  return (a.rows?.length ?? 0) === 0 && (a.spans?.length ?? 0) === 0;
}

/** How a figure wants its answer to be read. */
export interface Reading {
  names: Record<string, string>;
  order: string[];
  mean?: boolean;
  /** The series that the others are parts of. */
  whole?: string | undefined;
}

export interface Series {
  key: string;
  name: string;
  /** By time: [milliseconds, value]; else the value of each category. */
  points: [number, number | null][];
}

export const rest = "\u0000rest";
export const suppressed = "\u0000suppressed";

export function keyOf(a: Answer, r: Row): string {
  if (r.rest) return rest;
  if (r.suppressed) return suppressed;
  return a.by.filter((b) => b !== "time").map((b) => r.group?.[b] ?? "").join(" ");
}

export function nameOf(key: string, a: Answer, how: Reading): string {
  if (key === rest) return "Everything else";
  if (key === suppressed) return "Too few to show";
  if (key === "") return how.names[""] ?? (a.metric.startsWith("instances.") ? "Instances" : "Requests");
  return how.names[key] ?? key;
}

const lengths = { hour: 3_600_000, day: 86_400_000 };

/** Periods in which nothing was reported: the first of each gap, where lines break off. */
function gaps(times: number[], grain: Answer["grain"]): Set<number> {
  const steps = times.slice(1).map((t, i) => t - (times[i] ?? t));
  const step = grain === "window" ? Math.min(...steps) : lengths[grain];
  return new Set(steps.flatMap((s, i) => (s > 1.5 * step ? [(times[i] ?? 0) + step] : [])));
}

/** Series over time: one a group, or one a quantile. Groups lack no period that others have. */
export function overTime(a: Answer, how: Reading): Series[] {
  const times = [...new Set(a.rows.map((r) => Date.parse(r.time ?? a.from)))].sort((x, y) => x - y);
  const found = new Map<string, { name: string; values: Map<number, number> }>();
  const put = (key: string, name: string, time: number, value: number) => {
    let s = found.get(key);
    if (!s) found.set(key, (s = { name, values: new Map() }));
    s.values.set(time, value);
  };
  for (const r of a.rows) {
    const time = Date.parse(r.time ?? a.from);
    if (how.mean) put("mean", a.metric.endsWith(".peak") ? "Peak" : "Mean", time, (r.sum ?? 0) / Math.max(r.count, 1));
    else if (a.q) a.q.forEach((q, i) => put(String(q), quantileName(q), time, r.quantiles?.[i] ?? 0));
    else {
      const key = keyOf(a, r);
      put(key, nameOf(key, a, how), time, r.count);
    }
  }
  const holes = gaps(times, a.grain);
  const axis = [...times, ...holes].sort((x, y) => x - y);
  const place = (key: string) => {
    if (key.startsWith("\u0000")) return 1e6;
    const i = how.order.indexOf(key);
    return i < 0 ? 1e5 : i;
  };
  return [...found]
    .map(([key, s]): Series => ({
      key,
      name: s.name,
      // Nothing counted is 0; without observations there is no quantile.
      points: axis
        .filter((t) => holes.has(t) || !(a.q && !s.values.has(t)))
        .map((t) => [t, holes.has(t) ? null : (s.values.get(t) ?? 0)]),
    }))
    .sort((x, y) => place(x.key) - place(y.key));
}

/** Categories along an axis, and one series a quantile, or one of counts. */
export function byGroup(a: Answer, how: Reading): { categories: string[]; series: Series[] } {
  const rows = a.rows.map((r) => ({ row: r, name: nameOf(keyOf(a, r), a, how), place: how.order.indexOf(keyOf(a, r)) }));
  rows.sort((x, y) => (x.place < 0 ? 1e5 : x.place) - (y.place < 0 ? 1e5 : y.place));
  const categories = rows.map((r) => r.name);
  const series = a.q
    ? a.q.map((q, i): Series => ({ key: String(q), name: quantileName(q), points: rows.map((r, n) => [n, r.row.quantiles?.[i] ?? 0]) }))
    : [{ key: "", name: nameOf("", a, how), points: rows.map((r, n): [number, number] => [n, r.row.count]) }];
  return { categories, series };
}

function quantileName(q: number): string {
  return "p" + +(100 * q).toFixed(6);
}
