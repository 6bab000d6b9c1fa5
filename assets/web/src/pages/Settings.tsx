import type { Settings as Found } from "../api/types";
import { useRead } from "../api/useRead";
import { setTheme, useTheme } from "../app/theme";
import type { Theme } from "../app/theme";
import { Copy } from "../parts/Copy";
import { bytes, capital, counted, number } from "../parts/format";
import { Finding, Head, HeadWaiting } from "../parts/Head";
import { Pill } from "../parts/Mark";
import { Section } from "../parts/Section";
import { ErrorBox, Skeleton } from "../parts/States";
import type { Column } from "../parts/Table";
import { saveCsv, Table } from "../parts/Table";
import { Tabs } from "../parts/Tabs";
import "./settings.css";

const CRUMBS = [{ text: "Settings" }];
const THEMES = [{ value: "system", text: "As the system" }, { value: "light", text: "Light" }, { value: "dark", text: "Dark" }];

/** What is configured, and from where; nothing secret: of a secret only whether it is there. */
export default function Settings() {
  const settings = useRead("settings");
  if (settings.error && !settings.data) return <><Head title="Settings" crumbs={CRUMBS} sentence="The settings could not be read." /><ErrorBox error={settings.error} retry={() => void settings.refetch()} /><Looks /></>;
  if (!settings.data) return <><HeadWaiting title="Settings" crumbs={CRUMBS} /><Skeleton rows={10} /></>;
  return <Filled found={settings.data} />;
}

function Filled({ found }: { found: Found }) {
  const set = found.items.filter((item) => item.source);
  const findings = findingsOf(found);
  const wrong = findings.filter((one) => one.tone === "bad" || one.tone === "warn");
  return (
    <>
      <Head
        title="Settings"
        crumbs={CRUMBS}
        sentence={<Sentence found={found} set={set.length} wrong={wrong} />}
        why={<>promptry {found.version}, Python {found.python}, SQLite {found.sqlite}. A setting goes from the command over the environment to <span className="mono">promptry.toml</span>; secrets are named here and never shown.</>}
      />
      <div className="cols">
        <Section title="Store" note="one file holds everything" tools={<Copy text="promptry doctor" label="Copy promptry doctor" className="link" />}>
          <dl className="kv what wide-kv">
            <dt>Path</dt><dd className="mono">{found.store.path}</dd>
            <dt>Named by</dt><dd>{found.store.source ?? "the usual place"}</dd>
            <dt>Size</dt><dd>{found.store.exists === false ? "not there yet" : `${bytes(found.store.bytes)}${found.store.bytes === null ? "" : `, ${number(found.store.bytes)} bytes`}`}</dd>
            <dt>Mode</dt><dd><span className="mono">{found.store.mode ?? "–"}</span>{found.read_only && ", read only"}</dd>
            {(found.store.others ?? []).map((other, at) => <Other key={at} other={other} />)}
          </dl>
        </Section>
        <Section title="How it stands" note="promptry doctor looks deeper">
          <ul className="findings">{findings.map((one) => <li key={one.text}><Pill shape={one.tone === "good" ? "tick" : one.tone === "bad" ? "cross" : one.tone === "warn" ? "triangle" : "dash"} tone={one.tone}>{one.word}</Pill><span>{one.text}</span></li>)}</ul>
        </Section>
      </div>
      <Section title="Configured" note={found.file ? <>from <span className="mono">{found.file}</span></> : "no promptry.toml here or above: the defaults hold"} sql={undefined} csv={() => saveCsv("settings", COLUMNS, found.items)}>
        <Table label="Each setting" dense rows={ownFirst(found.items)} columns={COLUMNS} rowKey={(row) => row.key} />
      </Section>
      <Section title="Environment" note="whether each is set where the server runs; never its value" csv={() => saveCsv("environment", VARIABLES, found.variables ?? [])}>
        <Table label="Variables" dense rows={found.variables ?? []} columns={VARIABLES} rowKey={(row) => row.name} sortParam="by" />
      </Section>
      <Looks />
    </>
  );
}

function Sentence({ found, set, wrong }: { found: Found; set: number; wrong: Finding_[] }) {
  const [first] = wrong;
  if (found.fault) return <><Finding tone="bad">promptry.toml has a fault</Finding>: {found.fault}</>;
  if (first) return <><Finding tone={first.tone === "bad" ? "bad" : "warn"}>{first.text}</Finding></>;
  return <>{set ? `${counted(set, "setting")} of ${number(found.items.length)} ${set === 1 ? "is" : "are"} your own` : `All ${number(found.items.length)} settings have their defaults`}; {found.store.mode ? "the store is private to you" : "the store is made by the first thing that is recorded"}.</>;
}

