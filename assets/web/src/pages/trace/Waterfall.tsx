import { useVirtualizer } from "@tanstack/react-virtual";
import type { KeyboardEvent } from "react";
import { useRef } from "react";
import type { Span } from "../../api/types";
import { colourOf } from "../../parts/colours";
import { counted, duration, number } from "../../parts/format";
import { Pill } from "../../parts/Mark";
import { cents } from "../calls/CallDrawer";
import type { Shown } from "./model";
import { spanName, ticksOf } from "./model";

const ROW = 30;
const MANY = 200;

interface Props {
  rows: readonly Shown[];
  whole_ms: number;
  closed: ReadonlySet<string>;
  selected: string;
  onToggle: (id: string) => void;
  onOpen: (span: Span) => void;
}

/** The spans as a tree, and when each ran; thousands are drawn only where they are seen. */
export function Waterfall(props: Props) {
  const { rows } = props;
  const box = useRef<HTMLDivElement>(null);
  const many = rows.length > MANY;
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => box.current, estimateSize: () => ROW, overscan: 16, enabled: many });
  const items = many ? virtual.getVirtualItems() : [];
  const before = items[0]?.start ?? 0;
  const after = many ? virtual.getTotalSize() - (items.at(-1)?.end ?? 0) : 0;
  const end = Math.max(props.whole_ms, ticksOf(props.whole_ms).at(-1) ?? 0) * 1.06 || 1;
  return (
    <div className={many ? "scroll tall" : "scroll"} ref={box} tabIndex={0} role="region" aria-label="Spans over time">
      <div className="wf" role="treegrid" aria-label="Spans" aria-rowcount={rows.length + 1} data-rows>
        <Axis whole_ms={props.whole_ms} end={end} />
        {before > 0 && <Gap height={before} />}
        {many
          ? items.map((item) => <Row key={rows[item.index]?.span.id} {...props} row={rows[item.index] as Shown} at={item.index} end={end} />)
          : rows.map((row, at) => <Row key={row.span.id} {...props} row={row} at={at} end={end} />)}
        {after > 0 && <Gap height={after} />}
      </div>
    </div>
  );
}

const Gap = ({ height }: { height: number }) => <svg width="1" height={height} aria-hidden="true" />;

function Axis({ whole_ms, end }: { whole_ms: number; end: number }) {
  const ticks = ticksOf(whole_ms);
  const seconds = whole_ms >= 1000;
  const digits = ticks.some((tick) => seconds && tick % 1000) ? 1 : 0;
  return (
    <div className="r h" role="row">
      <div role="columnheader">Span</div>
      <div role="columnheader">
        <span className="vh">{seconds ? "Seconds" : "Milliseconds"}</span>
        <svg className="over" width="100%" height="16" aria-hidden="true">
          {ticks.map((tick, at) => (
            <text key={tick} x={`${(tick / end) * 100}%`} y="12" className={at ? "mid" : undefined}>
              {number(seconds ? tick / 1000 : tick, tick ? digits : 0)}{at === ticks.length - 1 ? (seconds ? " s" : " ms") : ""}
            </text>
          ))}
        </svg>
      </div>
      <div className="num" role="columnheader">Tokens in + out</div>
      <div className="num" role="columnheader">Cost, ¢</div>
    </div>
  );
}

