-- The recorded calls, the newest first; money reserved and not yet spent is no call.
SELECT id, created_at, prompt_name, prompt_version, model, status, origin, tokens_in, tokens_out, cost_usd, latency_ms,
       request_id
FROM invocations
WHERE (:prompt IS NULL OR prompt_name = :prompt) AND (:before IS NULL OR id < :before) AND status <> 'reserved'
ORDER BY id DESC
LIMIT coalesce(:limit, 50);

SELECT count(*) AS total
FROM invocations INDEXED BY calls_by_day
WHERE (:prompt IS NULL OR prompt_name = :prompt) AND status <> 'reserved';
