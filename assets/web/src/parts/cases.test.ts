import { expect, test } from "vitest";
import type { Comparison, Run, RunCase } from "../api/types";
import { datasetOf, inputOf, isFailure, isFlip, matrixOf, outputOf, pairsOf, rowsOf, seen } from "./cases";

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

test("the matrix: a further run adds its cells, its flips and the cases that only it has", () => {
  const comparison = { flips: [], breaks: [], known: [] } as unknown as Comparison;
  const [old, now] = [run(one("a", "pass"), one("b", "pass")), run(one("a", "pass"), one("b", "pass", "new"))];
  const pairs = pairsOf(comparison, now, old);
  const rows = matrixOf(pairs, [run(one("a", "fail"), one("b", "pass", "new"), one("z", "error"))]);
  expect(rows.map((row) => [row.case, row.state, row.cells.map((cell) => cell?.state ?? null), row.flips, row.fails, row.differs])).toEqual([
    ["a", "pass", ["pass", "pass", "fail"], true, true, true],
    ["b", "pass", ["pass", "pass", "pass"], false, false, true],
    ["z", "elsewhere", [null, null, "error"], false, true, true],
  ]);
  expect(matrixOf(pairs, []).map((row) => row.differs)).toEqual([false, true]);
});

test("what a case was asked, by the names that items have for it", () => {
  expect(inputOf({ id: "a", question: "Why?", reference: "5" })).toBe("Why?");
  expect(inputOf({ id: "a", input: "", city: "Rome", days: 3, expected: "x" })).toBe("city: Rome\ndays: 3");
  expect([inputOf({ id: "a" }), inputOf(undefined), inputOf("text")]).toEqual([null, null, "text"]);
  expect([datasetOf("a@b@2"), datasetOf("items"), datasetOf(null)]).toEqual([{ name: "a@b", version: "2" }, null, null]);
});

test("signs that are no text are seen, those that are stay", () => {
  expect(seen("a\u0000\u001b[31m\r\nb\tc \u202egnp.exe")).toBe("a\u2400\u241b[31m\nb\tc \u27e8U+202E\u27e9gnp.exe");
  expect([seen("\u{1f469}\u200d\u{1f467} caf\u00e9"), seen(null)]).toEqual(["\u{1f469}\u200d\u{1f467} caf\u00e9", null]);
});