function Row({ row, at, closed, selected, onToggle, onOpen, whole_ms, end }: Props & { row: Shown; at: number; end: number }) {
  const { span, below, calls } = row;
  const isOpen = !closed.has(span.id);
  const press = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget) return;
    if (event.key === "Enter") onOpen(span);
    else if (below && (event.key === "ArrowLeft") === isOpen && /^Arrow(Left|Right)$/.test(event.key)) onToggle(span.id);
    else return;
    event.preventDefault();
  };
  const error = span.status === "error";
  return (
    <div
      className="r"
      role="row"
      data-row
      tabIndex={0}
      aria-level={span.depth + 1}
      aria-expanded={below ? isOpen : undefined}
      aria-selected={selected === span.id || undefined}
      aria-rowindex={at + 2}
      onClick={() => onOpen(span)}
      onKeyDown={press}
    >
      <div className="n" role="rowheader">
        {Array.from({ length: Math.min(span.depth, 12) }, (_, depth) => <span className="ind" key={depth} />)}
        {below ? (
          <button type="button" className="caret" tabIndex={-1} aria-label={isOpen ? `Close ${spanName(span)}` : `Open ${spanName(span)}`} onClick={(event) => {
            event.stopPropagation();
            onToggle(span.id);
          }}>{isOpen ? "▾" : "▸"}</button>
        ) : <span className="caret" />}
        {span.kind === "span" ? <b>{spanName(span)}</b> : spanName(span)}
        {error && <Pill shape="cross" tone="bad" bare><span className="vh">error</span></Pill>}
        <span className="dim">{span.kind === "call" ? span.model : isOpen ? calls > 1 && counted(calls, "call") : counted(below, "span")}</span>
      </div>
      <div role="gridcell"><span className="vh">from {duration(span.start_ms)} for {duration(span.duration_ms)}</span><Timing span={span} whole_ms={whole_ms} end={end} /></div>
      <div className="num mid" role="gridcell">{span.kind === "call" && (span.tokens_in ?? span.tokens_out) != null && `${number(span.tokens_in)} + ${number(span.tokens_out)}`}</div>
      <div className="num" role="gridcell">{span.kind === "call" ? saidCost(span) : <span className={span.depth ? "mid" : "ink"}>{span.cost_usd === null ? "" : cents(span.cost_usd)}</span>}</div>
    </div>
  );
}

function saidCost(span: Span) {
  if (span.cost_usd !== null) return cents(span.cost_usd);
  return span.status === "error" && !span.tokens_in ? "–" : <span className="warn">unpriced</span>;
}

function Timing({ span, whole_ms, end }: { span: Span; whole_ms: number; end: number }) {
  const x = (ms: number) => `${((ms / end) * 100).toFixed(3)}%`;
  const [start, stop] = [span.start_ms, span.start_ms + span.duration_ms];
  const first = typeof span.ttft_ms === "number" && span.ttft_ms < span.duration_ms ? start + span.ttft_ms : null;
  const right = stop > end * 0.8; // the words stand before the bar where there is no room behind it
  const colour = `f-c${colourOf(span.model)}`;
  const said = span.kind === "span" ? duration(span.duration_ms) : span.status === "error" ? shortError(span.error) : `${duration(span.duration_ms)}${span.cost_usd ? `, ${number(span.cost_usd * 100, 2)} ¢` : ""}`;
  return (
    <svg className="over" width="100%" height={ROW} aria-hidden="true">
      {ticksOf(whole_ms).map((tick) => <line key={tick} x1={x(tick)} x2={x(tick)} y1="0" y2={ROW} className="s-grid" />)}
      {span.kind === "span" ? (
        <>
          <rect x={x(start)} y="13" width={x(span.duration_ms)} height="4" className="f-rule" />
          <rect x={x(start)} y="9" width="2" height="12" className="f-rule" />
          <rect x={x(stop)} y="9" width="2" height="12" className="f-rule" transform="translate(-2 0)" />
        </>
      ) : span.status === "error" ? (
        <rect x={x(start)} y="8" width={x(Math.max(span.duration_ms, end / 400))} height="14" className="f-badw s-bad" />
      ) : (
        <>
          <rect x={x(start)} y="7" width={x(Math.max(span.duration_ms, end / 400))} height="16" className={first === null ? colour : `${colour} soft`} />
          {first !== null && (
            <>
              <rect x={x(first)} y="7" width={x(stop - first)} height="16" className={colour} />
              {span.duration_ms > end / 100 && <line x1={x(first)} x2={x(first)} y1="4" y2="26" className="s-ink" strokeWidth="1.5" />}
            </>
          )}
        </>
      )}
      {!(span.depth === 0 && span.kind === "span" && span.duration_ms > whole_ms * 0.9) && (
        <text x={x(right ? start : stop)} y="19" className={`${right ? "end " : ""}${span.status === "error" ? "t-bad" : "t-2"}`} transform={`translate(${right ? -7 : 7} 0)`}>{said}</text>
      )}
    </svg>
  );
}

const shortError = (error: unknown): string => (typeof error === "string" && error ? (error.length > 32 ? `${error.slice(0, 31)}…` : error) : "error");
