// The colours that charts are drawn in. In a page they are what its style sheet
// says; on the server, what the same style sheet said when this was built.

export interface Theme {
  ink: string;
  soft: string;
  card: string;
  line: string;
  grid: string;
  track: string;
  accent: string;
  bad: string;
  warn: string;
  /** Of what is no group like others. */
  rest: string;
  series: string[];
  font: string;
}

/** Makes a theme of the style sheet's variables. */
export function themeOf(variable: (name: string) => string, font: string): Theme {
  const v = (name: string) => variable("--" + name).trim();
  return {
    ink: v("ink"), soft: v("soft"), card: v("card"), line: v("line"), grid: v("grid"), track: v("track"),
    accent: v("accent"), bad: v("bad"), warn: v("warn"), rest: v("s-rest"),
    series: Array.from({ length: 8 }, (_, i) => v("s" + i)),
    font,
  };
}

// What has a meaning has its colour everywhere.
const meaning: Record<string, number> = {
  "1xx": -1, "2xx": 0, "3xx": 1, "4xx": 2, "5xx": 4,
  "TLS 1.3": 0, "TLS 1.2": 1, "TLS 1.1": 2, "TLS 1.0": 4,
  "http/3": 0, "http/2": 1, "http/1.1": 2, "http/1.0": 3,
  ipv6: 0, ipv4: 1, unix: 3,
  browser: 0, bot: 2, tool: 3, app: 1, none: 5,
  h3: 0, h2: 1, present: 0, absent: 2,
  warn: 2, error: 4, panic: 3, fatal: 5,
  completed: 0, consistent: 0, inconsistent: 4, unknown: -1,
  other: -1,
  "0.5": 0, "0.9": 1, "0.99": 2,
};

/** A colour for each key: by its meaning, else the next that nothing else has. */
export function palette(keys: string[], theme: Theme): string[] {
  const named = keys.map((k) => (k.startsWith("\u0000") ? -1 : meaning[k]));
  const free = theme.series.map((_, i) => i).filter((i) => !named.includes(i));
  let next = 0;
  return named.map((given) => {
    const i = given ?? (free.length ? free[next++ % free.length] : -1)!;
    return i < 0 ? theme.rest : (theme.series[i] ?? theme.rest);
  });
}

/** Mixes two colours of six hexadecimal digits: 0 is the first, 1 the second. */
export function mix(a: string, b: string, part: number): string {
  const at = (c: string, i: number) => {
    const h = c.length === 4 ? c[1 + i]! + c[1 + i]! : c.slice(1 + 2 * i, 3 + 2 * i);
    return parseInt(h, 16) || 0;
  };
  return "#" + [0, 1, 2].map((i) => Math.round(at(a, i) + (at(b, i) - at(a, i)) * part).toString(16).padStart(2, "0")).join("");
}
