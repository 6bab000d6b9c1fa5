-- What was spent since a day, at the finest grain: list_costs folds these rows by what it is asked for. Origins stay
-- apart. A call without a cost is in `unpriced` (but a failed one that used nothing); cost_usd is NULL where none has one.
-- told_in is the input of the calls that say how much of it was cached.
SELECT day, prompt_name, prompt_version, model, origin, count(*) AS calls,
       count(CASE WHEN status = 'error' THEN 1 END) AS errors,
       count(CASE WHEN cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0) THEN 1 END) AS unpriced,
       sum(cost_usd) AS cost_usd, sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out,
       count(tokens_in) AS counted, sum(cached_tokens) AS cached_tokens,
       sum(CASE WHEN cached_tokens IS NOT NULL THEN tokens_in END) AS told_in, sum(cache_saved_usd) AS cache_saved_usd
FROM invocations INDEXED BY calls_by_day
WHERE day >= coalesce(:since, date('now', '-29 days')) AND status <> 'reserved'
GROUP BY day, prompt_name, prompt_version, model, origin;

-- How long the text of each version is: its tokens are estimated as a quarter of its characters.
SELECT name AS prompt_name, version AS prompt_version, length(content) AS characters FROM prompts;

-- What all calls of the month have cost, for its forecast (month and month_end: its first day, and the first after it).
SELECT coalesce(sum(cost_usd), 0.0) AS cost_usd
FROM invocations INDEXED BY calls_by_day
WHERE day >= coalesce(:month, date('now', 'start of month'))
  AND day < coalesce(:month_end, date('now', 'start of month', '+1 month')) AND status <> 'reserved';

-- By bucket: what was used at each set of rates. rates is NULL where the cost was given, or is not known. The bucket of one
-- space stands for the calls themselves. A bucket costs its amount times its rate by million tokens, or by its own unit.
SELECT CASE WHEN json_extract(metadata, '$.cost_source') = 'computed' AND json_type(metadata, '$.rates') = 'object'
            AND own.cost_usd IS NOT NULL THEN json_extract(metadata, '$.rates') END AS rates,
       bucket.key AS bucket, count(*) AS calls, count(own.cost_usd) AS priced, sum(own.cost_usd) AS cost_usd,
       sum(CASE WHEN bucket.type IN ('integer', 'real') THEN bucket.value END) AS amount
FROM (SELECT id, cost_usd FROM invocations INDEXED BY calls_by_day
      WHERE day >= coalesce(:since, date('now', '-29 days')) AND (:prompt IS NULL OR prompt_name = :prompt)
        AND (:model IS NULL OR model = :model) AND coalesce(:origin, 'app') IN ('all', origin) AND status <> 'reserved') AS own
CROSS JOIN invocations AS calls ON calls.id = own.id
CROSS JOIN json_each(json_insert(CASE json_type(metadata, '$.buckets') WHEN 'object' THEN json_extract(metadata, '$.buckets')
                                 ELSE '{}' END, '$." "', 1)) AS bucket
GROUP BY 1, bucket.key;
