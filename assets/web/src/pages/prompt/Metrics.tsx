import type { Prompt, VersionMetrics } from "../../api/types";
import { href, setParams } from "../../app/address";
import { counted, duration, money, number, percent, percentInterval, score } from "../../parts/format";
import { Section } from "../../parts/Section";
import { Empty } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { saveCsv, Table } from "../../parts/Table";
import { useShort } from "../../parts/useShort";
import { metricsOf, servedBy, shareScale } from "./gate";

const MOST = 8;

interface Row extends VersionMetrics {
  scale: { low: number; high: number };
  mark: number | null;
  tone: "acc" | "bad" | "plain";
}

const place = (value: number, { low, high }: Row["scale"]): string => `${(Math.min(1, Math.max(0, (value - low) / (high - low))) * 100).toFixed(2)}%`;

function Plot({ row }: { row: Row }) {
  const [fill, stroke] = { acc: ["f-acc", "s-acc"], bad: ["f-bad", "s-bad"], plain: ["f-3", "s-3"] }[row.tone] as [string, string];
  const said = row.score === null ? "not scored" : `${percent(row.score)}, ${percentInterval(row.interval)}`;
  return (
    <svg width="100%" height="32" role="img" aria-label={said}>
      <title>{said}</title>
      {row.mark !== null && <line x1={place(row.mark, row.scale)} x2={place(row.mark, row.scale)} y1="0" y2="32" className="s-rule" strokeDasharray="3 2" />}
      {row.interval && <line x1={place(row.interval[0], row.scale)} x2={place(row.interval[1], row.scale)} y1="16" y2="16" className={stroke} strokeWidth="2" />}
      {row.score !== null && <circle cx={place(row.score, row.scale)} cy="16" r="4" className={fill} />}
    </svg>
  );
}

function Axis({ scale }: { scale: Row["scale"] }) {
  return (
    <svg width="100%" height="16" className="over" role="img" aria-label={`Score from ${percent(scale.low, 0)} to ${percent(scale.high, 0)}`}>
      <text x="0%" y="12">{number(scale.low * 100)}</text>
      <text x="100%" y="12" className="end">{number(scale.high * 100)}</text>
    </svg>
  );
}

function columnsOf(name: string, baseline: string | null, scale: Row["scale"], scored: boolean): Column<Row>[] {
  return [
    { key: "version", head: <span className="vh">Version</span>, sort: (row) => row.version, cell: (row) => <a href={href("/prompt", { name, version: row.version })}><b>{row.version}</b></a> },
    { key: "interval", head: scored ? <Axis scale={scale} /> : <span className="vh">Interval</span>, className: "plot", csv: (row) => row.interval?.join(" to "), cell: (row) => <Plot row={row} /> },
    {
      key: "score",
      head: "Score, %",
      num: true,
      sort: (row) => row.score,
      cell: (row) => (
        <span className={row.tone === "bad" ? "bad" : undefined}>
          {row.run && row.run !== baseline && baseline ? <a className="quiet" title="Compare its run" href={href("/compare", { run: row.run, baseline })}>{percent(row.score, 1, { unit: false })}</a>
            : row.run ? <a className="quiet" title="Its run" href={href(`/run/${row.run}`)}>{percent(row.score, 1, { unit: false })}</a>
            : percent(row.score, 1, { unit: false })}
        </span>
      ),
    },
    { key: "cents", head: "Cents", num: true, className: "mid", title: "Cost of a call in production, in US cents, of the last 30 days", sort: (row) => row.cost_per_call_usd, cell: (row) => money(row.cost_per_call_usd === null ? null : row.cost_per_call_usd * 100, { unit: false, digits: 2 }) },
    { key: "p50_ms", head: "p50", num: true, className: "mid", title: "Half of its calls in production took less", sort: (row) => row.p50_ms, cell: (row) => <span title={`of ${counted(row.latency_of, "call")}`}>{duration(row.p50_ms)}</span> },
    { key: "rating", head: "Rating", num: true, className: "mid", title: "Mean of the ratings from 0 to 1", sort: (row) => row.rating, cell: (row) => <span title={counted(row.ratings, "rating")} className={row.ratings > 0 && row.ratings < 30 ? "dim" : undefined}>{score(row.rating)}</span> },
  ];
}

/** How each version did: in its newest whole run, in production, in the eyes of its users. */
export function Metrics({ prompt, version, tag }: { prompt: Prompt; version: number; tag: string }) {
  const served = servedBy(prompt, tag);
  const base = served ? metricsOf(prompt, served.version) : undefined;
  const known = prompt.metrics.filter((row) => row.score !== null || row.calls > 0 || row.ratings > 0);
  const scale = shareScale(known.flatMap((row) => [row.score, row.interval?.[0], row.interval?.[1]]));
  const mark = base?.score ?? null;
  const toneOf = (row: VersionMetrics): Row["tone"] => {
    if (row.version === served?.version) return "acc";
    return mark !== null && row.interval && row.interval[1] < mark ? "bad" : row.version === version && !served ? "acc" : "plain";
  };
  const rows: Row[] = known.map((row) => ({ ...row, scale, mark, tone: toneOf(row) }));
  const { shown, hidden, showAll } = useShort(rows, MOST, (row) => row.version === version || row.version === served?.version);
  const columns = columnsOf(prompt.name, base?.run ?? null, scale, rows.some((row) => row.score !== null));
  const rated = rows.reduce((sum, row) => sum + row.ratings, 0);
  return (
    <Section title="By version" note="95% interval" sql={{ read: "prompt", params: { name: prompt.name } }} csv={rows.length ? () => saveCsv(`${prompt.name.replaceAll("/", "-")}-versions`, columns, rows) : undefined}>
      {rows.length ? (
        <>
          <Table label="How each version did" rows={shown} columns={columns} dense className="vt" rowKey={(row) => String(row.version)} selected={String(version)} sortParam="by" onOpen={(row) => setParams({ version: row.version, against: null }, { replace: false })} />
          <p className="cap">
            {mark !== null && `Dashed: ${tag}. `}Score of the newest whole run; cost of a call, median latency and {rated ? `${counted(rated, "rating")} of production in 30 days; under 30 are too few to tell.` : "ratings (none yet) of production in 30 days."}
            {hidden > 0 && <> <button type="button" className="link" onClick={showAll}>{counted(hidden, "version")} more</button></>}
          </p>
        </>
      ) : (
        <Empty code={`promptry run --prompt-version ${version}`}>No version was run or called yet.</Empty>
      )}
    </Section>
  );
}
