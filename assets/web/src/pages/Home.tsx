import { useMemo } from "react";
import type { Budget, ModuleSpend, NoticedChange, Overview, OverviewSuite } from "../api/types";
import { useRead } from "../api/useRead";
import { href, useParam } from "../app/address";
import { Bar, Stats } from "../parts/Bars";
import type { StatProps } from "../parts/Bars";
import { Differs, passRate, saidComparison, saidCounts, toneOf } from "../parts/findings";
import { clock, counted, day, dayAndClock, duration, listed, money, monthName, number, percent, points, pointsInterval, pvalue, utc } from "../parts/format";
import { Finding, Head, HeadWaiting } from "../parts/Head";
import { Interval, IntervalAxis, scaleOf } from "../parts/Interval";
import { Mark, State, Verdict } from "../parts/Mark";
import type { Shape, Tone } from "../parts/Mark";
import { RunButton } from "../parts/RunButton";
import { Section } from "../parts/Section";
import { Sparkline } from "../parts/Sparkline";
import { Empty, ErrorBox, Skeleton } from "../parts/States";
import type { Column } from "../parts/Table";
import { saveCsv, Table } from "../parts/Table";
import { Time, useNow } from "../parts/Time";
import { FirstStart } from "./FirstStart";

const CRUMBS = [{ text: "Home" }];

export default function Home() {
  const { data, error, refetch } = useRead("overview");
  useRead("suites"); // asked for at the same time, so that the button which runs them moves nothing when it comes
  if (error && !data) {
    return (
      <>
        <Head title="Home" crumbs={CRUMBS} sentence="The store could not be read." />
        <ErrorBox error={error} retry={() => void refetch()} />
      </>
    );
  }
  if (!data) {
    return (
      <>
        <HeadWaiting title="Home" crumbs={CRUMBS} />
        <Skeleton rows={1} height={92} />
        <Skeleton rows={8} />
      </>
    );
  }
  if (isEmpty(data)) return <FirstStart />;
  return <Filled data={data} />;
}

function isEmpty(data: Overview): boolean {
  const calls = (data.modules ?? []).some((module) => module.calls > 0) || (data.today?.calls ?? 0) > 0;
  return !data.suites.length && !calls && !data.changes?.length && !data.spend.unpriced && !data.spend.spent_usd;
}

function Filled({ data }: { data: Overview }) {
  const now = useNow(30_000);
  const suites = useRead("suites");
  const runnable = (suites.data?.items ?? []).filter((item) => item.registered).map((item) => item.suite);
  const worst = useMemo(() => worstFirst(data.suites), [data.suites]);
  const broken = worst.find((suite) => suite.verdict === "regressed");
  return (
    <>
      <Head
        title="Home"
        crumbs={CRUMBS}
        actions={
          <>
            <span className="dim nowrap wide">{dayAndClock(new Date(now).toISOString())}</span>
            {!suites.data && <span className="btn ghost" aria-hidden="true">Run all suites</span>}
            {runnable.length > 0 && <RunButton suites={runnable} text={runnable.length === 1 ? `Run ${runnable[0]}` : "Run all suites"} />}
            {broken && <a className="btn go" href={compareOf(broken)}>See what broke</a>}
          </>
        }
        sentence={<Answer suites={worst} data={data} />}
        why={<Why suite={broken} data={data} />}
      />
      <Stats items={figuresOf(data)} />
      <SuitesTable suites={worst} />
      <div className="cols c-64">
        <Feed changes={data.changes ?? []} />
        <Modules modules={data.modules ?? []} since={data.spend.since} />
      </div>
    </>
  );
}

const compareOf = (suite: OverviewSuite): string => href("/compare", { run: suite.run, baseline: suite.comparison?.baseline?.id });

const RANK: Record<string, number> = { regressed: 0, improved: 1, tied: 2, "not enough data": 3, not_enough_data: 3 };

/** Regressed, then improved, tied, and what cannot be judged; the greatest change first. */
function worstFirst(suites: OverviewSuite[]): OverviewSuite[] {
  const rank = (suite: OverviewSuite) => RANK[suite.verdict ?? ""] ?? (suite.passed === false ? 0.5 : 4);
  return [...suites].sort((a, b) => rank(a) - rank(b) || Math.abs(b.comparison?.delta ?? 0) - Math.abs(a.comparison?.delta ?? 0));
}

