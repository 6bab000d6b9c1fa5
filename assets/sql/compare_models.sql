-- The newest complete run of each model, prompt version and data of a suite, then what the calls of one run say.
SELECT model_version AS model, prompt_name, prompt_version, json_extract(metadata, '$.dataset_hash') AS dataset_hash,
       max(id) AS run, min(id) AS first_run
FROM eval_runs
WHERE suite_name = :suite_name AND model_version IS NOT NULL AND coalesce(json_extract(metadata, '$.complete'), 1)
  AND json_extract(metadata, '$.partial') IS NULL
GROUP BY model_version, prompt_name, prompt_version, json_extract(metadata, '$.dataset_hash')
ORDER BY first_run;

SELECT avg(latency_ms) AS latency_ms
FROM invocations INDEXED BY calls_by_run
WHERE run_uid = :uid AND coalesce(status, 'ok') = 'ok';
