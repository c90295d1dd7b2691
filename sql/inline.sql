-- inline subscriptions: handlers in the writer's transaction
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE SCHEMA inline_app;
CREATE TABLE inline_app.seen (n int GENERATED ALWAYS AS IDENTITY, who text, event text, aggregate_id text, version bigint, state jsonb, previous jsonb);
CREATE FUNCTION inline_app.note(e asynx.event) RETURNS void LANGUAGE sql AS $$
  INSERT INTO inline_app.seen (who, event, aggregate_id, version, state, previous)
  VALUES ('note', e.event_name, e.aggregate_id, e.version, e.aggregate, e.previous_aggregate)
$$;
CREATE FUNCTION inline_app.note_all(e asynx.event[]) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO inline_app.seen (who, event, aggregate_id, version, state, previous)
  SELECT 'note_all', x.event_name, x.aggregate_id, x.version, x.aggregate, x.previous_aggregate FROM unnest(e) AS x;
  RETURN cardinality(e);
END $$;
CREATE FUNCTION inline_app.note_stored(e asynx.stored_event) RETURNS void LANGUAGE sql AS $$
  INSERT INTO inline_app.seen (who, event, aggregate_id, version, state) VALUES ('note_stored', e.event_name, e.aggregate_id, e.version, e.patch)
$$;
CREATE FUNCTION inline_app.note_stored_all(e asynx.stored_event[]) RETURNS void LANGUAGE sql AS $$
  INSERT INTO inline_app.seen (who, event, aggregate_id, version, state)
  SELECT 'note_stored_all', x.event_name, x.aggregate_id, x.version, x.patch FROM unnest(e) AS x
