-- The recorded calls, the newest first; money reserved and not yet spent is no call.
SELECT id, created_at, prompt_name, prompt_version, model, status, origin, tokens_in, tokens_out, cost_usd, latency_ms,
       request_id, (SELECT avg(rating) FROM feedback WHERE feedback.request_id = invocations.request_id) AS rating
FROM invocations
WHERE (:before IS NULL OR id < :before) AND status <> 'reserved'
ORDER BY id DESC
LIMIT coalesce(:limit, 50);

SELECT count(*) AS total
FROM invocations INDEXED BY calls_by_day
WHERE (:prompt IS NULL OR prompt_name = :prompt) AND (:version IS NULL OR prompt_version = :version)
  AND (:module IS NULL OR prompt_name = :module OR prompt_name >= :module || '.' AND prompt_name < :module || '0')
  AND (:model IS NULL OR model = :model) AND (:origin IS NULL OR origin = :origin)
  AND (:status IS NULL OR status = :status)
  AND day >= coalesce(:since, '') AND (:since_minute IS NULL OR day > :since OR minute >= :since_minute)
  AND day <= coalesce(:until, x'') AND (:until IS NULL OR day < :until OR minute < coalesce(:until_minute, 0))
  AND (:unpriced IS NULL OR cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0))
  AND (:min_cost IS NULL OR cost_usd >= :min_cost)
  AND (:rating IS NULL OR id IN (
    SELECT own.id
    FROM (SELECT request_id, avg(rating) AS rating FROM feedback WHERE rating IS NOT NULL GROUP BY request_id) AS rated
    JOIN invocations AS own ON own.request_id = rated.request_id
    WHERE (rated.rating >= 0.5) = (:rating = 'up')))
  AND status <> 'reserved';

-- The same for those that fit: the index names them without a look at their rows. since and until are UTC days, their
-- minutes those of the day; unpriced is 1 or NULL; rating is up or down, the mean of a request's ratings from 0.5 on or below.
SELECT id, created_at, prompt_name, prompt_version, model, status, origin, tokens_in, tokens_out, cost_usd, latency_ms,
       request_id, (SELECT avg(rating) FROM feedback WHERE feedback.request_id = invocations.request_id) AS rating
FROM invocations
WHERE id IN (
    SELECT id FROM invocations INDEXED BY calls_by_day
    WHERE (:prompt IS NULL OR prompt_name = :prompt) AND (:version IS NULL OR prompt_version = :version)
      AND (:module IS NULL OR prompt_name = :module OR prompt_name >= :module || '.' AND prompt_name < :module || '0')
      AND (:model IS NULL OR model = :model) AND (:origin IS NULL OR origin = :origin)
      AND (:status IS NULL OR status = :status)
      AND day >= coalesce(:since, '') AND (:since_minute IS NULL OR day > :since OR minute >= :since_minute)
      AND day <= coalesce(:until, x'') AND (:until IS NULL OR day < :until OR minute < coalesce(:until_minute, 0))
      AND (:unpriced IS NULL OR cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0))
      AND (:min_cost IS NULL OR cost_usd >= :min_cost)
      AND (:rating IS NULL OR id IN (
        SELECT own.id
        FROM (SELECT request_id, avg(rating) AS rating FROM feedback WHERE rating IS NOT NULL GROUP BY request_id) AS rated
        JOIN invocations AS own ON own.request_id = rated.request_id
        WHERE (rated.rating >= 0.5) = (:rating = 'up')))
      AND status <> 'reserved' AND (:before IS NULL OR id < :before)
    ORDER BY id DESC
    LIMIT coalesce(:limit, 50))
ORDER BY id DESC;

-- The calls of one request.
SELECT id, created_at, prompt_name, prompt_version, model, status, origin, tokens_in, tokens_out, cost_usd, latency_ms,
       request_id, (SELECT avg(rating) FROM feedback WHERE feedback.request_id = invocations.request_id) AS rating
FROM invocations
WHERE request_id = :request AND status <> 'reserved' AND (:before IS NULL OR id < :before)
ORDER BY id DESC
LIMIT coalesce(:limit, 50);

-- Those of a stretch of the ledger that fit and whose text, name or facts hold a text.
SELECT id, created_at, prompt_name, prompt_version, model, status, origin, tokens_in, tokens_out, cost_usd, latency_ms,
       request_id, (SELECT avg(rating) FROM feedback WHERE feedback.request_id = invocations.request_id) AS rating
FROM invocations
WHERE id < coalesce(:before, 9223372036854775807) AND id >= coalesce(:after, 0) AND status <> 'reserved'
  AND (:prompt IS NULL OR prompt_name = :prompt) AND (:version IS NULL OR prompt_version = :version)
  AND (:module IS NULL OR prompt_name = :module OR prompt_name >= :module || '.' AND prompt_name < :module || '0')
  AND (:model IS NULL OR model = :model) AND (:origin IS NULL OR origin = :origin)
  AND (:status IS NULL OR status = :status)
  AND day >= coalesce(:since, '') AND (:since_minute IS NULL OR day > :since OR minute >= :since_minute)
  AND day <= coalesce(:until, x'') AND (:until IS NULL OR day < :until OR minute < coalesce(:until_minute, 0))
  AND (:unpriced IS NULL OR cost_usd IS NULL AND (status <> 'error' OR tokens_in > 0))
  AND (:min_cost IS NULL OR cost_usd >= :min_cost)
  AND (:rating IS NULL OR id IN (
    SELECT own.id
    FROM (SELECT request_id, avg(rating) AS rating FROM feedback WHERE rating IS NOT NULL GROUP BY request_id) AS rated
    JOIN invocations AS own ON own.request_id = rated.request_id
    WHERE (rated.rating >= 0.5) = (:rating = 'up')))
  AND (instr(lower(coalesce(input_text, '')), lower(:search)) OR instr(lower(coalesce(output_text, '')), lower(:search))
       OR instr(lower(prompt_name), lower(:search)) OR instr(lower(coalesce(metadata, '')), lower(:search)))
ORDER BY id DESC
LIMIT coalesce(:limit, 50);

SELECT count(*) AS total FROM invocations WHERE request_id = :request AND status <> 'reserved';

-- How many calls there are; to count all rows, and those that are no calls, is quicker than to look at each.
SELECT (SELECT count(*) FROM invocations)
       - (SELECT count(*) FROM invocations INDEXED BY calls_reserved WHERE status = 'reserved') AS total;
