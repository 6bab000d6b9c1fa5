// The filter line of the calls: tokens and words in the address, as the line shows them, and as the server takes them.
import type { Params } from "../../api/client";

/** What a token may be about, in the order in which they are shown: its name in the address. */
export const KEYS = ["module", "prompt", "version", "model", "status", "origin", "last", "price", "rating", "cost", "request"] as const;
export type Key = (typeof KEYS)[number];
export type Filter = Partial<Record<Key | "search", string>>;

/** What is shown where the address asks for nothing. */
export const USUAL: Filter = { origin: "app", last: "24h" };

const SPANS: Record<string, { api: Params; said: string }> = {
  "1h": { api: { hours: 1 }, said: "in the last hour" },
  "6h": { api: { hours: 6 }, said: "in the last 6 hours" },
  "24h": { api: { hours: 24 }, said: "in the last 24 hours" },
  "7d": { api: { days: 7 }, said: "in the last 7 days" },
  "30d": { api: { days: 30 }, said: "in the last 30 days" },
};
export const LASTS = Object.keys(SPANS);

/** The filter of an address. `priced=no` is an older spelling of `price=unpriced`. */
export function filterOf(params: URLSearchParams): Filter {
  const filter: Filter = {};
  for (const key of [...KEYS, "search"] as const) {
    const value = params.get(key);
    if (value) filter[key] = value;
  }
  if (params.get("priced") === "no") filter.price = "unpriced";
  if (!Object.keys(filter).length) return { ...USUAL };
  if (filter.last === "all") delete filter.last;
  return filter;
}

/** The parameters of the address for a filter: nothing for the usual one; all are named, so that what is gone goes. */
export function paramsOf(filter: Filter): Params {
  const params: Record<string, string | null> = { priced: null };
  for (const key of [...KEYS, "search"] as const) params[key] = filter[key] ?? null;
  const told = Object.values(filter).filter(Boolean);
  if (!told.length) return { ...params, last: "all" };
  const usual = told.length === Object.keys(USUAL).length && Object.entries(USUAL).every(([key, value]) => filter[key as Key] === value);
  return usual ? Object.fromEntries(Object.keys(params).map((key) => [key, null])) : params;
}

/** How long back a `last` goes, as the server takes it: 1h to hours, 7d to days. */
function spanOf(last: string): Params {
  const known = SPANS[last];
  if (known) return known.api;
  const [, count, unit] = /^(\d+)([hd])$/.exec(last) ?? [];
  return count ? { [unit === "h" ? "hours" : "days"]: count } : { hours: last }; // what is no time the server says so of
}

/** The filter as parameters of /api/calls, /api/calls/count and /api/export/calls. */
export function askedOf(filter: Filter): Params {
  const { last, price, cost, ...same } = filter;
  if (filter.request) return { request: filter.request }; // stands for itself
  return {
    ...same,
    ...(last ? spanOf(last) : {}),
    unpriced: price === "unpriced" ? true : null,
    min_cost_usd: cost ? cost.replace(/^\$/, "") : null,
  };
}

/** "in the last hour", "in all" for the sentence. */
export function saidSpan(last: string | undefined): string {
  if (!last) return "in all";
  const [, count, unit] = /^(\d+)([hd])$/.exec(last) ?? [];
  return SPANS[last]?.said ?? (count ? `in the last ${count} ${unit === "h" ? "hours" : "days"}` : "in all");
}

const quoted = (value: string): string => (/[\s"]/.test(value) ? `"${value.replaceAll('"', '\\"')}"` : value);

/** A token as it stands in the line: prompt:support/answer, cost>0.01. */
export function tokenText(key: Key, value: string): string {
  return key === "cost" ? `cost>${value}` : `${key}:${quoted(value)}`;
}

/** The tokens of a filter, in their order. */
export function tokensOf(filter: Filter): { key: Key; text: string }[] {
  return KEYS.flatMap((key) => (filter[key] ? [{ key, text: tokenText(key, filter[key] as string) }] : []));
}

/** Each word of a line, a quoted one whole. */
function wordsOf(line: string): string[] {
  return (line.match(/(?:[^\s"]|"(?:\\.|[^"\\])*"?)+/g) ?? []).map((word) => word.trim()).filter(Boolean);
}

const unquoted = (value: string): string => value.replace(/"((?:\\.|[^"\\])*)"?/g, (_whole, inside: string) => inside.replaceAll('\\"', '"'));

/** What was typed, put on a filter: tokens replace those of their name; the other words are what is searched for. */
export function withLine(filter: Filter, line: string): Filter {
  const next: Filter = { ...filter };
  const words: string[] = [];
  for (const word of wordsOf(line)) {
    const [, name, value] = /^([a-z]+)[:>](?:=)?([\s\S]+)$/.exec(word) ?? [];
    const key = KEYS.find((one) => one === name);
    if (key && value) next[key] = unquoted(value);
    else words.push(unquoted(word));
  }
  if (words.length) next.search = words.join(" ");
  else delete next.search;
  if (next.last === "all") delete next.last;
  if (next.request && next.request !== filter.request) return { request: next.request };
  return next;
}
