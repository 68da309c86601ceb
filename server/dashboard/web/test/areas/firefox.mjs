// The main pages once in Firefox: nothing on its console, every chart drawn,
// nothing too wide.
import { join } from "node:path";
import { firefox } from "../firefox.mjs";
import { nameOf, sizes } from "../harness.mjs";

export default async function (t) {
  const browser = await firefox();
  let drawn = 0;
  try {
    for (const path of t.paths) {
      const label = nameOf(path) + "-firefox";
      const fail = (what) => t.fail(label, what);
      await browser.open(t.base + path, sizes.desktop, fail);
      const seen = await browser.value(`(async () => {
        for (const f of document.querySelectorAll("figure[data-chart]")) {
          f.scrollIntoView();
          for (let i = 0; i < 1200 && !f.dataset.drawn; i++) await new Promise((r) => setTimeout(r, 50));
        }
        scrollTo(0, 0);
        const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
        return { wide, figures: [...document.querySelectorAll("figure[data-chart]")].map((f) => ({ id: f.id, drawn: f.dataset.drawn, paths: f.querySelectorAll(".canvas svg path").length })) };
      })()`);
      if (seen.wide > 0) fail(`is ${seen.wide} pixels too wide`);
      for (const f of seen.figures) if (f.drawn !== "empty" && (f.drawn !== "yes" || f.paths < 3)) fail(`${f.id} is not drawn (${f.drawn}, ${f.paths} paths)`);
      drawn += seen.figures.filter((f) => f.drawn === "yes").length;
      await browser.shoot(join(t.out, label + ".png"));
    }
    t.note(`Firefox ${browser.version}: ${t.paths.length} pages, ${drawn} charts drawn`);
  } finally {
    await browser.close();
  }
}
