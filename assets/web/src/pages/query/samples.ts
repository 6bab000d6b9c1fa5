// Queries to begin from, and where in a text SQLite found its fault.

export interface Sample {
  name: string;
  sql: string;
}

export const VIEWS = [
  { name: "v_calls", what: "every call, with its texts, price and rating" },
  { name: "v_costs", what: "calls and dollars by day, prompt, version, model and origin" },
  { name: "v_runs", what: "every run of a suite, with its verdict" },
] as const;

export const SAMPLES: readonly Sample[] = [
  {
    name: "The dearest prompts of this month",
    sql: `SELECT prompt_name, sum(calls) AS calls, round(sum(cost_usd), 4) AS usd,
       round(100.0 * sum(cost_usd) / sum(calls - unpriced), 4) AS cents_a_call
FROM v_costs
WHERE day >= date('now', 'start of month')
GROUP BY prompt_name
ORDER BY usd DESC;`,
  },
  {
    name: "What each day cost, by model",
    sql: `SELECT day, model, sum(calls) AS calls, round(sum(cost_usd), 4) AS usd
FROM v_costs
GROUP BY day, model
ORDER BY day DESC, usd DESC;`,
  },
  {
    name: "The slowest calls of the last day",
    sql: `SELECT id, created_at, prompt_name, model, latency_ms, ttft_ms, tokens_out
FROM v_calls
WHERE created_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')
ORDER BY latency_ms DESC
LIMIT 50;`,
  },
  {
    name: "What failed, and how often",
    sql: `SELECT model, error, count(*) AS calls, max(created_at) AS last_at
FROM v_calls
WHERE status = 'error'
GROUP BY model, error
ORDER BY calls DESC;`,
  },
  {
    name: "Answers that were rated down",
    sql: `SELECT id, created_at, prompt_name, prompt_version, rating, input_text, output_text
FROM v_calls
WHERE rating < 0.5
ORDER BY id DESC
LIMIT 100;`,
  },
  {
    name: "How much of the input was cached",
    sql: `SELECT prompt_name, model, sum(tokens_in) AS tokens_in, sum(cached_tokens) AS cached,
       round(100.0 * sum(cached_tokens) / sum(tokens_in), 1) AS percent, round(sum(cache_saved_usd), 4) AS saved_usd
FROM v_costs
WHERE cached_tokens IS NOT NULL
GROUP BY prompt_name, model
ORDER BY saved_usd DESC;`,
  },
  {
    name: "Each suite's runs, version by version",
    sql: `SELECT suite_name, prompt_name, prompt_version, count(*) AS runs, round(avg(overall_score), 4) AS score,
       sum(verdict = 'regressed') AS regressed, round(sum(cost_usd), 4) AS usd
FROM v_runs
WHERE complete
GROUP BY suite_name, prompt_name, prompt_version
ORDER BY suite_name, prompt_version DESC;`,
  },
];

export const FIRST = (SAMPLES[0] as Sample).sql;

/** Where in a text the fault stands that SQLite names: near "frm", no such column: x; the stretch to mark. */
export function faultAt(sql: string, message: string): { from: number; to: number; line: number } | null {
  const [, near] = /near "((?:[^"]|"(?!:))*)"/.exec(message) ?? /no such (?:column|table|function): ([\w.]*\w)/.exec(message) ?? [];
  if (!near) return null;
  const name = near.split(".").at(-1) ?? near;
  const whole = /^\w+$/.test(name) ? new RegExp(`\\b${name}\\b`, "i") : null;
  const from = whole ? sql.search(whole) : sql.indexOf(name);
  if (from < 0) return null;
  return { from, to: from + name.length, line: sql.slice(0, from).split("\n").length };
}

/** A text put into another at a selection, with the place of the caret behind it. */
export function inserted(text: string, from: number, to: number, piece: string): { text: string; caret: number } {
  const before = text.slice(0, from);
  const gap = before && !/[\s(,.]$/.test(before) ? " " : "";
  return { text: `${before}${gap}${piece}${text.slice(to)}`, caret: from + gap.length + piece.length };
}
