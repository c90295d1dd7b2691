-- Registering commands: what is asked of their functions, and whose they may be
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE SCHEMA commands_app;
SELECT FROM asynx.create_aggregate_type('commands order');
CREATE FUNCTION commands_app.emit(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(current, '{}') || payload
$$;
CREATE FUNCTION commands_app.validate(current jsonb, payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT payload ->> 'no' $$;

-- By name, by signature, or by what the search_path says; what is stored is the whole signature.
SELECT FROM asynx.create_command('commands put', 'commands order', 'put', 'commands_app.emit', 'commands_app.validate(jsonb, jsonb)', true);
SET search_path = commands_app;
SELECT FROM asynx.create_command('commands keep', 'default', 'kept', 'emit');
RESET search_path;
SELECT name, aggregate_type, event_name, validate, emit, snapshot, owner = current_user AS mine FROM asynx.commands WHERE name LIKE 'commands %' ORDER BY name;
SELECT version, event_name, aggregate_type, aggregate FROM asynx.send('commands put', 'commands-1', '{"a": 1}');
SELECT version, (SELECT state FROM asynx.get_snapshot('commands-1')) AS snapshot FROM asynx.send('commands put', 'commands-1', '{"a": 2}');

-- A name is given once; dropped, it is free again and the events stay.
SELECT FROM asynx.create_command('commands put', 'default', 'put', 'commands_app.emit');
SELECT FROM asynx.drop_command('commands put');
SELECT FROM asynx.drop_command('commands put');
SELECT asynx.send('commands put', 'commands-1');
SELECT asynx.count('commands-1', 0);
SELECT FROM asynx.create_command('commands put', 'commands order', 'put', 'commands_app.emit', 'commands_app.validate');

-- What cannot be a command.
CREATE FUNCTION commands_app.volatile(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
CREATE FUNCTION commands_app.stable(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql STABLE AS 'SELECT payload';
CREATE FUNCTION commands_app.strict(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE STRICT AS 'SELECT payload';
CREATE FUNCTION commands_app.several(current jsonb, payload jsonb) RETURNS SETOF jsonb LANGUAGE sql IMMUTABLE AS 'SELECT payload';
CREATE FUNCTION commands_app.number(current jsonb, payload jsonb) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION commands_app.one(current jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT current';
CREATE FUNCTION pg_temp.temporary(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT payload';
CREATE FUNCTION pg_temp.said(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  detail text;
BEGIN
  EXECUTE statement;
  RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  RETURN concat_ws(' ', SQLSTATE, regexp_replace(SQLERRM, 'pg_temp_\d+', 'pg_temp'), nullif(detail, ''));
END $$;
SELECT emit, pg_temp.said(format('SELECT asynx.create_command(%L, %L, %L, %L)', 'commands no', 'default', 'e', emit)) AS said
FROM unnest(ARRAY['commands_app.volatile', 'commands_app.stable', 'commands_app.strict', 'commands_app.several', 'commands_app.number',
                  'commands_app.one', 'commands_app.one(jsonb)', 'commands_app.none', 'none', 'no_schema.none', 'pg_temp.temporary', 'commands_app.validate',
                  'pg_catalog.jsonb_concat', '', 'commands_app.', 'commands_app.emit(', 'commands_app.emit()', 'commands_app.emit)', 'commands_app.emit(jsonb, jsonb',
                  'commands_app.emit(jsonb, no_such_type)', 'commands_app.emit(jsonb, no_schema.t)', 'commands_app.emit(jsonb, 1 2)', 'no_schema.emit(jsonb, jsonb)', 'commands_app.none(jsonb, jsonb)',
                  '"commands_app', 'commands_app..emit', 'no_database.commands_app.emit', 'a.b.c.d', 'a.b.c.d(jsonb, jsonb)', '4711', '-', '(jsonb, jsonb)', NULL]) AS emit;
SELECT validate, pg_temp.said(format('SELECT asynx.create_command(%L, %L, %L, %L, %L)', 'commands no', 'default', 'e', 'commands_app.emit', validate)) AS said
FROM unnest(ARRAY['commands_app.number', 'commands_app.emit', 'commands_app.none', 'commands_app.volatile', '']) AS validate;
SELECT arguments, pg_temp.said(format('SELECT asynx.create_command(%s)', arguments)) AS said
FROM unnest(ARRAY[
  $$NULL, 'default', 'e', 'commands_app.emit'$$, $$' ', 'default', 'e', 'commands_app.emit'$$, $$'asynx.mine', 'default', 'e', 'commands_app.emit'$$,
  $$repeat('n', 201), 'default', 'e', 'commands_app.emit'$$,
  $$'commands no', NULL, 'e', 'commands_app.emit'$$, $$'commands no', 'commands no such type', 'e', 'commands_app.emit'$$,
  $$'commands no', 'default', NULL, 'commands_app.emit'$$, $$'commands no', 'default', 'asynx.e', 'commands_app.emit'$$,
  $$'commands no', 'default', 'e', 'commands_app.emit', NULL, NULL$$]) AS arguments;
SELECT pg_temp.said('SELECT asynx.drop_command(NULL)');

-- Nobody lends himself the rights of another: whoever registers a function has its owner's privileges.
CREATE ROLE regress_asynx_author IN ROLE asynx_admin;
CREATE ROLE regress_asynx_other IN ROLE asynx_admin;
CREATE ROLE regress_asynx_team;
GRANT regress_asynx_team TO regress_asynx_author;
GRANT USAGE, CREATE ON SCHEMA commands_app TO regress_asynx_author, regress_asynx_other, regress_asynx_team;
CREATE FUNCTION commands_app.of_team(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT to_jsonb(current_user) $$;
ALTER FUNCTION commands_app.of_team OWNER TO regress_asynx_team;
SET ROLE regress_asynx_author;
CREATE FUNCTION commands_app.of_author(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT to_jsonb(current_user) $$;
SELECT FROM asynx.create_command('commands author', 'default', 'e', 'commands_app.of_author');
SELECT FROM asynx.create_command('commands team', 'default', 'e', 'commands_app.of_team');
SELECT FROM asynx.create_command('commands robber', 'default', 'e', 'commands_app.emit');
SELECT FROM asynx.create_command('commands mixed', 'default', 'e', 'commands_app.of_author', 'commands_app.validate');
RESET ROLE;
SET ROLE regress_asynx_other;
SELECT FROM asynx.create_command('commands robber', 'default', 'e', 'commands_app.of_author');
RESET ROLE;
-- A superuser may register anybody's, but both functions of a command belong to one role.
ALTER FUNCTION commands_app.validate OWNER TO regress_asynx_other;
SELECT FROM asynx.create_command('commands mixed', 'default', 'e', 'commands_app.of_author', 'commands_app.validate');
SELECT aggregate FROM asynx.send('commands author', 'commands-2');
SELECT aggregate FROM asynx.send('commands team', 'commands-2');

-- At use: the function has another owner, is missing, is not pure any more, its owner's role is another.
ALTER FUNCTION commands_app.of_author OWNER TO regress_asynx_other;
SELECT asynx.send('commands author', 'commands-2');
\echo :LAST_ERROR_SQLSTATE
ALTER FUNCTION commands_app.of_author OWNER TO regress_asynx_author;
SELECT aggregate FROM asynx.send('commands author', 'commands-2');
ALTER FUNCTION commands_app.of_author VOLATILE;
SELECT asynx.send('commands author', 'commands-2');
\echo :LAST_ERROR_SQLSTATE
ALTER FUNCTION commands_app.of_author IMMUTABLE STRICT;
SELECT asynx.send('commands author', 'commands-2');
ALTER FUNCTION commands_app.of_author CALLED ON NULL INPUT;
SELECT aggregate FROM asynx.send('commands author', 'commands-2');
ALTER ROLE regress_asynx_author RENAME TO regress_asynx_renamed;
SELECT asynx.send('commands author', 'commands-2');
\echo :LAST_ERROR_SQLSTATE
ALTER ROLE regress_asynx_renamed RENAME TO regress_asynx_author;
SELECT aggregate FROM asynx.send('commands author', 'commands-2');
DROP FUNCTION commands_app.of_author;
SELECT asynx.send('commands author', 'commands-2');
\echo :LAST_ERROR_SQLSTATE
-- Somebody else's function of that name is not it.
SET ROLE regress_asynx_other;
CREATE FUNCTION commands_app.of_author(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT to_jsonb(current_user) $$;
RESET ROLE;
SELECT asynx.send('commands author', 'commands-2');
SELECT asynx.count('commands-2', 0);

-- A schema that has gone takes its functions along.
CREATE SCHEMA commands_gone;
CREATE FUNCTION commands_gone.emit(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT payload';
SELECT FROM asynx.create_command('commands gone', 'default', 'e', 'commands_gone.emit');
DROP SCHEMA commands_gone CASCADE;
SELECT asynx.send('commands gone', 'commands-2');
\echo :LAST_ERROR_SQLSTATE
-- The same when it is a function that sends it.
CREATE FUNCTION commands_app.sends(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN (asynx.send('commands gone', 'commands-3')).aggregate; END $$;
SELECT FROM asynx.create_command('commands sends', 'default', 'e', 'commands_app.sends');
SELECT asynx.send('commands sends', 'commands-2');
\echo :LAST_ERROR_SQLSTATE

-- A session knows a command as it is now, however it was changed.
ALTER FUNCTION commands_app.validate OWNER TO CURRENT_USER;
SELECT aggregate FROM asynx.send('commands put', 'commands-1', '{"known": 1}');
BEGIN;
SELECT FROM asynx.drop_command('commands put');
SELECT FROM asynx.create_command('commands put', 'commands order', 'put otherwise', 'commands_app.emit');
SELECT event_name FROM asynx.send('commands put', 'commands-1', '{"known": 2}');
SAVEPOINT s;
SELECT FROM asynx.drop_command('commands put');
SELECT asynx.send('commands put', 'commands-1');
ROLLBACK TO s;
SELECT event_name FROM asynx.send('commands put', 'commands-1', '{"known": 2}');
ROLLBACK;
SELECT event_name FROM asynx.send('commands put', 'commands-1', '{"known": 2}');
BEGIN;
SELECT FROM asynx.create_command('commands passing', 'default', 'e', 'commands_app.emit');
SELECT version > 0 AS sent FROM asynx.send('commands passing', 'commands-3');
ROLLBACK;
SELECT asynx.send('commands passing', 'commands-3');
SET session_replication_role = replica;
UPDATE asynx.commands SET event_name = 'put by hand' WHERE name = 'commands put';
RESET session_replication_role;
SELECT event_name FROM asynx.send('commands put', 'commands-1', '{"known": 3}');
BEGIN;
TRUNCATE asynx.commands;
SELECT asynx.send('commands put', 'commands-1');
ROLLBACK;
SELECT event_name FROM asynx.send('commands put', 'commands-1', '{"known": 4}');

-- A replaced function is the one that runs.
SELECT aggregate FROM asynx.send('commands keep', 'commands-3', '{"n": 1}');
CREATE OR REPLACE FUNCTION commands_app.emit(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT '"replaced"'::jsonb $$;
SELECT aggregate FROM asynx.send('commands keep', 'commands-3', '{"n": 2}');

SELECT asynx.drop_command(name) FROM asynx.commands WHERE name LIKE 'commands %';
SELECT count(asynx.delete(id)) FROM unnest(ARRAY['commands-1', 'commands-2', 'commands-3']) AS id;
SELECT FROM asynx.drop_aggregate_type('commands order');
SET client_min_messages = warning;
DROP SCHEMA commands_app CASCADE;
DROP ROLE regress_asynx_author, regress_asynx_other, regress_asynx_team;
