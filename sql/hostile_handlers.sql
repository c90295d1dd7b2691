-- Handlers that do what they should not: each ends as it should, and nobody else is disturbed.

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
CREATE ROLE hostile_mallory;
GRANT asynx_admin, asynx_sender TO hostile_mallory;
CREATE SCHEMA hostile_app AUTHORIZATION hostile_mallory;
CREATE TABLE hostile_app.good (position bigint PRIMARY KEY);
CREATE FUNCTION hostile_app.good(e asynx.stored_event) RETURNS void LANGUAGE sql AS 'INSERT INTO hostile_app.good VALUES (e.position)';
ALTER FUNCTION hostile_app.good OWNER TO CURRENT_USER;
SET ROLE hostile_mallory;
CREATE TABLE hostile_app.locked (n int);
CREATE TABLE hostile_app.deferred (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE hostile_app.log (aggregate_id text, who name, path text, work_mem text, n int);
CREATE FUNCTION hostile_app.become() RETURNS void LANGUAGE plpgsql AS
$$ BEGIN EXECUTE 'ALTER ROLE hostile_mallory SUPERUSER'; END $$;
CREATE FUNCTION hostile_app.become_later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile_app.become(); RETURN NULL; END $$;
CREATE TABLE hostile_app.triggered (n int);
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON hostile_app.triggered DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hostile_app.become_later();
CREATE FUNCTION hostile_app.become_by_index(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM hostile_app.become(); RETURN n; END $$;
-- Runs what the event says.  Afterwards it notes who it is, and with which settings.
CREATE FUNCTION hostile_app.handle(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO hostile_app.log VALUES (e.aggregate_id, current_user, current_setting('search_path'), current_setting('work_mem'));
  EXECUTE e.aggregate #>> '{}';
END $$;
CREATE FUNCTION hostile_app.swallow() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END $$;
CREATE FUNCTION hostile_app.loop() RETURNS void LANGUAGE plpgsql AS $$ BEGIN LOOP END LOOP; END $$;
CREATE FUNCTION hostile_app.recurse() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile_app.recurse(); END $$;
RESET ROLE;
CREATE FUNCTION hostile_app.put(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT payload';
SELECT asynx.create_command('hostile.follow', 'default', 'hostile.followed', 'hostile_app.put');
SELECT asynx.subscribe('hostile.do', 'hostile_app.handle', 'hostile', timeout => '300 ms'), asynx.subscribe('hostile.do', 'hostile_app.good', 'hostile_good');

CREATE TABLE hostile_app.todo (id text, statement text);
INSERT INTO hostile_app.todo VALUES
  ('01 raises', $$DO 'BEGIN RAISE EXCEPTION ''no''; END'$$),
  ('02 sleeps', $$SELECT pg_sleep(3600)$$),
  ('03 loops', $$SELECT hostile_app.loop()$$),
  ('04 swallows the cancel', $$SELECT hostile_app.swallow()$$),
  ('05 recurses', $$SELECT hostile_app.recurse()$$),
  ('06 takes all memory', $$SELECT repeat(repeat('x', 1000000), 2000)$$),
  ('07 writes events', $$INSERT INTO asynx.events (aggregate_id, version, event_name, patch) VALUES ('x', 1, 'x', '[]')$$),
  ('08 deletes events', $$DELETE FROM asynx.events$$),
  ('09 moves checkpoints', $$UPDATE asynx.checkpoints SET position = 0$$),
  ('10 sends a command', $$SELECT asynx.send('hostile.follow', 'hostile-followed', '1')$$),
  ('11 makes a temporary table', $$CREATE TEMPORARY TABLE t (n int)$$),
  ('12 defers a constraint', $$INSERT INTO hostile_app.deferred VALUES (1)$$),
  ('12 defers its violation', $$INSERT INTO hostile_app.deferred VALUES (1)$$),
  ('13 defers a trigger', $$INSERT INTO hostile_app.triggered VALUES (1)$$),
  ('14 sets the role', $$SET ROLE postgres$$),
  ('15 sets the role otherwise', $$SELECT set_config('role', 'postgres', false)$$),
  ('16 sets the session', $$SET SESSION AUTHORIZATION DEFAULT$$),
  ('17 resets the role', $$RESET ROLE$$),
  ('18 alters its role', $$SELECT hostile_app.become()$$),
  ('19 leaves a cursor', $$DECLARE c CURSOR WITH HOLD FOR SELECT hostile_app.become()$$),
  ('20 indexes', $$CREATE INDEX ON hostile_app.locked (hostile_app.become_by_index(n))$$),
  ('21 locks for the session', $$SELECT pg_advisory_lock(42)$$),
  ('22 listens', $$LISTEN hostile$$),
  ('23 notifies', $$NOTIFY asynx_wake$$),
  ('24 changes settings', $$SET work_mem = '64kB'$$),
  ('25 changes its path', $$SET search_path = pg_temp, hostile_app$$),
  ('26 commits', $$COMMIT$$),
  ('27 reads a file', $$SELECT pg_read_file('/etc/passwd')$$),
  ('28 runs a program', $$COPY hostile_app.locked FROM PROGRAM 'id'$$),
  ('29 waits for handlers', $$SELECT asynx.wait_for()$$),
  ('30 shuts down', $$CALL asynx.shutdown()$$),
  ('31 pauses another', $$SELECT asynx.pause('hostile_good'), asynx.resume('hostile_good')$$),
  ('32 terminates a worker', $$SELECT pg_terminate_backend(pid) FROM asynx.workers() WHERE kind = 'bus'$$),
  ('33 creates an event trigger', $$CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION hostile_app.become_later()$$),
  ('34 prepares', $$PREPARE p AS SELECT 1$$),
  ('35 changes nothing', $$SELECT 1$$),
  ('36 says that it was cancelled', $$DO 'BEGIN RAISE query_canceled; END'$$),
  ('37 says that the server goes', $$DO 'BEGIN RAISE SQLSTATE ''57P01''; END'$$),
  ('38 asks for a repetition once', $$DO 'BEGIN IF NOT EXISTS (SELECT FROM asynx.failures WHERE state = ''retrying'') THEN RAISE SQLSTATE ''40001''; END IF; END'$$);
SELECT count(*) FROM hostile_app.todo AS t, LATERAL asynx.write('hostile-' || t.id, 'hostile.do', to_jsonb(t.statement)) AS w;
SELECT asynx.wait_for(timeout => '5 min', subscription => 'hostile');
-- What the server says of missing rights differs between its versions.
SELECT substr(e.aggregate_id, 9) AS handler, coalesce(f.sqlstate, 'fine') AS outcome, f.state, CASE WHEN f.sqlstate <> '42501' THEN left(f.message, 60) END AS message
FROM asynx.events e LEFT JOIN asynx.failures f ON f.position = e.position AND f.subscription = 'hostile' WHERE e.event_name = 'hostile.do' ORDER BY e.aggregate_id;

-- What those that went through did is there, what the others did is not; everybody was himself, with his own settings.
SELECT DISTINCT who, path, work_mem = current_setting('work_mem') AS own_setting FROM hostile_app.log;
SELECT count(*) AS noted, count(DISTINCT aggregate_id) AS aggregates FROM hostile_app.log;
SELECT asynx.get('hostile-followed');
SELECT rolsuper FROM pg_roles WHERE rolname = 'hostile_mallory';
SELECT (SELECT count(*) FROM hostile_app.deferred), (SELECT count(*) FROM hostile_app.triggered), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42);

-- The other subscription got everything, the sessions can write.
SELECT asynx.wait_for(timeout => '5 min');
SELECT count(*) FROM hostile_app.good;
SELECT state FROM asynx.subscription_status WHERE name LIKE 'hostile%';

-- A handler that pauses, or removes, its own subscription: what it was given is finished.
CREATE TABLE hostile_app.own (who text, version bigint);
CREATE FUNCTION hostile_app.pause_own(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO hostile_app.own VALUES ('pause', e.version); PERFORM asynx.pause('hostile_pause'); END $$;
CREATE FUNCTION hostile_app.drop_own(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO hostile_app.own VALUES ('drop', e.version); PERFORM asynx.unsubscribe('hostile_drop'); END $$;
SELECT asynx.subscribe('hostile.own', 'hostile_app.pause_own', 'hostile_pause'), asynx.subscribe('hostile.own', 'hostile_app.drop_own', 'hostile_drop');
SELECT version FROM asynx.write('hostile-own', 'hostile.own', '1');
SELECT asynx.wait_for(timeout => '5 min');
CREATE PROCEDURE hostile_app.await(condition text) LANGUAGE plpgsql AS $$
DECLARE
  done boolean;
BEGIN
  FOR i IN 1 .. 3000 LOOP
    EXECUTE 'SELECT ' || condition INTO done;
    EXIT WHEN done;
    COMMIT;
    PERFORM pg_sleep(0.01);
  END LOOP;
  IF NOT done THEN RAISE 'never: %', condition; END IF;
END $$;
CALL hostile_app.await($$(SELECT count(*) = 2 FROM hostile_app.own)$$);
SELECT version FROM asynx.write('hostile-own', 'hostile.own', '2');
SELECT asynx.wait_for(timeout => '5 min');
SELECT who, version FROM hostile_app.own ORDER BY who, version;
SELECT name, state FROM asynx.subscriptions WHERE name IN ('hostile_pause', 'hostile_drop');

SELECT asynx.unsubscribe(name) FROM asynx.subscriptions WHERE name LIKE 'hostile%' ORDER BY name;
SELECT FROM asynx.drop_command('hostile.follow');
SELECT count(asynx.delete(a.aggregate_id)) FROM asynx.aggregates(count => 1000) AS a WHERE a.aggregate_id LIKE 'hostile-%';
DROP SCHEMA hostile_app CASCADE;
REVOKE asynx_admin, asynx_sender FROM hostile_mallory;
DROP ROLE hostile_mallory;
