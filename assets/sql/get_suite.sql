-- The last runs of a suite, the newest first. Pass rates and intervals are worked out from the statements below: a case
-- counts as the share of its tries that passed, and mean_interval (Wilson's for pass or fail) takes these shares.
SELECT id, timestamp AS date, prompt_name, prompt_version, model_version AS model, overall_pass AS passed,
       overall_score AS score, metadata
FROM eval_runs
WHERE suite_name = :name
ORDER BY id DESC
LIMIT coalesce(:window, 30);

-- How many results each of them has: where these are many, only the newest runs' are read (runs, a JSON list of ids).
SELECT run_id AS run, count(*) AS results
FROM eval_results
WHERE run_id IN (SELECT value FROM json_each(coalesce(:runs, (SELECT json_group_array(id) FROM (
    SELECT id FROM eval_runs WHERE suite_name = :name ORDER BY id DESC LIMIT coalesce(:window, 30))))))
GROUP BY run_id;

-- How each try of each case ended.
SELECT run_id AS run, test_name AS "case", coalesce(json_extract(details, '$.repeat'), 0) AS repeat,
       CASE WHEN max(passed IS NULL AND assertion_type = 'error') THEN 'error'
            WHEN max(passed IS NULL) THEN 'skipped'
            WHEN min(passed) = 0 THEN 'fail' ELSE 'pass' END AS state,
       max(CASE WHEN json_type(details, '$.group') = 'text' THEN json_extract(details, '$.group') END) AS "group"
FROM eval_results
WHERE run_id IN (SELECT value FROM json_each(coalesce(:runs, (SELECT json_group_array(id) FROM (
    SELECT id FROM eval_runs WHERE suite_name = :name ORDER BY id DESC LIMIT coalesce(:window, 30))))))
GROUP BY run_id, test_name, coalesce(json_extract(details, '$.repeat'), 0)
ORDER BY run_id, test_name, repeat;

-- The mean score of each type of assertion, over all its checks in a run.
SELECT run_id AS run, assertion_type, avg(score) AS score
FROM eval_results
WHERE run_id IN (SELECT value FROM json_each(coalesce(:runs, (SELECT json_group_array(id) FROM (
    SELECT id FROM eval_runs WHERE suite_name = :name ORDER BY id DESC LIMIT coalesce(:window, 30))))))
  AND score IS NOT NULL AND assertion_type NOT IN ('assert', 'no_assertion')
GROUP BY run_id, assertion_type
ORDER BY assertion_type, run_id;

-- The run that the newest one was judged against, where it is none of those above.
SELECT id, timestamp AS date, metadata FROM eval_runs WHERE id = :baseline AND suite_name = :name;
