import type { ReactNode } from "react";
import { useMemo } from "react";
import type { Suite, SuiteRun } from "../../api/types";
import { useRead } from "../../api/useRead";
import { go, href, useParam, useParams } from "../../app/address";
import { differencesOf, saidChange, shortCommit, toneOf, saidPart } from "../../parts/findings";
import { capital, counted, day, listed, money, number, percent, percentInterval, score } from "../../parts/format";
import { Finding, Head, HeadWaiting } from "../../parts/Head";
import { Pill, Verdict } from "../../parts/Mark";
import { RunButton } from "../../parts/RunButton";
import { Section } from "../../parts/Section";
import { Empty, ErrorBox, Skeleton } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { saveCsv, Table } from "../../parts/Table";
import { Tabs } from "../../parts/Tabs";
import { Time } from "../../parts/Time";
import { Bisect } from "./Bisect";
import { Heat, HeatKey, History } from "./History";
import { changeIndex, meanRate } from "./timeline";
import "./suite.css";

const WINDOWS = [
  { value: "30", text: "30 runs" },
  { value: "90", text: "90" },
  { value: "1000", text: "All", title: "at most 1,000 runs" },
];

export default function SuitePage() {
  const name = useParams().get("name") ?? "";
  const [window, setWindow] = useParam("window", "30");
  const params = { name, window };
  const query = useRead("suite", params, { keep: true });
  useRead("suites", { limit: 500 }); // asked for at the same time, so that the button which runs it moves nothing
  const crumbs = [{ text: "Suites", href: href("/suites") }, { text: name }];
  const { data, error } = query;
  if (!data || data.suite !== name) {
    return error ? (
      <>
        <Head title={name} crumbs={crumbs} sentence={<>The history of {name || "a suite"} could not be read.</>} />
        <ErrorBox error={error} retry={() => void query.refetch()} />
      </>
    ) : (
      <>
        <HeadWaiting title={name} crumbs={crumbs} />
        <Skeleton rows={1} height={300} />
        <Skeleton rows={12} height={16} />
      </>
    );
  }
  return <Known suite={data} params={params} window={window} setWindow={setWindow} crumbs={crumbs} />;
}

function Known({ suite, params, window, setWindow, crumbs }: {
  suite: Suite;
  params: { name: string; window: string };
  window: string;
  setWindow: (value: string) => void;
  crumbs: { text: ReactNode; href?: string }[];
}) {
  const [bisect, setBisect] = useParam("bisect");
  const [metrics, setMetrics] = useParam("metrics");
  const [steady, setSteady] = useParam("steady");
  const moved = useMemo(() => suite.cases.filter((found) => found.state !== "steady"), [suite]);
  const shown = steady === "1" ? suite.cases : moved;
  const suites = useRead("suites", { limit: 500 });
  const change = useMemo(() => changeIndex(suite), [suite]);
  const registered = suites.data?.items.find((item) => item.suite === suite.suite)?.registered;
  const { runs, baseline } = suite;
  const newest = runs[runs.length - 1];
  if (!newest) {
    return (
      <>
        <Head title={suite.suite} crumbs={crumbs} actions={registered && <RunButton suites={[suite.suite]} text={`Run ${suite.suite}`} go />} sentence={<>{suite.suite} has no run yet.</>} why={suite.description} />
        <Empty code={`promptry run ${suite.suite}`}>The first run is the baseline of those after it.</Empty>
      </>
    );
  }
  const [first, last] = [day(runs[0]?.date), day(newest.date)];
  const against = baseline?.tag ?? (baseline && `run ${baseline.id}`);
  return (
    <>
      <Head
        title={suite.suite}
        crumbs={crumbs}
        actions={
          <>
            <Tabs label="How many runs" choices={WINDOWS} value={window} onChange={setWindow} />
            {registered && <RunButton suites={[suite.suite]} text="Run" />}
            <button type="button" className="btn" aria-pressed={bisect === "1"} onClick={() => setBisect(bisect === "1" ? null : "1")}>Bisect</button>
            {baseline && <a className="btn go" href={href("/compare", { run: newest.id, baseline: baseline.id })}>Compare {newest.id} with {against}</a>}
          </>
        }
        sentence={<Answer suite={suite} change={change} newest={newest} />}
        why={<Why suite={suite} change={change} newest={newest} />}
      />
      {bisect === "1" && <Bisect name={suite.suite} cases={suite.cases.map((found) => found.case)} />}
      <Section
        title="History"
        note={`each point is one run; ${counted(runs.length, "run")}, ${first === last ? first : `${first} to ${last}`}`}
        tools={suite.metrics.length > 0 && <button type="button" className="link" aria-pressed={metrics === "1"} onClick={() => setMetrics(metrics === "1" ? null : "1")}>By metric</button>}
        sql={[{ read: "suite", params }, { read: "drift", params: { suite: suite.suite, window } }]}
        csv={() => saveCsv(`${suite.suite}-runs`, RUNS, runs)}
      >
        <History suite={suite} change={change} metrics={metrics === "1"} />
      </Section>
      <Section
        title="Cases by run"
        note={`${number(shown.length)} of ${counted(suite.cases_total, "case")} shown${steady === "1" ? "" : ": those that are not steady"}, newest breaks first`}
        tools={
          <>
            <HeatKey />
            <button type="button" className="link" aria-pressed={steady === "1"} onClick={() => setSteady(steady === "1" ? null : "1")}>Steady too</button>
          </>
        }
        sql={{ read: "suite", params }}
        csv={() => saveCsv(`${suite.suite}-cases`, caseColumns(runs), suite.cases)}
      >
        {shown.length ? <Heat suite={suite} cases={shown} change={change} /> : <Empty>{suite.cases_total ? `All ${number(suite.cases_total)} cases are steady: none failed in these runs.` : "No case is in these runs."}</Empty>}
      </Section>
      <Section title="Runs" note="newest first" sql={{ read: "suite", params }} csv={() => saveCsv(`${suite.suite}-runs`, RUNS, runs)}>
        <Table label="Runs" rows={runs.toReversed()} columns={RUNS} rowKey={(row) => row.id} onOpen={(row) => go(`/run/${row.id}`)} />
      </Section>
    </>
  );
}

