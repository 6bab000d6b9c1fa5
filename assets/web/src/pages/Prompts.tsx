import { useMemo, useState } from "react";
import type { PromptItem } from "../api/types";
import { useRead } from "../api/useRead";
import { go, href, useParam } from "../app/address";
import { Dialog } from "../parts/Dialog";
import { counted, listed, money, number } from "../parts/format";
import { Head, HeadWaiting } from "../parts/Head";
import { Section } from "../parts/Section";
import { Empty, ErrorBox, Skeleton } from "../parts/States";
import type { Column } from "../parts/Table";
import { saveCsv, sortRows, Table } from "../parts/Table";
import { Time } from "../parts/Time";
import "./prompts.css";

const CRUMBS = [{ text: "Prompts" }];
const DAYS = 30;

interface Row extends PromptItem {
  cost: number | null;
  unpriced: number;
  /** The calls of the last 30 days; null while they are counted. */
  lately: number | null;
}

/** What was saved after the version that prod serves. */
const waits = (item: PromptItem): boolean => item.tags.prod !== undefined && item.tags.prod !== item.latest;

export default function Prompts() {
  const { data, error, refetch } = useRead("prompts", { limit: 1000 });
  const costs = useRead("cost", { by: "prompt", days: DAYS, limit: 1000 });
  const rows = useMemo<Row[]>(() => {
    const spent = new Map((costs.data?.items ?? []).map((item) => [item.prompt, item]));
    return (data?.items ?? []).map((item) => {
      const own = spent.get(item.name);
      return { ...item, cost: own?.cost_usd ?? null, unpriced: own?.unpriced ?? 0, lately: own?.calls ?? (costs.data ? 0 : null) };
    });
  }, [data, costs.data]);
  if (error && !data) {
    return (
      <>
        <Head title="Prompts" crumbs={CRUMBS} sentence="The prompts could not be read." />
        <ErrorBox error={error} retry={() => void refetch()} />
      </>
    );
  }
  if (!data) {
    return (
      <>
        <HeadWaiting title="Prompts" crumbs={CRUMBS} />
        <Skeleton rows={10} />
      </>
    );
  }
  return <Registry rows={rows} total={data.total} />;
}

function Registry({ rows, total }: { rows: Row[]; total: number }) {
  const [adding, setAdding] = useState(false);
  const add = <button type="button" className="btn" data-edit onClick={() => setAdding(true)}>New prompt <kbd>e</kbd></button>;
  const dialog = adding && <NewPrompt names={rows.map((row) => row.name)} onClose={() => setAdding(false)} />;
  if (!rows.length) {
    return (
      <>
        <Head title="Prompts" crumbs={CRUMBS} actions={add} sentence="No prompt is known yet." why="A prompt is known once code tracks its text, or once it is saved here or by the command." />
        <Section title="What fills this page">
          <Empty code='text = track("You are the support agent of $shop.", "support/answer")'>One line around the text in your code: it gets a name, a version, and its calls and cost.</Empty>
          <Empty code="promptry prompt save support/answer answer.txt">Or from a file.</Empty>
        </Section>
        {dialog}
      </>
    );
  }
  return (
    <>
      <Head title="Prompts" crumbs={CRUMBS} actions={add} sentence={answerOf(rows, total)} why={whyOf(rows)} />
      <List rows={rows} total={total} />
      {dialog}
    </>
  );
}

function answerOf(rows: Row[], total: number): string {
  const served = rows.filter((row) => row.tags.prod !== undefined);
  const waiting = served.filter(waits);
  const all = `${counted(total, "prompt")} in ${counted(new Set(rows.map((row) => row.module)).size, "module")}`;
  if (!served.length) return `${all}; none is tagged prod.`;
  if (!waiting.length) return `${all}; prod serves the latest version of ${served.length === rows.length ? "each" : `all ${served.length} that it serves`}.`;
  return `${all}; ${waiting.length} ${waiting.length === 1 ? "has" : "have"} a later version than prod serves.`;
}

