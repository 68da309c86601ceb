// The world as charts draw it: countries by their ISO 3166 codes, from Natural
// Earth by way of world-atlas, coarse and rounded, since it is drawn a few
// hundred pixels wide. Countries too small for that are points.
import { readFile } from "node:fs/promises";

const atlas = async (scale) => JSON.parse(await readFile(new URL(`node_modules/world-atlas/countries-${scale}.json`, import.meta.url), "utf8"));

/** Reads TopoJSON: each country's polygons, of rings, of [longitude, latitude]. */
function countries(topology) {
  const { scale, translate } = topology.transform;
  const arcs = topology.arcs.map((arc) => {
    let x = 0;
    let y = 0;
    return arc.map(([dx, dy]) => [(x += dx) * scale[0] + translate[0], (y += dy) * scale[1] + translate[1]]);
  });
  const line = (i) => (i < 0 ? arcs[~i].toReversed() : arcs[i]);
  const ring = (parts) => parts.flatMap((i, n) => (n ? line(i).slice(1) : line(i)));
  const polygons = (g) => (g.type === "Polygon" ? [g.arcs] : g.type === "MultiPolygon" ? g.arcs : []).map((rings) => rings.map(ring));
  return topology.objects.countries.geometries.map((g) => ({ code: code(g), polygons: polygons(g) }));
}

// Areas without a code of their own, as databases of addresses have them.
const others = { Kosovo: "XK", "N. Cyprus": "CY", Somaliland: "SO" };

/** The two letters of an area, "" if it has none: Unicode knows what the numbers of ISO 3166 stand for. */
function code(g) {
  if (g.id === undefined) return others[g.properties.name] ?? "";
  const region = new Intl.Locale(`und-${String(g.id).padStart(3, "0")}`).region;
  return /^[A-Z]{2}$/.test(region) ? region : "";
}

/** Goes on beyond 180° where a ring crosses the antimeridian, in place of jumping to the other side. */
function unwrapped(ring) {
  let turn = 0;
  return ring.map(([x, y], i) => {
    if (i) {
      const d = x - ring[i - 1][0];
      if (d > 180) turn -= 360;
      if (d < -180) turn += 360;
    }
    return [x + turn, y];
  });
}

/** What of a ring is east of a meridian, or west if side is -1 (Sutherland and Hodgman). */
function half(ring, meridian, side) {
  const inside = ([x]) => side * (x - meridian) >= 0;
  const out = [];
  ring.forEach((p, i) => {
    const before = ring[(i + ring.length - 1) % ring.length];
    if (inside(p) !== inside(before)) {
      const at = (meridian - before[0]) / (p[0] - before[0]);
      out.push([meridian, before[1] + at * (p[1] - before[1])]);
    }
    if (inside(p)) out.push(p);
  });
  return out;
}

/** Splits a ring at the antimeridian. */
function split(ring) {
  const r = unwrapped(ring);
  const xs = r.map((p) => p[0]);
  const parts = [];
  if (Math.max(...xs) > 180) parts.push(half(r, 180, -1), half(r, 180, 1).map(([x, y]) => [x - 360, y]));
  else if (Math.min(...xs) < -180) parts.push(half(r, -180, 1), half(r, -180, -1).map(([x, y]) => [x + 360, y]));
  else parts.push(r);
  return parts;
}

/** To a tenth of a degree, without what that makes equal. */
function rounded(ring) {
  const r = ring.map(([x, y]) => [Math.round(10 * x) / 10, Math.round(10 * y) / 10]);
  const kept = r.filter((p, i) => i === 0 || p[0] !== r[i - 1][0] || p[1] !== r[i - 1][1]);
  const [a, z] = [kept[0], kept.at(-1)];
  if (a && (a[0] !== z[0] || a[1] !== z[1])) kept.push(a);
  return kept;
}

const area = (ring) => Math.abs(ring.reduce((sum, [x, y], i) => {
  const [px, py] = ring[(i + ring.length - 1) % ring.length];
  return sum + px * y - x * py;
}, 0) / 2);

/** The world: GeoJSON of countries, and under points those that it is too coarse for. */
export async function world() {
  const shapes = new Map();
  for (const { code, polygons } of countries(await atlas("110m"))) {
    if (!code || code === "AQ") continue; // nobody there serves anything, and it goes around the pole
    for (const rings of polygons) {
      const parts = split(rings[0]).map(rounded).filter((r) => r.length >= 4);
      // What crosses the antimeridian has no holes. Lesotho is one, in South Africa.
      const holes = parts.length === 1 ? rings.slice(1).map(rounded) : [];
      shapes.set(code, [...(shapes.get(code) ?? []), ...parts.map((r) => [r, ...holes])]);
    }
  }
  const points = {};
  for (const { code, polygons } of countries(await atlas("50m"))) {
    if (!code || code === "AQ" || shapes.has(code) || points[code]) continue;
    const [largest] = polygons.map((rings) => rings[0]).sort((a, b) => area(b) - area(a));
    const box = [0, 1].map((i) => largest.map((p) => p[i]));
    points[code] = box.map((v) => Math.round(5 * (Math.min(...v) + Math.max(...v))) / 10);
  }
  const byCode = ([a], [b]) => (a < b ? -1 : 1);
  return {
    type: "FeatureCollection",
    features: [...shapes].sort(byCode).map(([name, coordinates]) => ({ type: "Feature", properties: { name }, geometry: { type: "MultiPolygon", coordinates } })),
    points: Object.fromEntries(Object.entries(points).sort(byCode)),
  };
}
