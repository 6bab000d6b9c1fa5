// One type for each read of /api; the keys are those of `promptry ... --json`.

export type Interval = [number, number];
export type Verdict = "regressed" | "improved" | "tied" | "not enough data" | "no baseline" | (string & {});
export type CaseState = "pass" | "fail" | "error" | "skipped" | (string & {});

export interface List<T> {
  items: T[];
  total: number;
  next: string | null;
}

/** How a run is less than its suite: how many cases ran, were taken over from another run, and there are. */
export interface Part {
  selected: string | null;
  rerun: string | null;
  run: string | null;
  ran: number;
  taken: number;
  of: number;
}

export interface Counts {
  cases: number;
  pass: number;
  fail: number;
  error: number;
  skipped: number;
  checks: number;
  scored: number;
}

export interface Change {
  before: string | null;
  now: string | null;
}

export interface Changed {
  prompt?: Change | null;
  model?: Change | null;
  dataset?: Change | null;
  commit?: Change | null;
  embedder?: Change | null;
}

// --- the overview ---

export interface JudgedRun {
  verdict: Verdict | null;
  delta: number | null;
  interval: Interval | null;
  p: number | null;
  n: number | null;
  groups: number | null;
  reason: string | null;
  baseline: { id: string; date: string; n: number | null; age_s?: number | null } | null;
}

export interface OverviewSuite {
  suite: string;
  run: string;
  at: string;
  prompt_name: string | null;
  prompt_version: number | null;
  model: string | null;
  passed: boolean | null;
  score: number | null;
  verdict: Verdict | null;
  complete: boolean;
  partial: Part | boolean | null;
  counts: Counts;
  coverage: number | null;
  flaky: { known: string[]; measured: string[] } | null;
  comparison: JudgedRun | null;
  /** The tag that the run was judged against. */
  against?: string | null;
  drifting: boolean | null;
  drift: string | null;
  history?: (number | null)[];
  changed?: Changed | null;
  broke?: number | null;
  fixed?: number | null;
}

export interface Today {
  calls: number;
  errors: number;
  p95_ms: number | null;
  cost_usd: number | null;
  unpriced: number;
  rated: { up: number; down: number };
  renders_fallback: number;
}

export interface ModuleSpend {
  module: string | null;
  unpriced?: number;
  cost_usd: number | null;
  calls: number;
  per_thousand_usd: number | null;
}

export interface NoticedChange {
  /** Null: it holds now, and since when is not recorded. */
  at: string | null;
  state?: string | null;
  kind: "run" | "prompt" | "promotion" | "budget" | "model" | (string & {});
  text: string;
  name: string | null;
  detail: string | null;
  link_id: string | null;
}

export interface Budget {
  id: string;
  since: string;
  until: string;
  unpriced: number;
  scope: string;
  target: string | null;
  period: string;
  limit_usd: number;
  spent_usd: number | null;
  reserved_usd: number | null;
  share: number | null;
  breached: boolean;
  forecast_usd: number | null;
}

export interface Overview {
  suites: OverviewSuite[];
  spend: { since: string; spent_usd: number; forecast_usd: number | null; unpriced: number; today_usd: number };
  budgets: Budget[];
  fallbacks: { name: string; times: number; last_at: string | null }[];
  today?: Today;
  modules?: ModuleSpend[];
  changes?: NoticedChange[];
}

// --- suites and runs ---

export interface SuiteItem {
  suite: string;
  runs: number;
  last_run: string | null;
  last_at: string | null;
  prompt_name: string | null;
  prompt_version: number | null;
  passed: boolean | null;
  score: number | null;
  verdict: Verdict | null;
  counts: Counts | null;
  coverage: number | null;
  description: string | null;
  registered: boolean;
}

export interface RunItem {
  id: string;
  suite: string;
  date: string;
  prompt_name: string | null;
  prompt_version: number | null;
  model: string | null;
  passed: boolean | null;
  score: number | null;
  complete: boolean;
  partial: Part | boolean | null;
  verdict: Verdict | null;
  baseline_id: string | null;
  counts: Counts;
  cost_usd: number | null;
  coverage: number | null;
}

export interface CheckDetails {
  expected?: unknown;
  actual?: unknown;
  reason?: string | null;
  repeat?: number;
  [key: string]: unknown;
}

