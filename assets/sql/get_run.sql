-- One run, then its checks (of the cases in a JSON list, or of all) in the order in which they were made.
SELECT id, suite_name AS suite, timestamp AS date, prompt_name, prompt_version, model_version AS model,
       overall_pass AS passed, overall_score AS score, metadata
FROM eval_runs
WHERE id = :id;

SELECT test_name AS "case", assertion_type, passed, score, details, latency_ms
FROM eval_results
WHERE run_id = :id AND (:names IS NULL OR test_name IN (SELECT value FROM json_each(:names)))
ORDER BY id;
