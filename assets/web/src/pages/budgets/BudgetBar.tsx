import type { Budget } from "../../api/types";
import { money } from "../../parts/format";
import { isOver, isTight } from "./words";

/** A budget as a bar: what is spent, what is reserved, and a tick where it is heading. */
export function BudgetBar({ budget, height = 8 }: { budget: Budget; height?: number }) {
  const of = (usd: number | null) => Math.min(1, Math.max(0, (usd ?? 0) / budget.limit_usd)) * 100;
  const spent = of(budget.spent_usd);
  const held = Math.min(100 - spent, of(budget.reserved_usd));
  const tone = isOver(budget) ? "f-bad" : isTight(budget) ? "f-warn" : "f-acc";
  return (
    <svg className="over" width="100%" height={height} role="img" aria-label={`${money(budget.spent_usd)} of ${money(budget.limit_usd)}${budget.forecast_usd !== null ? `, heading for ${money(budget.forecast_usd)}` : ""}`}>
      <rect width="100%" height={height} className="f-lift" />
      <rect width={`${spent}%`} height={height} className={tone} />
      {held > 0 && <rect x={`${spent}%`} width={`${held}%`} height={height} className={`${tone} soft`} />}
      {budget.forecast_usd !== null && <line x1={`${of(budget.forecast_usd)}%`} x2={`${of(budget.forecast_usd)}%`} y1="-3" y2={height + 3} className="s-ink" strokeWidth="1.5" />}
    </svg>
  );
}
