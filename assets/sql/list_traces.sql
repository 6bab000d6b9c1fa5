-- The traces, the one with the newest call first, with what their calls cost together.
WITH found AS (
    SELECT trace_id, max(id) AS last_id
    FROM invocations INDEXED BY calls_by_trace
    WHERE trace_id IS NOT NULL
    GROUP BY trace_id
    HAVING :before IS NULL OR max(id) < :before
    ORDER BY last_id DESC
    LIMIT coalesce(:limit, 50)
)
SELECT found.trace_id, last_id,
       (SELECT json_extract(metadata, '$.spans[0].name') FROM invocations WHERE id = last_id) AS name, count(*) AS calls,
       sum(calls.status = 'error') AS errors,
       count(CASE WHEN calls.cost_usd IS NULL AND (calls.status <> 'error' OR calls.tokens_in > 0) THEN 1 END)
           AS unpriced,
       sum(calls.cost_usd) AS cost_usd, sum(calls.tokens_in) AS tokens_in, sum(calls.tokens_out) AS tokens_out,
       min(calls.created_at) AS first_at, max(calls.created_at) AS last_at
FROM found JOIN invocations AS calls ON calls.trace_id = found.trace_id
WHERE calls.status <> 'reserved'
GROUP BY last_id
ORDER BY last_id DESC;

SELECT count(DISTINCT trace_id) AS total FROM invocations INDEXED BY calls_by_trace WHERE trace_id IS NOT NULL;