function Answer({ suites, data }: { suites: OverviewSuite[]; data: Overview }) {
  if (!suites.length) {
    return <>No suite has run yet; {data.today ? counted(data.today.calls, "call") : "the calls"} of today cost {money(data.spend.today_usd)}.</>;
  }
  const regressed = suites.filter((suite) => suite.verdict === "regressed");
  const of = `${regressed.length} of ${counted(suites.length, "suite")}`;
  const [first] = regressed;
  if (first && regressed.length === 1) {
    const against = first.against ?? (first.comparison?.baseline ? `run ${first.comparison.baseline.id}` : "its baseline");
    const what = first.broke != null ? `${first.suite} broke ${first.broke} of ${counted(first.comparison?.n, "case")}` : `${first.suite} fell`;
    return <>{of} regressed: <Finding tone="bad">{what}</Finding> against {against}.</>;
  }
  if (first) {
    const names = regressed.slice(0, 3).map((suite) => suite.suite);
    if (regressed.length > 3) names.push(`${regressed.length - 3} more`);
    return <>{of} regressed: <Finding tone="bad">{listed(names)}</Finding>.</>;
  }
  const failed = suites.filter((suite) => suite.passed === false);
  if (failed.length) {
    return <>{failed.length} of {counted(suites.length, "suite")} did not pass: <Finding tone="bad">{listed(failed.slice(0, 3).map((suite) => suite.suite))}</Finding>.</>;
  }
  return <>{quietAnswer(suites)}</>;
}

/** Nothing regressed: how the suites stand, each kind counted. */
function quietAnswer(suites: OverviewSuite[]): string {
  const count = (test: (suite: OverviewSuite) => boolean) => suites.filter(test).length;
  const improved = count((suite) => suite.verdict === "improved");
  const tied = count((suite) => suite.verdict === "tied");
  const open = suites.length - improved - tied;
  const kinds = [improved && `${improved} improved`, tied && `${tied} tied`, open && `${open} cannot be judged yet`].filter(Boolean) as string[];
  const [only] = suites;
  if (suites.length === 1 && only) {
    if (tied) return `Nothing broke: ${only.suite} is tied with its baseline.`;
    if (improved) return `Nothing broke: ${only.suite} improved on its baseline.`;
    return `${only.suite} ran, and has nothing to be judged against yet.`;
  }
  return `Nothing broke. Of ${counted(suites.length, "suite")} ${listed(kinds)}.`;
}

/** What is behind the finding; without one, what the month costs. */
function Why({ suite, data }: { suite: OverviewSuite | undefined; data: Overview }) {
  const { spend, suites } = data;
  if (suite?.comparison) {
    const others = suites.filter((one) => one.passed === false && one.verdict !== "regressed").length;
    return (
      <>
        {saidComparison(suite.comparison)} {suite.changed !== undefined && <Differs changed={suite.changed} />}
        {others > 0 && ` ${counted(others, "more suite", "more suites")} did not pass.`}
      </>
    );
  }
  return (
    <>
      {monthName(spend.since)} has cost {money(spend.spent_usd)} so far
      {spend.forecast_usd !== null && <> and is heading for {money(spend.forecast_usd)}</>}
      {spend.unpriced > 0 && <>; {counted(spend.unpriced, "call")} without a price</>}.
    </>
  );
}

// --- the figures of the day: each leads to its rows ---

const isDay = (budget: Budget) => ["day", "daily"].includes(budget.period) && budget.scope === "global";

function figuresOf(data: Overview): StatProps[] {
  const { today, spend, suites, budgets } = data;
  const budget = budgets.find(isDay);
  const stray = budgets.find((one) => one.breached && one !== budget);
  const flaky = suites.flatMap((suite) => suite.flaky?.known ?? []).length;
  const flakiest = [...suites].sort((a, b) => (b.flaky?.known.length ?? 0) - (a.flaky?.known.length ?? 0))[0];
  const cases = suites.reduce((sum, suite) => sum + (suite.counts?.cases ?? 0), 0);
  const drifting = suites.filter((suite) => suite.drifting);
  const rated = (today?.rated.up ?? 0) + (today?.rated.down ?? 0);
  const fallbacks = today?.renders_fallback ?? data.fallbacks.length;
  const share = budget && budget.limit_usd > 0 ? (budget.spent_usd ?? 0) / budget.limit_usd : null;
  return [
    {
      label: "Spend today",
      value: money(spend.today_usd),
      unit: budget && `of ${money(budget.limit_usd)}`,
      more: stray ? `${stray.target ?? "all calls"} is over its budget` : budget?.forecast_usd != null ? `near ${money(budget.forecast_usd)} at midnight` : `month ${money(spend.spent_usd)}`,
      tone: budget?.breached || stray ? "warn" : undefined,
      href: href("/cost", { days: 1 }),
      children: share !== null && <Bar share={share} mark={budget?.forecast_usd != null ? budget.forecast_usd / budget.limit_usd : null} height={4} tone={budget?.breached ? "f-bad" : "f-acc"} />,
    },
    {
      label: "Calls today",
      value: number(today?.calls),
      more: today?.calls ? `${percent(today.errors / today.calls)} errors, p95 ${duration(today.p95_ms)}` : "none yet",
      href: href("/calls"),
    },
    {
      label: "Unpriced calls",
      value: number(spend.unpriced),
      more: spend.unpriced ? "no rate known" : "every call has its price",
      tone: spend.unpriced ? "warn" : undefined,
      href: href("/calls", { priced: "no" }),
    },
    {
      label: "Flaky cases",
      value: number(flaky),
      unit: cases > 0 && `of ${number(cases)}`,
      more: flaky ? `${flakiest?.flaky?.known.length} in ${flakiest?.suite}` : "none found",
      href: flaky && flakiest ? href("/suite", { name: flakiest.suite }) : href("/suites"),
    },
    {
      label: "Drifting suites",
      value: number(drifting.length),
      more: drifting[0] ? drifting[0].suite : "none falls",
      tone: drifting.length ? "warn" : undefined,
      href: drifting[0] ? href("/suite", { name: drifting[0].suite }) : href("/suites"),
    },
    {
      label: "Rated up today",
      value: rated ? percent((today?.rated.up ?? 0) / rated, 0) : "–",
      unit: rated > 0 && `of ${number(rated)}`,
      more: rated ? `${number(today?.rated.down)} rated down` : "nobody rated",
      href: href("/feedback"),
    },
    {
      label: "Fallbacks served",
      value: number(fallbacks),
      more: fallbacks ? "the store did not answer" : "every prompt was read",
      tone: fallbacks ? "bad" : undefined,
      href: href("/settings"),
    },
  ];
}

