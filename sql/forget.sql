-- forget: an aggregate goes, totally and atomically; hooks
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE SCHEMA forget_app;
CREATE TABLE forget_app.told (n int GENERATED ALWAYS AS IDENTITY, who text, event text, aggregate_id text, version bigint, state jsonb, previous jsonb, error jsonb);
CREATE FUNCTION forget_app.hook(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO forget_app.told (who, event, aggregate_id, version, state, previous)
  VALUES ('hook', e.event_name, e.aggregate_id, e.version, e.aggregate, e.previous_aggregate);
  IF e.aggregate ->> 'keep' IS NOT NULL THEN
    RAISE EXCEPTION 'the law wants it kept';
  END IF;
END $$;
CREATE FUNCTION forget_app.handler(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO forget_app.told (who, event, aggregate_id, version, state, previous)
  VALUES ('handler', e.event_name, e.aggregate_id, e.version, e.aggregate, e.previous_aggregate);
  IF e.aggregate ->> 'fail' IS NOT NULL THEN
    RAISE EXCEPTION 'cannot handle %', e.aggregate;
  END IF;
END $$;
CREATE FUNCTION forget_app.panic(e asynx.event, error jsonb) RETURNS void LANGUAGE sql AS $$
  INSERT INTO forget_app.told (who, event, aggregate_id, version, state, error) VALUES ('panic', e.event_name, e.aggregate_id, e.version, e.aggregate, error)
$$;
CREATE FUNCTION forget_app.late(e asynx.event, timeout interval) RETURNS void LANGUAGE sql AS $$
  INSERT INTO forget_app.told (who, event, aggregate_id, version, state, error) VALUES ('late', e.event_name, e.aggregate_id, e.version, e.aggregate, to_jsonb(timeout))
$$;
CREATE FUNCTION forget_app.corrupt(id text, error jsonb) RETURNS void LANGUAGE sql AS '';

-- Hooks: the name says what it is; twice is once.
SELECT asynx.on_forget('forget_app.hook'), asynx.on_panic('forget_app.panic'), asynx.on_timeout('forget_app.late'),
  asynx.on_corruption('forget_app.corrupt'), asynx.on_publish_error('forget_app.panic') \gset
SELECT asynx.on_forget('forget_app.hook(asynx.event)');
SELECT name, mode, handler, pattern FROM asynx.subscriptions ORDER BY name;
SELECT asynx.on_forget('forget_app.panic');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.on_panic(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.on_panic('forget_app.hook');
\echo :LAST_ERROR_SQLSTATE

-- Events, snapshot and failures go; the hook and matching subscriptions get the last state; a tombstone stays in the feed.
SELECT asynx.safe_position() AS before \gset
SELECT version FROM asynx.write('forget-1', 'changed', '{"name": "Ada"}', snapshot => true);
SELECT version FROM asynx.write('forget-1', 'changed', '{"name": "Ada L."}');
SELECT version FROM asynx.write('forget-2', 'changed', '{}');
INSERT INTO asynx.failures (subscription, position, aggregate_id, version, state, attempts) VALUES ('some', 1, 'forget-1', 1, 'dead', 1), ('some', 2, 'forget-2', 1, 'dead', 1);
SELECT asynx.subscribe('asynx\.aggregate\..*', 'forget_app.handler', 'forget_handler', mode => 'inline');
SELECT asynx.forget('forget-1');
SELECT who, event, aggregate_id, version, state, previous FROM forget_app.told ORDER BY n;
SELECT asynx.exists('forget-1'), asynx.count('forget-1', 0), (SELECT count(*) FROM asynx.get_snapshot('forget-1')), asynx.exists('forget-2');
SELECT aggregate_id FROM asynx.failures;
SELECT aggregate_id, aggregate_type, version FROM asynx.tombstones;
SELECT aggregate_id, event_name, version, schema_version, metadata, patch FROM asynx.read_all(:before, 100);
SELECT event_name FROM asynx.read_all(:before, 100, 'asynx\..*');
SELECT asynx.get('forget-1');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM asynx.events WHERE patch::text LIKE '%Ada%';

-- Unknown, or forgotten already: validation_failed.  The id then begins again.
SELECT asynx.forget('forget-1');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.forget('forget-unknown');
SELECT asynx.forget(' ');
SELECT asynx.forget(NULL);
SELECT version FROM asynx.write('forget-1', 'changed', '{"name": "Bob"}');
SELECT asynx.get('forget-1'), asynx.count('forget-1', 0);
SELECT asynx.forget('forget-1');
SELECT aggregate_id, event_name, version FROM asynx.read_all(:before, 100);

-- Rolled back, nothing is forgotten; and an append after a forget in the same transaction begins again.
TRUNCATE forget_app.told;
BEGIN;
SELECT asynx.forget('forget-2');
SELECT asynx.exists('forget-2');
ROLLBACK;
SELECT asynx.exists('forget-2'), (SELECT count(*) FROM forget_app.told);
BEGIN;
SELECT asynx.forget('forget-2');
SELECT version FROM asynx.append('forget-2', 1, 'changed', '[]');
COMMIT;
SELECT aggregate_id, event_name, version FROM asynx.read_all(:before, 100);

-- A hook can speak against it: then nothing is forgotten.  A subscription cannot; its failure is recorded without the message.
TRUNCATE forget_app.told;
SELECT version FROM asynx.write('forget-3', 'changed', '{"keep": true}');
SELECT asynx.forget('forget-3');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.exists('forget-3'), (SELECT count(*) FROM forget_app.told);
SELECT version FROM asynx.write('forget-3', 'changed', '{"fail": "secret"}');
SELECT asynx.forget('forget-3');
SELECT who, event, version, state, error FROM forget_app.told ORDER BY n;
SELECT f.subscription, f.aggregate_id, f.version, f.sqlstate, f.message, f.position = t.position AS same_position
FROM asynx.failures f JOIN asynx.tombstones t USING (position);
SELECT asynx.exists('forget-3');

-- What cannot be folded can be forgotten; there is no state then.
TRUNCATE forget_app.told;
SELECT version FROM asynx.append('forget-4', 1, 'broken', '[{"op": "remove", "path": "/nothing"}]');
SELECT asynx.forget('forget-4');
SELECT who, event, version, state FROM forget_app.told ORDER BY n;

-- Who is told of it cannot command what goes, but others.
CREATE FUNCTION forget_app.revive(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF e.aggregate ? 'revive' THEN
    PERFORM asynx.write(e.aggregate ->> 'revive', 'revived', e.aggregate);
  END IF;
END $$;
SELECT asynx.on_forget('forget_app.revive') AS revive \gset
SELECT version FROM asynx.write('forget-5', 'changed', '{"revive": "forget-5"}');
SELECT asynx.forget('forget-5');
\echo :LAST_ERROR_SQLSTATE
SELECT version FROM asynx.write('forget-5', 'changed', '{"revive": "forget-6"}');
SELECT asynx.forget('forget-5');
SELECT asynx.exists('forget-5'), asynx.exists('forget-6');
SELECT asynx.unsubscribe(:'revive'), asynx.unsubscribe('forget_handler');

-- Not where the safe position is of no use, nor where nothing can be written.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT asynx.forget('forget-6');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT asynx.forget('forget-6');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- Tombstones stay until they are purged; positions are never used again.
SELECT count(*) > 0 AS some FROM asynx.tombstones;
SELECT asynx.purge_tombstones('-infinity');
SELECT asynx.purge_tombstones(NULL);
SELECT max(position) AS last FROM asynx.tombstones \gset
SELECT asynx.purge_tombstones('infinity') > 0 AS purged, (SELECT count(*) FROM asynx.tombstones) AS left;
SELECT asynx.purge_tombstones('infinity');
SELECT position > :last AS higher FROM asynx.write('forget-7', 'changed', '{}');

-- The hooks of failing handlers: told of each failure, with the states, before the fallback and again after it.
CREATE FUNCTION forget_app.fail(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the handler'; END $$;
CREATE FUNCTION forget_app.fall(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO forget_app.told (who) VALUES ('fall');
  RAISE EXCEPTION 'the fallback';
END $$;
CREATE FUNCTION forget_app.sleep(e asynx.stored_event) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(600)';
TRUNCATE forget_app.told;
SELECT asynx.subscribe('forget.fail', 'forget_app.fail', 'forget_fail', 'forget_app.fall', mode => 'inline', on_failure => 'continue'),
  asynx.subscribe('forget.slow', 'forget_app.sleep', 'forget_slow', 'forget_app.fail', '10 ms', 'inline', on_failure => 'continue');
SELECT version FROM asynx.append('forget-8', 1, 'forget.fail', '[{"op": "add", "path": "", "value": 8}]');
SELECT version FROM asynx.append('forget-8', 2, 'forget.slow', '[]');
SELECT who, event, version, state, error FROM forget_app.told ORDER BY n;
SELECT subscription, version, sqlstate, message FROM asynx.failures WHERE aggregate_id = 'forget-8' ORDER BY version;
-- A hook that fails itself changes nothing.
CREATE OR REPLACE FUNCTION forget_app.panic(e asynx.event, error jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the hook'; END $$;
SELECT version FROM asynx.append('forget-8', 3, 'forget.fail', '[]');
SELECT asynx.unsubscribe(name) FROM asynx.subscriptions WHERE name LIKE 'forget%';

SELECT bool_and(asynx.unsubscribe(name)) FROM asynx.subscriptions;
SELECT count(asynx.delete(a.aggregate_id)) FROM asynx.aggregates(count => 1000) AS a WHERE a.aggregate_id LIKE 'forget-%';
DELETE FROM asynx.failures;
SET client_min_messages = warning;
DROP SCHEMA forget_app CASCADE;
