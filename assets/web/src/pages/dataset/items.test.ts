import { expect, test } from "vitest";
import { canonical, changesOf, csvRows, fieldsOf, idOf, joinItems, originOf, readItems } from "./items";

test.each([
  ['[{"id": "a"}, "plain"]', "json", [{ id: "a" }, "plain"]],
  ['{"items": [{"q": 1}]}', "json", [{ q: 1 }]],
  ['{"q": 1}', "json", [{ q: 1 }]],
  ['{"q": 1}\n\n{"q": 2}\n', "jsonl", [{ q: 1 }, { q: 2 }]],
  ["id,question\n1,\"Hi, \"\"you\"\"\"\n2,b\r\n", "csv", [{ id: "1", question: 'Hi, "you"' }, { id: "2", question: "b" }]],
  ["\uFEFFid;question\n1;a\n", "csv", [{ id: "1", question: "a" }]],
  ['"question","expected"\n"two\nlines","x"', "csv", [{ question: "two\nlines", expected: "x" }]],
  ["q\tr\na\tb", "csv", [{ q: "a", r: "b" }]],
  ["q,r\na", "csv", [{ q: "a", r: "" }]],
])("items in %j are %s", (text, form, items) => expect(readItems(text)).toEqual({ items, form, fault: null }));

test.each([
  ["", "csv", "There is no item in it."],
  ["[]", "json", "There is no item in it."],
  ["id,question", "csv", "There is a line of heads and no row below it."],
  ["id,,x\n1,2,3", "csv", "Column 2 has no name in the first line."],
  ["id,id\n1,2", "csv", "Two columns are called id."],
  ["id\n1,2", "csv", "Row 1 has 2 fields, and the first line names 1."],
  ['a\n"b', "csv", "The quote that opens on line 2 is never closed."],
  ['[{"id": 1}, {"id": "1"}]', "json", "Two items have the id 1; each needs one of its own."],
])("what is wrong with %j is said", (text, form, fault) => expect(readItems(text)).toMatchObject({ form, fault }));

test("broken JSON says where", () => {
  expect(readItems('[{"a": 1},', "json").fault).toMatch(/^This is no JSON: /);
  expect(readItems('{"a": 1}\n{"a": }', "jsonl").fault).toMatch(/^Line 2 is no JSON: /);
});

test("fields of CSV may hold separators, quotes and lines", () => expect(csvRows('a,b\n"x,""y""\nz",2\n\n')).toEqual([["a", "b"], ['x,"y"\nz', "2"]]));

test("items are joined by id, and equal ones are not added again", () => {
  const known = [{ id: "a", q: 1 }, { id: 2, q: 2 }, "plain"];
  expect(joinItems(known, [{ q: 1, id: "a" }, { id: "2", q: 3 }, { id: "c" }, "plain", "new"])).toEqual({
    items: [{ id: "a", q: 1 }, { id: "2", q: 3 }, "plain", { id: "c" }, "new"], added: 2, replaced: 1, same: 2,
  });
});

test("versions differ by what came, went and changed", () => {
  const before = [{ id: "a", q: 1 }, { id: "b", q: 2 }, "x", "x"];
  const now = [{ id: "a", q: 9 }, "x", { id: "c" }];
  expect(changesOf(before, now).map(({ key, state }) => [key, state])).toEqual([["a", "changed"], ["c", "added"], ["b", "removed"], ['"x" (2)', "removed"]]);
  expect(changesOf(now, now)).toEqual([]);
});

test("the order of keys is no difference", () => expect(canonical({ b: [{ d: 1, c: 2 }], a: null })).toBe(canonical({ a: null, b: [{ c: 2, d: 1 }] })));

test("fields stand by how common they are, without id and from", () => expect(fieldsOf([{ id: 1, a: 1 }, { b: 1, a: 2, from: {} }, "x"])).toEqual(["a", "b"]));

test.each([[{ id: 0 }, "0"], [{ id: "" }, null], [{}, null], ["x", null], [null, null]])("the id of %j", (item, id) => expect(idOf(item)).toBe(id));

test("an item tells the call that it was made of", () => {
  expect(originOf({ from: { call: "12", prompt: "a/b", prompt_version: 3, rating: 0.5, comments: ["slow"] } })).toEqual({ call: "12", vote: null, prompt: "a/b", version: 3, told: "rated 0.5, slow" });
  expect(originOf({ from: { vote: "3", score: -1, message: null } })).toMatchObject({ vote: "3", told: "voted down" });
  expect(originOf({ q: 1 })).toBeNull();
});
