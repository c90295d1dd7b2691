-- asynx.append(): one event, at the next version of its aggregate
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- Which SQLSTATE, message and detail a statement ends with.
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  detail text;
BEGIN
  EXECUTE statement;
  RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
  RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''));
END $$;

-- The stored event comes back; what was left out has been filled in.
SELECT aggregate_id, version, event_name, patch, aggregate_type, schema_version, metadata,
       id IS NOT NULL AS has_id, position > 0 AS has_position,
       occurred_at BETWEEN now() AND clock_timestamp() AS occurred_now
FROM asynx.append('append-1', 1, 'order.created', '[{"op":"add","path":"","value":{"total":0}}]');

-- Everything can be said by the caller.
SELECT aggregate_id, version, event_name, patch, aggregate_type, metadata, id, occurred_at, schema_version
FROM asynx.append('append-1', 2, 'order.paid', '[{"op":"replace","path":"/total","value":5}]',
                  aggregate_type => 'default', metadata => '{"user":"ann"}',
                  id => '00000000-0000-4000-8000-000000000002',
                  occurred_at => '2001-02-03 04:05:06.789+00', schema_version => 7);

-- What comes back is what is stored, and positions ascend with versions.
SELECT asynx.append('append-1', 3, 'order.closed', '[]') AS returned \gset
SELECT :'returned'::asynx.stored_event = stored AS same FROM asynx.read_from('append-1', 3) AS stored;
SELECT version, event_name, position > lag(position) OVER (ORDER BY version) AS ascends
FROM asynx.read_from('append-1', 0);

