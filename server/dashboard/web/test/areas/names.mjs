// Every link of every page leads somewhere, every fragment to an element, and
// whatever can be used has a name.
import { nameOf } from "../harness.mjs";

export default async function (t) {
  const asked = new Map();
  const known = new Set(t.paths);
  const pages = [...t.paths];
  const visit = async (path) => {
    const { context, page, fail } = await t.open({ javaScriptEnabled: false }, path, nameOf(path) + "-links");
    const found = await page.evaluate(() => ({
      ids: [...document.querySelectorAll("[id]")].map((e) => e.id),
      links: [...document.querySelectorAll("a[href], link[href], img[src], script[src], source[srcset]")].map((e) => e.getAttribute("href") ?? e.getAttribute("src") ?? e.getAttribute("srcset")),
      unnamed: [...document.querySelectorAll("a, button, figure, nav, section, [role=region]")]
        .filter((e) => !e.hidden && !(e.textContent.trim() && ["A", "BUTTON"].includes(e.tagName)) && !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby"))
        .map((e) => e.outerHTML.slice(0, 80)),
      lang: document.documentElement.lang, titles: document.title, h1: document.querySelectorAll("h1").length,
    }));
    for (const id of found.ids.filter((id, i) => found.ids.indexOf(id) !== i)) fail(`has the id ${id} twice`);
    if (found.unnamed.length) fail("without a name: " + found.unnamed.join(" | "));
    if (found.h1 !== 1) fail(`has ${found.h1} h1`);
    for (const link of new Set(found.links)) {
      if (/^(mailto|data):/.test(link)) continue;
      const url = new URL(link, t.base + path);
      if (url.origin !== new URL(t.base).origin) continue; // a link out is followed by the visitor, never by the page
      // The page of SQL has queries in its fragments.
      const fragment = url.pathname === "/data/sql" && url.hash.startsWith("#q=") ? "" : decodeURIComponent(url.hash.slice(1));
      url.hash = "";
      if (fragment && url.pathname === new URL(path, t.base).pathname && !found.ids.includes(fragment)) fail(`links to #${fragment}, which is not there`);
      const key = url.pathname + url.search;
      if (!asked.has(key)) asked.set(key, { from: path, fragments: new Set() });
      if (fragment) asked.get(key).fragments.add(fragment);
    }
    await context.close();
  };
  await t.each(pages, visit);
  await t.each([...asked], async ([key, { from, fragments }]) => {
    const r = await fetch(t.base + key, { redirect: "follow", signal: AbortSignal.timeout(120_000), headers: key.startsWith("/live") ? { Range: "bytes=0-0" } : {} });
    const html = r.headers.get("content-type")?.startsWith("text/html");
    const body = html && fragments.size ? await r.text() : (await r.body?.cancel(), "");
    if (!r.ok) t.fail(nameOf(from), `links to ${key}: ${r.status}`);
    else if (html && !known.has(key)) for (const f of fragments) if (!body.includes(`id="${f}"`)) t.fail(nameOf(from), `links to ${key}#${f}, which is not there`);
  });
  t.note(`${asked.size} addresses followed from ${pages.length} pages`);
}
