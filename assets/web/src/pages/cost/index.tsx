import { useEffect, useRef } from "react";
import type { Budget, Costs, Unpriced } from "../../api/types";
import { useRead } from "../../api/useRead";
import { href, useParam } from "../../app/address";
import { Copy } from "../../parts/Copy";
import { capital, counted, money, monthName, number, percent, short } from "../../parts/format";
import { Finding, Head, HeadWaiting } from "../../parts/Head";
import { Mark } from "../../parts/Mark";
import { saveFile, csvText } from "../../parts/csv";
import { Section } from "../../parts/Section";
import { Empty, ErrorBox, Loaded, Skeleton } from "../../parts/States";
import { Tabs } from "../../parts/Tabs";
import { isOver, isTight, scopeName } from "../budgets/words";
import { BudgetBar } from "../budgets/BudgetBar";
import { bucketName, bucketTone } from "../calls/call";
import "./cost.css";
import { Drill } from "./Drill";
import { Month } from "./Month";
import { layersOf, monthSums } from "./stack";
import { Stack } from "./Stack";

const RANGES = [
  { value: "1", text: "Today" },
  { value: "7", text: "7 days" },
  { value: "30", text: "30 days" },
  { value: "90", text: "90 days" },
  { value: "365", text: "Year" },
];
const ORIGINS = [{ value: "all", text: "All" }, { value: "app", text: "Production" }, { value: "eval", text: "Evals" }, { value: "judge", text: "Judges" }, { value: "playground", text: "Playground" }];
const MONTH = { days: 31, by: "model", origin: "all", daily: true, limit: 1000 };

export default function Cost() {
  const [range, setRange] = useParam("days", "30");
  const [origin, setOrigin] = useParam("origin", "all");
  const days = Number(range) || 30;
  const asked = { days, origin };
  const month = useRead("cost", MONTH);
  const budgets = useRead("budgets", { limit: 200 });
  const models = useRead("cost", { ...asked, by: "model", daily: true, limit: 100 }, { keep: true });
  const modules = useRead("cost", { ...asked, by: "module", limit: 200 }, { keep: true });
  const prompts = useRead("cost", { ...asked, by: "prompt", limit: 1000 }, { keep: true });
  const crumbs = [{ text: "Cost" }, { text: <span className="dim">{month.data ? `${monthName(month.data.forecast?.since)} ${month.data.forecast?.since.slice(0, 4) ?? ""}` : ""}</span> }];
  if (month.error && !month.data) return <><Head title="Cost" crumbs={[{ text: "Cost" }]} sentence="The costs could not be read." /><ErrorBox error={month.error} retry={() => void month.refetch()} /></>;
  return (
    <>
      {month.data ? (
        <Head
          title="Cost"
          crumbs={crumbs}
          actions={
            <>
              <Tabs label="How many days" choices={RANGES} value={range} onChange={setRange} />
              <a className="btn go" href={href("/budgets", { set: "1" })}>Set a budget</a>
            </>
          }
          sentence={<Sentence month={month.data} budget={budgets.data?.items.find(isMonth)} />}
          why={<Why month={month.data} budgets={budgets.data?.items ?? []} />}
        />
      ) : (
        <HeadWaiting title="Cost" crumbs={[{ text: "Cost" }]} />
      )}
      <div className="cols c-64">
        <ByModel models={models} asked={asked} origin={origin} setOrigin={setOrigin} />
        <Section title="Month against budget" note="sum of all calls, forecast dashed" sql={{ read: "cost", params: MONTH }} csv={() => month.data && saveMonth(month.data)}>
          <Loaded query={month} rows={6} height={40}>{(data) => <MonthOf month={data} budget={budgets.data?.items.find(isMonth)} />}</Loaded>
        </Section>
      </div>
      <div className="cols c-64">
        <div>
          {modules.data && prompts.data ? <Drill modules={modules.data} prompts={prompts.data} days={days} origin={origin} asked={asked} /> : modules.error ? <ErrorBox error={modules.error} retry={() => void modules.refetch()} /> : <Skeleton rows={8} height={30} />}
          <Buckets asked={asked} />
        </div>
        <div>
          <BudgetList budgets={budgets} />
          <Coverage days={days} calls={modules.data?.sum.calls ?? null} />
        </div>
      </div>
    </>
  );
}

const isMonth = (budget: Budget): boolean => budget.scope === "global" && budget.period === "monthly";

function Sentence({ month, budget }: { month: Costs; budget: Budget | undefined }) {
  const spent = month.forecast?.spent_usd ?? null;
  const forecast = month.forecast?.forecast_usd ?? null;
  const name = capital(monthName(month.forecast?.since));
  if (!month.sum.calls) return <>Nothing has been spent this month: no call is recorded.</>;
  if (spent === null) return <>No call of {name} has a price yet.</>;
  const over = budget && (budget.breached || (forecast ?? 0) > budget.limit_usd);
  return (
    <>
      {name} stands at {money(spent)}
      {forecast !== null && <> and should end near <span className="nowrap">{money(forecast)}</span></>}
      {budget ? <>, <Finding tone={over ? "bad" : "good"}>{budget.breached ? "past" : over ? "over" : "under"} the {money(budget.limit_usd)} budget.</Finding></> : "."}
    </>
  );
}

