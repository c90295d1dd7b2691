-- The patch between two documents.

CREATE FUNCTION asynx.json_diff(source jsonb, target jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'asynx_json_diff'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION asynx.json_diff(jsonb, jsonb) IS
'A short RFC 6902 patch that turns source into target byte for byte; [] if they are the same';
