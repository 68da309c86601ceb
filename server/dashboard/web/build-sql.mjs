// The page of SQL, for build.mjs: what it loads, and DuckDB's engine.
import { build } from "esbuild";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";

const here = new URL(".", import.meta.url);
const common = {
  absWorkingDir: here.pathname,
  outdir: "../assets/dist",
  bundle: true,
  minify: true,
  charset: "utf8",
  legalComments: "eof",
  target: ["es2022"],
  logLevel: "warning",
};
await build({ ...common, entryPoints: ["src/sql.ts", "src/data.css"], format: "esm" });

// The worker is a classic script: DuckDB's own, behind the limits. Its package
// says that importing it does nothing, which is not so.
await build({ ...common, entryPoints: ["src/sqlworker.ts"], format: "iife", ignoreAnnotations: true });

// The engine is kept compressed. It is written anew only if its content is another:
// compressing takes a minute, and another Node may compress differently.
const wasm = await readFile(new URL("node_modules/@duckdb/duckdb-wasm/dist/duckdb-eh.wasm", here));
const kept = new URL("../assets/vendor/duckdb-eh.wasm.br", here);
const has = await readFile(kept).then(brotliDecompressSync).catch(() => Buffer.alloc(0));
if (!has.equals(wasm)) {
  await mkdir(new URL(".", kept), { recursive: true });
  await writeFile(kept, brotliCompressSync(wasm, { params: { [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: wasm.length } }));
}
