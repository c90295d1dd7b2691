-- Lifecycle of the store.

CREATE FUNCTION asynx.lifecycle_state() RETURNS text
  AS 'MODULE_PATHNAME', 'asynx_lifecycle_state'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.lifecycle_state() IS
  'running, draining, stopped, or dormant: a restored copy with subscriptions, in which no handler runs until asynx.resume().';

CREATE FUNCTION asynx.resume() RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_resume'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.resume() IS
  'Lets the store run, after a shutdown or after a restore.';

