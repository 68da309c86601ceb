// node browser.mjs BASE_URL OUTDIR [PATH…]
//
// Loads every page of a running server in Chromium, on a desktop and on a
// phone, light and dark, and without scripts. It fails on console messages of
// a problem, failed requests, violations of the content policy, horizontal
// overflow, charts that are not drawn, and charts whose numbers are not those
// that their URL of the API gives. OUTDIR gets screenshots.
import { chromium } from "playwright-core";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [base, out, ...extra] = process.argv.slice(2);
if (!base || !out) {
  console.error("usage: node browser.mjs BASE_URL OUTDIR [PATH…]");
  process.exit(2);
}
await mkdir(out, { recursive: true });
const profile = await mkdtemp(join(tmpdir(), "evergreen-browser-"));
const nav = await (await fetch(base + "/")).text();
const linked = (html, from) => [...html.slice(html.indexOf(from), html.indexOf("</nav>", html.indexOf(from))).matchAll(/href="(\/[a-z]+(?:\/[a-z]+)?)"/g)].map((m) => m[1]);
// Each entry of the navigation, and the pages beside it.
const topics = [...new Set((await Promise.all(linked(nav, '<nav class="main-nav"').map(async (p) => {
  const html = await (await fetch(base + p)).text();
  return [p, ...html.includes('<nav class="beside"') ? linked(html, '<nav class="beside"') : []];
}))).flat())];
const paths = ["/", "/?range=1h", ...topics, ...extra];
const problems = [];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", `--disk-cache-dir=${profile}`],
});

const name = (path) => path.replace(/\?(?:.*&)?range=/, "-").replace(/\?.*/, "").replace(/[^a-z0-9-]+/gi, "_").replace(/^_+|_+$/g, "").replace(/^-/, "overview-").slice(0, 24) || "overview";

async function open(options, path, label) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const fail = (what) => problems.push(`${label}: ${what}`);
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) fail(`console: ${m.text()}`); });
  page.on("pageerror", (e) => fail(`script: ${e.message}`));
  page.on("requestfailed", (r) => fail(`request failed: ${r.url()} ${r.failure()?.errorText}`));
  page.on("response", (r) => { if (r.status() >= 400) fail(`${r.status()}: ${r.url()}`); });
  page.on("request", (r) => { if (!r.url().startsWith(base) && !r.url().startsWith("data:")) fail(`asks another host: ${r.url()}`); });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (e) => console.error("policy violated: " + e.violatedDirective + " " + e.blockedURI));
    // How far the content moves while the page comes up.
    window.moved = 0;
    new PerformanceObserver((l) => { for (const e of l.getEntries()) if (!e.hadRecentInput) window.moved += e.value; }).observe({ type: "layout-shift", buffered: true });
  });
  await page.goto(base + path, { waitUntil: "networkidle" });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) fail(`is ${wide} pixels too wide`);
  return { context, page, fail };
}

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
  return [...series.values()].map((s) => [...s.values()].map((v) => +v.toPrecision(9)).sort((a, b) => a - b).join()).sort();
}

async function charts(page, fail) {
  await page.evaluate(async () => {
    for (const f of document.querySelectorAll("figure[data-chart]")) {
      f.scrollIntoView();
      for (let i = 0; i < 100 && !f.dataset.drawn; i++) await new Promise((r) => setTimeout(r, 50));
    }
    scrollTo(0, 0);
  });
  const figures = await page.evaluate(async () => Promise.all([...document.querySelectorAll("figure[data-chart]")].map(async (f) => ({
    id: f.id, drawn: f.dataset.drawn, kind: f.dataset.kind, mean: "mean" in f.dataset, whole: f.dataset.whole, shown: f.shown?.(),
    paths: f.querySelectorAll(".canvas svg path").length, answer: await (await fetch(f.dataset.chart)).json(),
  }))));
  for (const f of figures) {
    if (f.drawn === "empty" && f.answer.rows.length === 0) continue;
    if (f.drawn !== "yes" || f.paths < 3) { fail(`${f.id} is not drawn (${f.drawn}, ${f.paths} paths)`); continue; }
    const got = f.shown.map((s) => s.data.map((d) => Array.isArray(d) ? d[1] : d).filter((v) => v !== null).map((v) => +v.toPrecision(9)).sort((a, b) => a - b).join()).sort();
    const want = expected(f.answer, f.kind, f.mean, f.whole);
    if (JSON.stringify(got) !== JSON.stringify(want)) fail(`${f.id} shows ${JSON.stringify(got).slice(0, 200)} but the API gives ${JSON.stringify(want).slice(0, 200)}`);
  }
  return figures.filter((f) => f.drawn === "yes").length;
}

