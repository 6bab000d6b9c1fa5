// May this version go there? What a comparison says, as facts that the head, the gate line and the dialog all use.
import type { Comparison, Prompt, Served, VersionMetrics } from "../../api/types";
import { counted, percent, points, pointsInterval, when } from "../../parts/format";
import type { Tone } from "../../parts/Mark";

export type Answer = "serves" | "untagged" | "untested" | "unjudged" | "yes" | "no" | "unsure";

export interface Gate {
  answer: Answer;
  /** The first line: what is plain, then the finding in its tone. */
  says: string;
  finding: string;
  tone: Tone;
  /** After "Promote 18 to prod: ". */
  line: string;
  broke: number;
}

export const metricsOf = (prompt: Prompt, version: number): VersionMetrics | undefined =>
  prompt.metrics.find((row) => row.version === version);

export const servedBy = (prompt: Prompt, tag: string): Served | undefined => prompt.serves.find((row) => row.tag === tag);

/** "87.5% over 120 cases", or null where no whole run scored it. */
export function saidScore(row: VersionMetrics | undefined): string | null {
  if (!row || row.score === null) return null;
  return `${percent(row.score)}${row.n ? ` over ${counted(row.n, "case")}` : ""}`;
}

/** The cases that held in the baseline and fail now. */
export function brokenOf(found: Comparison): string[] {
  return [...new Set(found.flips.filter((flip) => flip.state !== "fixed" && flip.state !== "flaky").map((flip) => flip.case))];
}

const fixedOf = (found: Comparison): number => new Set(found.flips.filter((flip) => flip.state === "fixed").map((flip) => flip.case)).size;

/** "−6.7 points, 95% interval −12.7 to −1.6, n = 120." */
function evidence(found: Comparison): string {
  if (found.delta === null) return `n = ${found.n}.`;
  const interval = found.interval ? `, 95% interval ${pointsInterval(found.interval)}` : "";
  return `${points(found.delta)} points${interval}, n = ${found.n}.`;
}

interface Asked {
  prompt: Prompt;
  version: number;
  tag: string;
  /** Its newest whole run against the baseline of the tag, or, of the version that the tag serves, against that of the
   * version before; null where there is none, undefined while it is read. */
  comparison: Comparison | null | undefined;
}

export function gateOf({ prompt, version, tag, comparison }: Asked): Gate {
  const served = servedBy(prompt, tag);
  const own = metricsOf(prompt, version);
  const scored = saidScore(own);
  const plain = { finding: "", tone: "plain" as Tone, broke: 0 };
  if (served?.version === version) {
    const was = served.was != null && served.was !== version ? served.was : null;
    const scoredThen = was === null ? null : saidScore(metricsOf(prompt, was));
    const back = was === null ? "it is the first that had the tag." : `rolled back, it serves ${was} again, which ${scoredThen ? `scored ${scoredThen}` : "no whole run has scored"}.`;
    const line = `${tag} serves this version${served.since ? `, since ${when(served.since)}` : ""}; ${back}`;
    if (comparison && was !== null && found(comparison)) return { answer: "serves", line, ...worseOrBetter(comparison, version, was, tag) };
    return { ...plain, answer: "serves", line, says: `${tag} serves version ${version}${scored ? `, which scored ${scored}.` : "; no whole run has scored it."}` };
  }
  if (!served) {
    const known = scored ? `it scored ${scored}.` : "no whole run has scored it.";
    return { ...plain, answer: "untagged", says: `No version is tagged ${tag}: code that asks for it is served the text in the code.`, line: `it is served instead; ${known}` };
  }
  const now = `${tag} serves ${served.version}`;
  if (!own || own.run === null) {
    return { ...plain, answer: "untested", says: `Version ${version} has not been tested; ${now}.`, line: `no whole run has scored ${version}.` };
  }
  if (!comparison) {
    const known = `Version ${version} scored ${scored}, and nothing on ${tag} has a good run to hold it against.`;
    return { ...plain, answer: "unjudged", says: comparison === null ? known : `Version ${version} scored ${scored}; ${now}.`, line: comparison === null ? `no run on ${tag} to compare with.` : "reading the comparison." };
  }
  return judged(comparison, version, tag);
}

const found = (comparison: Comparison): boolean => comparison.verdict === "regressed" || comparison.verdict === "improved";

