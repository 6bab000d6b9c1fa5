import type { ReactNode } from "react";
import { useMemo } from "react";
import { useParams as useRouteParams } from "wouter";
import type { Manifest, Run, RunCheck } from "../../api/types";
import { useRead } from "../../api/useRead";
import { href, setParams, useParam, useParams } from "../../app/address";
import { Stats } from "../../parts/Bars";
import type { CaseRow } from "../../parts/cases";
import { isSameActual, rowsOf, seen, textOf, toldRepeat } from "../../parts/cases";
import { Words } from "../../parts/Diff";
import { countedAs, passRate, saidComparison, saidPart, shortCommit } from "../../parts/findings";
import { counted, duration, money, number, percent, score } from "../../parts/format";
import { Finding, Head, HeadWaiting } from "../../parts/Head";
import { Pill, State, Verdict, verdictOf } from "../../parts/Mark";
import { Repeats } from "../../parts/Repeats";
import { Section } from "../../parts/Section";
import { Empty, ErrorBox, Skeleton } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { saveCsv, Table } from "../../parts/Table";
import { Tabs } from "../../parts/Tabs";
import { Time } from "../../parts/Time";
import "../cases.css";

export default function RunPage() {
  const { id = "" } = useRouteParams<{ id: string }>();
  const query = useRead("run", { id });
  const { data, error } = query;
  const crumbs = [{ text: "Suites", href: href("/suites") }, ...(data ? [{ text: data.suite, href: href("/suite", { name: data.suite }) }] : []), { text: `Run ${id}` }];
  if (data) return <Known run={data} crumbs={crumbs} />;
  if (error) {
    return (
      <>
        <Head title={`Run ${id}`} crumbs={crumbs} sentence={<>Run {id} could not be read.</>} />
        <ErrorBox error={error} retry={() => void query.refetch()} />
      </>
    );
  }
  return (
    <>
      <HeadWaiting title={`Run ${id}`} crumbs={crumbs} />
      <Skeleton rows={1} height={92} />
      <Skeleton rows={10} height={30} />
    </>
  );
}

function Known({ run, crumbs }: { run: Run; crumbs: { text: ReactNode; href?: string }[] }) {
  const { counts, manifest } = run;
  const rate = passRate(counts);
  const judged = manifest.gate?.comparison;
  const [one, many] = countedAs(manifest.repeats);
  return (
    <>
      <Head
        title={`Run ${run.id}`}
        crumbs={crumbs}
        actions={
          <>
            <span className="dim nowrap"><Time at={run.date} show="full" /></span>
            {run.baseline_id && <a className="btn go" href={href("/compare", { run: run.id, baseline: run.baseline_id })}>Compare with {manifest.gate?.compare ?? `run ${run.baseline_id}`}</a>}
          </>
        }
        sentence={<Answer run={run} />}
        why={
          <>
            {judged?.delta != null ? <>{saidComparison(judged)} Judged against {manifest.gate?.compare ?? "its baseline"}, <a href={href(`/run/${judged.baseline?.id ?? run.baseline_id}`)}>run {judged.baseline?.id ?? run.baseline_id}</a>.</> : run.baseline_id ? <>Judged against {manifest.gate?.compare ?? "its baseline"}, <a href={href(`/run/${run.baseline_id}`)}>run {run.baseline_id}</a>: {verdictOf(run.verdict).word}. </> : <>Nothing stood there to judge this run against.</>}
            {counts.error > 0 && counts.pass + counts.fail > 0 && <> {counted(counts.error, one, many)} ended in an error and {counts.error === 1 ? "counts" : "count"} neither way.</>}{run.partial && ` ${saidPart(run.partial)}`}
          </>
        }
      />
      <Stats
        items={[
          { label: "Verdict", value: <Verdict verdict={run.verdict} />, more: run.passed === null ? "no gate" : run.passed ? "gate passed" : "gate did not pass", tone: undefined },
          { label: one === "try" ? "Tries passed" : "Cases passed", value: percent(rate), unit: `of ${number(counts.pass + counts.fail)}`, more: `${number(counts.fail)} failed` },
          { label: "Score", value: score(run.score, 3), more: `mean of ${counted(counts.scored, one, many)}` },
          { label: "Checks", value: number(counts.checks), more: manifest.repeats && manifest.repeats > 1 ? `${manifest.repeats} repeats a case` : "one try a case" },
          { label: "Errors", value: number(counts.error), tone: counts.error ? "warn" : undefined, more: counts.skipped ? `${number(counts.skipped)} skipped` : "none skipped" },
          { label: "Cost", value: money(run.cost_usd), more: run.cost_usd === null ? "no call recorded a cost" : `${money(run.cost_usd / Math.max(1, counts.cases))} a case` },
        ]}
      />
      <Cases run={run} />
      <Section title="What ran" note="what we record of it; a difference to its baseline is named on Compare" sql={{ read: "run", params: { id: run.id } }}>
        <What run={run} manifest={manifest} />
      </Section>
    </>
  );
}