let drawn = 0;
try {
  for (const [size, viewport] of Object.entries({ desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } })) {
    for (const colorScheme of ["light", "dark"]) {
      for (const path of paths) {
        const label = `${name(path)}-${size}-${colorScheme}`;
        const { context, page, fail } = await open({ viewport, colorScheme, deviceScaleFactor: 1, hasTouch: size === "phone", timezoneId: "America/New_York" }, path, label);
        drawn += await charts(page, fail);
        const moved = await page.evaluate(() => window.moved);
        if (moved > 0.05) fail(`the layout moves by ${moved.toFixed(3)} while loading`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (wide > 0) fail(`is ${wide} pixels too wide once charts are drawn`);
        await page.screenshot({ path: join(out, label + ".png"), fullPage: true });
        await context.close();
      }
    }
  }

  for (const path of paths) {
    const label = `${name(path)}-noscript`;
    const { context, page, fail } = await open({ viewport: { width: 1280, height: 900 }, javaScriptEnabled: false }, path, label);
    for (const f of await page.locator("figure").all()) {
      if (!await f.locator("table, .none").first().isVisible()) fail(`${await f.getAttribute("id")} shows no table`);
      if (await f.locator(".canvas").count() && await f.locator(".canvas").isVisible()) fail("shows an empty chart");
    }
    await page.screenshot({ path: join(out, label + ".png"), fullPage: true });
    await context.close();
  }

  // By keyboard: to a chart's table and back.
  const { context, page, fail } = await open({ viewport: { width: 1280, height: 900 } }, "/", "keyboard");
  await charts(page, fail);
  const button = page.locator("figure[data-drawn=yes] .as-table").first();
  if (await button.count()) {
    await button.focus();
    await page.keyboard.press("Enter");
    if (!await page.locator("figure[data-drawn=yes] .data").first().isVisible()) fail("Enter on Table shows no table");
    if (await button.getAttribute("aria-expanded") !== "true") fail("the button does not say that the table is there");
    await page.keyboard.press("Enter");
    if (await page.locator("figure[data-drawn=yes] .data").first().isVisible()) fail("the chart does not come back");
  }
  const unnamed = await page.evaluate(() => [...document.querySelectorAll("a, button, figure, nav, section, [role=region]")]
    .filter((e) => !e.hidden && !(e.textContent.trim() && ["A", "BUTTON"].includes(e.tagName)) && !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby"))
    .map((e) => e.outerHTML.slice(0, 80)));
  if (unnamed.length) fail("without a name: " + unnamed.join(" | "));
  await context.close();

  // The list of pages: always there on a desktop, behind a button on a phone, with and without scripts.
  for (const javaScriptEnabled of [true, false]) {
    const desktop = await open({ viewport: { width: 1280, height: 900 }, javaScriptEnabled }, "/tls", "menu-desktop");
    if (!await desktop.page.locator("nav[aria-label=Pages] a").last().isVisible()) desktop.fail("the list of pages is not seen");
    if (await desktop.page.locator(".pages summary").isVisible()) desktop.fail("the list has a button");
    await desktop.context.close();
    const phone = await open({ viewport: { width: 390, height: 844 }, javaScriptEnabled, hasTouch: true }, "/tls", "menu-phone");
    const summary = phone.page.locator(".pages summary");
    if (await phone.page.locator("nav[aria-label=Pages] a").first().isVisible()) phone.fail("the list of pages is open");
    if (!(await summary.textContent()).includes("TLS")) phone.fail("the button does not say which page this is");
    await summary.tap();
    const boxes = await Promise.all((await phone.page.locator("nav[aria-label=Pages] a").all()).map((a) => a.boundingBox()));
    if (boxes.length < 10 || boxes.some((b) => !b || b.x < 0 || b.x + b.width > 390)) phone.fail("the list of pages is not all there: " + JSON.stringify(boxes));
    await phone.page.screenshot({ path: join(out, "menu-phone.png") });
    await phone.page.locator("nav[aria-label=Pages] a", { hasText: "Attacks" }).tap();
    await phone.page.waitForURL("**/attacks");
    await phone.context.close();
  }

  // After half a minute the page looks again, and its charts are drawn anew.
  const later = await open({ viewport: { width: 1280, height: 900 } }, "/dictionary", "refresh");
  await later.page.clock.install();
  await later.page.goto(base + "/", { waitUntil: "networkidle" });
  await later.page.locator("main strong").first().evaluate((e) => { e.textContent = "stale"; });
  const again = later.page.waitForResponse((r) => r.url().includes("/api/v1/query"));
  await later.page.clock.runFor(31_000);
  await again;
  await later.page.waitForFunction(() => document.getElementById("live").textContent.startsWith("Updated at"));
  if (await later.page.locator("main strong").first().textContent() === "stale") later.fail("the numbers are not renewed");
  await later.context.close();
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}

for (const p of problems) console.error(p);
console.log(`${paths.length} pages, ${drawn} charts drawn and compared, ${problems.length} problems`);
process.exit(problems.length ? 1 : 0);