function Why({ month, budgets }: { month: Costs; budgets: readonly Budget[] }) {
  const tight = budgets.filter((budget) => !isMonth(budget) && (isOver(budget) || isTight(budget)));
  const saved = month.sum.cache_saved_usd;
  return (
    <>
      {tight[0] && <><b>{scopeName(tight[0])}</b> {isOver(tight[0]) ? `has spent ${money(tight[0].spent_usd)} of its ${money(tight[0].limit_usd)}` : `is heading for ${money(tight[0].forecast_usd)} against ${money(tight[0].limit_usd)}`}{tight.length > 1 && ` and ${counted(tight.length - 1, "more budget")} will not last`}. </>}
      {month.sum.unpriced > 0 && <>{counted(month.sum.unpriced, "call")} of the last 31 days {month.sum.unpriced === 1 ? "has" : "have"} no price and {month.sum.unpriced === 1 ? "counts" : "count"} as nothing here. </>}
      {saved !== null && saved > 0 && <>The providers' caches saved {money(saved)}. </>}
      {!budgets.some(isMonth) && <>No budget is set for the month.</>}
    </>
  );
}

type CostRead = ReturnType<typeof useRead<"cost">>;

function ByModel({ models, asked, origin, setOrigin }: { models: CostRead; asked: { days: number; origin: string }; origin: string; setOrigin: (origin: string) => void }) {
  const { data } = models;
  const dates = data?.dates ?? [];
  const layers = data ? layersOf(data.items) : [];
  const save = () => saveFile("cost-by-model.csv", csvText(["day", ...(data?.items ?? []).map((item) => item.model ?? "none")], dates.map((date, at) => [date, ...(data?.items ?? []).map((item) => item.days?.[at])])));
  const known = ORIGINS.filter((one) => one.value === "all" || one.value === origin || data?.origins.some((found) => found.origin === one.value));
  return (
    <Section title="Spend a day by model" note="$ a day, today until now; sums at the right" tools={known.length > 2 && <Tabs label="Whose calls" choices={known} value={origin} onChange={setOrigin} />} sql={{ read: "cost", params: { ...asked, by: "model", daily: true } }} csv={save}>
      <Loaded query={models} rows={6} height={40}>
        {() => (layers.length ? <Stack layers={layers} dates={dates} /> : <div className="blank"><p className="cap">{data?.sum.calls ? `None of the ${counted(data.sum.calls, "call")} of these days has a price.` : "No call is recorded in these days."}</p></div>)}
      </Loaded>
    </Section>
  );
}

function MonthOf({ month, budget }: { month: Costs; budget: Budget | undefined }) {
  const { since = "", until = "", forecast_usd: forecast = null, spent_usd: spent } = month.forecast ?? {};
  const { sums } = monthSums(month.items, month.dates ?? [], since);
  if (!sums.length || spent === null) return <div className="blank"><p className="cap">Nothing of this month has a price.</p></div>;
  return <Month sums={sums} since={since} until={until} forecast={forecast} limit={budget?.limit_usd ?? null} />;
}

function saveMonth(month: Costs): void {
  const { dates, sums } = monthSums(month.items, month.dates ?? [], month.forecast?.since ?? "");
  saveFile("month.csv", csvText(["day", "sum_usd"], dates.map((date, at) => [date, sums[at]])));
}

function Buckets({ asked }: { asked: { days: number; origin: string } }) {
  const [shown, setShown] = useParam("buckets");
  const read = useRead("cost", { ...asked, by: "bucket", limit: 100 }, { enabled: shown === "1", keep: true });
  const items = read.data?.items ?? [];
  const sum = items.reduce((all, item) => all + (item.cost_usd ?? 0), 0);
  return (
    <Section
      title="By bucket"
      note="uncached input, cache reads and writes, output"
      sql={shown ? { read: "cost", params: { ...asked, by: "bucket" } } : undefined}
      csv={shown ? () => saveFile("cost-by-bucket.csv", csvText(["bucket", "tokens", "cost_usd"], items.map((item) => [item.bucket, item.tokens, item.cost_usd]))) : undefined}
    >
      {shown !== "1" ? (
        <p><button type="button" className="btn small" onClick={() => setShown("1")}>Read the buckets</button> <span className="cap">goes through each call of these days, which takes longer</span></p>
      ) : (
        <Loaded query={read} rows={4} height={30}>
          {() => (
            <div className="scroll" tabIndex={0} role="group" aria-label="Costs by bucket">
              <table className="dense" aria-label="Costs by bucket">
                <thead><tr><th scope="col">Bucket</th><th scope="col" className="num">$</th><th scope="col" className="num">%</th><th scope="col" className="w99">Share</th><th scope="col" className="num">Tokens</th><th scope="col" className="num">$ per million</th></tr></thead>
                <tbody>
                  {items.map((item) => (
                    <tr key={item.bucket}>
                      <td>{bucketName(item.bucket ?? "")}</td>
                      <td className="num"><b>{money(item.cost_usd, { unit: false })}</b></td>
                      <td className="num mid">{percent(sum && item.cost_usd !== null ? item.cost_usd / sum : null, 0, { unit: false })}</td>
                      <td className="w99"><svg width="100%" height="10" role="img" aria-label={money(item.cost_usd)}><rect width={`${sum ? ((item.cost_usd ?? 0) / Math.max(...items.map((one) => one.cost_usd ?? 0))) * 100 : 0}%`} height="10" className={bucketTone(item.bucket ?? "")} /></svg></td>
                      <td className="num mid" title={number(item.tokens)}>{short(item.tokens)}</td>
                      <td className="num mid">{money(item.cost_usd !== null && item.tokens ? (item.cost_usd / item.tokens) * 1e6 : null, { unit: false })}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
              {!items.length && <p className="cap">No call of these days says its buckets.</p>}
            </div>
          )}
        </Loaded>
      )}
    </Section>
  );
}

const SAVED = ["scope", "target", "period", "spent_usd", "limit_usd", "forecast_usd"] as const;

const saveBudgets = (items: readonly Budget[]): void => saveFile("budgets.csv", csvText(SAVED, items.map((item) => SAVED.map((key) => item[key]))));

function BudgetList({ budgets }: { budgets: ReturnType<typeof useRead<"budgets">> }) {
  return (
    <Section title="Budgets" note="tick: forecast" sql={{ read: "budgets" }} csv={() => saveBudgets(budgets.data?.items ?? [])} tools={<a href={href("/budgets")}>All</a>}>
      <Loaded query={budgets} rows={4} height={30}>
        {({ items }) => items.length ? (
          <div className="scroll" tabIndex={0} role="group" aria-label="Budgets">
            <table className="dense budgets" aria-label="Budgets">
              <thead><tr><th scope="col">Scope</th><th scope="col" className="w99"><span className="vh">Spent</span></th><th scope="col" className="num">$</th><th scope="col" className="num">Limit</th><th scope="col" className="num">Forecast</th></tr></thead>
              <tbody>
                {items.slice(0, 12).map((budget) => {
                  const heading = budget.forecast_usd === null ? null : budget.forecast_usd / budget.limit_usd;
                  return (
                    <tr key={`${budget.scope} ${budget.target} ${budget.period}`}>
                      <td><b>{scopeName(budget)}</b> <span className="dim">{budget.period === "daily" ? "day" : "month"}</span></td>
                      <td className="w99"><BudgetBar budget={budget} /></td>
                      <td className="num">{money(budget.spent_usd, { unit: false })}</td>
                      <td className="num mid">{money(budget.limit_usd, { unit: false })}</td>
                      <td className={`num ${heading !== null && heading > 1 ? "warn" : "mid"}`}>{heading !== null && heading > 1 && <Mark shape="triangle" />} {percent(heading, 0)}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </div>
        ) : <Empty code="promptry budget set global --limit 600">No budget is set.</Empty>}
      </Loaded>
    </Section>
  );
}

function Coverage({ days, calls }: { days: number; calls: number | null }) {
  const read = useRead("coverage", { days, limit: 100 }, { keep: true });
  const [at] = useParam("at");
  const place = useRef<HTMLDivElement>(null);
  const there = at === "coverage" && read.data !== undefined;
  useEffect(() => {
    if (there) place.current?.scrollIntoView({ block: "center" });
  }, [there]);
  return (
    <div ref={place}>
    <Section title="Unpriced models" note={read.data && (read.data.total ? counted(read.data.items.reduce((sum, item) => sum + item.calls, 0), "call") : undefined)} sql={{ read: "coverage", params: { days } }} tools={<Copy text="promptry prices import prices.json" label="Copy the import" className="link" />}>
      <Loaded query={read} rows={2} height={36}>
        {({ items }) => items.length ? <ul className="coverage">{items.map((item) => <Model key={`${item.model} ${item.provider}`} item={item} />)}</ul> : <p className="cap">{calls === 0 ? "No call is recorded in these days." : "Every call of these days has its price."}</p>}
      </Loaded>
    </Section>
    </div>
  );
}

function Model({ item }: { item: Unpriced }) {
  const rate = `[pricing."${item.model}"]\ninput = 0.40\noutput = 1.60\n`;
  return (
    <li>
      <span className="warn"><Mark shape="ring" /></span>
      <a className="mono" href={href("/calls", { model: item.model, price: "unpriced" })}>{item.model ?? "no model said"}</a>
      <span className="dim num">{counted(item.calls, "call")}</span>
      <p className="cap">{capital(item.reason)}. {item.model && /\[pricing/.test(item.reason) && <Copy text={rate} label="Copy such a rate" className="link" />}</p>
    </li>
  );
}
