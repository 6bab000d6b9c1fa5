// Items of datasets: read from a pasted text, joined with those that are there, and held against another version.

export type Form = "auto" | "json" | "jsonl" | "csv";
export type Item = Record<string, unknown>;

export interface Read {
  items: unknown[];
  form: Exclude<Form, "auto">;
  /** What is wrong with the text, where; null if it could be read. */
  fault: string | null;
}

const isObject = (value: unknown): value is Item => typeof value === "object" && value !== null && !Array.isArray(value);
const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Read items from JSON (a list, {"items": [...]} or one item), JSON Lines, or CSV with a line of heads. */
export function readItems(text: string, form: Form = "auto"): Read {
  const clean = text.replace(/^\uFEFF/, "");
  const kind = form === "auto" ? formOf(clean) : form;
  try {
    const items = { json: readJson, jsonl: readLines, csv: readCsv }[kind](clean);
    return { items, form: kind, fault: items.length ? doubled(items) : "There is no item in it." };
  } catch (error) {
    return { items: [], form: kind, fault: said(error) };
  }
}

function formOf(text: string): Exclude<Form, "auto"> {
  const lines = text.split(/\r?\n/).filter((line) => line.trim());
  if (!/^\s*[[{"]/.test(text)) return "csv";
  if (lines.length > 1 && lines.every((line) => isJson(line))) return "jsonl";
  return /^\s*"/.test(text) && !isJson(text) ? "csv" : "json";
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function readJson(text: string): unknown[] {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw new Error(`This is no JSON: ${said(error)}.`);
  }
  if (Array.isArray(found)) return found;
  if (isObject(found) && Array.isArray(found.items)) return found.items;
  return [found];
}

function readLines(text: string): unknown[] {
  return text.split(/\r?\n/).flatMap((line, at) => {
    if (!line.trim()) return [];
    try {
      return [JSON.parse(line) as unknown];
    } catch (error) {
      throw new Error(`Line ${at + 1} is no JSON: ${said(error)}.`);
    }
  });
}

/** The rows of a CSV text; the separator is the comma, semicolon or tab that its first line has most of. */
export function csvRows(text: string): string[][] {
  const first = text.slice(0, text.search(/\r?\n|$/));
  const count = (sign: string) => first.split(sign).length;
  const separator = [",", ";", "\t"].reduce((best, sign) => (count(sign) > count(best) ? sign : best));
  const rows: string[][] = [];
  let row: string[] = [];
  let field = "";
  let quoted = false;
  let begun = 1; // the line on which an open quote began
  let line = 1;
  for (let at = 0; at < text.length; at++) {
    const sign = text[at] as string;
    if (sign === "\n") line++;
    if (quoted) {
      if (sign !== '"') field += sign;
      else if (text[at + 1] === '"') field += text[++at];
      else quoted = false;
    } else if (sign === '"' && field === "") {
      quoted = true;
      begun = line;
    } else if (sign === separator) {
      row.push(field);
      field = "";
    } else if (sign === "\n") {
      rows.push([...row, field.replace(/\r$/, "")]);
      [row, field] = [[], ""];
    } else field += sign;
  }
  if (quoted) throw new Error(`The quote that opens on line ${begun} is never closed.`);
  if (field || row.length) rows.push([...row, field]);
  return rows.filter((cells) => cells.some((cell) => cell.trim()));
}

function readCsv(text: string): unknown[] {
  const [heads, ...rows] = csvRows(text);
  if (!heads) return [];
  const names = heads.map((head) => head.trim());
  const unnamed = names.indexOf("");
  if (unnamed >= 0) throw new Error(`Column ${unnamed + 1} has no name in the first line.`);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new Error(`Two columns are called ${twice}.`);
  if (!rows.length) throw new Error("There is a line of heads and no row below it.");
  return rows.map((cells, at) => {
    if (cells.length > names.length) throw new Error(`Row ${at + 1} has ${cells.length} fields, and the first line names ${names.length}.`);
    return Object.fromEntries(names.map((name, column) => [name, cells[column] ?? ""]));
  });
}

/** Two items with one id could not be told apart. */
function doubled(items: readonly unknown[]): string | null {
  const seen = new Set<string>();
  for (const item of items) {
    const id = idOf(item);
    if (id === null) continue;
    if (seen.has(id)) return `Two items have the id ${id}; each needs one of its own.`;
    seen.add(id);
  }
  return null;
}

export function idOf(item: unknown): string | null {
  if (!isObject(item) || item.id === undefined || item.id === null || item.id === "") return null;
  return String(item.id);
}

/** The same text for the same value, whatever the order of its keys. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (isObject(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner));
}

export interface Joined {
  items: unknown[];
  added: number;
  replaced: number;
  same: number;
}

/** Add items to those that are there: one with a known id takes that one's place, an equal one is not added again. */
export function joinItems(known: readonly unknown[], more: readonly unknown[]): Joined {
  const items = [...known];
  const places = new Map(known.flatMap((item, at): [string, number][] => (idOf(item) === null ? [] : [[idOf(item) as string, at]])));
  const texts = new Set(known.map(canonical));
  let [added, replaced, same] = [0, 0, 0];
  for (const item of more) {
    const place = places.get(idOf(item) ?? "");
    if (texts.has(canonical(item))) same++;
    else if (place !== undefined) {
      items[place] = item;
      replaced++;
    } else {
      items.push(item);
      added++;
    }
  }
  return { items, added, replaced, same };
}

export interface ItemChange {
  key: string;
  state: "added" | "removed" | "changed";
  before: unknown;
  now: unknown;
}

/** What differs between the items of two versions: by id, and by their whole content where they have none. */
export function changesOf(before: readonly unknown[], now: readonly unknown[]): ItemChange[] {
  const keyed = (items: readonly unknown[]) => {
    const seen = new Map<string, number>();
    return new Map(items.map((item): [string, unknown] => {
      const own = idOf(item) ?? canonical(item);
      const count = (seen.get(own) ?? 0) + 1;
      seen.set(own, count);
      return [count > 1 ? `${own} (${count})` : own, item];
    }));
  };
  const [old, fresh] = [keyed(before), keyed(now)];
  const changes: ItemChange[] = [];
  for (const [key, item] of fresh) {
    if (!old.has(key)) changes.push({ key, state: "added", before: undefined, now: item });
    else if (canonical(old.get(key)) !== canonical(item)) changes.push({ key, state: "changed", before: old.get(key), now: item });
  }
  for (const [key, item] of old) if (!fresh.has(key)) changes.push({ key, state: "removed", before: item, now: undefined });
  return changes;
}

/** The fields of the items, the commonest first; id and from are shown apart. */
export function fieldsOf(items: readonly unknown[]): string[] {
  const counts = new Map<string, number>();
  for (const item of items) {
    if (!isObject(item)) continue;
    for (const name of Object.keys(item)) if (name !== "id" && name !== "from") counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([name]) => name);
}

/** A value in one line: a text as it is, all else as JSON. */
export function inLine(value: unknown): string {
  if (value === undefined || value === null) return "";
  return (typeof value === "string" ? value : JSON.stringify(value)).replace(/\s+/g, " ").slice(0, 400);
}

/** A value to be read and compared: a text as it is, all else as indented JSON. */
export const inFull = (value: unknown): string => (value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value, null, 2));

export interface Origin {
  call: string | null;
  vote: string | null;
  prompt: string | null;
  version: number | null;
  told: string | null;
}

/** Where an item came from: the call or the vote that it was made of, and what people said of it. */
export function originOf(item: unknown): Origin | null {
  const from = isObject(item) ? item.from : null;
  if (!isObject(from)) return null;
  const text = (value: unknown) => (typeof value === "string" || typeof value === "number" ? String(value) : null);
  const told = [
    typeof from.rating === "number" && `rated ${from.rating}`,
    typeof from.score === "number" && (from.score > 0 ? "voted up" : "voted down"),
    typeof from.votes === "number" && `votes ${from.votes}`,
    typeof from.message === "string" && from.message,
    Array.isArray(from.comments) && from.comments.join("; "),
  ].filter(Boolean);
  return { call: text(from.call), vote: text(from.vote), prompt: text(from.prompt), version: typeof from.prompt_version === "number" ? from.prompt_version : null, told: told.length ? told.join(", ") : null };
}
