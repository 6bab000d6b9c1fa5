-- How the cases of a suite (those in a JSON list, or all; failed_too: and those that failed there) ended in its last
-- complete runs until a run, on that run's prompt version and dataset. A row an execution that passed or failed, the
-- oldest first.
WITH judged AS (
  SELECT suite_name, prompt_name, prompt_version, json_extract(metadata, '$.dataset_hash') AS dataset
  FROM eval_runs WHERE id = :run),
runs AS (
  SELECT eval_runs.id, coalesce(json_extract(eval_runs.metadata, '$.counts.fail')
                                + json_extract(eval_runs.metadata, '$.counts.error'), 1) AS bad
  FROM judged JOIN eval_runs ON eval_runs.suite_name = judged.suite_name
  WHERE eval_runs.id <= :run
    AND eval_runs.prompt_name IS judged.prompt_name
    AND eval_runs.prompt_version IS judged.prompt_version
    AND json_extract(eval_runs.metadata, '$.dataset_hash') IS judged.dataset
    AND coalesce(json_extract(eval_runs.metadata, '$.complete'), 1)
    AND json_extract(eval_runs.metadata, '$.partial') IS NULL
  ORDER BY eval_runs.id DESC
  LIMIT coalesce(:window, 30)),
meant AS (
  SELECT value AS name FROM json_each(coalesce(:cases, '[]'))
  UNION SELECT test_name FROM eval_results
  WHERE run_id IN (SELECT id FROM runs WHERE bad OR :cases IS NULL) AND (:cases IS NULL OR :failed_too AND passed = 0))
SELECT test_name AS "case", run_id AS run, coalesce(json_extract(details, '$.repeat'), 0) AS repeat,
       min(passed) AS passed
FROM eval_results
WHERE run_id IN (SELECT id FROM runs)
  AND test_name IN (SELECT name FROM meant)
GROUP BY run_id, test_name, repeat
HAVING count(passed) = count(*)
ORDER BY run_id, repeat, test_name;