// --- the suites ---

function SuitesTable({ suites }: { suites: OverviewSuite[] }) {
  const scale = useMemo(() => scaleOf(suites.flatMap((suite) => suite.comparison?.interval ?? [])), [suites]);
  const columns: Column<OverviewSuite>[] = [
    { key: "suite", head: "Suite", sort: (row) => row.suite, cell: (row) => <a href={href("/suite", { name: row.suite })}><b>{row.suite}</b></a> },
    {
      key: "verdict",
      head: "Verdict",
      sort: (row) => row.verdict,
      cell: (row) => <><Verdict verdict={row.verdict} title={row.comparison?.reason ?? undefined} />{row.drifting && <> <State state="drifting" bare title={row.drift ?? undefined} /></>}</>,
    },
    {
      key: "interval",
      head: <IntervalAxis scale={scale} />,
      className: "plot w-iv",
      cell: (row) => <Interval value={row.comparison?.delta} interval={row.comparison?.interval} scale={scale} tone={toneOf(row.verdict)} />,
    },
    { key: "change", head: "Change", num: true, title: "percentage points", sort: (row) => row.comparison?.delta, cell: (row) => <b className={toneClass(row)}>{points(row.comparison?.delta)}</b> },
    { key: "interval95", head: "95% interval", num: true, className: "mid", csv: (row) => row.comparison?.interval?.join(" to "), cell: (row) => pointsInterval(row.comparison?.interval) },
    { key: "p", head: "p", num: true, sort: (row) => row.comparison?.p, cell: (row) => pvalue(row.comparison?.p) },
    { key: "broke", head: "Broke / fixed", num: true, className: "mid", sort: (row) => row.broke, csv: (row) => `${row.broke ?? ""}/${row.fixed ?? ""}`, cell: (row) => (row.broke == null ? "–" : `${row.broke} / ${row.fixed ?? 0}`) },
    { key: "passed", head: "Passed, %", num: true, sort: (row) => passRate(row.counts), cell: (row) => <span title={saidCounts(row.counts)}>{percent(passRate(row.counts), 1, { unit: false })}</span> },
    { key: "cases", head: "Cases", num: true, className: "dim wide", sort: (row) => row.counts.cases, cell: (row) => number(row.counts.cases) },
    {
      key: "history",
      head: "Last 30 runs",
      csv: (row) => row.history?.at(-1) ?? row.score,
      cell: (row) => <Sparkline values={row.history ?? [row.score]} tone={toneOf(row.verdict) === "plain" && row.drifting ? "warn" : toneOf(row.verdict)} label={`scores of the last ${row.history?.length ?? 1} runs of ${row.suite}`} />,
    },
    { key: "run", head: "Run", num: true, className: "dim", sort: (row) => row.at, cell: (row) => <a className="quiet" href={href(`/run/${row.run}`)}><Time at={row.at} /></a> },
  ];
  const tags = new Set(suites.map((suite) => suite.against).filter(Boolean));
  const against = tags.size === 1 ? [...tags][0] : "their baselines";
  return (
    <Section title={`Suites against ${against}`} note="change in the mean score of the same cases, percentage points, 95% interval" sql={{ read: "overview" }} csv={() => saveCsv("suites", columns, suites)}>
      <Table label="Suites" rows={suites} columns={columns} rowKey={(row) => row.suite} empty={<Empty code="promptry run">No suite has run yet. A suite is a function with assertions; the second run is compared with the first.</Empty>} />
    </Section>
  );
}

