import { X } from "lucide-react";
import { useId, useState } from "react";
import { ApiError } from "../../api/client";
import type { Call } from "../../api/types";
import { useRead } from "../../api/useRead";
import { href } from "../../app/address";
import { Copy } from "../../parts/Copy";
import { duration, money, number } from "../../parts/format";
import { Pill } from "../../parts/Mark";
import { Swatch } from "../../parts/Model";
import { ErrorBox, Skeleton } from "../../parts/States";
import { useNow } from "../../parts/Time";
import { CaseForm } from "../calls/forms";
import type { Asked } from "./stream";
import { measuredOf, shortModel } from "./stream";
import type { Trial } from "./useTrials";

interface Props {
  asked: Asked;
  /** The versions that may be chosen for this column alone; none for a draft. */
  versions: number[];
  usual: number | null;
  trial: Trial | undefined;
  /** A call that the address remembers, shown when nothing was asked since. */
  call: string | null;
  onVersion: (version: number | null) => void;
  onRemove: () => void;
  onAsk: () => void;
  onStop: () => void;
}

/** What one model answers, and what that took. */
export function Answer({ asked, versions, usual, trial, call, onVersion, onRemove, onAsk, onStop }: Props) {
  const kept = useRead("call", { id: call }, { enabled: !trial && call !== null });
  const id = useId();
  const running = trial?.state === "asking" || trial?.state === "speaking";
  const found = trial ? (trial.reply?.call ?? null) : (kept.data ?? null);
  const text = trial ? trial.text : (kept.data?.output_text ?? "");
  return (
    <article className="answer" aria-labelledby={id}>
      <header>
        <h3 id={id} title={asked.model}><Swatch model={shortModel(asked.model)} />{shortModel(asked.model)}</h3>
        {versions.length > 1 && (
          <select aria-label={`Version for ${shortModel(asked.model)}`} value={asked.version ?? ""} onChange={(event) => onVersion(event.target.value ? Number(event.target.value) : null)}>
            <option value="">version {usual}</option>
            {versions.filter((one) => one !== usual).map((one) => <option key={one} value={one}>version {one}</option>)}
          </select>
        )}
        <span className="right">
          {running ? <button type="button" className="btn small" onClick={onStop}>Stop</button> : <button type="button" className="btn small" onClick={onAsk}>{text || trial ? "Again" : "Ask"}</button>}
          <button type="button" className="icon" aria-label={`Remove ${shortModel(asked.model)}`} title="Remove" onClick={onRemove}><X size={14} /></button>
        </span>
      </header>
      <div className="said" aria-busy={running} tabIndex={0} role="region" aria-label={`What ${shortModel(asked.model)} answers`}>
        {kept.isLoading ? <Skeleton rows={4} height={22} /> : text ? <p className="out">{text}{running && <span className="caretline" />}</p> : trial?.state === "asking" ? <p className="dim">Waiting for the first word.</p> : !trial && !found && <p className="dim">Not asked yet.</p>}
        {trial?.state === "done" && !text && <p className="dim">It answered with no text{trial.reply?.finish_reason && `: ${trial.reply.finish_reason}`}.</p>}
        {trial?.state === "failed" && <ErrorBox error={trial.error} />}
        {trial?.state === "stopped" && <p className="cap">Stopped. What it had said until then is recorded as a call, too.</p>}
        {kept.error instanceof ApiError && <ErrorBox error={kept.error} />}
      </div>
      <Figures trial={trial} call={found} />
      <footer>
        {found ? (
          <>
            <a href={href("/calls", { call: found.id, origin: "playground" })}>Call {found.id}</a>
            {text && <Copy text={text} />}
            <MakeCase key={found.id} call={found.id} />
          </>
        ) : trial?.state === "done" ? <span className="warn">The call could not be stored.</span> : <span className="dim">{running ? "It is recorded as a call." : " "}</span>}
      </footer>
    </article>
  );
}

function Figures({ trial, call }: { trial: Trial | undefined; call: Call | null }) {
  const told = measuredOf(call);
  const running = trial?.state === "asking" || trial?.state === "speaking";
  const finish = trial?.reply?.finish_reason;
  return (
    <dl className="figures">
      <div><dt>Latency</dt><dd>{running ? <Elapsed begun={trial.begun} /> : duration(told.latency_ms ?? trial?.ended)}</dd></div>
      <div><dt>First token</dt><dd>{duration(told.ttft_ms ?? trial?.first)}</dd></div>
      <div title={told.cached ? `${number(told.cached)} of them from the cache` : undefined}><dt>Tokens in</dt><dd>{number(told.tokens_in)}</dd></div>
      <div title={told.reasoning ? `${number(told.reasoning)} of them reasoning` : undefined}><dt>Tokens out</dt><dd>{number(told.tokens_out)}</dd></div>
      <div><dt>Cost</dt><dd>{call && told.cost_usd === null ? <Pill shape="ring" tone="warn" bare>unpriced</Pill> : money(told.cost_usd)}</dd></div>
      {finish && finish !== "stop" && <div><dt>Ended</dt><dd className="warn">{finish}</dd></div>}
    </dl>
  );
}

function Elapsed({ begun }: { begun: number }) {
  useNow(100);
  return <span className="dim">{duration(performance.now() - begun)}</span>;
}

/** Keep the answer as an item of a dataset. */
function MakeCase({ call }: { call: string }) {
  const [open, setOpen] = useState(false);
  return open ? <CaseForm of={{ call }} /> : <button type="button" className="link" onClick={() => setOpen(true)}>Make it a case</button>;
}

/** The first line: who answered first, and who for least. */
export function findingOf(rows: { model: string; call: Call | null }[]): string | null {
  const told = rows.flatMap(({ model, call }) => (call ? [{ model: shortModel(model), ...measuredOf(call) }] : []));
  const [only] = told;
  if (!only) return null;
  if (told.length === 1) return `${only.model} answered in ${duration(only.latency_ms)} for ${only.cost_usd === null ? "an unknown price" : money(only.cost_usd)}.`;
  const least = (key: "latency_ms" | "cost_usd") => {
    const known = told.filter((row) => row[key] !== null).sort((a, b) => (a[key] as number) - (b[key] as number));
    return known[0] && known[0][key] !== known[1]?.[key] ? known[0] : null; // of two alike neither is the least
  };
  const [quick, cheap] = [least("latency_ms"), least("cost_usd")];
  const first = quick && `${quick.model} answered first, in ${duration(quick.latency_ms)}`;
  if (first && cheap === quick) return `${first}, and cost least, ${money(quick.cost_usd)}.`;
  const cost = cheap && `${cheap.model} cost least, ${money(cheap.cost_usd)}`;
  return first || cost ? `${[first, cost].filter(Boolean).join("; ")}.` : `${told.length} models answered, alike in time and cost.`;
}
