import { useId, useMemo, useState } from "react";
import type { Dataset } from "../../api/types";
import { useWrite } from "../../api/useRead";
import { go } from "../../app/address";
import { Dialog } from "../../parts/Dialog";
import { counted, listed } from "../../parts/format";
import { ErrorBox } from "../../parts/States";
import { Tabs } from "../../parts/Tabs";
import type { Form } from "./items";
import { fieldsOf, inLine, joinItems, readItems } from "./items";

const FORMS = [
  { value: "auto", text: "By itself" },
  { value: "json", text: "JSON" },
  { value: "jsonl", text: "JSON Lines" },
  { value: "csv", text: "CSV" },
];
const NAMES: Record<string, string> = { json: "JSON", jsonl: "JSON Lines", csv: "CSV" };
const MOST_BYTES = 8_000_000;

interface Saved {
  name: string;
  version: number;
  items: number;
}

/** Save items pasted or from a file: of a new dataset, or added to (or instead of) those of one. */
export function SaveDialog({ dataset, names = [], onClose }: { dataset: Dataset | null; names?: string[]; onClose: () => void }) {
  const [name, setName] = useState(dataset?.name ?? "");
  const [text, setText] = useState("");
  const [form, setForm] = useState<Form>("auto");
  const [mode, setMode] = useState("add");
  const [fault, setFault] = useState<string | null>(null);
  const save = useWrite<Saved, { name: string; items: unknown[] }>("/api/datasets");
  const id = useId();
  const read = useMemo(() => (text.trim() ? readItems(text, form) : null), [text, form]);
  const joined = useMemo(() => (dataset && read && mode === "add" ? joinItems(dataset.items, read.items) : null), [dataset, read, mode]);
  const good = read !== null && read.fault === null;
  const known = !dataset && names.includes(name.trim());
  const items = joined?.items ?? read?.items ?? [];
  const nothing = joined !== null && joined.added + joined.replaced === 0;
  const store = async () => {
    const saved = await save.mutateAsync({ name: name.trim(), items }).catch(() => null); // save.error says why
    if (!saved) return;
    onClose();
    go("/dataset", { name: saved.name, version: saved.version });
  };
  const take = async (file: File | undefined) => {
    if (!file) return;
    if (file.size > MOST_BYTES) return setFault(`${file.name} has ${counted(Math.round(file.size / 1e6), "megabyte")}; from 8 on it is saved by the command: promptry dataset save ${name || "NAME"} ${file.name}`);
    setFault(null);
    setText(await file.text());
    if (!name) setName(file.name.replace(/\.\w+$/, ""));
  };
  return (
    <Dialog
      wide
      title={dataset ? `Add items to ${dataset.name}` : "New dataset"}
      onClose={onClose}
      foot={
        <>
          <button type="button" className="btn" onClick={onClose}>Cancel</button>
          <button type="button" className="btn go" disabled={!good || !name.trim() || known || nothing || save.isPending} onClick={() => void store()}>
            {dataset ? `Save ${counted(items.length, "item")} as ${Math.max(...dataset.versions.map((row) => row.version)) + 1}` : `Save ${good ? counted(items.length, "item") : "items"}`}
          </button>
        </>
      }
    >
      <div className="saving">
        {!dataset && (
          <label className="field">Name
            <input autoFocus type="text" value={name} spellCheck={false} placeholder="questions" onChange={(event) => setName(event.target.value)} />
            {known && <span className="warn">{name.trim()} is there already; add to it on its own page.</span>}
          </label>
        )}
        <div className="line">
          <Tabs label="How the text is read" choices={FORMS} value={form} onChange={(value) => setForm(value as Form)} />
          {dataset && <Tabs label="What becomes of the items that are there" choices={[{ value: "add", text: `Add to the ${dataset.items.length}` }, { value: "replace", text: "Replace all" }]} value={mode} onChange={setMode} />}
          <label className="btn small file">From a file<input className="vh" type="file" accept=".json,.jsonl,.ndjson,.csv,.tsv,.txt" onChange={(event) => void take(event.target.files?.[0])} /></label>
        </div>
        {dataset && mode === "add" && dataset.version < Math.max(...dataset.versions.map((row) => row.version)) && <p className="warn">They are added to the items of version {dataset.version}, which is not the newest.</p>}
        <label className="field" htmlFor={id}>Items</label>
        <textarea id={id} autoFocus={dataset !== null} className="mono" rows={10} spellCheck={false} value={text} placeholder={'[{"id": "q1", "question": "...", "expected": "..."}]\n\nor a line of JSON each, or CSV with its heads in the first line'} onChange={(event) => setText(event.target.value)} />
        <div aria-live="polite">
          {fault && <p className="bad">{fault}</p>}
          {read?.fault && <p className="bad">{read.fault}</p>}
          {good && <Told items={read.items} form={NAMES[read.form] ?? read.form} joined={joined} />}
        </div>
        {save.error && <ErrorBox error={save.error} />}
      </div>
    </Dialog>
  );
}

function Told({ items, form, joined }: { items: unknown[]; form: string; joined: ReturnType<typeof joinItems> | null }) {
  const fields = fieldsOf(items);
  const parts = joined ? [joined.added && `${joined.added} new`, joined.replaced && `${joined.replaced} in place of an item with that id`, joined.same && `${joined.same} already there`].filter((part): part is string => Boolean(part)) : [];
  return (
    <>
      <p>{form}: <b>{counted(items.length, "item")}</b>{fields.length > 0 && <> with {listed(fields.slice(0, 6))}{fields.length > 6 && ` and ${fields.length - 6} more`}</>}. {parts.length > 0 && `${listed(parts)}.`}</p>
      <ul className="peek cap mono">{items.slice(0, 3).map((item, at) => <li key={at}>{inLine(item)}</li>)}</ul>
    </>
  );
}
