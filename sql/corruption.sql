-- A snapshot that cannot be read: the hook is told, the answer is the same, and a new one takes its place
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE SCHEMA corruption_app;
CREATE TABLE corruption_app.told (aggregate_id text, error jsonb);
CREATE FUNCTION corruption_app.hook(id text, error jsonb) RETURNS void LANGUAGE sql AS $$
  INSERT INTO corruption_app.told VALUES (id, error)
$$;
SELECT asynx.on_corruption('corruption_app.hook') AS hook \gset

-- Loses what is stored out of line of all snapshots, as a bad disk might; the server does not allow it otherwise.
SELECT reltoastrelid::regclass AS toast FROM pg_class WHERE oid = 'asynx.snapshots'::regclass \gset
CREATE PROCEDURE corruption_app.damage() LANGUAGE plpgsql AS $$
DECLARE
  toast regclass := reltoastrelid FROM pg_class WHERE oid = 'asynx.snapshots'::regclass;
BEGIN
  SET LOCAL allow_system_table_mods = on;
  UPDATE pg_class SET relkind = 'r' WHERE oid = toast;
  EXECUTE format('DELETE FROM %s', toast);
  UPDATE pg_class SET relkind = 't' WHERE oid = toast;
END $$;
CREATE FUNCTION corruption_app.put(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce(current, '{}') || payload $$;
SELECT FROM asynx.create_command('corruption.put', 'default', 'put', 'corruption_app.put');
ALTER TABLE asynx.snapshots ALTER state SET STORAGE EXTERNAL;
SELECT version FROM asynx.write('corruption-1', 'changed', jsonb_build_object('long', repeat('x', 10000)), snapshot => true);
\set VERBOSITY terse
-- The messages name a value's OID.
SET client_min_messages = error;

-- get: a cold fold with the same answer, and a new snapshot.
CALL corruption_app.damage();
VACUUM :toast;
DO $$ BEGIN PERFORM state::text FROM asynx.snapshots; EXCEPTION WHEN data_corrupted THEN RAISE EXCEPTION 'cannot be read'; END $$;
SELECT length(asynx.get('corruption-1') ->> 'long');
SELECT aggregate_id, error ->> 'sqlstate' AS sqlstate, error ->> 'message' LIKE 'missing chunk%' AS message FROM corruption_app.told;
SELECT version, length(state ->> 'long') FROM asynx.get_snapshot('corruption-1');
SELECT length(asynx.get('corruption-1') ->> 'long');
SELECT count(*) FROM corruption_app.told;

-- preload, and time travel, which leaves none.
CALL corruption_app.damage();
VACUUM :toast;
SELECT length(asynx.get('corruption-1', 1) ->> 'long'), length(asynx.get_at('corruption-1', 'infinity') ->> 'long');
SELECT length(aggregate ->> 'long') FROM asynx.replay('corruption-1', 1);
SELECT count(*) FROM corruption_app.told;
SELECT asynx.preload('corruption-1');
SELECT length(state ->> 'long') FROM asynx.get_snapshot('corruption-1');

-- send, in a session that does not remember the state.
CALL corruption_app.damage();
VACUUM :toast;
\c -
\set VERBOSITY terse
SET client_min_messages = error;
SELECT version, length(aggregate ->> 'long') FROM asynx.send('corruption.put', 'corruption-1', '{"a": 1}');
SELECT version, length(state ->> 'long') FROM asynx.get_snapshot('corruption-1');

-- In a read-only transaction the hook cannot write, and the answer comes all the same.
CALL corruption_app.damage();
VACUUM :toast;
TRUNCATE corruption_app.told;
BEGIN READ ONLY;
SELECT length(asynx.get('corruption-1') ->> 'long');
COMMIT;
SELECT count(*) FROM corruption_app.told;
SELECT count(asynx.delete('corruption-1'));
SELECT FROM asynx.drop_command('corruption.put');
ALTER TABLE asynx.snapshots ALTER state SET STORAGE EXTENDED;
SELECT bool_and(asynx.unsubscribe(name)) FROM asynx.subscriptions;
DROP SCHEMA corruption_app CASCADE;
