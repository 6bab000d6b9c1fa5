import type { ReactNode } from "react";
import { useId } from "react";
import type { Prompt } from "../../api/types";
import { setParams, useParam } from "../../app/address";
import { Copy } from "../../parts/Copy";
import { Diff } from "../../parts/Diff";
import { Section } from "../../parts/Section";
import { ErrorBox, Skeleton } from "../../parts/States";
import { Tabs } from "../../parts/Tabs";
import { Template, withPlaceholders } from "../../parts/template";
import { useRendered } from "../../parts/useRendered";
import { useValues, Values } from "../../parts/Values";
import { saidSetting, settingChanges, settingsOf } from "./gate";

const VIEWS = [
  { value: "unified", text: "Unified" },
  { value: "split", text: "Split" },
  { value: "text", text: "Text" },
  { value: "rendered", text: "Rendered" },
];

interface Props {
  name: string;
  own: Prompt | undefined;
  before: Prompt | null | undefined;
  version: number;
  base: number | null;
  versions: number[];
  error: unknown;
}

/** What this version changes; or its text, plain or filled in. */
export function Texts({ name, own, before, version, base, versions, error }: Props) {
  const [view, setView] = useParam("view", "unified");
  const chosen = base === null && view !== "rendered" ? "text" : view;
  const choices = base === null ? VIEWS.slice(2) : VIEWS;
  const sql = [{ read: "prompt" as const, params: { name, version } }, ...(base !== null ? [{ read: "prompt" as const, params: { name, version: base } }] : [])];
  return (
    <Section
      title={base === null || chosen === "text" ? `Version ${version}` : `${base} to ${version}`}
      note={versions.length > 1 && chosen !== "text" ? <Against versions={versions} version={version} base={base} /> : undefined}
      sql={sql.slice(0, 1)}
      tools={<Tabs label="How the text is shown" choices={choices} value={chosen} onChange={setView} />}
      className="texts"
    >
      {error ? <ErrorBox error={error} /> : !own || before === undefined ? <Skeleton rows={12} height={20} /> : <Shown view={chosen} own={own} before={before} />}
      {own && <Settings own={own} before={chosen === "text" ? null : before} />}
    </Section>
  );
}

function Against({ versions, version, base }: { versions: number[]; version: number; base: number | null }) {
  const id = useId();
  return (
    <label className="against" htmlFor={id}>
      against{" "}
      <select id={id} value={base ?? ""} onChange={(event) => setParams({ against: event.target.value })}>
        {versions.filter((number) => number !== version).map((number) => <option key={number} value={number}>{number}</option>)}
      </select>
    </label>
  );
}

function Shown({ view, own, before }: { view: string; own: Prompt; before: Prompt | null }): ReactNode {
  if (view === "rendered") return <Filled own={own} before={before} />;
  if (view === "text" || !before) return <Lines text={own.content} />;
  return <Diff before={before.content} now={own.content} view={view === "split" ? "split" : "unified"} context={6} dress={withPlaceholders} label={`Version ${before.version} to ${own.version}`} />;
}

/** A text by its lines, numbered, with its placeholders marked. */
export function Lines({ text, label = "The text" }: { text: string; label?: string }) {
  return (
    <div className="diff lines" role="figure" aria-label={label} tabIndex={0}>
      {text.split("\n").map((line, at) => <div key={at}><span>{at + 1}</span><span><Template text={line} /></span></div>)}
      <Copy text={text} label="Copy the text" />
    </div>
  );
}

/** Both texts as they are served with these values. */
function Filled({ own, before }: { own: Prompt; before: Prompt | null }) {
  const [values, setValue] = useValues();
  const names = [...new Set([...own.placeholders, ...(before?.placeholders ?? [])])];
  const now = useRendered({ name: own.name, version: own.version, variables: values });
  const was = useRendered(before && { name: before.name, version: before.version, variables: values });
  const error = now.error ?? was.error;
  return (
    <>
      {names.length > 0 && <Values names={names} values={values} onChange={setValue} />}
      {error ? <ErrorBox error={error} /> : !now.data || (before && !was.data) ? <Skeleton rows={10} height={20} /> : (
        <>
          {was.data && was.data.text !== now.data.text
            ? <Diff before={was.data.text} now={now.data.text} context={Infinity} dress={withPlaceholders} label="Both texts filled in" />
            : <Lines text={now.data.text} label="The text filled in" />}
          {now.data.missing.length > 0 && <p className="cap settings">Not given, so left as written: <span className="mono">{now.data.missing.map((name) => `$${name}`).join(", ")}</span></p>}
        </>
      )}
    </>
  );
}

function Settings({ own, before }: { own: Prompt; before: Prompt | null | undefined }) {
  const now = settingsOf(own);
  const changes = before ? settingChanges(settingsOf(before), now) : [];
  const same = Object.entries(now).filter(([name]) => !changes.some(([changed]) => changed === name));
  if (!same.length && !changes.length) return <p className="cap settings">No model setting is kept with {before ? "either" : "it"}.</p>;
  return (
    <p className="cap settings">
      {changes.map(([name, was, is]) => <span key={name} className="mono change">{name} <del>{was}</del> <ins>{is}</ins></span>)}
      {same.length > 0 && <>{before ? "Model settings, same in both: " : "Saved with it: "}<span className="mono">{same.map(([name, value]) => `${name} ${saidSetting(value)}`).join(", ")}</span></>}
    </p>
  );
}
