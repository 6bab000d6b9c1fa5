import { expect, test } from "vitest";
import type { Budget } from "../../api/types";
import { reachedOn, scopeName, worstFirst } from "./words";

const budget = (more: Partial<Budget>): Budget => ({ id: "1", scope: "module", target: "a", period: "monthly", limit_usd: 100, spent_usd: 50, reserved_usd: 0, share: 0.5, breached: false, forecast_usd: 80, since: "2026-11-01", until: "2026-12-01", unpriced: 0, ...more });

test("a budget is named by what it is of", () => {
  expect([scopeName({ scope: "global", target: null }), scopeName({ scope: "prompt", target: "a/b" })]).toEqual(["Everything", "a/b"]);
});
test("the spent ones stand first, then those that will be", () => {
  const [full, tight, calm, calmer] = [budget({ breached: true, share: 1.2 }), budget({ forecast_usd: 120, share: 0.1 }), budget({ share: 0.9 }), budget({ share: 0.2 })];
  expect(worstFirst([calmer, calm, tight, full])).toEqual([full, tight, calm, calmer]);
});
test("the day on which the limit is reached", () => {
  const now = Date.parse("2026-11-11T00:00:00Z");
  expect(reachedOn(budget({ forecast_usd: 150 }), now)).toBe("2026-11-21T00:00:00.000Z");
  expect([reachedOn(budget({}), now), reachedOn(budget({ forecast_usd: null }), now)]).toEqual([null, null]);
});
