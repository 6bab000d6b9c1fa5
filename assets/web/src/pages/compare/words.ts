// The verdict of a comparison in words; they state, and neither cheer nor alarm.
import type { Comparison, Run } from "../../api/types";
import { age, capital, counted, listed, number, points, pointsInterval, saidP, score } from "../../parts/format";
import { differencesOf } from "../../parts/findings";

const casesIn = (comparison: Comparison, states: readonly string[]): number =>
  new Set(comparison.flips.filter((flip) => states.includes(flip.state)).map((flip) => flip.case)).size;

/** The finding, which is coloured, and the rest of the sentence. */
export function sentenceOf(comparison: Comparison, run: Pick<Run, "manifest">, tag: string | null): { word: string; rest: string } {
  const broke = casesIn(comparison, ["broken", "unconfirmed"]);
  const fixed = casesIn(comparison, ["fixed"]);
  const of = counted(comparison.n, "case");
  const on = tag ? ` on ${tag}` : "";
  const margin = number((run.manifest.gate?.margin ?? 0.1) * 100);
  switch (comparison.verdict.replaceAll("_", " ")) {
    case "regressed":
      if (!broke) return { word: "Regressed.", rest: `The score of ${of} fell; no case changed sides.` };
      return { word: "Regressed.", rest: `${number(broke)} of ${of} that passed${on} now ${broke === 1 ? "fails" : "fail"}; ${wasFixed(fixed)}.` };
    case "improved":
      if (!fixed) return { word: "Improved.", rest: `The score of ${of} rose; no case changed sides.` };
      return { word: "Improved.", rest: `${number(fixed)} of ${of} that failed${on} now ${fixed === 1 ? "passes" : "pass"}; ${broke ? `${number(broke)} broke` : "none broke"}.` };
    case "tied":
      return { word: "Tied.", rest: `${broke ? number(broke) : "None"} broke, ${wasFixed(fixed)}; a drop of ${margin} points would have been seen.` };
    case "not enough data":
      return { word: "Not enough data.", rest: /^\d+ (pairs|groups)/.test(comparison.reason) ? `${capital(comparison.reason)}.` : `${counted(comparison.n, "pair")}; ${comparison.reason}.` };
    default:
      return { word: `${comparison.verdict[0]?.toUpperCase()}${comparison.verdict.slice(1).replaceAll("_", " ")}.`, rest: comparison.reason };
  }
}

const wasFixed = (fixed: number): string => (fixed === 0 ? "none was fixed" : fixed === 1 ? "1 was fixed" : `${number(fixed)} were fixed`);

/** Change, interval, p, n, ties, the age of the baseline, and what differs. */
export function whyOf(comparison: Comparison, run: Pick<Run, "score">, baseline: Pick<Run, "score">): string {
  const { delta, interval, p, n } = comparison;
  const flipped = new Set(comparison.flips.map((flip) => flip.case)).size;
  const way = delta === null || delta === 0 ? "stayed at" : delta < 0 ? "fell from" : "rose from";
  const stood = run.score === null ? "The run has no score" : baseline.score === null ? "The baseline has no score" : null;
  const scores = way === "stayed at" ? score(run.score, 3) : `${score(baseline.score, 3)} to ${score(run.score, 3)}`;
  const parts = [stood ?? `The score ${way} ${scores}${delta === null ? "" : `: ${points(delta)} points`}`];
  if (interval) parts.push(`95% interval ${pointsInterval(interval)}`);
  if (p !== null) parts.push(saidP(p));
  const differs = differencesOf(comparison.cause).map(([kind]) => kind);
  return [
    `${parts.join(", ")}.`,
    `n = ${counted(n, "pair")}, ${number(Math.max(0, n - flipped))} ties.`,
    comparison.baseline && comparison.run ? `Baseline is ${age((comparison.baseline.age_s ?? 0) - (comparison.run.age_s ?? 0))} older.` : "",
    differs.length ? `${capital(listed(differs))} ${differs.length === 1 ? "differs" : "differ"}.` : "Nothing we record changed.",
  ].filter(Boolean).join(" ");
}


export const SHOWS = ["flips", "failures", "differences", "all"] as const;
export type Show = (typeof SHOWS)[number];

/** The filter that the address names; all, if it names none. */
export const shownOf = (text: string): Show => SHOWS.find((one) => one === text) ?? "all";

/** What stands where no case fits a filter. */
export const none = (show: Show): string => ({ flips: "No case changed sides.", failures: "No case fails now.", differences: "The runs answered alike.", all: "The runs have no cases." })[show];
