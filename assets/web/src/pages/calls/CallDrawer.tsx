import { useState } from "react";
import type { Call } from "../../api/types";
import { useRead } from "../../api/useRead";
import { href } from "../../app/address";
import { Code, Copy } from "../../parts/Copy";
import { Drawer } from "../../parts/Drawer";
import { capital, counted, duration, money, number } from "../../parts/format";
import { Pill } from "../../parts/Mark";
import { Model } from "../../parts/Model";
import { Rated } from "../../parts/Rated";
import { Loaded } from "../../parts/States";
import { Time } from "../../parts/Time";
import type { Bucket, Message } from "./call";
import { bucketName, bucketsOf, bucketTone, countMasks, curlOf, factOf, figureOf, isTokens, itemOf, maskParts, messagesOf, replayOf, sqlOf } from "./call";
import { CaseForm, RateForm } from "./forms";

/** One call beside the table: what it was, what it cost and why, its texts, what people said, and ways on. */
export function CallDrawer({ id, onClose }: { id: string; onClose: () => void }) {
  const call = useRead("call", { id });
  const found = call.data;
  const trace = factOf(found?.metadata ?? null, "trace_id");
  return (
    <Drawer
      title={`Call ${/^\d+$/.test(id) ? number(Number(id)) : id}`}
      onClose={onClose}
      tools={found && (
        <>
          {trace && <a className="btn small" href={href(`/trace/${encodeURIComponent(trace)}`)}>Trace</a>}
          <a className="btn small" href={href("/playground", replayOf(found))}>Replay</a>
        </>
      )}
    >
      <Loaded query={call} rows={12} height={30}>
        {(one) => (
          <>
            <Facts call={one} />
            <Usage call={one} />
            <Texts call={one} />
            <Said call={one} />
            <Elsewhere key={one.id} call={one} />
          </>
        )}
      </Loaded>
    </Drawer>
  );
}

function Facts({ call }: { call: Call }) {
  const facts = call.metadata;
  const fact = (name: string) => factOf(facts, name);
  const first = figureOf(facts, "ttft_ms");
  const run = fact("run_uid");
  return (
    <>
      <dl className="kv">
        <dt>Prompt</dt>
        <dd><a href={href("/prompt", { name: call.prompt_name, version: call.prompt_version })}>{call.prompt_name} {call.prompt_version ?? ""}</a></dd>
        <dt>Model</dt>
        <dd><Model model={fact("model")} />{fact("served_model") && `, served ${fact("served_model")}`}<span className="dim">{fact("provider") && ` ${fact("provider")}`}</span></dd>
        <dt>When</dt>
        <dd><Time at={call.created_at} show="full" /> <span className="dim">(<Time at={call.created_at} /> ago)</span></dd>
        <dt>Latency</dt>
        <dd>{duration(figureOf(facts, "latency_ms"))}{first !== null && `, first token after ${duration(first)}`}</dd>
        <dt>Request</dt>
        <dd className="mono">{call.request_id ? <a href={href("/calls", { request: call.request_id, call: call.id })}>{call.request_id}</a> : "–"}</dd>
        {fact("span_name") && <><dt>Span</dt><dd>{fact("span_name")}</dd></>}
        {fact("origin") && fact("origin") !== "app" && <><dt>Origin</dt><dd>{fact("origin")}{run && <span className="dim"> of run {run}</span>}</dd></>}
      </dl>
      {fact("status") === "error" && <p className="said"><Pill shape="cross" tone="bad">error</Pill> {fact("error") ?? "The call failed; it does not say why."}</p>}
    </>
  );
}

function Usage({ call }: { call: Call }) {
  const facts = call.metadata;
  const buckets = bucketsOf(facts);
  const cost = figureOf(facts, "cost_usd");
  const tokens = buckets.filter((row) => isTokens(row.bucket)).reduce((sum, row) => sum + row.count, 0);
  const usage = facts?.usage;
  return (
    <>
      <h3>Usage and price <span>cents; rate in $ per million</span></h3>
      {buckets.length ? (
        <table className="buckets" aria-label="Tokens by bucket">
          <thead><tr><th scope="col">Bucket</th><th scope="col" className="num">Tokens</th><th scope="col" className="num">Rate</th><th scope="col" className="num">Cost, ¢</th></tr></thead>
          <tbody>
            {buckets.map((row) => (
              <tr key={row.bucket}>
                <td><svg width="8" height="8" className="sw" aria-hidden="true"><rect width="8" height="8" className={bucketTone(row.bucket)} /></svg>{bucketName(row.bucket)}</td>
                <td className="num">{number(row.count)}</td>
                <td className="num mid">{money(row.rate, { unit: false })}</td>
                <td className="num">{cents(row.cost_usd)}</td>
              </tr>
            ))}
            <tr className="sum">
              <td>Sum{factOf(facts, "cost_source") && `, ${factOf(facts, "cost_source")}`}</td>
              <td className="num">{number(tokens)}</td>
              <td />
              <td className="num">{cost === null ? <span className="warn">unpriced</span> : cents(cost)}</td>
            </tr>
          </tbody>
        </table>
      ) : (
        <p>{cost === null ? "The call says no usage that could be priced." : `${cents(cost)} ¢, as the caller gave it.`}</p>
      )}
      <Shares buckets={buckets} />
      <Provenance call={call} cost={cost} />
      {usage !== undefined && usage !== null && (
        <details className="raw"><summary>Usage as the provider said it</summary><Code text={JSON.stringify(usage, null, 2)} label="Raw usage" /></details>
      )}
    </>
  );
}

