// Firefox as Debian ships it, by WebDriver BiDi (w3.org/TR/webdriver-bidi):
// Playwright's own Firefox is a patched one, and its BiDi asks for commands
// that the ESR does not know.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const WebSocket = globalThis.WebSocket ?? createRequire(import.meta.url)("playwright-core/lib/utilsBundle").ws;

/** Starts Firefox; what it gives opens one page after the other in a tab. */
export async function firefox() {
  const profile = await mkdtemp(join(tmpdir(), "evergreen-firefox-"));
  await writeFile(join(profile, "user.js"), [
    ["app.update.enabled", false], ["browser.shell.checkDefaultBrowser", false], ["datareporting.policy.dataSubmissionEnabled", false],
    ["toolkit.telemetry.enabled", false], ["network.captive-portal-service.enabled", false], ["network.connectivity-service.enabled", false],
    ["browser.safebrowsing.update.enabled", false], ["services.settings.server", "data:,#remote-settings-dummy/v1"], ["browser.startup.homepage", "about:blank"],
  ].map(([k, v]) => `user_pref(${JSON.stringify(k)}, ${JSON.stringify(v)});`).join("\n") + "\n");
  const process_ = spawn(process.env.FIREFOX ?? "firefox-esr", ["--headless", "--no-remote", "--remote-debugging-port=0", "--profile", profile, "about:blank"], {
    stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, HOME: profile, MOZ_CRASHREPORTER_DISABLE: "1" },
  });
  const ended = new Promise((r) => process_.on("exit", r));
  const listening = await new Promise((resolve, reject) => {
    let said = "";
    process_.stderr.setEncoding("utf8").on("data", (d) => {
      said += d;
      const m = /WebDriver BiDi listening on (ws:\/\/\S+)/.exec(said);
      if (m) resolve(m[1]);
    });
    process_.on("error", reject);
    process_.on("exit", (code) => reject(new Error(`firefox ended with ${code}: ${said.slice(-400)}`)));
  });

  const socket = new WebSocket(listening + "/session");
  await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = (e) => reject(new Error(`firefox: ${e.message}`)); });
  const waiting = new Map();
  let next = 0;
  let on = () => {};
  socket.onmessage = ({ data }) => {
    const m = JSON.parse(data);
    if (m.type === "event") return on(m.method, m.params);
    const w = waiting.get(m.id);
    waiting.delete(m.id);
    if (m.type === "error") w?.reject(new Error(`${w.method}: ${m.error}: ${m.message}`));
    else w?.resolve(m.result);
  };
  const send = (method, params) => new Promise((resolve, reject) => {
    waiting.set(++next, { resolve, reject, method });
    socket.send(JSON.stringify({ id: next, method, params }));
  });

  const { capabilities } = await send("session.new", { capabilities: {} });
  await send("session.subscribe", { events: ["log.entryAdded", "network.beforeRequestSent", "network.responseCompleted", "network.fetchError"] });
  const { context } = await send("browsingContext.create", { type: "tab" });
  const value = async (expression) => {
    const r = await send("script.evaluate", { expression: `(async () => JSON.stringify(await (${expression})))()`, target: { context }, awaitPromise: true });
    if (r.type === "exception") throw new Error(r.exceptionDetails.text);
    return r.result.value === undefined ? undefined : JSON.parse(r.result.value);
  };
  return {
    version: capabilities.browserVersion,
    value,
    /** Loads a page; fail hears of what must not be seen there. */
    async open(url, size, fail) {
      const base = new URL(url).origin + "/";
      on = (method, p) => {
        if (p.context && p.context !== context || p.source?.context && p.source.context !== context) return;
        const asked = p.request?.url;
        if (method === "log.entryAdded" && ["error", "warn"].includes(p.level)) fail(`console: ${p.text}`);
        else if (method === "network.beforeRequestSent" && !asked.startsWith(base) && !/^(data|blob|about|resource|chrome):/.test(asked)) fail(`asks another host: ${asked}`);
        else if (method === "network.responseCompleted" && p.response.status >= 400) fail(`${p.response.status}: ${asked}`);
        else if (method === "network.fetchError" && !/ABORT/.test(p.errorText)) fail(`request failed: ${asked} ${p.errorText}`);
      };
      await send("browsingContext.setViewport", { context, viewport: size });
      await send("browsingContext.navigate", { context, url, wait: "complete" });
    },
    async shoot(path) {
      const { data } = await send("browsingContext.captureScreenshot", { context, origin: "document" });
      await writeFile(path, Buffer.from(data, "base64"));
    },
    async close() {
      on = () => {};
      socket.close();
      process_.kill("SIGTERM");
      await ended;
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
