// What a recorded call says: its parts by bucket, its messages, and the same call for other programs.
import type { Params } from "../../api/client";
import type { Call } from "../../api/types";

const UNITS: Record<string, number> = { web_searches: 1000, audio_seconds: 3600, requests: 1000 }; // what a rate of each is for; tokens: a million
const NAMES: Record<string, string> = {
  input_uncached: "input, uncached",
  cache_read: "cache read",
  cache_write: "cache write",
  cache_write_5m: "cache write, 5 min",
  cache_write_1h: "cache write, 1 h",
  output_visible: "output",
  reasoning: "reasoning",
  tool_use_input: "input of tools",
};
const ORDER = ["input_uncached", "tool_use_input", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "output_visible", "reasoning"];

export function bucketName(bucket: string): string {
  return NAMES[bucket] ?? bucket.replaceAll("_", " ");
}

/** The class of a bucket's colour: an ink ramp, so that it is never taken for a model. */
export function bucketTone(bucket: string): string {
  if (bucket.startsWith("cache_read")) return "f-b2";
  if (bucket.startsWith("cache_write")) return "f-b3";
  return /output|reasoning|citations/.test(bucket) ? "f-b4" : "f-b1";
}

export interface Bucket {
  bucket: string;
  count: number;
  rate: number | null;
  cost_usd: number | null;
}

type Facts = Record<string, unknown>;

const numbers = (value: unknown): [string, number][] =>
  value && typeof value === "object" ? Object.entries(value).filter((pair): pair is [string, number] => typeof pair[1] === "number") : [];

/** The disjoint parts of what a call used, each with its rate and what it cost; unknown where it has no rate. */
export function bucketsOf(facts: Facts | null): Bucket[] {
  const rates = Object.fromEntries(numbers(facts?.rates));
  const place = (bucket: string) => (ORDER.indexOf(bucket) + 1 || ORDER.length + 1);
  return numbers(facts?.buckets)
    .map(([bucket, count]) => {
      const rate = rates[bucket] ?? null;
      return { bucket, count, rate, cost_usd: rate === null ? null : (count * rate) / (UNITS[bucket] ?? 1_000_000) };
    })
    .sort((a, b) => place(a.bucket) - place(b.bucket));
}

export const isTokens = (bucket: string): boolean => !(bucket in UNITS);

/** A fact of a call as text, a figure, or null. */
export function factOf(facts: Facts | null, name: string): string | null {
  const value = facts?.[name];
  return typeof value === "string" && value ? value : typeof value === "number" ? String(value) : null;
}

export function figureOf(facts: Facts | null, name: string): number | null {
  const value = facts?.[name];
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

export interface Message {
  role: string;
  text: string;
}

function contentOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (Array.isArray(content)) return content.map((part) => (typeof part === "string" ? part : typeof part?.text === "string" ? part.text : JSON.stringify(part))).join("\n");
  return content == null ? "" : JSON.stringify(content, null, 1);
}

/** The messages that a captured text holds: those of its JSON, else the text as one. */
export function messagesOf(text: string | null, role: string): Message[] {
  if (text === null) return [];
  try {
    const found: unknown = JSON.parse(text);
    if (Array.isArray(found) && found.length && found.every((one) => one && typeof one === "object" && "role" in one)) {
      return found.map((one) => ({ role: String(one.role), text: contentOf(one.content ?? Object.fromEntries(Object.entries(one).filter(([key]) => key !== "role"))) }));
    }
  } catch {
    // a text that is no JSON is a text
  }
  return [{ role, text }];
}

const MASK = /(\[[\w -]{1,40} removed\])/;

/** A text cut at what was taken out of it: every other part is a mark such as [e-mail removed]. */
export function maskParts(text: string): string[] {
  return text.split(new RegExp(MASK, "g"));
}

export function countMasks(...texts: (string | null)[]): number {
  return texts.reduce((sum, text) => sum + (text?.match(new RegExp(MASK, "g"))?.length ?? 0), 0);
}

// --- the same call elsewhere ---

const KINDS: Record<string, string> = { openai: "openai", anthropic: "anthropic", google: "gemini", gemini: "gemini", ollama: "ollama" };

