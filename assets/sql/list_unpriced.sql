-- Every model with calls that have no cost, the most calls first; a failed call that used nothing needs no rate.
WITH found AS (
    SELECT model, count(*) AS calls, min(day) AS first_day, max(day) AS last_day, sum(tokens_in) AS tokens_in,
           sum(tokens_out) AS tokens_out, max(id) AS last_id
    FROM invocations INDEXED BY calls_by_day
    WHERE day >= :since AND cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0) AND status <> 'reserved'
    GROUP BY model
)
SELECT model, json_extract((SELECT metadata FROM invocations WHERE id = last_id), '$.provider') AS provider, calls,
       first_day, last_day, tokens_in, tokens_out, CAST(last_id AS TEXT) AS last_call
FROM found
ORDER BY calls DESC, model
LIMIT coalesce(:limit, 50) OFFSET coalesce(:offset, 0);

SELECT count(*) AS total FROM (
    SELECT model FROM invocations INDEXED BY calls_by_day
    WHERE day >= :since AND cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0) AND status <> 'reserved'
    GROUP BY model
);
