// What a model answers, as it speaks: lines of JSON, {text} each, then {reply} or {error}.
import { ApiError, request } from "../../api/client";
import type { Call } from "../../api/types";

export interface Reply {
  text: string;
  finish_reason: string | null;
  /** The call as the ledger holds it; null where it could not be stored. */
  call: Call | null;
}

export interface Question {
  model: string;
  name?: string;
  version?: number;
  content?: string;
  variables: Record<string, string>;
  system?: string;
  parameters?: Record<string, number>;
}

type Line = { text: string } | { reply: Reply } | { error: { code: string; message: string; hint: string | null } };

/** The whole lines of what has come, and the piece after them. */
export function cutLines(rest: string, chunk: string): [string[], string] {
  const lines = (rest + chunk).split("\n");
  const last = lines.pop() ?? "";
  return [lines.filter((line) => line.trim()), last];
}

/** Ask a model and return its reply; `hear` gets the text bit by bit. Raises ApiError, AbortError when it is stopped. */
export async function askModel(question: Question, signal: AbortSignal, hear: (text: string) => void): Promise<Reply> {
  const response = await request("/api/playground", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
    signal,
  });
  const reader = response.body?.getReader();
  if (!reader) throw new ApiError(0, "unreachable", "The answer has no body.");
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const [lines, piece] = cutLines(rest, done ? `${decoder.decode()}\n` : decoder.decode(value, { stream: true }));
    rest = piece;
    for (const text of lines) {
      const line = JSON.parse(text) as Line;
      if ("text" in line) hear(line.text);
      else if ("reply" in line) return line.reply;
      else throw new ApiError(200, line.error.code, line.error.message, line.error.hint);
    }
    if (done) throw new ApiError(0, "cut", "The answer broke off.", "Is the server still running? Ask again.");
  }
}

// --- what was measured of a call ---

export interface Measured {
  latency_ms: number | null;
  ttft_ms: number | null;
  tokens_in: number | null;
  tokens_out: number | null;
  cached: number | null;
  reasoning: number | null;
  cost_usd: number | null;
  served: string | null;
}

const figure = (value: unknown): number | null => (typeof value === "number" && Number.isFinite(value) ? value : null);

export function measuredOf(call: Call | null | undefined): Measured {
  const facts = call?.metadata ?? {};
  return {
    latency_ms: figure(facts.latency_ms),
    ttft_ms: figure(facts.ttft_ms),
    tokens_in: figure(facts.tokens_in),
    tokens_out: figure(facts.tokens_out),
    cached: figure(facts.cached_tokens),
    reasoning: figure(facts.reasoning_tokens),
    cost_usd: figure(facts.cost_usd),
    served: typeof facts.served_model === "string" ? facts.served_model : null,
  };
}

// --- columns in the address: MODEL, or MODEL~17 for a version of its own ---

export interface Asked {
  model: string;
  version: number | null;
}

export function askedIn(text: string): Asked {
  const hit = /^(.*)~(\d+)$/.exec(text);
  return hit ? { model: hit[1] ?? "", version: Number(hit[2]) } : { model: text, version: null };
}

export const askedText = ({ model, version }: Asked): string => (version === null ? model : `${model}~${version}`);

/** The model without the name of its API: openai:gpt-4.1-mini is gpt-4.1-mini. */
export const shortModel = (model: string): string => model.slice(model.indexOf(":") + 1);
