import { useMemo } from "react";
import { useParams as useRouteParams } from "wouter";
import type { Span, Trace } from "../../api/types";
import { useRead } from "../../api/useRead";
import { href, useParam } from "../../app/address";
import { colourOf } from "../../parts/colours";
import { Copy } from "../../parts/Copy";
import { counted, dayAndClock, duration, number, percent } from "../../parts/format";
import { Finding, Head, HeadWaiting } from "../../parts/Head";
import { Rated } from "../../parts/Rated";
import { Section } from "../../parts/Section";
import { Empty, ErrorBox, Skeleton } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { saveCsv } from "../../parts/Table";
import { Time } from "../../parts/Time";
import { CallDrawer, cents } from "../calls/CallDrawer";
import "../calls/calls.css";
import { costStrip, firstWords, greatest, shownSpans, spanName, timeStrip, waitsOf } from "./model";
import { Strips } from "./Strips";
import "./trace.css";
import { Waterfall } from "./Waterfall";

const crumbsOf = (id: string, at?: string) => [{ text: "Traces", href: href("/traces") }, { text: <><span className="mono">{id}</span> {at && <span className="dim">{dayAndClock(at)}</span>}</> }];

export default function TracePage() {
  const { id: asked = "" } = useRouteParams<{ id: string }>();
  const id = decodeURIComponent(asked);
  const { data, error, refetch } = useRead("trace", { id });
  if (data) return <Filled trace={data} />;
  if (error) {
    return (
      <>
        <Head title="Trace" crumbs={crumbsOf(id)} sentence={error.status === 404 ? "There is no such trace." : "The trace could not be read."} />
        <ErrorBox error={error} retry={() => void refetch()} />
        <p><a href={href("/traces")}>All traces</a></p>
      </>
    );
  }
  return <><HeadWaiting title="Trace" crumbs={crumbsOf(id)} /><Skeleton rows={2} height={28} /><Skeleton rows={12} height={30} /></>;
}

function Filled({ trace }: { trace: Trace }) {
  const [closedText, setClosed] = useParam("closed");
  const [selected, select] = useParam("span");
  const closed = useMemo(() => new Set(closedText === "all" ? trace.spans.filter((span) => span.kind === "span" && span.depth > 0).map((span) => span.id) : closedText.split(",").filter(Boolean)), [closedText, trace]);
  const rows = useMemo(() => shownSpans(trace.spans, closed), [trace, closed]);
  const [time, cost] = useMemo(() => [timeStrip(trace), costStrip(trace)], [trace]);
  const chosen = trace.spans.find((span) => span.id === selected);
  const toggle = (id: string) => {
    const next = new Set(closed);
    if (!next.delete(id)) next.add(id);
    setClosed([...next].join(","));
  };
  const sql = `SELECT * FROM v_calls WHERE trace_id = '${trace.trace_id.replaceAll("'", "''")}' ORDER BY id;`;
  return (
    <>
      <Head
        title={trace.name ?? "Trace"}
        crumbs={crumbsOf(trace.trace_id, trace.started_at)}
        actions={
          <>
            <button type="button" className="btn" onClick={() => setClosed(closedText ? null : "all")}>{closedText ? "Open all" : "Collapse all"}</button>
            <Copy className="btn" label="Copy as SQL" text={sql} />
            <a className="btn go" href={href("/query", { sql })}>Open the calls</a>
          </>
        }
        sentence={<Sentence time={greatest(time)} cost={greatest(cost)} trace={trace} />}
        why={<Why trace={trace} />}
      />
      <Strips time={time} cost={cost} duration_ms={trace.duration_ms} cost_usd={trace.cost_usd} />
      <Section title="Spans" note={<Key spans={trace.spans} />} sql={{ read: "trace", params: { id: trace.trace_id } }} csv={() => saveCsv("trace", CSV, trace.spans)}>
        <Waterfall rows={rows} whole_ms={trace.duration_ms} closed={closed} selected={selected} onToggle={toggle} onOpen={(span) => select(span.id === selected ? null : span.id)} />
      </Section>
      <div className="cols">
        <About span={chosen ?? (trace.spans[0] as Span)} trace={trace} />
        <Said trace={trace} />
      </div>
      {chosen?.call_id && <CallDrawer id={chosen.call_id} onClose={() => select(null)} />}
    </>
  );
}

const CSV: Column<Span>[] = (["id", "parent_id", "kind", "name", "call_id", "model", "status", "start_ms", "duration_ms", "ttft_ms", "tokens_in", "tokens_out", "cost_usd"] as const).map((key) => ({
  key, head: key, cell: (span) => String(span[key] ?? ""), csv: (span) => span[key],
}));

type Best = { name: string; share: number } | null;

/** Where the time went, and where the money: one name if they agree. */
function Sentence({ time, cost, trace }: { time: Best; cost: Best; trace: Trace }) {
  if (!time || trace.calls < 2) return <>One call took {duration(trace.duration_ms)} and cost <span className="nowrap">{number(trace.cost_usd === null ? null : trace.cost_usd * 100, 2)} cents.</span></>;
  if (!cost) return <>{time.name} took {percent(time.share, 0)} of the time; no call in it has a price.</>;
  if (time.name === cost.name) return <>{time.name} took {percent(time.share, 0)} of the time and <span className="nowrap">{percent(cost.share, 0)} of the cost.</span></>;
  return <>{time.name} took {percent(time.share, 0)} of the time, {cost.name} <span className="nowrap">{percent(cost.share, 0)} of the cost.</span></>;
}