export interface RunCheck {
  assertion_type: string;
  passed: boolean | null;
  score: number | null;
  details: CheckDetails | null;
  latency_ms: number | null;
  cost_usd?: number | null;
}

export interface RunCase {
  case: string;
  repeat: number;
  state: CaseState;
  score: number | null;
  reason: string | null;
  group: string | null;
  checks: RunCheck[];
}

export interface Gate {
  mode: string;
  compare: string | null;
  tolerance?: number;
  margin?: number;
  broken?: string[];
  comparison?: JudgedRun | null;
  [key: string]: unknown;
}

export interface Manifest {
  uid?: string;
  dataset?: string | null;
  git_commit?: string | null;
  git_dirty?: boolean | null;
  prompts?: Record<string, { version: number; hash: string }> | null;
  model?: string | null;
  parameters?: Record<string, unknown> | null;
  judge?: unknown;
  embedder?: unknown;
  repeats?: number;
  gate?: Gate | null;
  versions?: Record<string, string>;
  source?: { file: string; line: number } | null;
  [key: string]: unknown;
}

export interface Run extends RunItem {
  manifest: Manifest;
  cases: RunCase[];
  flakes: unknown;
}

export interface SuiteRun {
  id: string;
  date: string;
  score: number | null;
  pass_rate: number | null;
  interval: Interval | null;
  n: number | null;
  cases_passed: number | null;
  passed: boolean | null;
  verdict: Verdict | null;
  complete: boolean;
  partial: Part | boolean | null;
  scored: boolean;
  prompt_name: string | null;
  prompt_version: number | null;
  model: string | null;
  dataset: string | null;
  dataset_hash: string | null;
  commit: string | null;
  commit_dirty: boolean | null;
  cost_usd: number | null;
  counts: Counts | null;
  coverage: number | null;
}

export type Cell = "pass" | "fail" | "error" | "skipped" | "mixed" | null;

export interface SuiteCase {
  case: string;
  state: "broke" | "known" | "fixed" | "flaky" | "error" | "steady" | "gone" | (string & {});
  since: string | null;
  cells: Cell[];
}

export interface Drift {
  suite: string | null;
  n: number;
  drifting: boolean;
  reason: string;
  slope: number | null;
  slope_interval: Interval | null;
  z: number | null;
  p: number | null;
  change_point: { run: string; date: string; before: number; after: number; changed: Changed | null } | null;
  [key: string]: unknown;
}

export interface Suite {
  suite: string;
  description: string | null;
  window: number;
  runs: SuiteRun[];
  baseline: { id: string; date: string; pass_rate: number | null; tag: string | null } | null;
  drift: Drift | null;
  metrics: { assertion_type: string; scores: (number | null)[] }[];
  cases: SuiteCase[];
  cases_total: number;
  /** The first run whose cases were read; cells before it are null. */
  cases_since: string | null;
}

export interface Bisection {
  found: boolean;
  first_bad: { id?: string; date?: string; [key: string]: unknown } | string | null;
  last_good: { id?: string; date?: string; [key: string]: unknown } | string | null;
  changed: Changed | null;
  prompt_diff: string | null;
  suite: string;
  case: string | null;
  n: number;
  reason: string;
}

export interface Flip {
  case: string;
  assertion_type: string;
  ordinal: number;
  before: CaseState;
  now: CaseState;
  state: "broken" | "unconfirmed" | "flaky" | "fixed" | (string & {});
}

export interface Delta {
  assertion_type: string;
  n: number;
  groups: number | null;
  baseline: number | null;
  current: number | null;
  delta: number | null;
  interval: Interval | null;
  p: number | null;
  test: string;
}

export interface ComparedRun {
  id: string;
  date: string;
  n: number | null;
  age_s: number | null;
}

export interface Comparison {
  verdict: Verdict;
  delta: number | null;
  interval: Interval | null;
  p: number | null;
  n: number;
  flips: Flip[];
  deltas: Delta[];
  cause: (Changed & { prompt_diff: string | null }) | null;
  run: ComparedRun;
  baseline: ComparedRun | null;
  passed: boolean | null;
  known: string[];
  unpaired: { new: string[]; missing: string[]; errors: string[]; failing: string[]; checks: unknown[] };
  groups: number | null;
  breaks: {
    case: string;
    before: { passed: number; tries: number };
    now: { passed: number; tries: number };
    p: number;
    hard: boolean;
    decides: number;
  }[];
  reason: string;
  doubts: string[];
}

