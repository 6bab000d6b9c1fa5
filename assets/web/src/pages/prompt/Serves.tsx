import { useState } from "react";
import type { Prompt } from "../../api/types";
import { useWrite } from "../../api/useRead";
import { href, setParams } from "../../app/address";
import { Dialog } from "../../parts/Dialog";
import { Section } from "../../parts/Section";
import { ErrorBox } from "../../parts/States";
import { Time } from "../../parts/Time";
import type { Move } from "./MoveDialog";

const USUAL = ["prod", "staging", "dev"];

/** Who reads which version; each can be moved to the version that is shown. */
export function Serves({ prompt, version, tag, onMove }: { prompt: Prompt; version: number; tag: string; onMove: (move: Move) => void }) {
  const [removing, setRemoving] = useState<string | null>(null);
  const tags = [...USUAL, ...prompt.serves.map((row) => row.tag).filter((one) => !USUAL.includes(one))];
  return (
    <Section title="Serves" note="who reads which version" sql={{ read: "prompt", params: { name: prompt.name } }}>
      <dl className="kv serves">
        {tags.map((one) => {
          const row = prompt.serves.find((other) => other.tag === one);
          return (
            <div key={one}>
              <dt><button type="button" className="link" aria-pressed={one === tag} title={`Judge version ${version} for ${one}`} onClick={() => setParams({ env: one === "prod" ? null : one, against: null })}>{one}</button></dt>
              <dd className={row ? undefined : "dim"}>
                {row ? (
                  <>
                    <a href={href("/prompt", { name: prompt.name, version: row.version })}><b>{row.version}</b></a>{" "}
                    <span className="dim">{row.since && <>since <Time at={row.since} show="when" /></>}{row.was != null && `, was ${row.was}`}</span>
                  </>
                ) : "not set, serves the code"}
              </dd>
              <dd className="does">
                {row?.version !== version ? <button type="button" className="link" onClick={() => onMove({ tag: one, version })}>Move to {version}<span className="vh">: {one}</span></button>
                  : <button type="button" className="link" onClick={() => setRemoving(one)}>Take away<span className="vh">: {one}</span></button>}
              </dd>
            </div>
          );
        })}
        <div>
          <dt title="Code that names no tag">no tag</dt>
          <dd><a href={href("/prompt", { name: prompt.name, version: prompt.version })}><b>{prompt.version}</b></a> <span className="dim">the latest</span></dd>
          <dd />
        </div>
      </dl>
      {removing && <RemoveDialog prompt={prompt} tag={removing} onClose={() => setRemoving(null)} />}
    </Section>
  );
}

function RemoveDialog({ prompt, tag, onClose }: { prompt: Prompt; tag: string; onClose: () => void }) {
  const remove = useWrite<unknown, { name: string; tag: string }>("/api/untag");
  return (
    <Dialog
      title={`Take ${tag} away`}
      onClose={onClose}
      foot={
        <>
          <button type="button" className="btn" onClick={onClose}>Cancel</button>
          <button type="button" className="btn go" disabled={remove.isPending} onClick={() => remove.mutate({ name: prompt.name, tag }, { onSuccess: onClose })}>Take it away</button>
        </>
      }
    >
      <p>No version of {prompt.name} is then tagged {tag}: code that asks for it is served the text in the code. No version is deleted.</p>
      {remove.error && <ErrorBox error={remove.error} />}
    </Dialog>
  );
}

/** The placeholders of the version, and what came or went since the other. */
export function Variables({ own, before, version, base }: { own: Prompt | undefined; before: Prompt | null | undefined; version: number; base: number | null }) {
  const names = own?.placeholders ?? [];
  const gone = (before?.placeholders ?? []).filter((name) => !names.includes(name));
  return (
    <Section title="Variables" note={`in version ${version}`}>
      {own && !names.length && !gone.length && <p className="cap">The text takes no variable. <span className="mono">$name</span> makes one.</p>}
      <dl className="kv vars">
        {names.map((name) => (
          <div key={name}>
            <dt className="mono">${name}</dt>
            <dd className={before && !before.placeholders.includes(name) ? "warn" : "dim"}>
              {before ? (before.placeholders.includes(name) ? `also in ${base}` : `new since ${base}: code must pass it`) : "to be passed by code"}
            </dd>
          </div>
        ))}
        {gone.map((name) => <div key={name}><dt className="mono"><del>${name}</del></dt><dd className="warn">gone since {base}: what code passes is dropped</dd></div>)}
      </dl>
    </Section>
  );
}