function Why({ trace }: { trace: Trace }) {
  const calls = trace.spans.filter((span) => span.kind === "call");
  const tokens = calls.reduce((sum, span) => sum + (span.tokens_in ?? 0) + (span.tokens_out ?? 0), 0);
  const failed = calls.filter((span) => span.status === "error").length;
  const first = firstWords(trace.spans);
  return (
    <>
      {duration(trace.duration_ms)}, {number(trace.cost_usd === null ? null : trace.cost_usd * 100, 2)} cents, {counted(tokens, "token")}, {counted(trace.calls, "model call")}
      {failed > 0 && <>, <Finding tone="bad">{number(failed)} failed</Finding></>}
      {trace.unpriced > 0 && `, ${number(trace.unpriced)} unpriced`}.
      {first !== null && ` The first words of the last answer came after ${duration(first)}.`}
    </>
  );
}

function Key({ spans }: { spans: readonly Span[] }) {
  const models = [...new Set(spans.flatMap((span) => (span.model ? [span.model] : [])))];
  return (
    <span className="key">
      {models.slice(0, 5).map((model) => <span key={model}><svg width="10" height="10" aria-hidden="true"><rect width="10" height="10" className={`f-c${colourOf(model)}`} /></svg>{model}</span>)}
      {spans.some((span) => typeof span.ttft_ms === "number") && (
        <span>
          <svg width="26" height="12" aria-hidden="true"><rect y="1" width="13" height="10" className="f-c5 soft" /><rect x="13" y="1" width="13" height="10" className="f-c5" /><line x1="13" x2="13" y1="0" y2="12" className="s-ink" strokeWidth="1.5" /></svg>
          first token
        </span>
      )}
    </span>
  );
}

function About({ span, trace }: { span: Span; trace: Trace }) {
  const waits = waitsOf(span, trace.spans);
  const others = useOthers(trace);
  const prompts = [...new Set(trace.spans.filter((one) => one.kind === "call" && (one.id === span.id || one.parent_id === span.id)).map((one) => one.name))].filter((name): name is string => Boolean(name));
  return (
    <Section title={spanName(span)} note={span.kind === "call" ? span.model : counted(trace.spans.filter((one) => one.parent_id === span.id).length, "part")}>
      <dl className="kv what">
        {prompts.length > 0 && <><dt>{prompts.length === 1 ? "Prompt" : "Prompts"}</dt><dd>{prompts.slice(0, 4).map((name, at) => <span key={name}>{at > 0 && ", "}<a href={href("/prompt", { name })}>{name}</a></span>)}</dd></>}
        <dt>Took</dt><dd>{duration(span.duration_ms)}, {percent(trace.duration_ms ? span.duration_ms / trace.duration_ms : null, 0)} of the trace, {span.start_ms > 0 ? `from ${duration(span.start_ms)} on` : "from its start"}</dd>
        <dt>Cost</dt><dd>{cents(span.cost_usd, 2)} ¢{span.cost_usd !== null && trace.cost_usd ? `, ${percent(span.cost_usd / trace.cost_usd, 0)} of the trace` : ""}</dd>
        {waits && <><dt>Waits</dt><dd className="wrap">{waits.inLine ? `each part starts when the last one ends; side by side they would take ${duration(waits.longest_ms)}` : `its ${number(waits.calls)} parts overlap; the longest takes ${duration(waits.longest_ms)}`}</dd></>}
        {others && <><dt>Others</dt><dd className="wrap">half of the last {number(others.n)} traces of {trace.name} cost at most {cents(others.cost, 2)} ¢</dd></>}
      </dl>
    </Section>
  );
}

/** What the other traces of this name cost, among the newest. */
function useOthers(trace: Trace): { n: number; cost: number } | null {
  const { data } = useRead("traces", { limit: 200 });
  const costs = (data?.items ?? []).flatMap((one) => (one.name === trace.name && one.trace_id !== trace.trace_id && one.cost_usd !== null ? [one.cost_usd] : [])).sort((a, b) => a - b);
  const middle = costs[Math.ceil(costs.length / 2) - 1];
  return costs.length > 4 && middle !== undefined ? { n: costs.length, cost: middle } : null;
}

function Said({ trace }: { trace: Trace }) {
  const said = trace.feedback ?? [];
  return (
    <Section title="Feedback" note={said.length ? "on the requests of this trace" : undefined} tools={<a href={href("/feedback")}>All feedback</a>}>
      {said.length ? (
        said.map((one, at) => (
          <p key={at} className="saidof"><Rated rating={one.rating} />{one.comment && ` “${one.comment}”`} <span className="dim"><Time at={one.created_at} show="full" />{one.source && `, ${one.source}`}</span></p>
        ))
      ) : (
        <Empty code={`promptry feedback add ${[...trace.spans].reverse().find((span) => span.request_id)?.request_id ?? "REQUEST_ID"} --rating 1`}>Nobody rated a request of this trace.</Empty>
      )}
    </Section>
  );
}
