// Writes ../assets/dist from src, the same bytes every time.
import { build } from "esbuild";
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";

const out = new URL("../assets/dist/", import.meta.url);
await mkdir(out, { recursive: true });
for (const f of await readdir(out)) await rm(new URL(f, out));

await build({
  absWorkingDir: new URL(".", import.meta.url).pathname,
  entryPoints: ["src/app.ts", "src/style.css", "src/noscript.css"],
  outdir: "../assets/dist",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  charset: "utf8",
  legalComments: "eof",
  logLevel: "warning",
});
await copyFile(new URL("src/icon.svg", import.meta.url), new URL("icon.svg", out));
