// Marks: a shape for each finding, so that colour is never the only signal.
import type { ReactNode } from "react";
import type { Verdict as VerdictWord } from "../api/types";

export type Tone = "good" | "bad" | "warn" | "accent" | "plain";

const SHAPES = {
  down: <path d="M1 2h8l-4 7z" stroke="none" />,
  up: <path d="M1 8h8l-4-7z" stroke="none" />,
  tied: <path d="M1 3.5h8M1 6.5h8" strokeWidth="1.6" />,
  few: <circle cx="5" cy="5" r="3.6" fill="none" strokeWidth="1.4" strokeDasharray="2 1.6" />,
  slope: <path d="M1 2.5 9 7.5" strokeWidth="1.8" />,
  cross: <path d="M2 2l6 6M8 2l-6 6" strokeWidth="1.7" />,
  tick: <path d="M1.5 5.2 4 7.8 8.7 2.4" fill="none" strokeWidth="1.7" />,
  half: <path d="M5 1a4 4 0 0 1 0 8zM5 1a4 4 0 0 0 0 8" fill="none" strokeWidth="1.3" />,
  ring: <circle cx="5" cy="5" r="3.6" fill="none" strokeWidth="1.4" />,
  triangle: <path d="M5 1l4.4 8H.6z" fill="none" strokeWidth="1.4" />,
  diamond: <path d="M5 .8 9.2 5 5 9.2.8 5z" stroke="none" />,
  dash: <path d="M2 5h6" strokeWidth="1.6" />,
} as const;

export type Shape = keyof typeof SHAPES;

export function Mark({ shape }: { shape: Shape }) {
  return (
    <svg className="mark" width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
      {shape === "half" && <path d="M5 1a4 4 0 0 1 0 8z" stroke="none" />}
      {SHAPES[shape]}
    </svg>
  );
}

const PILL: Record<Tone, string> = { good: "p-good", bad: "p-bad", warn: "p-warn", accent: "p-acc", plain: "" };

/** A shape and a word on a wash; `bare` without the wash. */
export function Pill({ shape, tone = "plain", bare = false, title, children }: {
  shape?: Shape;
  tone?: Tone;
  bare?: boolean;
  title?: string;
  children: ReactNode;
}) {
  return (
    <span className={`pill ${PILL[tone]}${bare ? " bare" : ""}`} title={title}>
      {shape && <Mark shape={shape} />}
      {children}
    </span>
  );
}

interface Word {
  shape: Shape;
  tone: Tone;
  word: string;
}

const VERDICTS: Record<string, Word> = {
  regressed: { shape: "down", tone: "bad", word: "regressed" },
  improved: { shape: "up", tone: "good", word: "improved" },
  tied: { shape: "tied", tone: "plain", word: "tied" },
  not_enough_data: { shape: "few", tone: "plain", word: "not enough data" },
  no_baseline: { shape: "dash", tone: "plain", word: "no baseline" },
};

const STATES: Record<string, Word> = {
  pass: { shape: "tick", tone: "good", word: "pass" },
  fail: { shape: "cross", tone: "bad", word: "fail" },
  error: { shape: "cross", tone: "warn", word: "error" },
  skipped: { shape: "dash", tone: "plain", word: "skipped" },
  mixed: { shape: "half", tone: "warn", word: "some repeats" },
  broke: { shape: "down", tone: "bad", word: "broke" },
  broken: { shape: "down", tone: "bad", word: "broke" },
  fixed: { shape: "up", tone: "good", word: "fixed" },
  unconfirmed: { shape: "down", tone: "warn", word: "broke once" },
  gone: { shape: "dash", tone: "plain", word: "gone" },
  elsewhere: { shape: "dash", tone: "plain", word: "in neither" },
  steady: { shape: "tied", tone: "plain", word: "steady" },
  flaky: { shape: "half", tone: "warn", word: "flaky" },
  known: { shape: "cross", tone: "plain", word: "known" },
  drifting: { shape: "slope", tone: "warn", word: "drifting" },
  unpriced: { shape: "ring", tone: "warn", word: "unpriced" },
  breached: { shape: "triangle", tone: "warn", word: "over" },
};

const keyOf = (word: string): string => word.toLowerCase().replaceAll(" ", "_").replaceAll("-", "_");

/** The shape, tone and word of a verdict; null is "no baseline". */
export function verdictOf(verdict: VerdictWord | null | undefined): Word {
  if (!verdict) return VERDICTS.no_baseline as Word;
  return VERDICTS[keyOf(verdict)] ?? { shape: "dash", tone: "plain", word: verdict };
}

export function stateOf(state: string): Word {
  return STATES[keyOf(state)] ?? { shape: "dash", tone: "plain", word: state };
}

export function Verdict({ verdict, title }: { verdict: VerdictWord | null | undefined; title?: string }) {
  const { shape, tone, word } = verdictOf(verdict);
  return <Pill shape={shape} tone={tone} title={title}>{word}</Pill>;
}

/** What became of a case or a check: pass, fail, broke, fixed, flaky, drifting, unpriced. */
export function State({ state, bare, title }: { state: string; bare?: boolean; title?: string }) {
  const { shape, tone, word } = stateOf(state);
  return <Pill shape={shape} tone={tone} bare={bare} title={title}>{word}</Pill>;
}
