// What a first visit costs: bytes, the time until the largest part is
// painted with a processor four times slower, and how far things move.
//
// Times are judged only while this machine has a processor to spare, and then
// a page passes with the third try that is fast enough, out of six; the figure
// told is the median.
import { nameOf } from "../harness.mjs";

const bytes = 150 * 1024, paint = 1000, shift = 0.05, tries = 6, enough = 3;
const median = (v) => v.toSorted((a, b) => a - b)[v.length >> 1];

async function visit(t, path) {
  const { context, page, fail } = await t.context({}, nameOf(path) + "-weight");
  const cdp = await context.newCDPSession(page);
  await cdp.send("Network.enable");
  await cdp.send("Emulation.setCPUThrottlingRate", { rate: 4 });
  const kinds = new Map();
  const sizes = [];
  cdp.on("Network.responseReceived", (e) => kinds.set(e.requestId, { url: e.response.url, encoding: e.response.headers["Content-Encoding"] ?? e.response.headers["content-encoding"] }));
  cdp.on("Network.loadingFinished", (e) => { if (kinds.has(e.requestId)) sizes.push({ ...kinds.get(e.requestId), n: e.encodedDataLength }); });
  // What is there when the page has loaded; the part that draws charts and the answers that they show come after that.
  await page.goto(t.base + path, { waitUntil: "load" });
  await page.waitForFunction(() => window.largest > 0);
  const first = sizes.filter((s) => !/\/chart-?[^/]*\.js|\/api\/|\/chart\//.test(s.url));
  const [largest, moved, is] = await page.evaluate(() => [window.largest, window.moved, window.largestIs]);
  await context.close();
  return { total: first.reduce((n, s) => n + s.n, 0), first, largest, moved, is, fail };
}

/** Whether a processor is at hand: work takes as long as it takes of one. */
function calm() {
  const wall = process.hrtime.bigint(), cpu = process.cpuUsage();
  for (let until = Date.now() + 200; Date.now() < until;);
  const { user, system } = process.cpuUsage(cpu);
  return (user + system) * 1000 > 0.85 * Number(process.hrtime.bigint() - wall);
}

export default async function (t) {
  let heaviest = [0, ""];
  const paints = [];
  let busy = 0;
  // One at a time: pages must not slow each other down.
  for (const path of t.paths) {
    const times = [];
    let judged = true;
    for (let i = 0; i < tries && judged && times.filter((v) => v <= paint).length < enough; i++) {
      judged = calm();
      const v = await visit(t, path);
      judged &&= calm();
      times.push(v.largest);
      if (i > 0) continue;
      if (v.total > bytes) v.fail(`weighs ${Math.round(v.total / 1024)} KB: ${v.first.toSorted((a, b) => b.n - a.n).slice(0, 4).map((s) => `${s.url} ${s.n} ${s.encoding ?? ""}`).join(", ")}`);
      if (v.total > heaviest[0]) heaviest = [v.total, path];
      if (v.moved > shift) v.fail(`moves by ${v.moved.toFixed(3)}`);
    }
    paints.push([median(times), path]);
    if (!judged) busy++;
    else if (times.filter((v) => v <= paint).length < enough) t.fail(nameOf(path), `the largest part is painted after ${Math.round(median(times))} ms (median of ${tries})`);
  }
  t.note(`heaviest first load: ${Math.round(heaviest[0] / 1024)} KB (${heaviest[1]})`);
  paints.sort((a, b) => b[0] - a[0]);
  t.note(`largest contentful paint at a quarter of the processor: median ${Math.round(median(paints.map((p) => p[0])))} ms, slowest ${Math.round(paints[0][0])} ms (${paints[0][1]})`);
  if (busy) t.note(`this machine is busy: the times of ${busy} of ${t.paths.length} pages are not judged`);
}
