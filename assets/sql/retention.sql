-- What retention takes out: first how many, then the statement that does it. Calls older than a day.
SELECT count(*) AS found FROM invocations WHERE day < :calls;

DELETE FROM invocations WHERE day < :calls;

-- Ratings as old, of requests of which no call is left.
SELECT count(*) AS found FROM feedback WHERE substr(created_at, 1, 10) < :calls AND NOT EXISTS (
    SELECT 1 FROM invocations WHERE invocations.request_id = feedback.request_id AND day >= :calls);

DELETE FROM feedback WHERE substr(created_at, 1, 10) < :calls AND NOT EXISTS (
    SELECT 1 FROM invocations WHERE invocations.request_id = feedback.request_id AND day >= :calls);

-- Captured texts older than a day; their calls stay.
SELECT count(*) AS found FROM invocations
WHERE day < :texts AND (input_text IS NOT NULL OR output_text IS NOT NULL);

UPDATE invocations SET input_text = NULL, output_text = NULL
WHERE day < :texts AND (input_text IS NOT NULL OR output_text IS NOT NULL);

-- Runs older than a day with their results, but those that --compare could take as a baseline.
SELECT count(*) AS found FROM eval_runs WHERE substr(timestamp, 1, 10) < :runs AND id NOT IN (
    SELECT max(id) FROM eval_runs
    WHERE coalesce(json_extract(metadata, '$.complete'), 1) AND coalesce(json_extract(metadata, '$.gate.judged'), 1)
      AND json_extract(metadata, '$.partial') IS NULL
      AND coalesce(json_extract(metadata, '$.verdict'), '') <> 'regressed'
      AND coalesce(json_array_length(metadata, '$.gate.broken'), 0) = 0
    GROUP BY suite_name, prompt_name, prompt_version);

DELETE FROM eval_runs WHERE substr(timestamp, 1, 10) < :runs AND id NOT IN (
    SELECT max(id) FROM eval_runs
    WHERE coalesce(json_extract(metadata, '$.complete'), 1) AND coalesce(json_extract(metadata, '$.gate.judged'), 1)
      AND json_extract(metadata, '$.partial') IS NULL
      AND coalesce(json_extract(metadata, '$.verdict'), '') <> 'regressed'
      AND coalesce(json_array_length(metadata, '$.gate.broken'), 0) = 0
    GROUP BY suite_name, prompt_name, prompt_version);

-- Reservations whose lease ended before a time: they count as nothing.
SELECT count(*) AS found FROM invocations
WHERE status = 'reserved' AND coalesce(json_extract(metadata, '$.lease_until'), '') < :lapsed;

DELETE FROM invocations
WHERE status = 'reserved' AND coalesce(json_extract(metadata, '$.lease_until'), '') < :lapsed;
