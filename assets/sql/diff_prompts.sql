-- The two texts that diff_prompts compares.
SELECT version, content FROM prompts WHERE name = :name AND version IN (:old, :new) ORDER BY version;
