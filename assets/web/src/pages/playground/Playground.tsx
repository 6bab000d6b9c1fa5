import { Fragment, useEffect, useMemo, useState } from "react";
import type { CallItem, Prompt } from "../../api/types";
import { useRead } from "../../api/useRead";
import { href, setParams, useParam, useParams } from "../../app/address";
import { counted, duration, money, number } from "../../parts/format";
import { Head } from "../../parts/Head";
import { State } from "../../parts/Mark";
import { Model } from "../../parts/Model";
import { Section } from "../../parts/Section";
import { Empty, ErrorBox, Loaded, Skeleton } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { saveCsv, Table } from "../../parts/Table";
import { Template } from "../../parts/template";
import { Time } from "../../parts/Time";
import { useRendered } from "../../parts/useRendered";
import { useTyped, useValues, Values } from "../../parts/Values";
import { Answer, findingOf } from "./Answer";
import { ModelDialog } from "./Models";
import type { Asked, Question } from "./stream";
import { askedIn, askedText } from "./stream";
import { useTrials } from "./useTrials";
import "./playground.css";

const MOST_COLUMNS = 6;
const wholeNumber = (text: string): number | null => (/^\d+$/.test(text) ? Number(text) : null);
const figure = (text: string): number | null => (text.trim() && Number.isFinite(Number(text)) ? Number(text) : null);

