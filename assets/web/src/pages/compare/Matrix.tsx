// The outputs of two runs and of as many more as are chosen, side by side: a row a case, a column a run.
import type { ReactNode } from "react";
import { useMemo } from "react";
import type { Run } from "../../api/types";
import { useRead, useReads } from "../../api/useRead";
import { href, setParams, useParam, useParams } from "../../app/address";
import type { CaseRow, MatrixRow, PairRow } from "../../parts/cases";
import { inputOf, matrixOf, outputOf, seen, toldRepeat } from "../../parts/cases";
import { Words } from "../../parts/Diff";
import { Drawer } from "../../parts/Drawer";
import { countedAs, saidCounts } from "../../parts/findings";
import { clock, counted, day, duration, number, score } from "../../parts/format";
import { State } from "../../parts/Mark";
import { Repeats } from "../../parts/Repeats";
import { Section } from "../../parts/Section";
import { Empty, ErrorBox } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { saveCsv, Table } from "../../parts/Table";
import { Tabs } from "../../parts/Tabs";
import { none, SHOWS, shownOf } from "./words";
import "./matrix.css";

const MOST = 6; // runs side by side
const ROW = 104; // pixels of a row: what is said of it, and three lines of the output

/** The runs beside the two that are compared: in the address as `with`. */
function useOthers(run: Run, baseline: Run): { ids: string[]; runs: Run[]; loads: boolean; errors: { id: string; error: unknown }[] } {
  const named = useParams().getAll("with");
  const ids = [...new Set(named)].filter((id) => /^\d+$/.test(id) && id !== run.id && id !== baseline.id).slice(0, MOST - 2);
  const reads = useReads("run", ids.map((id) => ({ id })));
  return {
    ids,
    runs: reads.flatMap(({ data }) => (data ? [data] : [])),
    loads: reads.some(({ isPending }) => isPending),
    errors: reads.flatMap(({ error }, at) => (error ? [{ id: ids[at] ?? "", error }] : [])),
  };
}

export function Matrix({ pairs, run, baseline, tag, params, items, tools }: {
  pairs: PairRow[];
  run: Run;
  baseline: Run;
  tag: string | null;
  params: { run: string; baseline: string | null };
  /** The items of the run's dataset by their id. */
  items: ReadonlyMap<string, unknown>;
  tools: ReactNode;
}) {
  const others = useOthers(run, baseline);
  const loaded = others.runs.map((one) => one.id).join(" ");
  // biome-ignore lint: the runs are the same as long as their ids are
  const rows = useMemo(() => matrixOf(pairs, others.runs), [pairs, loaded]);
  const lists = useMemo(() => ({ flips: rows.filter((row) => row.flips), failures: rows.filter((row) => row.fails), differences: rows.filter((row) => row.differs), all: rows }), [rows]);
  const [show, setShow] = useParam("show", lists.flips.length ? "flips" : lists.failures.length ? "failures" : "all");
  const [only, setOnly] = useParam("only");
  const [typed, setTyped] = useParam("q");
  const [chosen] = useParam("case");
  const among = lists[shownOf(show)];
  const shown = useMemo(() => {
    const wanted = typed.toLowerCase();
    const holds = (row: MatrixRow) => `${row.case} ${inputOf(items.get(row.case)) ?? ""} ${row.cells.map((cell) => (cell && outputOf(toldRepeat(cell))) ?? "").join(" ")}`.toLowerCase().includes(wanted);
    return among.filter((row) => (!only || row.differs) && (!wanted || holds(row)));
  }, [among, only, typed, items]);
  const runs = [baseline, run, ...others.runs];
  const opened = rows.find((row) => row.case === chosen);
  const columns = useMemo(() => columnsOf(runs, tag, items, only !== ""), [loaded, run, baseline, tag, items, only]); // biome-ignore lint: as above
  return (
    <Section
      title="Outputs"
      note={shown.length === among.length ? `${counted(rows.length, "case")}, ${counted(runs.length, "run")}` : `${number(shown.length)} of ${number(among.length)} fit`}
      tools={<>{tools}<Tabs label="Which cases" value={show} onChange={setShow} choices={SHOWS.map((value) => ({ value, text: `${value[0]?.toUpperCase()}${value.slice(1)} ${number(lists[value].length)}` }))} /></>}
      sql={[{ read: "compare", params }, ...runs.map(({ id }) => ({ read: "run" as const, params: { id } }))]}
      busy={others.loads}
      csv={() => saveCsv(`outputs-${runs.map((one) => one.id).join("-")}`, savedOf(runs, items), shown)}
    >
      <div className="matrix-tools">
        <input className="find" type="search" data-filter aria-label="Find in cases and outputs" placeholder="Find in cases and outputs" value={typed} onChange={(event) => setTyped(event.target.value)} />
        <button type="button" className="btn small" aria-pressed={only !== ""} title="Only the cases that the runs answered differently, and in them the words that differ" onClick={() => setOnly(only ? null : "1")}>Differences only</button>
        <AddRun run={run} taken={runs.map((one) => one.id)} ids={others.ids} />
      </div>
      {others.errors.map(({ id, error }) => <ErrorBox key={id} error={error} />)}
      <Table
        label="Outputs"
        className="matrix"
        height={ROW}
        rows={shown}
        columns={columns}
        rowKey={(row) => row.case}
        selected={opened?.case ?? null}
        follow={opened !== undefined}
        onOpen={(row) => setParams({ case: row.case })}
        empty={<Empty>{typed ? "No case here holds that text." : none(shownOf(show))}</Empty>}
      />
      {opened && <Whole row={opened} runs={runs} items={items} onClose={() => setParams({ case: null })} />}
    </Section>
  );
}

