import type { Prompt } from "../../api/types";
import { useRead, useWrite } from "../../api/useRead";
import { Dialog } from "../../parts/Dialog";
import { changedLines, Diff } from "../../parts/Diff";
import { Pill } from "../../parts/Mark";
import { ErrorBox, Skeleton } from "../../parts/States";
import { withPlaceholders } from "../../parts/template";
import type { Gate } from "./gate";
import { servedBy } from "./gate";
import { Lines } from "./Texts";

/** A tag to be moved to a version. */
export interface Move {
  tag: string;
  version: number;
}

/** Which text is served instead of which: shown before a tag is moved. */
export function MoveDialog({ prompt, move: { tag, version }, gate, onClose }: {
  prompt: Prompt;
  move: Move;
  gate: Gate | null;
  onClose: () => void;
}) {
  const { name } = prompt;
  const from = servedBy(prompt, tag)?.version ?? null;
  const promote = useWrite<unknown, { name: string; version: number; tag: string }>("/api/promote");
  const back = from !== null && version < from;
  const act = `${back ? "Roll back" : "Promote"} ${back ? `${tag} to ${version}` : `${version} to ${tag}`}`;
  return (
    <Dialog
      wide
      title={act}
      onClose={onClose}
      foot={
        <>
          <button type="button" className="btn" onClick={onClose}>Cancel</button>
          <button type="button" className="btn go" disabled={promote.isPending} onClick={() => promote.mutate({ name, version, tag }, { onSuccess: onClose })}>{act}</button>
        </>
      }
    >
      {gate?.answer === "no" && <p className="nothing"><Pill shape="down" tone="bad">the gate says no</Pill> {gate.says} <span className="bad">{gate.finding}</span></p>}
      <Instead name={name} tag={tag} from={from} to={version} />
      {promote.error && <ErrorBox error={promote.error} />}
    </Dialog>
  );
}

/** The text that is served now, and what will be: a saved version, or a draft. */
export function Instead({ name, tag, from, to, draft }: { name: string; tag: string; from: number | null; to: number; draft?: string }) {
  const before = useRead("prompt", { name, version: from }, { enabled: from !== null });
  const after = useRead("prompt", { name, version: to }, { enabled: draft === undefined });
  const now = draft ?? after.data?.content;
  const was = from === null ? null : before.data?.content;
  const error = before.error ?? (draft === undefined ? after.error : null);
  return (
    <>
      <p>
        Code that asks for <b>{tag}</b> is served version <b>{to}</b> instead of {from === null ? "the text in the code" : <>version <b>{from}</b></>}, within a minute or so.
        {was != null && now !== undefined && was !== now && ` ${changedLines(was, now)}.`}
      </p>
      <div className="instead">
        {error ? <ErrorBox error={error} /> : now === undefined || was === undefined ? <Skeleton rows={8} height={20} /> : was === null ? <Lines text={now} label="The text that will be served" /> : <Diff before={was} now={now} dress={withPlaceholders} label={`What ${tag} serves now, and what it will`} />}
      </div>
    </>
  );
}
