-- The calls of a stretch of time at the finest grain, by day: count_calls folds these rows by what else is asked for, so
-- that each facet tells what its other values would give. latencies: those of every step-th call.
SELECT day, 0 AS slot, prompt_name, prompt_version, model, origin, status, count(*) AS calls,
       count(CASE WHEN cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0) THEN 1 END) AS unpriced,
       sum(cost_usd) AS cost_usd, sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out,
       group_concat(CASE WHEN id % coalesce(:step, 1) = 0 THEN latency_ms END, ' ') AS latencies
FROM invocations INDEXED BY calls_by_day
WHERE day >= coalesce(:since, '') AND (:since_minute IS NULL OR day > :since OR minute >= :since_minute)
  AND day <= coalesce(:until, x'') AND (:until IS NULL OR day < :until OR minute < coalesce(:until_minute, 0))
  AND (:unpriced IS NULL OR cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0))
  AND (:min_cost IS NULL OR cost_usd >= :min_cost)
  AND (:rating IS NULL OR id IN (
    SELECT own.id
    FROM (SELECT request_id, avg(rating) AS rating FROM feedback WHERE rating IS NOT NULL GROUP BY request_id) AS rated
    JOIN invocations AS own ON own.request_id = rated.request_id
    WHERE (rated.rating >= 0.5) = (:rating = 'up')))
GROUP BY day, prompt_name, prompt_version, model, origin, status
HAVING status <> 'reserved';

-- The same by so many minutes (span), for a stretch of hours.
SELECT day, minute / coalesce(:span, 60) AS slot, prompt_name, prompt_version, model, origin, status, count(*) AS calls,
       count(CASE WHEN cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0) THEN 1 END) AS unpriced,
       sum(cost_usd) AS cost_usd, sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out,
       group_concat(CASE WHEN id % coalesce(:step, 1) = 0 THEN latency_ms END, ' ') AS latencies
FROM invocations INDEXED BY calls_by_day
WHERE day >= coalesce(:since, '') AND (:since_minute IS NULL OR day > :since OR minute >= :since_minute)
  AND day <= coalesce(:until, x'') AND (:until IS NULL OR day < :until OR minute < coalesce(:until_minute, 0))
  AND (:unpriced IS NULL OR cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0))
  AND (:min_cost IS NULL OR cost_usd >= :min_cost)
  AND (:rating IS NULL OR id IN (
    SELECT own.id
    FROM (SELECT request_id, avg(rating) AS rating FROM feedback WHERE rating IS NOT NULL GROUP BY request_id) AS rated
    JOIN invocations AS own ON own.request_id = rated.request_id
    WHERE (rated.rating >= 0.5) = (:rating = 'up')))
GROUP BY day, minute / coalesce(:span, 60), prompt_name, prompt_version, model, origin, status
HAVING status <> 'reserved';

-- The first day that has calls, and how many calls there are from there on, at most.
SELECT min(day) AS day, (SELECT max(id) FROM invocations) - min(id) + 1 AS most
FROM invocations INDEXED BY calls_by_day
WHERE day = (SELECT min(day) FROM invocations INDEXED BY calls_by_day
             WHERE day >= coalesce(:since, '') AND day <= coalesce(:until, x'')
               AND day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]');

-- The latencies of the calls that fit, where the sample above holds too few of them.
SELECT latency_ms
FROM invocations INDEXED BY calls_by_day
WHERE (:prompt IS NULL OR prompt_name = :prompt) AND (:version IS NULL OR prompt_version = :version)
  AND (:module IS NULL OR prompt_name = :module OR prompt_name >= :module || '.' AND prompt_name < :module || '0')
  AND (:model IS NULL OR model = :model) AND (:origin IS NULL OR origin = :origin)
  AND (:status IS NULL OR status = :status)
  AND day >= coalesce(:since, '') AND (:since_minute IS NULL OR day > :since OR minute >= :since_minute)
  AND day <= coalesce(:until, x'') AND (:until IS NULL OR day < :until OR minute < coalesce(:until_minute, 0))
  AND (:unpriced IS NULL OR cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0))
  AND (:min_cost IS NULL OR cost_usd >= :min_cost)
  AND (:rating IS NULL OR id IN (
    SELECT own.id
    FROM (SELECT request_id, avg(rating) AS rating FROM feedback WHERE rating IS NOT NULL GROUP BY request_id) AS rated
    JOIN invocations AS own ON own.request_id = rated.request_id
    WHERE (rated.rating >= 0.5) = (:rating = 'up')))
  AND status <> 'reserved' AND latency_ms IS NOT NULL AND id % coalesce(:step, 1) = 0
LIMIT 100000;

-- The requests whose newest call fits, up from 0.5 on in the mean; of the 5,000 rated last.
WITH rated AS (
    SELECT request_id, avg(rating) AS rating, max(id) AS last
    FROM feedback
    WHERE rating IS NOT NULL AND created_at >= date(coalesce(:since, '0000-01-01'), '-1 day')
    GROUP BY request_id ORDER BY last DESC LIMIT 5000
)
SELECT count(CASE WHEN rated.rating >= 0.5 THEN 1 END) AS up, count(CASE WHEN rated.rating < 0.5 THEN 1 END) AS down
FROM rated CROSS JOIN invocations AS calls
WHERE calls.id = (SELECT max(own.id) FROM invocations AS own WHERE own.request_id = rated.request_id)
  AND (:prompt IS NULL OR prompt_name = :prompt) AND (:version IS NULL OR prompt_version = :version)
  AND (:module IS NULL OR prompt_name = :module OR prompt_name >= :module || '.' AND prompt_name < :module || '0')
  AND (:model IS NULL OR model = :model) AND (:origin IS NULL OR origin = :origin)
  AND (:status IS NULL OR status = :status)
  AND day >= coalesce(:since, '') AND (:since_minute IS NULL OR day > :since OR minute >= :since_minute)
  AND day <= coalesce(:until, x'') AND (:until IS NULL OR day < :until OR minute < coalesce(:until_minute, 0))
  AND (:unpriced IS NULL OR cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0))
  AND (:min_cost IS NULL OR cost_usd >= :min_cost)
  AND (:rating IS NULL OR calls.id IN (
    SELECT own.id
    FROM (SELECT request_id, avg(rating) AS rating FROM feedback WHERE rating IS NOT NULL GROUP BY request_id) AS rated
    JOIN invocations AS own ON own.request_id = rated.request_id
    WHERE (rated.rating >= 0.5) = (:rating = 'up')))
  AND status <> 'reserved';
