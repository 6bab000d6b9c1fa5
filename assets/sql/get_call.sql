-- One recorded call with its texts and all that was measured.
SELECT id, created_at, prompt_name, prompt_version, request_id, input_text, output_text, metadata
FROM invocations
WHERE id = :id;