-- The version must be the last one + 1.
SELECT version, pg_temp.outcome(format($$SELECT asynx.append('append-1', %s, 'e', '[]')$$, version))
FROM unnest(ARRAY[1, 3, 5, 9223372036854775807]) AS version;
SELECT pg_temp.outcome($$SELECT asynx.append('append-none', 2, 'e', '[]')$$) AS of_an_unknown_aggregate;
SELECT asynx.append('append-1', 3, 'order.closed', '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.append('append-1', 9, 'order.closed', '[]');
\echo :LAST_ERROR_SQLSTATE

-- Repeating it with the same id and the same content writes nothing and returns the stored event.
SELECT count(*) AS events, count(DISTINCT a) AS different
FROM generate_series(1, 3),
     LATERAL asynx.append('append-1', 2, 'order.paid', '[{"op":"replace","path":"/total","value":5}]',
                          metadata => '{"user":"ann"}', id => '00000000-0000-4000-8000-000000000002') AS a;
SELECT asynx.count('append-1', 0) AS events;

-- The same id with other content is a conflict, whatever differs.
SELECT difference, pg_temp.outcome(format($$SELECT asynx.append('append-1', 2, %s,
  id => '00000000-0000-4000-8000-000000000002')$$, arguments)) AS outcome
FROM (VALUES
  ('nothing', $$'order.paid', '[{"op":"replace","path":"/total","value":5}]', 'default', '{"user":"ann"}', occurred_at => '2001-02-03 04:05:06.789+00', schema_version => 7$$),
  ('name', $$'order.sold', '[{"op":"replace","path":"/total","value":5}]', metadata => '{"user":"ann"}'$$),
  ('patch', $$'order.paid', '[{"op":"replace","path":"/total","value":6}]', metadata => '{"user":"ann"}'$$),
  ('written number', $$'order.paid', '[{"op":"replace","path":"/total","value":5.0}]', metadata => '{"user":"ann"}'$$),
  ('metadata', $$'order.paid', '[{"op":"replace","path":"/total","value":5}]', metadata => '{"user":"bob"}'$$),
  ('no metadata', $$'order.paid', '[{"op":"replace","path":"/total","value":5}]'$$),
  ('type', $$'order.paid', '[{"op":"replace","path":"/total","value":5}]', 'append other type', '{"user":"ann"}'$$),
  ('time', $$'order.paid', '[{"op":"replace","path":"/total","value":5}]', metadata => '{"user":"ann"}', occurred_at => '2001-02-03 04:05:06.788+00'$$),
  ('schema version', $$'order.paid', '[{"op":"replace","path":"/total","value":5}]', metadata => '{"user":"ann"}', schema_version => 8$$)
) AS t (difference, arguments);
-- So is another id, or none, with the same content.
SELECT pg_temp.outcome($$SELECT asynx.append('append-1', 3, 'order.closed', '[]')$$) AS no_id,
       pg_temp.outcome($$SELECT asynx.append('append-1', 3, 'order.closed', '[]',
                         id => '00000000-0000-4000-8000-000000000002')$$) AS other_id;

-- The patch must be well formed; it is not applied.
SELECT patch, pg_temp.outcome(format($$SELECT asynx.append('append-1', 4, 'e', %L)$$, patch)) AS outcome
FROM unnest(ARRAY['{}', 'null', '"add"', '1', '[1]', '[{}]', '[{"op":"add"}]', '[{"op":"jump","path":""}]',
                  '[{"op":"add","path":"/a"}]', '[{"op":"add","path":"a","value":1}]',
                  '[{"op":"add","path":"/~2","value":1}]', '[{"op":"move","path":"/a"}]',
                  '[{"op":"move","from":"/a","path":"/a/b"}]', '[{"op":"remove","path":""}]',
                  '[{"op":1,"path":""}]', '[{"op":"add","path":1,"value":1}]']) AS patch;
SELECT version FROM asynx.append('append-unfit', 1, 'e', '[{"op":"remove","path":"/nowhere"}]');
SELECT asynx.get('append-unfit');
\echo :LAST_ERROR_SQLSTATE

-- The first event decides the type of the stream, all others inherit it.
SELECT FROM asynx.create_aggregate_type('append type', schema_version => 4);
SELECT version, aggregate_type, schema_version
FROM asynx.append('append-typed', 1, 'e', '[]', aggregate_type => 'append type');
SELECT version, aggregate_type, schema_version FROM asynx.append('append-typed', 2, 'e', '[]');
SELECT version, aggregate_type, schema_version
FROM asynx.append('append-typed', 3, 'e', '[]', 'append type', schema_version => 1);
SELECT asynx.append('append-typed', 4, 'e', '[]', aggregate_type => 'default');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.append('append-untyped', 1, 'e', '[]', aggregate_type => 'append no such type');
\echo :LAST_ERROR_SQLSTATE

-- Required arguments are required; ids have 1 to 1000 bytes, names 1 to 200, neither is blank.
SELECT arguments, pg_temp.outcome(format('SELECT asynx.append(%s)', arguments)) AS outcome
FROM unnest(ARRAY[
  $$NULL, 1, 'e', '[]'$$, $$'append-2', NULL, 'e', '[]'$$, $$'append-2', 1, NULL, '[]'$$,
  $$'append-2', 1, 'e', NULL$$, $$'', 1, 'e', '[]'$$, $$E' \t\r\n', 1, 'e', '[]'$$,
  $$'append-2', 0, 'e', '[]'$$, $$'append-2', -1, 'e', '[]'$$, $$'append-2', 1, '', '[]'$$,
  $$'append-2', 1, '   ', '[]'$$, $$'append-2', 1, 'asynx.e', '[]'$$,
  $$'append-2', 1, 'e', '[]', ''$$, $$'append-2', 1, 'e', '[]', 'asynx.type'$$,
  $$'append-2', 1, 'e', '[]', occurred_at => 'infinity'$$,
  $$'append-2', 1, 'e', '[]', occurred_at => '-infinity'$$,
  $$'append-2', 1, 'e', '[]', schema_version => 0$$,
  $$'append-2', 1, 'e', '[]', schema_version => -1$$]) AS arguments;
SELECT what, bytes, pg_temp.outcome(format('SELECT asynx.append(%L, 1, %L, ''[]'')',
         CASE what WHEN 'id' THEN rpad('append-', bytes, 'x') ELSE 'append-' || bytes END,
         CASE what WHEN 'name' THEN rpad('n', bytes, 'x') ELSE 'e' END)) AS outcome
FROM (VALUES ('id', 1000), ('id', 1001), ('name', 200), ('name', 201)) AS t (what, bytes);
-- Bytes are what counts, and a message never cuts a character in two.
SELECT pg_temp.outcome(format('SELECT asynx.append(%L, 1, ''e'', ''[]'')', repeat('€', 334))) AS outcome;

-- Ids and names are compared as bytes, and hold any character.
SELECT e.aggregate_id, e.event_name
FROM unnest(ARRAY['append é', 'append e', 'append E', 'append ''"\%s', E'append\n2']) AS id,
     LATERAL asynx.append(id, 1, id, '[]') AS e;

-- A session knows what it appended itself, but not what it gave back or what was erased.
SELECT version FROM asynx.append('append-tip', 1, 'e', '[]');
BEGIN;
SELECT version FROM asynx.append('append-tip', 2, 'e', '[]');
SAVEPOINT before_three;
SELECT version FROM asynx.append('append-tip', 3, 'e', '[]');
ROLLBACK TO before_three;
SELECT version FROM asynx.append('append-tip', 4, 'e', '[]');
ROLLBACK;
SELECT version FROM asynx.append('append-tip', 3, 'e', '[]');
SELECT version FROM asynx.append('append-tip', 2, 'e', '[]');
SELECT asynx.append('append-tip', 3, 'e', '[]', 'another type');
SELECT asynx.delete('append-tip');
SELECT asynx.append('append-tip', 3, 'e', '[]');
-- Also when somebody erases without asynx: only a superuser can, and only by going around the guard.
SELECT version FROM asynx.append('append-tip', 1, 'e', '[]');
SET session_replication_role = replica;
DELETE FROM asynx.events WHERE aggregate_id = 'append-tip';
RESET session_replication_role;
SELECT asynx.append('append-tip', 2, 'e', '[]');
SELECT version FROM asynx.append('append-tip', 1, 'e', '[]');
BEGIN;
SET LOCAL session_replication_role = replica;
TRUNCATE asynx.events;
SELECT asynx.append('append-tip', 2, 'e', '[]');
ROLLBACK;
SELECT version FROM asynx.append('append-tip', 2, 'e', '[]');
-- Or by taking the guard away, in a batch with other changes.
CREATE TEMP TABLE changed();
ALTER TABLE asynx.events DISABLE TRIGGER ALL;
DELETE FROM asynx.events WHERE aggregate_id = 'append-tip';
ALTER TABLE asynx.events ENABLE TRIGGER ALL;
ALTER TABLE asynx.events ENABLE ALWAYS TRIGGER events_changed, ENABLE ALWAYS TRIGGER events_truncated;
SELECT asynx.append('append-tip', 3, 'e', '[]');
SELECT asynx.events_changed();
-- A trigger of the log's may append too, also so much that nothing is remembered of what it was called for.
CREATE FUNCTION pg_temp.echo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM asynx.append('append-echo-' || i, 1, 'echo', '[]') FROM generate_series(1, 2000) AS i;
  RETURN new;
END $$;
SELECT FROM asynx.create_aggregate_type('append called');
SELECT version FROM asynx.append('append-called', 1, 'e', '[]', 'append called');
CREATE TRIGGER echo BEFORE INSERT ON asynx.events FOR EACH ROW WHEN (new.event_name = 'call') EXECUTE FUNCTION pg_temp.echo();
SELECT version, aggregate_type FROM asynx.append('append-called', 2, 'call', '[]');
DROP TRIGGER echo ON asynx.events;
SELECT version, aggregate_type FROM asynx.read_from('append-called', 0);
