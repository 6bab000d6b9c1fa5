import { describe, expect, test } from "vitest";
import type { CostItem } from "../../api/types";
import { areaPath, axisOf, daysBetween, layersOf, monthSums, spread } from "./stack";

const item = (model: string, days: (number | null)[]) => ({ model, days }) as CostItem;

describe("layers", () => {
  test("stand on each other, the dearest at the foot", () => {
    const [first, second] = layersOf([item("a", [1, 2]), item("b", [3, null])]);
    expect([first?.high, second?.low, second?.high, second?.sum]).toEqual([[1, 2], [1, 2], [4, 2], 3]);
  });
  test("a model without a cost has none", () => expect(layersOf([item("a", [1]), item("b", [null]), item("c", [0])]).length).toBe(1));
  test("what is beyond the most is one", () => {
    const found = layersOf(["a", "b", "c", "d"].map((name) => item(name, [1])), 3);
    expect(found.map((layer) => [layer.name, layer.sum])).toEqual([["a", 1], ["b", 1], ["2 others", 2]]);
  });
  test("are drawn up and back", () => expect(areaPath({ low: [0, 0], high: [5, 10] }, 10, 100)).toBe("M0.0 50.0L1000.0 0.0L1000.0 100.0L0.0 100.0Z"));
  test("one day is as wide as all", () => expect(areaPath({ low: [0], high: [10] }, 10, 100)).toBe("M0.0 0.0L1000.0 0.0L1000.0 100.0L0.0 100.0Z"));
});

test("the month is summed from its first day", () => {
  expect(monthSums([item("a", [9, 1, 2]), item("b", [9, null, 1])], ["2026-10-31", "2026-11-01", "2026-11-02"], "2026-11-01")).toEqual({ dates: ["2026-11-01", "2026-11-02"], sums: [1, 4] });
  expect(daysBetween("2026-11-01", "2026-12-01")).toBe(30);
});

test.each([[28, [0, 10, 20, 30]], [0.034, [0, 0.02, 0.04]], [0, [0, 1]], [650, [0, 250, 500, 750]]])("the axis of %d", (most, wanted) => expect(axisOf(most).ticks).toEqual(wanted));

test("labels stand apart", () => {
  expect(spread([100, 98, 96], 17, 0, 200)).toEqual([100, 83, 66]);
  expect(spread([10, 8, 6], 17, 0, 200)).toEqual([34, 17, 0]);
});
