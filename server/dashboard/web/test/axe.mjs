// Deque's axe in a page: WCAG 2.2 level AA and axe's best practices.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const source = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Fails for each violation, with its elements. */
export async function accessible(page, fail, within) {
  // Evaluated by the debugger, which the page's content policy does not bind.
  await page.evaluate(source);
  const { violations } = await page.evaluate(([tags, within]) =>
    axe.run(within ?? document, { runOnly: { type: "tag", values: tags }, resultTypes: ["violations"] }), [tags, within]);
  for (const v of violations) {
    fail(`axe ${v.id} (${v.impact}): ${v.help}: ${v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")} ${n.html.slice(0, 120)} ${n.any[0]?.message ?? n.all[0]?.message ?? ""}`).join(" | ")}${v.nodes.length > 3 ? ` and ${v.nodes.length - 3} more` : ""}`);
  }
}
