-- Every prompt, the latest changed first: its latest version, how many it has, and which version each tag stands on.
WITH tested AS MATERIALIZED (
    SELECT prompt_name, count(*) AS runs FROM eval_runs WHERE prompt_name IS NOT NULL GROUP BY prompt_name
)
SELECT name,
       (SELECT version FROM prompts AS other WHERE other.name = own.name
        ORDER BY CASE WHEN json_extract(metadata, '$.promptry.current_at') GLOB '[0-9][0-9][0-9][0-9]-*'
        THEN json_extract(metadata, '$.promptry.current_at') ELSE created_at END DESC, version DESC LIMIT 1) AS latest,
       count(*) AS versions,
       (SELECT json_group_object(tag, version) FROM prompt_tags JOIN prompts AS tagged ON tagged.id = prompt_id
        WHERE tagged.name = own.name) AS tags,
       max(CASE WHEN json_extract(metadata, '$.promptry.current_at') GLOB '[0-9][0-9][0-9][0-9]-*'
        THEN json_extract(metadata, '$.promptry.current_at') ELSE created_at END) AS current_at,
       coalesce((SELECT runs FROM tested WHERE prompt_name = own.name), 0) AS runs,
       (SELECT count(*) FROM invocations INDEXED BY calls_by_prompt WHERE prompt_name = own.name)
       - (SELECT count(*) FROM invocations INDEXED BY calls_reserved
          WHERE status = 'reserved' AND prompt_name = own.name) AS calls
FROM prompts AS own
GROUP BY name
ORDER BY current_at DESC, name
LIMIT coalesce(:limit, 50) OFFSET coalesce(:offset, 0);

SELECT count(DISTINCT name) AS total FROM prompts;

-- What changes whenever a version is saved or becomes the latest, or a tag moves.
SELECT (SELECT count(*) FROM prompts) AS versions, (SELECT json_group_array(json_array(prompt_id, tag)) FROM prompt_tags) AS tags,
       (SELECT max(json_extract(metadata, '$.promptry.current_at')) FROM prompts) AS current_at;
