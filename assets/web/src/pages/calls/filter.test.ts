import { describe, expect, test } from "vitest";
import { askedOf, filterOf, paramsOf, saidSpan, tokensOf, USUAL, withLine } from "./filter";

const address = (text: string) => filterOf(new URLSearchParams(text));
const kept = (params: Record<string, unknown>) => Object.fromEntries(Object.entries(params).filter(([, value]) => value !== null));

describe("the address", () => {
  test("of nothing is the usual filter, and the usual filter needs no address", () => {
    expect(address("")).toEqual(USUAL);
    expect(kept(paramsOf(USUAL))).toEqual({});
  });
  test("that names something has only that", () => expect(address("model=gpt-4.1")).toEqual({ model: "gpt-4.1" }));
  test("of no filter at all is said", () => {
    expect(kept(paramsOf({}))).toEqual({ last: "all" });
    expect(address("last=all")).toEqual({});
  });
  test("of calls without a price, as other pages spell it", () => expect(address("priced=no")).toEqual({ price: "unpriced" }));
  test("goes there and back", () => {
    const filter = { prompt: "a/b", status: "error", last: "7d", search: "late parcel" };
    expect(address(new URLSearchParams(kept(paramsOf(filter)) as Record<string, string>).toString())).toEqual(filter);
  });
});

describe("the line", () => {
  test.each([
    ["prompt:support/answer", { prompt: "support/answer" }],
    ['model:"my model" late', { model: "my model", search: "late" }],
    ["cost>0.01", { cost: "0.01" }],
    ["where is my parcel", { search: "where is my parcel" }],
    ['"prompt: x"', { search: "prompt: x" }],
    ["https://shop.example", { search: "https://shop.example" }],
    ["status:", { search: "status:" }],
    ["  ", {}],
  ])("%s", (line, wanted) => expect(withLine({}, line)).toEqual(wanted));
  test("a token replaces the one of its name, words are replaced by words", () => {
    expect(withLine({ model: "a", search: "old" }, "model:b new")).toEqual({ model: "b", search: "new" });
  });
  test("all of time takes the span away", () => expect(withLine(USUAL, "last:all")).toEqual({ origin: "app" }));
  test("a request stands for itself", () => {
    expect(withLine(USUAL, "request:r-1")).toEqual({ request: "r-1" });
    expect(askedOf({ request: "r-1", last: "1h" })).toEqual({ request: "r-1" });
  });
  test("tokens stand in their order", () => {
    expect(tokensOf({ last: "1h", cost: "0.5", module: "my team" }).map((token) => token.text)).toEqual(['module:"my team"', "last:1h", "cost>0.5"]);
  });
});

test("the server is asked in its own words", () => {
  expect(kept(askedOf({ last: "1h", price: "unpriced", cost: "$0.01", origin: "app" }))).toEqual({ origin: "app", hours: 1, unpriced: true, min_cost_usd: "0.01" });
  expect(kept(askedOf({ last: "90d" }))).toEqual({ days: "90" });
});

test("the sentence names the span", () => {
  expect([saidSpan("1h"), saidSpan("90d"), saidSpan(undefined)]).toEqual(["in the last hour", "in the last 90 days", "in all"]);
});