const toneClass = (suite: OverviewSuite): string | undefined => ({ good: "good", bad: "bad" })[toneOf(suite.verdict) as string];

// --- what changed, and what it costs ---

const FEW = 8; // changes that are shown at once

function Feed({ changes }: { changes: NoticedChange[] }) {
  const [all, setAll] = useParam("changes");
  const shown = all ? changes : changes.slice(0, FEW);
  return (
    <Section
      title="What changed today"
      note="prompts, models, budgets, verdicts; the last 24 hours"
      tools={changes.length > FEW && <button type="button" className="link" aria-expanded={all === "all"} onClick={() => setAll(all ? null : "all")}>{all ? "Fewer" : `All ${changes.length} changes`}</button>}
      sql={{ read: "overview" }}
    >
      {changes.length ? (
        <ul className="feed">
          {shown.map((change, at) => {
            const [shape, tone] = markOf(change);
            return (
              <li key={`${change.at} ${at}`}>
                {change.at ? <time dateTime={change.at} title={utc(change.at)}>{isToday(change.at) ? clock(change.at) : day(change.at, { year: false })}</time> : <span className="dim now">now</span>}
                <span className={{ good: "good", bad: "bad", warn: "warn" }[tone as string] ?? "mid"}><Mark shape={shape} /></span>
                <span><Linked change={change} /></span>
                <span className="dim nowrap">{change.detail}</span>
              </li>
            );
          })}
        </ul>
      ) : (
        <Empty>Nothing changed in the last 24 hours: no run, no new version, no promotion, no budget near its limit.</Empty>
      )}
    </Section>
  );
}

const isToday = (at: string): boolean => day(at, { year: true }) === day(new Date().toISOString(), { year: true });

function markOf({ kind, text, state }: NoticedChange): [Shape, Tone] {
  const word = `${state ?? ""} ${text}`;
  if (kind === "budget") return /breach|pass|exceed/.test(word) ? ["triangle", "warn"] : ["diamond", "plain"];
  if (kind !== "run") return ["diamond", "plain"];
  if (/regressed|not pass|failed/.test(word)) return ["down", "bad"];
  if (/improved/.test(word)) return ["up", "good"];
  return ["tied", "plain"];
}

/** The sentence with the name in it, or before it, as a link to what changed. */
function Linked({ change }: { change: NoticedChange }) {
  const { text, name } = change;
  const link = linkOf(change);
  if (!name || !link) return <>{text}</>;
  const at = text.indexOf(name);
  if (at < 0) return <><a href={link}>{name}</a> {text}</>;
  return <>{text.slice(0, at)}<a href={link}>{name}</a>{text.slice(at + name.length)}</>;
}

function linkOf({ kind, name, link_id: id }: NoticedChange): string | null {
  if (kind === "run") return id ? href(`/run/${id}`) : href("/suite", { name });
  if (kind === "prompt" || kind === "promotion") return href("/prompt", { name, version: id });
  if (kind === "budget") return href("/budgets");
  if (kind === "model") return href("/calls", { model: name });
  return null;
}

function Modules({ modules, since }: { modules: ModuleSpend[]; since: string }) {
  const most = Math.max(0, ...modules.map((module) => module.cost_usd ?? 0));
  const columns: Column<ModuleSpend>[] = [
    { key: "module", head: "Module", sort: (row) => row.module, cell: (row) => (row.module ? <a href={href("/cost", { module: row.module })}>{row.module}</a> : <span className="dim">none</span>) },
    { key: "cost_usd", head: "$", num: true, sort: (row) => row.cost_usd, cell: (row) => money(row.cost_usd, { unit: false }) },
    { key: "bar", head: <span className="vh">Beside the most</span>, className: "w99", csv: false, cell: (row) => most > 0 && row.cost_usd != null && <Bar share={row.cost_usd / most} label={money(row.cost_usd)} /> },
    { key: "calls", head: "Calls", num: true, className: "dim", sort: (row) => row.calls, cell: (row) => number(row.calls) },
    { key: "per_thousand_usd", head: "$ per 1,000", num: true, className: "mid", sort: (row) => row.per_thousand_usd, cell: (row) => money(row.per_thousand_usd, { unit: false }) },
  ];
  return (
    <Section title="Spend by module" note={`${monthName(since)} so far`} sql={{ read: "overview" }} csv={() => saveCsv("modules", columns, modules)}>
      <Table label="Spend by module" className="spend" dense rows={modules} columns={columns} rowKey={(row) => row.module ?? ""} sortParam="modules" empty={<Empty code={'track_invocation("answer", usage=reply.usage, model=reply.model)'}>No call is recorded this month. One line after each call records its tokens and its cost.</Empty>} />
    </Section>
  );
}

