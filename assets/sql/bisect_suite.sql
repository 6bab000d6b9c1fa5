-- The first failing run of the break of a suite or case that is open, or (first) of the oldest; then the last good one.
WITH judged AS NOT MATERIALIZED (
  SELECT id,
         CASE WHEN :case IS NULL THEN overall_pass
              ELSE (SELECT CASE WHEN min(passed) = 0 THEN 0
                                WHEN count(passed) > 0 AND count(passed) = count(*) THEN 1 END
                    FROM eval_results WHERE run_id = eval_runs.id AND test_name = :case) END AS good
  FROM eval_runs
  WHERE suite_name = :suite_name AND coalesce(json_extract(metadata, '$.complete'), 1)
    AND json_extract(metadata, '$.partial') IS NULL),
newest_good AS (SELECT id FROM judged WHERE good = 1 ORDER BY id DESC LIMIT 1),
bad AS (
  SELECT id FROM judged
  WHERE good = 0 AND (coalesce(:first, 0) OR id > coalesce((SELECT id FROM newest_good), 0))
  ORDER BY id LIMIT 1),
good AS (SELECT id FROM judged WHERE good = 1 AND id < (SELECT id FROM bad) ORDER BY id DESC LIMIT 1)
SELECT id, timestamp AS date, overall_score AS score, prompt_name, prompt_version, model_version AS model, metadata
FROM eval_runs
WHERE id IN (SELECT id FROM bad UNION ALL SELECT id FROM good)
ORDER BY id DESC;

SELECT count(*) AS n
FROM eval_runs
WHERE suite_name = :suite_name
  AND coalesce(json_extract(metadata, '$.complete'), 1)
  AND json_extract(metadata, '$.partial') IS NULL
  AND (:case IS NULL OR EXISTS (SELECT 1 FROM eval_results
                                WHERE run_id = eval_runs.id AND test_name = :case AND passed IS NOT NULL));
