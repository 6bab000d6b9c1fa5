import { setParams, useParam } from "../../app/address";
import { Diff } from "../../parts/Diff";
import { Drawer } from "../../parts/Drawer";
import type { Shape, Tone } from "../../parts/Mark";
import { Pill } from "../../parts/Mark";
import type { Column } from "../../parts/Table";
import { Table } from "../../parts/Table";
import type { ItemChange } from "./items";
import { fieldsOf, inFull, inLine } from "./items";

const LOOK: Record<ItemChange["state"], { shape: Shape; tone: Tone; word: string }> = {
  added: { shape: "up", tone: "good", word: "new" },
  changed: { shape: "diamond", tone: "accent", word: "changed" },
  removed: { shape: "cross", tone: "bad", word: "gone" },
};

function State({ state }: { state: ItemChange["state"] }) {
  const { shape, tone, word } = LOOK[state];
  return <Pill shape={shape} tone={tone} bare>{word}</Pill>;
}

/** What a changed item has otherwise: the fields that differ. */
function fieldsChanged({ before, now }: ItemChange): string {
  if (typeof before !== "object" || typeof now !== "object" || !before || !now) return inLine(now ?? before);
  const [old, fresh] = [before as Record<string, unknown>, now as Record<string, unknown>];
  const names = [...new Set([...Object.keys(old), ...Object.keys(fresh)])].filter((name) => inFull(old[name]) !== inFull(fresh[name]));
  return names.map((name) => `${name}: ${inLine(old[name]) || "–"} → ${inLine(fresh[name]) || "–"}`).join("; ");
}

/** An item by the values of its fields. */
const summary = (item: unknown): string => fieldsOf([item]).map((field) => inLine((item as Record<string, unknown>)[field])).filter(Boolean).join(" · ") || inLine(item);

const COLUMNS: Column<ItemChange>[] = [
  { key: "state", head: <span className="vh">State</span>, cell: (row) => <State state={row.state} /> },
  { key: "key", head: "Item", className: "mono", sort: (row) => row.key, cell: (row) => (row.key.length > 40 ? `${row.key.slice(0, 39)}…` : row.key) },
  { key: "what", head: "What", className: "clip", cell: (row) => (row.state === "changed" ? fieldsChanged(row) : summary(row.now ?? row.before)) },
];

/** What differs between two versions, item by item. */
export function Changes({ changes }: { changes: ItemChange[] }) {
  const [chosen, setChosen] = useParam("item");
  const open = changes.find((change) => change.key === chosen);
  return (
    <>
      <Table label="What differs" rows={changes} columns={COLUMNS} rowKey={(row) => row.key} selected={chosen || null} onOpen={(row) => setParams({ item: row.key === chosen ? null : row.key })} empty={<p className="nothing">Both versions hold the same items.</p>} />
      {open && (
        <Drawer title={open.key} tools={<State state={open.state} />} onClose={() => setChosen(null)}>
          {open.state === "changed" ? <Diff before={inFull(open.before)} now={inFull(open.now)} context={Infinity} label="What changed in the item" /> : <pre className="whole">{inFull(open.now ?? open.before)}</pre>}
        </Drawer>
      )}
    </>
  );
}
