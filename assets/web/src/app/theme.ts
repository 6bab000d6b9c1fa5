import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";
const KEY = "promptry.theme";
const listeners = new Set<() => void>();

function read(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : "system";
}

/** Put the kept theme on the page; before the first paint. */
export function applyTheme(theme: Theme = read()): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function setTheme(theme: Theme): void {
  if (theme === "system") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, theme);
  applyTheme(theme);
  for (const listener of listeners) listener();
}

export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, read);
}

/** "light" or "dark": what is seen now, for what is drawn with fixed colours. */
export function useColours(): "light" | "dark" {
  const theme = useTheme();
  const dark = useSyncExternalStore((listener) => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    query.addEventListener("change", listener);
    return () => query.removeEventListener("change", listener);
  }, () => matchMedia("(prefers-color-scheme: dark)").matches);
  if (theme !== "system") return theme;
  return dark ? "dark" : "light";
}