export default function Playground() {
  const [name] = useParam("name");
  const [versionText] = useParam("version");
  const params = useParams();
  const [text, setText] = useTyped("text");
  const [system, setSystem] = useTyped("system");
  const [temperature, setTemperature] = useTyped("temperature");
  const [most, setMost] = useTyped("max_tokens");
  const [values, setValue] = useValues();
  const prompt = useRead("prompt", { name }, { enabled: name !== "" });
  const version = wholeNumber(versionText);
  const isDraft = params.get("draft") === "1" || text !== "";
  const source = isDraft ? { ...(name ? { name } : {}), content: text } : name ? { name, ...(version !== null ? { version } : {}) } : null;
  const rendered = useRendered(source && (!("content" in source) || text.trim()) ? { ...source, variables: values } : null);
  const asked = params.getAll("col").map(askedIn);
  const calls = (params.get("calls") ?? "").split(",");
  const { trials, ask, stop, forget } = useTrials();
  const [choosing, setChoosing] = useState(false);
  const names = rendered.data?.placeholders ?? [];
  const missing = names.filter((one) => !(one in values));
  const ready = source !== null && !(isDraft && !text.trim());

  const setColumns = (next: Asked[], kept: string[]) => setParams({ col: next.map(askedText), calls: kept.some(Boolean) ? kept.join(",") : null });
  const questionOf = (one: Asked): Question => {
    const parameters = { ...(figure(temperature) !== null ? { temperature: figure(temperature) as number } : {}), ...(figure(most) !== null ? { max_tokens: figure(most) as number } : {}) };
    return {
      model: one.model,
      ...(source ?? {}),
      ...(!isDraft && one.version !== null ? { version: one.version } : {}),
      variables: values,
      ...(system.trim() ? { system } : {}),
      ...(Object.keys(parameters).length ? { parameters } : {}),
    };
  };
  const askOne = async (at: number) => {
    const one = asked[at];
    if (!one || !ready) return;
    const reply = await ask(keyOf(one), questionOf(one));
    if (reply?.call) rememberCall(one, reply.call.id);
  };
  const askAll = () => asked.forEach((_, at) => void askOne(at));
  const running = asked.some((one) => ["asking", "speaking"].includes(trials[keyOf(one)]?.state ?? ""));
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      askAll();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  });
  const answered = asked.map((one) => ({ model: one.version === null ? one.model : `${one.model} on ${one.version}`, call: trials[keyOf(one)]?.reply?.call ?? null }));
  return (
    <>
      <Head
        title="Playground"
        crumbs={[{ text: "Playground" }, ...(name ? [{ text: name, href: href("/prompt", { name, version }) }] : [])]}
        actions={
          <>
            {asked.length < MOST_COLUMNS && <button type="button" className="btn" data-edit onClick={() => setChoosing(true)}>Add a model <kbd>e</kbd></button>}
            {running ? <button type="button" className="btn" onClick={() => asked.forEach((one) => stop(keyOf(one)))}>Stop all</button>
              : <button type="button" className="btn go" disabled={!asked.length || !ready} title="Ctrl and Enter" onClick={askAll}>{asked.length > 1 ? `Ask ${asked.length} models` : "Ask"}</button>}
          </>
        }
        sentence={sentenceOf({ running, finding: findingOf(answered), ready, asked: asked.length, missing: missing.length, names: names.length, what: name ? `${name} ${isDraft ? "as written here" : (rendered.data?.version ?? "")}`.trim() : "The text" })}
        why={missing.length ? <>Without a value: {missing.map((one, at) => <Fragment key={one}>{at > 0 && (at === missing.length - 1 ? " and " : ", ")}<span className="mono">${one}</span></Fragment>)}; what is not given stays as written.</> : "Each answer is recorded as a call of origin playground: it counts in budgets, never as production."}
      />
      <div className="bench">
        <div>
          <Source name={name} version={version} prompt={prompt.data} isDraft={isDraft} text={text} onText={setText} error={name ? prompt.error : null} />
          {names.length > 0 && <Section title="Variables" note={missing.length ? `${names.length - missing.length} of ${names.length} given` : "all given"}><Values names={names} values={values} onChange={setValue} /></Section>}
          <Section title="Settings">
            <label className="field">System message<textarea rows={2} value={system} placeholder="none" onChange={(event) => setSystem(event.target.value)} /></label>
            <div className="halves">
              <label className="field">Temperature<input type="number" min="0" max="2" step="0.1" value={temperature} placeholder="the model's own" onChange={(event) => setTemperature(event.target.value)} /></label>
              <label className="field">Most tokens out<input type="number" min="1" step="1" value={most} placeholder="the model's own" onChange={(event) => setMost(event.target.value)} /></label>
            </div>
          </Section>
        </div>
        <div>
          <Section title="What is asked" note={rendered.data && `${number(rendered.data.text.length)} characters`}>
            {rendered.error ? <ErrorBox error={rendered.error} /> : rendered.data && ready ? <pre className="rendered" tabIndex={0} aria-label="The text filled in"><Template text={rendered.data.text} /></pre> : ready ? <Skeleton rows={4} height={20} /> : <p className="nothing">Choose a prompt, or write a text.</p>}
          </Section>
          <Section title="Answers" note={asked.length ? counted(asked.length, "model") : undefined}>
            {asked.length ? (
              <div className="answers">
                {asked.map((one, at) => (
                  <Answer
                    key={keyOf(one)}
                    asked={one}
                    versions={isDraft ? [] : (prompt.data?.versions.map((row) => row.version) ?? [])}
                    usual={rendered.data?.version ?? null}
                    trial={trials[keyOf(one)]}
                    call={calls[at] || null}
                    onVersion={(next) => setColumns(asked.map((other, index) => (index === at ? { ...one, version: next } : other)), calls.map((call, index) => (index === at ? "" : call)))}
                    onRemove={() => {
                      forget(keyOf(one));
                      setColumns(asked.filter((_, index) => index !== at), asked.map((_, index) => calls[index] ?? "").filter((_, index) => index !== at));
                    }}
                    onAsk={() => void askOne(at)}
                    onStop={() => stop(keyOf(one))}
                  />
                ))}
              </div>
            ) : (
              <p className="nothing">No model is chosen. <button type="button" className="link" onClick={() => setChoosing(true)}>Choose one</button>; the keys of its API are read from the environment of the dashboard.</p>
            )}
          </Section>
          <Earlier name={name} />
        </div>
      </div>
      {choosing && <ModelDialog onClose={() => setChoosing(false)} onChoose={(model) => {
        setChoosing(false);
        const taken = asked.filter((one) => one.model === model).map((one) => one.version);
        const free = taken.includes(null) ? (prompt.data?.versions.map((row) => row.version).find((one) => !taken.includes(one) && one !== rendered.data?.version) ?? null) : null;
        if (!taken.includes(free)) setColumns([...asked, { model, version: free }], calls);
      }} />}
    </>
  );
}

const keyOf = (one: Asked): string => askedText(one);

/** The address remembers the newest call of a column, so that a reload shows its answer again. */
function rememberCall(one: Asked, call: string): void {
  const params = new URLSearchParams(window.location.hash.split("?")[1] ?? "");
  const columns = params.getAll("col");
  const at = columns.indexOf(askedText(one));
  if (at < 0) return;
  const kept = (params.get("calls") ?? "").split(",");
  setParams({ calls: columns.map((_, index) => (index === at ? call : (kept[index] ?? ""))).join(",") });
}

function sentenceOf({ running, finding, ready, asked, missing, names, what }: {
  running: boolean;
  finding: string | null;
  ready: boolean;
  asked: number;
  missing: number;
  names: number;
  what: string;
}): string {
  if (running) return `Asking ${counted(asked, "model")}.`;
  if (finding) return finding;
  if (!ready) return "What do models answer? Choose a prompt or write a text.";
  if (missing) return `${what} lacks ${missing} of ${counted(names, "value")}.`;
  if (!asked) return `${what} is ready; no model is chosen.`;
  return `${what} is ready for ${counted(asked, "model")}.`;
}

// --- what is asked ---

