import type { CallCount, CallItem } from "../../api/types";
import { routeOf } from "../../api/client";
import { useFeed } from "../../api/useFeed";
import { useRead } from "../../api/useRead";
import { href, setParams, useParam, useParams } from "../../app/address";
import { EndMark } from "../../parts/EndMark";
import { clock, counted, day, dayAndClock, duration, money, number } from "../../parts/format";
import { Finding, Head, HeadWaiting } from "../../parts/Head";
import { Pill } from "../../parts/Mark";
import { Model } from "../../parts/Model";
import { Rated } from "../../parts/Rated";
import { saveExport } from "../../parts/save";
import { Section } from "../../parts/Section";
import { Empty, ErrorBox, Skeleton } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { Table } from "../../parts/Table";
import { Time } from "../../parts/Time";
import { CallDrawer, cents } from "./CallDrawer";
import "./calls.css";
import type { Filter } from "./filter";
import { askedOf, filterOf, paramsOf, saidSpan } from "./filter";
import { Facets, FilterLine } from "./FilterLine";
import { bucketName, Rate } from "./Rate";

const TITLE = "Calls";

export default function Calls() {
  const params = useParams();
  const filter = filterOf(params);
  const [since, until] = [params.get("since"), params.get("until")];
  const [open, setOpen] = useParam("call");
  const asked = { ...askedOf(filter), ...(since ? { hours: null, days: null, since, until } : {}) };
  const counts = !filter.search && !filter.request; // a search is not counted: it would read every text
  const count = useRead("countCalls", asked, { enabled: counts, keep: true });
  const calls = useFeed("calls", asked);
  const fault = counts ? count.error : calls.first.error;
  const change = (next: Filter) => setParams({ ...paramsOf(next), since: null, until: null });
  return (
    <>
      {fault && !count.data ? <Head title={TITLE} crumbs={[{ text: TITLE }]} sentence={fault.status === 400 ? "This filter cannot be asked for." : "The calls could not be read."} why={fault.status === 400 ? "Take a token away, or write it anew." : undefined} /> : <Answer filter={filter} since={since} until={until} count={counts ? count.data : undefined} counts={counts} calls={calls} />}
      <FilterLine filter={filter} count={counts ? count.data : undefined} onChange={change} />
      {since && (
        <p className="cap foot2">From {dayAndClock(since)} to {until ? dayAndClock(until) : "now"}. <button type="button" className="link" onClick={() => setParams({ since: null, until: null })}>Show the whole time again</button></p>
      )}
      {counts && (count.data ? <Facets filter={filter} count={count.data} onChange={change} /> : !fault && <Skeleton rows={1} height={28} />)}
      {counts && count.data && count.data.sum.calls > 0 && (
        <Section title={`Calls ${bucketName(count.data.bucket_s).startsWith("a") ? bucketName(count.data.bucket_s) : `in ${bucketName(count.data.bucket_s)}`}`} note="errors at the foot" sql={{ read: "countCalls", params: asked }}>
          <Rate count={count.data} onPick={(from, to) => setParams({ since: from, until: to })} />
        </Section>
      )}
      <Ledger near={counts && (count.data?.sum.calls ?? 0) > 0} calls={calls} asked={asked} filter={filter} open={open} onOpen={setOpen} change={change} />
      {open && <CallDrawer id={open} onClose={() => setOpen(null)} />}
    </>
  );
}

type CallFeed = ReturnType<typeof useFeed<"calls">>;

function Answer({ filter, since, until, count, counts, calls }: {
  filter: Filter;
  since: string | null;
  until: string | null;
  count: CallCount | undefined;
  counts: boolean;
  calls: CallFeed;
}) {
  const crumbs = [{ text: TITLE }, ...(count ? [{ text: <span className="dim">{dayAndClock(count.since)} to {day(count.since) === day(count.until) ? clock(count.until) : dayAndClock(count.until)}</span> }] : [])];
  const actions = <button type="button" className="btn" onClick={() => void saveExport(routeOf("calls", askedOf(filter)).replace("/api/calls", "/api/export/calls"), "csv", "calls.csv")}>CSV</button>;
  if (!counts) {
    const what = filter.search ? <>hold “{filter.search}”</> : <>are of request <span className="mono">{filter.request}</span></>;
    return <Head title={TITLE} crumbs={crumbs} actions={actions} sentence={<>{calls.total === null ? `${number(calls.rows.length)}${calls.more ? " or more" : ""}` : number(calls.total)} calls {what}.</>} why={filter.search ? "The newest are looked through first; scroll on to look further back." : undefined} />;
  }
  if (!count) return <HeadWaiting title={TITLE} crumbs={crumbs} />;
  const { sum } = count;
  const when = since ? `from ${clock(since)} to ${until ? clock(until) : "now"}` : saidSpan(filter.last);
  return (
    <Head
      title={TITLE}
      crumbs={crumbs}
      actions={actions}
      sentence={
        sum.calls ? (
          <>
            {counted(sum.calls, "call")} {when}{sum.cost_usd === null ? ";" : <> cost <span className="nowrap">{money(sum.cost_usd)};</span></>}{" "}
            {sum.errors ? <Finding tone="bad">{sum.errors === sum.calls && sum.calls > 1 ? "all" : number(sum.errors)} failed.</Finding> : "none failed."}
          </>
        ) : (
          <NoneFits when={when} filter={filter} />
        )
      }
      why={sum.calls > 0 && <Why count={count} filter={filter} />}
    />
  );
}