/** The first line of a version that is served, and that did otherwise than the one before it. */
function worseOrBetter(comparison: Comparison, version: number, was: number, tag: string): Pick<Gate, "says" | "finding" | "tone" | "broke"> {
  const worse = comparison.verdict === "regressed";
  return { says: `${tag} serves version ${version}, which is ${worse ? "worse" : "better"} than ${was}:`, finding: findingOf(comparison, worse), tone: worse ? "bad" : "good", broke: brokenOf(comparison).length };
}

/** "it broke 9 of 120 cases.", or how its score moved where no case flipped. */
function findingOf(comparison: Comparison, worse: boolean): string {
  const count = worse ? brokenOf(comparison).length : fixedOf(comparison);
  if (count) return `it ${worse ? "broke" : "fixed"} ${count} of ${counted(comparison.n, "case")}.`;
  return `its score ${worse ? "fell" : "rose"} by ${points(Math.abs(comparison.delta ?? 0)).replace("+", "")} points.`;
}

function judged(found: Comparison, version: number, tag: string): Gate {
  const broke = brokenOf(found).length;
  const told = evidence(found);
  if (found.verdict === "regressed" || found.passed === false) {
    return { answer: "no", says: `Version ${version} is not ready for ${tag}:`, finding: findingOf(found, true), tone: "bad", line: `the gate says no. ${told}`, broke };
  }
  if (found.verdict === "improved") {
    return { answer: "yes", says: `Version ${version} may go to ${tag}:`, finding: findingOf(found, false), tone: "good", line: `the gate says yes. ${told}`, broke };
  }
  if (found.verdict === "tied") {
    return { answer: "yes", says: `Version ${version} may go to ${tag}:`, finding: `it is tied over ${counted(found.n, "case")}.`, tone: "plain", line: `the gate says yes. ${told}`, broke };
  }
  return { answer: "unsure", says: `Whether version ${version} may go to ${tag} cannot be told from ${counted(found.n, "case")}.`, finding: "", tone: "plain", line: `not enough data. ${told}`, broke };
}

// --- what differs, and which versions are shown ---

/** Our own facts aside, what was saved with a version: model, temperature and what else the team keeps there. */
export function settingsOf(prompt: Prompt | undefined): Record<string, unknown> {
  const { promptry: _, ...own } = prompt?.metadata ?? {};
  return own;
}

export const saidSetting = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** The settings that two versions do not share: [name, before, now]. */
export function settingChanges(before: Record<string, unknown>, now: Record<string, unknown>): [string, string, string][] {
  return [...new Set([...Object.keys(before), ...Object.keys(now)])].flatMap((name): [string, string, string][] => {
    const [was, is] = [before[name], now[name]].map((value) => (value === undefined ? "–" : saidSetting(value))) as [string, string];
    return was === is ? [] : [[name, was, is]];
  });
}

/** What a version is held against if the address does not say: what the tag serves, else the one before it. */
export function baseOf(prompt: Prompt, version: number, tag: string): number | null {
  const served = servedBy(prompt, tag)?.version;
  if (served !== undefined && served !== version) return served;
  const was = servedBy(prompt, tag)?.was;
  if (was != null && was !== version) return was;
  const older = prompt.versions.map((row) => row.version).filter((number) => number < version);
  return older.length ? Math.max(...older) : null;
}

/** The scale of the scores' intervals: round tenths around them, shares of one. */
export function shareScale(values: readonly (number | null | undefined)[]): { low: number; high: number } {
  const known = values.filter((value): value is number => value != null);
  if (!known.length) return { low: 0, high: 1 };
  const low = Math.max(0, Math.floor(Math.min(...known) * 10 - 1e-9) / 10);
  const high = Math.min(1, Math.ceil(Math.max(...known) * 10 + 1e-9) / 10);
  return { low: low === high ? Math.max(0, low - 0.1) : low, high };
}

/** Where in a text a finding of the linter stands: what it quotes if its line has it, else the whole line. */
export function spanOf(lines: readonly string[], line: number, message: string): { line: number; from: number; to: number } {
  const at = Math.min(Math.max(1, line), Math.max(1, lines.length));
  const text = lines[at - 1] ?? "";
  const named = /^\$([\p{L}_][\p{L}\p{N}_ .-]*?)(?= (?:is|of)\b)/u.exec(message)?.[1];
  const quoted = /^'(.+?)' /.exec(message)?.[1];
  for (const part of named ? [`\${${named}}`, `$${named}`] : quoted ? [quoted] : []) {
    const from = text.indexOf(part);
    if (from >= 0) return { line: at, from, to: from + part.length };
  }
  return { line: at, from: 0, to: text.length };
}
