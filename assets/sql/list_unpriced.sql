-- Every model with calls that have no cost, the most calls first; a failed call that used nothing needs no rate.
WITH found AS (
    SELECT model, count(*) AS calls, min(day) AS first_day, max(day) AS last_day, sum(tokens_in) AS tokens_in,
           sum(tokens_out) AS tokens_out, max(id) AS last_id
    FROM invocations INDEXED BY calls_by_day
    WHERE day >= coalesce(:since, date('now', '-29 days')) AND cost_usd IS NULL
      AND (status <> 'error' OR tokens_in > 0) AND status <> 'reserved'
    GROUP BY model
)
SELECT model, json_extract((SELECT metadata FROM invocations WHERE id = last_id), '$.provider') AS provider, calls,
       first_day, last_day, tokens_in, tokens_out, CAST(last_id AS TEXT) AS last_call
FROM found
ORDER BY calls DESC, model
LIMIT coalesce(:limit, 50) OFFSET coalesce(:offset, 0);

SELECT count(*) AS total FROM (
    SELECT model FROM invocations INDEXED BY calls_by_day
    WHERE day >= coalesce(:since, date('now', '-29 days')) AND cost_usd IS NULL
      AND (status <> 'error' OR tokens_in > 0) AND status <> 'reserved'
    GROUP BY model
);

-- How many of these calls say tokens that can be meant, by model: no rate can help the rest. It looks at each call.
SELECT model, count(CASE WHEN tokens_in IS NOT NULL AND tokens_out IS NOT NULL AND (SELECT
           json_type(own.metadata, '$.usage_faults') FROM invocations AS own WHERE own.id = calls.id) IS NULL THEN 1 END)
           AS meant
FROM invocations AS calls INDEXED BY calls_by_day
WHERE day >= coalesce(:since, date('now', '-29 days')) AND cost_usd IS NULL
  AND (status <> 'error' OR tokens_in > 0) AND status <> 'reserved'
  AND (:models IS NULL OR model IN (SELECT value FROM json_each(:models)))
GROUP BY model;
