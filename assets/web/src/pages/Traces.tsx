import type { TraceItem } from "../api/types";
import { useFeed } from "../api/useFeed";
import { href, go } from "../app/address";
import { EndMark } from "../parts/EndMark";
import { counted, moment, number, percent } from "../parts/format";
import { Finding, Head, HeadWaiting } from "../parts/Head";
import { Pill } from "../parts/Mark";
import { Section } from "../parts/Section";
import { Empty, ErrorBox, Skeleton } from "../parts/States";
import type { Column } from "../parts/Table";
import { saveCsv, Table } from "../parts/Table";
import { Time } from "../parts/Time";

const CRUMBS = [{ text: "Traces" }];
const OPEN = `with promptry.trace("support.answer_ticket"):
    answer_ticket(ticket)   # every call in it, over await and threads with its context, becomes a part`;

type Row = TraceItem;

const seconds = (row: TraceItem): number | null => {
  const [from, to] = [moment(row.first_at), moment(row.last_at)];
  return from && to ? (to.getTime() - from.getTime()) / 1000 : null;
};

const COLUMNS: Column<Row>[] = [
  { key: "last_at", head: "Time", className: "dim", csv: (row) => row.last_at, cell: (row) => <Time at={row.last_at} show="list" /> },
  { key: "name", head: "Name", csv: (row) => row.name, cell: (row) => <a href={href(`/trace/${encodeURIComponent(row.trace_id)}`)}><b>{row.name ?? "without a name"}</b></a> },
  { key: "trace_id", head: "Trace", className: "mono dim wide", csv: (row) => row.trace_id, cell: (row) => row.trace_id },
  { key: "calls", head: "Calls", num: true, csv: (row) => row.calls, cell: (row) => number(row.calls) },
  { key: "tokens", head: "Tokens", num: true, className: "mid", csv: (row) => (row.tokens_in ?? 0) + (row.tokens_out ?? 0), cell: (row) => (row.tokens_in === null && row.tokens_out === null ? "–" : number((row.tokens_in ?? 0) + (row.tokens_out ?? 0))) },
  { key: "seconds", head: "Seconds", num: true, title: "from the end of its first call to that of its last", csv: seconds, cell: (row) => number(seconds(row), 2) },
  { key: "cost_usd", head: "Cost, ¢", num: true, csv: (row) => row.cost_usd, cell: (row) => <>{number(row.cost_usd === null ? null : row.cost_usd * 100, 3)}</> },
  { key: "state", head: <span className="vh">State</span>, csv: (row) => row.errors, cell: (row) => (row.errors ? <Pill shape="cross" tone="bad">{counted(row.errors, "error")}</Pill> : row.unpriced ? <Pill shape="ring" tone="warn">{number(row.unpriced)} unpriced</Pill> : null) },
];

export default function Traces() {
  const list = useFeed("traces", {});
  const { rows, total, first, more } = list;
  if (first.error && !first.data) return <><Head title="Traces" crumbs={CRUMBS} sentence="The traces could not be read." /><ErrorBox error={first.error} retry={() => void first.refetch()} /></>;
  if (!first.data) return <><HeadWaiting title="Traces" crumbs={CRUMBS} /><Skeleton rows={14} /></>;
  return (
    <>
      <Head title="Traces" crumbs={CRUMBS} sentence={<Sentence rows={rows} total={total ?? 0} />} why={<Why rows={rows} />} />
      <Section title="Traces" note="the newest first" sql={{ read: "traces", params: { limit: 100 } }} csv={() => saveCsv("traces", COLUMNS, rows)}>
        <Table
          label="All traces"
          rows={rows}
          columns={COLUMNS}
          rowKey={(row) => row.trace_id}
          onOpen={(row) => go(`/trace/${encodeURIComponent(row.trace_id)}`)}
          empty={<Empty code={OPEN}>No call is part of a trace yet. A trace shows where the time and the money of one answer went.</Empty>}
          foot={<tr><td colSpan={COLUMNS.length}><EndMark onSeen={list.older}>{list.loading ? "Reading more." : `${number(rows.length)} of ${number(total)} shown.${more ? " Scroll for more." : ""}`}</EndMark></td></tr>}
        />
        {list.error && <ErrorBox error={list.error} retry={list.older} />}
      </Section>
    </>
  );
}

function Sentence({ rows, total }: { rows: readonly Row[]; total: number }) {
  if (!rows.length) return <>No trace is recorded yet.</>;
  const failed = rows.filter((row) => row.errors).length;
  const of = rows.length < total ? `Of the newest ${number(rows.length)} of ${counted(total, "trace")}` : `Of ${counted(total, "trace")}`;
  return failed ? <>{of} <Finding tone="bad">{number(failed)} had a call that failed</Finding>.</> : <>{of} none had a call that failed.</>;
}

function Why({ rows }: { rows: readonly Row[] }) {
  const names = new Map<string, number>();
  for (const row of rows) names.set(row.name ?? "without a name", (names.get(row.name ?? "without a name") ?? 0) + (row.cost_usd ?? 0));
  const [dearest] = [...names].sort((a, b) => b[1] - a[1]);
  const sum = [...names.values()].reduce((all, cost) => all + cost, 0);
  if (!dearest || !sum) return null;
  const costs = rows.flatMap((row) => (row.cost_usd === null ? [] : [row.cost_usd])).sort((a, b) => a - b);
  return (
    <>
      Half of them cost at most {number((costs[Math.ceil(costs.length / 2) - 1] ?? 0) * 100, 2)} cents, the dearest {number((costs.at(-1) ?? 0) * 100, 2)}.
      {names.size > 1 && ` ${dearest[0]} took ${percent(dearest[1] / sum, 0)} of the money.`}
    </>
  );
}
