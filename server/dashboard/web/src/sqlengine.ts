// Runs one query at a time in a worker that is ended when it takes too long. This
// is all that knows of DuckDB-WASM: a newer one changes this file.
import { AsyncDuckDB, DuckDBDataProtocol, VoidLogger, type AsyncDuckDBConnection } from "@duckdb/duckdb-wasm";
import { DataType, type Field, type RecordBatch } from "apache-arrow";

/** One of the manifest's files. */
export interface File {
  path: string;
  format: string;
  metric: string;
  grain: string;
  from: string;
}

export type Cell = string | number | boolean | Date | null;

export interface Result {
  columns: { name: string; kind: "time" | "number" | "text" }[];
  rows: Cell[][];
  /** There were more rows than may be. */
  more: boolean;
  milliseconds: number;
}

export const limits = {
  /** How many rows are taken from the engine. */
  rows: 10_000,
  /** Days of hours that a table has; older ones are named as files. */
  days: 31,
  /** Characters of a cell. */
  cell: 2000,
};

/** Errors after which there may be no memory left for another query. */
export const broken = /out of memory|bad_alloc|failed to allocate|unreachable|abort\(/i;

/** The engine was ended before it answered. */
export class Ended extends Error {}

export class Engine {
  private db: AsyncDuckDB | undefined;
  private worker: Worker | undefined;
  private end: ((why: Error) => void) | undefined;

  /** A query may take so many seconds, with the reading of files, which are below data. */
  constructor(private readonly base: string, private readonly files: File[], private readonly data: string, private readonly seconds: number) {}

  /** Ends what runs, and the engine with it. */
  stop(why = "It was stopped."): void {
    this.worker?.terminate();
    this.worker = this.db = undefined;
    this.end?.(new Ended(why));
  }

  async run(sql: string, starting: (what: string) => void): Promise<Result> {
    if (this.end) throw new Error("another query runs");
    const timer = setTimeout(() => this.stop(`It took more than ${this.seconds} seconds, and was stopped.`), 1000 * this.seconds);
    try {
      return await Promise.race([
        new Promise<never>((_, reject) => (this.end = reject)),
        this.ask(sql, starting),
      ]);
    } catch (err) {
      // Out of memory leaves an engine that can't be used any more.
      if (!(err instanceof Ended) && broken.test(String(err))) this.stop();
      throw err;
    } finally {
      clearTimeout(timer);
      this.end = undefined;
    }
  }

  private async ask(sql: string, starting: (what: string) => void): Promise<Result> {
    if (!this.db) {
      starting("Loading DuckDB …");
      await this.start();
    }
    starting("Running …");
    const began = performance.now();
    const db = this.db!;
    const connection = await db.connect();
    try {
      for (const file of this.named(sql)) await db.registerFileURL(file.name, file.url, DuckDBDataProtocol.HTTP, false);
      for (const view of this.views(sql)) await connection.query(view);
      return await take(connection, sql, began);
    } finally {
      if (this.db === db) await connection.close();
    }
  }

  private async start(): Promise<void> {
    const worker = new Worker(this.base + "worker.js");
    this.worker = worker;
    const failed = new Promise<never>((_, reject) => {
      worker.onerror = () => reject(new Error("DuckDB could not be loaded: is WebAssembly switched off?"));
    });
    const db = new AsyncDuckDB(new VoidLogger(), worker);
    worker.addEventListener("error", () => this.stop("DuckDB failed, and is loaded anew for the next query."));
    const open = async () => {
      await db.instantiate(new URL(this.base + "duckdb-eh.wasm?v=1.28.0", location.href).href);
      await db.open({
        maximumThreads: 1,
        query: { castBigIntToDouble: true, castDecimalToDouble: true, castTimestampToDate: false, castDurationToTime64: true },
        filesystem: { allowFullHTTPReads: false },
      });
      const c = await db.connect();
      for (const s of ["CREATE SCHEMA day", "CREATE SCHEMA hour", "SET memory_limit = '700MB'", "SET lock_configuration = true"]) await c.query(s);
      await c.close();
    };
    await Promise.race([open(), failed]);
    this.db = db;
  }

  private url(path: string): string {
    return new URL(this.data + path, location.href).href;
  }

  /** Files that a query names by their paths here. */
  private named(sql: string): { name: string; url: string }[] {
    const paths = new Set(this.files.map((f) => f.path));
    return [...sql.matchAll(/'(\/?(?:dataset\/)?(v1\/[^']+))'/g)]
      .filter((m) => paths.has(m[2]!))
      .map((m) => ({ name: m[1]!, url: this.url(m[2]!) }));
  }

  /** Views of the tables that a query may mean: all are too many, as each reads its files' ends. */
  private views(sql: string): string[] {
    const found = [...sql.matchAll(/\b(day|hour)\s*\.\s*"([a-z0-9_.]+)"/gi)].map((m) => `${m[1]!.toLowerCase()} ${m[2]!}`);
    return [...new Set(found)].flatMap((key) => {
      const [grain, metric] = key.split(" ") as [string, string];
      const files = this.files
        .filter((f) => f.grain === grain && f.metric === metric && f.format === "parquet")
        .sort((a, b) => (a.from < b.from ? -1 : 1))
        .slice(grain === "hour" ? -limits.days : 0);
      if (files.length === 0) return [];
      const list = files.map((f) => `'${this.url(f.path).replaceAll("'", "''")}'`).join(", ");
      return [`CREATE OR REPLACE VIEW ${grain}."${metric}" AS SELECT * REPLACE (time::TIMESTAMP AS time) FROM read_parquet([${list}], union_by_name = true)`];
    });
  }
}

