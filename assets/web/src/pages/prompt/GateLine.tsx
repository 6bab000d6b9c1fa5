import type { Comparison, Prompt } from "../../api/types";
import { useRead } from "../../api/useRead";
import { href } from "../../app/address";
import { counted } from "../../parts/format";
import { Pill, Verdict } from "../../parts/Mark";
import { RunButton } from "../../parts/RunButton";
import type { Gate } from "./gate";
import { servedBy } from "./gate";
import type { Move } from "./MoveDialog";

interface Props {
  prompt: Prompt;
  version: number;
  tag: string;
  gate: Gate;
  run: string | null;
  comparison: Comparison | null;
  onMove: (move: Move) => void;
}

/** What moving the tag to this version would mean, and the buttons that do it. */
export function GateLine({ prompt, version, tag, gate, run, comparison, onMove }: Props) {
  const suites = useRead("suites");
  const runnable = (suites.data?.items ?? []).filter((item) => item.registered && item.prompt_name === prompt.name).map((item) => item.suite);
  const served = servedBy(prompt, tag);
  const promote = (to: string, text: string, go: boolean) => (
    <button type="button" className={go ? "btn go" : "btn"} onClick={() => onMove({ tag: to, version })}>{text}</button>
  );
  const staging = tag !== "staging" && servedBy(prompt, "staging")?.version !== version;
  const open = gate.answer === "untested" || gate.answer === "unjudged" || gate.answer === "unsure";
  return (
    <div className="bar">
      <span><GatePill gate={gate} comparison={comparison} /></span>
      <span className="says">{gate.answer === "serves" ? gate.line : <>Promote <b>{version}</b> to <b>{tag}</b>: {gate.line}</>}</span>
      <span className="acts">
        {comparison?.baseline && run && <a className="btn" href={href("/compare", { run, baseline: comparison.baseline.id })}>{gate.broke ? `See the ${counted(gate.broke, "case")}` : "Compare"}</a>}
        {gate.answer === "serves" && served?.was != null && served.was !== version && (
          <button type="button" className={gate.tone === "bad" ? "btn go" : "btn"} onClick={() => onMove({ tag, version: served.was as number })}>Roll back to {served.was}</button>
        )}
        {open && runnable.length > 0 && <RunButton suites={runnable} options={{ prompt_version: version, ...(served ? { compare: tag } : {}) }} text={runnable.length === 1 ? `Run ${runnable[0]} on ${version}` : `Run ${runnable.length} suites on ${version}`} go />}
        {gate.answer === "no" && promote(tag, "Promote anyway", false)}
        {gate.answer === "no" && staging && promote("staging", `Promote ${version} to staging`, true)}
        {(open || gate.answer === "untagged") && promote(tag, `Promote ${version} to ${tag}`, gate.answer === "untagged")}
        {gate.answer === "yes" && promote(tag, `Promote ${version} to ${tag}`, true)}
      </span>
    </div>
  );
}

function GatePill({ gate, comparison }: { gate: Gate; comparison: Comparison | null }) {
  if (gate.answer === "serves" && gate.tone !== "plain" && comparison) return <Verdict verdict={comparison.verdict} />;
  if (gate.answer === "serves") return <Pill shape="tick" tone="accent">serves</Pill>;
  if (gate.answer === "no" && comparison?.verdict !== "regressed") return <Pill shape="down" tone="bad">broke</Pill>;
  if (comparison) return <Verdict verdict={comparison.verdict} />;
  if (gate.answer === "untagged") return <Pill shape="dash">no {"tag"}</Pill>;
  return <Pill shape="few">{gate.answer === "untested" ? "not tested" : "not judged"}</Pill>;
}
