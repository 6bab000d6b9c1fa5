import { Search } from "lucide-react";
import { useMemo, useState } from "react";
import type { TryableModel } from "../../api/types";
import { useRead } from "../../api/useRead";
import { Dialog } from "../../parts/Dialog";
import { counted, listed, money, number } from "../../parts/format";
import { Loaded } from "../../parts/States";
import { shortModel } from "./stream";

const MOST = 400;

/** Why a model cannot be asked; null if it can, or only asking tells. */
export function lackOf(model: TryableModel): string | null {
  if (model.ready !== false) return null;
  const names = model.needs.length > 2 ? listed(model.needs) : model.needs.join(" or ");
  return `${names} ${model.needs.length > 2 ? "are" : "is"} not set`;
}

/** Choose a model to ask: those of the newest calls first; one without a key says which variable it needs. */
export function ModelDialog({ onChoose, onClose }: { onChoose: (model: string) => void; onClose: () => void }) {
  const models = useRead("tryable");
  return (
    <Dialog title="Ask another model" wide onClose={onClose}>
      <Loaded query={models} rows={8} height={30}>
        {({ items }) => <Choices items={items} onChoose={onChoose} />}
      </Loaded>
    </Dialog>
  );
}

function Choices({ items, onChoose }: { items: TryableModel[]; onChoose: (model: string) => void }) {
  const [typed, setTyped] = useState("");
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const found = useMemo(() => {
    const fits = items.filter((item) => words.every((word) => item.model.toLowerCase().includes(word)));
    return [...fits].sort((a, b) => Number(a.ready === false) - Number(b.ready === false));
  }, [items, typed]);
  const lacking = useMemo(() => [...new Map(items.filter((item) => item.ready === false).map((item) => [item.model.split(":")[0], lackOf(item)]))], [items]);
  const own = /^[a-z]+:\S+$/.test(typed.trim()) && !items.some((item) => item.model === typed.trim()) ? typed.trim() : null;
  const first = found.find((item) => item.ready !== false);
  return (
    <>
      <form className="jumpbox models" onSubmit={(event) => {
        event.preventDefault();
        const choice = own ?? first?.model;
        if (choice) onChoose(choice);
      }}>
        <Search size={16} aria-hidden="true" />
        <input autoFocus type="text" aria-label="Find a model" placeholder={`Find one of ${number(items.length)}, or write API:MODEL`} spellCheck={false} autoComplete="off" value={typed} onChange={(event) => setTyped(event.target.value)} />
      </form>
      <ul className="modellist" aria-label="Models" tabIndex={0}>
        {own && <li><button type="button" onClick={() => onChoose(own)}><b>{own}</b><span className="dim">as written; its price may be unknown</span></button></li>}
        {found.slice(0, MOST).map((item) => {
          const lack = lackOf(item);
          return (
            <li key={item.model}>
              <button type="button" disabled={lack !== null} onClick={() => onChoose(item.model)}>
                <span><span className="dim">{item.model.split(":")[0]}:</span>{shortModel(item.model)}</span>
                <span className="dim">
                  {lack ?? (item.input === null && item.output === null ? "price unknown" : `${money(item.input)} in, ${money(item.output)} out`)}
                  {item.calls > 0 && `, ${counted(item.calls, "call")} lately`}
                </span>
              </button>
            </li>
          );
        })}
        {!found.length && !own && <li className="cap">No model is called that. A model that is not listed is written with its API: openai:NAME.</li>}
      </ul>
      <p className="cap">
        Prices are per million tokens.{found.length > MOST && ` ${number(found.length - MOST)} more fit; write more of the name.`}
        {lacking.length > 0 && ` ${lacking.map(([api, lack]) => `${api}: ${lack}`).join("; ")}. Set it and start the dashboard again.`}
      </p>
    </>
  );
}
