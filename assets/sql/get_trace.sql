-- The calls of one trace in the order in which they ended; each carries the way from the outermost span to its own.
SELECT id, created_at, prompt_name, prompt_version, model, status, json_extract(metadata, '$.error') AS error, tokens_in,
       tokens_out, cost_usd, latency_ms, json_extract(metadata, '$.ttft_ms') AS ttft_ms, request_id,
       json_extract(metadata, '$.span_id') AS span_id, json_extract(metadata, '$.parent_id') AS parent_id,
       json_extract(metadata, '$.spans') AS spans
FROM invocations
WHERE trace_id = :id AND status <> 'reserved'
ORDER BY id
LIMIT 5000;

SELECT request_id, rating, comment, source, created_at
FROM feedback
WHERE request_id IN (SELECT request_id FROM invocations WHERE trace_id = :id AND status <> 'reserved')
ORDER BY id
LIMIT 100;
