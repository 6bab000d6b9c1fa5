-- One recorded call with its texts and all that was measured, then what people said of its request.
SELECT id, created_at, prompt_name, prompt_version, request_id, input_text, output_text, metadata
FROM invocations
WHERE id = :id AND status <> 'reserved';

SELECT rating, comment, source, created_at FROM feedback WHERE request_id = :request ORDER BY id LIMIT 100;
