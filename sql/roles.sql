-- Roles: what each may call, and that nobody reaches the tables but through the functions
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- The roles are groups without any power of their own; each contains those left of it.
SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
FROM pg_roles WHERE rolname LIKE 'asynx\_%' ORDER BY 1;
SELECT member, array_agg(role ORDER BY role) AS contains
FROM unnest(ARRAY['asynx_reader', 'asynx_sender', 'asynx_writer', 'asynx_admin']) AS member,
     unnest(ARRAY['asynx_reader', 'asynx_sender', 'asynx_writer', 'asynx_admin']) AS role
WHERE pg_has_role(member, role, 'USAGE') AND member <> role GROUP BY member ORDER BY count(*), member;

-- Which functions each may call.  Trigger and internal functions are for nobody.
CREATE ROLE regress_asynx_public;
SELECT p.oid::regprocedure AS function,
       has_function_privilege('regress_asynx_public', p.oid, 'EXECUTE') AS public,
       has_function_privilege('asynx_reader', p.oid, 'EXECUTE') AS reader,
       has_function_privilege('asynx_sender', p.oid, 'EXECUTE') AS sender,
       has_function_privilege('asynx_writer', p.oid, 'EXECUTE') AS writer,
       has_function_privilege('asynx_admin', p.oid, 'EXECUTE') AS admin
FROM pg_proc p WHERE p.pronamespace = 'asynx'::regnamespace ORDER BY p.oid::regprocedure::text COLLATE "C";

-- Nobody writes to a table, draws a position or creates anything in the schema; these may be read.
SELECT c.oid::regclass AS relation,
       has_table_privilege('regress_asynx_public', c.oid, 'SELECT') AS public,
       has_table_privilege('asynx_reader', c.oid, 'SELECT') AS reader,
       has_table_privilege('asynx_sender', c.oid, 'SELECT') AS sender,
       has_table_privilege('asynx_writer', c.oid, 'SELECT') AS writer,
       has_table_privilege('asynx_admin', c.oid, 'SELECT') AS admin
