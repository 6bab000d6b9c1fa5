// The history of a suite on one axis of runs: the score with its band, what ran below it, and the cases by run.
import type { ReactNode } from "react";
import { Fragment, useEffect, useMemo, useRef, useState } from "react";
import type { Suite, SuiteCase, SuiteRun } from "../../api/types";
import { href } from "../../app/address";
import { shortCommit } from "../../parts/findings";
import { clock, counted, day, money, percent, percentInterval, points, score } from "../../parts/format";
import { stateOf } from "../../parts/Mark";
import { useReach } from "../../parts/reach";
import type { Look } from "./timeline";
import { axisFoot, axisTicks, labelled, lookOf, stretches } from "./timeline";

const HEIGHT = 184;
const TOP = 8;
const BOTTOM = 22;
const MANY = 120; // runs from which equal neighbours of a map are drawn as one

const share = (value: number, of: number): string => `${((value / of) * 100).toFixed(3)}%`;

/** What scrolls sideways on a narrow screen opens at its newest end. */
function Newest({ label, children }: { label: string; children: ReactNode }) {
  const box = useRef<HTMLDivElement>(null);
  const reach = useReach(box, label);
  useEffect(() => {
    if (box.current) box.current.scrollLeft = box.current.scrollWidth;
  }, []);
  return <div className="scroll" ref={box} {...reach}>{children}</div>;
}

export function History({ suite, change, metrics }: { suite: Suite; change: number | null; metrics: boolean }) {
  const [under, setUnder] = useState<number | null>(null);
  const { runs } = suite;
  const run = under === null ? null : runs[under];
  return (
    <>
      <Newest label="History by run">
        <div className="axis" onMouseLeave={() => setUnder(null)}>
          <div className="lab top">
            Cases passed
            <br />
            <span className="dim">95% band; axis from {percent(axisFoot(runs), 0, { unit: false })}</span>
          </div>
          <Scores suite={suite} change={change} under={under} onUnder={setUnder} />
          <Ends suite={suite} />
          {metrics && suite.metrics.map((metric) => <Metric key={metric.assertion_type} metric={metric} change={change} count={runs.length} />)}
          <div className="lab" />
          <Ids runs={runs} change={change} />
          <div className="val" />
          <Lanes suite={suite} change={change} />
        </div>
      </Newest>
      <p className="cap reading" aria-hidden="true">{run && reading(run)}</p>
    </>
  );
}

function reading(run: SuiteRun): string {
  const parts = [`Run ${run.id}, ${day(run.date)} ${clock(run.date)}`];
  if (run.scored) parts.push(`${percent(run.pass_rate)} passed${run.interval ? ` (${percentInterval(run.interval)})` : ""}, ${run.cases_passed} of ${run.n}`, `score ${score(run.score, 3)}`);
  else parts.push("not scored");
  if (run.prompt_name) parts.push(`${run.prompt_name} ${run.prompt_version ?? ""}`.trim());
  for (const value of [run.model, run.dataset, run.commit && shortCommit(run.commit)]) if (value) parts.push(value);
  if (run.cost_usd !== null) parts.push(money(run.cost_usd));
  return parts.join(" · ");
}

