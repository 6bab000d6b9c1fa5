// The editor of a prompt: a draft from a version, looked over as one types, saved as the next.
import { lazy, Suspense, useEffect, useMemo, useRef, useState } from "react";
import type { LintRow, Prompt } from "../../api/types";
import { useWrite } from "../../api/useRead";
import { go, setParams, useParam, useParams } from "../../app/address";
import { useEscape } from "../../app/keys";
import { Dialog } from "../../parts/Dialog";
import { changedLines } from "../../parts/Diff";
import { counted } from "../../parts/format";
import { Mark } from "../../parts/Mark";
import type { Shape } from "../../parts/Mark";
import { Section } from "../../parts/Section";
import { ErrorBox, Skeleton } from "../../parts/States";
import { useLint } from "../../parts/useRendered";
import { servedBy } from "./gate";
import { Instead } from "./MoveDialog";

const Code = lazy(() => import("./Code"));

interface Props {
  name: string;
  /** The version that the draft is made from; null for a prompt that is none yet. */
  base: number | null;
  /** Its text; null while it is read. */
  content: string | null;
  next: number;
  prompt: Prompt | null;
  /** What is kept with the version that the draft is made from; the next keeps it too. */
  settings?: Record<string, unknown>;
  always?: boolean;
}

export function Draft(props: Props) {
  const [edit] = useParam("edit");
  if (!edit && !props.always) return null;
  return (
    <Section title="Editor" note={props.base === null ? "a first version" : `draft from ${props.base}`} className="draft">
      {props.content === null ? <Skeleton rows={10} height={20} /> : <Editor {...props} content={props.content} />}
    </Section>
  );
}

/** Under which the tab keeps a draft. */
export const draftKey = (name: string, base: number | null): string => `promptry.draft ${name} ${base ?? ""}`;

/** A draft outlives a reload and a look at another page, in this tab. */
function useDraft(key: string, content: string): [string, (text: string) => void] {
  const [text, setText] = useState(() => sessionStorage.getItem(key) ?? content);
  return [text, (next) => {
    setText(next);
    if (next === content) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, next);
  }];
}

interface Saved {
  version: number;
  is_new: boolean;
}

