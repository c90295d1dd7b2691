-- Upcasters: events of older schema versions, brought up to date in every fold
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE SCHEMA upcasters_app;
-- 1 to 2: "name" is called "label".  3 to 4: "label" is called "title"; there is nothing from 2 to 3.
CREATE FUNCTION upcasters_app.label(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT replace(patch::text, '/name', '/label')::jsonb $$;
CREATE FUNCTION upcasters_app.title(event_name text, patch jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN replace(patch::text, '/label', '/title')::jsonb;
END $$;
SELECT FROM asynx.create_aggregate_type('upcast');
CREATE FUNCTION pg_temp.event(version bigint, name text, schema_version int) RETURNS bigint LANGUAGE sql AS $$
  SELECT (asynx.append('upcast-1', version, 'e' || version, jsonb_build_array(jsonb_build_object('op', 'add', 'path', '/' || name, 'value', version)), 'upcast',
                       schema_version => schema_version)).version
$$;
SELECT version FROM asynx.append('upcast-1', 1, 'begun', '[{"op":"add","path":"","value":{}}]', 'upcast');
SELECT pg_temp.event(2, 'name', 1), pg_temp.event(3, 'label', 2), pg_temp.event(4, 'label', 3), pg_temp.event(5, 'title', 4), pg_temp.event(6, 'name', 9);
SELECT asynx.get('upcast-1');
SELECT FROM asynx.create_upcaster('upcast', 1, 'upcasters_app.label');
SELECT FROM asynx.create_upcaster('upcast', 3, 'upcasters_app.title(text, jsonb)');
SELECT aggregate_type, from_version, function FROM asynx.upcasters WHERE aggregate_type = 'upcast' ORDER BY from_version;
-- The type is still at version 1: nothing changes.
SELECT asynx.get('upcast-1');
SELECT FROM asynx.alter_aggregate_type('upcast', 2);
SELECT asynx.get('upcast-1', 2) AS of_1, asynx.get('upcast-1', 6) AS at_2;
SELECT FROM asynx.alter_aggregate_type('upcast', 4);

-- Time travel through mixed versions; replay gives the patches as they are today, and writes nothing.
SELECT version, asynx.get('upcast-1', version) FROM generate_series(1, 6) AS version;
SELECT asynx.get_at('upcast-1', 'infinity');
SELECT version, schema_version, patch, aggregate FROM asynx.replay('upcast-1', 2);
SELECT version, schema_version, patch FROM asynx.read_from('upcast-1', 2);
SELECT count(*) FROM asynx.get_snapshot('upcast-1');
-- get, preload and write leave a snapshot at the current schema version.
SELECT asynx.get('upcast-1');
SELECT version, schema_version, state FROM asynx.get_snapshot('upcast-1');
SELECT asynx.delete_snapshot('upcast-1');
SELECT FROM asynx.preload('upcast-1');
SELECT version, schema_version, state FROM asynx.get_snapshot('upcast-1');
SELECT asynx.delete_snapshot('upcast-1');
SELECT version, schema_version, previous_aggregate FROM asynx.write('upcast-1', 'w', '{"title": 7}');
SELECT version, schema_version, state FROM asynx.get_snapshot('upcast-1');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT asynx.delete_snapshot('upcast-1'), asynx.get('upcast-1');
SELECT count(*) FROM asynx.get_snapshot('upcast-1');
ROLLBACK;
-- A snapshot of an older schema version does not count.
SELECT FROM asynx.alter_aggregate_type('upcast', 5);
-- An upcaster below the current version changes what is stored: the type's snapshots go.
SELECT asynx.get('upcast-1');
SELECT version, schema_version FROM asynx.get_snapshot('upcast-1');
CREATE FUNCTION upcasters_app.add_note(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT patch || jsonb_build_array(jsonb_build_object('op', 'add', 'path', '/note', 'value', event_name))
$$;
SELECT FROM asynx.create_upcaster('upcast', 4, 'upcasters_app.add_note');
SELECT count(*) FROM asynx.get_snapshot('upcast-1');
SELECT asynx.get('upcast-1');
SELECT FROM asynx.drop_upcaster('upcast', 4);
SELECT count(*) FROM asynx.get_snapshot('upcast-1');
SELECT asynx.get('upcast-1');

-- An error stops the fold and names upcaster, aggregate and version; what comes out must be a patch.
CREATE FUNCTION upcasters_app.bad(event_name text, patch jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN CASE event_name WHEN 'e2' THEN to_jsonb(1 / 0) WHEN 'e3' THEN NULL WHEN 'e4' THEN '{}' ELSE patch END;
END $$;
SELECT FROM asynx.create_upcaster('upcast', 4, 'upcasters_app.bad');
-- What PL/pgSQL calls an expression depends on the server's version.
\set SHOW_CONTEXT never
SELECT asynx.get('upcast-1', 1);
SELECT asynx.get('upcast-1');
\echo :LAST_ERROR_SQLSTATE
\set SHOW_CONTEXT errors
SELECT FROM asynx.drop_upcaster('upcast', 4);
CREATE OR REPLACE FUNCTION upcasters_app.bad(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT CASE event_name WHEN 'e2' THEN NULL ELSE patch END $$;
SELECT FROM asynx.create_upcaster('upcast', 4, 'upcasters_app.bad');
SELECT asynx.write('upcast-1', 'e', '{}');
\echo :LAST_ERROR_SQLSTATE
CREATE OR REPLACE FUNCTION upcasters_app.bad(event_name text, patch jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE SQLSTATE '40001'; END $$;
SELECT * FROM asynx.replay('upcast-1');
\echo :LAST_ERROR_SQLSTATE
-- So must what it returns fit the state; without an upcaster that had a say it is the patch's own failure.
CREATE OR REPLACE FUNCTION upcasters_app.bad(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE event_name WHEN 'e3' THEN '[{"op": "remove", "path": "/none"}]' WHEN 'e4' THEN '[{"op": "test", "path": "/title", "value": "s3cr3t"}]' ELSE patch END
$$;
SELECT asynx.get('upcast-1');
\echo :LAST_ERROR_SQLSTATE
SELECT version FROM asynx.replay('upcast-1');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.get('upcast-1', 2);
CREATE OR REPLACE FUNCTION upcasters_app.bad(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE event_name WHEN 'e4' THEN '[{"op": "test", "path": "/title", "value": "s3cr3t"}]' ELSE patch END
$$;
SELECT asynx.get('upcast-1');
\echo :LAST_ERROR_SQLSTATE
SELECT version FROM asynx.append('upcast-2', 1, 'e', '[{"op": "remove", "path": "/none"}]', 'upcast');
SELECT asynx.get('upcast-2');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.delete('upcast-2');
-- An upcaster that commands its own aggregate is refused.
CREATE OR REPLACE FUNCTION upcasters_app.bad(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT (asynx.write('upcast-1', 'e', '1')).patch $$;
SELECT asynx.write('upcast-1', 'e', '1');
\echo :LAST_ERROR_SQLSTATE
DROP FUNCTION upcasters_app.bad;
SELECT asynx.get('upcast-1');
\echo :LAST_ERROR_SQLSTATE
SELECT FROM asynx.drop_upcaster('upcast', 4);

-- What cannot be an upcaster, or is none.
CREATE FUNCTION upcasters_app.volatile(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT patch';
SELECT FROM asynx.create_upcaster('upcast', 1, 'upcasters_app.title');
SELECT FROM asynx.create_upcaster('upcast', 7, 'upcasters_app.volatile');
SELECT FROM asynx.create_upcaster('upcast', 7, 'upcasters_app.none');
SELECT FROM asynx.create_upcaster('upcast', 7, NULL);
SELECT FROM asynx.create_upcaster('upcast', 0, 'upcasters_app.title');
SELECT FROM asynx.create_upcaster('upcast none', 1, 'upcasters_app.title');
SELECT FROM asynx.create_upcaster(NULL, 1, 'upcasters_app.title');
SELECT FROM asynx.drop_upcaster('upcast', 7);

-- A function that decides on an aggregate does not change how its events are read: what it decided would not fit.
CREATE FUNCTION upcasters_app.sly(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  EXECUTE 'SELECT ' || (payload ->> 'do');
  RETURN '{}';
END $$;
SELECT FROM asynx.create_command('upcast.sly', 'upcast', 'e', 'upcasters_app.sly');
DO $$
DECLARE
  what text;
  cause text;
BEGIN
  FOREACH what IN ARRAY ARRAY['asynx.create_upcaster(''upcast'', 2, ''upcasters_app.title'')', 'asynx.drop_upcaster(''upcast'', 1)', 'asynx.alter_aggregate_type(''upcast'', 9)',
                              'asynx.drop_aggregate_type(''upcast'')', 'asynx.create_aggregate_type(''default'', seed => ''{}'')', 'asynx.alter_aggregate_type(''upcast'', snapshot_every => 5)'] LOOP
    BEGIN
      PERFORM asynx.send('upcast.sly', 'upcast-1', jsonb_build_object('do', what));
      RAISE NOTICE '%: done', what;
    EXCEPTION WHEN SQLSTATE 'SX004' THEN
      GET STACKED DIAGNOSTICS cause = PG_EXCEPTION_DETAIL;
      RAISE NOTICE '%: %', what, cause;
    END;
  END LOOP;
  RAISE EXCEPTION 'to undo it all';
EXCEPTION WHEN raise_exception THEN
  NULL;
END $$;
SELECT FROM asynx.drop_command('upcast.sly');

-- It runs as its owner, whoever reads.
CREATE ROLE regress_asynx_upcaster IN ROLE asynx_admin;
GRANT USAGE, CREATE ON SCHEMA upcasters_app TO regress_asynx_upcaster;
SET ROLE regress_asynx_upcaster;
SELECT FROM asynx.create_upcaster('upcast', 2, 'upcasters_app.title');
CREATE FUNCTION upcasters_app.who(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE event_name WHEN 'begun' THEN patch ELSE
    jsonb_build_array(jsonb_build_object('op', 'add', 'path', '/who', 'value', current_user || ' ' || current_setting('search_path'))) END
$$;
SELECT FROM asynx.create_upcaster('upcast', 2, 'upcasters_app.who');
RESET ROLE;
SELECT asynx.get('upcast-1', 3);

SET client_min_messages = warning;
SELECT asynx.drop_upcaster(aggregate_type, from_version) FROM asynx.upcasters WHERE aggregate_type = 'upcast';
SELECT asynx.delete('upcast-1');
SELECT FROM asynx.drop_aggregate_type('upcast');
-- Upcasters go with their type.
SELECT FROM asynx.create_aggregate_type('upcasters dropped', 2);
SELECT FROM asynx.create_upcaster('upcasters dropped', 1, 'upcasters_app.title');
SELECT FROM asynx.drop_aggregate_type('upcasters dropped');
SELECT count(*) FROM asynx.upcasters WHERE aggregate_type = 'upcasters dropped';
DROP SCHEMA upcasters_app CASCADE;
DROP ROLE regress_asynx_upcaster;