/** Put a further run of the suite beside the two: another version, another model. */
function AddRun({ run, taken, ids }: { run: Run; taken: string[]; ids: string[] }) {
  const runs = useRead("runs", { suite: run.suite, limit: 100 });
  const free = (runs.data?.items ?? []).filter((one) => !taken.includes(one.id));
  const models = [...new Set(free.map((one) => one.model))];
  if (taken.length >= MOST) return <span className="cap">{number(MOST)} runs are shown at most.</span>;
  return (
    <label className="beside">
      <span>Beside them</span>
      <select value="" disabled={!free.length} onChange={(event) => setParams({ with: [...ids, event.target.value] })}>
        <option value="">{free.length ? "add a run" : "no other run"}</option>
        {models.map((model) => (
          <optgroup key={model ?? ""} label={model ?? "model not recorded"}>
            {free.filter((one) => one.model === model).map((one) => (
              <option key={one.id} value={one.id}>run {one.id}{one.prompt_version ? `, version ${one.prompt_version}` : ""}, {day(one.date)} {clock(one.date)}</option>
            ))}
          </optgroup>
        ))}
      </select>
    </label>
  );
}

function columnsOf(runs: Run[], tag: string | null, items: ReadonlyMap<string, unknown>, marked: boolean): Column<MatrixRow>[] {
  const first: Column<MatrixRow> = {
    key: "case",
    head: "Case",
    className: "of-case",
    sort: (row) => row.case,
    cell: (row) => (
      <div className="brick">
        <p><State state={row.state} bare /></p>
        <b className="mono" title={row.case}><bdi>{row.case}</bdi></b>
        <p className="asked" dir="auto">{inputOf(items.get(row.case))}</p>
      </div>
    ),
  };
  const beside = runs.map((run, at): Column<MatrixRow> => ({
    key: `run${run.id}`,
    head: <RunHead run={run} tag={at === 0 ? (tag ?? "baseline") : null} extra={at > 1} />,
    cell: (row) => <Cell cell={row.cells[at] ?? null} base={at === 0 ? null : (row.cells[0] ?? null)} marked={marked} />,
  }));
  return [first, ...beside];
}

function RunHead({ run, tag, extra }: { run: Run; tag: string | null; extra: boolean }) {
  const others = useParams().getAll("with");
  return (
    <span className="run-head">
      <span>
        <a className="nowrap" href={href(`/run/${run.id}`)}>Run {run.id}{run.prompt_version && `, version ${run.prompt_version}`}</a>
        {tag && <span className="tag on">{tag}</span>}
        {extra && <button type="button" className="icon" aria-label={`Take run ${run.id} out`} title="Take it out" onClick={() => setParams({ with: others.filter((id) => id !== run.id) })}>×</button>}
      </span>
      <span className="dim" title={run.model ?? undefined}>{run.model ?? "model not recorded"}, {saidCounts(run.counts, countedAs(run.manifest.repeats))}</span>
    </span>
  );
}

const passes = (cell: CaseRow): boolean => cell.state === "pass";

