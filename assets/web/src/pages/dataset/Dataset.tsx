import { useMemo, useState } from "react";
import type { Dataset as DatasetFacts } from "../../api/types";
import { useRead } from "../../api/useRead";
import { href, setParams, useParam, useParams } from "../../app/address";
import { csvText, saveFile } from "../../parts/csv";
import { counted, listed, number } from "../../parts/format";
import { Head, HeadWaiting } from "../../parts/Head";
import { Section } from "../../parts/Section";
import { ErrorBox, Skeleton } from "../../parts/States";
import { Tabs } from "../../parts/Tabs";
import { Time } from "../../parts/Time";
import { useShort } from "../../parts/useShort";
import { Changes } from "./Changes";
import { Items, rowsOf } from "./Items";
import type { ItemChange } from "./items";
import { changesOf, fieldsOf, inFull, originOf } from "./items";
import { SaveDialog } from "./SaveDialog";
import "../../parts/rail.css";
import "../prompts.css";
import "./dataset.css";

const MOST = 14; // versions in the rail

const crumbsOf = (name: string) => [{ text: "Datasets", href: href("/datasets") }, { text: name }];

function useNumber(name: string): number | null {
  const [text] = useParam(name);
  return /^\d+$/.test(text) ? Number(text) : null;
}

export default function Dataset() {
  const [name] = useParam("name");
  const version = useNumber("version");
  const found = useRead("dataset", { name, version }, { enabled: name !== "", keep: true });
  if (!name) return <Head title="Dataset" crumbs={crumbsOf("")} sentence="No dataset is named in the address." why={<>Choose one from <a href={href("/datasets")}>Datasets</a>.</>} />;
  if (found.data && found.data.name === name) return <Known key={name} dataset={found.data} />;
  if (found.error) {
    return (
      <>
        <Head title={name} crumbs={crumbsOf(name)} sentence={version === null ? `${name} could not be read.` : `Version ${version} of ${name} could not be read.`} why={<a href={href("/datasets")}>All datasets</a>} />
        <ErrorBox error={found.error} retry={() => void found.refetch()} />
      </>
    );
  }
  return (
    <>
      <HeadWaiting title={name} crumbs={crumbsOf(name)} />
      <div className="cms pairof"><section><Skeleton rows={4} height={46} /></section><section><Skeleton rows={10} /></section></div>
    </>
  );
}

function Known({ dataset }: { dataset: DatasetFacts }) {
  const { name, version } = dataset;
  const [view, setView] = useParam("view", "items");
  const [adding, setAdding] = useState(false);
  const older = dataset.versions.map((row) => row.version).filter((number) => number < version);
  const against = useNumber("against") ?? (older.length ? Math.max(...older) : null);
  const before = useRead("dataset", { name, version: against }, { enabled: against !== null && against !== version });
  const changes = useMemo(() => (before.data && before.data.version === against ? changesOf(before.data.items, dataset.items) : null), [before.data, dataset, against]);
  const newest = Math.max(...dataset.versions.map((row) => row.version));
  const rows = useMemo(() => rowsOf(dataset.items), [dataset]);
  const shown = against === null ? "items" : view;
  return (
    <>
      <Head
        title={`${name} ${version}`}
        crumbs={crumbsOf(name)}
        actions={
          <>
            <button type="button" className="btn" onClick={() => saveFile(`${name.replaceAll("/", "-")}-${version}.jsonl`, dataset.items.map((item) => `${JSON.stringify(item)}\n`).join(""), "application/x-ndjson")}>Save as JSONL</button>
            <button type="button" className="btn" data-edit aria-keyshortcuts="e" onClick={() => setAdding(true)}>Add items <kbd>e</kbd></button>
          </>
        }
        sentence={answerOf(dataset, against, changes)}
        why={<Why dataset={dataset} newest={newest} />}
      />
      <div className="cms pairof">
        <Rail dataset={dataset} against={shown === "changes" ? against : null} newest={newest} />
        <Section
          title={shown === "items" ? "Items" : `${against} to ${version}`}
          note={shown === "items" ? counted(rows.length, "item") : <Against dataset={dataset} against={against} />}
          tools={against !== null && <Tabs label="What is shown" value={shown} onChange={(next) => setView(next)} choices={[{ value: "items", text: "Items" }, { value: "changes", text: changes ? `Changes ${number(changes.length)}` : "Changes" }]} />}
          sql={[{ read: "dataset", params: { name, version } }]}
          csv={() => (shown === "items" ? itemsCsv(dataset) : changes && changesCsv(name, changes))}
          className="texts"
        >
          {shown === "items" ? <Items name={name} rows={rows} /> : before.error ? <ErrorBox error={before.error} retry={() => void before.refetch()} /> : changes ? <Changes changes={changes} /> : <Skeleton rows={6} />}
        </Section>
      </div>
      {adding && <SaveDialog dataset={dataset} onClose={() => setAdding(false)} />}
    </>
  );
}

