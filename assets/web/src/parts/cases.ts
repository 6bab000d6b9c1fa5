// The cases of a run, their repeats joined, and what each of two runs made of them.
import type { Comparison, Run, RunCase, RunCheck } from "../api/types";

export interface CaseRow {
  case: string;
  group: string | null;
  state: string;
  score: number | null;
  reason: string | null;
  repeats: RunCase[];
  latency_ms: number | null;
}

function stateOf(repeats: readonly RunCase[]): string {
  const states = new Set(repeats.map((one) => one.state));
  if (states.size === 1) return [...states][0] ?? "skipped";
  if (states.has("pass") && states.has("fail")) return "mixed";
  return states.has("fail") ? "fail" : states.has("error") ? "error" : "pass";
}

const mean = (values: readonly number[]): number | null => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null);

/** The cases of a run in its order, each with its repeats. */
export function rowsOf(run: Pick<Run, "cases">): CaseRow[] {
  const byName = new Map<string, RunCase[]>();
  for (const one of run.cases) {
    const known = byName.get(one.case);
    if (known) known.push(one);
    else byName.set(one.case, [one]);
  }
  return [...byName].map(([name, repeats]) => {
    const told = repeats.find((one) => one.state !== "pass") ?? repeats[0];
    const times = repeats.flatMap((one) => {
      const own = one.checks.flatMap((check) => (check.latency_ms === null ? [] : [check.latency_ms]));
      return own.length ? [own.reduce((sum, ms) => sum + ms, 0)] : []; // each is the time since the check before it
    });
    return {
      case: name,
      group: told?.group ?? null,
      state: stateOf(repeats),
      score: mean(repeats.flatMap((one) => (one.score === null ? [] : [one.score]))),
      reason: told?.reason ?? null,
      repeats,
      latency_ms: mean(times),
    };
  });
}

