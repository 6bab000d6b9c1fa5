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