$$;
CREATE FUNCTION inline_app.put(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce(current, '{}') || payload $$;
SELECT FROM asynx.create_aggregate_type('inline thing', seed => '{"seed": true}');
SELECT FROM asynx.create_command('inline.put', 'inline thing', 'inline.put', 'inline_app.put');

-- Registered: the name is given or made up; the same again is no change; another definition is refused.
SELECT asynx.subscribe('inline\..*', 'inline_app.note', 'inline_note', mode => 'inline');
SELECT asynx.subscribe('inline\..*', 'inline_app.note(asynx.event)', 'inline_note', mode => 'inline');
SELECT asynx.subscribe('inline.put', 'inline_app.note', 'inline_note', mode => 'inline');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.unsubscribe(asynx.subscribe('nothing', 'inline_app.note', mode => 'inline'));
SELECT asynx.unsubscribe('inline_unknown');
SELECT name, pattern, mode, handler, fallback, timeout, on_failure, state FROM asynx.subscriptions WHERE name LIKE 'inline%';
SELECT asynx.lifecycle_state();

-- All ways of writing run it, each with the states around the event.
SELECT version FROM asynx.send('inline.put', 'inline-1', '{"a": 1}');
SELECT version FROM asynx.write('inline-1', 'inline.written', '{"a": 2}');
SELECT version FROM asynx.append('inline-1', 3, 'inline.appended', '[{"op": "add", "path": "/b", "value": 3}]');
SELECT asynx.append_many('[{"aggregate_id": "inline-1", "version": 4, "event_name": "inline.many", "patch": [{"op": "remove", "path": "/a"}]},
  {"aggregate_id": "inline-2", "version": 1, "event_name": "inline.many", "patch": [{"op": "add", "path": "", "value": {"x": 1}}]},
  {"aggregate_id": "inline-1", "version": 5, "event_name": "inline.many", "patch": []},
  {"aggregate_id": "inline-2", "version": 2, "event_name": "other", "patch": []}]');
SELECT version FROM asynx.send_many('[{"command": "inline.put", "aggregate_id": "inline-3", "payload": {"a": 1}}, {"command": "inline.put", "aggregate_id": "inline-1"}]');
SELECT event, aggregate_id, version, state, previous FROM inline_app.seen ORDER BY n;

-- A repetition writes nothing, so nothing is run.
TRUNCATE inline_app.seen;
SELECT version FROM asynx.append('inline-4', 1, 'inline.once', '[]', id => '00000000-0000-0000-0000-000000000001');
SELECT version FROM asynx.append('inline-4', 1, 'inline.once', '[]', id => '00000000-0000-0000-0000-000000000001');
SELECT version FROM asynx.write('inline-4', 'inline.once', '1', id => '00000000-0000-0000-0000-000000000002');
SELECT version FROM asynx.write('inline-4', 'inline.once', '1', id => '00000000-0000-0000-0000-000000000002');
SELECT asynx.append_many('[{"aggregate_id": "inline-4", "version": 1, "event_name": "inline.once", "patch": [], "id": "00000000-0000-0000-0000-000000000001"}]');
SELECT version, state FROM inline_app.seen ORDER BY n;

-- What handlers take: events or stored events, one or arrays; of several functions of a name, the one with states.
TRUNCATE inline_app.seen;
SELECT asynx.unsubscribe('inline_note');
SELECT asynx.subscribe('inline.put', 'inline_app.note_all', 'inline_d', mode => 'inline'),
  asynx.subscribe('inline.put', 'inline_app.note_stored', 'inline_c', mode => 'inline'),
  asynx.subscribe('.*', 'inline_app.note_stored_all', 'inline_b', mode => 'inline'),
  asynx.subscribe(asynx.topic('inline.*'), 'inline_app.note', 'inline_a', mode => 'inline');
SELECT version FROM asynx.send('inline.put', 'inline-5', '{"a": 1}');
SELECT who, event, version, state, previous FROM inline_app.seen ORDER BY n;
SELECT asynx.unsubscribe(name) FROM unnest(ARRAY['inline_a', 'inline_b', 'inline_c', 'inline_d']) AS name;

-- It is part of the write: rolled back with it, and a rolled back subscription is none.
BEGIN;
SELECT asynx.subscribe('inline.put', 'inline_app.note', 'inline_gone', mode => 'inline');
TRUNCATE inline_app.seen;
SELECT version FROM asynx.send('inline.put', 'inline-5', '{"a": 2}');
SELECT count(*) FROM inline_app.seen;
ROLLBACK;
SELECT version FROM asynx.send('inline.put', 'inline-5', '{"a": 3}');
SELECT max(version) FROM inline_app.seen WHERE aggregate_id = 'inline-5';

-- stop, the default: the write is refused, and nothing of it remains.
CREATE FUNCTION inline_app.refuse(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO inline_app.seen (who) VALUES ('refuse');
  IF e.aggregate ->> 'raise' IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = e.aggregate ->> 'raise', MESSAGE = 'the handler says no';
  END IF;
END $$;
TRUNCATE inline_app.seen;
SELECT asynx.subscribe('inline\..*', 'inline_app.refuse', 'inline_refuse', mode => 'inline');
SELECT version FROM asynx.send('inline.put', 'inline-6', '{"raise": "P0001"}');
\echo :LAST_ERROR_SQLSTATE
SELECT version FROM asynx.append('inline-6', 1, 'inline.appended', '[{"op": "add", "path": "", "value": {"raise": "23505"}}]');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.append_many('[{"aggregate_id": "inline-6", "version": 1, "event_name": "inline.many", "patch": []},
  {"aggregate_id": "inline-6", "version": 2, "event_name": "inline.many", "patch": [{"op": "add", "path": "", "value": {"raise": "SX002"}}]}]');
\echo :LAST_ERROR_SQLSTATE
-- A serialization failure, a deadlock, a lock that was not available say: repeat the transaction.
SELECT version FROM asynx.send('inline.put', 'inline-6', '{"raise": "40001"}');
\echo :LAST_ERROR_SQLSTATE
SELECT version FROM asynx.send('inline.put', 'inline-6', '{"raise": "55P03"}');
\echo :LAST_ERROR_SQLSTATE
-- A patch that does not fit its state: append() does not apply it, but a handler that wants states cannot have them.
SELECT version FROM asynx.append('inline-6', 1, 'inline.appended', '[{"op": "remove", "path": "/nothing"}]');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.count('inline-6', 0), (SELECT count(*) FROM inline_app.seen), (SELECT count(*) FROM asynx.failures);
SELECT asynx.unsubscribe('inline_refuse');

-- continue: the event is stored, the handler's effects are undone, and the failure is recorded.
SELECT asynx.subscribe('inline\..*', 'inline_app.refuse', 'inline_continue', mode => 'inline', on_failure => 'continue');
SELECT version FROM asynx.send('inline.put', 'inline-7', '{"raise": "40001"}');
SELECT asynx.append_many('[{"aggregate_id": "inline-7", "version": 2, "event_name": "inline.many", "patch": []},
  {"aggregate_id": "inline-7", "version": 3, "event_name": "inline.many", "patch": [{"op": "remove", "path": "/raise"}]},
  {"aggregate_id": "inline-7", "version": 4, "event_name": "inline.many", "patch": [{"op": "remove", "path": "/raise"}]}]');
SELECT f.version, f.state, f.attempts, f.sqlstate, f.message, f.position = e.position AS same_position
FROM asynx.failures f JOIN asynx.events e ON e.aggregate_id = f.aggregate_id AND e.version = f.version ORDER BY f.version;
SELECT count(*) FROM inline_app.seen;
SELECT asynx.unsubscribe('inline_continue');
SELECT count(*) FROM asynx.failures;

-- The fallback gets the same event; only if it fails too, the policy decides.
CREATE FUNCTION inline_app.fall(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO inline_app.seen (who, version) VALUES ('fall', e.version);
  PERFORM 1 / (e.version - 2);
END $$;
TRUNCATE inline_app.seen;
SELECT asynx.subscribe('inline\..*', 'inline_app.refuse', 'inline_fall', 'inline_app.fall', mode => 'inline');
SELECT version FROM asynx.send('inline.put', 'inline-8', '{"raise": "P0001"}');
SELECT version FROM asynx.send('inline.put', 'inline-8');
\echo :LAST_ERROR_SQLSTATE
SELECT who, version FROM inline_app.seen ORDER BY n;
SELECT asynx.unsubscribe('inline_fall');

-- A timeout stops the handler, and one that swallows the cancel counts as timed out.
CREATE FUNCTION inline_app.sleep(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO inline_app.seen (who) VALUES ('sleep');
  PERFORM pg_sleep(600);
END $$;
CREATE FUNCTION inline_app.swallow(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO inline_app.seen (who) VALUES ('swallow');
  PERFORM pg_sleep(600);
EXCEPTION WHEN query_canceled THEN
  NULL;
END $$;
TRUNCATE inline_app.seen;
SELECT asynx.subscribe('inline.slow', 'inline_app.sleep', 'inline_sleep', timeout => '20 ms', mode => 'inline');
SELECT version FROM asynx.write('inline-9', 'inline.slow', '1');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.append_many('[{"aggregate_id": "inline-9", "version": 1, "event_name": "inline.slow", "patch": []}]');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.unsubscribe('inline_sleep');
SELECT asynx.subscribe('inline.slow', 'inline_app.swallow', 'inline_swallow', 'inline_app.note_stored', timeout => '20 ms', mode => 'inline');
SELECT version FROM asynx.write('inline-9', 'inline.slow', '1');
SELECT who FROM inline_app.seen;
-- The statement's own timeout is not the handler's.
SELECT asynx.unsubscribe('inline_swallow');
SELECT asynx.subscribe('inline.slow', 'inline_app.sleep', 'inline_sleep', timeout => '1 hour', mode => 'inline', on_failure => 'continue');
SET statement_timeout = '20 ms';
SELECT version FROM asynx.write('inline-9', 'inline.slow', '2');
\echo :LAST_ERROR_SQLSTATE
RESET statement_timeout;
SELECT asynx.unsubscribe('inline_sleep');
-- A deadline within a deadline: the outer one ends the inner call too.
CREATE FUNCTION inline_app.nest(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM asynx.write(e.aggregate_id || ' inner', 'inline.inner', '1');
END $$;
SELECT asynx.subscribe('inline.inner', 'inline_app.sleep', 'inline_inner', timeout => '1 hour', mode => 'inline', on_failure => 'continue'),
  asynx.subscribe('inline.outer', 'inline_app.nest', 'inline_outer', timeout => '20 ms', mode => 'inline', on_failure => 'continue');
SELECT version FROM asynx.write('inline-10', 'inline.outer', '1');
SELECT subscription, aggregate_id, sqlstate, message FROM asynx.failures;
SELECT asynx.exists('inline-10 inner');
SELECT asynx.unsubscribe('inline_inner'), asynx.unsubscribe('inline_outer');

-- Handlers may write events themselves; a loop of them ends at the stack's limit.
CREATE FUNCTION inline_app.follow(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF e.version < 3 THEN
    PERFORM asynx.send('inline.put', e.aggregate_id, jsonb_build_object('follows', e.version));
  END IF;
END $$;
CREATE FUNCTION inline_app.loop(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM asynx.send('inline.put', e.aggregate_id);
END $$;
SELECT asynx.subscribe('inline.put', 'inline_app.follow', 'inline_follow', mode => 'inline');
SELECT version, aggregate FROM asynx.send('inline.put', 'inline-11', '{"a": 1}');
SELECT version, aggregate FROM asynx.replay('inline-11');
SELECT asynx.unsubscribe('inline_follow');
SELECT asynx.subscribe('inline.put', 'inline_app.loop', 'inline_loop', mode => 'inline');
\set VERBOSITY sqlstate
SELECT version FROM asynx.send('inline.put', 'inline-12');
\set VERBOSITY default
SELECT asynx.unsubscribe('inline_loop');
SELECT asynx.exists('inline-12');

-- A handler that drops its own subscription, or changes the others, while events go to it.
CREATE FUNCTION inline_app.leave(e asynx.stored_event) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO inline_app.seen (who, version) VALUES ('leave', e.version);
  PERFORM asynx.unsubscribe('inline_leave'), asynx.unsubscribe('inline_other');
END $$;
TRUNCATE inline_app.seen;
SELECT asynx.subscribe('inline.many', 'inline_app.leave', 'inline_leave', mode => 'inline'),
  asynx.subscribe('inline.many', 'inline_app.note_stored', 'inline_other', mode => 'inline');
SELECT asynx.append_many('[{"aggregate_id": "inline-13", "version": 1, "event_name": "inline.many", "patch": []},
  {"aggregate_id": "inline-13", "version": 2, "event_name": "inline.many", "patch": []}]');
SELECT asynx.append_many('[{"aggregate_id": "inline-13", "version": 3, "event_name": "inline.many", "patch": []}]');
SELECT who, version FROM inline_app.seen ORDER BY n;

-- More event names than a session remembers: each subscription still gets all events, in their order.
TRUNCATE inline_app.seen;
SELECT asynx.subscribe('inline-name-.*', 'inline_app.note_stored', 'inline_names', mode => 'inline');
SELECT asynx.append_many((SELECT jsonb_agg(jsonb_build_object('aggregate_id', 'inline-names', 'version', v, 'event_name', 'inline-name-' || v, 'patch', '[]'::jsonb))
  FROM generate_series(1, 2500) AS v));
SELECT count(*), bool_and(version = before + 1) AS in_order FROM (SELECT version, lag(version, 1, 0::bigint) OVER (ORDER BY n) AS before FROM inline_app.seen) AS s;
SELECT asynx.unsubscribe('inline_names');

-- A function that is missing, or belongs to somebody else by now.
CREATE FUNCTION inline_app.short_lived(e asynx.event) RETURNS void LANGUAGE sql AS 'SELECT';
SELECT asynx.subscribe('inline.put', 'inline_app.short_lived', 'inline_missing', mode => 'inline');
SELECT version FROM asynx.send('inline.put', 'inline-14');
DROP FUNCTION inline_app.short_lived(asynx.event);
SELECT version FROM asynx.send('inline.put', 'inline-14');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.unsubscribe('inline_missing');

-- What subscribe() refuses.
SELECT asynx.subscribe(NULL, 'inline_app.note', mode => 'inline');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.subscribe('', 'inline_app.note', mode => 'inline');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.subscribe('a(', 'inline_app.note', mode => 'inline');
SELECT asynx.subscribe('a', NULL, mode => 'inline');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.subscribe('a', 'inline_app.nothing', mode => 'inline');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.subscribe('a', 'inline_app.put', mode => 'inline');
SELECT asynx.subscribe('a', 'inline_app.note', '', mode => 'inline');
SELECT asynx.subscribe('a', 'inline_app.note', 'asynx.mine', mode => 'inline');
SELECT asynx.subscribe('a', 'inline_app.note', timeout => '0', mode => 'inline');
SELECT asynx.subscribe('a', 'inline_app.note', timeout => '1 year', mode => 'inline');
SELECT asynx.subscribe('a', 'inline_app.note', mode => 'sideways');
SELECT asynx.subscribe('a', 'inline_app.note', mode => NULL);
SELECT asynx.subscribe('a', 'inline_app.note', mode => 'inline', channel => 'c');
SELECT asynx.subscribe('a', 'inline_app.note', mode => 'inline', start_at => 0);
SELECT asynx.subscribe('a', 'inline_app.note', mode => 'inline', partitions => 2);
SELECT asynx.subscribe('a', 'inline_app.note', mode => 'inline', max_attempts => 2);
SELECT asynx.subscribe('a', 'inline_app.note', mode => 'inline', on_failure => 'park');
SELECT asynx.unsubscribe(NULL);
BEGIN READ ONLY;
SELECT asynx.subscribe('a', 'inline_app.note', 'inline_readonly', mode => 'inline');
ROLLBACK;

SELECT count(*) FROM asynx.subscriptions;
SELECT count(asynx.delete(a.aggregate_id)) FROM asynx.aggregates(count => 1000) AS a WHERE a.aggregate_id LIKE 'inline-%';
SELECT FROM asynx.drop_command('inline.put');
SELECT FROM asynx.drop_aggregate_type('inline thing');
SET client_min_messages = warning;
DROP SCHEMA inline_app CASCADE;
