import { expect, test } from "vitest";
import type { Drift, SuiteCase, SuiteRun } from "../../api/types";
import { axisFoot, axisTicks, changeIndex, labelled, lookOf, meanRate, stretches } from "./timeline";

const run = (id: string, rate: number | null, more: Partial<SuiteRun> = {}): SuiteRun =>
  ({ id, pass_rate: rate, scored: rate !== null, interval: rate === null ? null : [rate - 0.05, rate + 0.05], verdict: "tied", ...more }) as SuiteRun;
const drift = (more: Partial<Drift>): Drift =>
  ({ drifting: false, shift_p: 0.5, change_point: { run: "2", date: "", before: 0.9, after: 0.8, changed: null }, ...more }) as Drift;

test("a change is marked only where it is more than chance", () => {
  const runs = [run("1", 0.9), run("2", 0.8)];
  expect(changeIndex({ runs, drift: drift({}) })).toBe(null);
  expect(changeIndex({ runs, drift: drift({ drifting: true }) })).toBe(1);
  expect(changeIndex({ runs, drift: drift({ shift_p: 0.01 }) })).toBe(1);
  expect(changeIndex({ runs: [run("1", 0.9), run("2", 0.8, { verdict: "regressed" })], drift: drift({}) })).toBe(1);
  expect(changeIndex({ runs: [run("2", 0.8)], drift: drift({ drifting: true }) })).toBe(null);
});

test("means leave out what was not scored", () => {
  expect(meanRate([run("1", 0.9), run("2", null), run("3", 0.8)], 0, 3)).toEqual({ mean: expect.closeTo(0.85), n: 2 });
  expect(meanRate([], 0, 0)).toEqual({ mean: null, n: 0 });
});

test("neighbours that are the same are one stretch", () => {
  expect(stretches(["a", "a", null, "a"])).toEqual([
    { value: "a", from: 0, to: 2 },
    { value: null, from: 2, to: 3 },
    { value: "a", from: 3, to: 4 },
  ]);
});

test("the axis holds every band and has few ticks", () => {
  const foot = axisFoot([run("1", 0.9), run("2", 0.81)]);
  expect(foot).toBeCloseTo(0.75);
  expect(axisTicks(foot)).toEqual([1, 0.95, 0.9, 0.85, 0.8, 0.75]);
  expect(axisTicks(0)).toEqual([1, 0.8, 0.6, 0.4, 0.2, 0]);
});

test("the newest run has a label", () => expect(labelled(30)).toEqual([1, 5, 9, 13, 17, 21, 25, 29]));

test("new failures are those since the break", () => {
  const broke = { case: "c", state: "broke", since: "2", cells: [] } as SuiteCase;
  expect([lookOf(broke, "fail", 0, 1), lookOf(broke, "fail", 1, 1), lookOf(broke, null, 1, 1)]).toEqual(["known", "new", "none"]);
  expect(lookOf({ ...broke, state: "known" }, "fail", 1, 1)).toBe("known");
});
