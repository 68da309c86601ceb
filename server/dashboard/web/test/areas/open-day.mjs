// A page left open for a day does not grow: neither nodes nor listeners nor the
// heap grow over renewals, of which a day of windows of five minutes has 288.
// A part of them is made, and what that adds is taken as many times.
const more = process.env.EVERGREEN_MORE;

export default async function (t) {
  if (!more) return t.note("not measured: EVERGREEN_MORE names no address that counts more");
  const { context, page, fail } = await t.context({}, "open for a day");
  const cdp = await context.newCDPSession(page);
  await cdp.send("Performance.enable");
  await page.addInitScript(() => { Math.random = () => 0; }); // readers draw at different times, this one at once
  await page.goto(t.base + "/?range=1h", { waitUntil: "load" });
  await t.draw(page);
  const measure = async () => {
    for (let i = 0; i < 3; i++) await cdp.send("HeapProfiler.collectGarbage");
    const m = Object.fromEntries((await cdp.send("Performance.getMetrics")).metrics.map((m) => [m.name, m.value]));
    return { nodes: m.Nodes, listeners: m.JSEventListeners, heap: m.JSHeapUsedSize };
  };
  const renew = async (times) => {
    for (let i = 0; i < times; i++) {
      const were = await page.locator("#tiles-live").innerHTML();
      const drawn = page.waitForResponse((r) => r.url().includes("/api/v1/query"));
      drawn.catch(() => {}); // what fails before it is told
      await fetch(more, { method: "POST" });
      await page.waitForFunction((were) => document.getElementById("tiles-live").innerHTML !== were, were);
      await drawn;
    }
  };
  const first = 12, rest = 84, day = 288;
  await renew(first);
  const before = await measure();
  await renew(rest);
  const then = await measure();
  const after = Object.fromEntries(Object.entries(then).map(([k, v]) => [k, Math.round(before[k] + (v - before[k]) * (day - first) / rest)]));
  const mb = (n) => (n / 2 ** 20).toFixed(1) + " MiB";
  t.note(`after ${first} renewals ${mb(before.heap)}, ${before.nodes} nodes, ${before.listeners} listeners; after ${first + rest} ${mb(then.heap)}, ${then.nodes} nodes, ${then.listeners} listeners, which makes for a day ${mb(after.heap)}, ${after.nodes} nodes, ${after.listeners} listeners`);
  if (after.nodes > before.nodes * 1.1 + 200) fail(`grows from ${before.nodes} to ${after.nodes} nodes`);
  if (after.listeners > before.listeners * 1.1 + 20) fail(`grows from ${before.listeners} to ${after.listeners} listeners`);
  if (after.heap > before.heap * 1.25 + 2 ** 21) fail(`grows from ${mb(before.heap)} to ${mb(after.heap)}`);
  await context.close();
}
