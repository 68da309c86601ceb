// What surrounds charts and needs a script: pictures as PNG, and copying code.

const scale = 2;

/** Unhides what only works with scripts. Called again for what a refresh brings. */
export function equip(root: ParentNode = document): void {
  for (const e of root.querySelectorAll<HTMLElement>("a.png, button.copy")) e.hidden = false;
}

/** Makes a PNG of an SVG of this server's, twice as fine. */
async function png(href: string): Promise<Blob> {
  const picture = new Image();
  picture.src = href;
  await picture.decode();
  const canvas = document.createElement("canvas");
  canvas.width = scale * picture.naturalWidth;
  canvas.height = scale * picture.naturalHeight;
  canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((done, fail) => canvas.toBlob((b) => (b ? done(b) : fail(new Error("no PNG"))), "image/png"));
}

async function download(link: HTMLAnchorElement): Promise<void> {
  const blob = await png(link.href);
  const a = document.createElement("a");
  a.href = URL.createObjectURL(blob);
  a.download = (new URL(link.href).pathname.split("/").pop() ?? "chart.svg").replace(/svg$/, "png");
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 10_000);
}

async function copy(button: HTMLButtonElement): Promise<void> {
  const from = document.getElementById(button.dataset.copy ?? "");
  if (!from) return;
  const was = button.textContent;
  try {
    await navigator.clipboard.writeText(from.textContent ?? "");
    button.textContent = "Copied";
  } catch {
    // Without a secure context there is no clipboard: select it instead.
    getSelection()?.selectAllChildren(from);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = was), 2000);
}

document.addEventListener("click", (e) => {
  const at = e.target as Element;
  const link = at.closest<HTMLAnchorElement>("a.png");
  if (link && !e.ctrlKey && !e.metaKey && !e.shiftKey) {
    e.preventDefault();
    download(link).catch((err: unknown) => {
      console.warn("the picture could not be made:", err);
      location.href = link.href;
    });
  }
  const button = at.closest<HTMLButtonElement>("button.copy");
  if (button) void copy(button);
});

equip();
