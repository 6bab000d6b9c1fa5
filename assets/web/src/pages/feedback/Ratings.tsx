import type { ReactNode } from "react";
import type { Params } from "../../api/client";
import type { FeedbackItem } from "../../api/types";
import { useFeed } from "../../api/useFeed";
import { useRead } from "../../api/useRead";
import { href, setParams, useParam } from "../../app/address";
import { Bar } from "../../parts/Bars";
import { EndMark } from "../../parts/EndMark";
import { counted, number, percent, score } from "../../parts/format";
import { Finding, Head, HeadWaiting } from "../../parts/Head";
import { Model } from "../../parts/Model";
import { Rated } from "../../parts/Rated";
import { Section } from "../../parts/Section";
import { Empty, ErrorBox, Skeleton } from "../../parts/States";
import type { Column } from "../../parts/Table";
import { saveCsv, Table } from "../../parts/Table";
import { Tabs } from "../../parts/Tabs";
import { Time, useNow } from "../../parts/Time";
import { CallDrawer } from "../calls/CallDrawer";
import "../calls/calls.css";
import { Days } from "./Days";
import type { Rated as RatedVersion } from "./fold";
import { byVersion, ratingDays } from "./fold";

const CRUMBS = [{ text: "Feedback" }];
const SHOWN = [{ value: "all", text: "All" }, { value: "down", text: "Down" }, { value: "said", text: "With a comment" }];
const PAGE = 500;
const RATE = "promptry feedback add REQUEST_ID --rating 0.5 --comment 'wrong order number'";

export function Ratings({ tabs }: { tabs: ReactNode }) {
  const [prompt] = useParam("prompt");
  const [show, setShow] = useParam("show", "all");
  const [call, setCall] = useParam("call");
  const now = new Date(useNow(60_000)).toISOString();
  const all = useRead("feedback", { prompt, limit: PAGE }, { keep: true });
  const asked = { prompt, max_rating: show === "down" ? 0.4999 : null };
  const list = useFeed("feedback", asked, PAGE);
  if (all.error && !all.data) return <><Head title="Feedback" crumbs={CRUMBS} actions={tabs} sentence="The feedback could not be read." /><ErrorBox error={all.error} retry={() => void all.refetch()} />{prompt && <p><a href={href("/feedback")}>All feedback</a></p>}</>;
  if (!all.data) return <><HeadWaiting title="Feedback" crumbs={CRUMBS} /><Skeleton rows={3} height={40} /><Skeleton rows={10} /></>;
  const { items, total } = all.data;
  const rows = show === "said" ? list.rows.filter((row) => row.comment) : list.rows;
  const empty = <Empty code={RATE}>{total ? "No rating fits." : "Nobody has rated an answer yet. A rating names the request it is about, also before the call is recorded; your app posts it to /api/feedback."}</Empty>;
  return (
    <>
      <Head title="Feedback" crumbs={prompt ? [{ text: "Feedback", href: href("/feedback") }, { text: prompt }] : CRUMBS} actions={tabs} sentence={<Sentence items={items} total={total} />} why={<Why items={items} prompt={prompt} />} />
      {items.length > 0 && (
        <div className="cols c-64">
          <Section title="Ratings a day" note={`up above the line, down below${total > items.length ? `; the newest ${number(items.length)}` : ""}`} sql={{ read: "feedback", params: { prompt, limit: PAGE } }}>
            <Days days={ratingDays(items, now, 30)} one="rated" half={96} />
          </Section>
          <Versions rows={byVersion(items)} params={{ prompt, limit: PAGE }} />
        </div>
      )}
      <Section
        title="What was said"
        note="the newest first"
        tools={<Tabs label="Which ratings" choices={SHOWN} value={show} onChange={setShow} />}
        sql={{ read: "feedback", params: asked }}
        csv={() => saveCsv("feedback", COLUMNS, rows)}
      >
        <Table
          label="Feedback"
          className="said-table"
          rows={rows}
          columns={COLUMNS}
          rowKey={(row) => row.id}
          selected={list.rows.find((row) => row.call_id === call)?.id ?? null}
          onOpen={(row) => row.call_id && setCall(row.call_id)}
          empty={empty}
          foot={<tr><td colSpan={COLUMNS.length}><EndMark onSeen={list.older}>{list.loading ? "Reading more." : `${number(rows.length)} shown${list.total === null || show === "said" ? "" : ` of ${number(list.total)}`}.`}</EndMark></td></tr>}
        />
        {list.error && <ErrorBox error={list.error} retry={list.older} />}
      </Section>
      {call && <CallDrawer id={call} onClose={() => setCall(null)} />}
    </>
  );
}

