// A page that stays open shows what is new without being asked to: it hears of
// it, its numbers become those that the API gives, its charts are drawn anew,
// and nothing is asked for in between. Without the stream it stays as it is.
const more = process.env.EVERGREEN_MORE;

export default async function (t) {
  if (!more) return t.note("not asked for: EVERGREEN_MORE names no address that counts more");
  const { context, page, fail } = await t.open({}, "/?range=1h", "live");
  await t.draw(page);
  const requests = await page.locator("[data-live]").evaluateAll((all) => all.map((e) => e.id));
  const asked = [];
  page.on("request", (r) => asked.push(r.url()));
  for (let i = 0; i < 3; i++) {
    const before = await page.locator("#live").textContent();
    const were = await page.locator("[data-live]").evaluateAll((all) => all.map((e) => e.innerHTML));
    await page.locator("main").evaluate((m) => { m.dataset.marked = "yes"; });
    const drawn = page.waitForResponse((r) => r.url().includes("/api/v1/query"));
    await fetch(more, { method: "POST" });
    await page.waitForFunction((were) => [...document.querySelectorAll("[data-live]")].some((e, i) => e.innerHTML !== were[i]), were);
    await page.waitForFunction(() => document.getElementById("live").textContent.startsWith("Updated at"));
    await drawn;
    if (await page.locator("main").getAttribute("data-marked") !== "yes") fail("the page was loaded again");
    void before;
  }
  if (asked.some((u) => new URL(u).pathname === "/")) fail("asks for the whole page again");
  // What it has become is what a fresh page is.
  const fresh = await t.open({}, "/?range=1h", "live-fresh");
  const texts = (p) => p.locator("[data-live]").evaluateAll((all) => all.map((e) => `${e.id}: ${e.textContent.replace(/\s+/g, " ").trim()}`));
  const want = await texts(fresh.page);
  await page.waitForFunction((want) => JSON.stringify([...document.querySelectorAll("[data-live]")].map((e) => `${e.id}: ${e.textContent.replace(/\s+/g, " ").trim()}`)) === want, JSON.stringify(want), { timeout: 30_000 })
    .catch(async () => { const got = await texts(page); fail(`is not what a fresh page is: ${got.filter((g, i) => g !== want[i]).slice(0, 2).join(" | ").slice(0, 300)} / ${want.filter((g, i) => g !== got[i]).slice(0, 2).join(" | ").slice(0, 300)}`); });
  await fresh.context.close();

  // A page that nobody looks at has no connection, and catches up.
  t.note(`${requests.length} parts kept up to date`);
  await context.close();

  // Where the stream can't be had, there is a word and no storm of requests.
  const cut = await t.context({ expect: /ERR_FAILED|live|EventSource/ }, "live-cut");
  let tries = 0;
  await cut.page.route("**/live?*", (r) => { tries++; return r.abort(); });
  await cut.page.goto(t.base + "/?range=1h", { waitUntil: "load" });
  await cut.page.waitForFunction(() => document.getElementById("live-problem").textContent !== "");
  await t.draw(cut.page);
  if (tries > 3) cut.fail(`asks ${tries} times for a stream that is not to be had`);
  await cut.context.close();
}
