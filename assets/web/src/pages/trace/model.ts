// A trace as it is drawn: which parts of the time and of the money its pieces had, and which rows are seen.
import type { Span, Trace } from "../../api/types";

export interface Piece {
  name: string;
  model: string | null;
  /** Shares of one of the whole: where it begins and how wide it is. */
  from: number;
  share: number;
  id: string | null;
}

/** The spans that a trace falls into: those below its only outermost span, else the outermost ones. */
export function topSpans(spans: readonly Span[]): Span[] {
  const roots = spans.filter((span) => span.depth === 0);
  const [root] = roots;
  if (roots.length !== 1 || !root) return roots;
  const below = spans.filter((span) => span.parent_id === root.id);
  return below.length ? below : roots;
}

/** The model of a span: its own, or that of the dearest call below it. */
export function modelOf(span: Span, spans: readonly Span[]): string | null {
  if (span.kind === "call") return span.model ?? null;
  const at = spans.indexOf(span);
  let best: Span | null = null;
  for (let next = at + 1; next < spans.length; next++) {
    const one = spans[next] as Span;
    if (one.depth <= span.depth) break;
    if (one.kind === "call" && (!best || (one.cost_usd ?? 0) > (best.cost_usd ?? 0))) best = one;
  }
  return best?.model ?? null;
}

/** The name a span is shown by. */
export const spanName = (span: Span): string => span.name || (span.kind === "call" ? "call" : "span");

/** The time as a strip: the top spans where they were, each moment once; what none of them had is a piece without a name. */
export function timeStrip(trace: Trace): Piece[] {
  const whole = trace.duration_ms;
  if (!(whole > 0)) return [];
  const pieces: Piece[] = [];
  let at = 0;
  for (const span of [...topSpans(trace.spans)].sort((a, b) => a.start_ms - b.start_ms)) {
    const [start, end] = [Math.max(at, span.start_ms), span.start_ms + span.duration_ms];
    if (end <= at) continue; // beside an earlier one
    if (start > at) pieces.push({ name: "", model: null, from: at / whole, share: (start - at) / whole, id: null });
    pieces.push({ name: spanName(span), model: modelOf(span, trace.spans), from: start / whole, share: (end - start) / whole, id: span.id });
    at = end;
  }
  if (at < whole) pieces.push({ name: "", model: null, from: at / whole, share: (whole - at) / whole, id: null });
  return pieces;
}

/** The money as a strip: what each top span cost, one after the other. */
export function costStrip(trace: Trace): Piece[] {
  const own = topSpans(trace.spans).filter((span) => (span.cost_usd ?? 0) > 0);
  const sum = own.reduce((all, span) => all + (span.cost_usd ?? 0), 0);
  let from = 0;
  return own.map((span) => {
    const share = (span.cost_usd ?? 0) / sum;
    const piece = { name: spanName(span), model: modelOf(span, trace.spans), from, share, id: span.id };
    from += share;
    return piece;
  });
}

/** The piece with the greatest share of those that have a name, of all of one name together. */
export function greatest(pieces: readonly Piece[]): { name: string; share: number } | null {
  const sums = new Map<string, number>();
  for (const piece of pieces) if (piece.name) sums.set(piece.name, (sums.get(piece.name) ?? 0) + piece.share);
  let best: { name: string; share: number } | null = null;
  for (const [name, share] of sums) if (!best || share > best.share) best = { name, share };
  return best;
}

/** When the first words of the last answer came, after the start of the trace: that of its last call that says so. */
export function firstWords(spans: readonly Span[]): number | null {
  const calls = spans.filter((span) => span.kind === "call" && typeof span.ttft_ms === "number" && span.status !== "error");
  const last = calls.reduce<Span | null>((best, span) => (!best || span.start_ms + span.duration_ms > best.start_ms + best.duration_ms ? span : best), null);
  return last ? last.start_ms + (last.ttft_ms ?? 0) : null;
}

export interface Shown {
  span: Span;
  /** How many spans and calls stand below it. */
  below: number;
  /** How many of these are calls right below it. */
  calls: number;
}

/** The rows that are seen, parents before their children, without what is below a closed span. */
export function shownSpans(spans: readonly Span[], closed: ReadonlySet<string>): Shown[] {
  const below = new Array<number>(spans.length).fill(0);
  const calls = new Array<number>(spans.length).fill(0);
  const above: number[] = [];
  spans.forEach((span, at) => {
    while (above.length && (spans[above.at(-1) as number] as Span).depth >= span.depth) above.pop();
    for (const outer of above) below[outer] = (below[outer] ?? 0) + 1;
    const parent = above.at(-1);
    if (parent !== undefined && span.kind === "call") calls[parent] = (calls[parent] ?? 0) + 1;
    above.push(at);
  });
  const shown: Shown[] = [];
  let hidden = Number.POSITIVE_INFINITY;
  spans.forEach((span, at) => {
    if (span.depth > hidden) return;
    hidden = closed.has(span.id) ? span.depth : Number.POSITIVE_INFINITY;
    shown.push({ span, below: below[at] ?? 0, calls: calls[at] ?? 0 });
  });
  return shown;
}

/** Round ticks for a span of milliseconds: at most seven, from nought. */
export function ticksOf(whole_ms: number): number[] {
  if (!(whole_ms > 0)) return [0];
  const rough = whole_ms / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((size) => size * power).find((size) => size >= rough * 0.999) ?? rough;
  const ticks = [];
  for (let at = 0; at <= whole_ms * 1.0001; at += step) ticks.push(at);
  return ticks;
}

/** How the calls below a span ran: one after the other, or how long they would take side by side. */
export function waitsOf(span: Span, spans: readonly Span[]): { calls: number; inLine: boolean; longest_ms: number } | null {
  const own = spans.filter((one) => one.parent_id === span.id).sort((a, b) => a.start_ms - b.start_ms);
  if (own.length < 2) return null;
  const inLine = own.every((one, at) => at === 0 || one.start_ms >= (own[at - 1] as Span).start_ms + (own[at - 1] as Span).duration_ms - 1);
  return { calls: own.length, inLine, longest_ms: Math.max(...own.map((one) => one.duration_ms)) };
}
