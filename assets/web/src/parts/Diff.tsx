// Differences of texts: lines with the changed words marked, or two outputs side by side. Text only, never markup.
import { diffLines, diffWordsWithSpace } from "diff";
import type { ReactNode } from "react";
import { useMemo } from "react";
import { counted } from "./format";

interface Line {
  kind: "same" | "del" | "add";
  text: string;
  words?: ReactNode;
  old?: number;
  now?: number;
}

const MAX_WORDS = 20_000; // characters of a pair of lines up to which words are compared

interface Piece {
  text: string;
  marked: boolean;
}

/** One side of a word diff: what the other has not is marked, and blanks between two marks are marked with them. */
export function piecesOf(before: string, now: string, side: "del" | "add"): Piece[] {
  const own = diffWordsWithSpace(before, now).filter((part) => !(side === "del" ? part.added : part.removed));
  const pieces: Piece[] = [];
  own.forEach((part, at) => {
    const isMarked = (one: typeof part | undefined) => Boolean(one && (one.added || one.removed));
    const between = /^\s+$/.test(part.value) && isMarked(own[at - 1]) && isMarked(own[at + 1]);
    const marked = isMarked(part) || between;
    const last = pieces[pieces.length - 1];
    if (last?.marked === marked) last.text += part.value;
    else pieces.push({ text: part.value, marked });
  });
  return pieces.flatMap(bare);
}

/** A mark without the blanks at its ends. */
function bare(piece: Piece): Piece[] {
  const [, head = "", text = "", tail = ""] = /^(\s*)([^]*?)(\s*)$/.exec(piece.text) ?? [];
  if (!piece.marked || !text) return [piece];
  return [{ text: head, marked: false }, { text, marked: true }, { text: tail, marked: false }].filter((one) => one.text);
}

const marked = (before: string, now: string, side: "del" | "add"): ReactNode => {
  if (before.length + now.length > MAX_WORDS) return side === "del" ? before : now;
  return piecesOf(before, now, side).map(({ text, marked: isMarked }, at) => {
    if (!isMarked) return text;
    return side === "add" ? <ins key={at}>{text}</ins> : <del key={at}>{text}</del>;
  });
};

const linesOf = (text: string): string[] => text.replace(/\n$/, "").split("\n");

/** The lines of a diff; neighbours that replace each other have their words marked. */
export function diffOf(before: string, now: string): Line[] {
  const lines: Line[] = [];
  let [old, fresh] = [1, 1];
  const parts = diffLines(before.endsWith("\n") ? before : `${before}\n`, now.endsWith("\n") ? now : `${now}\n`);
  parts.forEach((part, at) => {
    const texts = linesOf(part.value);
    const twin = part.removed ? parts[at + 1] : parts[at - 1];
    const pairs = (part.removed && twin?.added) || (part.added && twin?.removed) ? linesOf(twin?.value ?? "") : [];
    texts.forEach((text, row) => {
      const other = pairs[row] ?? (pairs.length ? "" : undefined); // beside a line that was replaced, a further one is new as a whole
      if (part.removed) lines.push({ kind: "del", text, old: old++, words: other === undefined ? text : marked(text, other, "del") });
      else if (part.added) lines.push({ kind: "add", text, now: fresh++, words: other === undefined ? text : marked(other, text, "add") });
      else lines.push({ kind: "same", text, old: old++, now: fresh++ });
    });
  });
  return lines;
}

/** How many lines a diff adds and takes: "+2 −3 lines". */
export function changedLines(before: string, now: string): string {
  const lines = diffOf(before, now);
  const count = (kind: Line["kind"]) => lines.filter((line) => line.kind === kind).length;
  return `+${count("add")} −${count("del")} lines`;
}

type Shown = Line | { kind: "skip"; count: number };

/** Fold what is the same and further than `context` lines from a change. */
function folded(lines: Line[], context: number): Shown[] {
  const near = lines.map(() => false);
  lines.forEach((line, at) => {
    if (line.kind !== "same") for (let to = at - context; to <= at + context; to++) if (to in near) near[to] = true;
  });
  const shown: Shown[] = [];
  lines.forEach((line, at) => {
    const last = shown[shown.length - 1];
    if (near[at]) shown.push(line);
    else if (last?.kind === "skip") last.count++;
    else shown.push({ kind: "skip", count: 1 });
  });
  return shown;
}

const SIGN = { same: "", del: "−", add: "+" };

