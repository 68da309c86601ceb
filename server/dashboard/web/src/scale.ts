// Shades of one colour, for how much there is of something.
import type { Size } from "./spec";
import { mix, type Theme } from "./theme";

/** The shade of a value between the least and the most, by its logarithm. */
export function shade(theme: Theme, value: number, least: number, most: number): string {
  if (!(value > 0)) return theme.track;
  const part = most > least ? Math.log(Math.max(value, least) / least) / Math.log(most / least) : 1;
  return mix(mix(theme.track, theme.accent, 0.16), theme.accent, Math.min(1, Math.max(0, part)));
}

/** A bar of the shades with their ends' values, at the bottom left. */
export function scaleBar(theme: Theme, size: Size, least: number, most: number, format: (v: number) => string): object[] {
  const steps = 24;
  const width = Math.min(180, size.width / 3);
  const text = (x: number, align: string, v: number) => ({
    type: "text", silent: true, x, y: size.height - 9,
    style: { text: format(v), fill: theme.soft, fontSize: 11, textAlign: align, textVerticalAlign: "middle", fontFamily: theme.font },
  });
  const bars = Array.from({ length: steps }, (_, i) => ({
    type: "rect", silent: true,
    shape: { x: 8 + (i * width) / steps, y: size.height - 27, width: width / steps + 0.5, height: 8 },
    style: { fill: shade(theme, least * (most / least) ** (i / (steps - 1)), least, most) },
  }));
  return most > least ? [...bars, text(8, "left", least), text(8 + width, "right", most)] : [];
}
