-- The newest run of every suite, the latest first. Whether a suite drifts is worked out by check_drift from its runs.
SELECT suite_name AS suite, max(id) AS run, timestamp AS at, prompt_name, prompt_version, model_version AS model,
       overall_pass AS passed, overall_score AS score, metadata
FROM eval_runs
GROUP BY suite_name
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