function Editor({ name, base, content, next, prompt, settings = {}, always }: Props & { content: string }) {
  const key = draftKey(name, base);
  const [text, setText] = useDraft(key, content);
  const [tag, setTag] = useState("");
  const [asking, setAsking] = useState(false);
  const [line, setLine] = useState<{ line: number } | null>(null);
  const vars = useParams().get("vars");
  const isBlank = !text.trim();
  const lint = useLint(name, isBlank ? null : text);
  const rows = useMemo(() => (isBlank ? [] : (lint.data?.items ?? [])), [isBlank, lint.data]);
  const save = useWrite<Saved, { name: string; content: string; tag?: string; metadata?: Record<string, unknown> }>("/api/prompts");
  const box = useRef<HTMLDivElement>(null);
  const close = () => setParams({ edit: null });
  const dirty = text !== content;
  useEscape(close, !always && !dirty);
  useEffect(() => {
    box.current?.scrollIntoView({ block: "nearest" });
  }, []);
  const store = async () => {
    const own = Object.keys(settings).length ? { metadata: settings } : {};
    const saved = await save.mutateAsync({ name, content: text, ...(tag ? { tag } : {}), ...own }).catch(() => null); // save.error says why
    if (!saved) return;
    sessionStorage.removeItem(key);
    setAsking(false);
    go("/prompt", { name, version: saved.version });
  };
  const from = tag && prompt ? (servedBy(prompt, tag)?.version ?? null) : null;
  return (
    <div ref={box}>
      <Suspense fallback={<Skeleton rows={10} height={20} />}>
        <Code text={text} onChange={setText} lint={rows} label={`The text of ${name}`} goTo={line} onSave={() => (tag ? setAsking(true) : dirty && void store())} />
      </Suspense>
      <div className="under">
        {isBlank ? <p className="dim">The text is empty. <span className="mono">$name</span> makes a variable.</p> : <Findings rows={rows} waiting={lint.data === undefined && !lint.error} onPress={(at) => setLine({ line: at })} />}
        {lint.error && <ErrorBox error={lint.error} />}
        <span className="acts3">
          <span className="dim">{dirty ? (base === null ? counted(text.split("\n").length, "line") : `${changedLines(content, text)}, not saved`) : "no change"}</span>
          {dirty && base !== null && <button type="button" className="btn small" onClick={() => setText(content)}>Discard</button>}
          {!always && !dirty && <button type="button" className="btn small" onClick={close}>Close</button>}
          <a className="btn small" href={tryHref(name, text, vars)}>Try it</a>
          <TagField value={tag} onChange={setTag} tags={prompt?.serves.map((row) => row.tag) ?? []} />
          <button type="button" className="btn small go" disabled={!dirty || !text.trim() || save.isPending} onClick={() => (tag ? setAsking(true) : void store())}>Save as {next}{tag && ` for ${tag}`}</button>
        </span>
      </div>
      <p className="cap">
        {save.data && !save.data.is_new ? `This is the very text of version ${save.data.version}, which is the latest again. ` : ""}
        What is saved is the latest: code that names no tag is served it. Code that asks for prod is not, until it is promoted.
      </p>
      {save.error && !asking && <ErrorBox error={save.error} />}
      {asking && (
        <Dialog
          wide
          title={`Save as ${next} and tag it ${tag}`}
          onClose={() => setAsking(false)}
          foot={
            <>
              <button type="button" className="btn" onClick={() => setAsking(false)}>Cancel</button>
              <button type="button" className="btn go" disabled={save.isPending} onClick={() => void store()}>Save as {next} for {tag}</button>
            </>
          }
        >
          <Instead name={name} tag={tag} from={from} to={next} draft={text} />
          {save.error && <ErrorBox error={save.error} />}
        </Dialog>
      )}
    </div>
  );
}

const tryHref = (name: string, text: string, vars: string | null): string =>
  `#/playground?${new URLSearchParams({ name, text, draft: "1", ...(vars ? { vars } : {}) }).toString()}`;

function TagField({ value, onChange, tags }: { value: string; onChange: (tag: string) => void; tags: string[] }) {
  const all = [...new Set([...tags, "dev", "staging", "prod"])].sort();
  return (
    <label className="tagfield">
      <span className="dim">tag</span>
      <input type="text" list="tags-known" value={value} placeholder="none" spellCheck={false} onChange={(event) => onChange(event.target.value.trim())} />
      <datalist id="tags-known">{all.map((one) => <option key={one} value={one} />)}</datalist>
    </label>
  );
}

const LEVEL: Record<string, { shape: Shape; tone: string }> = {
  error: { shape: "cross", tone: "bad" },
  warning: { shape: "triangle", tone: "warn" },
  hint: { shape: "ring", tone: "dim" },
};

/** What there is to say of the draft; a press goes to its line. */
function Findings({ rows, waiting, onPress }: { rows: LintRow[]; waiting: boolean; onPress: (line: number) => void }) {
  if (waiting) return <p className="dim" role="status">Looking it over.</p>;
  if (!rows.length) return <p className="good" role="status"><Mark shape="tick" /> Nothing to say of it.</p>;
  return (
    <ul className="findings" aria-label="What there is to say of it">
      {rows.slice(0, 8).map((row, at) => {
        const { shape, tone } = LEVEL[row.level] ?? { shape: "ring" as Shape, tone: "dim" };
        return (
          <li key={at}>
            <span className={tone} title={row.level}><Mark shape={shape} /><span className="vh">{row.level}</span></span>
            <button type="button" className="quietbtn" onClick={() => onPress(row.line)}>Line {row.line}: {row.message}</button>
          </li>
        );
      })}
      {rows.length > 8 && <li className="dim">{rows.length - 8} more</li>}
    </ul>
  );
}