function whyOf(rows: Row[]): string {
  const waiting = rows.filter(waits).map((row) => `${row.name} (${row.tags.prod} on prod, ${row.latest} latest)`);
  const more = waiting.length > 3 ? [...waiting.slice(0, 3), `${waiting.length - 3} more`] : waiting;
  const calls = rows.reduce((sum, row) => sum + (row.lately ?? 0), 0);
  const cost = rows.reduce((sum, row) => sum + (row.cost ?? 0), 0);
  const unpriced = rows.reduce((sum, row) => sum + row.unpriced, 0);
  const spent = calls ? `In ${DAYS} days they made ${counted(calls, "call")} for ${money(cost)}${unpriced ? `, ${number(unpriced)} of them without a price` : ""}.` : `They made no call in ${DAYS} days.`;
  return `${more.length ? `${listed(more)}. ` : ""}${spent}`;
}

// --- the table: by module unless it is sorted ---

const last = (name: string, module: string | null | undefined): string =>
  module && name.length > module.length && name.startsWith(module) ? name.slice(module.length) : name;

function columnsOf(first: ReadonlySet<string> | null): Column<Row>[] {
  return [
    {
      key: "module",
      head: "Module",
      sort: (row) => row.module,
      cell: (row) => (!first || first.has(row.name) ? <span className={first ? "ink" : "mid"}>{row.module ?? "–"}</span> : <span className="vh">{row.module}</span>),
    },
    {
      key: "name",
      head: "Prompt",
      className: "w99",
      sort: (row) => row.name,
      cell: (row) => (
        <a href={href("/prompt", { name: row.name })} title={row.name}>
          {first && row.module !== row.name && <span className="dim">{row.module}</span>}
          {first ? last(row.name, row.module === row.name ? null : row.module) : row.name}
        </a>
      ),
    },
    {
      key: "tags",
      head: "Serves",
      sort: (row) => row.tags.prod ?? null,
      csv: (row) => Object.entries(row.tags).map(([tag, version]) => `${tag} ${version}`).join("; "),
      cell: (row) => <Tags row={row} />,
    },
    {
      key: "latest",
      head: "Latest",
      num: true,
      sort: (row) => row.latest,
      cell: (row) => (waits(row) ? <span className="acc" title={`prod serves ${row.tags.prod}`}><a href={href("/prompt", { name: row.name, version: row.latest })}>{row.latest}</a></span> : row.latest),
    },
    { key: "versions", head: "Versions", num: true, className: "mid wide", sort: (row) => row.versions, cell: (row) => number(row.versions) },
    { key: "runs", head: "Runs", num: true, className: "mid", sort: (row) => row.runs, cell: (row) => (row.runs ? number(row.runs) : <span className="dim">0</span>) },
    {
      key: "calls",
      head: `Calls, ${DAYS} days`,
      num: true,
      sort: (row) => row.lately,
      cell: (row) => (row.lately ? <a className="quiet" href={href("/calls", { prompt: row.name, days: DAYS })}>{number(row.lately)}</a> : number(row.lately)),
    },
    {
      key: "cost_usd",
      head: "Cost, $",
      num: true,
      title: `Of the last ${DAYS} days, every origin`,
      sort: (row) => row.cost,
      cell: (row) => <Cost row={row} />,
    },
    { key: "current_at", head: "Last change", num: true, className: "mid", sort: (row) => row.current_at, cell: (row) => <Time at={row.current_at} /> },
  ];
}

/** What it cost; "+" where some calls have no price, a dash where none has one. */
function Cost({ row }: { row: Row }) {
  if (row.cost === null) return <span className="dim" title={row.unpriced ? `None of its ${counted(row.unpriced, "call")} has a price` : row.lately === null ? undefined : `No call in ${DAYS} days`}>{money(null)}</span>;
  if (!row.unpriced) return money(row.cost, { unit: false });
  return <span className="warn" title={`At least: ${counted(row.unpriced, "call")} without a price`}>{money(row.cost, { unit: false })}+</span>;
}

function Tags({ row }: { row: Row }) {
  const tags = Object.entries(row.tags).sort(([a], [b]) => Number(b === "prod") - Number(a === "prod") || a.localeCompare(b));
  if (!tags.length) return <span className="dim">no tag</span>;
  return (
    <span className="tags">
      {tags.map(([tag, version]) => (
        <a key={tag} className={tag === "prod" ? "tag on" : "tag"} href={href("/prompt", { name: row.name, version })}>{tag} {version}</a>
      ))}
    </span>
  );
}

