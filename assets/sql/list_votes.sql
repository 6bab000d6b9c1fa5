-- The votes on responses, newest first.
SELECT id, created_at, prompt_name, prompt_version, score, message, response, metadata
FROM votes
WHERE (:prompt IS NULL OR prompt_name = :prompt) AND (:score IS NULL OR score = :score)
  AND (:before IS NULL OR id < :before)
ORDER BY id DESC
LIMIT coalesce(:limit, 50);

SELECT count(*) AS total
FROM votes
WHERE (:prompt IS NULL OR prompt_name = :prompt) AND (:score IS NULL OR score = :score);
