import type { ReactNode } from "react";
import { useEffect, useMemo, useState } from "react";
import type { Comparison, Delta, Run } from "../../api/types";
import { useRead } from "../../api/useRead";
import { go, href, setParams, useParam, useParams } from "../../app/address";
import type { PairRow } from "../../parts/cases";
import { datasetOf, inputOf, isFailure, isFlip, outputOf, pairsOf, seen, textOf, toldRepeat } from "../../parts/cases";
import { Copy } from "../../parts/Copy";
import { Patch, Words } from "../../parts/Diff";
import { differencesOf, saidChange, shortCommit, toneOf } from "../../parts/findings";
import { capital, clock, counted, day, number, points, pointsInterval, pvalue, score } from "../../parts/format";
import { Finding, Head, HeadWaiting } from "../../parts/Head";
import { Interval, IntervalAxis, scaleOf } from "../../parts/Interval";
import { State, verdictOf } from "../../parts/Mark";
import type { Tone } from "../../parts/Mark";
import { Repeats } from "../../parts/Repeats";
import { Section } from "../../parts/Section";
import { Empty, ErrorBox, Skeleton } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { saveCsv, Table } from "../../parts/Table";
import { Tabs } from "../../parts/Tabs";
import { Matrix } from "./Matrix";
import { RollBack } from "./RollBack";
import type { Show } from "./words";
import { none, sentenceOf, SHOWS, shownOf, whyOf } from "./words";
import "../cases.css";

export default function ComparePage() {
  const params = useParams();
  const run = params.get("run");
  return run ? <Two run={run} baseline={params.get("baseline")} /> : <Choose />;
}

const CRUMBS = [{ text: "Suites", href: href("/suites") }];

/** Without a run in the address: the one that most needs a look, else what to do to get one. */
function Choose() {
  const { data, error, refetch } = useRead("overview");
  const judged = data?.suites.filter((suite) => suite.comparison?.baseline);
  const pick = judged?.find((suite) => suite.verdict === "regressed") ?? judged?.find((suite) => suite.verdict === "improved") ?? judged?.[0];
  useEffect(() => {
    if (pick) go("/compare", { run: pick.run, baseline: pick.comparison?.baseline?.id }, { replace: true });
  }, [pick]);
  if (error) return <><Head title="Compare" crumbs={[{ text: "Compare" }]} sentence="The store could not be read." /><ErrorBox error={error} retry={() => void refetch()} /></>;
  if (!data || pick) return <HeadWaiting title="Compare" crumbs={[{ text: "Compare" }]} />;
  return (
    <>
      <Head title="Compare" crumbs={[{ text: "Compare" }]} sentence="No run has been judged against another yet." why="The second run of a suite is compared with the first, or with the newest run of the version that a tag stands on." />
      <Empty code="promptry run --compare prod">A run and its baseline, paired case by case.</Empty>
    </>
  );
}

function Two({ run, baseline }: { run: string; baseline: string | null }) {
  const query = useRead("compare", { run, baseline });
  const now = useRead("run", { id: run });
  const other = query.data?.baseline?.id ?? (/^\d+$/.test(baseline ?? "") ? baseline : null); // a tag is known only to the server
  const before = useRead("run", { id: other ?? "" }, { enabled: other !== null });
  const title = `Compare ${run}${query.data?.baseline ? ` with ${query.data.baseline.id}` : ""}`;
  const crumbs = now.data ? [{ text: now.data.suite, href: href("/suite", { name: now.data.suite }) }, { text: `run ${run}` }] : [...CRUMBS, { text: `run ${run}` }];
  if (query.error) {
    const missing = query.error.status === 404;
    return (
      <>
        <Head
          title={title}
          crumbs={crumbs}
          sentence={missing && now.data ? <>No baseline. Run {run} is not judged.</> : <>The two runs could not be compared.</>}
          why={missing && now.data ? query.error.message : undefined}
          actions={now.data && <Choosers run={now.data} baseline={null} />}
        />
        {missing && now.data ? <Alone run={now.data} /> : <ErrorBox error={query.error} retry={() => void query.refetch()} />}
      </>
    );
  }
  if (!query.data || !now.data || !before.data) {
    const error = now.error ?? before.error;
    return (
      <>
        <HeadWaiting title={title} crumbs={crumbs} />
        {error ? <ErrorBox error={error} /> : <><Skeleton rows={7} /><Skeleton rows={10} height={30} /></>}
      </>
    );
  }
  return <Known comparison={query.data} run={now.data} baseline={before.data} title={title} asked={{ run, baseline }} />;
}