/** A value as people read it: text as it is, all else as JSON. */
export function textOf(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** The repeat that is worth looking at: the first that did not pass. */
export function toldRepeat(row: CaseRow): RunCase | undefined {
  return row.repeats.find((one) => one.state !== "pass") ?? row.repeats[0];
}

/** What a case answered: the first text that a check of it was about. */
export function outputOf(found: RunCase | undefined): string | null {
  for (const check of found?.checks ?? []) {
    const text = textOf(check.details?.actual);
    if (text !== null) return text;
  }
  return null;
}

const CONTROLS = /[\u0000-\u0008\u000B-\u001F\u007F]|[\u200B\u202A-\u202E\u2066-\u2069\uFEFF]/g;

/** A text in which signs that are no text can be seen: ␛ for an escape, ⟨U+202E⟩ for one that turns what follows around. */
export function seen(text: string | null): string | null {
  return text?.replace(/\r\n/g, "\n").replace(CONTROLS, (sign) => {
    const code = sign.charCodeAt(0);
    if (code < 32) return String.fromCharCode(0x2400 + code);
    return code === 127 ? "\u2421" : `\u27E8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27E9`;
  }) ?? null;
}

/** Whether a check was about the same text as the one before it, so that it need not be shown twice. */
export function isSameActual(check: RunCheck, before: RunCheck | undefined): boolean {
  return before !== undefined && textOf(check.details?.actual) === textOf(before.details?.actual);
}

export interface PairRow {
  case: string;
  now: CaseRow | null;
  before: CaseRow | null;
  /** broke, unconfirmed, flaky, fixed, known, pass, fail, error, new, missing ... */
  state: string;
  by: string[];
  held: { passed: number; tries: number } | null;
  differs: boolean;
}

const ORDER = ["broken", "unconfirmed", "flaky", "fixed", "error", "fail", "known"];

/** The cases of two runs, paired by their names; those that changed sides first. */
export function pairsOf(comparison: Comparison, run: Run, baseline: Run): PairRow[] {
  const [now, before] = [rowsOf(run), rowsOf(baseline)];
  const earlier = new Map(before.map((row) => [row.case, row]));
  const held = new Map(comparison.breaks.map((row) => [row.case, row.before]));
  const flips = new Map<string, { state: string; by: Set<string> }>();
  for (const flip of comparison.flips) {
    const known = flips.get(flip.case);
    if (!known) flips.set(flip.case, { state: flip.state, by: new Set([flip.assertion_type]) });
    else {
      known.by.add(flip.assertion_type);
      if (ORDER.indexOf(flip.state) < ORDER.indexOf(known.state)) known.state = flip.state;
    }
  }
  const known = new Set(comparison.known);
  const rows = now.map((row): PairRow => {
    const other = earlier.get(row.case) ?? null;
    const flip = flips.get(row.case);
    const failing = new Set(row.repeats.flatMap((one) => one.checks.filter((check) => check.passed === false).map((check) => check.assertion_type)));
    return {
      case: row.case,
      now: row,
      before: other,
      state: flip?.state ?? (known.has(row.case) ? "known" : other ? row.state : "new"),
      by: [...(flip?.by ?? failing)],
      held: held.get(row.case) ?? null,
      differs: row.state !== other?.state || outputOf(toldRepeat(row)) !== outputOf(other ? toldRepeat(other) : undefined),
    };
  });
  const names = new Set(now.map((row) => row.case));
  for (const row of before) {
    if (!names.has(row.case)) rows.push({ case: row.case, now: null, before: row, state: "missing", by: [], held: null, differs: true });
  }
  const rank = (row: PairRow) => (ORDER.includes(row.state) ? ORDER.indexOf(row.state) : ORDER.length);
  return rows.map((row, at) => ({ row, at })).sort((a, b) => rank(a.row) - rank(b.row) || a.at - b.at).map(({ row }) => row);
}

export const isFlip = (row: PairRow): boolean => ["broken", "unconfirmed", "flaky", "fixed"].includes(row.state);
export const isFailure = (row: PairRow): boolean => row.now !== null && row.now.state !== "pass" && row.now.state !== "skipped";

// --- what a case was asked ---

const ASKED = ["input", "question", "query", "prompt", "message", "text", "messages"];
const NOT_ASKED = new Set(["id", "expected", "reference", "rejected", "from", "group", "tags", "assert"]);

/** What an item of a dataset asks, as people read it: its input or question, else its fields but for what it expects. */
export function inputOf(item: unknown): string | null {
  if (typeof item !== "object" || item === null || Array.isArray(item)) return textOf(item);
  const fields = item as Record<string, unknown>;
  const asked = ASKED.find((name) => textOf(fields[name]));
  if (asked) return textOf(fields[asked]);
  const rest = Object.entries(fields).filter(([name, value]) => !NOT_ASKED.has(name) && textOf(value));
  return rest.length ? rest.map(([name, value]) => `${name}: ${textOf(value)}`).join("\n") : null;
}

/** name@version as the parameters of its read; null where a run names none. */
export function datasetOf(told: string | null | undefined): { name: string; version: string } | null {
  const at = told?.lastIndexOf("@") ?? -1;
  return told && at > 0 ? { name: told.slice(0, at), version: told.slice(at + 1) } : null;
}

// --- the matrix: what each of several runs made of each case ---

export interface MatrixRow {
  case: string;
  /** What became of it between the baseline and the judged run. */
  state: string;
  pair: PairRow | null;
  /** By run: the baseline, the judged run, then the others. */
  cells: (CaseRow | null)[];
  /** In some run it passes, and in another it does not. */
  flips: boolean;
  fails: boolean;
  differs: boolean;
}

const scored = (row: CaseRow | null): row is CaseRow => row !== null && row.state !== "skipped";

/** The rows of the matrix: the pairs, with what further runs made of them, and the cases that only those have. */
export function matrixOf(pairs: readonly PairRow[], others: readonly Pick<Run, "cases">[]): MatrixRow[] {
  const more = others.map((run) => new Map(rowsOf(run).map((row) => [row.case, row])));
  const known = new Set(pairs.map((pair) => pair.case));
  const alone = [...new Set(more.flatMap((cases) => [...cases.keys()]))].filter((name) => !known.has(name));
  const rowOf = (name: string, pair: PairRow | null): MatrixRow => {
    const cells = [pair?.before ?? null, pair?.now ?? null, ...more.map((cases) => cases.get(name) ?? null)];
    const present = cells.filter(scored);
    const texts = present.map((cell) => outputOf(toldRepeat(cell)));
    return {
      case: name,
      state: pair?.state ?? "elsewhere",
      pair,
      cells,
      flips: (pair !== null && isFlip(pair)) || new Set(present.filter((cell) => cell.state !== "error").map((cell) => cell.state === "pass")).size > 1,
      fails: cells.slice(1).some((cell) => scored(cell) && cell.state !== "pass"),
      differs: present.length < cells.length || new Set(present.map((cell) => cell.state)).size > 1 || new Set(texts).size > 1,
    };
  };
  return [...pairs.map((pair) => rowOf(pair.case, pair)), ...alone.map((name) => rowOf(name, null))];
}
