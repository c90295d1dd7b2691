-- State: folds of the log.

CREATE FUNCTION asynx.get(aggregate_id text) RETURNS jsonb
  AS 'MODULE_PATHNAME', 'asynx_get'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.get(text) IS
  'The current state of an aggregate; aggregate_not_found (SX001) if it does not exist.';

CREATE FUNCTION asynx.get(aggregate_id text, version bigint) RETURNS jsonb
  AS 'MODULE_PATHNAME', 'asynx_get_version'
  LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION asynx.get(text, bigint) IS
  'The state of an aggregate at a version; NULL at version 0.';

CREATE FUNCTION asynx.get_at(aggregate_id text, at timestamptz) RETURNS jsonb
  AS 'MODULE_PATHNAME', 'asynx_get_at'
  LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION asynx.get_at(text, timestamptz) IS
  'The state of an aggregate at the highest version that occurred at or before a time; NULL before the first.';

CREATE FUNCTION asynx.exists(aggregate_id text) RETURNS boolean
  AS 'MODULE_PATHNAME', 'asynx_exists'
  LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION asynx.exists(text) IS 'Has the aggregate any event?';

CREATE FUNCTION asynx.aggregates(
    aggregate_type text DEFAULT NULL, after text DEFAULT NULL, count integer DEFAULT 100)
  RETURNS TABLE (aggregate_id text, aggregate_type text, version bigint, occurred_at timestamptz)
  AS 'MODULE_PATHNAME', 'asynx_aggregates'
  LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION asynx.aggregates(text, text, integer) IS
  'A page of aggregates, all or those of one type, by id: at most count after an id, each with its current version. Cheap however long the streams are.';

CREATE FUNCTION asynx.preload(aggregate_id text) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_preload'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.preload(text) IS
  'Pays the cold replay of an aggregate now and leaves a snapshot, if its lock is free and the transaction may write. An unknown id is no error.';

CREATE FUNCTION asynx.replay(
    aggregate_id text, from_version bigint DEFAULT 0, to_version bigint DEFAULT 0)
  RETURNS SETOF asynx.event
  AS 'MODULE_PATHNAME', 'asynx_replay'
  LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION asynx.replay(text, bigint, bigint) IS
  'The events from one version to another, both included, with the states after and before each; 0 = the end. Never writes.';

-- Aggregate types.

CREATE FUNCTION asynx.create_aggregate_type(
    name text, schema_version integer DEFAULT 1, seed jsonb DEFAULT NULL,
    snapshot_every integer DEFAULT 0)
  RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_create_aggregate_type'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.create_aggregate_type(text, integer, jsonb, integer) IS
  'Creates an aggregate type. The seed is fixed: it is the document that the patch of version 1 is applied to.';

CREATE FUNCTION asynx.alter_aggregate_type(
    name text, schema_version integer DEFAULT NULL, snapshot_every integer DEFAULT NULL)
  RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_alter_aggregate_type'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.alter_aggregate_type(text, integer, integer) IS
  'Raises the schema version of a type or changes how often snapshots are taken; NULL leaves a value as it is.';

CREATE FUNCTION asynx.drop_aggregate_type(name text) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_drop_aggregate_type'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.drop_aggregate_type(text) IS
  'Drops an aggregate type; refused while it has events.';

-- Writing states.

CREATE FUNCTION asynx.write(
    aggregate_id text, event_name text, state jsonb, expected_version bigint DEFAULT NULL,
    aggregate_type text DEFAULT NULL, metadata jsonb DEFAULT NULL, id uuid DEFAULT NULL,
    snapshot boolean DEFAULT false)
  RETURNS asynx.event
  AS 'MODULE_PATHNAME', 'asynx_write'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.write(text, text, jsonb, bigint, text, jsonb, uuid, boolean) IS
  'Makes a state the current one and stores the difference as an event. Serial per aggregate. Repeated with the same id it writes nothing and returns the stored event.';