/** What the playground is opened with to ask the same again: the texts as they went, the model where its API is known. */
export function replayOf(call: Call): Params {
  const kind = KINDS[factOf(call.metadata, "provider") ?? ""];
  const model = factOf(call.metadata, "model");
  const said = messagesOf(call.input_text, "user");
  const joined = (wanted: (role: string) => boolean) => said.filter((one) => wanted(one.role)).map((one) => one.text).join("\n\n");
  const isSystem = (role: string) => role === "system" || role === "developer";
  const text = joined((role) => !isSystem(role));
  const asked = text ? { text, draft: 1, system: joined(isSystem) || null } : { version: call.prompt_version };
  return { name: call.prompt_name, ...asked, col: kind && model ? `${kind}:${model}` : null };
}

const shell = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** A command for the shell that makes this call again at its provider, with the key from the environment. */
export function curlOf(call: Call): string {
  const facts = call.metadata;
  const provider = factOf(facts, "provider") ?? "";
  const model = factOf(facts, "model") ?? "MODEL";
  const parameters = facts?.parameters && typeof facts.parameters === "object" ? (facts.parameters as Facts) : {};
  const said = messagesOf(call.input_text ?? "the text was not captured", "user").map(({ role, text }) => ({ role, content: text }));
  const send = (url: string, headers: string[], body: unknown) =>
    [`curl ${url}`, ...["Content-Type: application/json", ...headers].map((header) => `  -H "${header}"`), `  -d ${shell(JSON.stringify(body))}`].join(" \\\n");
  if (/anthropic/.test(provider)) {
    const system = said.filter((one) => one.role === "system").map((one) => one.content).join("\n");
    const body = { model, max_tokens: 1024, ...parameters, ...(system ? { system } : {}), messages: said.filter((one) => one.role !== "system") };
    return send("https://api.anthropic.com/v1/messages", ["x-api-key: $ANTHROPIC_API_KEY", "anthropic-version: 2023-06-01"], body);
  }
  if (/google|gemini/.test(provider)) {
    const contents = said.map(({ role, content }) => ({ role: role === "assistant" ? "model" : "user", parts: [{ text: content }] }));
    return send(`https://generativelanguage.googleapis.com/v1beta/models/${encodeURIComponent(model)}:generateContent`, ["x-goog-api-key: $GEMINI_API_KEY"], { contents });
  }
  const [url, key] = /mistral/.test(provider)
    ? ["https://api.mistral.ai/v1", "MISTRAL_API_KEY"]
    : /openrouter/.test(provider)
      ? ["https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"]
      : /openai/.test(provider)
        ? ["https://api.openai.com/v1", "OPENAI_API_KEY"]
        : ['"${OPENAI_BASE_URL:-https://api.openai.com/v1}"', "OPENAI_API_KEY"]; // biome-ignore lint: a variable of the shell
  return send(`${url}/chat/completions`, [`Authorization: Bearer $${key}`], { model, ...parameters, messages: said });
}

const parsed = (text: string | null): unknown => {
  try {
    const value: unknown = JSON.parse(text ?? "null");
    return value && typeof value === "object" ? value : text;
  } catch {
    return text;
  }
};

/** The mean of a call's ratings, or null. */
export function ratingOf(call: Pick<Call, "feedback">): number | null {
  const rated = call.feedback.flatMap((one) => (one.rating === null ? [] : [one.rating]));
  return rated.length ? rated.reduce((sum, rating) => sum + rating, 0) / rated.length : null;
}

/** The call as an item of a dataset, as promptry dataset add makes it. */
export function itemOf(call: Call): string {
  const good = (ratingOf(call) ?? 1) >= 0.5;
  const item = { id: `call-${call.id}`, input: parsed(call.input_text), ...(call.output_text === null ? {} : { [good ? "expected" : "rejected"]: call.output_text }) };
  return JSON.stringify(item, null, 2);
}

/** The SELECT that shows this call. */
export function sqlOf(id: string): string {
  return `SELECT created_at, prompt_name, prompt_version, model, tokens_in, tokens_out, cost_usd, latency_ms,\n       rating, input_text, output_text\nFROM v_calls\nWHERE id = ${/^\d+$/.test(id) ? id : `'${id.replaceAll("'", "''")}'`};`;
}
