-- The newest complete run of a suite whose prompt version carries the tag and which did not itself regress; one that
-- passed without an error, or is judged by its statistics, goes before one that did not.
SELECT eval_runs.id
FROM eval_runs
JOIN prompts ON prompts.name = eval_runs.prompt_name AND prompts.version = eval_runs.prompt_version
JOIN prompt_tags ON prompt_tags.prompt_id = prompts.id AND prompt_tags.tag = :tag
WHERE eval_runs.suite_name = :suite
  AND (:prompt IS NULL OR eval_runs.prompt_name = :prompt)
  AND eval_runs.id IS NOT :run
  AND coalesce(json_extract(eval_runs.metadata, '$.complete'), 1)
  AND json_extract(eval_runs.metadata, '$.partial') IS NULL
  AND coalesce(json_extract(eval_runs.metadata, '$.gate.judged'), 1)
  AND coalesce(json_extract(eval_runs.metadata, '$.verdict'), '') <> 'regressed'
  AND coalesce(json_array_length(eval_runs.metadata, '$.gate.broken'), 0) = 0
ORDER BY
  coalesce(json_extract(eval_runs.metadata, '$.counts.error'), 0)
    = coalesce(json_extract(eval_runs.metadata, '$.counts.flaky_error'), 0)
  AND (coalesce(eval_runs.overall_pass, 1) OR json_extract(eval_runs.metadata, '$.gate.mode') = 'statistical') DESC,
  eval_runs.id DESC
LIMIT 1;
