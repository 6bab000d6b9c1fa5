-- One version of a prompt, then all its versions with their tags, then how each did.
SELECT name, version, content, hash, created_at, metadata
FROM prompts
WHERE name = :name AND (:version IS NULL OR version = :version)
ORDER BY CASE WHEN json_extract(metadata, '$.promptry.current_at') GLOB '[0-9][0-9][0-9][0-9]-*'
        THEN json_extract(metadata, '$.promptry.current_at') ELSE created_at END DESC, version DESC
LIMIT 1;

SELECT version, hash, created_at,
       (SELECT json_group_array(tag) FROM prompt_tags WHERE prompt_id = prompts.id) AS tags,
       json_extract(metadata, '$.promptry.promotions') AS promotions
FROM prompts
WHERE name = :name
ORDER BY version DESC;

-- How many runs each version had, and the newest whole one that has a score.
SELECT prompt_version AS version, count(*) AS runs, overall_score AS score,
       max(CASE WHEN overall_score IS NOT NULL AND coalesce(json_extract(told, '$.complete'), 1)
                AND json_extract(told, '$.partial') IS NULL THEN id END) AS run
FROM (SELECT id, prompt_version, overall_score, CASE WHEN json_valid(metadata) THEN metadata END AS told
      FROM eval_runs WHERE prompt_name = :name AND prompt_version IS NOT NULL)
GROUP BY prompt_version
ORDER BY prompt_version DESC;

-- The scores of some runs (runs: a JSON list of ids, those that the statement above names).
SELECT id AS run, overall_score AS score, CASE WHEN json_valid(metadata) THEN metadata END AS metadata
FROM eval_runs
WHERE id IN (SELECT value FROM json_each(coalesce(:runs, '[]')))
ORDER BY id DESC;

-- The mean score of each of their cases over its tries; a try with an error has none.
SELECT run_id AS run, test_name AS "case", avg(score) AS score, max("group") AS "group"
FROM (SELECT run_id, test_name, avg(score) AS score,
             max(CASE WHEN json_type(details, '$.group') = 'text' THEN json_extract(details, '$.group') END) AS "group"
      FROM eval_results
      WHERE run_id IN (SELECT value FROM json_each(coalesce(:runs, '[]')))
      GROUP BY run_id, test_name, coalesce(json_extract(details, '$.repeat'), 0)
      HAVING count(passed) = count(*) AND count(score) > 0)
GROUP BY run_id, test_name
ORDER BY run_id, test_name;

-- The production calls of each version in the last 30 days.
WITH RECURSIVE days (day) AS (
    SELECT coalesce(:since, date('now', '-29 days')) UNION ALL SELECT date(day, '+1 day') FROM days WHERE day < date('now')
)
SELECT prompt_version AS version, count(*) AS calls, count(cost_usd) AS priced, sum(cost_usd) AS cost_usd
FROM days CROSS JOIN invocations AS calls INDEXED BY calls_by_day
WHERE calls.day = days.day AND prompt_name = :name AND origin = 'app' AND status <> 'reserved'
GROUP BY prompt_version
ORDER BY prompt_version DESC;

-- Their median latency (nearest rank), of those that tell it; of versions with very many every step-th is looked at.
WITH RECURSIVE days (day) AS (
    SELECT coalesce(:since, date('now', '-29 days')) UNION ALL SELECT date(day, '+1 day') FROM days WHERE day < date('now')
)
SELECT version, max(CASE WHEN place = (n + 1) / 2 THEN latency_ms END) AS p50_ms, count(*) AS latency_of
FROM (SELECT prompt_version AS version, latency_ms, count(*) OVER (PARTITION BY prompt_version) AS n,
             row_number() OVER (PARTITION BY prompt_version ORDER BY latency_ms) AS place
      FROM days CROSS JOIN invocations AS calls INDEXED BY calls_by_day
      WHERE calls.day = days.day AND prompt_name = :name AND origin = 'app' AND status <> 'reserved'
        AND latency_ms IS NOT NULL AND calls.id % coalesce(:step, 1) = 0
        AND (:versions IS NULL OR EXISTS (SELECT 1 FROM json_each(:versions) WHERE value IS prompt_version)))
GROUP BY version
ORDER BY version DESC;

-- The mean rating of each version in the last 30 days, of the newest 20,000 ratings; a request counts once, for the
-- version of its newest call. A rating that came before its call names no prompt.
WITH said AS (
    SELECT * FROM (SELECT request_id, rating, created_at FROM feedback WHERE prompt_name = :name ORDER BY id DESC LIMIT 20000)
    UNION ALL
    SELECT * FROM (SELECT request_id, rating, created_at FROM feedback WHERE prompt_name IS NULL ORDER BY id DESC LIMIT 20000)
),
rated AS (
    SELECT request_id, avg(rating) AS rating FROM said
    WHERE rating IS NOT NULL AND created_at >= coalesce(:since, date('now', '-29 days')) GROUP BY request_id
)
SELECT calls.prompt_version AS version, avg(rated.rating) AS rating, count(*) AS ratings
FROM rated JOIN invocations AS calls ON calls.id = (
    SELECT max(own.id) FROM invocations AS own
    WHERE own.request_id = rated.request_id AND own.prompt_name = :name AND own.status <> 'reserved')
GROUP BY calls.prompt_version
ORDER BY calls.prompt_version DESC;
