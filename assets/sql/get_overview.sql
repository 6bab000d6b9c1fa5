-- The newest run of every suite, the latest first. Whether a suite drifts is worked out by check_drift from its runs.
-- history: the scores of its last 30 runs, the newest first, NULL for a run without one, or of a part of the suite.
WITH RECURSIVE names (suite) AS (
    SELECT min(suite_name) FROM eval_runs UNION ALL
    SELECT (SELECT min(suite_name) FROM eval_runs WHERE suite_name > names.suite) FROM names WHERE suite IS NOT NULL
)
SELECT suite, id AS run, timestamp AS at, prompt_name, prompt_version, model_version AS model, overall_pass AS passed,
       overall_score AS score, metadata,
       (SELECT json_group_array(score) FROM (
            SELECT CASE WHEN coalesce(json_extract(told, '$.complete'), 1)
                        AND json_extract(told, '$.partial') IS NULL THEN overall_score END AS score
            FROM (SELECT overall_score, CASE WHEN json_valid(metadata) THEN metadata END AS told
                  FROM eval_runs WHERE suite_name = suite ORDER BY id DESC LIMIT 30))) AS history
FROM names JOIN eval_runs ON id = (SELECT max(own.id) FROM eval_runs AS own WHERE own.suite_name = suite)
ORDER BY run DESC;

-- What the month and the day have cost so far, and how many of the month's calls have no cost.
WITH present (now) AS (VALUES (coalesce(:now, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))))
SELECT date(now, 'start of month') AS since, coalesce(sum(cost_usd), 0.0) AS spent_usd,
       coalesce(sum(CASE WHEN day = date(now) THEN cost_usd END), 0.0) AS today_usd,
       count(CASE WHEN cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0) AND day IS NOT NULL THEN 1 END)
           AS unpriced
FROM present LEFT JOIN (
    SELECT day, cost_usd, status, tokens_in
    FROM invocations INDEXED BY calls_by_day
    WHERE day >= date(coalesce(:now, 'now'), 'start of month')
      AND day < date(coalesce(:now, 'now'), 'start of month', '+1 month') AND status <> 'reserved'
);

-- How often each prompt was served from the code because the store failed, and when the store was told last.
SELECT told.key AS name, told.value AS times, created_at AS last_at
FROM datasets, json_each(CASE WHEN json_valid(items) THEN items ELSE '{}' END) AS told
WHERE datasets.name = 'promptry/fallbacks' AND told.type = 'integer' AND typeof(told.key) = 'text'
ORDER BY times DESC, told.key;

-- The runs that the newest ones were judged against (runs: a JSON list of ids): what differs is worked out from both.
SELECT id AS run, prompt_name, prompt_version, model_version AS model, metadata
FROM eval_runs
WHERE id IN (SELECT value FROM json_each(coalesce(:runs, '[]')));

-- The production calls of the day.
SELECT count(*) AS calls, count(CASE WHEN status = 'error' THEN 1 END) AS errors,
       count(CASE WHEN cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0) THEN 1 END) AS unpriced,
       sum(cost_usd) AS cost_usd
FROM invocations INDEXED BY calls_by_day
WHERE day = date(coalesce(:now, 'now')) AND origin = 'app' AND status <> 'reserved';

-- The latency that 95 of 100 of them keep (nearest rank), of those that tell it; of very many every step-th is looked at.
SELECT max(CASE WHEN place = (95 * n + 99) / 100 THEN latency_ms END) AS p95_ms, count(*) AS latency_of
FROM (SELECT latency_ms, row_number() OVER (ORDER BY latency_ms) AS place, count(*) OVER () AS n
      FROM invocations INDEXED BY calls_by_day
      WHERE day = date(coalesce(:now, 'now')) AND origin = 'app' AND status <> 'reserved' AND latency_ms IS NOT NULL
        AND id % coalesce(:step, 1) = 0);

-- The requests that were rated on the day, up from 0.5 on in the mean.
SELECT count(CASE WHEN rating >= 0.5 THEN 1 END) AS up, count(CASE WHEN rating < 0.5 THEN 1 END) AS down
FROM (SELECT avg(rating) AS rating FROM feedback
      WHERE rating IS NOT NULL AND created_at >= date(coalesce(:now, 'now'))
        AND created_at < date(coalesce(:now, 'now'), '+1 day')
      GROUP BY request_id);