function Known({ comparison, run, baseline, title, asked }: { comparison: Comparison; run: Run; baseline: Run; title: string; asked: { run: string; baseline: string | null } }) {
  const [rollingBack, setRollingBack] = useState(false);
  const pairs = useMemo(() => pairsOf(comparison, run, baseline), [comparison, run, baseline]);
  const tag = run.manifest.gate?.compare && run.baseline_id === baseline.id ? run.manifest.gate.compare : null;
  const prompt = comparison.cause?.prompt ?? null;
  const canRollBack = prompt?.before?.includes("@") && prompt.now?.includes("@");
  const said = sentenceOf(comparison, run, tag);
  const why = whyOf(comparison, run, baseline);
  const { tone } = verdictOf(comparison.verdict);
  return (
    <>
      <Head
        title={title}
        crumbs={[{ text: run.suite, href: href("/suite", { name: run.suite }) }, { text: <Choosers run={run} baseline={baseline} tag={tag} /> }]}
        actions={
          <>
            <a className="btn" href={href("/compare", { run: baseline.id, baseline: run.id })}>Swap baseline</a>
            <Copy className="btn" label="Copy as Markdown" text={() => markdownOf(comparison, said, why, pairs)} />
            {canRollBack && <button type="button" className="btn go" onClick={() => setRollingBack(true)}>Roll back to {prompt?.before?.split("@").pop()}</button>}
          </>
        }
        sentence={<><Finding tone={tone}>{said.word}</Finding> {said.rest}</>}
        why={why}
      />
      {comparison.doubts.length > 0 && <p className="why">{comparison.doubts.map((doubt) => `${capital(doubt)}${/[.!?]$/.test(doubt) ? "" : "."}`).join(" ")}</p>}
      <div className="cols c-64">
        <Forest comparison={comparison} run={run} baseline={baseline} params={asked} />
        <WhatDiffers comparison={comparison} run={run} params={asked} />
      </div>
      <Cases pairs={pairs} run={run} baseline={baseline} params={asked} tag={tag} comparison={comparison} />
      {rollingBack && prompt?.before && prompt.now && <RollBack before={prompt.before} now={prompt.now} diff={comparison.cause?.prompt_diff ?? null} onClose={() => setRollingBack(false)} />}
    </>
  );
}

/** What to do with a run that nothing stands against. */
function Alone({ run }: { run: Run }) {
  const runs = useRead("runs", { suite: run.suite, limit: 50 });
  if (!runs.data) return <Skeleton rows={2} />;
  const rest = <>What it found is on <a href={href(`/run/${run.id}`)}>run {run.id}</a>.</>;
  if (runs.data.total < 2) return <Empty code={`promptry run ${/^[\w.-]+$/.test(run.suite) ? run.suite : `"${run.suite}"`}`}>It is the only run of {run.suite}; the next one can be compared with it. {rest}</Empty>;
  return <Empty>Choose another of its {number(runs.data.total)} runs above. {rest}</Empty>;
}

/** Which two runs: any of the suite's newest. */
function Choosers({ run, baseline, tag }: { run: Run; baseline: Run | null; tag?: string | null }) {
  const runs = useRead("runs", { suite: run.suite, limit: 50 });
  const items = runs.data?.items ?? [];
  const known = [run, ...(baseline ? [baseline] : [])].filter((one) => !items.some((item) => item.id === one.id));
  const options = [...items, ...known].map((one) => (
    <option key={one.id} value={one.id}>run {one.id}{one.prompt_version ? `, version ${one.prompt_version}` : ""}, {day(one.date)} {clock(one.date)}</option>
  ));
  return (
    <span className="of">
      <select aria-label="The judged run" value={run.id} onChange={(event) => setParams({ run: event.target.value, case: null }, { replace: false })}>{options}</select>
      against
      <select aria-label="The baseline" value={baseline?.id ?? ""} onChange={(event) => setParams({ baseline: event.target.value, case: null }, { replace: false })}>
        {!baseline && <option value="">choose a run</option>}
        {options}
      </select>
      {tag && <span className="tag on">{tag}</span>}
    </span>
  );
}

// --- the forest ---

