// What every area of the browser's proof has at hand.
//
// An area is a file areas/NAME.mjs whose default export is `async (t) => …`
// with the object that `start` returns. It opens pages with t.open, which
// watches each of them for what must never be seen (console messages of a
// problem, failed requests, violations of the content policy, another host,
// horizontal overflow), and calls fail for what else is wrong. It never
// waits for a time, only for conditions.
import { chromium } from "playwright-core";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const sizes = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };
export const schemes = ["light", "dark"];

/** A page's name in screenshots and messages: its path, without punctuation and short. */
export function nameOf(path) {
  const range = /[?&]range=([a-z0-9]+)/.exec(path)?.[1];
  const name = path.replace(/[?#].*/, "").replace(/[^a-z0-9-]+/gi, "_").replace(/^_+|_+$/g, "").slice(0, 24) || "overview";
  return range ? `${name}-${range}` : name;
}

/** The pages that the list of pages leads to, in its order, each with those beside it. */
export async function pagesOf(base) {
  const linked = (html, from) => {
    const at = html.indexOf(from);
    return at < 0 ? [] : [...html.slice(at, html.indexOf("</nav>", at)).matchAll(/href="(\/[a-z0-9/-]*)"/g)].map((m) => m[1]).filter((h) => !h.startsWith("/api/"));
  };
  const html = async (path) => (await fetch(base + path)).text();
  const pages = ["/", "/?range=1h"];
  for (const path of linked(await html("/"), '<nav class="main-nav"')) pages.push(path, ...linked(await html(path), '<nav class="beside"'));
  return [...new Set(pages)];
}

export const chromiumOptions = (cache) => ({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--js-flags=--expose-gc", `--disk-cache-dir=${cache}`],
});

/** Starts the browser. extra: pages that no link leads to, such as an instance's own. */
export async function start(base, out, extra = []) {
  await mkdir(out, { recursive: true });
  const cache = await mkdtemp(join(tmpdir(), "evergreen-browser-"));
  const browser = await chromium.launch(chromiumOptions(cache));
  const problems = [];
  const notes = [];
  const t = {
    base, out, browser, problems, notes, extra,
    paths: [...await pagesOf(base), ...extra],

    /** Says a figure worth keeping. */
    note(what) { notes.push(what); },
    fail(label, what) { problems.push(`${label}: ${what}`); },
    async shoot(page, label) { await page.screenshot({ path: join(out, label + ".png"), fullPage: true, animations: "disabled" }); },

    /** Whether the server has a page; what isn't built into it (updates, a data set) has none. */
    async has(path) { return (await fetch(base + path, { redirect: "follow" })).ok; },

    /** A context with its page, watched, not yet anywhere. options: those of Playwright, and expect: /regexp/ of messages that are meant. */
    async context(options, label) {
      const { expect, ...rest } = options;
      const context = await (options.browser ?? browser).newContext({ viewport: sizes.desktop, ...rest });
      const page = await context.newPage();
      page.setDefaultTimeout(120_000);
      const fail = (what) => { if (!expect?.test(what)) t.fail(label, what); };
      watch(page, base, fail);
      await page.addInitScript(() => {
        document.addEventListener("securitypolicyviolation", (e) => console.error("policy violated: " + e.violatedDirective + " " + e.blockedURI));
        // How far the content moves while the page comes up, and when the largest part of it was there.
        window.moved = 0;
        window.largest = 0;
        const types = PerformanceObserver.supportedEntryTypes;
        if (types.includes("layout-shift")) new PerformanceObserver((l) => { for (const e of l.getEntries()) if (!e.hadRecentInput) window.moved += e.value; }).observe({ type: "layout-shift", buffered: true });
        if (types.includes("largest-contentful-paint")) new PerformanceObserver((l) => { for (const e of l.getEntries()) { window.largest = e.startTime; window.largestIs = e.element?.outerHTML.slice(0, 80); } }).observe({ type: "largest-contentful-paint", buffered: true });
      });
      return { context, page, fail };
    },

    /** A page, loaded; the caller closes its context. */
    async open(options, path, label = nameOf(path)) {
      const o = await t.context(options, label);
      await o.page.goto(base + path, { waitUntil: "load", timeout: 120_000 });
      await t.fits(o.page, o.fail);
      return o;
    },

    async fits(page, fail, when = "") {
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 0) {
        const who = await page.evaluate(() => [...document.querySelectorAll("main *, header *, footer *")].filter((e) => {
          if (e.getBoundingClientRect().right <= document.documentElement.clientWidth + 0.5) return false;
          for (let p = e.parentElement; p; p = p.parentElement) if (getComputedStyle(p).overflowX !== "visible") return false;
          return true;
        }).slice(-1).map((e) => e.outerHTML.slice(0, 100)).join());
        fail(`is ${wide} pixels too wide${when}: ${who}`);
      }
    },

    /** Scrolls to each figure until all of them are drawn, and back to the top. */
    async draw(page) {
      await page.evaluate(async () => {
        for (const f of document.querySelectorAll("figure[data-chart]")) {
          if (f.closest("details:not([open])")) continue;
          f.scrollIntoView();
          for (let i = 0; i < 1200 && !f.dataset.drawn; i++) await new Promise((r) => setTimeout(r, 50));
        }
        scrollTo(0, 0);
      });
    },

    /** Does each of the jobs, a few at a time: more than one keeps the processors busy while pages wait for the server. */
    async each(jobs, work, atOnce = 3) {
      const left = [...jobs.entries()];
      await Promise.all(Array.from({ length: atOnce }, async () => {
        for (let next = left.shift(); next; next = left.shift()) {
          try { await work(next[1]); } catch (err) { t.fail(String(next[1]?.label ?? next[1]), err.stack.split("\n").slice(0, 4).join(" ")); }
        }
      }));
    },

    async close() {
      await browser.close();
      await rm(cache, { recursive: true, force: true });
    },
  };
  return t;
}

function watch(page, base, fail) {
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) fail(`console: ${m.text()}`); });
  page.on("pageerror", (e) => fail(`script: ${e.message}`));
  page.on("requestfailed", (r) => { if (!given(r)) fail(`request failed: ${r.url()} ${r.failure()?.errorText}`); });
  page.on("response", (r) => { if (r.status() >= 400) fail(`${r.status()}: ${r.url()}`); });
  page.on("request", (r) => { if (!r.url().startsWith(base + "/") && !/^(data|blob):/.test(r.url())) fail(`asks another host: ${r.url()}`); });
  page.context().on("close", () => page.removeAllListeners());
}

// What a page no longer waits for, since it is left or is a download, is called aborted.
const given = (r) => r.failure()?.errorText === "net::ERR_ABORTED";
