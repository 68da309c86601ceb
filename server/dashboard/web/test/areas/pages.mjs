// Every page on a desktop and on a phone, light and dark: its charts are
// drawn and show the numbers that their address of the API gives, nothing
// moves, nothing is too wide, axe finds no violation, and a screenshot is kept.
import { accessible } from "../axe.mjs";
import { nameOf, schemes, sizes } from "../harness.mjs";

// What a chart should show, worked out here from the API's answer once more.
function expected(answer, kind, mean, whole) {
  const series = new Map();
  const times = [...new Set(answer.rows.map((r) => Date.parse(r.time)))].sort((a, b) => a - b);
  const put = (name, x, v) => { if (!series.has(name)) series.set(name, new Map()); series.get(name).set(x, v); };
  const key = (r) => r.rest ? "rest" : r.suppressed ? "suppressed" : answer.by.filter((b) => b !== "time").map((b) => r.group[b]).join(" ");
  answer.rows.forEach((r) => {
    const x = kind === "columns" ? key(r) : Date.parse(r.time);
    if (mean) put("mean", x, r.sum / r.count);
    else if (answer.q) answer.q.forEach((q, i) => put(q, x, r.quantiles[i]));
    else put(key(r), x, r.count);
  });
  if (kind === "share") {
    const all = new Map(times.map((t) => [t, [...series.values()].reduce((n, s) => n + (s.get(t) ?? 0), 0)]));
    for (const s of series.values()) for (const t of times) s.set(t, 100 * (s.get(t) ?? 0) / Math.max(all.get(t), 1));
  } else if (kind === "portion") {
    const all = series.get(whole) ?? new Map();
    series.delete(whole);
    for (const s of series.values()) for (const t of times) s.set(t, 100 * (s.get(t) ?? 0) / Math.max(all.get(t) ?? 0, 1));
  } else if (!answer.q && kind !== "columns") for (const s of series.values()) for (const t of times) if (!s.has(t)) s.set(t, 0);
  return [...series.values()].map(line).sort();
}

const line = (values) => [...values.values()].map((v) => +v.toPrecision(9)).sort((a, b) => a - b).join();
const number = (d) => Array.isArray(d) ? d[1] : typeof d === "object" && d ? [d.value].flat().at(-1) : d;
const known = ["area", "lines", "share", "portion", "columns"];

/** Fails for charts that are not drawn or show other numbers than the API; returns how many are drawn. */
export async function charts(t, page, fail) {
  await t.draw(page);
  const figures = await page.evaluate(async () => Promise.all([...document.querySelectorAll("figure[data-chart]")].filter((f) => !f.closest("details:not([open])")).map(async (f) => ({
    id: f.id, drawn: f.dataset.drawn, kind: f.dataset.kind, mean: "mean" in f.dataset, whole: f.dataset.whole, shown: f.shown?.(),
    paths: f.querySelectorAll(".canvas svg path").length, answer: await (await fetch(f.dataset.chart)).json(),
  }))));
  for (const f of figures) {
    if (f.drawn === "empty" && f.answer.rows.length === 0) continue;
    if (f.drawn !== "yes" || f.paths < 3) { fail(`${f.id} is not drawn (${f.drawn}, ${f.paths} paths)`); continue; }
    if (!known.includes(f.kind)) continue; // its own area compares it
    const got = f.shown.map((s) => line(s.data.map(number).filter((v) => v !== null && v !== undefined))).sort();
    const want = expected(f.answer, f.kind, f.mean, f.whole);
    if (JSON.stringify(got) !== JSON.stringify(want)) fail(`${f.id} shows ${JSON.stringify(got).slice(0, 200)} but the API gives ${JSON.stringify(want).slice(0, 200)}`);
  }
  return figures.filter((f) => f.drawn === "yes").length;
}

export default async function (t) {
  let drawn = 0;
  const jobs = t.paths.flatMap((path) => Object.keys(sizes).flatMap((size) => schemes.map((scheme) => ({ path, size, scheme, label: `${nameOf(path)}-${size}-${scheme}` }))));
  await t.each(jobs, async ({ path, size, scheme, label }) => {
    const { context, page, fail } = await t.open({ viewport: sizes[size], colorScheme: scheme, hasTouch: size === "phone", timezoneId: "America/New_York" }, path, label);
    // Both sizes and both schemes are in two of the four; the others are drawn and looked at.
    const whole = (size === "desktop") === (scheme === "light");
    if (whole) drawn += await charts(t, page, fail);
    else await t.draw(page);
    const moved = await page.evaluate(() => window.moved);
    if (moved > 0.05) fail(`the layout moves by ${moved.toFixed(3)} while loading`);
    await t.fits(page, fail, " once charts are drawn");
    await t.shoot(page, label);
    if (whole) await accessible(page, fail);
    await context.close();
  });
  t.note(`${t.paths.length} pages, ${drawn} charts drawn and compared`);
}
