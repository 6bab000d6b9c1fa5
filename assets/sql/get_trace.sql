-- The calls of one trace in the order in which they ended; each carries the way from the outermost span to its own.
SELECT id, created_at, prompt_name, prompt_version, model, status, json_extract(metadata, '$.error') AS error, tokens_in,
       tokens_out, cost_usd, latency_ms, json_extract(metadata, '$.ttft_ms') AS ttft_ms, request_id,
       json_extract(metadata, '$.span_id') AS span_id, json_extract(metadata, '$.parent_id') AS parent_id,
       json_extract(metadata, '$.spans') AS spans
FROM invocations
WHERE trace_id = :id AND status <> 'reserved'
ORDER BY id
LIMIT 5000;
