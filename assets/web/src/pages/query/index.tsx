import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import type { ApiError } from "../../api/client";
import { postJson } from "../../api/client";
import type { QueryAnswer } from "../../api/types";
import { useRead } from "../../api/useRead";
import { href, setParams, useParam } from "../../app/address";
import { Copy } from "../../parts/Copy";
import { csvText, saveFile } from "../../parts/csv";
import { counted, duration, number } from "../../parts/format";
import { Finding, Head } from "../../parts/Head";
import { Section } from "../../parts/Section";
import { ErrorBox, Skeleton } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { Table } from "../../parts/Table";
import { Tabs } from "../../parts/Tabs";
import "./query.css";
import { faultAt, FIRST, inserted, SAMPLES, VIEWS } from "./samples";

const CRUMBS = [{ text: "Query" }];
const LIMITS = [{ value: "1000", text: "1,000 rows" }, { value: "10000", text: "10,000" }];

/** What a SELECT answers; asked again when it is pressed, not with each new row of the store. */
function useAnswer(sql: string, limit: number) {
  return useQuery<QueryAnswer, ApiError>({
    queryKey: ["sql", sql, limit],
    queryFn: () => postJson<QueryAnswer>("/api/query", { sql, limit }),
    enabled: sql !== "",
    staleTime: "static",
    retry: false,
  });
}

export default function Query() {
  const [asked] = useParam("sql");
  const [limit, setLimit] = useParam("limit", "1000");
  const [text, setText] = useState(asked || FIRST);
  const answer = useAnswer(asked, Number(limit) || 1000);
  useEffect(() => {
    if (asked) setText(asked);
  }, [asked]);
  const run = (sql = text) => {
    setText(sql);
    if (sql === asked) void answer.refetch();
    else setParams({ sql }, { replace: false });
  };
  const editor = useRef<HTMLTextAreaElement>(null);
  const put = (piece: string) => {
    const field = editor.current;
    if (!field) return;
    const next = inserted(text, field.selectionStart, field.selectionEnd, piece);
    setText(next.text);
    field.focus();
    requestAnimationFrame(() => field.setSelectionRange(next.caret, next.caret));
  };
  return (
    <>
      <Head
        title="Query"
        crumbs={CRUMBS}
        actions={<Tabs label="How many rows at most" choices={LIMITS} value={limit} onChange={setLimit} />}
        sentence={<Sentence answer={answer} asked={asked} />}
        why={answer.data?.truncated ? "There are more rows: ask for more, or narrow it with WHERE." : "Read only: one SELECT, at most 5 seconds. Nothing asked here can change the store."}
      />
      <div className="cols c-73 asking">
        <Editor text={text} onChange={setText} onRun={() => run()} running={answer.isFetching} error={answer.isFetching ? null : answer.error} asked={asked} field={editor} />
        <aside aria-label="Views">
          <Section title="Views" note="press a name to put it in">
            {VIEWS.map((view) => <View key={view.name} {...view} onPut={put} />)}
          </Section>
        </aside>
      </div>
      <Section title="Begin from" className="near">
        <ul className="samples">
          {SAMPLES.map((sample) => <li key={sample.name}><button type="button" className="link" onClick={() => run(sample.sql)}>{sample.name}</button></li>)}
        </ul>
      </Section>
      <Result answer={answer.data} waiting={answer.isLoading} stale={text.trim() !== asked.trim()} />
    </>
  );
}

type Answer = ReturnType<typeof useAnswer>;

function Sentence({ answer, asked }: { answer: Answer; asked: string }) {
  if (!asked) return <>Ask the store anything that a SELECT can answer.</>;
  if (answer.isFetching && !answer.data) return <span className="waiting">Asking the store.</span>;
  if (answer.error) return <><Finding tone="bad">No answer:</Finding> the query has a fault.</>;
  if (!answer.data) return <span className="waiting">Asking the store.</span>;
  return <>{answer.data.truncated ? "The first " : ""}{counted(answer.data.rows.length, "row")} in {duration(answer.data.elapsed_ms)}.</>;
}