function Source({ name, version, prompt, isDraft, text, onText, error }: {
  name: string;
  version: number | null;
  prompt: Prompt | undefined;
  isDraft: boolean;
  text: string;
  onText: (text: string) => void;
  error: unknown;
}) {
  const prompts = useRead("prompts", { limit: 1000 });
  const shown = useRead("prompt", { name, version }, { enabled: name !== "" && version !== null });
  const content = (version === null ? prompt : shown.data)?.content;
  const names = useMemo(() => [...new Set([...(name ? [name] : []), ...(prompts.data?.items ?? []).map((item) => item.name)])].sort(), [prompts.data, name]);
  const free = !name || isDraft;
  const forgotten = { calls: null };
  return (
    <Section title="Text" note={isDraft && name ? "a draft, not saved" : undefined} tools={name && (isDraft
      ? <button type="button" className="link" onClick={() => { onText(""); setParams({ text: null, draft: null, ...forgotten }); }}>Back to the saved text</button>
      : <button type="button" className="link" disabled={content === undefined} onClick={() => { onText(content ?? ""); setParams({ text: content, draft: 1, ...forgotten }); }}>Change the text</button>)}>
      <div className="halves source">
        <label className="field">Prompt
          <select data-filter value={name} onChange={(event) => setParams({ name: event.target.value, version: null, text: null, draft: null, col: askedWithoutVersions(), ...forgotten })}>
            <option value="">none, a free text</option>
            {names.map((one) => <option key={one} value={one}>{one}</option>)}
          </select>
        </label>
        {name && !isDraft && prompt && (
          <label className="field">Version
            <select value={version ?? ""} onChange={(event) => setParams({ version: event.target.value, ...forgotten })}>
              <option value="">latest, {prompt.version}</option>
              {prompt.versions.map((row) => <option key={row.version} value={row.version}>{[row.version, ...row.tags].join(", ")}</option>)}
            </select>
          </label>
        )}
      </div>
      {error ? <ErrorBox error={error} /> : null}
      {free ? (
        <label className="field">
          <span className="vh">The text</span>
          <textarea className="mono freetext" rows={Math.min(18, Math.max(6, text.split("\n").length + 1))} value={text} spellCheck={false} placeholder={"Answer in one sentence: $question"} onChange={(event) => onText(event.target.value)} />
        </label>
      ) : name && !prompt && !error ? <Skeleton rows={2} /> : null}
      {free && !name && !text && prompts.data?.items.length === 0 && <Empty code='promptry prompt save support/answer answer.txt'>No prompt is saved yet.</Empty>}
    </Section>
  );
}

const askedWithoutVersions = (): string[] => [...new Set(new URLSearchParams(window.location.hash.split("?")[1] ?? "").getAll("col").map((one) => askedIn(one).model))];

// --- what was asked before ---

const EARLIER: Column<CallItem>[] = [
  { key: "created_at", head: "Asked", sort: (row) => row.created_at, cell: (row) => <Time at={row.created_at} show="when" /> },
  { key: "id", head: "Call", sort: (row) => Number(row.id), cell: (row) => <a href={href("/calls", { call: row.id, origin: "playground" })}>{row.id}</a> },
  { key: "prompt_name", head: "Prompt", sort: (row) => row.prompt_name, cell: (row) => (row.prompt_name && row.prompt_version !== null ? <a href={href("/prompt", { name: row.prompt_name, version: row.prompt_version })}>{row.prompt_name} {row.prompt_version}</a> : <span className="dim">a text</span>) },
  { key: "model", head: "Model", className: "w99", sort: (row) => row.model, cell: (row) => <Model model={row.model} /> },
  { key: "status", head: "Ended", sort: (row) => row.status, cell: (row) => (row.status === "ok" ? <span className="dim">ok</span> : <State state={row.status ?? "unknown"} bare />) },
  { key: "latency_ms", head: "Latency", num: true, sort: (row) => row.latency_ms, cell: (row) => duration(row.latency_ms) },
  { key: "tokens_out", head: "Tokens out", num: true, className: "mid", sort: (row) => row.tokens_out, cell: (row) => number(row.tokens_out) },
  { key: "cost_usd", head: "Cost, $", num: true, sort: (row) => row.cost_usd, cell: (row) => money(row.cost_usd, { unit: false }) },
];

function Earlier({ name }: { name: string }) {
  const params = { origin: "playground", prompt: name || null, limit: 20 };
  const found = useRead("calls", params, { keep: true });
  return (
    <Section title="Asked before" note={name || "any prompt"} sql={{ read: "calls", params }} csv={found.data?.items.length ? () => saveCsv("playground", EARLIER, found.data.items) : undefined}>
      <Loaded query={found} rows={3} height={30}>
        {({ items }) => <Table label="What was asked before" rows={items} columns={EARLIER} dense rowKey={(row) => row.id} empty={<p className="nothing">Nothing was asked here yet.</p>} />}
      </Loaded>
    </Section>
  );
}
