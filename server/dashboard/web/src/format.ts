const prefixes = ["", "k", "M", "G", "T", "P", "E"];

function digits(f: number): string {
  return f === 0 ? "0" : f >= 99.95 ? f.toFixed(0) : String(+f.toPrecision(3));
}

/** Writes a value in its metric's unit with three digits. */
export function amount(f: number, unit: string): string {
  if (unit === "µs") {
    if (f < 1000) return digits(f) + "\u202fµs";
    if (f < 1e6) return digits(f / 1e3) + "\u202fms";
    return digits(f / 1e6) + "\u202fs";
  }
  if (unit === "%" || unit === "d") return digits(f) + "\u202f" + unit;
  let i = 0;
  for (; f >= 999.5 && i < prefixes.length - 1 && (unit !== "" || f >= 9999.5 || i > 0); i++) f /= 1000;
  const u = (prefixes[i] ?? "") + unit;
  return digits(f) + (u ? "\u202f" + u : "");
}

/** Writes a count in full. */
export function whole(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (n: number) => String(n).padStart(2, "0");

/** Writes a time of day, or the date where a day begins. */
export function tick(ms: number): string {
  const t = new Date(ms);
  if (t.getUTCHours() + t.getUTCMinutes() + t.getUTCSeconds() === 0) return `${t.getUTCDate()} ${months[t.getUTCMonth()]}`;
  return `${two(t.getUTCHours())}:${two(t.getUTCMinutes())}` + (t.getUTCSeconds() ? ":" + two(t.getUTCSeconds()) : "");
}

/** Writes a period's start as far as its grain tells. */
export function moment(ms: number, grain: string): string {
  const t = new Date(ms);
  const day = `${t.getUTCDate()} ${months[t.getUTCMonth()]} ${t.getUTCFullYear()}`;
  return grain === "day" ? day : `${day}, ${two(t.getUTCHours())}:${two(t.getUTCMinutes())}` + (t.getUTCSeconds() ? ":" + two(t.getUTCSeconds()) : "");
}
