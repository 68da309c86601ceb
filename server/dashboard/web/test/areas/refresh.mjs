// A page that stays open shows what is new.
export default async function (t) {
  const later = await t.context({}, "refresh");
  await later.page.clock.install();
  await later.page.goto(t.base + "/", { waitUntil: "networkidle" });
  await later.page.locator("main strong").first().evaluate((e) => { e.textContent = "stale"; });
  const again = later.page.waitForResponse((r) => r.url().includes("/api/v1/query"));
  await later.page.clock.runFor(31_000);
  await again;
  await later.page.waitForFunction(() => document.getElementById("live").textContent.startsWith("Updated at"));
  if (await later.page.locator("main strong").first().textContent() === "stale") later.fail("the numbers are not renewed");
  await later.context.close();
}