interface ForestRow extends Pick<Delta, "delta" | "interval" | "p" | "baseline" | "current"> {
  name: string;
  all: boolean;
  broke: number;
  fixed: number;
  test: string | null;
}

/** Coloured only where the interval leaves nought out. */
const toneOfRow = (row: ForestRow, verdict: Comparison["verdict"]): Tone => {
  if (row.all) return toneOf(verdict);
  if (!row.interval || row.interval[0] * row.interval[1] <= 0) return "plain";
  return (row.delta ?? 0) < 0 ? "bad" : "good";
};

function Forest({ comparison, run, baseline, params }: { comparison: Comparison; run: Run; baseline: Run; params: { run: string; baseline: string | null } }) {
  const { flips, deltas } = comparison;
  const flipped = (state: string, type?: string) => new Set(flips.filter((flip) => flip.state === state && (!type || flip.assertion_type === type)).map((flip) => flip.case)).size;
  const rows: ForestRow[] = [
    { name: "All cases", all: true, ...comparison, baseline: baseline.score, current: run.score, broke: flipped("broken"), fixed: flipped("fixed"), test: null },
    ...deltas.map((delta) => ({ ...delta, name: delta.assertion_type, all: false, broke: flipped("broken", delta.assertion_type), fixed: flipped("fixed", delta.assertion_type) })),
  ];
  const scale = scaleOf(rows.flatMap((row) => row.interval ?? [row.delta]));
  const columns: Column<ForestRow>[] = [
    { key: "name", head: "Mean score", csv: (row) => row.name, cell: (row) => (row.all ? <b>{row.name}</b> : row.name.replaceAll("_", " ")) },
    { key: "plot", head: <IntervalAxis scale={scale} />, className: "plot w-forest", csv: false, cell: (row) => <Interval value={row.delta} interval={row.interval} scale={scale} tone={toneOfRow(row, comparison.verdict)} strong={row.all} /> },
    { key: "change", head: "Change", num: true, csv: (row) => row.delta, cell: (row) => <b className={{ bad: "bad", good: "good" }[toneOfRow(row, comparison.verdict) as string]} title={`${score(row.baseline, 3)} to ${score(row.current, 3)}`}>{points(row.delta)}</b> },
    { key: "interval", head: "95% interval", num: true, className: "mid", csv: (row) => row.interval?.join(" to "), cell: (row) => pointsInterval(row.interval) },
    { key: "flips", head: "Broke / fixed", num: true, csv: (row) => `${row.broke}/${row.fixed}`, cell: (row) => `${row.broke} / ${row.fixed}` },
    { key: "p", head: "p", num: true, csv: (row) => row.p, title: "the smallest of the kinds stands for all", cell: (row) => <span title={row.test ?? undefined}>{pvalue(row.p)}</span> },
  ];
  return (
    <Section title="Change by assertion" note={`points; ${counted(comparison.n, "pair")}, Holm over ${counted(deltas.length, "kind")}`} sql={{ read: "compare", params }} csv={() => saveCsv(`compare-${run.id}-${baseline.id}`, columns, rows)}>
      <Table label="Change by assertion" className="forest" rows={rows} columns={columns} rowKey={(row) => `${row.all} ${row.name}`} sortParam="forest" />
    </Section>
  );
}

// --- what differs ---

function WhatDiffers({ comparison, run, params }: { comparison: Comparison; run: Run; params: { run: string; baseline: string | null } }) {
  const { cause } = comparison;
  const found = new Map(differencesOf(cause));
  const { manifest } = run;
  const prompts = Object.entries(manifest.prompts ?? {}).map(([name, { version }]) => `${name} ${version}`);
  const values: [string, string | null | undefined][] = [
    ["prompt", prompts.join(", ") || (run.prompt_name && `${run.prompt_name} ${run.prompt_version ?? ""}`)],
    ["model", manifest.model ?? run.model],
    ["dataset", manifest.dataset],
    ["commit", manifest.git_commit && `${shortCommit(manifest.git_commit)}, ${manifest.git_dirty ? "with changes" : "clean"}`],
    ...(found.has("embedder") ? [["embedder", null] as [string, null]] : []),
  ];
  return (
    <Section title="What differs" note="between the two runs" sql={{ read: "compare", params }} tools={cause?.prompt?.now && cause.prompt.before && <a href={promptLink(cause.prompt.before, cause.prompt.now)}>Whole diff</a>}>
      <dl className="kv what">
        {values.map(([kind, value]) => {
          const change = found.get(kind);
          return (
            <div key={kind} className="pairline">
              <dt>{kind[0]?.toUpperCase()}{kind.slice(1)}</dt>
              {change ? <dd><b>{saidChange(change)}</b></dd> : <dd className="dim">{value ? `same, ${value}` : "not recorded"}</dd>}
            </div>
          );
        })}
      </dl>
      {cause?.prompt_diff ? <Patch patch={cause.prompt_diff} bare /> : !found.size && <p className="cap">Nothing we record changed between the two.</p>}
    </Section>
  );
}

