import { Search } from "lucide-react";
import type { KeyboardEvent } from "react";
import { useEffect, useId, useMemo, useRef, useState } from "react";
import { useRead } from "../api/useRead";
import { PAGES } from "../pages";
import { Dialog } from "../parts/Dialog";
import { href } from "./address";
import { NAV_ITEMS } from "./nav";

interface Target {
  kind: string;
  text: string;
  href: string;
}

const MOST = 12;

/** How well a text fits what was typed: every word in it, the earlier and the shorter the better; null if it does not. */
export function fit(text: string, typed: string): number | null {
  const lower = text.toLowerCase();
  let worth = 0;
  for (const word of typed.toLowerCase().split(/\s+/).filter(Boolean)) {
    const at = lower.indexOf(word);
    if (at < 0) return null;
    worth += at === 0 ? 0 : /\W/.test(lower[at - 1] ?? "") ? 1 : 3;
  }
  return worth + text.length / 200;
}

function useTargets(): Target[] {
  const suites = useRead("suites", { limit: 500 });
  const prompts = useRead("prompts", { limit: 500 });
  const datasets = useRead("datasets", { limit: 500 });
  return useMemo(() => [
    ...NAV_ITEMS.map((item) => ({ kind: "page", text: item.text, href: href(item.path) })),
    ...(suites.data?.items ?? []).map(({ suite }) => ({ kind: "suite", text: suite, href: href("/suite", { name: suite }) })),
    ...("/prompt" in PAGES ? (prompts.data?.items ?? []) : []).map(({ name }) => ({ kind: "prompt", text: name, href: href("/prompt", { name }) })),
    ...("/dataset" in PAGES ? (datasets.data?.items ?? []) : []).map(({ name }) => ({ kind: "dataset", text: name, href: href("/dataset", { name }) })),
  ], [suites.data, prompts.data, datasets.data]);
}

/** What a number may name. */
function numbered(typed: string): Target[] {
  const id = /^(?:run |call |trace )?\s*#?(\d+)$/i.exec(typed.trim())?.[1];
  if (!id) return [];
  const all = [
    { kind: "run", text: `Run ${id}`, href: href(`/run/${id}`), page: "/run/:id" },
    { kind: "call", text: `Call ${id}`, href: href("/calls", { call: id }), page: "/calls" },
  ];
  return all.filter((target) => target.page in PAGES);
}

export function Jump({ onClose }: { onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const targets = useTargets();
  const id = useId();
  const list = useRef<HTMLUListElement>(null);
  const found = useMemo(() => {
    const fits = targets.flatMap((target) => {
      const worth = fit(target.text, typed);
      return worth === null ? [] : [{ target, worth }];
    });
    fits.sort((a, b) => (typed ? a.worth - b.worth : 0));
    return [...numbered(typed), ...fits.map(({ target }) => target)].slice(0, typed ? MOST : NAV_ITEMS.length);
  }, [targets, typed]);
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [at, found]);
  const take = (target: Target | undefined) => {
    if (!target) return;
    onClose();
    window.location.hash = target.href;
  };
  const pressed = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setAt((was) => (found.length ? (was + step + found.length) % found.length : 0));
    } else if (event.key === "Enter") {
      event.preventDefault();
      take(found[at]);
    }
  };
  return (
    <Dialog title="Jump to" onClose={onClose} bare>
      <label className="jumpbox">
        <Search size={16} aria-hidden="true" />
        <input
          autoFocus
          type="text"
          role="combobox"
          aria-label="Jump to"
          aria-expanded="true"
          aria-controls={id}
          aria-activedescendant={found[at] && `${id}-${at}`}
          placeholder="A page, suite, prompt, dataset, or the number of a run or call"
          spellCheck={false}
          autoComplete="off"
          value={typed}
          onChange={(event) => {
            setTyped(event.target.value);
            setAt(0);
          }}
          onKeyDown={pressed}
        />
        <kbd>Esc</kbd>
      </label>
      <ul className="jumplist" role="listbox" aria-label="Where to" id={id} ref={list}>
        {found.map((target, index) => (
          <li key={target.href} id={`${id}-${index}`} role="option" aria-selected={index === at} onMouseMove={() => setAt(index)} onClick={() => take(target)}>
            <span>{target.text}</span>
            <span className="dim">{target.kind}</span>
          </li>
        ))}
      </ul>
      {!found.length && <p className="cap none">Nothing here is called that.</p>}
    </Dialog>
  );
}
