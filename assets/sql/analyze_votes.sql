-- The votes on a prompt by version, the newest version first.
SELECT prompt_version AS version, count(*) AS votes, sum(score = 1) AS up, sum(score = -1) AS down,
       1.0 * sum(score = -1) / count(*) AS down_share, max(created_at) AS last_at
FROM votes
WHERE prompt_name = :name AND created_at >= coalesce(:since, date('now', '-29 days'))
GROUP BY prompt_version
ORDER BY prompt_version DESC;

-- What was said with the down votes, and what they were about: words are counted over these rows.
SELECT id, prompt_version AS version, message, response, created_at
FROM votes
WHERE prompt_name = :name AND score = -1 AND created_at >= coalesce(:since, date('now', '-29 days'))
ORDER BY id DESC
LIMIT 500;
