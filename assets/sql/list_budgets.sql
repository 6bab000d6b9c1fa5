-- Every budget with what its period has cost so far, and how many of the period's calls have no cost; each sum reads the
-- ledger's index once. What is reserved and not lapsed counts beside what is spent. The share and the forecast (spent
-- over the elapsed share of the period) are worked out from these rows by budget_status.
WITH present (now) AS (VALUES (coalesce(:now, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))),
periods (period, since, until) AS (
    SELECT 'daily', date(now), date(now, '+1 day') FROM present UNION ALL
    SELECT 'monthly', date(now, 'start of month'), date(now, 'start of month', '+1 month') FROM present
),
spend AS MATERIALIZED (
    SELECT day, prompt_name, sum(cost_usd) AS usd,
           count(CASE WHEN cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0) THEN 1 END) AS unpriced
    FROM invocations INDEXED BY calls_by_day
    WHERE day >= (SELECT since FROM periods WHERE period = 'monthly') AND status <> 'reserved'
    GROUP BY day, prompt_name
),
held AS MATERIALIZED (
    SELECT prompt_name, cost_usd AS usd
    FROM invocations INDEXED BY calls_reserved
    WHERE status = 'reserved' AND json_extract(metadata, '$.lease_until') > (SELECT now FROM present)
),
named AS (
    SELECT id, scope, target, budgets.period, limit_usd, budgets.created_at, since, until
    FROM budgets JOIN periods ON periods.period = budgets.period
)
SELECT id, scope, target, period, limit_usd, since, until, created_at,
       coalesce((SELECT sum(usd) FROM spend WHERE day >= since AND day < until AND (scope = 'global'
           OR (scope = 'prompt' AND prompt_name = target) OR (scope = 'module' AND target = substr(prompt_name, 1,
               min(instr(prompt_name || '/', '/'), instr(prompt_name || '.', '.')) - 1)))), 0.0) AS spent_usd,
       coalesce((SELECT sum(usd) FROM held WHERE scope = 'global'
           OR (scope = 'prompt' AND prompt_name = target) OR (scope = 'module' AND target = substr(prompt_name, 1,
               min(instr(prompt_name || '/', '/'), instr(prompt_name || '.', '.')) - 1))), 0.0) AS reserved_usd,
       coalesce((SELECT sum(unpriced) FROM spend WHERE day >= since AND day < until AND (scope = 'global'
           OR (scope = 'prompt' AND prompt_name = target) OR (scope = 'module' AND target = substr(prompt_name, 1,
               min(instr(prompt_name || '/', '/'), instr(prompt_name || '.', '.')) - 1)))), 0) AS unpriced
FROM named
ORDER BY id DESC
LIMIT coalesce(:limit, 50) OFFSET coalesce(:offset, 0);

SELECT count(*) AS total FROM budgets;
