// Bounds the memory of the engine: imported before it, so that all it ever asks
// for goes through here. A refusal is an allocation that failed, which DuckDB
// reports as being out of memory.
const most = 1 << 30; // bytes

const page = 65536;
const grow = WebAssembly.Memory.prototype.grow;
WebAssembly.Memory.prototype.grow = function (pages: number): number {
  if (this.buffer.byteLength + pages * page > most) throw new RangeError("out of memory");
  return grow.call(this, pages);
};