function Sentence({ items, total }: { items: readonly FeedbackItem[]; total: number }) {
  const rated = items.filter((row) => row.rating !== null);
  if (!rated.length) return <>{total ? `${counted(total, "comment")}, and no rating yet.` : "Nobody has rated an answer yet."}</>;
  const down = rated.filter((row) => (row.rating ?? 0) < 0.5).length;
  const of = total > items.length ? `the newest ${number(rated.length)} ratings` : counted(rated.length, "rating");
  return <>{down ? <><Finding tone="bad">{number(down)} of {of} {down === 1 ? "is" : "are"} down</Finding>, {percent(down / rated.length, 0)}.</> : <>All of {of} are up.</>}</>;
}

function Why({ items, prompt }: { items: readonly FeedbackItem[]; prompt: string }) {
  const [worst] = byVersion(items).filter((row) => row.ratings > 4 && row.down > 0);
  const lost = items.filter((row) => row.call_id === null).length;
  const mean = items.flatMap((row) => (row.rating === null ? [] : [row.rating]));
  return (
    <>
      {mean.length > 0 && <>The mean is {score(mean.reduce((sum, rating) => sum + rating, 0) / mean.length)} of 1. </>}
      {worst && !prompt && <><b>{worst.prompt} {worst.version}</b> has the most down: {number(worst.down)} of {number(worst.ratings)}. </>}
      {lost > 0 && <>{counted(lost, "rating")} {lost === 1 ? "waits" : "wait"} for {lost === 1 ? "its call" : "their calls"}.</>}
    </>
  );
}

const COLUMNS: Column<FeedbackItem>[] = [
  { key: "created_at", head: "Time", className: "dim", csv: (row) => row.created_at, cell: (row) => <Time at={row.created_at} show="list" /> },
  { key: "rating", head: "Rating", csv: (row) => row.rating, cell: (row) => <Rated rating={row.rating} /> },
  { key: "comment", head: "Comment", className: "saying", csv: (row) => row.comment, cell: (row) => row.comment ? <span title={row.comment}>{row.comment}</span> : <span className="dim">–</span> },
  { key: "prompt", head: "Prompt", csv: (row) => row.prompt_name, cell: (row) => row.prompt_name ? <a href={href("/prompt", { name: row.prompt_name, version: row.prompt_version })}>{row.prompt_name} {row.prompt_version}</a> : <span className="dim">–</span> },
  { key: "model", head: "Model", className: "wide", csv: (row) => row.model, cell: (row) => (row.model ? <Model model={row.model} /> : <span className="dim">–</span>) },
  { key: "source", head: "Source", className: "dim", csv: (row) => row.source, cell: (row) => row.source ?? "–" },
  { key: "call", head: "Call", num: true, csv: (row) => row.call_id, cell: (row) => row.call_id ? <a href={href("/calls", { request: row.request_id, call: row.call_id })}>{number(Number(row.call_id))}</a> : <span className="dim" title={row.request_id}>not yet</span> },
];

const VERSION_COLUMNS: Column<RatedVersion>[] = [
  { key: "prompt", head: "Prompt", csv: (row) => `${row.prompt} ${row.version}`, cell: (row) => row.prompt ? <button type="button" className="link" onClick={() => setParams({ prompt: row.prompt })}>{row.prompt} {row.version}</button> : <span className="dim">not recorded</span> },
  { key: "bar", head: <span className="vh">Share of downs</span>, csv: false, className: "w99", cell: (row) => row.ratings > 0 && <Bar share={row.down / row.ratings} tone="f-bad" label={`${percent(row.down / row.ratings, 0)} down`} /> },
  { key: "down", head: "Down", num: true, csv: (row) => row.down, cell: (row) => number(row.down) },
  { key: "ratings", head: "of", num: true, className: "mid", csv: (row) => row.ratings, cell: (row) => number(row.ratings) },
  { key: "mean", head: "Mean", num: true, className: "mid", csv: (row) => row.mean, cell: (row) => score(row.mean) },
];

function Versions({ rows, params }: { rows: RatedVersion[]; params: Params }) {
  return (
    <Section title="By version" note="the most down first" sql={{ read: "feedback", params }} csv={() => saveCsv("ratings", VERSION_COLUMNS, rows)}>
      <Table label="Ratings by version" dense rows={rows.slice(0, 8)} columns={VERSION_COLUMNS} rowKey={(row) => `${row.prompt} ${row.version}`} sortParam="by" />
    </Section>
  );
}
