-- One version of a prompt, then all its versions with their tags.
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
