import { useState } from "react";
import type { DatasetItem } from "../api/types";
import { useRead } from "../api/useRead";
import { go, href, useParam } from "../app/address";
import { counted, number } from "../parts/format";
import { Head, HeadWaiting } from "../parts/Head";
import { Section } from "../parts/Section";
import { Empty, ErrorBox, Skeleton } from "../parts/States";
import type { Column } from "../parts/Table";
import { saveCsv, Table } from "../parts/Table";
import { Time } from "../parts/Time";
import { SaveDialog } from "./dataset/SaveDialog";
import "./prompts.css";
import "./dataset/dataset.css";

const CRUMBS = [{ text: "Datasets" }];
const PARAMS = { limit: 1000 };

const COLUMNS: Column<DatasetItem>[] = [
  { key: "name", head: "Dataset", className: "w99", sort: (row) => row.name, cell: (row) => <a href={href("/dataset", { name: row.name })}>{row.name}</a> },
  { key: "version", head: "Newest", num: true, sort: (row) => row.version, cell: (row) => row.version },
  { key: "versions", head: "Versions", num: true, className: "mid", sort: (row) => row.versions, cell: (row) => number(row.versions) },
  { key: "items", head: "Items", num: true, sort: (row) => row.items, cell: (row) => number(row.items) },
  { key: "created_at", head: "Last change", num: true, className: "mid", sort: (row) => row.created_at, cell: (row) => <Time at={row.created_at} /> },
];

export default function Datasets() {
  const { data, error, refetch } = useRead("datasets", PARAMS);
  const [adding, setAdding] = useState(false);
  const [typed, setTyped] = useParam("q");
  if (error && !data) {
    return (
      <>
        <Head title="Datasets" crumbs={CRUMBS} sentence="The datasets could not be read." />
        <ErrorBox error={error} retry={() => void refetch()} />
      </>
    );
  }
  if (!data) {
    return (
      <>
        <HeadWaiting title="Datasets" crumbs={CRUMBS} />
        <Skeleton rows={8} />
      </>
    );
  }
  const { items, total } = data;
  const add = <button type="button" className="btn" data-edit onClick={() => setAdding(true)}>New dataset <kbd>e</kbd></button>;
  const dialog = adding && <SaveDialog dataset={null} names={items.map((item) => item.name)} onClose={() => setAdding(false)} />;
  if (!items.length) {
    return (
      <>
        <Head title="Datasets" crumbs={CRUMBS} actions={add} sentence="No dataset is saved yet." why="A suite with dataset= has a case for each of its items, and two runs are compared item by item." />
        <Section title="What fills this page">
          <Empty code="promptry dataset save questions.json">From a file; or paste items with New dataset.</Empty>
          <Empty code="promptry dataset add questions --call 1">Or from a recorded call with its text: its page, and the playground, make it an item.</Empty>
        </Section>
        {dialog}
      </>
    );
  }
  const shown = items.filter((item) => item.name.toLowerCase().includes(typed.toLowerCase()));
  const sum = items.reduce((count, item) => count + item.items, 0);
  const [most] = [...items].sort((a, b) => b.items - a.items);
  const [newest] = [...items].sort((a, b) => b.created_at.localeCompare(a.created_at));
  return (
    <>
      <Head
        title="Datasets"
        crumbs={CRUMBS}
        actions={add}
        sentence={`${counted(total, "dataset")} ${total === 1 ? "holds" : "hold"} ${counted(sum, "item")}${total > 1 && most ? `; ${most.name} has ${number(most.items)} of them.` : "."}`}
        why={newest && <>The newest change is version {newest.version} of <a href={href("/dataset", { name: newest.name })}>{newest.name}</a>. A suite reads the newest version, or the one that it pins as {newest.name}@{newest.version}.</>}
      />
      <Section title="All" note={shown.length < items.length ? `${shown.length} of ${items.length}` : undefined} sql={{ read: "datasets", params: PARAMS }} csv={() => saveCsv("datasets", COLUMNS, shown)}>
        <div className="facets line">
          <input type="text" role="searchbox" data-filter aria-label="Filter by name" placeholder="Filter by name" aria-keyshortcuts="f" value={typed} onChange={(event) => setTyped(event.target.value)} />
        </div>
        <Table label="Datasets" rows={shown} columns={COLUMNS} rowKey={(row) => row.name} onOpen={(row) => go("/dataset", { name: row.name })} empty={<p className="nothing">No dataset fits.</p>} />
      </Section>
      {dialog}
    </>
  );
}
