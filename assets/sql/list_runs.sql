-- The runs of a suite, or of all, the newest first.
SELECT id, suite_name AS suite, timestamp AS date, prompt_name, prompt_version, model_version AS model,
       overall_pass AS passed, overall_score AS score,
       coalesce(json_extract(metadata, '$.complete'), 1) AS complete,
       json_extract(metadata, '$.partial') IS NOT NULL AS partial,
       json_extract(metadata, '$.verdict') AS verdict,
       json_extract(metadata, '$.baseline_id') AS baseline_id,
       json_extract(metadata, '$.counts') AS counts,
       json_extract(metadata, '$.cost_usd') AS cost_usd
FROM eval_runs
WHERE (:suite IS NULL OR suite_name = :suite) AND (:before IS NULL OR id < :before)
ORDER BY id DESC
LIMIT coalesce(:limit, 50);

SELECT count(*) AS total FROM eval_runs WHERE (:suite IS NULL OR suite_name = :suite);