/** What changed between two texts, unified or split; `context` lines around each change, all with Infinity. */
export function Diff({ before, now, view = "unified", context = 3, label = "What changed", tight = false }: {
  before: string;
  now: string;
  view?: "unified" | "split";
  context?: number;
  label?: string;
  tight?: boolean;
}) {
  const lines = useMemo(() => diffOf(before, now), [before, now]);
  if (lines.every((line) => line.kind === "same")) return <p className="cap">The two texts are the same.</p>;
  const shown = Number.isFinite(context) ? folded(lines, context) : lines;
  if (view === "split") return <Split shown={shown} label={label} />;
  return (
    <div className={tight ? "diff tight" : "diff"} role="figure" tabIndex={0} aria-label={label}>
      {shown.map((line, at) =>
        line.kind === "skip" ? (
          <Skip key={at} count={line.count} />
        ) : (
          <div key={at} className={line.kind === "same" ? undefined : line.kind}>
            <span>{line.old}</span><span>{line.now}</span><span>{SIGN[line.kind]}</span><span>{line.words ?? line.text}</span>
          </div>
        ),
      )}
    </div>
  );
}

function Skip({ count }: { count: number }) {
  return <div className="skip"><span /><span /><span>⋯</span><span className="dim">{counted(count, "line")} the same</span></div>;
}

function Split({ shown, label }: { shown: Shown[]; label: string }) {
  const rows: [Shown | null, Shown | null][] = [];
  let dels: Line[] = [];
  let adds: Line[] = [];
  const flush = () => {
    for (let at = 0; at < Math.max(dels.length, adds.length); at++) rows.push([dels[at] ?? null, adds[at] ?? null]);
    [dels, adds] = [[], []];
  };
  for (const line of shown) {
    if (line.kind === "del") dels.push(line);
    else if (line.kind === "add") adds.push(line);
    else {
      flush();
      rows.push([line, line]);
    }
  }
  flush();
  return (
    <div className="diff twin" role="figure" tabIndex={0} aria-label={label}>
      {rows.map(([left, right], at) =>
        left?.kind === "skip" ? (
          <Skip key={at} count={left.count} />
        ) : (
          <div key={at} className="two">
            <Half line={left as Line | null} side="old" />
            <Half line={right as Line | null} side="now" />
          </div>
        ),
      )}
    </div>
  );
}

function Half({ line, side }: { line: Line | null; side: "old" | "now" }) {
  if (!line) return <div className="none"><span /><span /></div>;
  return (
    <div className={line.kind === "same" ? undefined : line.kind}>
      <span>{line[side]}</span><span>{line.words ?? line.text}</span>
    </div>
  );
}

/** One of two outputs with the words marked that the other has not. */
export function Words({ before, now, side }: { before: string; now: string; side: "before" | "now" }) {
  return <>{marked(before, now, side === "before" ? "del" : "add")}</>;
}

const HUNK = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/;

/** The hunks of a unified diff, each as the two texts that it was made of and their first lines. */
export function hunksOf(patch: string): { before: string; now: string; old: number; fresh: number }[] {
  const hunks: { before: string[]; now: string[]; old: number; fresh: number }[] = [];
  for (const line of patch.split("\n")) {
    const head = HUNK.exec(line);
    if (head) hunks.push({ before: [], now: [], old: Number(head[1]), fresh: Number(head[2]) });
    const hunk = hunks[hunks.length - 1];
    if (head || !hunk || line.startsWith("\\")) continue;
    if (line.startsWith("-")) hunk.before.push(line.slice(1));
    else if (line.startsWith("+")) hunk.now.push(line.slice(1));
    else {
      hunk.before.push(line.slice(1));
      hunk.now.push(line.slice(1));
    }
  }
  return hunks.map((hunk) => ({ ...hunk, before: hunk.before.join("\n"), now: hunk.now.join("\n") }));
}

/** A unified diff as the server makes it, with the changed words marked; without its context by `bare`. */
export function Patch({ patch, label = "What changed in the text", tight = true, bare: onlyChanges = false }: {
  patch: string;
  label?: string;
  tight?: boolean;
  bare?: boolean;
}) {
  const lines = useMemo(
    () =>
      hunksOf(patch).flatMap((hunk) =>
        diffOf(hunk.before, hunk.now).map((line) => ({
          ...line,
          old: line.old === undefined ? undefined : line.old + hunk.old - 1,
          now: line.now === undefined ? undefined : line.now + hunk.fresh - 1,
        })),
      ),
    [patch],
  );
  return (
    <div className={tight ? "diff tight" : "diff"} role="figure" tabIndex={0} aria-label={label}>
      {lines.filter((line) => !onlyChanges || line.kind !== "same").map((line, at) => (
        <div key={at} className={line.kind === "same" ? undefined : line.kind}>
          <span>{line.old}</span><span>{line.now}</span><span>{SIGN[line.kind]}</span><span>{line.words ?? line.text}</span>
        </div>
      ))}
    </div>
  );
}
