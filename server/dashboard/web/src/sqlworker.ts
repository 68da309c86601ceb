// The worker in which queries run: DuckDB, within the limits of sqllimit.ts and of the
// Content-Security-Policy that it is served with (data_sql.go).
import "./sqllimit";
import "@duckdb/duckdb-wasm/dist/duckdb-browser-eh.worker.js";
