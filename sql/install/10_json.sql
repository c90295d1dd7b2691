-- JSON patches and pointers.  No table is touched; the functions are usable on their own.

CREATE FUNCTION asynx.json_patch(document jsonb, patch jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'asynx_json_patch'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION asynx.json_patch(jsonb, jsonb) IS
'Applies an RFC 6902 JSON Patch to a document, all of it or (with an error) nothing';

CREATE FUNCTION asynx.json_pointer(document jsonb, pointer text)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'asynx_json_pointer'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION asynx.json_pointer(jsonb, text) IS
'The value that an RFC 6901 JSON Pointer leads to, NULL where nothing is there';

CREATE FUNCTION asynx.json_patch_agg_transition(state internal, patch jsonb)
RETURNS internal
AS 'MODULE_PATHNAME', 'asynx_json_patch_agg_transition'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION asynx.json_patch_agg_transition(internal, jsonb) IS
'Transition function of asynx.json_patch_agg: applies one more patch';

CREATE FUNCTION asynx.json_patch_agg_final(state internal)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'asynx_json_patch_agg_final'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION asynx.json_patch_agg_final(internal) IS
'Final function of asynx.json_patch_agg: the document so far';

CREATE AGGREGATE asynx.json_patch_agg(patch jsonb)
(
    SFUNC = asynx.json_patch_agg_transition,
    STYPE = internal,
    SSPACE = 65536,
    FINALFUNC = asynx.json_patch_agg_final,
    FINALFUNC_MODIFY = READ_ONLY,
    PARALLEL = SAFE
);

COMMENT ON AGGREGATE asynx.json_patch_agg(jsonb) IS
'Folds patches onto a null document, in the order of ORDER BY; NULL patches are skipped, without any the result is NULL';