/** Takes a result's rows, batch by batch, as far as they may be. */
async function take(connection: AsyncDuckDBConnection, sql: string, began: number): Promise<Result> {
  const reader = await connection.send(bounded(sql));
  const result: Result = { columns: [], rows: [], more: false, milliseconds: 0 };
  for await (const batch of reader) {
    if (result.columns.length === 0) result.columns = batch.schema.fields.map(column);
    append(result, batch);
    if (result.more) {
      await connection.cancelSent();
      break;
    }
  }
  if (result.columns.length === 0) result.columns = (reader.schema?.fields ?? []).map(column);
  result.milliseconds = performance.now() - began;
  return result;
}

/** DuckDB-WASM has all of a result in memory before it gives the first row. */
function bounded(sql: string): string {
  const one = sql.trim().replace(/;$/, "");
  return /^(select|with|from)\b/i.test(one) ? `SELECT * FROM (${one}\n) LIMIT ${limits.rows + 1}` : sql;
}

function column(f: Field): Result["columns"][number] {
  const t = f.type as DataType;
  if (DataType.isTimestamp(t) || DataType.isDate(t)) return { name: f.name, kind: "time" };
  if (DataType.isInt(t) || DataType.isFloat(t) || DataType.isDecimal(t)) return { name: f.name, kind: "number" };
  return { name: f.name, kind: "text" };
}

function append(result: Result, batch: RecordBatch): void {
  const columns = batch.schema.fields.map((_, i) => batch.getChildAt(i)!);
  for (let r = 0; r < batch.numRows; r++) {
    if (result.rows.length === limits.rows) {
      result.more = true;
      return;
    }
    result.rows.push(columns.map((c, i) => cell(c.get(r), result.columns[i]!.kind)));
  }
}

function cell(v: unknown, kind: string): Cell {
  if (v === null || v === undefined) return null;
  if (kind === "time") return new Date(Number(v));
  if (kind === "number") return typeof v === "number" ? v : Number(v);
  if (typeof v === "boolean") return v;
  const s = typeof v === "string" ? v : v instanceof Uint8Array ? `${v.length} bytes` : String(v);
  return s.length > limits.cell ? s.slice(0, limits.cell) + "…" : s;
}