FROM pg_class c WHERE c.relnamespace = 'asynx'::regnamespace AND c.relkind IN ('r', 'v') ORDER BY c.relname COLLATE "C";
SELECT role, c.oid::regclass AS writable
FROM unnest(ARRAY['regress_asynx_public', 'asynx_reader', 'asynx_sender', 'asynx_writer', 'asynx_admin']) AS role, pg_class c
WHERE c.relnamespace = 'asynx'::regnamespace AND c.relkind IN ('r', 'v')
  AND has_table_privilege(role, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER');
SELECT role, has_sequence_privilege(role, 'asynx.positions', 'USAGE, SELECT, UPDATE') AS positions,
       has_schema_privilege(role, 'asynx', 'CREATE') AS schema
FROM unnest(ARRAY['regress_asynx_public', 'asynx_reader', 'asynx_sender', 'asynx_writer', 'asynx_admin']) AS role;

-- The same by trying it: what each role gets to hear.  42501 is insufficient_privilege.
CREATE ROLE regress_asynx_reader IN ROLE asynx_reader;
CREATE ROLE regress_asynx_sender IN ROLE asynx_sender;
CREATE ROLE regress_asynx_writer IN ROLE asynx_writer;
CREATE ROLE regress_asynx_admin IN ROLE asynx_admin;
SELECT version FROM asynx.append('roles-1', 1, 'e', '[{"op":"add","path":"","value":{"n":1}}]');
SELECT FROM asynx.create_aggregate_type('roles type');
CREATE FUNCTION pg_temp.outcome_as(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('SET LOCAL ROLE %I', role);
  EXECUTE statement;
  RAISE SQLSTATE 'UNDO0';
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
  RETURN 'may';
WHEN insufficient_privilege THEN
  RETURN '-';
WHEN OTHERS THEN
  RETURN concat_ws(' ', SQLSTATE, SQLERRM);
END $$;
SELECT statement,
       pg_temp.outcome_as('regress_asynx_public', statement) AS public,
       pg_temp.outcome_as('regress_asynx_reader', statement) AS reader,
       pg_temp.outcome_as('regress_asynx_sender', statement) AS sender,
       pg_temp.outcome_as('regress_asynx_writer', statement) AS writer,
       pg_temp.outcome_as('regress_asynx_admin', statement) AS admin
FROM unnest(ARRAY[
  $$SELECT asynx.json_patch('{}', '[]')$$,
  $$SELECT asynx.json_diff('{}', '[]')$$,
  $$SELECT asynx.json_patch_text('{}', '[]')$$,
  $$SELECT asynx.json_diff_text('{}', '[]')$$,
  $$SELECT asynx.json_pointer('{}', '')$$,
  $$SELECT asynx.json_patch_agg('[]')$$,
  $$SELECT asynx.topic('a.*')$$,
  $$SELECT asynx.get('roles-1')$$,
  $$SELECT asynx.get('roles-1', 1)$$,
  $$SELECT asynx.get_at('roles-1', now())$$,
  $$SELECT asynx.exists('roles-1')$$,
  $$SELECT * FROM asynx.aggregates()$$,
  $$SELECT asynx.preload('roles-1')$$,
  $$SELECT * FROM asynx.replay('roles-1')$$,
  $$SELECT * FROM asynx.read_from('roles-1', 0)$$,
  $$SELECT * FROM asynx.read_range('roles-1', 0, 1)$$,
  $$SELECT * FROM asynx.read_all(0, 1)$$,
  $$SELECT asynx.count('roles-1', 0)$$,
  $$SELECT asynx.safe_position()$$,
  $$SELECT * FROM asynx.feed_status$$,
  $$SELECT asynx.lifecycle_state()$$,
  $$SELECT asynx.append('roles-1', 2, 'e', '[]')$$,
  $$SELECT asynx.append_many('[{"aggregate_id":"roles-1","version":2,"event_name":"e","patch":[]}]')$$,
  $$SELECT asynx.write('roles-1', 'e', '1')$$,
  $$SELECT asynx.delete('roles-1')$$,
  $$SELECT asynx.put_snapshot('roles-1', 1, '{"n":1}')$$,
  $$SELECT * FROM asynx.get_snapshot('roles-1')$$,
  $$SELECT asynx.delete_snapshot('roles-1')$$,
  $$SELECT asynx.create_aggregate_type('roles other type')$$,
  $$SELECT asynx.alter_aggregate_type('roles type', 2)$$,
  $$SELECT asynx.drop_aggregate_type('roles type')$$,
  $$SELECT asynx.resume()$$,
  $$SELECT asynx.next_position('asynx.positions')$$,
  $$SELECT nextval('asynx.positions')$$,
  $$SELECT * FROM asynx.events$$,
  $$SELECT * FROM asynx.snapshots$$,
  $$SELECT * FROM asynx.lifecycle$$,
  $$INSERT INTO asynx.events DEFAULT VALUES$$,
  $$UPDATE asynx.events SET version = 2$$,
  $$DELETE FROM asynx.events$$,
  $$TRUNCATE asynx.events$$,
  $$DELETE FROM asynx.snapshots$$,
  $$UPDATE asynx.aggregate_types SET seed = '1'$$,
  $$UPDATE asynx.lifecycle SET state = 'running'$$,
  $$UPDATE asynx.feed_mark SET position = 0$$,
  $$LOCK TABLE asynx.events IN ACCESS EXCLUSIVE MODE$$,
  $$CREATE TABLE asynx.mine ()$$,
  $$ALTER TABLE asynx.events DISABLE TRIGGER ALL$$,
  $$CREATE INDEX ON asynx.events (event_name)$$,
  $$DROP EXTENSION asynx$$]) AS statement;

-- The call is what counts, not how it is made: in a view and a function of another role's, with that role's rights.
CREATE SCHEMA roles_app;
GRANT USAGE, CREATE ON SCHEMA roles_app TO PUBLIC;
SET ROLE regress_asynx_writer;
CREATE FUNCTION roles_app.open(id text) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$
  SELECT (asynx.write(id, 'opened', '{}')).version
$$;
RESET ROLE;
SET ROLE regress_asynx_public;
SELECT roles_app.open('roles-opened') AS version;
SELECT asynx.write('roles-opened', 'e', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT current_user;
RESET ROLE;

-- After a call, also after one that failed, the caller is who it was.
SET ROLE regress_asynx_writer;
SELECT version, current_user FROM asynx.append('roles-opened', 2, 'e', '[]');
SELECT asynx.append('roles-opened', 9, 'e', '[]');
SELECT current_user;
DO $$
BEGIN
  PERFORM asynx.append('roles-opened', 9, 'e', '[]');
EXCEPTION WHEN OTHERS THEN
  RAISE NOTICE 'after %: %', SQLSTATE, current_user;
END $$;
SELECT count(*) FROM asynx.events;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

SELECT asynx.delete('roles-opened'), asynx.delete('roles-1');
SELECT FROM asynx.drop_aggregate_type('roles type');
DROP SCHEMA roles_app CASCADE;
DROP ROLE regress_asynx_public, regress_asynx_reader, regress_asynx_sender, regress_asynx_writer, regress_asynx_admin;
