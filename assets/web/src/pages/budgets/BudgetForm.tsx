import { useEffect, useId, useRef, useState } from "react";
import type { Budget } from "../../api/types";
import { useRead, useWrite } from "../../api/useRead";
import { setParams, useParam } from "../../app/address";
import { useEscape } from "../../app/keys";
import { money } from "../../parts/format";
import { Section } from "../../parts/Section";
import { ErrorBox } from "../../parts/States";
import { Tabs } from "../../parts/Tabs";
import { scopeName } from "./words";

const SCOPES = [{ value: "global", text: "Everything" }, { value: "module", text: "A module" }, { value: "prompt", text: "A prompt" }];
const PERIODS = [{ value: "monthly", text: "Month" }, { value: "daily", text: "Day" }];

/** Set what a period may cost, or change it; what is wrong the server says. */
export function BudgetForm({ items }: { items: readonly Budget[] }) {
  const [scope, setScope] = useParam("scope", "global");
  const [target, setTarget] = useParam("target");
  const [period, setPeriod] = useParam("period", "monthly");
  const [limit, setLimit] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const write = useWrite<Budget, Record<string, unknown>>("/api/budgets");
  const known = items.find((one) => one.scope === scope && (one.target ?? "") === (scope === "global" ? "" : target) && one.period === period);
  const close = () => setParams({ set: null, scope: null, target: null, period: null });
  useEscape(close);
  useEffect(() => field.current?.focus(), []);
  useEffect(() => setLimit(known ? String(known.limit_usd) : ""), [known?.id, known?.limit_usd]);
  return (
    <Section title={known ? `Change the budget of ${scopeName(known)}` : "Set a budget"} note="in US dollars; days and months are of UTC">
      <form className="budget-form" onSubmit={(event) => {
        event.preventDefault();
        write.mutate({ scope, target: scope === "global" ? null : target.trim(), period, limit_usd: limit.trim() === "" || Number.isNaN(Number(limit)) ? limit : Number(limit) }, { onSuccess: close });
      }}>
        <span className="field">Of<Tabs label="Of what" choices={SCOPES} value={scope} onChange={setScope} /></span>
        {scope !== "global" && <Target scope={scope} target={target} onChange={setTarget} />}
        <span className="field">A<Tabs label="Period" choices={PERIODS} value={period} onChange={setPeriod} /></span>
        <label className="field">May cost, $<input ref={field} type="text" inputMode="decimal" size={8} required value={limit} onChange={(event) => setLimit(event.target.value)} /></label>
        <button className="btn go" disabled={write.isPending}>{known ? "Change it" : "Set it"}</button>
        <button type="button" className="btn" onClick={close}>Leave it</button>
        {known && <span className="cap">It has spent {money(known.spent_usd)} of {money(known.limit_usd)}.</span>}
      </form>
      {write.error && <ErrorBox error={write.error} />}
    </Section>
  );
}

function Target({ scope, target, onChange }: { scope: string; target: string; onChange: (target: string) => void }) {
  const list = useId();
  const costs = useRead("cost", { days: 90, by: scope, origin: "all", limit: 200 });
  const names = (costs.data?.items ?? []).flatMap((item) => (scope === "module" ? item.module : item.prompt) ?? []);
  return (
    <label className="field">
      {scope === "module" ? "Module" : "Prompt"}
      <input type="text" list={list} required placeholder={names[0]} value={target} onChange={(event) => onChange(event.target.value)} />
      <datalist id={list}>{names.map((name) => <option key={name} value={name} />)}</datalist>
    </label>
  );
}
