import * as store from "./store";

export const THEMES: { value: store.Theme; label: string }[] = [
  { value: "system", label: "Auto" },
  { value: "light", label: "Clair" },
  { value: "dark", label: "Sombre" },
];

export function currentTheme(): store.Theme {
  return store.read("theme") ?? "system";
}

/** Show the page in `theme`, and remember it. */
export function applyTheme(theme: store.Theme): void {
  store.write("theme", theme);
  document.documentElement.dataset["theme"] = theme;
}
