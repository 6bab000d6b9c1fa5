-- One version of a dataset (the newest where none is asked for), then all its versions.
SELECT name, version, items, metadata, created_at
FROM datasets
WHERE name = :name AND (:version IS NULL OR version = :version)
ORDER BY version DESC
LIMIT 1;

SELECT version, json_array_length(items) AS items, json_extract(metadata, '$.promptry.hash') AS hash, created_at
FROM datasets
WHERE name = :name
ORDER BY version DESC;
