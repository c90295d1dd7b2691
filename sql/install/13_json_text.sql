-- JSON patches for who has text and wants text.

CREATE FUNCTION asynx.json_patch_text(document text, patch text)
RETURNS text
AS 'MODULE_PATHNAME', 'asynx_json_patch_text'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION asynx.json_patch_text(text, text) IS
'Like asynx.json_patch(document::jsonb, patch::jsonb)::text, and faster';

CREATE FUNCTION asynx.json_diff_text(source text, target text)
RETURNS text
AS 'MODULE_PATHNAME', 'asynx_json_diff_text'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION asynx.json_diff_text(text, text) IS
'Like asynx.json_diff(source::jsonb, target::jsonb)::text, and faster';
