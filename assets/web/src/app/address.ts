// The address holds all state: #/path?name=value. One store for it; wouter matches the path, useParam reads the rest.
import { useSyncExternalStore } from "react";
import { queryOf } from "../api/client";
import type { Params } from "../api/client";

interface Address {
  path: string;
  query: string;
}

function split(hash: string): Address {
  const text = hash.replace(/^#/, "");
  const at = text.indexOf("?");
  const path = at < 0 ? text : text.slice(0, at);
  return { path: path.startsWith("/") ? path : `/${path}`, query: at < 0 ? "" : text.slice(at + 1) };
}

let hash = "";
let address = split("");
function current(): Address {
  if (window.location.hash !== hash) {
    hash = window.location.hash;
    address = split(hash);
  }
  return address;
}

const listeners = new Set<() => void>();
function subscribe(listener: () => void): () => void {
  if (!listeners.size) for (const event of ["hashchange", "popstate"]) window.addEventListener(event, told);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (!listeners.size) for (const event of ["hashchange", "popstate"]) window.removeEventListener(event, told);
  };
}
function told(): void {
  for (const listener of listeners) listener();
}

/** The link to a page: href("/suite", {name}) is "#/suite?name=...". */
export function href(path: string, params: Params = {}): string {
  return `#${path}${queryOf(params)}`;
}

/** Go to a page; with `replace` the step does not count for the browser's Back. */
export function go(path: string, params: Params = {}, { replace = false } = {}): void {
  const target = href(path, params);
  if (target === window.location.hash) return;
  window.history[replace ? "replaceState" : "pushState"](null, "", target);
  told();
}

/** The path of the address, for wouter: [path, navigate]. */
export function usePath(): [string, (to: string, options?: { replace?: boolean }) => void] {
  const path = useSyncExternalStore(subscribe, () => current().path);
  return [path, (to, options) => go(to, {}, options)];
}
usePath.hrefs = (to: string): string => `#${to}`;

/** The query of the address, for wouter. */
export function useQueryText(): string {
  return useSyncExternalStore(subscribe, () => current().query);
}

/** All parameters of the address. */
export function useParams(): URLSearchParams {
  return new URLSearchParams(useQueryText());
}

/** Set parameters of the address, the others stay; null, undefined and "" take one away. */
export function setParams(changes: Params, { replace = true } = {}): void {
  const { path, query } = current();
  const params: Record<string, string[]> = {};
  for (const [name, value] of new URLSearchParams(query)) (params[name] ??= []).push(value);
  const next: Params = { ...params, ...changes };
  go(path, next, { replace });
}

/** One parameter of the address and its setter; what equals the fallback is not written. */
export function useParam(name: string, fallback = ""): [string, (value: string | null) => void] {
  const value = useParams().get(name) ?? fallback;
  return [value, (next) => setParams({ [name]: next === fallback ? null : next })];
}
