// What surrounds charts: the form that filters and compares, by keyboard and
// without scripts; a chart's own page, its code to copy, and its files.
import { accessible } from "../axe.mjs";
import { charts } from "./pages.mjs";
import { sizes } from "../harness.mjs";

const country = (page) => page.locator('.filters select optgroup[label="Country"] option').first().getAttribute("value");

/** Chooses the first country and to compare, and applies it, by keyboard alone if there are scripts or not. */
async function filter(t, page, fail) {
  const value = await country(page);
  if (!value) { fail("there is no country to filter by"); return; }
  const select = page.locator(".filters select");
  await select.focus();
  await select.selectOption(value);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Space");
  await page.keyboard.press("Tab");
  await Promise.all([page.waitForURL((u) => u.searchParams.get("filter") === value && u.searchParams.get("compare") === "before"), page.keyboard.press("Enter")]);
  for (const f of await page.locator("main figure").all()) {
    const id = await f.getAttribute("id");
    const href = new URL(await f.locator("a.source").getAttribute("href"), t.base);
    const filtered = href.searchParams.get("filter") === value;
    if (filtered === (await f.locator(".unfiltered").count() > 0)) fail(`${id} is ${filtered ? "" : "not "}filtered, and does not say so`);
  }
}

async function downloads(t, page, fail) {
  for (const f of await page.locator("main figure").all()) {
    for (const a of await f.locator(".tools a[href^='/api/']").all()) {
      const href = await a.getAttribute("href");
      const r = await fetch(t.base + href);
      const type = r.headers.get("content-type") ?? "";
      const want = new URL(href, t.base).pathname.endsWith(".csv") ? "text/csv" : "application/json";
      if (!r.ok || !type.startsWith(want)) fail(`${href}: ${r.status} ${type}`);
    }
  }
}

export default async function (t) {
  const path = "/clients?range=24h";
  for (const javaScriptEnabled of [true, false]) {
    const { context, page, fail } = await t.open({ javaScriptEnabled, expect: /net::ERR_ABORTED/ }, path, `filter${javaScriptEnabled ? "" : "-noscript"}`);
    await filter(t, page, fail);
    if (javaScriptEnabled) {
      await t.draw(page);
      await accessible(page, fail);
      await downloads(t, page, fail);
    }
    await t.shoot(page, `filter${javaScriptEnabled ? "" : "-noscript"}`);
    await context.close();
  }

  const jobs = [["classes", "desktop", "light"], ["versions", "phone", "dark"], ["first-byte", "desktop", "dark"], ["classes", "phone", "light"]]
    .map(([id, size, scheme]) => ({ id, size, scheme, label: `chart-${id}-${size}-${scheme}` }));
  await t.each(jobs, async ({ id, size, scheme, label }) => {
    const { context, page, fail } = await t.open({ viewport: sizes[size], colorScheme: scheme }, `/chart/${id}?range=24h`, label);
    await charts(t, page, fail);
    await t.fits(page, fail);
    await accessible(page, fail);
    await t.shoot(page, label);
    await context.close();
  });

  // Copying, with and without leave to use the clipboard.
  for (const permissions of [["clipboard-read", "clipboard-write"], []]) {
    const { context, page, fail } = await t.open({ permissions }, "/chart/classes?range=24h", "copy");
    const button = page.locator("button.copy").first();
    await button.focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => ["Copied", "Selected"].includes(document.querySelector("button.copy").textContent));
    const taken = await page.evaluate(async () => document.querySelector("button.copy").textContent === "Copied" ? navigator.clipboard.readText().catch(() => undefined) : getSelection().toString());
    const link = await page.locator("#link-fixed").textContent();
    if (taken !== undefined && taken.trim() !== link.trim()) fail(`copied ${taken}, want ${link}`);
    const again = await fetch(link.trim());
    if (!again.ok) fail(`the link that reproduces it: ${again.status}`);
    await context.close();
  }

  // A PNG of the picture, made here.
  const { context, page, fail } = await t.open({ acceptDownloads: true }, "/chart/classes?range=24h", "png");
  const png = page.locator("a.png").first();
  if (await png.count()) {
    const [file] = await Promise.all([page.waitForEvent("download"), png.click()]);
    if (file.suggestedFilename() !== "classes.png") fail(`the file is called ${file.suggestedFilename()}`);
    let bytes = Buffer.alloc(0);
    for await (const part of await file.createReadStream()) bytes = Buffer.concat([bytes, part]);
    if (bytes.subarray(1, 4).toString() !== "PNG" || bytes.length < 10_000) fail(`${bytes.length} bytes are no PNG of a chart`);
  }
  await context.close();
}