function Editor({ text, onChange, onRun, running, error, asked, field }: {
  text: string;
  onChange: (text: string) => void;
  onRun: () => void;
  running: boolean;
  error: ApiError | null;
  asked: string;
  field: React.RefObject<HTMLTextAreaElement | null>;
}) {
  const store = useRead("settings").data?.store.path;
  const fault = error ? faultAt(asked, error.message) : null;
  const lines = text.split("\n").length;
  const show = () => {
    field.current?.focus();
    if (fault) field.current?.setSelectionRange(fault.from, fault.to);
  };
  return (
    <Section
      title="SQL"
      note={<>Ctrl + Enter runs it</>}
      tools={<Copy text={`sqlite3 -readonly '${(store ?? ".promptry/store.db").replaceAll("'", "'\\''")}' "${text.replaceAll('"', '\\"').replaceAll("$", "\\$")}"`} label="Copy for the shell" className="link" />}
    >
      <form className={error ? "sql-edit wrong" : "sql-edit"} onSubmit={(event) => {
        event.preventDefault();
        onRun();
      }}>
        <pre className="lines" aria-hidden="true">{Array.from({ length: Math.max(lines, 9) }, (_, at) => (at < lines ? at + 1 : "")).map((line, at) => <span key={at} className={fault?.line === at + 1 ? "bad" : undefined}>{line}{"\n"}</span>)}</pre>
        <textarea
          ref={field}
          data-edit
          data-filter
          aria-label="SQL"
          aria-invalid={error !== null}
          spellCheck={false}
          autoCapitalize="off"
          rows={Math.min(24, Math.max(9, lines))}
          wrap="off"
          value={text}
          onChange={(event) => onChange(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
              event.preventDefault();
              onRun();
            }
          }}
          onScroll={(event) => {
            const gutter = event.currentTarget.previousElementSibling;
            if (gutter) gutter.scrollTop = event.currentTarget.scrollTop;
          }}
        />
        <footer>
          <button className="btn go small" disabled={running || !text.trim()}>{running ? "Asking" : "Run"}</button>
          {error ? (
            <p role="alert"><b className="bad">{fault && `Line ${fault.line}: `}{error.message}</b> {error.hint} {fault && <button type="button" className="link" onClick={show}>Show where</button>}</p>
          ) : (
            <span className="cap">{text.trim() !== asked.trim() && asked ? "changed since it was run" : ""}</span>
          )}
        </footer>
      </form>
    </Section>
  );
}

interface Row {
  at: number;
  values: unknown[];
}

function Result({ answer, waiting, stale }: { answer: QueryAnswer | undefined; waiting: boolean; stale: boolean }) {
  const rows = useMemo(() => (answer?.rows ?? []).map((values, at): Row => ({ at, values })), [answer]);
  const columns = useMemo(() => columnsOf(answer), [answer]);
  if (waiting) return <Skeleton rows={8} height={30} />;
  if (!answer) return null;
  return (
    <Section title="Rows" note={stale ? "of the query that was run last" : `${counted(answer.rows.length, "row")}, ${counted(answer.columns.length, "column")}`} csv={() => saveFile("query.csv", csvText(answer.columns, answer.rows))}>
      <Table label="What the query answers" dense className="result" rows={rows} columns={columns} rowKey={(row) => String(row.at)} empty={<p className="cap">No row fits.</p>} />
    </Section>
  );
}

function columnsOf(answer: QueryAnswer | undefined): Column<Row>[] {
  return (answer?.columns ?? []).map((name, at): Column<Row> => {
    const figures = answer?.rows.some((row) => typeof row[at] === "number") && answer.rows.every((row) => row[at] === null || typeof row[at] === "number");
    const isId = /(^|_)id$/.test(name);
    return {
      key: `${at}`,
      head: name,
      num: figures || false,
      sort: (row) => (typeof row.values[at] === "number" || row.values[at] === null ? (row.values[at] as number | null) : String(row.values[at])),
      cell: (row) => <Value value={row.values[at]} name={name} plain={isId} />,
    };
  });
}

/** A value as it is: figures in full, unknown a dash, a text cut to its first line, a trace as a link. */
function Value({ value, name, plain }: { value: unknown; name: string; plain: boolean }) {
  if (value === null || value === undefined) return <span className="dim">–</span>;
  if (typeof value === "number") return <>{plain ? value : number(value, Number.isInteger(value) ? 0 : Math.min(8, (String(value).split(".")[1] ?? "").length || 8))}</>;
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  if (name === "trace_id") return <a className="mono" href={href(`/trace/${encodeURIComponent(text)}`)}>{text}</a>;
  return <span className={plain || name === "run_uid" ? "mono" : undefined} title={text.length > 60 ? text.slice(0, 2000) : undefined}>{text.length > 200 ? `${text.slice(0, 200)}…` : text}</span>;
}

function View({ name, what, onPut }: { name: string; what: string; onPut: (piece: string) => void }) {
  const [openText, setOpen] = useParam("view", "v_calls");
  const open = openText === name;
  const columns = useAnswer(open ? `SELECT * FROM ${name} LIMIT 0` : "", 1);
  return (
    <div className="view">
      <p>
        <button type="button" className="link" aria-expanded={open} aria-label={`Columns of ${name}`} onClick={() => setOpen(open ? "none" : name)}><span className="caret" aria-hidden="true">{open ? "▾" : "▸"}</span></button>
        <button type="button" className="link mono" onClick={() => onPut(name)}>{name}</button> <span className="cap">{what}</span>
      </p>
      {open && columns.error && <ErrorBox error={columns.error} retry={() => void columns.refetch()} />}
      {open && columns.data && <p className="columns" tabIndex={0}>{columns.data.columns.map((column) => <button type="button" key={column} className="tag mono" onClick={() => onPut(column)}>{column}</button>)}</p>}
    </div>
  );
}