/** "10 are new since 2, 1 changed and 3 are gone". */
export function saidChanges(changes: readonly ItemChange[], against: number): string {
  const count = (state: ItemChange["state"]) => changes.filter((change) => change.state === state).length;
  const [added, changed, removed] = [count("added"), count("changed"), count("removed")];
  const be = (count: number) => (count === 1 ? "is" : "are");
  const parts = [added && `${number(added)} ${be(added)} new`, changed && `${number(changed)} changed`, removed && `${number(removed)} ${be(removed)} gone`].filter((part): part is string => Boolean(part));
  return parts.length ? `${listed(parts)} since ${against}` : `the same as ${against}`;
}

function answerOf({ name, version, items }: DatasetFacts, against: number | null, changes: ItemChange[] | null): string {
  const holds = `Version ${version} of ${name} holds ${counted(items.length, "item")}`;
  return against === null || !changes ? `${holds}.` : `${holds}; ${saidChanges(changes, against)}.`;
}

function Why({ dataset, newest }: { dataset: DatasetFacts; newest: number }) {
  const origins = dataset.items.map(originOf);
  const calls = origins.filter((origin) => origin?.call).length;
  const votes = origins.filter((origin) => origin?.vote).length;
  const from = [calls && `${counted(calls, "item")} came from recorded calls`, votes && `${counted(votes, "item")} from votes`].filter((part): part is string => Boolean(part));
  return (
    <>
      {from.length > 0 && `${listed(from)}. `}
      A suite with <span className="mono">dataset="{dataset.version === newest ? dataset.name : `${dataset.name}@${dataset.version}`}"</span> has a case for each item
      {dataset.version === newest ? <>; <span className="mono">{dataset.name}@{dataset.version}</span> pins this version.</> : `; version ${newest} is the newest.`}
    </>
  );
}

function Rail({ dataset, against, newest }: { dataset: DatasetFacts; against: number | null; newest: number }) {
  const params = useParams();
  const { shown, hidden, showAll } = useShort(dataset.versions, MOST, (row) => row.version === dataset.version || row.version === against);
  return (
    <Section title="Versions" note={dataset.versions.length} className="versions">
      <ol className="rail" data-rows>
        {shown.map((row) => (
          <li key={row.version} className={row.version === dataset.version ? "on" : row.version === against ? "base" : undefined}>
            <a data-row href={href("/dataset", { name: dataset.name, version: row.version, view: params.get("view"), q: params.get("q") })} aria-current={row.version === dataset.version ? "true" : undefined}>
              <b>{row.version}</b>{row.version === newest && <span className="tag">newest</span>}
              <p>{counted(row.items, "item")}, <Time at={row.created_at} show="when" /></p>
            </a>
          </li>
        ))}
      </ol>
      {hidden > 0 && <button type="button" className="link cap" onClick={showAll}>{counted(hidden, "older version")} more</button>}
    </Section>
  );
}

function Against({ dataset, against }: { dataset: DatasetFacts; against: number | null }) {
  return (
    <label className="against">
      against{" "}
      <select value={against ?? ""} onChange={(event) => setParams({ against: event.target.value, item: null })}>
        {dataset.versions.filter((row) => row.version !== dataset.version).map((row) => <option key={row.version} value={row.version}>{row.version}</option>)}
      </select>
    </label>
  );
}

function itemsCsv({ name, version, items }: DatasetFacts): void {
  const fields = fieldsOf(items);
  const facts = (item: unknown) => (typeof item === "object" && item !== null ? (item as Record<string, unknown>) : { item });
  const plain = items.some((item) => typeof item !== "object" || item === null);
  const heads = ["id", ...fields, ...(plain ? ["item"] : []), ...(items.some(originOf) ? ["from"] : [])];
  saveFile(`${name.replaceAll("/", "-")}-${version}.csv`, csvText(heads, items.map((item) => heads.map((head) => facts(item)[head]))));
}

function changesCsv(name: string, changes: readonly ItemChange[]): void {
  saveFile(`${name.replaceAll("/", "-")}-changes.csv`, csvText(["item", "state", "before", "now"], changes.map((change) => [change.key, change.state, inFull(change.before), inFull(change.now)])));
}