function promptLink(before: string, now: string): string {
  const at = now.lastIndexOf("@");
  return href("/prompt", { name: now.slice(0, at), version: now.slice(at + 1), against: before.slice(before.lastIndexOf("@") + 1), view: "diff" });
}

// --- the cases ---

const VIEWS = [{ value: "list", text: "List" }, { value: "matrix", text: "Matrix" }];
const NOTHING: ReadonlyMap<string, unknown> = new Map();

/** The items of the dataset that the run names, by their id; none where it names none or that is gone. */
function useItems(run: Run): ReadonlyMap<string, unknown> {
  const named = datasetOf(run.manifest.dataset);
  const { data } = useRead("dataset", named ?? {}, { enabled: named !== null });
  return useMemo(() => (data ? new Map(data.items.flatMap((item) => (typeof item === "object" && item !== null && "id" in item ? [[String(item.id), item] as const] : []))) : NOTHING), [data]);
}

function Cases({ pairs, run, baseline, params, tag, comparison }: { pairs: PairRow[]; run: Run; baseline: Run; params: { run: string; baseline: string | null }; tag: string | null; comparison: Comparison }) {
  const lists: Record<Show, PairRow[]> = useMemo(
    () => ({ flips: pairs.filter(isFlip), failures: pairs.filter(isFailure), differences: pairs.filter((row) => row.differs), all: pairs }),
    [pairs],
  );
  const [show, setShow] = useParam("show", lists.flips.length ? "flips" : lists.failures.length ? "failures" : "all");
  const [chosen] = useParam("case");
  const [view, setView] = useParam("view", "list");
  const items = useItems(run);
  const rows = lists[shownOf(show)];
  const row = pairs.find((one) => one.case === chosen) ?? rows[0];
  const { unpaired } = comparison;
  const alone = unpaired.new.length + unpaired.missing.length;
  const columns: Column<PairRow>[] = [
    { key: "state", head: "Now", sort: (one) => one.state, cell: (one) => <State state={one.state} /> },
    { key: "case", head: "Case", className: "mono clip", sort: (one) => one.case, cell: (one) => <span title={one.case}>{one.case}</span> },
    { key: "by", head: "By", className: "mid", csv: (one) => one.by.join(" "), cell: (one) => <span title={one.by.join(", ")}>{one.by[0]?.replaceAll("_", " ")}{one.by.length > 1 && ` +${one.by.length - 1}`}</span> },
    { key: "held", head: "Held before", num: true, className: "mid wide", sort: (one) => one.held && one.held.passed / one.held.tries, cell: (one) => (one.held ? `${one.held.passed} of ${one.held.tries}` : "–") },
    { key: "before", head: tag ?? `run ${baseline.id}`, num: true, sort: (one) => one.before?.score, cell: (one) => score(one.before?.score) },
    { key: "now", head: "now", num: true, sort: (one) => one.now?.score, cell: (one) => score(one.now?.score) },
  ];
  const views = <Tabs label="How the cases are shown" value={view} onChange={setView} choices={VIEWS} />;
  if (view === "matrix") return <Matrix pairs={pairs} run={run} baseline={baseline} tag={tag} params={params} items={items} tools={views} />;
  return (
    <Section
      title="Cases"
      note={`paired by id${alone ? `; ${number(alone)} of ${number(pairs.length)} unpaired` : ""}`}
      tools={<>{views}<Tabs label="Which cases" value={show} onChange={setShow} choices={SHOWS.map((value) => ({ value, text: `${value[0]?.toUpperCase()}${value.slice(1)} ${number(lists[value].length)}` }))} /></>}
      sql={[{ read: "compare", params }, { read: "run", params: { id: run.id } }, { read: "run", params: { id: baseline.id } }]}
      csv={() => saveCsv(`compare-${run.id}-${baseline.id}-cases`, columns, rows)}
    >
      <div className="cols c-flip">
        <Table label="Cases" dense rows={rows} columns={columns} rowKey={(one) => one.case} selected={row?.case ?? null} follow onOpen={(one) => setParams({ case: one.case })} empty={<Empty>{none(shownOf(show))}</Empty>} />
        {row && <Case row={row} run={run} baseline={baseline} asked={inputOf(items.get(row.case))} />}
      </div>
    </Section>
  );
}

