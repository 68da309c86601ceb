// What surrounds charts, used as a visitor does: filter and compare, the range
// of time, a chart's own page and the links that it gives, and downloads. What
// they give is compared with what the chart shows.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { nameOf } from "../harness.mjs";

const kept = "country:DE";

/** Rows of CSV (RFC 4180), without quotes inside. */
const rows = (csv) => csv.trim().split(/\r?\n/).map((l) => [...l.matchAll(/("(?:[^"]|"")*"|[^,]*)(,|$)/g)].map((m) => m[1].replace(/^"|"$/g, "").replaceAll('""', '"')));

async function filters(t) {
  const { context, page, fail } = await t.open({}, "/adoption?range=24h", "filters");
  const form = page.locator("form.filters");
  if (!await form.count()) { fail("has no filters"); return; }
  const before = await page.locator("figure[data-chart]").evaluateAll((all) => all.map((f) => f.dataset.chart));
  // By keyboard: choose, and press the button.
  await form.locator("select[name=filter]").selectOption(kept);
  await form.locator("input[name=compare]").check();
  await form.locator("button[type=submit]").focus();
  await Promise.all([page.waitForURL((u) => u.searchParams.get("filter") === kept && u.searchParams.get("compare") === "before"), page.keyboard.press("Enter")]);
  if (new URL(page.url()).searchParams.get("range") !== "24h") fail("the range is lost");
  await t.draw(page);
  const after = await page.locator("figure[data-chart]").evaluateAll((all) => all.map((f) => ({ id: f.id, chart: f.dataset.chart, why: f.querySelector(".unfiltered")?.textContent, before: f.dataset.before })));
  for (const f of after) {
    const asks = new URL(f.chart, t.base).searchParams.get("filter") === kept;
    if (asks === Boolean(f.why)) fail(`${f.id} ${asks ? "is filtered and says that it isn't" : "is not filtered and does not say why"}`);
  }
  if (!after.some((f) => !f.why)) fail("no chart is filtered");
  if (!after.some((f) => f.before)) fail("no chart is compared with the time before");
  if (JSON.stringify(before) === JSON.stringify(after.map((f) => f.chart))) fail("nothing is filtered");
  await t.fits(page, fail, " with a filter");
  await t.shoot(page, "filtered");
  // Another range keeps the filter, and the filter can be taken away.
  await Promise.all([page.waitForURL((u) => u.searchParams.get("range") === "7d"), page.locator("nav.ranges a[href*='range=7d']").click()]);
  if (new URL(page.url()).searchParams.get("filter") !== kept) fail("another range loses the filter");
  await page.locator("form.filters select[name=filter]").selectOption("");
  await Promise.all([page.waitForURL((u) => !u.searchParams.get("filter")), page.locator("form.filters button[type=submit]").click()]);
  await context.close();

  // Without a script it is the same form.
  const plain = await t.open({ javaScriptEnabled: false }, "/adoption?range=24h", "filters-noscript");
  await plain.page.locator("form.filters select[name=filter]").selectOption(kept);
  await Promise.all([plain.page.waitForURL((u) => u.searchParams.get("filter") === kept), plain.page.locator("form.filters button[type=submit]").click()]);
  await plain.context.close();
}

async function downloads(t) {
  const { context, page, fail } = await t.open({ acceptDownloads: true }, "/tls?range=24h", "downloads");
  await t.draw(page);
  const figures = await page.locator("figure[data-drawn=yes]").evaluateAll((all) => all.map((f) => ({
    id: f.id, chart: f.dataset.chart, shown: f.shown(), links: [...f.querySelectorAll(".tools a")].map((a) => ({ text: a.textContent, href: a.getAttribute("href"), hidden: a.hidden })),
  })));
  let compared = 0;
  for (const f of figures) {
    const link = (text) => f.links.find((l) => l.text === text);
    for (const want of ["JSON", "CSV", "More"]) if (!link(want)) fail(`${f.id} has no link ${want}`);
    if (!link("JSON") || !link("CSV")) continue;
    if (link("JSON").href !== f.chart) fail(`${f.id} shows ${f.chart} but offers ${link("JSON").href}`);
    const json = await (await fetch(t.base + link("JSON").href)).json();
    const csv = await fetch(t.base + link("CSV").href);
    const text = await csv.text();
    if (!csv.ok || !csv.headers.get("content-type").startsWith("text/csv")) fail(`${f.id} as CSV: ${csv.status} ${csv.headers.get("content-type")}`);
    const [head, ...lines] = rows(text);
    if (lines.length !== json.rows.length) { fail(`${f.id}: ${lines.length} lines of CSV, ${json.rows.length} rows of JSON`); continue; }
    const at = head.indexOf("count");
    if (at >= 0) {
      const sum = lines.reduce((n, l) => n + Number(l[at] || 0), 0), want = json.rows.reduce((n, r) => n + (r.count ?? 0), 0);
      if (sum !== want) fail(`${f.id}: CSV counts ${sum}, JSON ${want}`);
    }
    compared++;
    const svg = link("SVG");
    if (!svg) continue;
    const picture = await fetch(t.base + svg.href);
    const drawing = await picture.text();
    if (!picture.ok || !picture.headers.get("content-type").startsWith("image/svg+xml")) fail(`${f.id} as SVG: ${picture.status} ${picture.headers.get("content-type")}`);
    else if (!drawing.includes("<svg") || /<script|onload=|<foreignObject/i.test(drawing)) fail(`${f.id} as SVG is not what it should be: ${drawing.slice(0, 80)}`);
    if (!link("PNG") || link("PNG").hidden) fail(`${f.id} has no PNG, though there are scripts`);
  }
  const png = page.locator("figure[data-drawn=yes] a.png").first();
  if (await png.count()) {
    const [file] = await Promise.all([page.waitForEvent("download"), png.click()]);
    const b = await readFile(await file.path());
    if (b.subarray(1, 4).toString() !== "PNG" || b.readUInt32BE(16) < 600 || !file.suggestedFilename().endsWith(".png")) fail(`the PNG ${file.suggestedFilename()} is not a picture: ${b.length} bytes, ${b.readUInt32BE(16)} wide`);
    t.note(`a PNG of ${b.readUInt32BE(16)} × ${b.readUInt32BE(20)}, ${Math.round(b.length / 1024)} KB`);
  }
  t.note(`${compared} charts compared with their CSV`);
  await context.close();
}

async function alone(t) {
  const { context, page, fail } = await t.open({}, "/tls?range=24h", "chart");
  const more = await page.locator("figure[data-chart] .tools a", { hasText: "More" }).evaluateAll((all) => all.map((a) => a.getAttribute("href")));
  if (!more.length) { fail("no chart has a page"); return; }
  const hash = async (p) => createHash("sha256").update(JSON.stringify(await p.locator("figure[data-drawn]").first().evaluate((f) => f.shown?.() ?? []))).digest("hex");
  const href = more[0];
  await page.goto(t.base + href, { waitUntil: "load" });
  await t.draw(page);
  await t.shoot(page, "chart");
  const same = await hash(page);
  for (const id of ["link-fixed", "link-moving"]) {
    const url = (await page.locator("#" + id).textContent()).trim();
    if (!url.startsWith(t.base + "/")) { fail(`${id} leads to ${url}`); continue; }
    const again = await t.open({}, url.slice(t.base.length), id);
    await t.draw(again.page);
    if (await hash(again.page) !== same) fail(`${id} shows something else`);
    await again.context.close();
  }
  // Code to embed is put into a page of another origin, whose frame then has the chart.
  const code = (await page.locator("#embed").textContent()).trim();
  const src = /src="([^"]+)"/.exec(code)?.[1].replaceAll("&amp;", "&");
  if (!src) fail(`code to embed has no address: ${code}`);
  else if (!await t.has(src.slice(t.base.length))) fail(`what is embedded is not there: ${src}`);
  else {
    const other = await t.context({}, "embedded");
    const site = createServer((_, w) => w.setHeader("Content-Type", "text/html").end(`<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>x</title><body>${code}</body></html>`));
    await new Promise((done) => site.listen(0, "127.0.0.1", done)); // another port is another origin
    other.page.removeAllListeners("request");
    await other.page.goto(`http://127.0.0.1:${site.address().port}/`, { waitUntil: "load" });
    await other.page.frameLocator("iframe").locator("img, svg, table").first().waitFor({ state: "visible" });
    await t.shoot(other.page, "embedded");
    await other.context.close();
    site.closeAllConnections();
    site.close();
    for (const path of ["/", href]) {
      const policy = (await fetch(t.base + path)).headers.get("content-security-policy") ?? "";
      if (!/frame-ancestors '(none|self)'/.test(policy)) fail(`${path} may be framed by others: ${policy}`);
    }
  }
  const curl = (await page.locator("#curl").textContent()).trim().replace(/^curl '(.*)'$/, "$1");
  const answer = await fetch(curl);
  if (!answer.ok || !(await answer.json()).rows) fail(`the numbers' address gives ${answer.status}`);
  await context.close();

  // Each chart's own page is whole.
  await t.each(more, async (path) => {
    const o = await t.open({}, path, nameOf(path));
    await t.draw(o.page);
    const drawn = await o.page.locator("figure[data-chart]").first().getAttribute("data-drawn");
    if (!["yes", "empty"].includes(drawn)) o.fail(`is not drawn (${drawn})`);
    for (const id of ["confidence", "annotations", "use", "sql"]) if (!await o.page.locator("#" + id).count()) o.fail(`has no #${id}`);
    await o.context.close();
  });
  t.note(`${more.length} charts' own pages`);
}

export default async function (t) {
  await filters(t);
  await downloads(t);
  await alone(t);
}
