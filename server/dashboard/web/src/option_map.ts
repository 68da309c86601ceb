// The world, each country in a shade of how much of all it has. Shades are of the
// logarithm, since a few countries have most of everything.
import { keyOf, nameOf, rest, suppressed, type Answer } from "./answer";
import { amount, whole } from "./format";
import { tooltip } from "./layout";
import type { Option } from "./option";
import { scaleBar, shade } from "./scale";
import type { Size, Spec } from "./spec";
import type { Theme } from "./theme";

/** What web/world.mjs makes. */
export interface World {
  type: "FeatureCollection";
  features: { type: "Feature"; properties: { name: string }; geometry: { type: "MultiPolygon"; coordinates: number[][][][] } }[];
  /** Countries that are too small for shapes: longitude and latitude. */
  points: Record<string, [number, number]>;
}

/** How much of the world is drawn: nobody counts anything beyond. */
export const bounds = { west: -180, east: 180, south: -56, north: 83.7 };

/** Equal Earth (Šavrič, Patterson, Jenny 2018): areas are as large as they are. */
const [a1, a2, a3, a4] = [1.340264, -0.081106, 0.000893, 0.003796];
const m = Math.sqrt(3) / 2;
export const projection = {
  project([lon, lat]: number[]): [number, number] {
    const t = Math.asin(m * Math.sin(((lat ?? 0) * Math.PI) / 180));
    const t2 = t * t;
    const t6 = t2 * t2 * t2;
    const x = (((lon ?? 0) * Math.PI) / 180 * Math.cos(t)) / (m * (a1 + 3 * a2 * t2 + t6 * (7 * a3 + 9 * a4 * t2)));
    const y = t * (a1 + a2 * t2 + t6 * (a3 + a4 * t2));
    return [x, -y];
  },
  unproject([x, y]: number[]): [number, number] {
    let t = -(y ?? 0);
    for (let i = 0; i < 12; i++) {
      const t2 = t * t;
      const t6 = t2 * t2 * t2;
      const d = (t * (a1 + a2 * t2 + t6 * (a3 + a4 * t2)) + (y ?? 0)) / (a1 + 3 * a2 * t2 + t6 * (7 * a3 + 9 * a4 * t2));
      t -= d;
      if (Math.abs(d) < 1e-9) break;
    }
    const t2 = t * t;
    const t6 = t2 * t2 * t2;
    const lon = (m * (x ?? 0) * (a1 + 3 * a2 * t2 + t6 * (7 * a3 + 9 * a4 * t2))) / Math.cos(t);
    return [(lon * 180) / Math.PI, (Math.asin(Math.sin(t) / m) * 180) / Math.PI];
  },
};

interface Region {
  name: string;
  value: number;
}

/** A country's code is the only word that an answer is by. */
function regions(a: Answer): { shown: Region[]; elsewhere: number } {
  const word = a.by.find((b) => b !== "time") ?? "value";
  const sums = new Map<string, number>();
  let elsewhere = 0;
  for (const r of a.rows) {
    const key = keyOf(a, r);
    if (key === rest || key === suppressed || !r.group?.[word]) elsewhere += r.count;
    else sums.set(r.group[word]!, (sums.get(r.group[word]!) ?? 0) + r.count);
  }
  return { shown: [...sums].map(([name, value]) => ({ name, value })), elsewhere };
}

export function worldmap(a: Answer, spec: Spec, theme: Theme, size: Size, world: World): Option {
  const { shown } = regions(a);
  const all = Math.max(a.total, 1);
  const most = Math.max(1, ...shown.map((r) => r.value));
  const least = Math.max(1, Math.min(most, ...shown.filter((r) => r.value > 0).map((r) => r.value)));
  const colour = (v: number) => shade(theme, v, least, most);
  const says = (name: string) => {
    const r = shown.find((s) => s.name === name);
    const title = nameOf(name, a, spec);
    return r ? `${title}\n${whole(r.value)}  (${((100 * r.value) / all).toFixed(1)}\u202f%)` : `${title}\nnothing counted, or too little to show`;
  };
  const narrow = size.width < 480;
  return {
    animation: false,
    backgroundColor: "transparent",
    textStyle: { fontFamily: theme.font },
    geo: {
      map: "world",
      projection,
      boundingCoords: [[bounds.west, bounds.north], [bounds.east, bounds.south]],
      left: 4, right: 4, top: 4, bottom: 34,
      roam: false,
      silent: false,
      selectedMode: false,
      itemStyle: { areaColor: theme.track, borderColor: theme.card, borderWidth: narrow ? 0.3 : 0.6 },
      emphasis: { label: { show: false }, itemStyle: { areaColor: theme.warn } },
      label: { show: false },
      regions: shown.filter((r) => !world.points[r.name]).map((r) => ({ name: r.name, itemStyle: { areaColor: colour(r.value) }, emphasis: { itemStyle: { areaColor: colour(r.value), borderColor: theme.ink, borderWidth: 1 }, label: { show: false } } })),
      tooltip: { show: !size.still, formatter: (p: { name: string }) => says(p.name) },
    },
    graphic: scaleBar(theme, size, least, most, (v) => amount(v, a.unit)),
    series: [
      {
        // The numbers, for tests and readers of the option; drawn are geo's regions.
        type: "custom",
        name: spec.title,
        coordinateSystem: "geo",
        data: shown.map((r) => ({ name: r.name, value: [...(world.points[r.name] ?? [0, 0]), r.value] })),
        renderItem: (p: { dataIndex: number }, api: { coord: (at: number[]) => number[] }) => {
          const r = shown[p.dataIndex]!;
          const at = world.points[r.name];
          if (!at) return undefined;
          const [x, y] = api.coord(at);
          return {
            type: "circle",
            shape: { cx: x, cy: y, r: narrow ? 2.5 : 3.5 },
            style: { fill: colour(r.value), stroke: theme.card, lineWidth: 1 },
          };
        },
        tooltip: { formatter: (p: { name: string }) => says(p.name) },
      },
    ],
    tooltip: tooltip(theme, size, { trigger: "item" }),
  };
}
