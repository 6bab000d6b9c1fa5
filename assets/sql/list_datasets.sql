-- Every dataset with its newest version; those under promptry/ are promptry's own.
SELECT name, max(version) AS version, count(*) AS versions, json_array_length(items) AS items, created_at
FROM datasets
WHERE name NOT GLOB 'promptry/*'
GROUP BY name
ORDER BY created_at DESC, name
LIMIT coalesce(:limit, 50) OFFSET coalesce(:offset, 0);

SELECT count(DISTINCT name) AS total FROM datasets WHERE name NOT GLOB 'promptry/*';
