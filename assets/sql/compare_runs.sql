-- What a comparison rests on: the checks of one run. It is read once for the run and once for its baseline.
SELECT test_name AS "case", assertion_type, passed, score,
       coalesce(json_extract(details, '$.repeat'), 0) AS repeat
FROM eval_results
WHERE run_id = :run
ORDER BY id;