function NoneFits({ when, filter }: { when: string; filter: Filter }) {
  const all = useRead("calls", { limit: 1 });
  if (all.data?.total === 0) return <>No call is recorded yet.</>;
  const plain = Object.entries(filter).every(([key, value]) => key === "last" || (key === "origin" && value === "app"));
  return plain ? <>No call of production {when === "in all" ? "is recorded" : when}.</> : <>No call {when === "in all" ? "" : when} fits.</>;
}

function Why({ count, filter }: { count: CallCount; filter: Filter }) {
  const { sum } = count;
  const failed = useRead("countCalls", { ...askedOf(filter), status: "error" }, { enabled: sum.errors > 0 && filter.status !== "error", keep: true });
  const blame = (failed.data?.facets.model ?? []).filter((one) => one.value);
  const [worst] = blame;
  return (
    <>
      {sum.errors > 0 && worst && (worst.calls === sum.errors ? `${sum.errors === 1 ? "The one that failed is" : `All ${number(sum.errors)} are`} of ${worst.value}. ` : `${number(worst.calls)} of them are of ${worst.value}. `)}
      {sum.unpriced > 0 && <>{counted(sum.unpriced, "call")} {sum.unpriced === 1 ? "has" : "have"} no price and {sum.unpriced === 1 ? "counts" : "count"} as nothing here. </>}
      Half were answered within {duration(sum.p50_ms)}, 95% within {duration(sum.p95_ms)}.
    </>
  );
}

const COLUMNS: Column<CallItem>[] = [
  { key: "time", head: "Time", className: "dim", cell: (row) => <Time at={row.created_at} show="list" /> },
  { key: "prompt", head: "Prompt", className: "prompt-cell", cell: (row) => <>{row.prompt_name} <span className="dim">{row.prompt_version}</span></> },
  { key: "model", head: "Model", cell: (row) => <Model model={row.model} /> },
  { key: "tokens_in", head: "Tokens in", num: true, cell: (row) => number(row.tokens_in) },
  { key: "tokens_out", head: "out", num: true, cell: (row) => number(row.tokens_out) },
  { key: "cost", head: "Cost, ¢", num: true, cell: (row) => (row.cost_usd === null ? (row.status === "error" && !row.tokens_in ? "–" : <span className="warn">unpriced</span>) : cents(row.cost_usd, 3)) },
  { key: "seconds", head: "Seconds", num: true, cell: (row) => <span className={row.status === "error" ? "bad" : undefined}>{number(row.latency_ms === null ? null : row.latency_ms / 1000, 2)}</span> },
  { key: "mark", head: <span className="vh">Outcome and rating</span>, className: "mark-cell", cell: (row) => (row.status === "error" ? <Pill shape="cross" tone="bad">error</Pill> : <Rated rating={row.rating} bare />) },
];

function Ledger({ calls, asked, filter, open, near, onOpen, change }: {
  calls: CallFeed;
  asked: Record<string, unknown>;
  filter: Filter;
  open: string;
  /** Whether a chart of the same calls stands above. */
  near: boolean;
  onOpen: (id: string) => void;
  change: (next: Filter) => void;
}) {
  const { rows, total, more, first } = calls;
  if (first.error && !first.data) return <ErrorBox error={first.error} retry={() => void first.refetch()} />;
  if (!first.data) return <Skeleton rows={14} height={30} />;
  const columns = filter.origin ? COLUMNS : [...COLUMNS.slice(0, 3), { key: "origin", head: "Origin", className: "dim wide", cell: (row: CallItem) => row.origin }, ...COLUMNS.slice(3)];
  const left = total === null ? (more ? "Scroll on to look further back." : "That is all there is.") : `${number(rows.length)} of ${number(total)} shown.${more ? " Scroll for more, or narrow the filter." : ""}`;
  return (
    <Section title="Ledger" note="the newest first" sql={{ read: "calls", params: asked as never }} className={near ? "near" : undefined}>
      <Table
        label="Calls"
        className="calls"
        dense
        rows={rows}
        columns={columns}
        rowKey={(row) => row.id}
        selected={open}
        onOpen={(row) => onOpen(row.id)}
        follow={open !== ""}
        empty={<NoCalls filter={filter} change={change} />}
        foot={<tr><td colSpan={columns.length}><EndMark onSeen={calls.older}>{calls.loading ? "Reading more." : left}</EndMark></td></tr>}
      />
      {calls.error && <ErrorBox error={calls.error} retry={calls.older} />}
    </Section>
  );
}

const RECORD = 'track_invocation("support/answer", usage=reply.usage, model=reply.model)';

function NoCalls({ filter, change }: { filter: Filter; change: (next: Filter) => void }) {
  const all = useRead("calls", { limit: 1 });
  if (!all.data) return <Skeleton rows={2} />;
  if (!all.data.total) return <Empty code={RECORD}>No call is recorded yet. One line after each call records its tokens, its cost and its latency.</Empty>;
  return (
    <Empty>
      None of the {counted(all.data.total, "recorded call")} fits{filter.origin === "app" && " (suites' own calls have the origin eval)"}.{" "}
      <button type="button" className="link" onClick={() => change({})}>Show them all</button> or{" "}
      <a href={href("/calls", { origin: "app", last: "30d" })}>those of the last 30 days</a>.
    </Empty>
  );
}
