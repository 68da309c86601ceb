// node browser.mjs BASE_URL OUTDIR AREA[,AREA…]|all [PATH…]
//
// Has a real browser go through a running server, one area after the other
// (areas/*.mjs). OUTDIR gets screenshots. PATHs are pages that no link leads
// to. Ends with status 1 if there was a problem.
import { readdir } from "node:fs/promises";
import { start } from "./harness.mjs";

const [base, out, wanted, ...extra] = process.argv.slice(2);
const all = (await readdir(new URL("areas/", import.meta.url))).filter((f) => f.endsWith(".mjs")).map((f) => f.replace(".mjs", "")).sort();
const areas = wanted === "all" ? all : (wanted ?? "").split(",");
if (!base || !out || areas.some((a) => !all.includes(a))) {
  console.error(`usage: node browser.mjs BASE_URL OUTDIR ${all.join("|")}|all [PATH…]`);
  process.exit(2);
}

const t = await start(base, out, extra);
try {
  for (const area of areas) {
    const began = Date.now();
    const before = t.problems.length;
    try {
      await (await import(`./areas/${area}.mjs`)).default(t);
    } catch (err) {
      t.fail(area, err.stack);
    }
    for (const n of t.notes.splice(0)) console.log(`${area}: ${n}`);
    console.log(`${area}: ${t.problems.length - before} problems, ${Math.round((Date.now() - began) / 1000)} s`);
  }
} finally {
  await t.close();
}
// The same problem on many pages is told once, with where it is.
const where = new Map();
for (const p of t.problems) {
  const [label, what] = [p.slice(0, p.indexOf(": ")), p.slice(p.indexOf(": ") + 2)];
  const key = /^axe \S+/.exec(what)?.[0] ?? what;
  if (!where.has(key)) where.set(key, { what, labels: [] });
  where.get(key).labels.push(label);
}
for (const { what, labels } of where.values()) console.error(`${labels.slice(0, 6).join(", ")}${labels.length > 6 ? ` and ${labels.length - 6} more` : ""}: ${what}`);
process.exit(t.problems.length ? 1 : 0);
