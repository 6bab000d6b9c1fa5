import { useId } from "react";
import type { Bisection } from "../../api/types";
import { useRead } from "../../api/useRead";
import { href, useParam } from "../../app/address";
import { ChangeLink, differencesOf, Differs } from "../../parts/findings";
import { counted, score } from "../../parts/format";
import { Patch } from "../../parts/Diff";
import { Section } from "../../parts/Section";
import { Loaded } from "../../parts/States";
import { Time } from "../../parts/Time";

type Found = { id: string; date: string; score?: number | null };
const runOf = (run: Bisection["first_bad"]): Found | null => (run && typeof run === "object" ? (run as unknown as Found) : null);

/** The run that broke a suite, or one of its cases, and what changed with it. */
export function Bisect({ name, cases }: { name: string; cases: string[] }) {
  const [chosen, setChosen] = useParam("case");
  const id = useId();
  const params = { suite: name, case: chosen || null };
  const query = useRead("bisect", params, { keep: true });
  const known = chosen && !cases.includes(chosen) ? [chosen, ...cases] : cases;
  return (
    <Section
      title="Bisect"
      note="the first failing run of the break that is still open"
      sql={{ read: "bisect", params }}
      tools={
        <span className="pick">
          <label htmlFor={id}>of</label>{" "}
          <select id={id} value={chosen} onChange={(event) => setChosen(event.target.value)}>
            <option value="">the whole suite</option>
            {known.map((one) => <option key={one} value={one}>{one}</option>)}
          </select>
        </span>
      }
    >
      <Loaded query={query} rows={3}>{(found) => <Culprit found={found} />}</Loaded>
    </Section>
  );
}

function Culprit({ found }: { found: Bisection }) {
  const [bad, good] = [runOf(found.first_bad), runOf(found.last_good)];
  const of = found.case ?? found.suite;
  if (!bad) return <p className="culprit">No break of <b>{of}</b> is open: {found.reason}. {counted(found.n, "run")} looked at.</p>;
  const prompt = found.changed?.prompt;
  return (
    <div className="cols c-46">
      <div className="culprit">
        <p>
          <b>{of}</b> first failed in <a href={href(`/run/${bad.id}`, { case: found.case })}>run {bad.id}</a>, <Time at={bad.date} show="full" />.
          {good ? <> <a href={href(`/run/${good.id}`)}>Run {good.id}</a>, <Time at={good.date} show="full" />, is the last that passed.</> : <> {found.reason}.</>}
        </p>
        {good && <p className="mid"><Differs changed={found.changed} /></p>}
        <dl className="kv">
          {good && <><dt>Score</dt><dd>{score(good.score, 3)} to {score(bad.score, 3)}</dd></>}
          {differencesOf(found.changed).map(([kind, change]) => (
            <div key={kind} className="pairline"><dt>{kind}</dt><dd><ChangeLink kind={kind} change={change} /></dd></div>
          ))}
          <dt>Looked at</dt><dd>{counted(found.n, "run")}</dd>
        </dl>
        {good && (
          <p className="acts2">
            <a className="btn small" href={href("/compare", { run: bad.id, baseline: good.id })}>Compare {bad.id} with {good.id}</a>
            {prompt?.before && <a className="btn small" href={versionOf(prompt.before, prompt.now)}>Open {prompt.before.replace("@", " ")}</a>}
          </p>
        )}
      </div>
      {found.prompt_diff ? <Patch patch={found.prompt_diff} /> : <p className="cap">{good ? "The prompt's text is the same in both." : ""}</p>}
    </div>
  );
}

function versionOf(before: string, now: string | null): string {
  const at = before.lastIndexOf("@");
  return href("/prompt", { name: before.slice(0, at), version: before.slice(at + 1), against: now?.slice(now.lastIndexOf("@") + 1) });
}
