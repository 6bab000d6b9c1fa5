// The values of a prompt's variables: a field for each placeholder, kept in the address.
import { useEffect, useId, useRef, useState } from "react";
import { setParams, useParam } from "../app/address";

/** The values in the address's `vars`: a JSON object of texts; what is none counts as empty. */
export function valuesIn(text: string): Record<string, string> {
  if (!text) return {};
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found !== "object" || found === null || Array.isArray(found)) return {};
    return Object.fromEntries(Object.entries(found).filter((entry): entry is [string, string] => typeof entry[1] === "string"));
  } catch {
    return {};
  }
}

/** A state that the address keeps as `name`, written there when the typing rests. */
export function useTyped(name: string): [string, (value: string) => void] {
  const [kept] = useParam(name);
  const [typed, setTyped] = useState(kept);
  const written = useRef(kept);
  useEffect(() => {
    if (kept === written.current) return;
    written.current = kept; // the address was changed by a link or by Back
    setTyped(kept);
  }, [kept]);
  useEffect(() => {
    if (typed === written.current) return;
    const timer = window.setTimeout(() => {
      written.current = typed;
      setParams({ [name]: typed });
    }, 400);
    return () => window.clearTimeout(timer);
  }, [typed, name]);
  return [typed, setTyped];
}

/** The values of the variables, and what sets one; an empty one is not given. */
export function useValues(): [Record<string, string>, (name: string, value: string) => void] {
  const [text, setText] = useTyped("vars");
  const values = valuesIn(text);
  const set = (name: string, value: string) => {
    const { [name]: _, ...others } = values;
    const next = value === "" ? others : { ...others, [name]: value };
    setText(Object.keys(next).length ? JSON.stringify(next) : "");
  };
  return [values, set];
}

export function Values({ names, values, onChange }: {
  names: readonly string[];
  values: Record<string, string>;
  onChange: (name: string, value: string) => void;
}) {
  const id = useId();
  return (
    <div className="values" role="group" aria-label="Variables">
      {names.map((name) => (
        <label key={name} className="field" htmlFor={`${id}-${name}`}>
          <span className="mono">${name}</span>
          <textarea id={`${id}-${name}`} rows={Math.min(8, Math.max(1, (values[name] ?? "").split("\n").length))} value={values[name] ?? ""} spellCheck={false} placeholder="not given" onChange={(event) => onChange(name, event.target.value)} />
        </label>
      ))}
    </div>
  );
}
