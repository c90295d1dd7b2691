-- The log is append-only, also for superusers, and is not dropped by accident
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
SELECT rolsuper FROM pg_roles WHERE rolname = current_user;
SELECT version FROM asynx.append('guard-1', 1, 'e', '[{"op":"add","path":"","value":"kept"}]');

-- UPDATE, DELETE, TRUNCATE and what MERGE would do of these are refused, whether they would meet a row or not.
UPDATE asynx.events SET event_name = 'f' WHERE aggregate_id = 'guard-1';
\echo :LAST_ERROR_SQLSTATE
UPDATE asynx.events SET event_name = 'f' WHERE false;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM asynx.events WHERE aggregate_id = 'guard-1';
\echo :LAST_ERROR_SQLSTATE
DELETE FROM asynx.events WHERE false;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE asynx.events;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE asynx.snapshots, asynx.events CASCADE;
\echo :LAST_ERROR_SQLSTATE
MERGE INTO asynx.events e USING (VALUES ('guard-1')) AS v (id) ON e.aggregate_id = v.id
WHEN MATCHED THEN UPDATE SET event_name = 'f';
\echo :LAST_ERROR_SQLSTATE
MERGE INTO asynx.events e USING (VALUES ('guard-1')) AS v (id) ON e.aggregate_id = v.id
WHEN MATCHED THEN DELETE;
\echo :LAST_ERROR_SQLSTATE
INSERT INTO asynx.events SELECT * FROM asynx.events WHERE aggregate_id = 'guard-1'
ON CONFLICT (aggregate_id, version) DO UPDATE SET event_name = 'f';
\echo :LAST_ERROR_SQLSTATE
WITH gone AS (DELETE FROM asynx.events RETURNING 1) SELECT count(*) FROM gone;
\echo :LAST_ERROR_SQLSTATE

-- Inside functions too, and in one that has the same names as ours.
DO $$ BEGIN DELETE FROM asynx.events; END $$;
\echo :LAST_ERROR_SQLSTATE
CREATE FUNCTION pg_temp.delete(aggregate_id text) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$
  DELETE FROM asynx.events e WHERE e.aggregate_id = $1; SELECT 1::bigint
$$;
SELECT pg_temp.delete('guard-1');
\echo :LAST_ERROR_SQLSTATE
DO $$
BEGIN
  PERFORM asynx.delete('guard-none');
  DELETE FROM asynx.events WHERE aggregate_id = 'guard-1';
END $$;
\echo :LAST_ERROR_SQLSTATE

-- delete() passes the guard, and it is back right afterwards, also if delete() found nothing or failed.
SELECT version FROM asynx.append('guard-2', 1, 'e', '[]');
BEGIN;
SELECT asynx.delete('guard-2');
SAVEPOINT after_delete;
DELETE FROM asynx.events;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO after_delete;
SELECT asynx.delete('guard-2');
DELETE FROM asynx.events;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- An error inside its DELETE, here from a trigger that stands before ours.
BEGIN;
CREATE FUNCTION pg_temp.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'failed in the middle'; END $$;
CREATE TRIGGER a_failing BEFORE DELETE ON asynx.events FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.fail();
DO $$
BEGIN
  PERFORM asynx.delete('guard-2');
EXCEPTION WHEN raise_exception THEN
  RAISE NOTICE 'delete() failed';
END $$;
DROP TRIGGER a_failing ON asynx.events;
DELETE FROM asynx.events;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT asynx.get('guard-1'), asynx.exists('guard-2');

-- The event table cannot be dropped while it holds events, in whatever way.
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
  RETURN concat_ws(' ', SQLSTATE, SQLERRM);
END $$;
SET client_min_messages = warning;
DROP EXTENSION asynx;
\echo :LAST_ERROR_SQLSTATE
SELECT statement, pg_temp.outcome(statement)
FROM unnest(ARRAY['DROP EXTENSION asynx CASCADE', 'DROP SCHEMA asynx CASCADE', 'DROP TABLE asynx.events',
                  'DROP TABLE asynx.events CASCADE']) AS statement;
BEGIN;
ALTER EXTENSION asynx DROP TABLE asynx.events;
SELECT statement, pg_temp.outcome(statement)
FROM unnest(ARRAY['DROP TABLE asynx.events', 'DROP TABLE asynx.events CASCADE']) AS statement;
ROLLBACK;

-- With asynx.allow_drop it can; the transaction is rolled back, and all is there again.
BEGIN;
SET LOCAL asynx.allow_drop = on;
DROP EXTENSION asynx;
SELECT asynx.get('guard-1');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
SET LOCAL asynx.allow_drop = on;
DROP SCHEMA asynx CASCADE;
ROLLBACK;
SELECT asynx.get('guard-1');
-- An empty event table needs no permission.  A new one is served by sessions that knew the old one.
BEGIN;
SELECT count(asynx.delete(aggregate_id)) > 0 AS deleted FROM asynx.events WHERE version = 1;
DROP EXTENSION asynx;
CREATE EXTENSION asynx;
SELECT version, position FROM asynx.append('guard-new', 1, 'e', '[{"op":"add","path":"","value":"new"}]');
SELECT asynx.get('guard-new'), asynx.exists('guard-1');
DROP EXTENSION asynx;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT asynx.get('guard-1');
-- DROP OWNED by another superuser who owns the extension.
CREATE ROLE regress_asynx_owner SUPERUSER;
BEGIN;
SET LOCAL asynx.allow_drop = on;
DROP EXTENSION asynx;
SET LOCAL asynx.allow_drop = off;
SET LOCAL ROLE regress_asynx_owner;
CREATE EXTENSION asynx;
RESET ROLE;
SELECT version FROM asynx.append('guard-owned', 1, 'e', '[]');
SELECT pg_temp.outcome('DROP OWNED BY regress_asynx_owner CASCADE');
SET LOCAL asynx.allow_drop = on;
SELECT pg_temp.outcome('DROP OWNED BY regress_asynx_owner CASCADE');
ROLLBACK;
DROP ROLE regress_asynx_owner;
SELECT asynx.get('guard-1');

-- The permission is a superuser's.
CREATE ROLE regress_asynx_nobody;
SET ROLE regress_asynx_nobody;
SET asynx.allow_drop = on;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
DROP ROLE regress_asynx_nobody;

-- Other tables are not concerned, whatever they are called.
CREATE SCHEMA guard_other;
CREATE TABLE guard_other.events (a int);
INSERT INTO guard_other.events VALUES (1);
DELETE FROM guard_other.events;
INSERT INTO guard_other.events VALUES (1);
DROP SCHEMA guard_other CASCADE;

-- The trigger's function is for the trigger; replication passes, as pg_restore --disable-triggers does.
SELECT asynx.refuse_change();
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM asynx.events WHERE aggregate_id = 'guard-2';
SELECT asynx.exists('guard-2');
SELECT asynx.delete('guard-1');
SET LOCAL session_replication_role = origin;
DELETE FROM asynx.events;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT asynx.get('guard-1'), asynx.exists('guard-2');
