import { expect, test } from "vitest";
import { differencesOf, passRate, saidChange, saidComparison, shortCommit, splitVersion } from "./findings";

test.each([
  [saidChange({ before: "support/answer@17", now: "support/answer@18" }), "support/answer 17 to 18"],
  [saidChange({ before: "gpt-4.1", now: "gpt-4.1-mini" }), "gpt-4.1 to gpt-4.1-mini"],
  [saidChange({ before: "44900ec93af0 with changes", now: "f6d952f6814e with changes" }), "44900ec to f6d952f"],
  [saidChange({ before: null, now: "qa@1" }), "none to qa@1"],
  [shortCommit("3c9d63cb48103e53ddda864a74d0f427c145f6c7"), "3c9d63c"],
  [shortCommit(null), "none"],
])("%s", (found, wanted) => expect(found).toBe(wanted));

test("names may hold an @", () => expect(splitVersion("a@b@3")).toEqual({ name: "a@b", version: "3" }));
test("what is null did not change", () => expect(differencesOf({ prompt: null, model: { before: "a", now: "b" } })).toEqual([["model", { before: "a", now: "b" }]]));
test("errors count neither way", () => expect(passRate({ cases: 10, pass: 6, fail: 2, error: 2, skipped: 0, checks: 8, scored: 8 })).toBe(0.75));
test("the change, its interval and p", () => {
  expect(saidComparison({ delta: -0.067, interval: [-0.127, -0.016], p: 0.011 })).toBe("Change −6.7 points, 95% interval −12.7 to −1.6, p = 0.011.");
});
