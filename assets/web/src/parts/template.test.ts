import { expect, test } from "vitest";
import { piecesOf, placeholdersOf } from "./template";

test.each([
  ["You are $shop.", ["shop"]],
  ["${shop}s and $shop", ["shop"]],
  ["$$5 for $name", ["name"]],
  ["$$$name", ["name"]],
  ['{"score": "$value"}', ["value"]],
  ["$1 and $ and ${a b}", ["a b"]],
  ["${a-b} ${1a} ${} ${a$b} ${über} ${ a}", ["a-b", "b", "über"]],
  ["$a_1.$B", ["a_1", "B"]],
  ["$größe", ["gr"]],
  ["", []],
])("the placeholders of %j", (text, names) => {
  expect(placeholdersOf(text)).toEqual(names);
  expect(piecesOf(text).map((piece) => piece.text).join("")).toBe(text);
});