function Scores({ suite, change, under, onUnder }: { suite: Suite; change: number | null; under: number | null; onUnder: (at: number | null) => void }) {
  const { runs, baseline } = suite;
  const count = runs.length;
  const foot = axisFoot(runs);
  const y = (rate: number) => TOP + ((1 - rate) / (1 - foot || 1)) * (HEIGHT - TOP - BOTTOM);
  const middle = (at: number) => share(at + 0.5, count);
  const newest = runs.findLastIndex((run) => run.scored);
  const parts = useMemo(() => segmentsOf(runs), [runs]);
  const late = change !== null && change > count * 0.4;
  const step = suite.drift?.change_point;
  return (
    <div className="plotbox">
      <svg width="100%" height={HEIGHT} className="over" role="group" aria-label={`Share of cases passed in ${count} runs, ${percent(runs[newest]?.pass_rate)} in the newest`}>
        {axisTicks(foot).map((tick) => (
          <g key={tick}>
            <line x1="0" x2="100%" y1={y(tick)} y2={y(tick)} className="s-grid" />
            <text x="-8" y={y(tick) + 4} className="end">{percent(tick, 0, { unit: tick === 1 })}</text>
          </g>
        ))}
        {change !== null && <rect x={share(change, count)} width={share(count - change, count)} y="0" height={HEIGHT - BOTTOM + 8} className={(step?.after ?? 0) < (step?.before ?? 0) ? "f-since" : "f-rise"} />}
        <svg width="100%" height={HEIGHT} viewBox={`0 0 ${count} ${HEIGHT}`} preserveAspectRatio="none">
          {parts.map((part) => (
            <Fragment key={part.from}>
              <path className="f-band" d={bandOf(part.runs, part.from, y)} />
              <path className="no s-acc px" strokeWidth="1.6" d={part.runs.map((run, at) => `${at ? "L" : "M"}${part.from + at + 0.5} ${y(run.pass_rate ?? 0)}`).join("")} />
            </Fragment>
          ))}
        </svg>
        {baseline?.pass_rate != null && <line x1="0" x2="100%" y1={y(baseline.pass_rate)} y2={y(baseline.pass_rate)} className="s-ink" strokeDasharray="4 3" />}
        {change !== null && <line x1={share(change, count)} x2={share(change, count)} y1="0" y2={HEIGHT - BOTTOM + 8} className={(step?.after ?? 0) < (step?.before ?? 0) ? "s-bad" : "s-good"} strokeWidth="2" />}
        {runs.map((run, at) =>
          run.scored ? (
            count <= MANY && <circle key={run.id} cx={middle(at)} cy={y(run.pass_rate ?? 0)} r={at === newest || run.id === baseline?.id ? 4.5 : 2.6} className={run.verdict === "regressed" ? "f-bad" : run.verdict === "improved" ? "f-good" : "f-acc"} />
          ) : (
            <line key={run.id} x1={middle(at)} x2={middle(at)} y1={HEIGHT - BOTTOM - 34} y2={HEIGHT - BOTTOM - 16} className="s-rule" />
          ),
        )}
        <Gaps runs={runs} />
        {change !== null && step && (
          <g>
            <text x={share(change, count)} dx={late ? -8 : 8} y={HEIGHT - BOTTOM - 22} className={`${late ? "end " : ""}${step.after < step.before ? "t-bad" : "t-good"} b`}>Change at run {runs[change]?.id}</text>
            <text x={share(change, count)} dx={late ? -8 : 8} y={HEIGHT - BOTTOM - 6} className={`${late ? "end " : ""}t-2`}>score {points(step.after - step.before)} points</text>
          </g>
        )}
        {runs.map((run, at) => (
          <a key={run.id} href={href(`/run/${run.id}`)} tabIndex={-1} aria-label={`Run ${run.id}`}>
            <rect className={under === at ? "hit on" : "hit"} x={share(at, count)} width={share(1, count)} y="0" height={HEIGHT} onMouseEnter={() => onUnder(at)} />
          </a>
        ))}
      </svg>
    </div>
  );
}

const FEW_GAPS = 3;

/** Why there is no point: said below the gap, where there are few. */
function Gaps({ runs }: { runs: readonly SuiteRun[] }) {
  const gaps = stretches(runs.map((run) => run.scored)).filter((part) => !part.value);
  if (gaps.length > FEW_GAPS) return null;
  return gaps.map(({ from, to }) => {
    const place = (from + to) / 2 / runs.length;
    const errors = runs.slice(from, to).reduce((sum, run) => sum + (run.counts?.error ?? 0), 0);
    const which = to - from === 1 ? runs[from]?.id : `${runs[from]?.id} to ${runs[to - 1]?.id}`;
    const end = place < 0.12 ? undefined : place > 0.88 ? "end" : "mid";
    return <text key={from} x={`${place * 100}%`} y={HEIGHT - BOTTOM - 2} className={end}>{which}: {errors ? `${counted(errors, "error")}, ` : ""}not scored</text>;
  });
}

/** Runs that follow each other and were scored; between two such parts the line has a gap. */
function segmentsOf(runs: readonly SuiteRun[]): { from: number; runs: SuiteRun[] }[] {
  return stretches(runs.map((run) => run.scored)).flatMap(({ value, from, to }) => (value ? [{ from, runs: runs.slice(from, to) }] : []));
}

function bandOf(runs: readonly SuiteRun[], from: number, y: (rate: number) => number): string {
  const known = runs.flatMap((run, at) => (run.interval ? [{ x: from + at + 0.5, low: y(run.interval[0]), high: y(run.interval[1]) }] : []));
  if (!known.length) return "";
  const [only] = known;
  if (known.length === 1 && only) return `M${only.x - 0.3} ${only.high}h.6V${only.low}h-.6z`;
  return `M${known.map((k) => `${k.x} ${k.high}`).join("L")}L${known.toReversed().map((k) => `${k.x} ${k.low}`).join("L")}z`;
}