// --- the sentence ---

function Answer({ suite, change, newest }: { suite: Suite; change: number | null; newest: SuiteRun }) {
  const step = suite.drift?.change_point;
  if (change !== null && step) {
    const fell = step.after < step.before;
    const tone = fell ? "bad" : "good";
    if (!differencesOf(step.changed).length) {
      return <>{suite.suite} <Finding tone={tone}>{fell ? "fell" : "rose"} at run {step.run}</Finding>; nothing we record changed there.</>;
    }
    return <>{suite.suite} {fell ? "fell" : "rose"} at run {step.run}, when <Finding tone={tone}>{whatChanged(suite)}</Finding>.</>;
  }
  const rate = `${percent(newest.pass_rate)} of ${counted(newest.n, "case")}`;
  if (!newest.scored) return <>{suite.suite} could not be scored in run {newest.id}: {counted(newest.counts?.error, "case")} ended in an error.</>;
  if (!newest.complete) return <>{suite.suite}: <Finding tone="warn">run {newest.id} was not finished</Finding>; {rate} that it came to passed.</>;
  if (newest.verdict === "regressed") return <>{suite.suite} <Finding tone="bad">regressed in run {newest.id}</Finding>: {rate} passed.</>;
  if (newest.verdict === "improved") return <>{suite.suite} <Finding tone="good">improved in run {newest.id}</Finding>: {rate} passed.</>;
  if (suite.runs.length === 1) return <>{suite.suite} ran once: {rate} passed.</>;
  return <>{suite.suite} is steady over {counted(suite.runs.length, "run")}: {rate} passed in the newest.</>;
}

function whatChanged(suite: Suite): string {
  const found = differencesOf(suite.drift?.change_point?.changed);
  return found.map(([kind, change]) => {
    const text = saidChange(change);
    const what = kind === "prompt" ? text.replace(/ (\S+) to /, " went from $1 to ") : `the ${kind} went from ${text}`;
    return what;
  }).join(" and ");
}

