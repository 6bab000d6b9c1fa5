import { expect, test } from "vitest";
import { withFirst, withNext } from "./feed";

const rows = (...ids: number[]) => ids.map((id) => ({ id: String(id) }));
const idOf = (row: { id: string }) => row.id;
const known = { rows: rows(9, 8, 7, 6, 5), next: "5" };

test("the first page begins a list", () => {
  expect(withFirst(null, { items: rows(9, 8), next: "8" }, idOf)).toEqual({ rows: rows(9, 8), next: "8" });
});
test("fresh rows go before the known ones, and deeper pages stay", () => {
  expect(withFirst(known, { items: rows(11, 10, 9), next: "9" }, idOf)).toEqual({ rows: rows(11, 10, 9, 8, 7, 6, 5), next: "5" });
});
test("where the pages do not meet the list begins again", () => {
  expect(withFirst(known, { items: rows(21, 20, 19), next: "19" }, idOf)).toEqual({ rows: rows(21, 20, 19), next: "19" });
});
test("a list of one page that ends where the known one did goes on from its own end", () => {
  expect(withFirst({ rows: rows(9, 8), next: "8" }, { items: rows(9, 8), next: "8" }, idOf)).toEqual({ rows: rows(9, 8), next: "8" });
});
test("the next page goes behind, each row once", () => {
  expect(withNext(known, { items: rows(5, 4), next: null }, idOf)).toEqual({ rows: rows(9, 8, 7, 6, 5, 4), next: null });
});
