import { expect, test } from "vitest";
import type { Comparison, Prompt } from "../../api/types";
import { baseOf, gateOf, settingChanges, shareScale, spanOf } from "./gate";

const versions = (tags: Record<number, string[]>, count: number) =>
  Array.from({ length: count }, (_, at) => count - at).map((version) => ({ version, hash: "", created_at: "", tags: tags[version] ?? [], promotions: [] }));

function promptOf(prod: number | null, runs: Record<number, string>): Prompt {
  return {
    name: "support/answer", version: 3, content: "", hash: "", created_at: "", metadata: null, tags: [], placeholders: [],
    versions: versions(prod ? { [prod]: ["prod"] } : {}, 3),
    serves: prod ? [{ tag: "prod", version: prod, since: null, was: 1 }] : [],
    metrics: [3, 2, 1].map((version) => ({
      version, runs: 1, run: runs[version] ?? null, score: runs[version] ? 0.875 : null, interval: null, n: 120,
      calls: 0, cost_per_call_usd: null, p50_ms: null, latency_of: 0, rating: null, ratings: 0,
    })),
  };
}

const flip = (name: string, state: string) => ({ case: name, assertion_type: "contains", ordinal: 0, before: "pass", now: "fail", state });
const found = (more: Partial<Comparison>): Comparison => ({ verdict: "tied", delta: 0, interval: [-0.02, 0.02], n: 120, flips: [], passed: true, ...more }) as Comparison;

test.each([
  ["serves", promptOf(3, { 3: "7" }), null, "prod serves version 3, which scored 87.5% over 120 cases."],
  ["serves", promptOf(3, { 3: "7", 1: "5" }), found({ verdict: "regressed", delta: -0.1, flips: [flip("a", "broken")] }), "prod serves version 3, which is worse than 1: it broke 1 of 120 cases."],
  ["serves", promptOf(3, { 3: "7", 1: "5" }), found({}), "prod serves version 3, which scored 87.5% over 120 cases."],
  ["serves", promptOf(3, {}), null, "prod serves version 3; no whole run has scored it."],
  ["untagged", promptOf(null, {}), null, "No version is tagged prod: code that asks for it is served the text in the code."],
  ["untested", promptOf(2, {}), null, "Version 3 has not been tested; prod serves 2."],
  ["unjudged", promptOf(2, { 3: "7" }), null, "Version 3 scored 87.5% over 120 cases, and nothing on prod has a good run to hold it against."],
  ["no", promptOf(2, { 3: "7" }), found({ verdict: "regressed", delta: -0.1, flips: [flip("a", "broken"), flip("b", "unconfirmed"), flip("c", "fixed")] }), "Version 3 is not ready for prod: it broke 2 of 120 cases."],
  ["no", promptOf(2, { 3: "7" }), found({ passed: false, flips: [flip("a", "broken")] }), "Version 3 is not ready for prod: it broke 1 of 120 cases."],
  ["yes", promptOf(2, { 3: "7" }), found({ verdict: "improved", delta: 0.05, flips: [flip("c", "fixed")] }), "Version 3 may go to prod: it fixed 1 of 120 cases."],
  ["yes", promptOf(2, { 3: "7" }), found({}), "Version 3 may go to prod: it is tied over 120 cases."],
  ["unsure", promptOf(2, { 3: "7" }), found({ verdict: "not enough data", n: 5 }), "Whether version 3 may go to prod cannot be told from 5 cases."],
])("the gate answers %s", (answer, prompt, comparison, sentence) => {
  const gate = gateOf({ prompt: prompt as Prompt, version: 3, tag: "prod", comparison: comparison as Comparison | null });
  expect(gate.answer).toBe(answer);
  expect([gate.says, gate.finding].filter(Boolean).join(" ")).toBe(sentence);
});

test("a version is held against what the tag serves, and that against what it served before", () => {
  expect(baseOf(promptOf(2, {}), 3, "prod")).toBe(2);
  expect(baseOf(promptOf(2, {}), 2, "prod")).toBe(1);
  expect(baseOf(promptOf(null, {}), 3, "prod")).toBe(2);
  expect(baseOf(promptOf(null, {}), 1, "prod")).toBeNull();
});

test("settings that differ are named, what is not kept is a dash", () => {
  expect(settingChanges({ model: "a", temperature: 0.2, max: 4 }, { model: "b", temperature: 0.2 })).toEqual([["model", "a", "b"], ["max", "4", "–"]]);
});

test("the scale of shares ends on tenths", () => {
  expect(shareScale([0.81, 0.92, null])).toEqual({ low: 0.8, high: 1 });
  expect(shareScale([])).toEqual({ low: 0, high: 1 });
  expect(shareScale([1, 1])).toEqual({ low: 0.9, high: 1 });
});

test.each([
  [["Hi $name", "Orders: $orders"], 2, "$orders is new since version 17: code that does not pass it shows it", { line: 2, from: 8, to: 15 }],
  [["for ${a b}"], 1, "$a b is new since version 1: x", { line: 1, from: 4, to: 10 }],
  [["for {name}"], 1, "'{name}' is plain text: placeholders are written $name", { line: 1, from: 4, to: 10 }],
  [["one", "two"], 1, "$policy of version 17 is gone: what code passes for it is dropped", { line: 1, from: 0, to: 3 }],
  [["one"], 9, "the text is empty", { line: 1, from: 0, to: 3 }],
])("a finding stands at what it names: %j line %i", (lines, line, message, span) => expect(spanOf(lines, line, message)).toEqual(span));