/** Dollars as cents with four places: 1.0698. */
export function cents(usd: number | null | undefined, digits = 4): string {
  return number(usd == null ? null : usd * 100, digits);
}

function Shares({ buckets }: { buckets: Bucket[] }) {
  const sum = buckets.reduce((all, row) => all + (row.cost_usd ?? 0), 0);
  if (!sum) return null;
  let from = 0;
  return (
    <svg width="100%" height="10" role="img" aria-label={buckets.map((row) => `${bucketName(row.bucket)} ${cents(row.cost_usd)} cents`).join(", ")}>
      {buckets.map((row) => {
        const share = ((row.cost_usd ?? 0) / sum) * 100;
        const x = from;
        from += share;
        return <rect key={row.bucket} x={`${x}%`} width={`${share}%`} height="10" className={`${bucketTone(row.bucket)} s-page`} strokeWidth="1" />;
      })}
    </svg>
  );
}

function Provenance({ call, cost }: { call: Call; cost: number | null }) {
  const facts = call.metadata;
  const source = factOf(facts, "rate_source");
  const told = figureOf(facts, "provider_cost_usd");
  const saved = figureOf(facts, "cache_saved_usd");
  const failed = cost === null && factOf(facts, "status") === "error" && figureOf(facts, "tokens_in") === null;
  const said = [
    failed ? "It failed before it said what it used." : source ? `Rate: ${source}.` : factOf(facts, "cost_source") === "given" ? "The caller gave the cost." : cost === null ? "No rate is known for this model." : "",
    told !== null && cost !== null && (Math.abs(told - cost) < 1e-7 ? `Provider reports ${cents(told)}, no gap.` : `Provider reports ${cents(told)}, a gap of ${cents(told - cost)}.`),
    saved !== null && saved > 0 && `The cache saved ${cents(saved)} ¢.`,
  ].filter(Boolean);
  return (
    <p className="cap">
      {said.join(" ")} {cost === null && !failed && <a href={href("/cost", { at: "coverage" })}>What gives it a price</a>}
    </p>
  );
}

const ROLES: Record<string, string> = { user: "Input", assistant: "Answer" };

function Texts({ call }: { call: Call }) {
  const [whole, setWhole] = useState(false);
  const messages = [...messagesOf(call.input_text, "user"), ...messagesOf(call.output_text, "assistant")];
  const masked = countMasks(call.input_text, call.output_text);
  const long = messages.some((message) => message.text.length > SHORT);
  return (
    <>
      <h3>Text <span>{messages.length ? `captured, ${masked ? `${counted(masked, "value")} masked` : "nothing masked"}` : "not captured"}</span></h3>
      {messages.length ? (
        messages.map((message, at) => <Said1 key={at} message={message} whole={whole} />)
      ) : (
        <>
          <p className="cap">The texts of a call are kept only if it asks for that.</p>
          <Code text={`track_invocation("${call.prompt_name}", input_text=question, output_text=answer, capture=True)`} label="The line that keeps texts" />
        </>
      )}
      {long && <button type="button" className="link" onClick={() => setWhole(!whole)}>{whole ? "Show less" : "Show all of it"}</button>}
    </>
  );
}

const SHORT = 900;

function Said1({ message, whole }: { message: Message; whole: boolean }) {
  const text = whole ? message.text : message.text.slice(0, SHORT);
  return (
    <p className="out text">
      <span className="dim">{ROLES[message.role] ?? capital(message.role)}</span>{" "}
      {maskParts(text).map((part, at) => (at % 2 ? <span className="ph" key={at}>{part}</span> : part))}
      {text.length < message.text.length && <span className="dim"> …</span>}
    </p>
  );
}

function Said({ call }: { call: Call }) {
  return (
    <>
      <h3>Feedback <span>{call.feedback.length ? counted(call.feedback.length, "source") : "nobody rated this request"}</span></h3>
      {call.feedback.map((one, at) => (
        <p key={at} className="out said">
          <Rated rating={one.rating} />{one.comment && ` “${one.comment}”`}{" "}
          <span className="dim"><Time at={one.created_at} show="second" />{one.source && `, ${one.source}`}</span>
        </p>
      ))}
      {call.request_id ? <RateForm request={call.request_id} /> : <p className="cap">The call has no request id, so it cannot be rated.</p>}
    </>
  );
}

const WAYS = { curl: curlOf, "test case": itemOf, SQL: (call: Call) => sqlOf(call.id) } as const;

function Elsewhere({ call }: { call: Call }) {
  const [way, setWay] = useState<keyof typeof WAYS>("SQL");
  const captured = call.input_text !== null;
  return (
    <>
      <h3>Make it a case</h3>
      {captured && factOf(call.metadata, "status") !== "error" ? <CaseForm of={{ call: call.id }} /> : <p className="cap">{captured ? "The call failed, so it has no answer to learn from." : "Its text was not captured, so it makes no case."}</p>}
      <h3>
        Copy as
        <span className="copies">
          {(Object.keys(WAYS) as (keyof typeof WAYS)[]).map((name) => (
            <button key={name} type="button" className="copy" aria-pressed={way === name} onClick={() => setWay(name)}>{name}</button>
          ))}
        </span>
      </h3>
      <Code text={WAYS[way](call)} label={`The call as ${way}`} />
      <p className="cap">
        {way === "curl" && "Asks the provider again; the key stays in your environment."}
        {way === "test case" && <>An item of a dataset; <Copy text={`promptry dataset add NAME --call ${call.id}`} label={`promptry dataset add NAME --call ${call.id}`} /></>}
        {way === "SQL" && <a href={href("/query", { sql: sqlOf(call.id) })}>Open it in Query</a>}
      </p>
    </>
  );
}