// --- prompts, datasets: what the jump box and the shell need; their pages add more ---

export interface PromptItem {
  name: string;
  latest: number;
  versions: number;
  tags: Record<string, number>;
  current_at: string;
  runs: number;
  calls: number;
  module?: string | null;
}

export interface Promotion {
  tag: string;
  at: string;
  from: number | null;
  removed?: boolean;
}

export interface PromptVersion {
  version: number;
  hash: string;
  created_at: string;
  tags: string[];
  promotions: Promotion[];
}

export interface VersionMetrics {
  version: number;
  runs: number;
  /** Its newest whole scored run. */
  run: string | null;
  score: number | null;
  interval: Interval | null;
  n: number | null;
  /** Production, the last 30 days, as is all that follows. */
  calls: number;
  cost_per_call_usd: number | null;
  p50_ms: number | null;
  latency_of: number;
  rating: number | null;
  ratings: number;
}

export interface Served {
  tag: string;
  version: number;
  since: string | null;
  was: number | null;
}

export interface Prompt {
  name: string;
  version: number;
  content: string;
  hash: string;
  created_at: string;
  metadata: Record<string, unknown> | null;
  tags: string[];
  placeholders: string[];
  versions: PromptVersion[];
  metrics: VersionMetrics[];
  serves: Served[];
}

export interface LintRow {
  level: "error" | "warning" | "hint" | (string & {});
  line: number;
  message: string;
}

export interface Rendered {
  name: string | null;
  version: number | null;
  text: string;
  placeholders: string[];
  missing: string[];
}

/** A model that the playground can ask; `ready` is null where only asking tells. */
export interface TryableModel {
  model: string;
  provider: string;
  ready: boolean | null;
  needs: string[];
  calls: number;
  last_at: string | null;
  input: number | null;
  output: number | null;
}

export interface DatasetItem {
  name: string;
  version: number;
  versions: number;
  items: number;
  created_at: string;
}

export interface Dataset {
  name: string;
  version: number;
  hash: string;
  created_at: string;
  metadata: Record<string, unknown> | null;
  items: unknown[];
  versions: { version: number; items: number; hash: string; created_at: string }[];
}

// --- the server itself ---

export interface Settings {
  items: { key: string; value: unknown; source: string | null }[];
  store: { path: string; bytes: number | null; mode: string | null; source?: string | null; exists?: boolean; others?: (string | { path?: string })[] };
  version: string;
  read_only: boolean;
  file?: string | null;
  fault?: string | null;
  variables?: { name: string; is_set: boolean; what: string }[];
  python?: string;
  sqlite?: string;
  [key: string]: unknown;
}

export interface Health {
  status: string;
  version: string;
}

export interface Job {
  id: string;
  kind: string;
  state: "running" | "done" | "failed" | "cancelled";
  done: number;
  total: number | null;
  message: string | null;
  run_id: string | null;
  error: string | { code: string; message: string; hint: string | null } | null;
}

export interface ShownSql {
  read: string;
  statements: { sql: string; parameters: Record<string, unknown>; script: string }[];
  computed: { key: string; function: string; inputs: unknown }[];
}

// --- calls, traces, costs, feedback ---

export interface CallItem {
  id: string;
  created_at: string;
  prompt_name: string;
  prompt_version: number | null;
  model: string | null;
  status: string;
  origin: string;
  tokens_in: number | null;
  tokens_out: number | null;
  cost_usd: number | null;
  latency_ms: number | null;
  request_id: string | null;
  rating?: number | null;
}

export interface Call {
  id: string;
  created_at: string;
  prompt_name: string;
  prompt_version: number | null;
  request_id: string | null;
  input_text: string | null;
  output_text: string | null;
  metadata: Record<string, unknown> | null;
  feedback: { rating: number | null; comment: string | null; source: string | null; created_at: string }[];
}

export interface Facet {
  value: string | null;
  calls: number;
}

