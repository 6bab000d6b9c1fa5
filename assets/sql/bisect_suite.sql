-- The first failing run of the break of a suite or case that is open, or (first) of the oldest; then the last good one.
-- good is NULL for a run that tells nothing: an error (or no case) kept it from being judged, or the case is flaky in it,
-- which fails in less than half of its repeats, or passed when it was tried again.
-- Beside both: how many runs could be judged (n), and how many came after them that tell nothing (silent).
WITH judged AS MATERIALIZED (
  SELECT id,
         CASE WHEN :case IS NOT NULL THEN (
                SELECT CASE WHEN fails = 0 THEN CASE WHEN told = checks AND told > 0 THEN 1 END
                            WHEN 2 * fails >= repeats AND NOT EXISTS (
                              SELECT 1 FROM json_each(eval_runs.metadata, '$.gate.confirm') AS tries
                              WHERE tries.key = :case AND instr(tries.value, 'pass')) THEN 0 END
                FROM (SELECT count(*) AS checks, count(passed) AS told,
                             count(DISTINCT CASE WHEN passed IS NOT NULL THEN
                                            coalesce(json_extract(details, '$.repeat'), 0) END) AS repeats,
                             count(DISTINCT CASE WHEN passed = 0 THEN
                                            coalesce(json_extract(details, '$.repeat'), 0) END) AS fails
                      FROM eval_results WHERE run_id = eval_runs.id AND test_name = :case))
              WHEN overall_pass = 1 THEN 1
              WHEN CAST(json_extract(metadata, '$.counts.pass') AS INTEGER)
                   + CAST(json_extract(metadata, '$.counts.fail') AS INTEGER) = 0 THEN NULL
              WHEN CAST(json_extract(metadata, '$.counts.error') AS INTEGER) > 0
                   AND json_extract(metadata, '$.verdict') IS NOT 'regressed'
                   AND (CAST(json_extract(metadata, '$.counts.fail') AS INTEGER) = 0
                        OR coalesce(json_extract(metadata, '$.baseline_id'), json_extract(metadata, '$.gate.min_score'),
                                    json_extract(metadata, '$.gate.min_pass_rate')) IS NOT NULL) THEN NULL
              ELSE 0 END AS good
  FROM eval_runs
  WHERE suite_name = :suite_name AND coalesce(json_extract(metadata, '$.complete'), 1)
    AND json_extract(metadata, '$.partial') IS NULL),
newest_good AS (SELECT id FROM judged WHERE good = 1 ORDER BY id DESC LIMIT 1),
bad AS (
  SELECT id FROM judged
  WHERE good = 0 AND (coalesce(:first, 0) OR id > coalesce((SELECT id FROM newest_good), 0))
  ORDER BY id LIMIT 1),
good AS (SELECT id FROM judged WHERE good = 1 AND id < (SELECT id FROM bad) ORDER BY id DESC LIMIT 1)
SELECT told.n, told.silent, runs.id, timestamp AS date, overall_score AS score, prompt_name, prompt_version,
       model_version AS model, metadata
FROM (SELECT count(good) AS n,
             count(CASE WHEN id > (SELECT max(id) FROM judged WHERE good IS NOT NULL) THEN 1 END) AS silent
      FROM judged) AS told
LEFT JOIN eval_runs AS runs ON runs.id IN (SELECT id FROM bad UNION ALL SELECT id FROM good)
ORDER BY runs.id DESC;
