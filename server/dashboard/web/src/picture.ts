// What is around a chart that stands for itself: its title, what it is of, and
// where it is from. Or why there is nothing to see.
import { clip, textWidth } from "./layout";
import type { Theme } from "./theme";

export interface Frame {
  title: string;
  /** What it is of: unit, time, filter. */
  note?: string;
  source?: string;
}

const side = 20;
const sizes = { title: 18, note: 13, source: 11 };

export const escape = (s: string) => s.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);

/** Breaks a text into lines of about a width, the last of which is cut off. */
function lines(text: string, width: number, size: number, most: number): string[] {
  const out: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line && textWidth(line + " " + word, size) > width && out.length < most - 1) {
      out.push(line);
      line = word;
    } else line = line ? line + " " + word : word;
  }
  return [...out, clip(line, width, size)];
}

interface Laid {
  /** How much of the height is not the chart's. */
  top: number;
  bottom: number;
  svg: string;
}

const text = (x: number, y: number, size: number, colour: string, font: string, s: string, more = "") =>
  `<text x="${x}" y="${y}" fill="${colour}" style="font-size:${size}px;font-family:${font};${more}">${escape(s)}</text>`;

/** Lays out a frame in a width; a picture without one has none. */
export function lay(frame: Frame | undefined, theme: Theme, width: number, height: number): Laid {
  if (!frame) return { top: 0, bottom: 0, svg: "" };
  const room = width - 2 * side;
  const title = lines(frame.title, room, sizes.title * 1.06, 2);
  const note = frame.note ? lines(frame.note, room, sizes.note, 2) : [];
  const parts: string[] = [];
  let y = 14;
  for (const l of title) parts.push(text(side, (y += 20), sizes.title, theme.ink, theme.font, l, "font-weight:600;"));
  for (const l of note) parts.push(text(side, (y += 19), sizes.note, theme.soft, theme.font, l));
  if (frame.source) parts.push(text(side, height - 12, sizes.source, theme.soft, theme.font, clip(frame.source, room, sizes.source)));
  return { top: y + 14, bottom: frame.source ? 30 : 10, svg: parts.join("\n") };
}

/** Puts a drawn chart into its place. */
export function place(chart: string, laid: Laid, frame: Frame | undefined, theme: Theme, width: number, height: number): string {
  if (!frame) return chart;
  const inner = width - 2 * (side - 8);
  const moved = chart.replace(/^<svg[^>]*>/, `<svg x="${side - 8}" y="${laid.top}" width="${inner}" height="${height - laid.top - laid.bottom}" viewBox="0 0 ${inner} ${height - laid.top - laid.bottom}">`);
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escape(frame.title)}</title>
<rect width="${width}" height="${height}" fill="${theme.card}"></rect>
${laid.svg}
${moved}
</svg>`;
}

/** The size that is left for the chart. */
export function inside(laid: Laid, frame: Frame | undefined, width: number, height: number): { width: number; height: number } {
  return frame ? { width: width - 2 * (side - 8), height: height - laid.top - laid.bottom } : { width, height };
}

/** Says why there is nothing to see. */
export function nothing(reason: string, theme: Theme, width: number, height: number): string {
  const all = lines(reason, Math.min(width - 40, 420), 14, 4);
  const first = height / 2 - (all.length - 1) * 10;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
${all.map((l, i) => text(width / 2, first + 20 * i, 14, theme.soft, theme.font, l, "text-anchor:middle;")).join("\n")}
</svg>`;
}