function Why({ suite, change, newest }: { suite: Suite; change: number | null; newest: SuiteRun }) {
  const { runs, drift, baseline } = suite;
  if (change !== null) {
    const [before, since] = [meanRate(runs, 0, change), meanRate(runs, change, runs.length)];
    const changed = drift?.change_point?.changed;
    const at = runs[change];
    const recorded = { prompt: at?.prompt_version, model: at?.model, dataset: at?.dataset, commit: at?.commit };
    const same = (["prompt", "model", "dataset", "commit"] as const).filter((kind) => changed && !changed[kind] && recorded[kind] != null);
    return (
      <>
        The {counted(since.n, "run")} since then average {percent(since.mean)}, the {number(before.n)} before {percent(before.mean)} of {counted(newest.n, "case")} passed.
        {same.length > 0 && ` ${capital(listed(same))} did not change at that run.`}
      </>
    );
  }
  const judged = newest.verdict && baseline ? `Judged against ${baseline.tag ?? `run ${baseline.id}`}: ${newest.verdict.replaceAll("_", " ")}. ` : "";
  const interval = newest.interval ? `95% interval ${percentInterval(newest.interval)}. ` : "";
  return <>{judged}{interval}{drift?.reason === "not enough data" ? "Too few runs to see a drift." : drift?.reason && `${capital(drift.reason)}.`} {suite.description}</>;
}

// --- the tables ---

const RUNS: Column<SuiteRun>[] = [
  { key: "id", head: "Run", sort: (row) => Number(row.id), csv: (row) => row.id, cell: (row) => <a href={href(`/run/${row.id}`)}><b>{row.id}</b></a> },
  { key: "date", head: "When", sort: (row) => row.date, cell: (row) => <Time at={row.date} show="full" /> },
  { key: "verdict", head: "Verdict", sort: (row) => row.verdict, csv: (row) => row.verdict ?? (row.complete ? null : "not finished"), cell: (row) => (row.complete ? <><Verdict verdict={row.verdict} />{row.partial && <> <Pill bare title={saidPart(row.partial) || undefined}>some cases</Pill></>}</> : <Pill shape="triangle" tone="warn">not finished</Pill>) },
  { key: "pass_rate", head: "Passed, %", num: true, sort: (row) => row.pass_rate, cell: (row) => <span title={`${row.cases_passed} of ${row.n}`} className={toneOf(row.verdict) === "bad" ? "bad" : undefined}>{percent(row.pass_rate, 1, { unit: false })}</span> },
  { key: "interval", head: "95% interval, %", num: true, className: "mid", csv: (row) => row.interval?.join(" to "), cell: (row) => percentInterval(row.interval).replace("%", "") },
  { key: "score", head: "Score", num: true, sort: (row) => row.score, cell: (row) => score(row.score, 3) },
  { key: "cases", head: "Cases", num: true, className: "dim", sort: (row) => row.counts?.cases, cell: (row) => number(row.counts?.cases) },
  { key: "errors", head: "Errors", num: true, className: "wide", sort: (row) => row.counts?.error, cell: (row) => <span className={row.counts?.error ? "warn" : "dim"}>{number(row.counts?.error)}</span> },
  { key: "prompt", head: "Prompt", sort: (row) => row.prompt_name && `${row.prompt_name}@${row.prompt_version}`, cell: (row) => (row.prompt_name ? `${row.prompt_name} ${row.prompt_version ?? ""}` : "–") },
  { key: "model", head: "Model", className: "mid", sort: (row) => row.model, cell: (row) => row.model ?? "–" },
  { key: "commit", head: "Commit", className: "mono dim wide", sort: (row) => row.commit, cell: (row) => (row.commit ? `${shortCommit(row.commit)}${row.commit_dirty ? ", dirty" : ""}` : "–") },
  { key: "cost_usd", head: "Cost, $", num: true, sort: (row) => row.cost_usd, cell: (row) => money(row.cost_usd, { unit: false }) },
];

const caseColumns = (runs: SuiteRun[]): Column<Suite["cases"][number]>[] => [
  { key: "case", head: "Case", cell: (row) => row.case, csv: (row) => row.case },
  { key: "state", head: "State", cell: (row) => row.state, csv: (row) => row.state },
  ...runs.map((run, at): Column<Suite["cases"][number]> => ({ key: `run ${run.id}`, head: run.id, cell: (row) => row.cells[at], csv: (row) => row.cells[at] })),
];

