import type { ReactNode } from "react";
import { useState } from "react";
import type { VoteAnalysis, VoteItem } from "../../api/types";
import { useFeed } from "../../api/useFeed";
import { useRead } from "../../api/useRead";
import { href, useParam } from "../../app/address";
import { Bar } from "../../parts/Bars";
import { Drawer } from "../../parts/Drawer";
import { EndMark } from "../../parts/EndMark";
import { counted, number, percent } from "../../parts/format";
import { Finding, Head, HeadWaiting } from "../../parts/Head";
import { Pill } from "../../parts/Mark";
import { Section } from "../../parts/Section";
import { Empty, ErrorBox, Loaded, Skeleton } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { saveCsv, Table } from "../../parts/Table";
import { Tabs } from "../../parts/Tabs";
import { Time, useNow } from "../../parts/Time";
import { CaseForm } from "../calls/forms";
import "../calls/calls.css";
import { Days } from "./Days";
import { mostNamed, voteDays } from "./fold";

const CRUMBS = [{ text: "Feedback" }];
const SHOWN = [{ value: "all", text: "All" }, { value: "-1", text: "Down" }, { value: "1", text: "Up" }];
const SPANS = [{ value: "7", text: "7 days" }, { value: "30", text: "30 days" }, { value: "90", text: "90 days" }];
const PAGE = 500;

export function Votes({ tabs }: { tabs: ReactNode }) {
  const [chosen, setName] = useParam("prompt");
  const [span, setSpan] = useParam("days", "30");
  const now = new Date(useNow(60_000)).toISOString();
  const all = useRead("votes", { limit: PAGE });
  const items = all.data?.items ?? [];
  const name = chosen || mostNamed(items) || "";
  const analysis = useRead("voteAnalysis", { name, days: Number(span) || 30 }, { enabled: name !== "", keep: true });
  if (all.error && !all.data) return <><Head title="Votes" crumbs={CRUMBS} actions={tabs} sentence="The votes could not be read." /><ErrorBox error={all.error} retry={() => void all.refetch()} /></>;
  if (!all.data) return <><HeadWaiting title="Votes" crumbs={CRUMBS} /><Skeleton rows={3} height={40} /><Skeleton rows={8} /></>;
  if (!items.length) {
    return (
      <>
        <Head title="Votes" crumbs={CRUMBS} actions={tabs} sentence="Nobody has voted on a response yet." />
        <Section title="Votes"><Empty code="promptry vote support/answer --down --response 'You cannot.' --message 'no way out'">A vote is a thumb on a response, with or without a reason. What the down votes have in common is told here, version by version.</Empty></Section>
      </>
    );
  }
  const names = [...new Set(items.map((row) => row.prompt_name))].sort();
  const own = items.filter((row) => row.prompt_name === name);
  return (
    <>
      <Head title="Votes" crumbs={[...CRUMBS, { text: name }]} actions={tabs} sentence={analysis.data ? <Sentence found={analysis.data} /> : <span className="waiting">Reading the store.</span>} why={analysis.data && <Why found={analysis.data} />} />
      <div className="picks">
        <label className="field">Prompt<select data-filter value={name} onChange={(event) => setName(event.target.value)}>{names.map((one) => <option key={one}>{one}</option>)}</select></label>
        <span className="field">Of the last<Tabs label="How many days" choices={SPANS} value={span} onChange={setSpan} /></span>
      </div>
      <Section title="Votes a day" note="up above the line, down below" sql={{ read: "votes", params: { prompt: name, limit: PAGE } }}>
        <Days days={voteDays(own, now, Number(span) || 30)} one="votes" />
      </Section>
      <Section title="Version by version" note="what the down votes have in common" sql={{ read: "voteAnalysis", params: { name, days: Number(span) || 30 } }} csv={() => saveCsv("votes-by-version", VERSIONS, analysis.data?.versions ?? [])}>
        <Loaded query={analysis} rows={3} height={44}>
          {(found) => <Table label="Votes by version" className="version-votes" rows={found.versions} columns={VERSIONS} rowKey={(row) => String(row.version)} empty={<p className="cap">No vote on {name} in these days.</p>} sortParam="by" />}
        </Loaded>
      </Section>
      <List name={name} />
    </>
  );
}

type Version = VoteAnalysis["versions"][number];

function Sentence({ found }: { found: VoteAnalysis }) {
  const votes = found.versions.reduce((sum, row) => sum + row.votes, 0);
  const down = found.versions.reduce((sum, row) => sum + row.down, 0);
  if (!votes) return <>Nobody voted on {found.name} in the last {found.days} days.</>;
  return down ? <><Finding tone="bad">{number(down)} of {counted(votes, "vote")}</Finding> on {found.name} {down === 1 ? "is" : "are"} down, {percent(down / votes, 0)}.</> : <>All {counted(votes, "vote")} on {found.name} are up.</>;
}

