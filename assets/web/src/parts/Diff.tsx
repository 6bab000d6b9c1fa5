// Differences of texts: lines with the changed words marked, or two outputs side by side. Text only, never markup.
import { diffLines, diffWordsWithSpace } from "diff";
import type { ReactNode } from "react";
import { Fragment, useMemo } from "react";
import { counted } from "./format";

interface Line {
  kind: "same" | "del" | "add";
  text: string;
  words?: ReactNode;
  old?: number;
  now?: number;
}

const MAX_WORDS = 20_000; // characters of a pair of lines up to which words are compared

/** How plain text is drawn: as it is, or with something in it marked. */
type Dress = (text: string) => ReactNode;

interface Word {
  text: string;
  changed: boolean;
}

const flat = (text: string): string => text.replaceAll("\n", " "); // where a line ends is no difference of words

/** The words of one side, with those that the other has not. */
function wordsOf(before: string, now: string, side: "del" | "add"): Word[] {
  const own = side === "del" ? before : now;
  if (before.length + now.length > MAX_WORDS) return [{ text: own, changed: false }];
  let at = 0;
  const words = diffWordsWithSpace(flat(before), flat(now)).flatMap((part) => {
    if (side === "del" ? part.added : part.removed) return [];
    const text = own.slice(at, at + part.value.length);
    at += part.value.length;
    return [{ text, changed: part.added || part.removed }];
  });
  return joined(words);
}

/** Changed words with only spaces or signs between them are one change. */
function joined(words: Word[]): Word[] {
  const result: Word[] = [];
  words.forEach((word, at) => {
    const between = !word.changed && /^[^\p{L}\p{N}]{1,3}$/u.test(word.text) && words[at - 1]?.changed && words[at + 1]?.changed;
    const changed = word.changed || Boolean(between);
    const last = result[result.length - 1];
    if (last && last.changed === changed) last.text += word.text;
    else result.push({ text: word.text, changed });
  });
  return result.flatMap(bare);
}

/** A mark without the blanks at its ends. */
function bare(word: Word): Word[] {
  const [, head = "", text = "", tail = ""] = /^(\s*)([^]*?)(\s*)$/.exec(word.text) ?? [];
  if (!word.changed || !text) return [word];
  return [{ text: head, changed: false }, { text, changed: true }, { text: tail, changed: false }].filter((one) => one.text);
}

const drawn = (words: Word[], side: "del" | "add", dress: Dress): ReactNode =>
  words.map(({ text, changed }, at) => {
    if (!changed) return <Fragment key={at}>{dress(text)}</Fragment>;
    return side === "del" ? <del key={at}>{dress(text)}</del> : <ins key={at}>{dress(text)}</ins>;
  });

const marked = (before: string, now: string, side: "del" | "add"): ReactNode => drawn(wordsOf(before, now, side), side, plainly);
const plainly: Dress = (text) => text;

/** The same by lines: of a block that was reflowed only the words are marked that differ, not where its lines end. */
function linesOfWords(words: Word[]): Word[][] {
  const lines: Word[][] = [[]];
  for (const { text, changed } of words) {
    text.split("\n").forEach((piece, at) => {
      if (at > 0) lines.push([]);
      if (piece) lines[lines.length - 1]?.push({ text: piece, changed });
    });
  }
  return lines;
}

const linesOf = (text: string): string[] => text.replace(/\n$/, "").split("\n");

/** The lines of a diff; neighbours that replace each other have their words marked. */
export function diffOf(before: string, now: string, dress: Dress = plainly): Line[] {
  const lines: Line[] = [];
  let [old, fresh] = [1, 1];
  const parts = diffLines(before.endsWith("\n") ? before : `${before}\n`, now.endsWith("\n") ? now : `${now}\n`);
  parts.forEach((part, at) => {
    const texts = linesOf(part.value);
    const twin = part.removed ? parts[at + 1] : parts[at - 1];
    const isPair = (part.removed && twin?.added) || (part.added && twin?.removed);
    const side = part.removed ? "del" : "add";
    const [was, is] = part.removed ? [part.value, twin?.value ?? ""] : [twin?.value ?? "", part.value];
    const words = isPair ? linesOfWords(wordsOf(was, is, side)) : [];
    texts.forEach((text, row) => {
      const own = words[row];
      const shown = own ? drawn(own, side, dress) : dress(text);
      if (part.removed) lines.push({ kind: "del", text, old: old++, words: shown });
      else if (part.added) lines.push({ kind: "add", text, now: fresh++, words: shown });
      else lines.push({ kind: "same", text, old: old++, now: fresh++, words: shown });
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
export function Diff({ before, now, view = "unified", context = 3, label = "What changed", tight = false, dress }: {
  before: string;
  now: string;
  view?: "unified" | "split";
  context?: number;
  label?: string;
  tight?: boolean;
  /** Draws plain text: withPlaceholders marks those of a prompt. */
  dress?: Dress;
}) {
  const lines = useMemo(() => diffOf(before, now, dress), [before, now, dress]);
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

/** A unified diff as the server makes it, with the changed words marked; `bare` without the lines that are the same. */
export function Patch({ patch, label = "What changed in the text", tight = true, bare: isBare = false }: {
  patch: string;
  label?: string;
  tight?: boolean;
  bare?: boolean;
}) {
  const lines = useMemo(
    () =>
      hunksOf(patch).map((hunk) =>
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
      {lines.flat().filter((line) => !isBare || line.kind !== "same").map((line, at) => (
        <div key={at} className={line.kind === "same" ? undefined : line.kind}>
          <span>{line.old}</span><span>{line.now}</span><span>{SIGN[line.kind]}</span><span>{line.words ?? line.text}</span>
        </div>
      ))}
    </div>
  );
}