/** The last values at the right end: the baseline's and the newest run's, kept apart. */
function Ends({ suite }: { suite: Suite }) {
  const { runs, baseline } = suite;
  const foot = axisFoot(runs);
  const y = (rate: number) => TOP + ((1 - rate) / (1 - foot || 1)) * (HEIGHT - TOP - BOTTOM);
  const newest = runs.findLast((run) => run.scored);
  if (newest?.pass_rate == null) return <div className="val" />;
  let now = y(newest.pass_rate);
  let before = baseline?.pass_rate == null ? null : y(baseline.pass_rate);
  if (before !== null && Math.abs(before - now) < 40) {
    const up = before <= now;
    const between = (before + now) / 2;
    before = Math.max(24, between + (up ? -20 : 20));
    now = before + (up ? 40 : -40);
  }
  const tone = newest.verdict === "regressed" ? "t-bad" : newest.verdict === "improved" ? "t-good" : "t-acc";
  return (
    <svg width="100%" height={HEIGHT} className="over" aria-hidden="true">
      {before !== null && (
        <>
          <text x="0" y={before - 8}>{baseline?.tag ?? `run ${baseline?.id}`}</text>
          <text x="0" y={before + 8} className="t-ink b">{percent(baseline?.pass_rate, 1, { unit: false })}</text>
        </>
      )}
      <text x="0" y={now + 0} className={`${tone} b`}>{percent(newest.pass_rate, 1, { unit: false })}</text>
      <text x="0" y={now + 16} className={tone}>now</text>
    </svg>
  );
}

function Ids({ runs, change }: { runs: SuiteRun[]; change: number | null }) {
  const shown = labelled(runs.length).filter((at) => change === null || at === change || Math.abs(at - change) >= runs.length / 16);
  return (
    <svg width="100%" height="20" className="over" aria-hidden="true">
      {shown.filter((at) => at !== change).map((at) => <text key={at} x={share(at + 0.5, runs.length)} y="14" className="mid">{runs[at]?.id}</text>)}
      {change !== null && <text x={share(change, runs.length)} y="14" className="t-bad b">{runs[change]?.id}</text>}
    </svg>
  );
}

