-- Every suite that has run, the latest first, with its newest run.
SELECT suite_name AS suite, count(*) AS runs, max(id) AS last_run, timestamp AS last_at, prompt_name, prompt_version,
       overall_pass AS passed, overall_score AS score,
       json_extract(CASE WHEN json_valid(metadata) THEN metadata END, '$.verdict') AS verdict,
       json_extract(CASE WHEN json_valid(metadata) THEN metadata END, '$.counts') AS counts
FROM eval_runs
GROUP BY suite_name
ORDER BY last_run DESC
LIMIT coalesce(:limit, 50);
