// A page left open for a day does not grow: its clock is run on, and neither
// nodes nor listeners nor the heap are more after a day's renewals (one every
// five minutes, when a window closes) than after the first of them.
export default async function (t) {
  const { context, page, fail } = await t.context({}, "open for a day");
  const cdp = await context.newCDPSession(page);
  await cdp.send("Performance.enable");
  await page.clock.install();
  await page.goto(t.base + "/", { waitUntil: "load" });
  await t.draw(page);
  const measure = async () => {
    await page.waitForLoadState("networkidle");
    for (let i = 0; i < 3; i++) await cdp.send("HeapProfiler.collectGarbage");
    const m = Object.fromEntries((await cdp.send("Performance.getMetrics")).metrics.map((m) => [m.name, m.value]));
    return { nodes: m.Nodes, listeners: m.JSEventListeners, heap: m.JSHeapUsedSize };
  };
  const renew = async (times) => {
    for (let i = 0; i < times; i++) {
      const was = await page.locator("#live").textContent();
      await page.clock.runFor(31_000);
      await page.waitForFunction((was) => document.getElementById("live").textContent !== was, was);
    }
  };
  await renew(24);
  const before = await measure();
  await renew(264);
  const after = await measure();
  const mb = (n) => (n / 2 ** 20).toFixed(1) + " MiB";
  t.note(`after 24 renewals ${mb(before.heap)}, ${before.nodes} nodes, ${before.listeners} listeners; after 288 ${mb(after.heap)}, ${after.nodes} nodes, ${after.listeners} listeners`);
  if (after.nodes > before.nodes * 1.1 + 200) fail(`grows from ${before.nodes} to ${after.nodes} nodes`);
  if (after.listeners > before.listeners * 1.1 + 20) fail(`grows from ${before.listeners} to ${after.listeners} listeners`);
  if (after.heap > before.heap * 1.15 + 2 ** 20) fail(`grows from ${mb(before.heap)} to ${mb(after.heap)}`);
  await context.close();
}
