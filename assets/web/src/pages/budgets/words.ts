// How budgets are said: what they are of, and how they stand.
import type { Budget } from "../../api/types";

/** "Everything", "triage", "support/answer". */
export function scopeName(budget: Pick<Budget, "scope" | "target">): string {
  return budget.scope === "global" ? "Everything" : (budget.target ?? budget.scope);
}

export const isOver = (budget: Budget): boolean => budget.breached;

/** Whether a budget that is not spent yet will be at this pace. */
export const isTight = (budget: Budget): boolean => !budget.breached && (budget.forecast_usd ?? 0) > budget.limit_usd;

/** Spent first, then those that will be, then by how much of them is gone. */
export function worstFirst(budgets: readonly Budget[]): Budget[] {
  const rank = (budget: Budget) => (isOver(budget) ? 0 : isTight(budget) ? 1 : 2);
  return [...budgets].sort((a, b) => rank(a) - rank(b) || (b.share ?? 0) - (a.share ?? 0));
}

/** The day of the present period on which the limit is reached at this pace, or null. */
export function reachedOn(budget: Budget, now: number): string | null {
  if (!isTight(budget) || !budget.since || !budget.spent_usd) return null;
  const start = Date.parse(`${budget.since}T00:00:00Z`);
  return new Date(start + ((now - start) * budget.limit_usd) / budget.spent_usd).toISOString();
}
