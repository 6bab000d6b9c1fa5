import type { ReactNode } from "react";
import { useMemo } from "react";
import { href, setParams, useParam } from "../../app/address";
import { Copy } from "../../parts/Copy";
import { Drawer } from "../../parts/Drawer";
import { number } from "../../parts/format";
import type { Column } from "../../parts/Table";
import { Table } from "../../parts/Table";
import type { Origin } from "./items";
import { fieldsOf, idOf, inFull, inLine, originOf } from "./items";

export interface ItemRow {
  key: string;
  item: unknown;
  origin: Origin | null;
}

export const rowsOf = (items: readonly unknown[]): ItemRow[] => items.map((item, at) => ({ key: idOf(item) ?? `#${at + 1}`, item, origin: originOf(item) }));

const valueOf = (row: ItemRow, field: string): unknown => (typeof row.item === "object" && row.item !== null ? (row.item as Record<string, unknown>)[field] : undefined);

const MOST_FIELDS = 3;

function columnsOf(rows: readonly ItemRow[]): Column<ItemRow>[] {
  const fields = fieldsOf(rows.map((row) => row.item));
  const plain = rows.some((row) => typeof row.item !== "object" || row.item === null);
  const columns: Column<ItemRow>[] = [{ key: "id", head: "Id", className: "mono", sort: (row) => row.key, cell: (row) => (row.key.startsWith("#") ? <span className="dim">{row.key}</span> : row.key) }];
  if (plain) columns.push({ key: "item", head: "Item", className: "clip", sort: (row) => (typeof row.item === "object" ? null : inLine(row.item)), cell: (row) => (typeof row.item === "object" ? "" : inLine(row.item)) });
  for (const field of fields.slice(0, MOST_FIELDS)) {
    const longest = rows.slice(0, 200).reduce((most, row) => Math.max(most, inLine(valueOf(row, field)).length), 0);
    columns.push({ key: field, head: field, className: longest > 28 ? "clip share" : undefined, sort: (row) => inLine(valueOf(row, field)) || null, cell: (row) => inLine(valueOf(row, field)) || <span className="dim">–</span> });
  }
  if (rows.some((row) => row.origin)) columns.push({ key: "from", head: "From", sort: (row) => (row.origin ? (row.origin.call ?? row.origin.vote) : null), cell: (row) => <From origin={row.origin} /> });
  return columns;
}

/** Where an item came from, as a link to it. */
export function From({ origin, whole = false }: { origin: Origin | null; whole?: boolean }): ReactNode {
  if (!origin) return <span className="dim">–</span>;
  const to = origin.call ? <a href={href("/calls", { call: origin.call })}>call {origin.call}</a> : origin.vote ? <a href={href("/feedback", { of: "votes", prompt: origin.prompt })}>vote {origin.vote}</a> : null;
  if (!whole) return to ?? <span className="dim">–</span>;
  return (
    <>
      {to}
      {origin.prompt && <> of <a href={href("/prompt", { name: origin.prompt, version: origin.version })}>{origin.prompt} {origin.version}</a></>}
      {origin.told && <span className="dim">, {origin.told}</span>}
    </>
  );
}

/** The items of a version: filtered by what they say, one of them beside the table. */
export function Items({ name, rows }: { name: string; rows: ItemRow[] }) {
  const [typed, setTyped] = useParam("q");
  const [chosen, setChosen] = useParam("item");
  const columns = useMemo(() => columnsOf(rows), [rows]);
  const texts = useMemo(() => rows.map((row) => inFull(row.item).toLowerCase()), [rows]);
  const shown = useMemo(() => {
    const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
    return words.length ? rows.filter((_, at) => words.every((word) => texts[at]?.includes(word))) : rows;
  }, [rows, texts, typed]);
  const open = rows.find((row) => row.key === chosen);
  return (
    <>
      <div className="facets line">
        <input type="text" role="searchbox" data-filter aria-label="Find in the items" aria-keyshortcuts="f" placeholder="Find in the items" value={typed} onChange={(event) => setTyped(event.target.value)} />
        {typed && <span aria-live="polite">{number(shown.length)} of {number(rows.length)}</span>}
      </div>
      <Table label={`Items of ${name}`} rows={shown} columns={columns} rowKey={(row) => row.key} selected={chosen || null} onOpen={(row) => setParams({ item: row.key === chosen ? null : row.key })} empty={<p className="nothing">{typed ? "No item says that." : "This version has no item."}</p>} />
      {open && (
        <Drawer title={open.key} tools={<Copy text={inFull(open.item)} label="Copy as JSON" />} onClose={() => setChosen(null)}>
          <Whole row={open} />
        </Drawer>
      )}
    </>
  );
}

function Whole({ row }: { row: ItemRow }) {
  const fields = typeof row.item === "object" && row.item !== null && !Array.isArray(row.item) ? Object.entries(row.item).filter(([field]) => field !== "id" && field !== "from") : [["item", row.item] as [string, unknown]];
  return (
    <>
      {row.origin && <p className="cap"><From origin={row.origin} whole /></p>}
      {fields.map(([field, value]) => (
        <div key={field}>
          <h3>{field}</h3>
          {typeof value === "string" ? <p className="out whole">{value || <span className="dim">empty</span>}</p> : <pre className="whole">{inFull(value)}</pre>}
        </div>
      ))}
    </>
  );
}