function Answer({ run }: { run: Run }) {
  const { counts } = run;
  const [one, many] = countedAs(run.manifest.repeats);
  const of = `${number(counts.fail)} of ${counted(counts.pass + counts.fail, one, many)} fail`;
  const name = `Run ${run.id} of ${run.suite}`;
  if (!counts.pass && !counts.fail && counts.error) return <>{name} has no score: <Finding tone="warn">{counts.error === 1 ? "its one" : `all ${number(counts.error)}`} {counts.error === 1 ? one : many} ended in an error</Finding>.</>;
  if (!run.complete) return <>{name} is <Finding tone="warn">not complete</Finding>: {of} so far.</>;
  if (run.verdict === "regressed") return <>{name} <Finding tone="bad">regressed</Finding>: {of}.</>;
  if (run.passed === false) return <>{name} <Finding tone="bad">did not pass</Finding>: {of}.</>;
  if (run.verdict === "improved") return <>{name} <Finding tone="good">improved</Finding>: {of}.</>;
  if (!counts.fail) return <>{name} passed: all of {counted(counts.pass, one, many)} hold.</>;
  return <>{name} passed its gate: {of}.</>;
}

const SHOWS = ["failures", "errors", "all"] as const;

function Cases({ run }: { run: Run }) {
  const rows = useMemo(() => rowsOf(run), [run]);
  const failures = useMemo(() => rows.filter((row) => row.state === "fail" || row.state === "mixed"), [rows]);
  const errors = useMemo(() => rows.filter((row) => row.state === "error"), [rows]);
  const [show, setShow] = useParam("show", failures.length ? "failures" : errors.length ? "errors" : "all");
  const [text, setText] = useParam("q");
  const chosen = useParams().get("case");
  const among = show === "failures" ? failures : show === "errors" ? errors : rows;
  const shown = useMemo(() => {
    const wanted = text.toLowerCase();
    return wanted ? among.filter((row) => `${row.case} ${row.reason ?? ""} ${row.group ?? ""}`.toLowerCase().includes(wanted)) : among;
  }, [among, text]);
  const row = rows.find((one) => one.case === chosen) ?? shown[0];
  const counts = { failures: failures.length, errors: errors.length, all: rows.length };
  return (
    <Section
      title="Cases"
      note={text ? `${number(shown.length)} of ${number(among.length)} match` : undefined}
      tools={
        <>
          <input className="find" type="search" data-filter aria-label="Find a case" placeholder="Find a case" value={text} onChange={(event) => setText(event.target.value)} />
          <Tabs label="Which cases" value={show} onChange={setShow} choices={SHOWS.map((value) => ({ value, text: `${value[0]?.toUpperCase()}${value.slice(1)} ${number(counts[value])}` }))} />
        </>
      }
      sql={{ read: "run", params: { id: run.id } }}
      csv={() => saveCsv(`run-${run.id}-cases`, COLUMNS, shown)}
    >
      <div className="cols c-flip">
        <Table
          label="Cases"
          dense
          rows={shown}
          columns={COLUMNS}
          rowKey={(one) => one.case}
          selected={row?.case ?? null}
          follow onOpen={(one) => setParams({ case: one.case })}
          empty={<Empty>{text ? "No case here holds that text." : show === "failures" ? "No case failed." : show === "errors" ? "No case ended in an error." : "This run has no cases."}</Empty>}
        />
        {row && <Case row={row} />}
      </div>
    </Section>
  );
}

const checksOf = (row: CaseRow): RunCheck[] => row.repeats.flatMap((one) => one.checks);

const COLUMNS: Column<CaseRow>[] = [
  { key: "state", head: "State", sort: (row) => row.state, cell: (row) => <State state={row.state} /> },
  { key: "case", head: "Case", className: "mono clip", sort: (row) => row.case, cell: (row) => <span title={row.reason ?? undefined}>{row.case}</span> },
  { key: "checks", head: "Checks held", num: true, className: "mid wide", csv: (row) => checksOf(row).filter((check) => check.passed).length, cell: (row) => `${checksOf(row).filter((check) => check.passed).length} of ${checksOf(row).length}` },
  { key: "score", head: "Score", num: true, sort: (row) => row.score, cell: (row) => score(row.score) },
  { key: "latency_ms", head: "Latency", num: true, className: "dim", sort: (row) => row.latency_ms, cell: (row) => duration(row.latency_ms) },
  { key: "reason", head: "Reason", className: "none", csv: (row) => row.reason, cell: () => null },
];

