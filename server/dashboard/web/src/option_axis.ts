// The axis of time, and what happened on it.
import type { Annotation, Answer } from "./answer";
import { moment, tick } from "./format";
import { clip, textWidth } from "./layout";
import type { Size, Spec } from "./spec";
import type { Theme } from "./theme";

export function timeAxis(theme: Theme, from: number, to: number): object {
  return {
    type: "time",
    min: from, max: to,
    axisLabel: { color: theme.soft, formatter: (v: number) => tick(v), hideOverlap: true, fontSize: 11 },
    axisLine: { lineStyle: { color: theme.line } },
    axisTick: { show: false },
    splitLine: { show: false },
    axisPointer: { label: { show: false } },
  };
}

/** What is to be told of a chart's time, from its answer and what it is. */
export function annotationsOf(a: Answer, spec: Spec): Annotation[] {
  return [...(a.annotations ?? []), ...(spec.annotations ?? [])];
}

export interface Marks {
  line?: object;
  area?: object;
  /** Room for labels above the grid. */
  above: number;
}

const label = { size: 10, height: 13, most: 130 };

/**
 * Moments as lines, with their titles above as far as they do not run into each
 * other; stretches as shades, gaps hatched by being darker, and what has not all
 * been reported yet as one.
 */
export function marks(a: Answer, spec: Spec, theme: Theme, size: Size, from: number, to: number): Marks {
  const seen = annotationsOf(a, spec)
    .map((n) => ({ ...n, at: Date.parse(n.time), until: n.end ? Date.parse(n.end) : undefined }))
    .filter((n) => n.at < to && (n.until ?? n.at) >= from)
    .sort((x, y) => x.at - y.at);
  const moments = seen.filter((n) => n.until === undefined);
  const complete = Date.parse(a.complete);
  const shades = [
    ...seen.flatMap((n) => n.until === undefined ? [] : [{ from: Math.max(n.at, from), to: Math.min(n.until, to), colour: n.kind === "gap" ? theme.soft : theme.bad, opacity: n.kind === "gap" ? 0.16 : 0.08 }]),
    ...(complete < to ? [{ from: Math.max(complete, from), to, colour: theme.soft, opacity: 0.07 }] : []),
  ];
  const scale = size.width / Math.max(to - from, 1);
  let free = -Infinity;
  const lines = moments.map((n) => {
    const text = clip(n.title, label.most, label.size);
    const w = textWidth(text, label.size) + 8;
    const x = (n.at - from) * scale;
    const fits = x - w / 2 > free && x + w / 2 < size.width - 4 && x - w / 2 > 0;
    if (fits) free = x + w / 2;
    return { n, text, fits };
  });
  return {
    above: lines.some((l) => l.fits) ? label.height : 0,
    line: moments.length
      ? {
          silent: true, symbol: "none",
          lineStyle: { color: theme.soft, type: [3, 3], width: 1, opacity: 0.75 },
          data: lines.map(({ n, text, fits }) => ({
            xAxis: n.at,
            lineStyle: n.kind === "release" ? { color: theme.accent } : {},
            label: { show: fits, formatter: text, position: "end", distance: 3, color: theme.soft, fontSize: label.size, fontFamily: theme.font },
          })),
        }
      : undefined,
    area: shades.length
      ? { silent: true, data: shades.map((s) => [{ xAxis: s.from, itemStyle: { color: s.colour, opacity: s.opacity } }, { xAxis: s.to }]) }
      : undefined,
  };
}

/** The titles of what happened in a period, for its tooltip. */
export function during(a: Answer, spec: Spec, from: number, to: number): string[] {
  return annotationsOf(a, spec)
    .filter((n) => Date.parse(n.time) < to && (n.end ? Date.parse(n.end) > from : Date.parse(n.time) >= from))
    .slice(0, 4)
    .map((n) => (n.end ? n.title : `${n.title}, ${moment(Date.parse(n.time), "hour")}`));
}
