import type { Budget } from "../../api/types";
import { useRead, useWrite } from "../../api/useRead";
import { href, setParams, useParams } from "../../app/address";
import { counted, day, listed, money, number, percent } from "../../parts/format";
import { Finding, Head, HeadWaiting } from "../../parts/Head";
import { Pill } from "../../parts/Mark";
import { Section } from "../../parts/Section";
import { Empty, ErrorBox, Skeleton } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { saveCsv, Table } from "../../parts/Table";
import { BudgetBar } from "./BudgetBar";
import "./budgets.css";
import { BudgetForm } from "./BudgetForm";
import { isOver, isTight, reachedOn, scopeName, worstFirst } from "./words";

const CRUMBS = [{ text: "Budgets" }];

export default function Budgets() {
  const params = useParams();
  const budgets = useRead("budgets", { limit: 1000 });
  const forming = params.get("set") === "1";
  if (budgets.error && !budgets.data) return <><Head title="Budgets" crumbs={CRUMBS} sentence="The budgets could not be read." /><ErrorBox error={budgets.error} retry={() => void budgets.refetch()} /></>;
  if (!budgets.data) return <><HeadWaiting title="Budgets" crumbs={CRUMBS} /><Skeleton rows={5} height={44} /></>;
  const items = worstFirst(budgets.data.items);
  return (
    <>
      <Head
        title="Budgets"
        crumbs={CRUMBS}
        actions={<button type="button" className="btn go" data-edit onClick={() => setParams({ set: forming ? null : "1", scope: null, target: null, period: null })}>Set a budget</button>}
        sentence={<Sentence items={items} />}
        why={<Why items={items} />}
      />
      {forming && <BudgetForm items={items} />}
      <Section title="Budgets" note="of this day and this month, UTC; the tick is where each is heading" sql={{ read: "budgets" }} csv={() => saveCsv("budgets", COLUMNS, items)}>
        <Table label="Each budget" className="budget-table" rows={items} columns={COLUMNS} rowKey={(row) => row.id} empty={<Empty code="promptry budget set global --limit 600">No budget is set. A budget says what a day or a month may cost, for everything, a module or a prompt; budget_guard refuses what goes beyond.</Empty>} />
      </Section>
      {items.length > 0 && (
        <p className="cap foot2">
          A budget counts the calls of every origin. <span className="mono">with budget_guard("support/answer"):</span> refuses a call once its budget is spent or reserved; calls without a price count as nothing.
        </p>
      )}
    </>
  );
}

function Sentence({ items }: { items: readonly Budget[] }) {
  if (!items.length) return <>No budget is set.</>;
  const over = items.filter(isOver);
  const tight = items.filter(isTight);
  const names = (some: readonly Budget[]) => listed(some.slice(0, 3).map((one) => `${scopeName(one)} (${one.period === "daily" ? "day" : "month"})`));
  if (over.length) return <><Finding tone="bad">{over.length} of {counted(items.length, "budget")} {over.length === 1 ? "is" : "are"} spent</Finding>: {names(over)}{tight.length > 0 && `; ${tight.length} more will not last`}.</>;
  if (tight.length) return <><Finding tone="warn">{tight.length} of {counted(items.length, "budget")} will not last</Finding> at this pace: {names(tight)}.</>;
  return items.length === 1 ? <>The one budget holds at this pace.</> : <>All {number(items.length)} budgets hold at this pace.</>;
}

function Why({ items }: { items: readonly Budget[] }) {
  const first = items.find(isTight);
  const at = first && reachedOn(first, Date.now());
  const unpriced = Math.max(0, ...items.map((one) => one.unpriced ?? 0));
  return (
    <>
      {first && <><b>{scopeName(first)}</b> is heading for {money(first.forecast_usd)} against {money(first.limit_usd)}{at && first.period === "monthly" && `, and reaches its limit about ${day(at)}`}. </>}
      {unpriced > 0 && <>{counted(unpriced, "call")} without a price {unpriced === 1 ? "counts" : "count"} as nothing here; <a href={href("/cost")}>see which</a>.</>}
    </>
  );
}

const COLUMNS: Column<Budget>[] = [
  { key: "target", head: "Scope", sort: scopeName, cell: (row) => <><b>{row.target ? <a href={row.scope === "prompt" ? href("/prompt", { name: row.target }) : href("/cost", { module: row.target })}>{row.target}</a> : "Everything"}</b> <span className="dim">{row.scope === "global" ? "" : row.scope}</span></> },
  { key: "period", head: "Period", sort: (row) => row.period, cell: (row) => <span title={`${row.since} until ${row.until} (UTC)`}>{row.period === "daily" ? "day" : "month"}</span> },
  { key: "state", head: "State", sort: (row) => (isOver(row) ? 0 : isTight(row) ? 1 : 2), csv: (row) => (isOver(row) ? "spent" : isTight(row) ? "will not last" : "holds"), cell: (row) => <StateOf budget={row} /> },
  { key: "bar", head: <span className="vh">Spent, reserved and forecast</span>, className: "w99 bar-cell", csv: false, cell: (row) => <BudgetBar budget={row} height={10} /> },
  { key: "spent_usd", head: "Spent, $", num: true, sort: (row) => row.spent_usd, cell: (row) => <b>{money(row.spent_usd, { unit: false })}</b> },
  { key: "reserved_usd", head: "Reserved, $", num: true, className: "mid wide", title: "held for calls that are under way", sort: (row) => row.reserved_usd, cell: (row) => money(row.reserved_usd, { unit: false }) },
  { key: "limit_usd", head: "Limit, $", num: true, sort: (row) => row.limit_usd, cell: (row) => money(row.limit_usd, { unit: false }) },
  { key: "share", head: "Gone, %", num: true, sort: (row) => row.share, cell: (row) => percent(row.share, 0, { unit: false }) },
  { key: "forecast_usd", head: "Forecast, $", num: true, sort: (row) => row.forecast_usd, cell: (row) => <span className={isTight(row) || isOver(row) ? "warn" : undefined}>{money(row.forecast_usd, { unit: false })}</span> },
  { key: "acts", head: <span className="vh">Change or remove</span>, csv: false, cell: (row) => <Acts budget={row} /> },
];

function StateOf({ budget }: { budget: Budget }) {
  if (isOver(budget)) return <Pill shape="cross" tone="bad">spent</Pill>;
  if (isTight(budget)) return <Pill shape="triangle" tone="warn">will not last</Pill>;
  return <Pill shape="tick" tone="good">holds</Pill>;
}

function Acts({ budget }: { budget: Budget }) {
  const asked = useParams().get("remove") === budget.id;
  const remove = useWrite("/api/budgets/remove");
  if (asked) {
    return (
      <span className="acts-cell">
        {remove.error ? <span className="bad">{remove.error.message}</span> : <span>Remove it?</span>}
        <button type="button" className="btn small" disabled={remove.isPending} onClick={() => remove.mutate({ scope: budget.scope, target: budget.target, period: budget.period }, { onSuccess: () => setParams({ remove: null }) })}>Remove</button>
        <button type="button" className="btn small" onClick={() => setParams({ remove: null })}>Keep</button>
      </span>
    );
  }
  return (
    <span className="acts-cell">
      <button type="button" className="link" onClick={() => setParams({ set: "1", scope: budget.scope, target: budget.target, period: budget.period })}>Change</button>
      <button type="button" className="link" onClick={() => setParams({ remove: budget.id })}>Remove</button>
    </span>
  );
}
