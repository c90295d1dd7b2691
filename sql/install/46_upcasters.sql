-- Upcasters.

CREATE FUNCTION asynx.create_upcaster(aggregate_type text, from_version integer, function text)
  RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_create_upcaster'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.create_upcaster(text, integer, text) IS
  'Registers a function f(event_name text, patch jsonb) returning jsonb that brings patches of a type from one schema version to the next; IMMUTABLE, not STRICT, and owned by a role whose privileges the caller has. It runs as that role.';

CREATE FUNCTION asynx.drop_upcaster(aggregate_type text, from_version integer) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_drop_upcaster'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.drop_upcaster(text, integer) IS
  'Drops an upcaster; patches of that schema version are then left as they are at this step.';
