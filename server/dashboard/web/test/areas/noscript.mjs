// Every page without JavaScript: each figure has its table (or says why it
// has none) in sight, and no empty frame of a chart.
import { nameOf, schemes, sizes } from "../harness.mjs";

export default async function (t) {
  const jobs = t.paths.flatMap((path) => Object.keys(sizes).map((size, i) => ({ path, size, scheme: schemes[i], label: `${nameOf(path)}-${size}-noscript` })));
  await t.each(jobs, async ({ path, size, scheme, label }) => {
    const { context, page, fail } = await t.open({ viewport: sizes[size], colorScheme: scheme, javaScriptEnabled: false }, path, label);
    for (const f of await page.locator("figure").all()) {
      if (await f.evaluate((e) => e.closest("[hidden]") !== null)) continue; // a script would fill it
      const id = await f.getAttribute("id");
      if (!await f.locator("table, .none").first().isVisible() && !await f.locator("details summary").first().isVisible()) fail(`${id} shows no table`);
      for (const c of await f.locator(".canvas").all()) if (await c.isVisible() && !await c.locator("img, svg").count()) fail(`${id} shows an empty chart`);
      for (const img of await f.locator("img").all()) {
        await img.scrollIntoViewIfNeeded();
        if (!await img.getAttribute("alt") && await img.getAttribute("alt") !== "") fail(`${id} has a picture without a text`);
      }
    }
    // A button that does nothing without a script must not be offered.
    for (const b of await page.locator("button:not([type=submit]):visible").all()) if (!await b.evaluate((e) => e.form && e.type === "submit")) fail(`offers a button that does nothing: ${(await b.evaluate((e) => e.outerHTML)).slice(0, 100)}`);
    await t.fits(page, fail, " without scripts");
    await t.shoot(page, label);
    await context.close();
  });
}
