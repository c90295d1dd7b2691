-- Subscriptions and hooks.

CREATE FUNCTION asynx.subscribe(
    pattern text, handler text DEFAULT NULL, name text DEFAULT NULL, fallback text DEFAULT NULL,
    timeout interval DEFAULT NULL, mode text DEFAULT 'async', channel text DEFAULT NULL,
    start_at bigint DEFAULT NULL, partitions integer DEFAULT 1, max_attempts integer DEFAULT 1,
    retry_delay interval DEFAULT '1 s', on_failure text DEFAULT NULL)
  RETURNS text
  AS 'MODULE_PATHNAME', 'asynx_subscribe'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.subscribe(text, text, text, text, interval, text, text, bigint, integer, integer, interval, text) IS
  'Registers a handler for events whose names match a pattern and returns the subscription''s name. Mode inline: it runs in the writer''s transaction, as the owner of the function; on_failure is stop (the write is refused) or continue. The same call again changes nothing.';

CREATE FUNCTION asynx.unsubscribe(id text) RETURNS boolean
  AS 'MODULE_PATHNAME', 'asynx_unsubscribe'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.unsubscribe(text) IS
  'Removes a subscription or a hook with its failures; was there one?';

CREATE FUNCTION asynx.on_forget(handler text) RETURNS text
  AS 'MODULE_PATHNAME', 'asynx_on_forget'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.on_forget(text) IS
  'Registers f(asynx.event), run when an aggregate is to be forgotten, with its last state; what it raises prevents it. Returns the hook''s name.';

CREATE FUNCTION asynx.on_panic(handler text) RETURNS text
  AS 'MODULE_PATHNAME', 'asynx_on_panic'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.on_panic(text) IS
  'Registers f(asynx.event, error jsonb), run when a handler failed. Returns the hook''s name.';

CREATE FUNCTION asynx.on_timeout(handler text) RETURNS text
  AS 'MODULE_PATHNAME', 'asynx_on_timeout'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.on_timeout(text) IS
  'Registers f(asynx.event, timeout interval), run when a handler took longer than its timeout. Returns the hook''s name.';

CREATE FUNCTION asynx.on_publish_error(handler text) RETURNS text
  AS 'MODULE_PATHNAME', 'asynx_on_publish_error'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.on_publish_error(text) IS
  'Registers f(asynx.event, error jsonb), run when an event could not be handed on. Returns the hook''s name.';

CREATE FUNCTION asynx.on_corruption(handler text) RETURNS text
  AS 'MODULE_PATHNAME', 'asynx_on_corruption'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.on_corruption(text) IS
  'Registers f(aggregate_id text, error jsonb), run when a snapshot cannot be read. Returns the hook''s name.';

-- Forgetting.

CREATE FUNCTION asynx.forget(aggregate_id text) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_forget'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.forget(text) IS
  'Forgets an aggregate: hooks and inline subscriptions get its last state, then its events, snapshot and failures go, and a tombstone without state takes its place in the feed.';

CREATE FUNCTION asynx.purge_tombstones(before timestamptz) RETURNS bigint
  AS 'MODULE_PATHNAME', 'asynx_purge_tombstones'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.purge_tombstones(timestamptz) IS
  'Deletes the tombstones of aggregates that were forgotten before a time; returns how many.';
