// Suggests what is found while a reader types into the search box: a combobox
// as the ARIA Authoring Practices describe it. Without it the form still works.

interface Hit { kind: string; name: string; text: string; href: string }

const pause = 150;
const most = 8;

export function suggest(): void {
  const box = document.querySelector<HTMLInputElement>("#search");
  const form = box?.form;
  if (!box || !form) return;
  const list = document.createElement("ul");
  list.id = "search-list";
  list.className = "suggestions";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Found");
  list.hidden = true;
  form.append(list);
  box.setAttribute("role", "combobox");
  box.setAttribute("aria-controls", list.id);
  box.setAttribute("aria-autocomplete", "list");
  box.setAttribute("aria-expanded", "false");
  box.autocomplete = "off";

  let timer: number | undefined;
  let asked: AbortController | undefined;
  let hits: Hit[] = [];
  let chosen = -1;

  const close = (): void => {
    clearTimeout(timer);
    asked?.abort();
    hits = [];
    chosen = -1;
    list.replaceChildren();
    list.hidden = true;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
  };
  const choose = (i: number): void => {
    chosen = i;
    [...list.children].forEach((e, n) => e.setAttribute("aria-selected", String(n === i)));
    if (i < 0) box.removeAttribute("aria-activedescendant");
    else box.setAttribute("aria-activedescendant", `search-${i}`);
  };
  const show = (): void => {
    list.replaceChildren(...hits.map((h, i) => {
      const li = document.createElement("li");
      li.id = `search-${i}`;
      li.setAttribute("role", "option");
      li.setAttribute("aria-selected", "false");
      const kind = document.createElement("span");
      kind.className = "kind";
      kind.textContent = h.kind === "value" ? h.text.replace(/^A (value of \S+):.*/, "$1") : h.kind;
      li.append(h.name, " ", kind);
      li.addEventListener("mousedown", (e) => e.preventDefault()); // the box keeps the focus
      li.addEventListener("click", () => location.assign(h.href));
      return li;
    }));
    list.hidden = hits.length === 0;
    box.setAttribute("aria-expanded", String(hits.length > 0));
    choose(-1);
  };
  const ask = async (): Promise<void> => {
    asked?.abort();
    const control = (asked = new AbortController());
    try {
      const response = await fetch(`/api/v1/search?${new URLSearchParams({ q: box.value, limit: String(most) }).toString()}`, { signal: control.signal });
      if (!response.ok) return;
      hits = ((await response.json()) as { hits: Hit[] }).hits;
      show();
    } catch {
      // It was asked again, or can't be: the form is still there.
    }
  };

  box.addEventListener("input", () => {
    clearTimeout(timer);
    if (box.value.trim() === "") close();
    else timer = window.setTimeout(() => void ask(), pause);
  });
  box.addEventListener("blur", close);
  box.addEventListener("keydown", (e) => {
    if (e.key === "Escape" && !list.hidden) {
      close();
      e.preventDefault();
    } else if ((e.key === "ArrowDown" || e.key === "ArrowUp") && hits.length > 0) {
      const step = e.key === "ArrowDown" ? 1 : -1;
      choose(((chosen + 1 + step + hits.length + 1) % (hits.length + 1)) - 1);
      e.preventDefault();
    } else if (e.key === "Enter" && chosen >= 0) {
      location.assign(hits[chosen]!.href);
      e.preventDefault();
    }
  });
}