const versionOf = (run: Run): string => `Run ${run.id}${run.prompt_version ? `, version ${run.prompt_version}` : ""}`;

function Case({ row, run, baseline, asked }: { row: PairRow; run: Run; baseline: Run; asked: string | null }) {
  const [before, now] = [row.before ? toldRepeat(row.before) : undefined, row.now ? toldRepeat(row.now) : undefined];
  const [old, fresh] = [seen(outputOf(before)), seen(outputOf(now))];
  const failing = now?.checks.filter((check) => check.passed === false) ?? [];
  const expected = textOf((failing[0] ?? now?.checks[0])?.details?.expected);
  return (
    <div className="case">
      <div className="h3">
        <b className="mono ink">{row.case}</b>
        {expected !== null && expected.length < 80 && <span>{(failing[0] ?? now?.checks[0])?.assertion_type} “{expected}”</span>}
        <span className="right keysof"><kbd>j</kbd><kbd>k</kbd></span>
      </div>
      {asked !== null && <p className="out q" dir="auto">{asked}</p>}
      <div className="pair">
        <Side title={versionOf(baseline)} state={row.before?.state}>{old && (fresh ? <Words before={old} now={fresh} side="before" /> : old)}</Side>
        <Side title={versionOf(run)} state={row.now?.state}>{fresh && (old ? <Words before={old} now={fresh} side="now" /> : fresh)}</Side>
      </div>
      <p className="cap">
        {row.now && row.before && row.now.repeats.length + row.before.repeats.length > 2 && <>Repeats now <Repeats cases={row.now.repeats} />, before <Repeats cases={row.before.repeats} />. </>}
        {row.held && <>It held in {row.held.passed} of {row.held.tries} earlier tries. </>}
        Score {score(row.now?.score)}, was {score(row.before?.score)}.
      </p>
      {failing.map((check, at) => (
        <p key={at} className="cap"><span className="bad">{check.assertion_type.replaceAll("_", " ")}</span>: {String(check.details?.reason ?? "did not hold")}</p>
      ))}
      {row.now?.state === "error" && row.now.reason && <p className="cap"><span className="warn">error</span>: {row.now.reason}</p>}
      <p className="acts2">
        {row.now && <a className="btn small" href={href(`/run/${run.id}`, { case: row.case, show: "all" })}>All checks of run {run.id}</a>}
        <a className="btn small" href={href("/suite", { name: run.suite, bisect: 1, case: row.case })}>Bisect this case</a>
      </p>
    </div>
  );
}

function Side({ title, state, children }: { title: string; state: string | undefined; children: ReactNode }) {
  return (
    <div>
      <h3>{title} {state ? <State state={state} /> : <span className="dim">not in it</span>}</h3>
      <p className="out text" dir="auto">{children || <span className="dim">{!state ? "" : children === "" ? "an empty text" : "no output was recorded"}</span>}</p>
    </div>
  );
}

/** The comparison for a pull request or a chat. */
function markdownOf(comparison: Comparison, said: { word: string; rest: string }, why: string, pairs: PairRow[]): string {
  const rows = comparison.deltas.map((row) => `| ${row.assertion_type} | ${points(row.delta)} | ${pointsInterval(row.interval)} | ${pvalue(row.p)} |`);
  const changed = differencesOf(comparison.cause).map(([kind, change]) => `- ${kind}: ${saidChange(change)}`);
  const flips = pairs.filter(isFlip).slice(0, 50).map((row) => `- ${row.state}: \`${row.case}\` (${row.by.join(", ")})`);
  return [
    `**${said.word}** ${said.rest}`,
    why,
    ["| assertion | change, points | 95% interval | p |", "|---|---:|---:|---:|", ...rows].join("\n"),
    changed.length ? `What differs:\n\n${changed.join("\n")}` : "Nothing we record changed between the two runs.",
    flips.join("\n"),
  ].filter(Boolean).join("\n\n").concat("\n");
}

