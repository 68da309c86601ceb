// Alerts without JavaScript and with it: subscribe by the form, read the page and
// the feed, end it with the token; the same for an instance, on its own page.
import { accessible } from "../axe.mjs";
import { schemes, sizes } from "../harness.mjs";

export default async function (t) {
  if (!await t.has("/alerts")) return t.fail("alerts", "there is no page of alerts");
  const own = t.extra.find((p) => p.startsWith("/instance/"));
  const jobs = Object.keys(sizes).map((size, i) => ({ size, scheme: schemes[i], script: i === 0, label: `alerts-${size}-${schemes[i]}` }));
  await t.each(jobs, async ({ size, scheme, script, label }) => {
    const { context, page, fail } = await t.open({ viewport: sizes[size], colorScheme: scheme, javaScriptEnabled: script, expect: /404/ }, "/alerts", label);
    const looks = async (step) => {
      if (script) await accessible(page, (what) => fail(`${step}: ${what}`));
      await t.fits(page, fail, ` (${step})`);
      await t.shoot(page, `${label}-${step}`);
    };
    await page.getByLabel("Panics").check();
    await page.getByLabel("A name for it").fill("Mine & <yours>");
    await page.getByRole("button", { name: "Subscribe" }).click();
    await page.getByRole("heading", { name: "You are subscribed" }).waitFor();
    await looks("created");
    const token = await page.locator("#token").textContent();
    const feed = await page.locator('dl a[href$="feed.atom"]').getAttribute("href");
    const atom = await (await fetch(t.base + feed)).text();
    if (!atom.includes("<title>Mine &amp; &lt;yours&gt;</title>")) fail(`the feed is ${atom.slice(0, 300)}`);
    await page.locator('dl a[href^="/alerts/"]').click();
    await page.getByRole("heading", { name: "Mine & <yours>", level: 1 }).waitFor();
    if (await page.locator(".watches tbody tr").count() !== 3) fail("three numbers were chosen");
    await looks("one");
    const path = new URL(page.url()).pathname;
    await page.getByLabel("The token").fill(token);
    await page.getByRole("button", { name: "End this subscription" }).click();
    await page.getByRole("heading", { name: "What is unusual now" }).waitFor();
    if (await t.has(path)) fail("it is there after its end");

    if (own) {
      await page.goto(t.base + own);
      const summary = page.getByText("Be told when something is unusual");
      if (!await page.getByLabel("Panics").isVisible()) await summary.click();
      await page.getByLabel("A name for it").fill(label);
      await page.getByRole("button", { name: "Subscribe" }).click();
      await page.getByRole("link", { name: "Back to your instance" }).click();
      await page.getByRole("link", { name: label }).waitFor();
      await page.getByRole("button", { name: `End ${label}` }).click();
      await page.getByRole("heading", { name: "Your instance" }).waitFor();
      if (await page.getByRole("link", { name: label }).count()) fail("the instance's subscription is there after its end");
    }
    await context.close();
  });
}
