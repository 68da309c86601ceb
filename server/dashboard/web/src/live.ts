// Keeps an open page up to date by /live: the server says which parts of this
// page changed, and nothing is asked for in between. A page that nobody looks
// at has no connection; it catches up when it is seen again.

/** What an event "change" of /live holds. */
export interface Change {
  version: string;
  at: string;
  parts?: { id: string; html: string }[];
  charts?: { id: string; data: Record<string, string> }[];
}

/** What a page needs to follow its changes. */
export interface Page {
  /** Draws a figure's chart anew, if it has one. */
  redraw(figure: HTMLElement): Promise<void>;
}

const firstRetry = 30_000;
const lastRetry = 15 * 60_000;
/** Charts are asked for at different times by different readers. */
const spread = 1_500;

export function follow(page: Page): void {
  const main = document.querySelector<HTMLElement>("main[data-version]");
  if (!main || typeof EventSource === "undefined") return;
  let version = main.dataset.version ?? "";
  let source: EventSource | undefined;
  let retry = firstRetry;
  let timer: number | undefined;
  const stale = new Set<string>(); // figures to draw anew
  let drawing: number | undefined;

  const close = (): void => {
    source?.close();
    source = undefined;
    clearTimeout(timer);
    timer = undefined;
  };
  const open = (): void => {
    if (source || document.hidden) return;
    const q = new URLSearchParams({ page: location.pathname + location.search, version });
    source = new EventSource(`/live?${q.toString()}`);
    source.addEventListener("open", () => {
      retry = firstRetry;
      problem("");
    });
    source.addEventListener("change", (e) => {
      const change = JSON.parse((e as MessageEvent<string>).data) as Change;
      main.dataset.version = version = change.version;
      take(change);
      say(`Updated at ${change.at.slice(11, 19)}.`);
    });
    source.addEventListener("end", (e) => {
      close();
      problem((JSON.parse((e as MessageEvent<string>).data) as { reason: string }).reason);
    });
    source.addEventListener("error", () => {
      if (!source) return;
      problem("These numbers are not the newest: the connection to the server is interrupted.");
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again
      close();
      timer = window.setTimeout(open, retry * (0.75 + Math.random() / 2));
      retry = Math.min(2 * retry, lastRetry);
    });
  };

  const take = (change: Change): void => {
    for (const p of change.parts ?? []) replace(p.id, p.html);
    for (const c of change.charts ?? []) {
      const f = document.getElementById(c.id);
      if (!f) continue;
      for (const [k, v] of Object.entries(c.data)) f.setAttribute(`data-${k}`, v);
      if (f.dataset.drawn) stale.add(c.id); // else it is drawn when it is seen
    }
    if (stale.size > 0 && drawing === undefined) drawing = window.setTimeout(() => void draw(), Math.random() * spread);
  };
  const draw = async (): Promise<void> => {
    while (stale.size > 0) {
      const [id] = stale;
      stale.delete(id!);
      const f = document.getElementById(id!);
      try {
        if (f) await page.redraw(f);
      } catch (err) {
        console.info("a chart could not be renewed:", err);
      }
    }
    drawing = undefined;
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  // A page that comes back from the browser's cache has lost its connection.
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}

/** Puts new content into a part, and leaves the reader where they are. */
function replace(id: string, html: string): void {
  const part = document.getElementById(id);
  if (!part) return;
  const focusable = (): HTMLElement[] => [...part.querySelectorAll<HTMLElement>("a, button, summary, [tabindex]")];
  const at = focusable().indexOf(document.activeElement as HTMLElement);
  const opened = [...part.querySelectorAll("details")].map((d) => d.open);
  const scrolled = [...part.querySelectorAll(".scroll")].map((e) => [e.scrollLeft, e.scrollTop] as const);
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  part.replaceChildren(fresh.content);
  part.querySelectorAll("details").forEach((d, i) => { if (opened[i]) d.open = true; });
  part.querySelectorAll(".scroll").forEach((e, i) => { const s = scrolled[i]; if (s) [e.scrollLeft, e.scrollTop] = s; });
  if (at >= 0) focusable()[at]?.focus({ preventScroll: true });
}

function say(text: string): void {
  const live = document.getElementById("live");
  if (live && live.textContent !== text) live.textContent = text;
}

/** Says what is wrong, also to whoever listens to the page. */
function problem(text: string): void {
  const live = document.getElementById("live-problem");
  if (live && live.textContent !== text) live.textContent = text;
}
