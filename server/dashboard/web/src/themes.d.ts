// Made by build.mjs of style.css.
declare module "evergreen:themes" {
  /** The style sheet's variables, by name with both hyphens. */
  export const themes: Record<"light" | "dark", Record<string, string>>;
  export const font: string;
}

// Made by world.mjs.
declare module "evergreen:world" {
  export const world: import("./option_map").World;
}
