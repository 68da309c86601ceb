// What package render runs: from a job as JSON to an SVG, without a document.
import { empty, type Answer } from "./answer";
import { build } from "./option";
import { init, registerMap } from "./parts";
import { inside, lay, nothing, place, type Frame } from "./picture";
import type { Kind, Size, Spec } from "./spec";
import { themeOf, type Theme } from "./theme";
import { themes, font } from "evergreen:themes";
import { world } from "evergreen:world";

interface Job {
  kind: Kind;
  spec: Spec;
  answer: Answer;
  theme: "light" | "dark";
  width: number;
  height: number;
  frame?: Frame;
  /** Why there is nothing, if there is not. */
  reason?: string;
}

declare const globalThis: Record<string, unknown>;

// A picture is finished when it is drawn: nothing happens later.
for (const name of ["setTimeout", "setInterval", "requestAnimationFrame"]) globalThis[name] ??= () => 0;
for (const name of ["clearTimeout", "clearInterval", "cancelAnimationFrame"]) globalThis[name] ??= () => undefined;

registerMap("world", world as never);

globalThis.evergreenRender = (text: string): string => {
  const job = JSON.parse(text) as Job;
  // ECharts writes it into attributes as it is.
  const theme = themeOf((name) => themes[job.theme][name] ?? "", font.replaceAll('"', "'"));
  const laid = lay(job.frame, theme, job.width, job.height);
  const size = { ...inside(laid, job.frame, job.width, job.height), still: true };
  if (size.height < 60) throw new Error("a picture so low has no room for a chart below its title");
  return place(drawn(job, theme, size), laid, job.frame, theme, job.width, job.height);
};

function drawn(job: Job, theme: Theme, size: Size): string {
  if (empty(job.answer)) return nothing(job.reason || "Nothing was counted in this range.", theme, size.width, size.height);
  const chart = init(null, null, { renderer: "svg", ssr: true, width: size.width, height: size.height });
  try {
    chart.setOption(build(job.answer, { ...job.spec, kind: job.kind }, theme, size, world));
    return settled(chart.renderToSVGString());
  } finally {
    chart.dispose();
  }
}

/** What a picture needs: no answers to a pointer, and the same ids whatever was drawn before. */
function settled(svg: string): string {
  const ids = new Map<string, string>();
  return svg
    .replace(/<style[^>]*>[\s\S]*?<\/style>/g, "")
    .replace(/ (class="zr[^"]*"|pointer-events="[^"]*"|ecmeta_\w+="[^"]*")/g, "")
    .replace(/\bzr\d+-[a-z]+\d+/g, (id) => {
      let known = ids.get(id);
      if (!known) ids.set(id, (known = "e" + ids.size));
      return known;
    });
}