interface Finding_ {
  tone: "good" | "bad" | "warn" | "plain";
  word: string;
  text: string;
}

/** What can be told of the configuration without a look into the file. */
export function findingsOf(found: Found): Finding_[] {
  const is = (name: string) => (found.variables ?? []).some((one) => one.name === name && one.is_set);
  const value = (key: string) => found.items.find((item) => item.key === key)?.value;
  const mode = found.store.mode;
  const open = mode ? !/00$/.test(mode) : false;
  const keys = (found.variables ?? []).filter((one) => one.is_set && /_API_KEY$/.test(one.name));
  return [
    found.fault ? { tone: "bad", word: "fault", text: `promptry.toml is not read: ${found.fault}` } : { tone: "good", word: "ok", text: found.file ? "promptry.toml is read whole." : "No promptry.toml is needed, and none is there." },
    !mode ? { tone: "plain", word: "note", text: "The store is not there yet: the first track() or run makes it." } : open ? { tone: "bad", word: "fault", text: `Others can read the store: its mode is ${mode}; chmod 600 closes it.` } : { tone: "good", word: "ok", text: `Only you can read the store (${mode}).` },
    is("PROMPTRY_TOKEN") ? { tone: "good", word: "ok", text: "This page asks for a token." } : { tone: "plain", word: "note", text: "This page asks for no token; it answers this machine alone." },
    value("capture.text") === true
      ? value("capture.mask") === false
        ? { tone: "warn", word: "hint", text: "Texts of calls are kept without masking secrets." }
        : { tone: "good", word: "ok", text: "Texts of calls are kept, secrets in them masked." }
      : { tone: "plain", word: "note", text: "Texts of calls are kept only where a call asks for that." },
    keys.length ? { tone: "good", word: "ok", text: `The playground can ask ${counted(keys.length, "provider")}.` } : { tone: "plain", word: "note", text: "No provider's key is set: the playground asks local models only." },
    value("budget.enforce") === true ? { tone: "good", word: "ok", text: "Calls beyond a budget are refused." } : { tone: "plain", word: "note", text: "Budgets warn; budget_guard refuses where it is used." },
  ];
}

function Other({ other }: { other: string | { path?: string } }) {
  return <><dt>Also found</dt><dd className="mono">{typeof other === "string" ? other : (other.path ?? "")}</dd></>;
}

/** What is set before what is not, else as promptry lists them. */
const ownFirst = (items: readonly Item[]): Item[] => [...items].sort((a, b) => Number(Boolean(b.source)) - Number(Boolean(a.source)));

type Item = Found["items"][number];

const said = (value: unknown): string => (value === null || value === undefined ? "–" : Array.isArray(value) ? value.join(", ") || "none" : typeof value === "boolean" ? (value ? "yes" : "no") : typeof value === "object" ? JSON.stringify(value) : String(value));

const COLUMNS: Column<Item>[] = [
  { key: "key", head: "Setting", className: "mono", sort: (row) => row.key, cell: (row) => row.key },
  { key: "value", head: "Value", className: "w99 value-cell", csv: (row) => row.value, cell: (row) => (row.value === null ? <span className="dim">–</span> : <span className={row.source ? "ink" : undefined}>{said(row.value)}</span>) },
  { key: "source", head: "From", className: "mid", sort: (row) => row.source, cell: (row) => row.source ?? <span className="dim">default</span> },
];

const VARIABLES: Column<NonNullable<Found["variables"]>[number]>[] = [
  { key: "name", head: "Variable", className: "mono", sort: (row) => row.name, cell: (row) => row.name },
  { key: "is_set", head: "State", sort: (row) => Number(row.is_set), cell: (row) => (row.is_set ? <Pill shape="tick" tone="good">set</Pill> : <span className="dim">not set</span>) },
  { key: "what", head: "What for", className: "mid w99", csv: (row) => row.what, cell: (row) => capital(row.what) },
];

function Looks() {
  const theme = useTheme();
  return (
    <Section title="This page" note="kept in this browser">
      <p className="looks"><span className="dim">Colours</span> <Tabs label="Colours" choices={THEMES} value={theme} onChange={(value) => setTheme(value as Theme)} /></p>
    </Section>
  );
}
