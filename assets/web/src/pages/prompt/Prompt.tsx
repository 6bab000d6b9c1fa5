import { useMemo, useState } from "react";
import { ApiError } from "../../api/client";
import type { Prompt as PromptFacts } from "../../api/types";
import { useRead } from "../../api/useRead";
import { href, setParams, useParam, useParams } from "../../app/address";
import { changedLines } from "../../parts/Diff";
import { counted, listed, when } from "../../parts/format";
import { Finding, Head, HeadWaiting } from "../../parts/Head";
import { ErrorBox, Skeleton } from "../../parts/States";
import { Draft, draftKey } from "./Draft";
import type { Gate } from "./gate";
import { baseOf, gateOf, metricsOf, servedBy, settingChanges, settingsOf } from "./gate";
import { GateLine } from "./GateLine";
import { Metrics } from "./Metrics";
import type { Move } from "./MoveDialog";
import { MoveDialog } from "./MoveDialog";
import { Rail } from "./Rail";
import { Serves, Variables } from "./Serves";
import { Texts } from "./Texts";
import "../../parts/rail.css";
import "./prompt.css";

export const crumbsOf = (name: string) => {
  const at = name.search(/[/.]/);
  const module = at > 0 ? name.slice(0, at) : null;
  return [
    { text: "Prompts", href: href("/prompts") },
    ...(module ? [{ text: module, href: href("/prompts", { module }) }] : []),
    { text: module ? name.slice(at + 1) : name },
  ];
};

export default function Prompt() {
  const [name] = useParam("name");
  const latest = useRead("prompt", { name }, { enabled: name !== "" });
  if (!name) return <Head title="Prompt" crumbs={crumbsOf("")} sentence="No prompt is named in the address." why={<>Choose one from <a href={href("/prompts")}>Prompts</a>.</>} />;
  if (latest.data) return <Known key={name} latest={latest.data} />;
  if (latest.error instanceof ApiError && latest.error.status === 404) return <Unknown key={name} name={name} />;
  if (latest.error) {
    return (
      <>
        <Head title={name} crumbs={crumbsOf(name)} sentence="The prompt could not be read." />
        <ErrorBox error={latest.error} retry={() => void latest.refetch()} />
      </>
    );
  }
  return (
    <>
      <HeadWaiting title={name} crumbs={crumbsOf(name)} />
      <Skeleton rows={1} height={56} />
      <div className="cms"><section><Skeleton rows={6} height={46} /></section><section><Skeleton rows={14} height={20} /></section><section><Skeleton rows={6} /></section></div>
    </>
  );
}

/** A name that no version is saved under yet: its first text can be written here. */
function Unknown({ name }: { name: string }) {
  return (
    <>
      <Head
        title={name}
        crumbs={crumbsOf(name)}
        sentence={`No text is saved under ${name} yet.`}
        why={<>Write it below, or let code bring it: <span className="mono">track(text, "{name}")</span> saves it as version 1.</>}
      />
      <div className="cms one"><Draft name={name} base={null} content="" next={1} prompt={null} always /></div>
    </>
  );
}

function EditButton({ name, version }: { name: string; version: number }) {
  const kept = sessionStorage.getItem(draftKey(name, version)) !== null;
  return <button type="button" className="btn" data-edit aria-keyshortcuts="e" onClick={() => setParams({ edit: 1 })}>{kept ? "Edit the draft" : "Edit"} <kbd>e</kbd></button>;
}

/** The version in the address, if there is such a number. */
function useNumber(name: string): number | null {
  const [text] = useParam(name);
  return /^\d+$/.test(text) ? Number(text) : null;
}

