import { describe, expect, test } from "vitest";
import type { Span, Trace } from "../../api/types";
import { costStrip, firstWords, greatest, shownSpans, ticksOf, timeStrip, topSpans, waitsOf } from "./model";

const span = (id: string, parent_id: string | null, depth: number, start_ms: number, duration_ms: number, more: Partial<Span> = {}): Span => ({
  id, parent_id, depth, kind: "span", name: id, start_ms, duration_ms, cost_usd: null, ...more,
});
const SPANS = [
  span("all", null, 0, 0, 1000, { cost_usd: 4 }),
  span("rewrite", "all", 1, 100, 200, { kind: "call", model: "small", cost_usd: 1, ttft_ms: 50 }),
  span("rank", "all", 1, 300, 400, { cost_usd: 3 }),
  span("r1", "rank", 2, 300, 200, { kind: "call", model: "big", cost_usd: 2 }),
  span("r2", "rank", 2, 500, 200, { kind: "call", model: "big", cost_usd: 1, ttft_ms: 80 }),
];
const trace: Trace = { trace_id: "t", name: "all", started_at: "", duration_ms: 1000, calls: 3, unpriced: 0, cost_usd: 4, spans: SPANS };

describe("strips", () => {
  test("a trace falls into what stands below its outermost span", () => expect(topSpans(SPANS).map((one) => one.id)).toEqual(["rewrite", "rank"]));
  test("the time has gaps where nothing ran", () => {
    expect(timeStrip(trace).map((piece) => [piece.name, Number(piece.share.toFixed(3)), piece.model])).toEqual([
      ["", 0.1, null], ["rewrite", 0.2, "small"], ["rank", 0.4, "big"], ["", 0.3, null],
    ]);
  });
  test("spans side by side have each moment once", () => {
    const both = { ...trace, spans: [span("a", null, 0, 0, 800), span("b", null, 0, 100, 300), span("c", null, 0, 500, 500)] };
    expect(timeStrip(both).map((piece) => [piece.name, piece.share])).toEqual([["a", 0.8], ["c", 0.2]]);
  });
  test("the money has none", () => expect(costStrip(trace).map((piece) => [piece.name, piece.share])).toEqual([["rewrite", 0.25], ["rank", 0.75]]));
  test("the greatest is named", () => expect(greatest(costStrip(trace))).toEqual({ name: "rank", share: 0.75 }));
  test("a trace without length or cost has no strip", () => {
    expect([timeStrip({ ...trace, duration_ms: 0 }), costStrip({ ...trace, spans: [] }), greatest([])]).toEqual([[], [], null]);
  });
});

test("the first words are those of the last answer", () => expect(firstWords(SPANS)).toBe(580));

describe("rows", () => {
  test("all are seen, with what stands below them", () => {
    expect(shownSpans(SPANS, new Set()).map((row) => [row.span.id, row.below, row.calls])).toEqual([["all", 4, 1], ["rewrite", 0, 0], ["rank", 2, 2], ["r1", 0, 0], ["r2", 0, 0]]);
  });
  test("not what is below a closed one", () => expect(shownSpans(SPANS, new Set(["rank"])).map((row) => row.span.id)).toEqual(["all", "rewrite", "rank"]));
  test("ten thousand spans take no time to speak of", () => {
    const many = [span("root", null, 0, 0, 1), ...Array.from({ length: 10_000 }, (_, at) => span(`s${at}`, "root", 1, 0, 1))];
    expect(shownSpans(many, new Set())[0]?.below).toBe(10_000);
  });
});

test.each([[1000, [0, 200, 400, 600, 800, 1000]], [4860, [0, 1000, 2000, 3000, 4000]], [0, [0]]])("ticks of %d ms", (whole, wanted) => expect(ticksOf(whole)).toEqual(wanted));

test("calls that wait for each other are seen", () => {
  expect(waitsOf(SPANS[2] as Span, SPANS)).toEqual({ calls: 2, inLine: true, longest_ms: 200 });
  expect(waitsOf(SPANS[1] as Span, SPANS)).toBeNull();
});
