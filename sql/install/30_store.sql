-- Store: what a Go Store and SnapshotStore offer.

CREATE FUNCTION asynx.append(
    aggregate_id text, version bigint, event_name text, patch jsonb,
    aggregate_type text DEFAULT NULL, metadata jsonb DEFAULT NULL, id uuid DEFAULT NULL,
    occurred_at timestamptz DEFAULT NULL, schema_version integer DEFAULT NULL)
  RETURNS asynx.stored_event
  AS 'MODULE_PATHNAME', 'asynx_append'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.append(text, bigint, text, jsonb, text, jsonb, uuid, timestamptz, integer) IS
  'Stores one event. The version must be the last one + 1; the patch is checked to be well formed, not applied. Repeated with the same id and content it writes nothing and returns the stored event.';

CREATE FUNCTION asynx.append_many(events jsonb) RETURNS bigint
  AS 'MODULE_PATHNAME', 'asynx_append_many'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.append_many(jsonb) IS
  'Stores an array of events, objects with the names of append()''s parameters, all or nothing. Returns how many it stored; repetitions are not counted.';

CREATE FUNCTION asynx.read_from(aggregate_id text, from_version bigint)
  RETURNS SETOF asynx.stored_event
  AS 'MODULE_PATHNAME', 'asynx_read_from'
  LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION asynx.read_from(text, bigint) IS
  'The events of an aggregate from a version on, ascending; 0 = from the first.';

CREATE FUNCTION asynx.read_range(aggregate_id text, from_version bigint, count bigint)
  RETURNS SETOF asynx.stored_event
  AS 'MODULE_PATHNAME', 'asynx_read_range'
  LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION asynx.read_range(text, bigint, bigint) IS
  'At most count events of an aggregate from a version on, ascending.';

CREATE FUNCTION asynx.read_all(after_position bigint, count bigint, pattern text DEFAULT NULL)
  RETURNS SETOF asynx.stored_event
  AS 'MODULE_PATHNAME', 'asynx_read_all'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.read_all(bigint, bigint, text) IS
  'The feed: at most count events after a position, whose names match the pattern, never past the safe position. Who goes on from the last position returned misses nothing.';

CREATE FUNCTION asynx.count(aggregate_id text, from_version bigint) RETURNS bigint
  AS 'MODULE_PATHNAME', 'asynx_count'
  LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION asynx.count(text, bigint) IS
  'How many events an aggregate has from a version on; 0 = from the first.';

CREATE FUNCTION asynx.delete(aggregate_id text) RETURNS bigint
  AS 'MODULE_PATHNAME', 'asynx_delete'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.delete(text) IS
  'Erases the events and the snapshot of an aggregate; returns how many events went, 0 if there were none.';

CREATE FUNCTION asynx.put_snapshot(aggregate_id text, version bigint, state jsonb) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_put_snapshot'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.put_snapshot(text, bigint, jsonb) IS
  'Keeps a state as the aggregate''s snapshot, if it is the one that the events give at that version. A newer snapshot stays.';

CREATE FUNCTION asynx.get_snapshot(aggregate_id text) RETURNS SETOF asynx.snapshots
  AS 'MODULE_PATHNAME', 'asynx_get_snapshot'
  LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION asynx.get_snapshot(text) IS 'The snapshot of an aggregate; no row if it has none.';

CREATE FUNCTION asynx.delete_snapshot(aggregate_id text) RETURNS boolean
  AS 'MODULE_PATHNAME', 'asynx_delete_snapshot'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.delete_snapshot(text) IS
  'Deletes the snapshot of an aggregate; was there one?';

-- The safe position.

CREATE FUNCTION asynx.safe_position() RETURNS bigint
  AS 'MODULE_PATHNAME', 'asynx_safe_position'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.safe_position() IS
  'The position at and below which no event can still appear. For monitoring; to read the feed use read_all(): a statement that compares positions with this function''s result has an older snapshot, and loses events.';

CREATE FUNCTION asynx.feed_holders(OUT pid integer, OUT since timestamptz, OUT "position" bigint)
  RETURNS SETOF record
  AS 'MODULE_PATHNAME', 'asynx_feed_holders'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.feed_holders() IS
  'The backends whose open transactions hold the safe position back; see asynx.feed_status.';

CREATE VIEW asynx.feed_status AS
  SELECT h.pid, h.since, h.position FROM asynx.feed_holders() h ORDER BY h.position;
COMMENT ON VIEW asynx.feed_status IS
  'Who holds the safe position back: transactions that have appended and not ended. The safe position is below the lowest.';
COMMENT ON COLUMN asynx.feed_status.pid IS 'The backend, as in pg_stat_activity.';
COMMENT ON COLUMN asynx.feed_status.since IS 'When its transaction began.';
COMMENT ON COLUMN asynx.feed_status.position IS 'Its first position; nothing from there on is handed out.';

