import type { SuiteItem } from "../api/types";
import { useRead } from "../api/useRead";
import { go, href } from "../app/address";
import { passRate, saidCounts } from "../parts/findings";
import { counted, listed, number, percent, score } from "../parts/format";
import { Finding, Head, HeadWaiting } from "../parts/Head";
import { Pill, Verdict } from "../parts/Mark";
import { RunButton } from "../parts/RunButton";
import { Section } from "../parts/Section";
import { Empty, Loaded } from "../parts/States";
import type { Column } from "../parts/Table";
import { saveCsv, Table } from "../parts/Table";
import { Time } from "../parts/Time";

const CRUMBS = [{ text: "Suites" }];

const COLUMNS: Column<SuiteItem>[] = [
  {
    key: "suite",
    head: "Suite",
    sort: (row) => row.suite,
    cell: (row) => <a href={href("/suite", { name: row.suite })} title={row.description ?? undefined}><b>{row.suite}</b></a>,
  },
  {
    key: "verdict",
    head: "Verdict",
    sort: (row) => row.verdict,
    cell: (row) => (row.runs ? <Verdict verdict={row.verdict} /> : <Pill>never ran</Pill>),
  },
  { key: "gate", head: "Gate", sort: (row) => (row.passed === null ? null : Number(row.passed)), cell: (row) => <Gate passed={row.passed} /> },
  {
    key: "pass_rate",
    head: "Passed, %",
    num: true,
    sort: (row) => passRate(row.counts),
    cell: (row) => <span title={saidCounts(row.counts)}>{percent(passRate(row.counts), 1, { unit: false })}</span>,
  },
  { key: "score", head: "Score", num: true, sort: (row) => row.score, cell: (row) => score(row.score, 3) },
  { key: "cases", head: "Cases", num: true, className: "mid", sort: (row) => row.counts?.cases, cell: (row) => number(row.counts?.cases) },
  { key: "errors", head: "Errors", num: true, sort: (row) => row.counts?.error, cell: (row) => <span className={row.counts?.error ? "warn" : "dim"}>{number(row.counts?.error)}</span> },
  { key: "runs", head: "Runs", num: true, className: "mid", sort: (row) => row.runs, cell: (row) => number(row.runs) },
  {
    key: "prompt",
    head: "Prompt",
    csv: (row) => row.prompt_name && `${row.prompt_name}@${row.prompt_version}`,
    cell: (row) =>
      row.prompt_name ? (
        <a href={href("/prompt", { name: row.prompt_name, version: row.prompt_version })}>{row.prompt_name} {row.prompt_version}</a>
      ) : (
        <span className="dim">–</span>
      ),
  },
  {
    key: "last_at",
    head: "Last run",
    num: true,
    sort: (row) => row.last_at,
    cell: (row) => (row.last_run ? <a className="quiet" href={href(`/run/${row.last_run}`)}><Time at={row.last_at} /></a> : "–"),
  },
];

function Gate({ passed }: { passed: boolean | null }) {
  if (passed === null) return <span className="dim">–</span>;
  return passed ? <Pill shape="tick" tone="good" bare>passed</Pill> : <Pill shape="cross" tone="bad" bare>did not pass</Pill>;
}

export default function Suites() {
  const suites = useRead("suites", { limit: 500 });
  const items = suites.data?.items ?? [];
  const runnable = items.filter((item) => item.registered).map((item) => item.suite);
  return (
    <>
      {suites.data ? (
        <Head
          title="Suites"
          crumbs={CRUMBS}
          actions={runnable.length > 0 && <RunButton suites={runnable} text={runnable.length === 1 ? `Run ${runnable[0]}` : "Run all suites"} />}
          sentence={<Answer items={items} />}
          why={<Why items={items} total={suites.data.total} />}
        />
      ) : (
        <HeadWaiting title="Suites" crumbs={CRUMBS} />
      )}
      <Section title="Suites" note="the newest run of each" sql={{ read: "suites" }} csv={items.length ? () => saveCsv("suites", COLUMNS, items) : undefined}>
        <Loaded query={suites} rows={8}>
          {() => (
            <Table
              label="Suites"
              rows={items}
              columns={COLUMNS}
              rowKey={(row) => row.suite}
              onOpen={(row) => go("/suite", { name: row.suite })}
              empty={<Empty code="promptry init">A suite is a function with assertions; promptry init writes a first one, and promptry run runs it.</Empty>}
            />
          )}
        </Loaded>
      </Section>
    </>
  );
}

function Answer({ items }: { items: SuiteItem[] }) {
  if (!items.length) return <>No suite is known yet.</>;
  const regressed = items.filter((item) => item.verdict === "regressed").map((item) => item.suite);
  if (regressed.length) {
    return <>{regressed.length} of {counted(items.length, "suite")} regressed in the newest run: <Finding tone="bad">{listed(regressed.slice(0, 3))}</Finding>.</>;
  }
  const failed = items.filter((item) => item.passed === false).map((item) => item.suite);
  if (failed.length) return <>{failed.length} of {counted(items.length, "suite")} did not pass: <Finding tone="bad">{listed(failed.slice(0, 3))}</Finding>.</>;
  return <>{items.length === 1 ? `${items[0]?.suite} did not regress` : `None of ${counted(items.length, "suite")} regressed`} in the newest run.</>;
}

function Why({ items, total }: { items: SuiteItem[]; total: number }) {
  const runs = items.reduce((sum, item) => sum + item.runs, 0);
  const cases = items.reduce((sum, item) => sum + (item.counts?.cases ?? 0), 0);
  const never = items.filter((item) => !item.runs).length;
  return (
    <>
      {counted(runs, "run")} of {counted(cases, "case")} are in the store{never > 0 && `; ${counted(never, "suite")} never ran`}.
      {total > items.length && ` The first ${number(items.length)} of ${number(total)} suites are shown.`}
    </>
  );
}
