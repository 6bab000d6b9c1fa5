import { expect, test } from "vitest";
import type { Comparison, Run, RunCase } from "../api/types";
import { isFailure, isFlip, outputOf, pairsOf, rowsOf } from "./cases";

const one = (name: string, state: string, actual = "text", repeat = 0): RunCase => ({
  case: name,
  repeat,
  state,
  score: state === "pass" ? 1 : 0,
  reason: state === "pass" ? null : "why",
  group: null,
  checks: [{ assertion_type: "contains", passed: state === "pass", score: null, details: { actual }, latency_ms: 10 }],
});
const run = (...cases: RunCase[]): Run => ({ cases }) as unknown as Run;

test("repeats are joined, and some that fail are told as such", () => {
  const rows = rowsOf(run(one("a", "pass"), one("a", "fail", "other", 1), one("b", "pass")));
  expect(rows.map((row) => [row.case, row.state, row.score, row.reason])).toEqual([["a", "mixed", 0.5, "why"], ["b", "pass", 1, null]]);
});

test("an answer that is no text is JSON", () => expect(outputOf(one("a", "pass", { b: 1 } as never))).toBe('{\n  "b": 1\n}'));

test("pairs: flips first, then failures, unpaired cases named", () => {
  const comparison = {
    flips: [{ case: "c", assertion_type: "contains", ordinal: 0, before: "pass", now: "fail", state: "broken" }],
    breaks: [{ case: "c", before: { passed: 3, tries: 4 } }],
    known: ["b"],
  } as unknown as Comparison;
  const rows = pairsOf(comparison, run(one("a", "pass"), one("b", "fail"), one("c", "fail"), one("d", "pass")), run(one("a", "pass", "old"), one("b", "fail"), one("c", "pass"), one("e", "pass")));
  expect(rows.map((row) => [row.case, row.state, row.differs])).toEqual([
    ["c", "broken", true],
    ["b", "known", false],
    ["a", "pass", true],
    ["d", "new", true],
    ["e", "missing", true],
  ]);
  expect(rows[0]?.held).toEqual({ passed: 3, tries: 4 });
  expect([rows.filter(isFlip).length, rows.filter(isFailure).length]).toEqual([1, 2]);
});