export interface CallCount {
  since: string;
  until: string;
  bucket_s: number;
  sum: {
    calls: number;
    errors: number;
    unpriced: number;
    cost_usd: number | null;
    tokens_in: number | null;
    tokens_out: number | null;
    p50_ms: number | null;
    p95_ms: number | null;
  };
  series: { at: string; calls: number; errors: number; cost_usd: number | null }[];
  facets: Partial<Record<string, Facet[]>>;
  rated: { up: number; down: number };
}

export interface TraceItem {
  trace_id: string;
  name: string | null;
  calls: number;
  errors: number;
  unpriced: number;
  cost_usd: number | null;
  tokens_in: number | null;
  tokens_out: number | null;
  first_at: string;
  last_at: string;
}

export interface Span {
  id: string;
  parent_id: string | null;
  depth: number;
  kind: "span" | "call" | (string & {});
  name: string | null;
  start_ms: number;
  duration_ms: number;
  cost_usd: number | null;
  call_id?: string;
  prompt_version?: number | null;
  model?: string | null;
  status?: string;
  tokens_in?: number | null;
  tokens_out?: number | null;
  ttft_ms?: number | null;
  error?: string | null;
  request_id?: string | null;
}

export interface Trace {
  trace_id: string;
  name: string | null;
  started_at: string;
  duration_ms: number;
  calls: number;
  unpriced: number;
  cost_usd: number | null;
  feedback?: { request_id: string; rating: number | null; comment: string | null; source: string | null; created_at: string }[];
  spans: Span[];
}

export interface CostSum {
  calls: number;
  errors: number;
  unpriced: number;
  cost_usd: number | null;
  cache_saved_usd: number | null;
  tokens_in: number | null;
  tokens_out: number | null;
  cached_tokens: number | null;
  cached_share: number | null;
  template_tokens: number | null;
  payload_tokens: number | null;
}

export interface CostItem extends CostSum {
  module?: string;
  prompt?: string;
  version?: number | null;
  model?: string | null;
  day?: string;
  origin?: string;
  /** By bucket: the bucket's name and its tokens. */
  bucket?: string;
  tokens?: number | null;
  days?: (number | null)[];
}

export interface Costs extends List<CostItem> {
  days: number;
  by: string;
  origin: string;
  sum: CostSum;
  origins: (CostSum & { origin: string })[];
  dates?: string[];
  forecast?: { spent_usd: number | null; forecast_usd: number | null; since: string; until: string; function?: string; inputs?: unknown };
}

export interface Unpriced {
  model: string | null;
  provider: string | null;
  calls: number;
  first_day: string;
  last_day: string;
  tokens_in: number | null;
  tokens_out: number | null;
  last_call: string;
  reason: string;
}

export interface FeedbackItem {
  id: string;
  created_at: string;
  request_id: string;
  prompt_name: string | null;
  prompt_version: number | null;
  model: string | null;
  rating: number | null;
  comment: string | null;
  source: string | null;
  call_id: string | null;
}

export interface VoteItem {
  id: string;
  created_at: string;
  prompt_name: string;
  prompt_version: number | null;
  score: number;
  message: string | null;
  response: string;
}

export interface VoteAnalysis {
  name: string;
  days: number;
  versions: {
    version: number | null;
    votes: number;
    up: number;
    down: number;
    down_share: number | null;
    last_at: string;
    words: { word: string; down_votes: number }[];
    messages: string[];
  }[];
}

export interface QueryAnswer {
  columns: string[];
  rows: unknown[][];
  truncated: boolean;
  elapsed_ms: number;
}

/** Which type each read answers with; a page that adds a read adds its line here and in READS of client.ts. */
export interface Answers {
  overview: Overview;
  suites: List<SuiteItem>;
  suite: Suite;
  runs: List<RunItem>;
  run: Run;
  compare: Comparison;
  drift: Drift;
  bisect: Bisection;
  prompts: List<PromptItem>;
  prompt: Prompt;
  tryable: List<TryableModel>;
  datasets: List<DatasetItem>;
  dataset: Dataset;
  budgets: List<Budget>;
  calls: List<CallItem>;
  countCalls: CallCount;
  call: Call;
  traces: List<TraceItem>;
  trace: Trace;
  cost: Costs;
  coverage: List<Unpriced>;
  feedback: List<FeedbackItem>;
  votes: List<VoteItem>;
  voteAnalysis: VoteAnalysis;
  settings: Settings;
  health: Health;
  jobs: List<Job>;
  job: Job;
}
