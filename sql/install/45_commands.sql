-- Commands.

CREATE FUNCTION asynx.create_command(
    name text, aggregate_type text, event_name text, emit text, validate text DEFAULT NULL,
    snapshot boolean DEFAULT false)
  RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_create_command'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.create_command(text, text, text, text, text, boolean) IS
  'Registers a command. emit(current jsonb, payload jsonb) returns the new state, validate(current, payload) rejects by raising, by a text or by false; both IMMUTABLE, not STRICT, and owned by a role whose privileges the caller has. They run as that role.';

CREATE FUNCTION asynx.drop_command(name text) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_drop_command'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.drop_command(text) IS
  'Drops a command. Its functions and the events it brought about stay.';

CREATE FUNCTION asynx.send(
    command text, aggregate_id text, payload jsonb DEFAULT '{}', metadata jsonb DEFAULT NULL,
    expected_version bigint DEFAULT NULL, id uuid DEFAULT NULL)
  RETURNS asynx.event
  AS 'MODULE_PATHNAME', 'asynx_send'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.send(text, text, jsonb, jsonb, bigint, uuid) IS
  'Carries out a command on an aggregate and returns its event. Serial per aggregate. Repeated with the same id it writes nothing and returns the stored event.';

CREATE FUNCTION asynx.send_many(commands jsonb) RETURNS SETOF asynx.event
  AS 'MODULE_PATHNAME', 'asynx_send_many'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.send_many(jsonb) IS
  'Carries out an array of commands, objects with the names of send()''s parameters, in its order, all or none. All their aggregates are locked first, in an order that cannot deadlock.';
