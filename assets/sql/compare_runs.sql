-- What a comparison rests on: the checks of one run. It is read once for the run and once for its baseline.
SELECT test_name AS "case", assertion_type, passed, score,
       coalesce(json_extract(details, '$.repeat'), 0) AS repeat,
       json_extract(details, '$.group') AS "group"
FROM eval_results
WHERE run_id = :run
ORDER BY id;

-- How many tries of a case passed before: in the baseline and in the other complete runs of its prompt version, model
-- and data that are no newer than the two compared, the newest hundred. Of cases that failed then or are failing now.
WITH base AS (
    SELECT id, suite_name, prompt_name, prompt_version, model_version, json_extract(metadata, '$.dataset_hash') AS hash
    FROM eval_runs
    WHERE id = :baseline
), runs AS (
    SELECT eval_runs.id
    FROM eval_runs
    JOIN base ON eval_runs.suite_name = base.suite_name
    WHERE eval_runs.id = base.id
       OR eval_runs.id <= max(:run, base.id)
      AND eval_runs.id <> :run
      AND eval_runs.prompt_name IS base.prompt_name
      AND eval_runs.prompt_version = base.prompt_version
      AND eval_runs.model_version IS base.model_version
      AND json_extract(eval_runs.metadata, '$.dataset_hash') IS base.hash
      AND coalesce(json_extract(eval_runs.metadata, '$.complete'), 1)
      AND json_extract(eval_runs.metadata, '$.partial') IS NULL
    ORDER BY eval_runs.id = base.id DESC, eval_runs.id DESC
    LIMIT 100
), tries AS (
    SELECT test_name, min(passed) AS passed
    FROM eval_results
    JOIN runs ON runs.id = eval_results.run_id
    GROUP BY test_name, run_id, coalesce(json_extract(details, '$.repeat'), 0)
    HAVING count(passed) = count(*)
)
SELECT test_name AS "case", sum(passed) AS passed, count(*) AS tries
FROM tries
GROUP BY test_name
HAVING sum(passed) < count(*)
    OR test_name IN (SELECT test_name FROM eval_results WHERE run_id = :run AND passed = 0);
