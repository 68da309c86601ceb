// node sql.mjs BASE_URL OUTDIR
//
// Asks the page of SQL in Chromium: questions that are ready, a query that came
// with a link, and hostile ones, which must fail without reaching anything but
// the data set. It fails on what the page should not have done. OUTDIR gets
// screenshots.
import { chromium } from "playwright-core";
import { mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";

const [base, out] = process.argv.slice(2);
if (!base || !out) {
  console.error("usage: node sql.mjs BASE_URL OUTDIR");
  process.exit(2);
}
await mkdir(out, { recursive: true });
const problems = [];
const check = (ok, what) => { if (!ok) problems.push(what); console.log(`${ok ? "ok  " : "FAIL"} ${what}`); };

// A host that a hostile query would like to reach.
let reached = 0;
const other = createServer((_, res) => { reached++; res.setHeader("Access-Control-Allow-Origin", "*"); res.end("a\n1\n"); });
await new Promise((done) => other.listen(0, "127.0.0.1", done));
const elsewhere = `http://127.0.0.1:${other.address().port}`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

async function open(options = {}, path = "/data/sql") {
  const context = await browser.newContext({ acceptDownloads: true, ...options });
  const page = await context.newPage();
  const asked = [];
  // What a policy refuses is no request: it never finishes.
  context.on("requestfinished", (r) => asked.push(`${r.method()} ${r.url()}`));
  page.on("pageerror", (e) => problems.push(`script: ${e.message}`));
  await page.goto(base + path, { waitUntil: "load" });
  await page.locator("#run:not([disabled])").waitFor();
  return { page, context, asked };
}

const axe = await readFile(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

async function accessible(page, label) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  check(violations.length === 0, `${label} is accessible ${violations.map((v) => `${v.id}: ${v.nodes[0]?.html}`)}`);
}

const patient = { timeout: 180_000 };

/** Runs a query and gives what the page says of it. */
async function ask(page, sql) {
  await page.fill("#query", sql);
  return answered(page, () => page.locator("#query").press("Control+Enter"));
}

/** Does what makes a query run, and waits until it has. */
async function answered(page, start) {
  const before = await page.locator("#sql").evaluate((f) => Number(f.dataset.answers ?? 0));
  await start();
  await page.waitForFunction((n) => Number(document.querySelector("#sql").dataset.answers ?? 0) > n, before, patient);
  return {
    says: await page.textContent("#sql-status"),
    rows: await page.locator("#result:not([hidden]) #result-table tbody tr").allInnerTexts(),
    drawn: await page.locator("#result-chart:not([hidden]) svg").count(),
  };
}

// The questions that are ready: each has rows, and most are drawn.
{
  const { page, asked } = await open();
  const titles = await page.locator("a.question").allInnerTexts();
  for (const [i, title] of titles.entries()) {
    const got = await answered(page, () => page.locator("a.question").nth(i).click());
    check(got.rows.length > 0, `${title}: ${got.says} ${got.drawn ? "drawn" : "not drawn"}`);
    if (i === 0) {
      check(got.drawn === 1, "the first question is drawn");
      await page.screenshot({ path: `${out}/sql.png`, fullPage: true });
    }
  }
  check(asked.every((u) => u.includes(" " + base)), "nothing is asked of other hosts");
  check(asked.every((u) => /^(GET|HEAD) /.test(u) && !/select|q=/i.test(u)), "no query is sent");
  const parts = asked.filter((u) => u.includes(".parquet"));
  check(parts.length > 0, `files are read by range, in ${parts.length} requests`);

  const link = new URL(page.url());
  check(link.hash.startsWith("#q=") && decodeURIComponent(link.hash).includes("FROM"), "the address carries the query");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  const csv = await readFile(await download.path(), "utf8");
  check(csv.split("\r\n").length > 2, `CSV of ${csv.split("\r\n").length - 2} rows`);

  // A file by its path, and a table's columns.
  const file = (await (await fetch(base + "/dataset/manifest.json")).json()).files.find((f) => f.format === "parquet" && f.metric === "http.requests" && f.grain === "hour");
  const one = await ask(page, `SELECT count(*)::INT AS n FROM read_parquet('/dataset/${file.path}')`);
  check(one.rows.join().replace(/\D/g, "") === String(file.rows), `a file by its path has ${one.rows} rows, as the manifest says`);

  // What the page shows is what the file has, by the service's own API of files.
  const typed = await ask(page, "SELECT 1 AS one, 'a' AS text, NULL AS nothing, DATE '2026-11-21' AS day, TIMESTAMP '2026-11-21 10:30:00' AS moment, 9007199254740993::BIGINT AS large, true AS yes, [1, 2] AS list, sum(range)::HUGEINT AS huge FROM range(10) GROUP BY ALL");
  check(typed.rows.length === 1 && typed.rows[0].split("\t").slice(0, 5).join("|") === "1|a||2026-11-21|2026-11-21 10:30", `types: ${JSON.stringify(typed.rows)} ${typed.says}`);

  const many = await ask(page, "SELECT range AS n FROM range(1000000000)");
  check(many.says.includes("first 10000 rows") && many.rows.length === 500, `a result of 10⁹ rows: ${many.says}`);
}

// A query that a link brought is not run until its reader says so.
{
  const { page } = await open({}, "/data/sql#q=" + encodeURIComponent("SELECT 42 AS answer"));
  check((await page.inputValue("#query")) === "SELECT 42 AS answer" && (await page.locator("#result").isHidden()), "a link's query waits");
  check((await answered(page, () => page.click("#run"))).rows.join() === "42", "and then runs");
}

// Hostile queries.
{
  const { page, asked } = await open();
  await page.locator("#sql").evaluate((f) => { f.dataset.seconds = "10"; });
  const before = await ask(page, "SELECT 1");
  check(before.rows.length === 1, "an engine to attack");
  for (const sql of [
    `SELECT * FROM read_csv_auto('${elsewhere}/x.csv')`,
    `SELECT * FROM '${elsewhere}/x.parquet'`,
    `COPY (SELECT 1) TO '${elsewhere}/x.csv'`,
    `SELECT * FROM read_csv_auto('${base}/api/v1/metrics')`,
    `SELECT * FROM read_parquet('${base}/dataset/../api/v1/metrics')`,
    `COPY (SELECT 1) TO '${base}/dataset/x.csv'`,
    `INSTALL httpfs FROM '${elsewhere}'`,
    "INSTALL httpfs",
    "LOAD httpfs",
    `ATTACH '${elsewhere}/x.db' AS x`,
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM glob('/**')",
    "SET memory_limit = '100GB'",
    "SET enable_external_access = true",
    "SET custom_extension_repository = '" + elsewhere + "'",
    "SELECT * FROM day.\"no.such.metric\"",
    "SELEKT",
    "",
  ]) {
    const got = await ask(page, sql);
    check(got.rows.length === 0, `refused: ${sql || "(nothing)"}: ${(got.says ?? "").slice(0, 110).replaceAll("\n", " ")}`);
  }
  check(reached === 0, "no other host was reached");
  check(asked.every((u) => u.includes(` ${base}/`)), `all requests were to the service: ${asked.filter((u) => !u.includes(` ${base}/`))}`);
  check(asked.every((u) => /^(GET|HEAD) /.test(u)), `all requests were to read: ${asked.filter((u) => !/^(GET|HEAD) /.test(u))}`);

  for (const sql of [
    "SELECT count(*) FROM (SELECT DISTINCT a.range * 1000003 + b.range AS x, repeat('y', 300) || x AS y FROM range(30000) a, range(3000) b)",
    "SELECT length(repeat('abcdefghij', 200000000))",
    "SELECT list(range) FROM range(400000000)",
  ]) {
    const got = await ask(page, sql);
    check(/memory|stopped/i.test(got.says ?? ""), `more memory than it may have: ${(got.says ?? "").slice(0, 140)}`);
  }

  // One that goes on for ever is stopped, and the next one is answered.
  await page.fill("#query", "SELECT sum(a.range * b.range * c.range) FROM range(1000000) a, range(1000000) b, range(1000000) c");
  const stopped = await answered(page, async () => {
    await page.click("#run");
    await page.getByText("Running …").waitFor(patient);
    await page.click("#stop");
  });
  check(/stopped/.test(stopped.says), `a query without an end: ${stopped.says}`);
  check((await ask(page, "SELECT 7 AS x")).rows.join() === "7", "the next query is answered");
}

// What it looks like: phone and dark, and the page of the data set.
for (const [label, options] of [
  ["desktop-light", { viewport: { width: 1280, height: 900 } }],
  ["desktop-dark", { viewport: { width: 1280, height: 900 }, colorScheme: "dark" }],
  ["phone-light", { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }],
  ["phone-dark", { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, colorScheme: "dark" }],
]) {
  const { page } = await open(options);
  await answered(page, () => page.locator("a.question").nth(0).click());
  await page.screenshot({ path: `${out}/sql-${label}.png`, fullPage: true });
  await accessible(page, `/data/sql ${label}, with a result`);
  await page.goto(base + "/data", { waitUntil: "load" });
  await page.screenshot({ path: `${out}/data-${label}.png`, fullPage: true });
  await accessible(page, `/data ${label}`);
  for (const path of ["/data", "/data/sql"]) {
    await page.goto(base + path, { waitUntil: "load" });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(wide <= 0, `${path} ${label} fits`);
  }
}

await browser.close();
other.close();
for (const p of problems) console.error(p);
process.exit(problems.length ? 1 : 0);