function Case({ row }: { row: CaseRow }) {
  const told = toldRepeat(row);
  return (
    <div className="case">
      <div className="h3">
        <b className="mono ink">{row.case}</b>
        <State state={row.state} />
        {row.group && <span>group {row.group}</span>}
        <span className="right keysof"><kbd>j</kbd><kbd>k</kbd></span>
      </div>
      {row.repeats.length > 1 && <p className="cap"><Repeats cases={row.repeats} /></p>}
      {row.reason && !told?.checks.length && <p className="out">{row.reason}</p>}
      {told?.checks.map((check, at) => <Check key={at} check={check} before={told.checks[at - 1]} />)}
      <Judged row={row} />
    </div>
  );
}

function Judged({ row }: { row: CaseRow }) {
  const others = row.repeats.length - 1;
  return others > 0 ? <p className="cap">Shown is repeat {(toldRepeat(row)?.repeat ?? 0) + 1} of {row.repeats.length}.</p> : null;
}

const SIMILAR = 3; // how many times longer one text may be for its words to be compared with the other's

function Check({ check, before }: { check: RunCheck; before: RunCheck | undefined }) {
  const [expected, actual] = [seen(textOf(check.details?.expected)), seen(textOf(check.details?.actual))];
  const same = isSameActual(check, before);
  const alike = expected !== null && actual !== null && Math.max(expected.length, actual.length) <= SIMILAR * Math.min(expected.length, actual.length) && expected !== actual;
  return (
    <div className="check">
      <div className="h3">
        <b className="ink">{check.assertion_type}</b>
        <State state={check.passed !== null ? (check.passed ? "pass" : "fail") : check.assertion_type === "error" ? "error" : "skipped"} bare />
        {check.score !== null && <span>score {score(check.score)}</span>}
        {check.latency_ms !== null && <span>{duration(check.latency_ms)}</span>}
      </div>
      {check.details?.reason && !check.passed && <p className="out reason">{String(check.details.reason)}</p>}
      {(expected !== null || (actual !== null && !same)) && (
        <div className="pair">
          {expected !== null && <div><h3>Expected</h3><p className="out text">{alike ? <Words before={expected} now={actual} side="before" /> : expected}</p></div>}
          {actual !== null && (
            <div>
              <h3>Actual</h3>
              {same && !alike ? <p className="out dim">the same text as above</p> : <p className="out text">{alike ? <Words before={expected} now={actual} side="now" /> : actual}</p>}
            </div>
          )}
        </div>
      )}
    </div>
  );
}

function What({ run, manifest }: { run: Run; manifest: Manifest }) {
  const prompts = Object.entries(manifest.prompts ?? {});
  const parameters = Object.entries(manifest.parameters ?? {});
  const rows: [string, ReactNode][] = [
    ["Prompt", prompts.length ? prompts.map(([name, { version }]) => <a key={name} className="item" href={href("/prompt", { name, version })}>{name} {version}</a>) : run.prompt_name ? `${run.prompt_name} ${run.prompt_version ?? ""}` : null],
    ["Model", manifest.model ?? run.model],
    ["Parameters", parameters.length ? <span className="mono">{parameters.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(" ")}</span> : null],
    ["Dataset", manifest.dataset && <a href={href("/dataset", { name: manifest.dataset.split("@")[0], version: manifest.dataset.split("@")[1] })}>{manifest.dataset}</a>],
    ["Commit", manifest.git_commit && <><span className="mono">{shortCommit(manifest.git_commit)}</span>{manifest.git_dirty && <> <Pill shape="triangle" tone="warn" bare>with changes not committed</Pill></>}</>],
    ["Judge", manifest.judge ? <span className="mono">{textOf(manifest.judge)}</span> : null],
    ["Embedder", manifest.embedder ? textOf(manifest.embedder) : null],
    ["Source", manifest.source && <span className="mono">{manifest.source.file}:{manifest.source.line}</span>],
    ["Versions", manifest.versions && Object.entries(manifest.versions).map(([name, version]) => `${name} ${version}`).join(", ")],
  ];
  return (
    <dl className="kv what">
      {rows.map(([name, value]) => (
        <div key={name} className="pairline"><dt>{name}</dt><dd>{value || <span className="dim">not recorded</span>}</dd></div>
      ))}
    </dl>
  );
}