/** What one run made of a case; washed where it did otherwise than the baseline. */
function Cell({ cell, base, marked }: { cell: CaseRow | null; base: CaseRow | null; marked: boolean }) {
  if (!cell) return <div className="brick"><p className="dim">not in this run</p></div>;
  const text = seen(outputOf(toldRepeat(cell)));
  const before = base && seen(outputOf(toldRepeat(base)));
  return (
    <div className="brick">
      <p className="said">
        <State state={cell.state} bare={!base || passes(base) === passes(cell)} />
        {cell.repeats.length > 1 && <span className="cap"><Repeats cases={cell.repeats} /></span>}
        <span className="right dim">{cell.latency_ms !== null && <span title="the time that the case took">{duration(cell.latency_ms)}</span>}<span title="score" className="ink">{score(cell.score)}</span></span>
      </p>
      <Output cell={cell} text={text} before={before} marked={marked} />
    </div>
  );
}

const LONG = 1200; // characters of which a cell shows its three lines

function Output({ cell, text, before, marked }: { cell: CaseRow; text: string | null; before: string | null; marked: boolean }) {
  if (text === null) return <p className="lines dim" dir="auto">{cell.reason ?? "no output was recorded"}</p>;
  if (!text) return <p className="lines dim">an empty text</p>;
  if (marked && before === text) return <p className="lines dim">the same text</p>;
  const cut = text.slice(0, LONG);
  return <p className="lines" dir="auto">{marked && before !== null ? <Words before={before.slice(0, LONG)} now={cut} side="now" /> : cut}</p>;
}

/** A case whole: what was asked, and what each run answered, with the words marked that the baseline has not. */
function Whole({ row, runs, items, onClose }: { row: MatrixRow; runs: Run[]; items: ReadonlyMap<string, unknown>; onClose: () => void }) {
  const asked = inputOf(items.get(row.case));
  const told = row.cells[0] ? seen(outputOf(toldRepeat(row.cells[0]))) : null;
  return (
    <Drawer title={<span className="mono whole-name"><bdi>{row.case}</bdi></span>} onClose={onClose} wide>
      {asked !== null && <p className="out q" dir="auto">{asked}</p>}
      {runs.map((run, at) => {
        const cell = row.cells[at] ?? null;
        const text = cell && seen(outputOf(toldRepeat(cell)));
        const failing = (cell && toldRepeat(cell)?.checks.filter((check) => check.passed === false)) ?? [];
        return (
          <section key={run.id} className="whole" aria-label={`Run ${run.id}`}>
            <h3>
              <a href={href(`/run/${run.id}`, { case: row.case, show: "all" })}>Run {run.id}{run.prompt_version ? `, version ${run.prompt_version}` : ""}</a>
              {cell ? <State state={cell.state} bare /> : <span>not in it</span>}
              {cell && <span>{cell.latency_ms === null ? "" : `${duration(cell.latency_ms)}, `}score {score(cell.score)}</span>}
            </h3>
            {cell && cell.repeats.length > 1 && <p className="cap"><Repeats cases={cell.repeats} /></p>}
            {cell && <p className="out" dir="auto">{text === null ? <span className="dim">{cell.reason ?? "no output was recorded"}</span> : at > 0 && told !== null && told !== text ? <Words before={told} now={text} side="now" /> : text}</p>}
            {failing.map((check, place) => <p key={place} className="cap"><span className="bad">{check.assertion_type.replaceAll("_", " ")}</span>: {String(check.details?.reason ?? "did not hold")}</p>)}
          </section>
        );
      })}
    </Drawer>
  );
}

/** The columns of the CSV: of each run what the case ended as, its score, its time, and the whole output. */
function savedOf(runs: Run[], items: ReadonlyMap<string, unknown>): Column<MatrixRow>[] {
  const saved = (key: string, csv: (row: MatrixRow) => unknown): Column<MatrixRow> => ({ key, head: key, csv, cell: () => null });
  return [
    saved("case", (row) => row.case),
    saved("state", (row) => row.state),
    saved("input", (row) => inputOf(items.get(row.case))),
    ...runs.flatMap(({ id }, at) => [
      saved(`run_${id}`, (row) => row.cells[at]?.state),
      saved(`score_${id}`, (row) => row.cells[at]?.score),
      saved(`ms_${id}`, (row) => row.cells[at]?.latency_ms),
      saved(`output_${id}`, (row) => row.cells[at] && outputOf(toldRepeat(row.cells[at]))),
    ]),
  ];
}
