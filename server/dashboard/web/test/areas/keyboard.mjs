// By keyboard alone: past the list of pages, through everything that can be
// used on every page, to a chart's table and back.
import { nameOf } from "../harness.mjs";
import { charts } from "./pages.mjs";

/** Presses Tab through a page: everything is reached in the document's order, can be seen when it is, and nothing keeps the focus. */
async function walk(page, fail) {
  const all = await page.evaluate(() => {
    let n = 0;
    for (const e of document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")) {
      if (!e.checkVisibility({ visibilityProperty: true }) || e.disabled || e.tabIndex < 0 || e.type === "hidden") continue;
      e.dataset.step = n++;
    }
    return n;
  });
  const seen = new Set();
  let last = -1;
  for (let i = 0; i < all + 30; i++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      if (!e || e === document.body) return null;
      const s = getComputedStyle(e), b = e.getBoundingClientRect();
      const inside = e.dataset.step === undefined ? e.closest("[data-step]") : e;
      return {
        step: e.dataset.step === undefined ? undefined : Number(e.dataset.step), html: e.outerHTML.slice(0, 90), radio: e.type === "radio",
        ring: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1 || s.boxShadow !== "none",
        shown: b.width > 0 && b.height > 0 && b.bottom > 0 && b.top < innerHeight && b.right > 0 && b.left < innerWidth, inside: !!inside,
      };
    });
    if (!at) break;
    if (!at.ring) fail(`no ring around the focus: ${at.html}`);
    if (!at.shown) fail(`the focus is out of sight: ${at.html}`);
    if (at.step === undefined) continue;
    if (seen.has(at.step)) break; // around once
    if (at.step < last && !at.radio) fail(`the focus goes back from ${last} to ${at.step}: ${at.html}`);
    seen.add(at.step);
    last = at.step;
  }
  const missed = await page.evaluate((seen) => [...document.querySelectorAll("[data-step]")].filter((e) => !seen.includes(Number(e.dataset.step)) && e.isConnected && e.type !== "radio").map((e) => e.outerHTML.slice(0, 90)), [...seen]);
  if (missed.length) fail(`${missed.length} of ${all} not reached with Tab: ${missed.slice(0, 3).join(" | ")}`);
  return seen.size;
}

export default async function (t) {
  const { context, page, fail } = await t.open({}, "/", "keyboard");
  await page.keyboard.press("Tab");
  if (await page.evaluate(() => document.activeElement?.className) !== "skip") fail("the first Tab does not lead to the way past the list of pages");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  if (!await page.evaluate(() => document.getElementById("main").contains(document.activeElement))) fail("the way past the list of pages does not lead past it");
  await charts(t, page, fail);
  const figure = page.locator("figure[data-drawn=yes]:has(.as-table)").first();
  if (await figure.count()) {
    const button = figure.locator(".as-table");
    await button.focus();
    await page.keyboard.press("Enter");
    if (!await figure.locator(".data").isVisible()) fail("Enter on Table shows no table");
    if (await button.getAttribute("aria-expanded") !== "true") fail("the button does not say that the table is there");
    await page.keyboard.press("Enter");
    if (await figure.locator(".data").isVisible()) fail("the chart does not come back");
  }
  await context.close();

  let steps = 0;
  await t.each(t.paths, async (path) => {
    const { context, page, fail } = await t.open({}, path, `${nameOf(path)}-keyboard`);
    await t.draw(page);
    steps += await walk(page, fail);
    await context.close();
  });
  t.note(`${steps} stops of the Tab key on ${t.paths.length} pages`);
}
