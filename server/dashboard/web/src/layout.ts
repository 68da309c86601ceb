// What charts of all kinds have in common: legend, axes, tooltip.
import type { Size } from "./spec";
import type { Theme } from "./theme";

// A line of a legend is as high as an item, 14, and the gap, which is the same both ways.
const legend = { gap: 11, item: 10, space: 5, line: 25, font: 12, most: 4 };

/** About how wide a text is in most sans-serif fonts: pictures are laid out where there is no font to ask. */
export function textWidth(text: string, size: number): number {
  let w = 0;
  for (const c of text) {
    w += /[ijl.,:;|!'()[\]ftrI \u202f]/.test(c) ? 0.31 : /[mwMW%@]/.test(c) ? 0.86 : /[A-Z]/.test(c) ? 0.68 : c > "\u2fff" ? 1 : 0.56;
  }
  return w * size * 1.04;
}

function legendLines(names: string[], width: number): number {
  let lines = 1;
  let x = 0;
  for (const name of names) {
    const w = legend.item + legend.space + textWidth(name, legend.font);
    if (x > 0 && x + w > width) {
      lines++;
      x = 0;
    }
    x += w + legend.gap;
  }
  return lines;
}

/** How high a legend of these names is, and whether it has to be turned over in place of being long. */
export function legendSize(names: string[], width: number): { height: number; scroll: boolean } {
  if (names.length < 2) return { height: 0, scroll: false };
  const lines = legendLines(names, width - 12);
  const scroll = lines > legend.most;
  return { height: legend.line * (scroll ? 1 : lines) - 1, scroll };
}

/** The parts of an option that do not depend on the numbers. names are in the legend, if they are several. */
export function base(names: string[], colours: string[], theme: Theme, size: Size, above = 0) {
  const { height, scroll } = legendSize(names, size.width);
  return {
    animation: false,
    backgroundColor: "transparent",
    color: colours,
    textStyle: { fontFamily: theme.font },
    grid: { left: 8, right: 14, top: 16 + height + above, bottom: 8, outerBoundsMode: "same" as const, outerBoundsContain: "axisLabel" as const },
    legend: names.length > 1
      ? {
          // A picture can't be turned over: it shows what fits.
          type: scroll ? ("scroll" as const) : ("plain" as const),
          data: names, pageTextStyle: { color: theme.soft }, pageIconColor: theme.soft, pageIconInactiveColor: theme.line,
          left: 4, right: 4, top: 0, itemWidth: legend.item, itemHeight: legend.item, itemGap: legend.gap, icon: "roundRect",
          textStyle: { color: theme.soft, fontSize: legend.font, lineHeight: 14 }, inactiveColor: theme.rest, selectedMode: !size.still,
        }
      : { show: false },
  };
}

/** The frame of a tooltip; a picture has none. */
export function tooltip(theme: Theme, size: Size, more: object): object {
  if (size.still) return { show: false };
  return {
    // HTML would need inline styles, which the pages' policy forbids.
    renderMode: "richText",
    confine: true,
    backgroundColor: theme.card,
    borderColor: theme.line,
    borderWidth: 1,
    padding: [8, 12],
    textStyle: { color: theme.ink, fontSize: 12, lineHeight: 18 },
    ...more,
  };
}

export function valueAxis(theme: Theme, format: (v: number) => string, more: object = {}): object {
  return {
    type: "value",
    axisLabel: { color: theme.soft, formatter: (v: number) => format(v), fontSize: 11 },
    splitLine: { lineStyle: { color: theme.grid } },
    splitNumber: 4,
    ...more,
  };
}

export function categoryAxis(theme: Theme, data: string[], more: object = {}): object {
  return {
    type: "category",
    data,
    axisLabel: { color: theme.soft, fontSize: 11, interval: 0 },
    axisLine: { lineStyle: { color: theme.line } },
    axisTick: { show: false },
    ...more,
  };
}

/** Shortens a text to about a width. */
export function clip(text: string, width: number, size: number): string {
  if (textWidth(text, size) <= width) return text;
  let s = text;
  while (s.length > 1 && textWidth(s + "…", size) > width) s = s.slice(0, -1);
  return s.trimEnd() + "…";
}
