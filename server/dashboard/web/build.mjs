// Writes ../assets/dist and ../../render/dist from src, the same bytes every time.
import { build } from "esbuild";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { world } from "./world.mjs";

const here = new URL(".", import.meta.url);
const out = new URL("../assets/dist/", here);
const rendered = new URL("../../render/dist/", here);
for (const dir of [out, rendered]) {
  await mkdir(dir, { recursive: true });
  for (const f of await readdir(dir)) await rm(new URL(f, dir));
}

const common = {
  absWorkingDir: here.pathname,
  bundle: true,
  minify: true,
  charset: "utf8",
  legalComments: "eof",
  define: { "process.env.NODE_ENV": '"production"' },
  logLevel: "warning",
};

// What pages load: app.js always, chart.js once a chart is about to be seen.
await build({
  ...common,
  entryPoints: ["src/app.ts", "src/chart.ts", "src/style.css", "src/noscript.css", "src/embed.css"],
  outdir: "../assets/dist",
  format: "esm",
  target: ["es2022"],
});
await copyFile(new URL("src/icon.svg", here), new URL("icon.svg", out));
const shapes = JSON.stringify(await world());
await writeFile(new URL("world.json", out), shapes + "\n");

// Charts on the server have the colours of the pages' style sheet, and the world.
const made = {
  name: "made",
  setup(b) {
    b.onResolve({ filter: /^evergreen:/ }, (a) => ({ path: a.path, namespace: "made" }));
    b.onLoad({ filter: /:world$/, namespace: "made" }, () => ({ contents: `export const world = ${shapes};`, loader: "js" }));
    b.onLoad({ filter: /:themes$/, namespace: "made" }, async () => {
      const css = await readFile(new URL("src/style.css", here), "utf8");
      const dark = css.indexOf("@media (prefers-color-scheme: dark)");
      const variables = (from) => {
        const block = css.slice(css.indexOf(":root {", from), css.indexOf("}", css.indexOf(":root {", from)));
        return Object.fromEntries([...block.matchAll(/(--[\w-]+):\s*([^;]+);/g)].map((m) => [m[1], m[2]]));
      };
      const light = variables(0);
      const font = /^body \{[^}]*?\bfont: \S+ ([^;]+);/m.exec(css)?.[1];
      if (dark < 0 || !light["--s0"] || !font) throw new Error("style.css has no themes where build.mjs looks for them");
      return { contents: `export const themes = ${JSON.stringify({ light, dark: { ...light, ...variables(dark) } })}; export const font = ${JSON.stringify(font)};`, loader: "js" };
    });
  },
};
// In goja, which knows ES2015 and more, and no modules.
await build({
  ...common,
  entryPoints: ["src/render.ts"],
  outdir: "../../render/dist",
  format: "iife",
  target: ["es2015"],
  platform: "neutral",
  mainFields: ["module", "main"],
  plugins: [made],
});

await import("./build-sql.mjs");
