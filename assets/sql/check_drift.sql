-- The last complete runs of a suite that have a score, the newest first; then the suites that there are.
SELECT id, timestamp AS date, overall_score AS score, prompt_name, prompt_version, model_version AS model, metadata
FROM eval_runs
WHERE suite_name = :suite_name
  AND overall_score IS NOT NULL
  AND coalesce(json_extract(metadata, '$.complete'), 1)
  AND json_extract(metadata, '$.partial') IS NULL
ORDER BY id DESC
LIMIT coalesce(:window, 30);

SELECT DISTINCT suite_name AS suite FROM eval_runs ORDER BY suite_name;
