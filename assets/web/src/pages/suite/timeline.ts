// What the suite's page computes from its runs: the change to mark, the lanes below the axis, the cells of the map.
import type { Cell, Suite, SuiteCase, SuiteRun } from "../../api/types";

/** The index of the run in which the likeliest change of level stands, if it is more than chance; else null. */
export function changeIndex({ runs, drift }: Pick<Suite, "runs" | "drift">): number | null {
  const point = drift?.change_point;
  if (!point) return null;
  const newest = runs[runs.length - 1];
  const shift = typeof drift.shift_p === "number" ? drift.shift_p : 1;
  if (!drift.drifting && shift >= 0.05 && newest?.verdict !== "regressed" && newest?.verdict !== "improved") return null;
  const at = runs.findIndex((run) => run.id === point.run);
  return at > 0 ? at : null;
}

/** The mean pass rate of the runs from..to (to excluded) that could be scored. */
export function meanRate(runs: readonly SuiteRun[], from: number, to: number): { mean: number | null; n: number } {
  const rates = runs.slice(from, to).flatMap((run) => (run.scored && run.pass_rate !== null ? [run.pass_rate] : []));
  return { mean: rates.length ? rates.reduce((sum, rate) => sum + rate, 0) / rates.length : null, n: rates.length };
}

export interface Stretch<T> {
  value: T;
  from: number;
  to: number;
}

/** Neighbours that are the same, as one stretch each. */
export function stretches<T>(values: readonly T[]): Stretch<T>[] {
  const found: Stretch<T>[] = [];
  values.forEach((value, at) => {
    const last = found[found.length - 1];
    if (last && last.value === value) last.to = at + 1;
    else found.push({ value, from: at, to: at + 1 });
  });
  return found;
}

/** The foot of the axis of pass rates: below every band, on a step of 5 points; 100 stays the head. */
export function axisFoot(runs: readonly SuiteRun[]): number {
  const lows = runs.flatMap((run) => (run.scored ? [run.interval?.[0] ?? run.pass_rate ?? 1] : []));
  const low = Math.min(0.95, ...lows);
  return Math.max(0, Math.floor((low - 0.005) * 20) / 20);
}

/** Ticks of the axis, at most six, on steps of 5, 10, 20 or 25 points. */
export function axisTicks(foot: number): number[] {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25].find((size) => (1 - foot) / size <= 5) ?? 0.25;
  const ticks: number[] = [];
  for (let tick = 1; tick >= foot - 1e-9; tick -= step) ticks.push(Math.round(tick * 100) / 100);
  return ticks;
}

/** The runs that get their id below the axis: at most so many, the newest among them. */
export function labelled(count: number, most = 9): number[] {
  const step = Math.max(1, Math.ceil(count / most));
  const found: number[] = [];
  for (let at = count - 1; at >= 0; at -= step) found.unshift(at);
  return found;
}

export type Look = "pass" | "new" | "known" | "mixed" | "error" | "none";

/** How a cell looks: failures since the break of a case that broke are new, all others known. */
export function lookOf(found: SuiteCase, cell: Cell, at: number, since: number): Look {
  if (cell === "fail") return found.state === "broke" && since >= 0 && at >= since ? "new" : "known";
  if (cell === "mixed") return "mixed";
  if (cell === "error") return "error";
  return cell === "pass" ? "pass" : "none";
}
