-- The ratings and comments, newest first, with the newest call of the request, also where that came later.
WITH joined AS (
    SELECT feedback.id, feedback.created_at, feedback.request_id, feedback.rating, feedback.comment, feedback.source,
           feedback.prompt_name AS told_name,
           (SELECT max(id) FROM invocations AS calls
            WHERE calls.request_id = feedback.request_id AND calls.status <> 'reserved') AS call_id
    FROM feedback
)
SELECT joined.id, joined.created_at, joined.request_id, coalesce(told_name, calls.prompt_name) AS prompt_name,
       calls.prompt_version, calls.model, rating, comment, source, CAST(call_id AS TEXT) AS call_id
FROM joined LEFT JOIN invocations AS calls ON calls.id = call_id
WHERE (:prompt IS NULL OR coalesce(told_name, calls.prompt_name) = :prompt) AND (:before IS NULL OR joined.id < :before)
  AND (:max_rating IS NULL OR rating <= :max_rating)
ORDER BY joined.id DESC
LIMIT coalesce(:limit, 50);

SELECT count(*) AS total
FROM feedback
WHERE (:prompt IS NULL OR :prompt = coalesce(prompt_name, (
        SELECT calls.prompt_name FROM invocations AS calls
        WHERE calls.request_id = feedback.request_id AND calls.status <> 'reserved' ORDER BY calls.id DESC LIMIT 1)))
  AND (:max_rating IS NULL OR rating <= :max_rating);
