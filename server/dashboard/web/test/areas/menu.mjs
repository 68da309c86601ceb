// The list of pages: always there on a desktop, behind a button on a phone,
// with and without scripts.
import { join } from "node:path";
import { sizes } from "../harness.mjs";

export default async function (t) {
  const path = t.paths.find((p) => p === "/tls") ?? t.paths[2];
  const other = t.paths.find((p) => p === "/attacks") ?? t.paths[3];
  for (const javaScriptEnabled of [true, false]) {
    const desktop = await t.open({ javaScriptEnabled }, path, "menu-desktop");
    const links = desktop.page.locator("nav[aria-label=Pages] a");
    if (!await links.last().isVisible()) desktop.fail("the list of pages is not seen");
    if (await desktop.page.locator(".pages summary").isVisible()) desktop.fail("the list has a button");
    const current = desktop.page.locator("nav[aria-label=Pages] a[aria-current=page]");
    if (await current.count() !== 1 || await current.getAttribute("href") !== path) desktop.fail("the list does not say where one is");
    const here = await current.textContent();
    await desktop.context.close();

    const phone = await t.open({ viewport: sizes.phone, javaScriptEnabled, hasTouch: true }, path, "menu-phone");
    const list = phone.page.locator("nav[aria-label=Pages] a");
    const summary = phone.page.locator(".pages summary");
    if (await list.first().isVisible()) phone.fail("the list of pages is open");
    if (!(await summary.textContent()).includes(here)) phone.fail("the button does not say which page this is");
    await summary.tap();
    await list.first().waitFor({ state: "visible" });
    const boxes = await Promise.all((await list.all()).map((a) => a.boundingBox()));
    if (boxes.length < 8 || boxes.some((b) => !b || b.x < 0 || b.x + b.width > sizes.phone.width)) phone.fail("the list of pages is not all there: " + JSON.stringify(boxes));
    await phone.page.screenshot({ path: join(t.out, "menu-phone.png") });
    await phone.page.locator(`nav[aria-label=Pages] a[href="${other}"]`).tap();
    await phone.page.waitForURL("**" + other);
    await phone.context.close();
  }
}
