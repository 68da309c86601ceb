// Flows: each level of nodes is a word that the answer is by, and what two
// neighbouring values count together is the width of the band between them.
import { rest, suppressed, type Answer } from "./answer";
import { whole } from "./format";
import { clip, tooltip } from "./layout";
import type { Option } from "./option";
import type { Size, Spec } from "./spec";
import { palette, type Theme } from "./theme";

interface Link {
  source: string;
  target: string;
  value: number;
}

const key = (level: number, value: string) => level + "\u0001" + value;

export function sankey(a: Answer, spec: Spec, theme: Theme, size: Size): Option {
  const words = spec.levels?.length ? spec.levels : a.by.filter((b) => b !== "time");
  const nodes = new Map<string, { level: number; value: string; sum: number }>();
  const links = new Map<string, Link>();
  let total = 0;
  for (const r of a.rows) {
    if (r.count <= 0) continue;
    total += r.count;
    const values = words.map((w) => r.group?.[w] ?? (r.suppressed ? suppressed : rest));
    values.forEach((v, i) => {
      const id = key(i, v);
      const n = nodes.get(id) ?? { level: i, value: v, sum: 0 };
      n.sum += r.count;
      nodes.set(id, n);
      if (i === 0) return;
      const from = key(i - 1, values[i - 1]!);
      const l = links.get(from + "\u0002" + id) ?? { source: from, target: id, value: 0 };
      l.value += r.count;
      links.set(from + "\u0002" + id, l);
    });
  }
  const name = (id: string) => {
    const v = nodes.get(id)?.value ?? "";
    return v === rest ? "Everything else" : v === suppressed ? "Too few to show" : (spec.names[v] ?? (v || "None"));
  };
  const place = (v: string) => {
    if (v.startsWith("\u0000")) return 1e6;
    const i = spec.order.indexOf(v);
    return i < 0 ? 1e5 : i;
  };
  const sorted = [...nodes].sort(([, x], [, y]) => x.level - y.level || place(x.value) - place(y.value) || y.sum - x.sum);
  // Each value has its colour wherever it stands; what fails is told by its own.
  const values = [...new Set(sorted.map(([, n]) => n.value))];
  const colours = palette(values, theme);
  const colour = (v: string) => colours[values.indexOf(v)] ?? theme.rest;
  const last = words.length - 1;
  // Names of thin nodes do not lie on each other while there is the height for it.
  const crowd = Math.max(1, ...words.map((_, i) => sorted.filter(([, n]) => n.level === i).length));
  const room = Math.max(60, Math.min(190, size.width / (words.length + 1)));
  const share = (v: number) => `${whole(v)}  (${((100 * v) / Math.max(total, 1)).toFixed(1)}\u202f%)`;
  return {
    animation: false,
    backgroundColor: "transparent",
    textStyle: { fontFamily: theme.font },
    series: [{
      type: "sankey",
      name: spec.title,
      left: 6, right: room, top: 10, bottom: 10,
      nodeWidth: 12,
      nodeGap: Math.max(4, Math.min(15, (0.55 * size.height) / crowd)),
      nodeAlign: "left",
      draggable: false,
      // In the order that is given: vocabularies have one.
      layoutIterations: 0,
      data: sorted.map(([id, n]) => ({
        name: id, depth: n.level,
        itemStyle: { color: colour(n.value), borderWidth: 0 },
        label: { position: "right", formatter: clip(name(id), n.level === last ? room - 12 : (size.width - room) / Math.max(last, 1) - 30, 12) },
      })),
      links: [...links.values()].map((l) => ({ ...l, lineStyle: { color: colour(nodes.get(l.source)?.value ?? "") } })),
      lineStyle: { opacity: 0.28, curveness: 0.5 },
      label: { color: theme.ink, fontSize: 12, fontFamily: theme.font, textBorderColor: theme.card, textBorderWidth: 2 },
      emphasis: size.still ? { disabled: true } : { focus: "adjacency", lineStyle: { opacity: 0.5 } },
      labelLayout: { hideOverlap: true },
      blur: { label: { color: theme.soft } },
    }],
    tooltip: tooltip(theme, size, {
      trigger: "item",
      formatter: (p: { dataType: string; name: string; value: number; data: { source?: string; target?: string } }) =>
        p.dataType === "edge"
          ? `${name(p.data.source ?? "")} → ${name(p.data.target ?? "")}\n${share(p.value)}`
          : `${name(p.name)}\n${share(nodes.get(p.name)?.sum ?? 0)}`,
    }),
  };
}
