-- The last complete runs of a suite that have a score, of those with the newest's embedder, the newest first. left_out:
-- the runs among the last that another embedder scored.
WITH scored AS (
  SELECT id, timestamp AS date, overall_score AS score, prompt_name, prompt_version, model_version AS model, metadata,
         json_extract(metadata, '$.embedder') AS embedder
  FROM eval_runs
  WHERE suite_name = :suite_name
    AND overall_score IS NOT NULL
    AND coalesce(json_extract(metadata, '$.complete'), 1)
    AND json_extract(metadata, '$.partial') IS NULL
  ORDER BY id DESC
  LIMIT coalesce(:window, 30)),
newest AS (SELECT embedder FROM scored ORDER BY id DESC LIMIT 1)
SELECT scored.*, (SELECT count(*) FROM scored AS other WHERE other.embedder IS NOT newest.embedder) AS left_out
FROM scored JOIN newest ON scored.embedder IS newest.embedder
ORDER BY id DESC;

SELECT DISTINCT suite_name AS suite FROM eval_runs ORDER BY suite_name;

-- With --of: production calls that ended well, by prompt and day, today left out; suite_name is a prompt's, NULL for all:
-- the first half reads all days in the order of the index, the second one prompt's of each day. known: those that say
-- what is asked for (`of`: cost, latency or length).
WITH RECURSIVE days (day) AS (
  SELECT date(coalesce(:today, 'now'), '-' || coalesce(:window, 30) || ' days')
  UNION ALL
  SELECT date(day, '+1 day') FROM days WHERE day < date(coalesce(:today, 'now'), '-1 day')),
told AS (
  SELECT prompt_name AS prompt, calls.day, CASE :of WHEN 'cost' THEN cost_usd WHEN 'latency' THEN latency_ms
                                           WHEN 'length' THEN tokens_out END AS value
  FROM days CROSS JOIN invocations AS calls INDEXED BY calls_by_day
  WHERE calls.day = days.day AND prompt_name = :suite_name AND origin = 'app' AND status = 'ok')
SELECT prompt_name AS prompt, day, count(*) AS calls,
       count(CASE :of WHEN 'cost' THEN cost_usd WHEN 'latency' THEN latency_ms WHEN 'length' THEN tokens_out END) AS known,
       sum(CASE :of WHEN 'cost' THEN cost_usd WHEN 'latency' THEN latency_ms WHEN 'length' THEN tokens_out END) AS total,
       sum(CASE :of WHEN 'cost' THEN cost_usd * cost_usd WHEN 'latency' THEN latency_ms * latency_ms
           WHEN 'length' THEN tokens_out * 1.0 * tokens_out END) AS squares
FROM invocations INDEXED BY calls_by_day
WHERE :suite_name IS NULL AND day >= date(coalesce(:today, 'now'), '-' || coalesce(:window, 30) || ' days')
  AND day < date(coalesce(:today, 'now')) AND origin = 'app' AND status = 'ok'
GROUP BY day, prompt_name
UNION ALL
SELECT prompt, day, count(*), count(value), sum(value), sum(value * 1.0 * value)
FROM told GROUP BY day, prompt;

-- With --of rating: the same of ratings, by the day of the newest such call of the request; one request counts once.
WITH rated AS (
  SELECT request_id, max(prompt_name) AS told_name, avg(rating) AS rating
  FROM feedback
  WHERE rating IS NOT NULL AND created_at >= date(coalesce(:today, 'now'), '-' || (coalesce(:window, 30) + 1) || ' days')
  GROUP BY request_id)
SELECT coalesce(told_name, calls.prompt_name) AS prompt, calls.day, count(*) AS known, sum(rating) AS total,
       sum(rating * rating) AS squares
FROM rated JOIN invocations AS calls ON calls.id = (
  SELECT max(own.id) FROM invocations AS own
  WHERE own.request_id = rated.request_id AND own.status = 'ok' AND own.origin = 'app')
WHERE calls.day >= date(coalesce(:today, 'now'), '-' || coalesce(:window, 30) || ' days')
  AND calls.day < date(coalesce(:today, 'now'))
  AND (:suite_name IS NULL OR coalesce(told_name, calls.prompt_name) = :suite_name)
GROUP BY coalesce(told_name, calls.prompt_name), calls.day;

-- Which versions and models served a prompt on a day, the most calls first.
SELECT prompt_version, coalesce((SELECT json_extract(own.metadata, '$.served_model') FROM invocations AS own
                                 WHERE own.id = calls.id), model) AS served, count(*) AS calls
FROM invocations AS calls INDEXED BY calls_by_day
WHERE day = :day AND prompt_name = :suite_name AND origin = 'app' AND status = 'ok'
GROUP BY prompt_version, served
ORDER BY calls DESC, prompt_version DESC;
