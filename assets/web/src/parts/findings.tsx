// The words of findings, said the same way on every page.
import type { ReactNode } from "react";
import { Fragment } from "react";
import type { Change, Changed, Counts, Part, Verdict } from "../api/types";
import { href } from "../app/address";
import { counted, number, points, pointsInterval, saidP } from "./format";
import type { Tone } from "./Mark";
import { verdictOf } from "./Mark";

/** answer@17 as its name and version. */
export function splitVersion(text: string | null): { name: string; version: string } {
  const at = text?.lastIndexOf("@") ?? -1;
  return text && at > 0 ? { name: text.slice(0, at), version: text.slice(at + 1) } : { name: text ?? "none", version: "" };
}

/** "support/answer 17 to 18"; a change of name says both names whole. */
export function saidChange(change: Change): string {
  const [before, now] = [splitVersion(change.before), splitVersion(change.now)];
  if (before.name === now.name && now.version) return `${now.name} ${before.version} to ${now.version}`;
  return `${shortCommit(change.before)} to ${shortCommit(change.now)}`;
}

/** A commit by its first seven signs; "with changes" goes without saying in a sentence. */
export function shortCommit(text: string | null | undefined): string {
  if (!text) return "none";
  return /^[0-9a-f]{8,40}\b/.test(text) ? text.slice(0, 7) : text;
}

const KINDS = ["prompt", "model", "dataset", "commit", "embedder"] as const;

/** What differs between two runs: [kind, change] for each that does. */
export function differencesOf(changed: Changed | null | undefined): [string, Change][] {
  return KINDS.flatMap((kind) => {
    const change = changed?.[kind];
    return change ? [[kind, change] as [string, Change]] : [];
  });
}

/** "Between the two runs only support/answer 17 to 18 differs." */
export function Differs({ changed }: { changed: Changed | null | undefined }): ReactNode {
  const found = differencesOf(changed);
  if (!found.length) return <>Nothing we record changed between the two runs.</>;
  return (
    <>
      Between the two runs {found.length === 1 && "only "}
      {found.map(([kind, change], at) => (
        <Fragment key={kind}>
          {at > 0 && (at === found.length - 1 ? " and " : ", ")}
          <ChangeLink kind={kind} change={change} />
        </Fragment>
      ))}
      {found.length === 1 ? " differs." : " differ."}
    </>
  );
}

export function ChangeLink({ kind, change }: { kind: string; change: Change }) {
  const text = kind === "prompt" ? saidChange(change) : `${kind} ${saidChange(change)}`;
  const [before, now] = [splitVersion(change.before), splitVersion(change.now)];
  if (kind === "prompt" && now.version && before.name === now.name) {
    return <a href={href("/prompt", { name: now.name, version: now.version, against: before.version })}>{text}</a>;
  }
  return <b>{text}</b>;
}

/** "Change −6.7 points, 95% interval −12.7 to −1.6, p = 0.011." */
export function saidComparison(found: { delta: number | null; interval: readonly [number, number] | null; p: number | null }): string {
  if (found.delta === null) return "";
  const parts = [`Change ${points(found.delta)} points`];
  if (found.interval) parts.push(`95% interval ${pointsInterval(found.interval)}`);
  if (found.p !== null) parts.push(saidP(found.p));
  return `${parts.join(", ")}.`;
}

export const toneOf = (verdict: Verdict | null | undefined): Tone => verdictOf(verdict).tone;

/** The share of a run's cases that passed, of those that could be scored. */
export function passRate(counts: Counts | null | undefined): number | null {
  const of = (counts?.pass ?? 0) + (counts?.fail ?? 0);
  return counts && of ? counts.pass / of : null;
}

/** What the counts of a run count: with repeats each try of a case is one. */
export const countedAs = (repeats: number | null | undefined): [string, string] => ((repeats ?? 1) > 1 ? ["try", "tries"] : ["case", "cases"]);

/** "105 of 120 cases passed". */
export function saidCounts(counts: Counts | null | undefined, [one, many] = ["case", "cases"]): string {
  return counts ? `${number(counts.pass)} of ${counted(counts.pass + counts.fail, one, many)} passed` : "not counted";
}

/** "It ran 10 of 60 cases, selected by -k case-0000: no baseline and no part of a trend."; nothing of a whole run. */
export function saidPart(part: Part | boolean | null | undefined): string {
  if (!part) return "";
  if (part === true) return "It ran only some of the cases: no baseline and no part of a trend.";
  const how = part.selected ? `, selected by ${part.selected}` : part.rerun ? `, again` : "";
  const taken = part.taken ? `; ${number(part.taken)} were taken over from run ${part.run ?? "before"}` : "";
  return `It ran ${number(part.ran)} of ${counted(part.of, "case")}${how}${taken}: no baseline and no part of a trend.`;
}