function Why({ found }: { found: VoteAnalysis }) {
  const known = found.versions.filter((row) => row.votes > 0);
  const [newest, before] = [...known].sort((a, b) => (b.version ?? 0) - (a.version ?? 0));
  if (!newest) return null;
  const words = newest.words.slice(0, 3).map((word) => `“${word.word}”`).join(", ");
  return (
    <>
      Version {newest.version ?? "unknown"}: {percent(newest.down_share, 0)} down of {number(newest.votes)}
      {before && `; version ${before.version ?? "unknown"}: ${percent(before.down_share, 0)} of ${number(before.votes)}`}.
      {words && ` Its down votes hold ${words} most.`}
    </>
  );
}

const VERSIONS: Column<Version>[] = [
  { key: "version", head: "Version", sort: (row) => row.version, cell: (row) => <b>{row.version ?? "unknown"}</b> },
  { key: "votes", head: "Votes", num: true, sort: (row) => row.votes, cell: (row) => number(row.votes) },
  { key: "down", head: "Down", num: true, sort: (row) => row.down, cell: (row) => number(row.down) },
  { key: "down_share", head: "Down, %", num: true, sort: (row) => row.down_share, cell: (row) => percent(row.down_share, 0, { unit: false }) },
  { key: "bar", head: <span className="vh">Share of downs</span>, csv: false, className: "bar-cell", cell: (row) => row.down_share !== null && <Bar share={row.down_share} tone="f-bad" label={`${percent(row.down_share, 0)} down`} /> },
  { key: "words", head: "Words of the down votes", className: "wrap-cell", csv: (row) => row.words.map((word) => `${word.word} ${word.down_votes}`).join(", "), cell: (row) => row.words.length ? row.words.map((word) => <span key={word.word} className="tag" title={`in ${counted(word.down_votes, "down vote")}`}>{word.word} {number(word.down_votes)}</span>) : <span className="dim">none in two of them</span> },
  { key: "messages", head: "What they say", className: "wrap-cell", csv: (row) => row.messages.join("; "), cell: (row) => row.messages.length ? [...new Set(row.messages)].slice(0, 3).map((message) => `“${message}”`).join(", ") : <span className="dim">–</span> },
  { key: "last_at", head: "Last", className: "dim", sort: (row) => row.last_at, cell: (row) => <Time at={row.last_at} /> },
];

const COLUMNS: Column<VoteItem>[] = [
  { key: "created_at", head: "Time", className: "dim", csv: (row) => row.created_at, cell: (row) => <Time at={row.created_at} show="list" /> },
  { key: "score", head: "Vote", csv: (row) => row.score, cell: (row) => <Thumb score={row.score} /> },
  { key: "version", head: "Version", num: true, csv: (row) => row.prompt_version, cell: (row) => <a href={href("/prompt", { name: row.prompt_name, version: row.prompt_version })}>{row.prompt_version ?? "–"}</a> },
  { key: "message", head: "Reason", className: "reason", csv: (row) => row.message, cell: (row) => row.message ?? <span className="dim">–</span> },
  { key: "response", head: "Response", className: "saying", csv: (row) => row.response, cell: (row) => row.response },
];

function Thumb({ score }: { score: number }) {
  return score > 0 ? <Pill shape="up" tone="good">up</Pill> : <Pill shape="down" tone="bad">down</Pill>;
}

function List({ name }: { name: string }) {
  const [score, setScore] = useParam("score", "all");
  const [open, setOpen] = useState<string | null>(null);
  const asked = { prompt: name, score: score === "all" ? null : score };
  const list = useFeed("votes", asked, PAGE);
  const shown = list.rows.find((row) => row.id === open);
  return (
    <Section title="Votes" note="the newest first" tools={<Tabs label="Which votes" choices={SHOWN} value={score} onChange={setScore} />} sql={{ read: "votes", params: asked }} csv={() => saveCsv("votes", COLUMNS, list.rows)}>
      <Table
        label="Each vote"
        rows={list.rows}
        columns={COLUMNS}
        rowKey={(row) => row.id}
        selected={open}
        onOpen={(row) => setOpen(row.id)}
        empty={<p className="cap">No such vote on {name}.</p>}
        foot={<tr><td colSpan={COLUMNS.length}><EndMark onSeen={list.older}>{list.loading ? "Reading more." : `${number(list.rows.length)} of ${number(list.total)} shown.`}</EndMark></td></tr>}
      />
      {list.error && <ErrorBox error={list.error} retry={list.older} />}
      {shown && (
        <Drawer title={`Vote ${shown.id}`} onClose={() => setOpen(null)}>
          <p><Thumb score={shown.score} /> on <a href={href("/prompt", { name: shown.prompt_name, version: shown.prompt_version })}>{shown.prompt_name} {shown.prompt_version}</a>, <Time at={shown.created_at} show="full" /></p>
          {shown.message && <><h3>Reason</h3><p className="out text">{shown.message}</p></>}
          <h3>Response</h3>
          <p className="out text">{shown.response}</p>
          <h3>Make it a case</h3>
          <CaseForm key={shown.id} of={{ vote: shown.id }} />
        </Drawer>
      )}
    </Section>
  );
}
