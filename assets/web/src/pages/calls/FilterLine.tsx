import { Search, X } from "lucide-react";
import { useEffect, useId, useRef, useState } from "react";
import type { CallCount } from "../../api/types";
import { number } from "../../parts/format";
import type { Filter, Key } from "./filter";
import { LASTS, tokensOf, tokenText, withLine } from "./filter";

/** One line for every filter: tokens that are set, and what is typed; Enter sets it, Backspace takes the last away. */
export function FilterLine({ filter, count, onChange }: { filter: Filter; count: CallCount | undefined; onChange: (next: Filter) => void }) {
  const [text, setText] = useState(filter.search ?? "");
  const input = useRef<HTMLInputElement>(null);
  const list = useId();
  useEffect(() => setText(filter.search ?? ""), [filter.search]);
  const tokens = tokensOf(filter);
  const drop = (key: Key) => {
    const { [key]: _gone, ...rest } = filter;
    onChange(rest);
    input.current?.focus();
  };
  const set = (line: string) => {
    const next = withLine(filter, line);
    setText(next.search ?? "");
    onChange(next);
  };
  return (
    <form className="filter" role="search" aria-label="Filter the calls" onSubmit={(event) => {
      event.preventDefault();
      set(text);
    }}>
      <Search size={13} aria-hidden="true" />
      {tokens.map((token) => (
        <span className="tok" key={token.key}>
          {token.text}
          <button type="button" aria-label={`Take ${token.text} away`} onClick={() => drop(token.key)}><X size={11} /></button>
        </span>
      ))}
      <input
        ref={input}
        data-filter
        type="text"
        aria-label="Add a filter"
        list={list}
        autoComplete="off"
        spellCheck={false}
        placeholder={tokens.length > 2 ? "add a filter" : "add prompt: model: status: cost> or words in the text"}
        value={text}
        onChange={(event) => {
          const value = event.target.value;
          const native = event.nativeEvent;
          const chosen = !(native instanceof InputEvent) || native.inputType === "insertReplacementText"; // of the list
          if (chosen && value.includes(":")) set(value);
          else setText(value);
        }}
        onKeyDown={(event) => {
          const last = tokens.at(-1);
          if (event.key === "Backspace" && !text && last) {
            event.preventDefault();
            drop(last.key);
          }
        }}
      />
      <datalist id={list}>
        {suggestions(count, filter).map(({ text: option, calls }) => <option key={option} value={option}>{calls !== null ? `${number(calls)} calls` : undefined}</option>)}
      </datalist>
      <kbd aria-hidden="true">f</kbd>
    </form>
  );
}

const FACETS: Key[] = ["prompt", "model", "module", "status", "origin"];

function suggestions(count: CallCount | undefined, filter: Filter): { text: string; calls: number | null }[] {
  const known = FACETS.flatMap((key) =>
    (count?.facets[key] ?? []).flatMap(({ value, calls }) => (value && filter[key] !== value ? [{ text: tokenText(key, value), calls }] : [])),
  );
  const spans = [...LASTS, "all"].map((last) => ({ text: tokenText("last", last), calls: null }));
  return [...known, ...spans, { text: "price:unpriced", calls: null }, { text: "rating:down", calls: null }, { text: "rating:up", calls: null }];
}

const SHOWN: { key: Key; facet: string; name: string }[] = [
  { key: "module", facet: "module", name: "Module" },
  { key: "model", facet: "model", name: "Model" },
  { key: "status", facet: "status", name: "Status" },
  { key: "origin", facet: "origin", name: "Origin" },
];

/** What the calls are of: each value narrows the list, or stops doing so. */
export function Facets({ filter, count, onChange }: { filter: Filter; count: CallCount; onChange: (next: Filter) => void }) {
  const toggle = (key: Key, value: string) => {
    const { [key]: was, ...rest } = filter;
    onChange(was === value ? rest : { ...rest, [key]: value });
  };
  const value = (key: Key, name: string, calls: number, said = name) => (
    <button key={name} type="button" aria-pressed={filter[key] === name} onClick={() => toggle(key, name)}><b>{said}</b> {number(calls)}</button>
  );
  const unpriced = count.facets.priced?.find((one) => one.value === "unpriced")?.calls ?? count.sum.unpriced;
  return (
    <div className="facets">
      {SHOWN.map(({ key, facet, name }) => {
        const values = (count.facets[facet] ?? []).filter((one) => one.value);
        if (values.length < (filter[key] ? 1 : 2)) return null;
        return <span key={key} role="group" aria-label={name}>{name} {values.slice(0, 5).map((one) => value(key, one.value as string, one.calls))}</span>;
      })}
      {(unpriced > 0 || filter.price) && <span role="group" aria-label="Price">Price {value("price", "unpriced", unpriced)}</span>}
      {(count.rated.up + count.rated.down > 0 || filter.rating) && (
        <span role="group" aria-label="Rating">Rating {value("rating", "down", count.rated.down)} {value("rating", "up", count.rated.up)}</span>
      )}
    </div>
  );
}
