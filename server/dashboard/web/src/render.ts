// What package render runs: from a job as JSON to an SVG, without a document.
import { empty, type Answer } from "./answer";
import { build } from "./option";
import { init, registerMap } from "./parts";
import type { Kind, Spec } from "./spec";
import { themeOf } from "./theme";
import { themes, font } from "evergreen:themes";
import { world } from "evergreen:world";

interface Job {
  kind: Kind;
  spec: Spec;
  answer: Answer;
  theme: "light" | "dark";
  width: number;
  height: number;
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
  const size = { width: job.width, height: job.height, still: true };
  const chart = init(null, null, { renderer: "svg", ssr: true, width: job.width, height: job.height });
  try {
    if (!empty(job.answer)) chart.setOption(build(job.answer, { ...job.spec, kind: job.kind }, theme, size, world));
    return settled(chart.renderToSVGString());
  } finally {
    chart.dispose();
  }
};

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
