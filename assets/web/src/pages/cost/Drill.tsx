import type { CostItem, Costs } from "../../api/types";
import { href, useParam } from "../../app/address";
import { Bar } from "../../parts/Bars";
import { money, number, percent } from "../../parts/format";
import { Section } from "../../parts/Section";
import { Empty } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { saveCsv, Table } from "../../parts/Table";

interface Row extends CostItem {
  /** A module, or a prompt of one that is open. */
  kind: "module" | "prompt";
  name: string;
}

const moduleOf = (prompt: string): string => prompt.split(/[/.]/, 1)[0] ?? prompt;

/** Modules, below each that is open its prompts, and from there the calls. */
export function Drill({ modules, prompts, days, origin, asked }: { modules: Costs; prompts: Costs; days: number; origin: string; asked: Record<string, unknown> }) {
  const [openText, setOpen] = useParam("open");
  const [only] = useParam("module"); // as Home asks for one
  const open = new Set([...openText.split(","), only].filter(Boolean));
  const toggle = (name: string) => {
    const next = new Set(open);
    if (!next.delete(name)) next.add(name);
    setOpen([...next].join(","));
  };
  const whole = modules.sum.cost_usd ?? 0;
  const most = Math.max(0, ...modules.items.map((item) => item.cost_usd ?? 0));
  const rows = modules.items.flatMap((item): Row[] => {
    const name = item.module ?? "";
    const own = open.has(name) ? prompts.items.filter((prompt) => moduleOf(prompt.prompt ?? "") === name) : [];
    return [{ ...item, kind: "module", name }, ...own.map((prompt): Row => ({ ...prompt, kind: "prompt", name: prompt.prompt ?? "" }))];
  });
  const calls = (prompt: string) => href("/calls", { prompt, last: `${days}d`, origin: origin === "all" ? null : origin });
  const columns: Column<Row>[] = [
    {
      key: "module",
      head: "Module",
      csv: (row) => row.name,
      cell: (row) =>
        row.kind === "module" ? (
          <button type="button" className="link fold" aria-expanded={open.has(row.name)} onClick={() => toggle(row.name)}><span className="caret" aria-hidden="true">{open.has(row.name) ? "▾" : "▸"}</span><b>{row.name}</b></button>
        ) : (
          <span className="below"><a href={calls(row.name)} title="Its calls">{row.name.slice(moduleOf(row.name).length + 1) || row.name}</a></span>
        ),
    },
    { key: "cost_usd", head: "$", num: true, csv: (row) => row.cost_usd, cell: (row) => (row.kind === "module" ? <b>{money(row.cost_usd, { unit: false })}</b> : money(row.cost_usd, { unit: false })) },
    { key: "share", head: "%", num: true, className: "mid", csv: (row) => (row.cost_usd === null || !whole ? null : row.cost_usd / whole), cell: (row) => percent(row.cost_usd === null || !whole ? null : row.cost_usd / whole, 0, { unit: false }) },
    { key: "bar", head: "Share", className: "w99 bar-cell", csv: false, cell: (row) => most > 0 && row.cost_usd !== null && <Bar share={row.cost_usd / most} tone={row.kind === "module" ? "f-acc" : "f-accsoft"} label={money(row.cost_usd)} /> },
    { key: "calls", head: "Calls", num: true, className: "mid", csv: (row) => row.calls, cell: (row) => number(row.calls) },
    { key: "per_call", head: "¢ a call", num: true, className: "mid", csv: (row) => perCall(row), cell: (row) => number(perCall(row), 3) },
    { key: "cached_share", head: "Cached, %", num: true, className: "mid wide", title: "of the input of the calls that say how much was cached", csv: (row) => row.cached_share, cell: (row) => percent(row.cached_share, 0, { unit: false }) },
    { key: "unpriced", head: "Unpriced", num: true, className: "wide", csv: (row) => row.unpriced, cell: (row) => (row.unpriced ? <a className="warn" href={href("/calls", { ...(row.kind === "module" ? { module: row.name } : { prompt: row.name }), price: "unpriced", last: `${days}d` })}>{number(row.unpriced)}</a> : <span className="dim">0</span>) },
  ];
  return (
    <Section
      title="Module, then prompt, then its calls"
      note={modules.total > modules.items.length ? `the dearest ${number(modules.items.length)} of ${number(modules.total)}` : undefined}
      sql={[{ read: "cost", params: { ...asked, by: "module" } as never }]}
      csv={() => saveCsv("costs", columns, prompts.items.map((item): Row => ({ ...item, kind: "prompt", name: item.prompt ?? "" })))}
    >
      <Table
        label="Costs by module"
        dense
        className="drill"
        rows={rows}
        columns={columns}
        rowKey={(row) => `${row.kind} ${row.name}`}
        onOpen={(row) => (row.kind === "module" ? toggle(row.name) : (window.location.hash = calls(row.name)))}
        empty={<Empty code={'track_invocation("support/answer", usage=reply.usage, model=reply.model)'}>No call of these days is recorded. One line after each call records its tokens and its cost.</Empty>}
        foot={rows.length > 0 && <tr className="sum"><td>All</td><td className="num">{money(modules.sum.cost_usd, { unit: false })}</td><td className="num">100</td><td /><td className="num">{number(modules.sum.calls)}</td><td className="num">{number(perCall(modules.sum), 3)}</td><td className="num wide">{percent(modules.sum.cached_share, 0, { unit: false })}</td><td className="num wide">{number(modules.sum.unpriced)}</td></tr>}
      />
    </Section>
  );
}

/** Cents of a call that has a price. */
function perCall(row: { cost_usd: number | null; calls: number; unpriced: number }): number | null {
  const priced = row.calls - row.unpriced;
  return row.cost_usd === null || priced <= 0 ? null : (row.cost_usd * 100) / priced;
}
