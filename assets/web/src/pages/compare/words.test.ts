import { expect, test } from "vitest";
import type { Comparison, Flip } from "../../api/types";
import { sentenceOf, whyOf } from "./words";

const flip = (name: string, state: string): Flip => ({ case: name, assertion_type: "contains", ordinal: 0, before: "pass", now: "fail", state });
const found = (more: Partial<Comparison>): Comparison =>
  ({ verdict: "tied", delta: 0, interval: null, p: null, n: 120, flips: [], cause: null, reason: "why", run: { age_s: 0 }, baseline: { age_s: 172_800 }, ...more }) as Comparison;
const run = { manifest: {} };

test.each([
  [found({ verdict: "regressed", flips: [flip("a", "broken"), flip("a", "broken"), flip("b", "broken"), flip("c", "fixed")] }), "prod", "Regressed. 2 of 120 cases that passed on prod now fail; 1 was fixed."],
  [found({ verdict: "regressed" }), null, "Regressed. The score of 120 cases fell; no case changed sides."],
  [found({ verdict: "improved", n: 64, flips: [flip("a", "fixed")] }), null, "Improved. 1 of 64 cases that failed now passes; none broke."],
  [found({ flips: [flip("a", "broken")] }), null, "Tied. 1 broke, none was fixed; a drop of 10 points would have been seen."],
  [found({ verdict: "not enough data", n: 40 }), null, "Not enough data. 40 pairs; why."],
  [found({ verdict: "not enough data", n: 6, reason: "6 pairs are too few" }), null, "Not enough data. 6 pairs are too few."],
  [found({}), null, "Tied. None broke, none was fixed; a drop of 10 points would have been seen."],
])("the sentence", (comparison, tag, wanted) => {
  const { word, rest } = sentenceOf(comparison, run, tag);
  expect(`${word} ${rest}`).toBe(wanted);
});

test("the evidence", () => {
  const comparison = found({ delta: -0.056, interval: [-0.103, -0.018], p: 0.0117, flips: [flip("a", "broken")], cause: { prompt: { before: "a@1", now: "a@2" }, prompt_diff: null } });
  expect(whyOf(comparison, { score: 0.86 }, { score: 0.916 })).toBe(
    "The score fell from 0.916 to 0.860: −5.6 points, 95% interval −10.3 to −1.8, p = 0.012. n = 120 pairs, 119 ties. Baseline is 2 days older. Prompt differs.",
  );
});