function List({ rows, total }: { rows: Row[]; total: number }) {
  const [typed, setTyped] = useParam("q");
  const [module, setModule] = useParam("module");
  const [state, setState] = useParam("state");
  const [order] = useParam("sort");
  const modules = useMemo(() => {
    const counts = new Map<string, number>();
    for (const row of rows) counts.set(row.module ?? "", (counts.get(row.module ?? "") ?? 0) + 1);
    return [...counts].sort(([a], [b]) => a.localeCompare(b));
  }, [rows]);
  const shown = useMemo(() => {
    const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row: Row) => words.every((word) => row.name.toLowerCase().includes(word)) && (!module || row.module === module) && (state !== "waiting" || waits(row)) && (state !== "untagged" || !Object.keys(row.tags).length);
    return rows.filter(fits).sort((a, b) => (a.module ?? "").localeCompare(b.module ?? "") || a.name.localeCompare(b.name));
  }, [rows, typed, module, state]);
  const columns = useMemo(() => {
    const first = new Set<string>();
    let before: string | null | undefined;
    for (const row of shown) {
      if (row.module !== before) first.add(row.name);
      before = row.module;
    }
    return columnsOf(order ? null : first);
  }, [shown, order]);
  const states = [["waiting", "prod is behind", rows.filter(waits).length], ["untagged", "no tag", rows.filter((row) => !Object.keys(row.tags).length).length]] as const;
  return (
    <Section
      title="Registry"
      note={shown.length === rows.length ? (total > rows.length ? `the newest ${number(rows.length)} of ${number(total)}` : undefined) : `${shown.length} of ${rows.length}`}
      sql={[{ read: "prompts", params: { limit: 1000 } }, { read: "cost", params: { by: "prompt", days: DAYS, limit: 1000 } }]}
      csv={() => saveCsv("prompts", columns, sortRows(shown, columns, order))}
    >
      <div className="facets line">
        <input type="text" role="searchbox" data-filter aria-label="Filter by name" placeholder="Filter by name" aria-keyshortcuts="f" value={typed} onChange={(event) => setTyped(event.target.value)} />
        <Facet label="module" items={modules.map(([name, count]) => [name, name || "none", count])} value={module} onChange={setModule} />
        <Facet label="state" items={states.filter(([, , count]) => count > 0)} value={state} onChange={setState} />
      </div>
      <Table label="Prompts" rows={shown} columns={columns} rowKey={(row) => row.name} onOpen={(row) => go("/prompt", { name: row.name })} empty={<p className="nothing">No prompt fits. <button type="button" className="link" onClick={() => { setTyped(null); setModule(null); setState(null); }}>Show all {rows.length}</button></p>} />
    </Section>
  );
}

/** The values of one field with their counts; the chosen one is pressed again to take it away. */
function Facet({ label, items, value, onChange }: {
  label: string;
  items: readonly (readonly [string, string, number])[];
  value: string;
  onChange: (value: string | null) => void;
}) {
  if (items.length < 2 && label === "module") return null;
  if (!items.length) return null;
  return (
    <span role="group" aria-label={label}>
      {label}
      {items.map(([key, text, count]) => (
        <button key={key} type="button" className="link facet" aria-pressed={value === key} onClick={() => onChange(value === key ? null : key)}>
          {text} <span className="dim">{count}</span>
        </button>
      ))}
    </span>
  );
}

function NewPrompt({ names, onClose }: { names: string[]; onClose: () => void }) {
  const [name, setName] = useState("");
  const clean = name.trim();
  const known = names.includes(clean);
  const open = () => {
    if (!clean) return;
    onClose();
    go("/prompt", { name: clean, edit: 1 });
  };
  return (
    <Dialog title="New prompt" onClose={onClose} foot={<><button type="button" className="btn" onClick={onClose}>Cancel</button><button type="button" className="btn go" disabled={!clean} onClick={open}>{known ? "Edit it" : "Write its text"}</button></>}>
      <form onSubmit={(event) => { event.preventDefault(); open(); }}>
        <label className="field">
          Name
          <input autoFocus type="text" value={name} placeholder="support/answer" spellCheck={false} onChange={(event) => setName(event.target.value)} />
        </label>
        <p className="cap">{known ? `${clean} is known; its text is opened.` : "What stands before the first / or . is its module: budgets and costs are summed by it."}</p>
      </form>
    </Dialog>
  );
}