-- What each prompt has cost on each day of this month, calls of every origin: modules and the month are sums of these.
SELECT day, prompt_name, count(*) AS calls, count(cost_usd) AS priced, sum(cost_usd) AS cost_usd,
       count(CASE WHEN cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0) THEN 1 END) AS unpriced
FROM invocations INDEXED BY calls_by_day
WHERE day >= date(coalesce(:now, 'now'), 'start of month')
  AND day < date(coalesce(:now, 'now'), 'start of month', '+1 month') AND status <> 'reserved'
GROUP BY day, prompt_name;

-- The runs of the last day that got worse or better, or failed; of the newest 500.
SELECT id, suite, at, json_extract(told, '$.verdict') AS verdict, json_extract(told, '$.gate.comparison.broke') AS broke,
       json_extract(told, '$.gate.comparison.fixed') AS fixed
FROM (SELECT id, suite_name AS suite, timestamp AS at, overall_pass,
             CASE WHEN json_valid(metadata) THEN metadata END AS told
      FROM eval_runs ORDER BY id DESC LIMIT 500)
WHERE at >= coalesce(:since, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day'))
  AND (json_extract(told, '$.verdict') IN ('regressed', 'improved') OR overall_pass = 0)
ORDER BY id DESC
LIMIT 20;

-- The prompts that were saved in the last day, each with the text of its newest version and of the one before the day's.
WITH saved AS (
    SELECT name, max(version) AS version, min(version) AS first, count(*) AS saved, max(created_at) AS at
    FROM (SELECT name, version, created_at FROM prompts ORDER BY id DESC LIMIT 500)
    WHERE created_at >= coalesce(:since, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day'))
      AND name NOT GLOB '*[:]context'
    GROUP BY name
    ORDER BY at DESC
    LIMIT 20
)
SELECT saved.*, (SELECT content FROM prompts WHERE name = saved.name AND version = saved.version) AS content,
       (SELECT content FROM prompts WHERE name = saved.name AND version < saved.first
        ORDER BY version DESC LIMIT 1) AS before
FROM saved
ORDER BY at DESC;

-- The tags that were put where they stand in the last day.
SELECT name, version, tag, json_extract(CASE told.type WHEN 'object' THEN told.value END, '$.at') AS at,
       json_extract(CASE told.type WHEN 'object' THEN told.value END, '$.from') AS before
FROM (SELECT * FROM prompt_tags ORDER BY id DESC LIMIT 200) AS tags JOIN prompts ON prompts.id = prompt_id
JOIN json_each(metadata, '$.promptry.promotions') AS told
WHERE json_extract(CASE told.type WHEN 'object' THEN told.value END, '$.tag') = tag
  AND typeof(json_extract(CASE told.type WHEN 'object' THEN told.value END, '$.at')) = 'text'
  AND json_extract(CASE told.type WHEN 'object' THEN told.value END, '$.at')
      >= coalesce(:since, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day'))
ORDER BY at DESC
LIMIT 20;

-- The budgets that were set for the first time in the last day.
SELECT id, scope, target, period, limit_usd, created_at AS at
FROM budgets
WHERE created_at >= coalesce(:since, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day'))
ORDER BY id DESC
LIMIT 20;

-- Which model answered the newest production call of each model and hour of the last day, of the newest 50,000 calls.
WITH newest AS (
    SELECT model, max(id) AS id
    FROM invocations INDEXED BY calls_by_day
    WHERE day >= substr(coalesce(:since, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')), 1, 10)
      AND (day > substr(coalesce(:since, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')), 1, 10)
           OR minute / 60 >= CAST(substr(coalesce(:since, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')), 12, 2) AS INTEGER))
      AND model IS NOT NULL AND origin = 'app' AND status = 'ok'
      AND id > (SELECT max(id) FROM invocations) - 50000
    GROUP BY model, day, minute / 60
)
SELECT newest.model, newest.id, created_at AS at,
       CASE json_type(metadata, '$.served_model') WHEN 'text' THEN json_extract(metadata, '$.served_model') END AS served
FROM newest JOIN invocations AS calls ON calls.id = newest.id
ORDER BY newest.model, newest.id;