function Known({ latest }: { latest: PromptFacts }) {
  const params = useParams();
  const tag = params.get("env") ?? "prod";
  const asked = useNumber("version");
  const version = asked ?? latest.version;
  const base = useNumber("against") ?? baseOf(latest, version, tag);
  const [move, setMove] = useState<Move | null>(null);
  const { name } = latest;
  const exists = latest.versions.some((row) => row.version === version);
  const shown = useRead("prompt", { name, version }, { enabled: exists && version !== latest.version });
  const other = useRead("prompt", { name, version: base }, { enabled: base !== null && base !== latest.version });
  const own = version === latest.version ? latest : shown.data;
  const before = base === null ? null : base === latest.version ? latest : other.data;
  const served = servedBy(latest, tag);
  const run = metricsOf(latest, version)?.run ?? null;
  const isServed = served?.version === version;
  const against = isServed ? (served.was == null ? null : (metricsOf(latest, served.was)?.run ?? null)) : served ? tag : null;
  const compared = useRead("compare", { run, baseline: against }, { enabled: run !== null && against !== null && against !== run });
  const comparison = compared.data ?? (compared.error || against === null ? null : undefined);
  const gate = useMemo(() => gateOf({ prompt: latest, version, tag, comparison }), [latest, version, tag, comparison]);
  if (!exists) {
    return <Head title={name} crumbs={crumbsOf(name)} sentence={`${name} has no version ${version}.`} why={<>It has {counted(latest.versions.length, "version")}; <a href={href("/prompt", { name })}>the latest is {latest.version}</a>.</>} />;
  }
  const last = Math.max(...latest.versions.map((row) => row.version));
  return (
    <>
      <Head
        title={`${name} ${version}`}
        crumbs={crumbsOf(name)}
        actions={
          <>
            <a className="btn" href={href("/calls", { prompt: name, version, days: 30 })}>Calls</a>
            <a className="btn" href={href("/playground", { name, version })}>Playground</a>
            <EditButton name={name} version={version} />
          </>
        }
        sentence={<>{gate.says} {gate.finding && <Finding tone={gate.tone}>{gate.finding}</Finding>}</>}
        why={<Why latest={latest} own={own} before={before} version={version} base={base} tag={tag} gate={gate} />}
      />
      <GateLine prompt={latest} version={version} tag={tag} gate={gate} run={run} comparison={compared.data ?? null} onMove={setMove} />
      <div className="cms">
        <Rail prompt={latest} version={version} base={base} tag={tag} />
        <div className="middle">
          <Texts name={name} own={own} before={before} version={version} base={base} error={shown.error ?? other.error} versions={latest.versions.map((row) => row.version)} />
          <Draft key={version} name={name} base={version} content={own?.content ?? null} next={last + 1} prompt={latest} settings={settingsOf(own)} />
        </div>
        <div>
          <Metrics prompt={latest} version={version} tag={tag} />
          <Serves prompt={latest} version={version} tag={tag} onMove={setMove} />
          <Variables own={own} before={before} version={version} base={base} />
        </div>
      </div>
      {move && <MoveDialog prompt={latest} move={move} gate={move.tag === tag && move.version === version ? gate : null} onClose={() => setMove(null)} />}
    </>
  );
}

interface WhyProps {
  latest: PromptFacts;
  own: PromptFacts | undefined;
  before: PromptFacts | null | undefined;
  version: number;
  base: number | null;
  tag: string;
  gate: Gate;
}

function Why({ latest, own, before, version, base, tag, gate }: WhyProps) {
  const served = servedBy(latest, tag);
  const parts: string[] = [];
  if (served && gate.answer !== "serves") parts.push(`${tag} serves version ${served.version}${served.since ? `, since ${when(served.since)}` : ""}.`);
  if (gate.answer === "serves" && latest.version !== version) parts.push(`Version ${latest.version} is the latest, which code that names no tag is served.`);
  if (own && before && base !== null) {
    const changes = settingChanges(settingsOf(before), settingsOf(own));
    const lines = own.content === before.content ? "has the text of" : `changes ${changedLines(before.content, own.content)} of`;
    const kept = Object.keys(settingsOf(own)).length > 0;
    const settings = changes.length ? `; ${listed(changes.map(([key]) => key))} ${changes.length === 1 ? "differs" : "differ"} too` : kept ? "; no model setting differs" : "";
    parts.push(`${version} ${lines} ${base}${settings}.`);
  } else if (base === null) parts.push("It is the only version.");
  const fallen = useRead("overview").data?.fallbacks.find((row) => row.name === latest.name)?.times ?? 0;
  const calls = metricsOf(latest, served?.version ?? version)?.calls ?? 0;
  parts.push(calls ? `${counted(calls, "call")} used ${served?.version ?? version} in the last 30 days.` : `No call used ${served?.version ?? version} in the last 30 days.`);
  return <>{parts.join(" ")}{fallen > 0 && <> <b>{counted(fallen, "render")} fell back to the text in the code</b>, because the store could not be read.</>}</>;
}
