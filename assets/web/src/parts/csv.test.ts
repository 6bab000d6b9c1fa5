import { expect, test } from "vitest";
import { csvField, csvText } from "./csv";

test.each([
  [null, ""],
  [-0.5, "-0.5"],
  ["a,b", '"a,b"'],
  ['say "no"', '"say ""no"""'],
  ["=1+1", "'=1+1"],
  ["two\nlines", '"two\nlines"'],
  [{ a: 1 }, '"{""a"":1}"'],
])("%j is written as %s", (value, wanted) => expect(csvField(value)).toBe(wanted));

test("a file has a head and ends its lines as RFC 4180 asks", () => {
  expect(csvText(["case", "n"], [["a", 1]])).toBe("case,n\r\na,1\r\n");
});
