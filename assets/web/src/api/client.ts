// The one way to the server: reads, writes, errors, and the token that a server elsewhere asks for.
import type { Answers } from "./types";

export type Params = Record<string, string | number | boolean | null | undefined | readonly string[]>;
export type ReadName = keyof Answers;

/** What is wrong, as the server says it: `message` is a whole sentence, `hint` what to do. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string | null = null,
  ) {
    super(message);
  }
}

/** The route of a read, and the read's own name, by which its SQL is asked for; an id stands in the route's path. */
export const READS: Record<ReadName, { path: string; sql: string | null; id?: string }> = {
  overview: { path: "/api/overview", sql: "get_overview" },
  suites: { path: "/api/suites", sql: "list_suites" },
  suite: { path: "/api/suite", sql: "get_suite" },
  runs: { path: "/api/runs", sql: "list_runs" },
  run: { path: "/api/run/", sql: "get_run", id: "id" },
  compare: { path: "/api/compare", sql: "compare_runs" },
  drift: { path: "/api/drift", sql: "check_drift" },
  bisect: { path: "/api/bisect", sql: "bisect_suite" },
  prompts: { path: "/api/prompts", sql: "list_prompts" },
  prompt: { path: "/api/prompt", sql: "get_prompt" },
  tryable: { path: "/api/models", sql: null },
  datasets: { path: "/api/datasets", sql: "list_datasets" },
  dataset: { path: "/api/dataset", sql: "get_dataset" },
  budgets: { path: "/api/budgets", sql: "list_budgets" },
  calls: { path: "/api/calls", sql: "list_calls" },
  countCalls: { path: "/api/calls/count", sql: "count_calls" },
  call: { path: "/api/call/", sql: "get_call", id: "id" },
  traces: { path: "/api/traces", sql: "list_traces" },
  trace: { path: "/api/trace/", sql: "get_trace", id: "id" },
  cost: { path: "/api/cost", sql: "list_costs" },
  coverage: { path: "/api/coverage", sql: "list_unpriced" },
  feedback: { path: "/api/feedback", sql: "list_feedback" },
  votes: { path: "/api/votes", sql: "list_votes" },
  voteAnalysis: { path: "/api/votes/analysis", sql: "analyze_votes" },
  settings: { path: "/api/settings", sql: null },
  health: { path: "/api/health", sql: null },
  jobs: { path: "/api/jobs", sql: null },
  job: { path: "/api/job/", sql: null, id: "id" },
};

const TOKEN = "promptry.token";
const needed = new Set<() => void>();

/** Keep the token for this tab; it goes with every request from now on. */
export function keepToken(token: string): void {
  sessionStorage.setItem(TOKEN, token);
}

/** Call back when the server asks for a token; returns what ends that. */
export function onTokenNeeded(call: () => void): () => void {
  needed.add(call);
  return () => needed.delete(call);
}

/** The query of an address: nothing for what is null, undefined or empty; a list repeats its name. */
export function queryOf(params: Params): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value === null || value === undefined || value === "") continue;
    if (Array.isArray(value)) for (const one of value) query.append(name, one);
    else query.append(name, String(value));
  }
  const text = query.toString();
  return text && `?${text}`;
}

/** The address of a read with these parameters. */
export function routeOf(name: ReadName, params: Params = {}): string {
  const { path, id } = READS[name];
  if (!id) return path + queryOf(params);
  const { [id]: own, ...rest } = params;
  return path + encodeURIComponent(String(own ?? "")) + queryOf(rest);
}

/** Ask the server, and return the response if it is a good one; raises ApiError. */
export async function request(path: string, options: RequestInit = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let response: Response;
  try {
    response = await fetch(path, { cache: "no-cache", ...options, headers });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The server does not answer.", "Is it running? promptry dashboard starts it.");
  }
  if (response.ok) return response;
  if (response.status === 401) for (const call of needed) call();
  throw await errorOf(response);
}

async function errorOf(response: Response): Promise<ApiError> {
  try {
    const { error } = await response.json();
    return new ApiError(response.status, error.code, error.message, error.hint ?? null);
  } catch {
    return new ApiError(response.status, "unknown", `The server answered ${response.status} ${response.statusText}.`);
  }
}

/** Read JSON from a path. */
export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request(path, { signal })).json();
}

/** Write: post JSON to a path and return what the server answers. */
export async function postJson<T = unknown>(path: string, body: unknown = {}): Promise<T> {
  const response = await request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return (text ? JSON.parse(text) : null) as T;
}
