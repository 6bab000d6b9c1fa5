import { describe, expect, test } from "vitest";
import { faultAt, inserted, SAMPLES, VIEWS } from "./samples";

describe("where the fault stands", () => {
  test.each([
    ["SELECT *\nfrm x", 'SQLite cannot answer: near "frm": syntax error.', { from: 9, to: 12, line: 2 }],
    ["SELECT prices, price FROM v_calls", "SQLite cannot answer: no such column: price.", { from: 15, to: 20, line: 1 }],
    ["SELECT c.x FROM v_calls AS c", "no such column: c.x", { from: 9, to: 10, line: 1 }],
    ["SELECT 1", "The query took longer than 5 seconds.", null],
    ["SELECT 1", 'near "zz": syntax error', null],
  ])("%s", (sql, message, wanted) => expect(faultAt(sql, message)).toEqual(wanted));
});

test("a name is put where the caret is", () => {
  expect(inserted("SELECT FROM v_calls", 6, 6, "id")).toEqual({ text: "SELECT id FROM v_calls", caret: 9 });
  expect(inserted("", 0, 0, "id")).toEqual({ text: "id", caret: 2 });
});

test("the samples ask the views alone, each in one statement", () => {
  for (const { sql } of SAMPLES) {
    expect(sql.match(/;/g)).toHaveLength(1);
    expect(VIEWS.some((view) => sql.includes(`FROM ${view.name}`))).toBe(true);
  }
});
