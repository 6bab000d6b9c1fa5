import { expect, test } from "vitest";
import { withColours } from "./colours";

test("each name gets the next colour and keeps it", () => {
  const first = withColours({}, ["a", "b"]);
  expect(first).toEqual({ a: 1, b: 2 });
  expect(withColours(first, ["c", "a"])).toEqual({ a: 1, b: 2, c: 3 });
});
test("a sixth name shares the first colour", () => {
  expect(withColours({}, ["a", "b", "c", "d", "e", "f"]).f).toBe(1);
});