function Metric({ metric, change, count }: { metric: Suite["metrics"][number]; change: number | null; count: number }) {
  const known = metric.scores.filter((value): value is number => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const y = (value: number) => (high === low ? 18 : 31 - ((value - low) / (high - low)) * 26);
  let path = "";
  metric.scores.forEach((value, at) => {
    if (value !== null) path += `${at && metric.scores[at - 1] !== null && path ? "L" : "M"}${at + 0.5} ${y(value)}`;
  });
  return (
    <>
      <div className="lab">{metric.assertion_type}<br /><span className="dim">{score(low)} to {score(high)}</span></div>
      <svg width="100%" height="36" role="img" aria-label={`${metric.assertion_type}: mean score by run`}>
        <svg width="100%" height="36" viewBox={`0 0 ${count} 36`} preserveAspectRatio="none"><path d={path} className="no s-3 px" strokeWidth="1.4" /></svg>
        {change !== null && <line x1={share(change, count)} x2={share(change, count)} y1="0" y2="36" className="s-bad" />}
        <line x1="0" x2="100%" y1="35.5" y2="35.5" className="s-grid" />
      </svg>
      <div className="val">{score(metric.scores.findLast((value) => value !== null), 3)}</div>
    </>
  );
}

// --- the lanes: what ran ---

function Lanes({ suite, change }: { suite: Suite; change: number | null }) {
  const { runs, baseline, drift } = suite;
  const changed = change === null ? null : drift?.change_point?.changed;
  const served = (run: SuiteRun) => (baseline?.tag && run.id === baseline.id ? `, ${baseline.tag}` : "");
  const names = new Set(runs.map((run) => run.prompt_name).filter(Boolean));
  const one = names.size === 1;
  const tagged = new Map(runs.filter((run) => served(run)).map((run) => [`${run.prompt_name} ${run.prompt_version}`, served(run)]));
  const lanes = [
    {
      kind: "prompt" as const,
      label: one ? `Prompt ${[...names][0]}` : "Prompt",
      values: runs.map((run) => (run.prompt_name === null ? null : `${one ? "" : `${run.prompt_name} `}${run.prompt_version ?? "unsaved"}${tagged.get(`${run.prompt_name} ${run.prompt_version}`) ?? ""}`)),
    },
    { kind: "model" as const, label: "Model", values: runs.map((run) => run.model) },
    { kind: "dataset" as const, label: "Dataset", values: runs.map((run) => run.dataset) },
    { kind: "commit" as const, label: "Commit", values: runs.map((run) => (run.commit ? shortCommit(run.commit) : null)) },
  ];
  return lanes.map(({ kind, label, values }) => (
    <Fragment key={kind}>
      <div className="lab" title={label}>{label}</div>
      <Lane values={values} hot={changed?.[kind] ? change : null} />
      <div className="val" />
    </Fragment>
  ));
}

function Lane({ values, hot }: { values: (string | null)[]; hot: number | null }) {
  const count = values.length;
  return (
    <svg width="100%" height="22" role="img" aria-label={stretches(values).map(({ value }) => value ?? "not recorded").join(", then ")}>
      {stretches(values).map(({ value, from, to }) => (
        <svg key={from} x={share(from, count)} width={share(to - from, count)} height="22">
          {value !== null && <rect x="1" y="3" width="100%" height="16" className={from === hot ? "f-hot" : "f-lift"}><title>{value}</title></rect>}
          <rect x="100%" transform="translate(-1 0)" y="0" width="2" height="22" className="f-page" />
          {(value !== null || from === 0) && (to - from) / count > 0.03 && (
            <text x="7" y="15" className={from === hot ? "hot b" : value === null ? undefined : "t-2"}>{value ?? "not recorded"}</text>
          )}
        </svg>
      ))}
    </svg>
  );
}

// --- the map of cases and runs ---

const CLASS: Record<Exclude<Look, "none">, string> = { pass: "f-hp", new: "f-bad", known: "f-old", mixed: "f-warn", error: "f-line" };

export function Heat({ suite, cases, change }: { suite: Suite; cases: SuiteCase[]; change: number | null }) {
  const { runs } = suite;
  const newest = runs[runs.length - 1];
  return (
    <Newest label="Cases by run">
      <div className="axis heat">
        {cases.map((found) => (
          <Fragment key={found.case}>
            <div className="lab" title={found.case}>
              <a className="mono" href={newest && href(`/run/${newest.id}`, { case: found.case, show: "all" })}>{found.case}</a>
            </div>
            <Cells found={found} runs={runs} />
            <div className="val" title={found.since ? `since run ${found.since}` : undefined}><Word state={found.state} /></div>
          </Fragment>
        ))}
        <div className="lab" />
        <Ids runs={runs} change={change} />
        <div className="val" />
      </div>
    </Newest>
  );
}

function Word({ state }: { state: string }) {
  const { tone, word } = stateOf(state);
  return <span className={{ good: "good", bad: "bad", warn: "warn" }[tone as string]}>{word}</span>;
}

function Cells({ found, runs }: { found: SuiteCase; runs: SuiteRun[] }) {
  const count = runs.length;
  const since = runs.findIndex((run) => run.id === found.since);
  const looks = found.cells.map((cell, at) => lookOf(found, cell, at, since));
  const drawn = count > MANY ? stretches(looks) : looks.map((value, from) => ({ value, from, to: from + 1 }));
  const failed = looks.filter((look) => look === "new" || look === "known").length;
  return (
    <svg width="100%" height="16" role="group" aria-label={`${found.case}: failed in ${failed} of ${count} runs, ${found.state}`}>
      {drawn.map(({ value, from, to }) => {
        if (value === "none") return null;
        const run = runs[from];
        const cell = (
          <svg key={from} x={share(from, count)} width={share(to - from, count)} height="16">
            <rect x={count <= MANY ? 1 : 0} y="1" width="100%" height="14" className={count > MANY && value === "known" ? "f-thin" : `${CLASS[value]} cell`}><title>{`${found.case}, run ${run?.id}: ${found.cells[from]}`}</title></rect>
            {count <= MANY && <rect x="100%" transform="translate(-1 0)" width="2" height="16" className="f-page" />}
            {count <= MANY && <Sign look={value} />}
          </svg>
        );
        if (value === "pass" || !run) return cell;
        return <a key={from} tabIndex={-1} href={href(`/run/${run.id}`, { case: found.case, show: "all" })} aria-label={`${found.case} in run ${run.id}`}>{cell}</a>;
      })}
    </svg>
  );
}

function Sign({ look }: { look: Look }) {
  if (look === "new" || look === "known") return <svg x="50%" y="8" className="over"><path d="M-3-3 3 3M3-3-3 3" className={look === "new" ? "cross" : "cross old"} /></svg>;
  if (look === "mixed") return <svg x="50%" y="8" className="over"><path d="M-4 0h8" className="cross dk" /></svg>;
  return null;
}

export function HeatKey() {
  return (
    <span className="key">
      {([["pass", "pass"], ["new", "new fail"], ["known", "fail"], ["mixed", "some repeats"], ["error", "error"]] as const).map(([look, word]) => (
        <span key={look}>
          <svg width="14" height="12" aria-hidden="true">
            <rect width="14" height="12" className={CLASS[look]} />
            {(look === "new" || look === "known") && <path d="M4 3l6 6M10 3l-6 6" className={look === "new" ? "cross" : "cross old"} />}
            {look === "mixed" && <path d="M3 6h8" className="cross dk" />}
          </svg>
          {word}
        </span>
      ))}
    </span>
  );
}

