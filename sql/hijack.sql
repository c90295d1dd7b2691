-- A hostile search_path: objects named like ours and PostgreSQL's stand in front; none of them is ever executed
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
SELECT version FROM asynx.append('hijack-0', 1, 'e', '[{"op":"add","path":"","value":{"n":1}}]');

CREATE ROLE regress_asynx_hijack IN ROLE asynx_admin;
CREATE SCHEMA hijack AUTHORIZATION regress_asynx_hijack;
SET ROLE regress_asynx_hijack;

-- Whatever is executed of this schema raises, with the name of the current user.
CREATE FUNCTION hijack.caught(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'hijacked: % as %', what, current_user USING ERRCODE = 'HIJAK';
END $$;
-- An operator, exactly as typed, for each comparison and calculation that a statement of ours could mean.
DO $$
DECLARE
  type regtype;
  symbol text;
  result text;
BEGIN
  FOREACH type IN ARRAY ARRAY['text', 'bigint', 'integer', 'uuid', 'jsonb', 'timestamptz', 'boolean', 'name', 'oid']::regtype[] LOOP
    FOREACH symbol IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '+', '-', '||', '~', '~~', '->', '->>', '#>'] LOOP
      result := CASE WHEN symbol IN ('+', '-', '||', '->', '->>', '#>') THEN type::text ELSE 'boolean' END;
      EXECUTE format('CREATE FUNCTION hijack.%I(a %s, b %2$s) RETURNS %s LANGUAGE plpgsql AS $f$
                        BEGIN PERFORM hijack.caught(%L); RETURN NULL; END $f$', 'op ' || symbol, type, result, type || ' ' || symbol);
      EXECUTE format('CREATE OPERATOR hijack.%s (LEFTARG = %s, RIGHTARG = %2$s, FUNCTION = hijack.%I)', symbol, type, 'op ' || symbol);
    END LOOP;
  END LOOP;
  -- bigint with integer, as in version + 1
  FOREACH symbol IN ARRAY ARRAY['=', '<', '>', '+', '-'] LOOP
    EXECUTE format('CREATE FUNCTION hijack.%I(a bigint, b integer) RETURNS %s LANGUAGE plpgsql AS $f$
                      BEGIN PERFORM hijack.caught(%L); RETURN NULL; END $f$', 'op ' || symbol,
                   CASE WHEN symbol IN ('+', '-') THEN 'bigint' ELSE 'boolean' END, 'bigint-int ' || symbol);
    EXECUTE format('CREATE OPERATOR hijack.%s (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = hijack.%I)', symbol, 'op ' || symbol);
  END LOOP;
END $$;
-- Functions with the names and arguments of PostgreSQL's and of ours.
DO $$
DECLARE
  signature text;
BEGIN
  FOREACH signature IN ARRAY ARRAY[
    'now() RETURNS timestamptz', 'clock_timestamp() RETURNS timestamptz', 'count("any") RETURNS bigint',
    'gen_random_uuid() RETURNS uuid', 'nextval(regclass) RETURNS bigint', 'unnest(anyarray) RETURNS SETOF anyelement',
    'format(text, text) RETURNS text', 'hashtextextended(text, bigint) RETURNS bigint', 'jsonb_in(cstring) RETURNS jsonb',
    'next_position(regclass) RETURNS bigint', 'json_patch(jsonb, jsonb) RETURNS jsonb', 'feed_holders() RETURNS SETOF record',
    'append(text, bigint, text, jsonb) RETURNS void', 'get(text) RETURNS jsonb', 'length(text) RETURNS integer',
    'pg_advisory_xact_lock(bigint) RETURNS void', 'current_setting(text) RETURNS text', 'timestamptz(text) RETURNS timestamptz',
    'int4eq(integer, integer) RETURNS boolean', 'int8eq(bigint, bigint) RETURNS boolean', 'texteq(text, text) RETURNS boolean'
  ] LOOP
    CONTINUE WHEN signature ~ '"any"|cstring|record|anyarray';
    EXECUTE format('CREATE FUNCTION hijack.%s LANGUAGE plpgsql AS $f$ BEGIN PERFORM hijack.caught(%L); %s END $f$',
                   signature, signature, CASE WHEN signature LIKE '%void' THEN '' ELSE 'RETURN NULL;' END);
  END LOOP;
END $$;
CREATE FUNCTION hijack.count(bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM hijack.caught('count'); RETURN 0; END $$;
CREATE FUNCTION hijack.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN PERFORM hijack.caught('unnest'); END $$;
-- Types, tables, a cast and a collation with our names.
CREATE DOMAIN hijack.jsonb AS pg_catalog.jsonb CHECK (hijack.caught('jsonb') IS NULL);
CREATE DOMAIN hijack.uuid AS pg_catalog.uuid CHECK (hijack.caught('uuid') IS NULL);
CREATE DOMAIN hijack.text AS pg_catalog.text CHECK (hijack.caught('text') IS NULL);
CREATE DOMAIN hijack.timestamptz AS pg_catalog.timestamptz CHECK (hijack.caught('timestamptz') IS NULL);
CREATE TYPE hijack.stored_event AS (trap int);
CREATE TYPE hijack.event AS (trap int);
CREATE FUNCTION hijack.caught_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM hijack.caught(TG_RELNAME::pg_catalog.text); END $$;
DO $$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'asynx'::regnamespace AND relkind = 'r' LOOP
    EXECUTE format('CREATE TABLE hijack.%I (LIKE asynx.%1$I)', name);
    EXECUTE format('CREATE TRIGGER caught BEFORE INSERT OR UPDATE OR DELETE ON hijack.%I EXECUTE FUNCTION hijack.caught_row()', name);
  END LOOP;
END $$;
RESET ROLE;
CREATE SEQUENCE hijack.positions;
CREATE VIEW hijack.feed_status AS SELECT hijack.caught('feed_status');
CREATE COLLATION hijack."C" FROM "POSIX";
-- As a superuser one can even make a schema pg_catalog is not: the same in pg_temp, which is searched first for tables.
CREATE TEMPORARY TABLE events (LIKE asynx.events);
CREATE TEMPORARY TABLE snapshots (LIKE asynx.snapshots);
CREATE TEMPORARY TABLE aggregate_types (LIKE asynx.aggregate_types);
CREATE TRIGGER caught BEFORE INSERT OR UPDATE OR DELETE ON pg_temp.events EXECUTE FUNCTION hijack.caught_row();
CREATE TRIGGER caught BEFORE INSERT OR UPDATE OR DELETE ON pg_temp.snapshots EXECUTE FUNCTION hijack.caught_row();
GRANT ALL ON pg_temp.events, pg_temp.snapshots, pg_temp.aggregate_types TO PUBLIC;

-- The traps work: a statement that qualifies nothing falls into them.
SET search_path = hijack, pg_temp, pg_catalog;
DO $$ BEGIN PERFORM 1::bigint = 1::bigint; END $$;
\echo :LAST_ERROR_SQLSTATE
DO $$ BEGIN PERFORM now(); END $$;
\echo :LAST_ERROR_SQLSTATE
DO $$ BEGIN PERFORM '1'::jsonb; END $$;
\echo :LAST_ERROR_SQLSTATE
INSERT INTO events DEFAULT VALUES;
\echo :LAST_ERROR_SQLSTATE

-- Every function of ours, called with such a path.  It is the schema of the traps that is searched, before pg_catalog.
CREATE PROCEDURE hijack.call_everything(prefix pg_catalog.text) LANGUAGE plpgsql AS $$
DECLARE
  call pg_catalog.text;
BEGIN
  FOREACH call IN ARRAY ARRAY[
    'SELECT asynx.append(%1$L, 1, ''e'', ''[{"op":"add","path":"","value":{"a":[1,2,3]}}]'', metadata => ''{}'', id => ''00000000-0000-4000-8000-000000000001'', occurred_at => ''2001-01-01'')',
    'SELECT asynx.append(%1$L, 1, ''e'', ''[{"op":"add","path":"","value":{"a":[1,2,3]}}]'', metadata => ''{}'', id => ''00000000-0000-4000-8000-000000000001'', occurred_at => ''2001-01-01'')',
    'SELECT asynx.append(%1$L, 2, ''e'', ''[{"op":"copy","from":"/a","path":"/b"}]'')',
    'SELECT asynx.append_many(pg_catalog.format(''[{"aggregate_id":"%1$s","version":3,"event_name":"e","patch":[],"id":"00000000-0000-4000-8000-000000000003","occurred_at":"2001-01-01"},{"aggregate_id":"%1$s-many","version":1,"event_name":"e","patch":[]}]'')::pg_catalog.jsonb)',
    'SELECT * FROM asynx.read_from(%1$L, 0)', 'SELECT * FROM asynx.read_range(%1$L, 0, 9)',
    'SELECT * FROM asynx.read_all(0, 9)', 'SELECT * FROM asynx.read_all(0, 9, asynx.topic(''e''))',
    'SELECT asynx.count(%1$L, 0)', 'SELECT asynx.exists(%1$L)', 'SELECT * FROM asynx.aggregates()',
    'SELECT asynx.create_aggregate_type(%1$L, 1, ''{}'', 2)', 'SELECT asynx.alter_aggregate_type(%1$L, 2, 1)',
    'SELECT * FROM asynx.aggregates(%1$L, '''', 5)',
    'SELECT asynx.write(%1$L, ''e'', ''{"a":[3,2,1]}'', 3, ''default'', ''{}'', ''00000000-0000-4000-8000-000000000004'', true)',
    'SELECT asynx.write(%1$L, ''e'', ''{"a":[3,2,1]}'', 3, ''default'', ''{}'', ''00000000-0000-4000-8000-000000000004'', true)',
    'SELECT asynx.get(%1$L)', 'SELECT asynx.get(%1$L, 2)', 'SELECT asynx.get_at(%1$L, ''2100-01-01'')',
    'SELECT * FROM asynx.replay(%1$L, 2)', 'SELECT asynx.put_snapshot(%1$L, 4, asynx.get(%1$L))',
    'SELECT * FROM asynx.get_snapshot(%1$L)', 'SELECT asynx.delete_snapshot(%1$L)', 'SELECT asynx.preload(%1$L)',
    'SELECT asynx.safe_position()', 'SELECT * FROM asynx.feed_status', 'SELECT * FROM asynx.feed_holders()',
    'SELECT asynx.lifecycle_state()', 'SELECT asynx.resume()',
    'SELECT asynx.json_patch(''[1]'', ''[{"op":"test","path":"/0","value":1}]''), asynx.json_diff(''[1]'', ''{}''), asynx.json_pointer(''[1]'', ''/0'')',
    'SELECT asynx.json_patch_agg(e.patch ORDER BY e.version) FROM asynx.read_from(%1$L, 0) e',
    'SELECT asynx.drop_aggregate_type(%1$L)', 'SELECT asynx.delete(%1$L)', 'SELECT asynx.delete(''%1$s-many'')']::pg_catalog.text[]
  LOOP
    BEGIN
      EXECUTE pg_catalog.format(call, prefix);
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING '%: % %', call, SQLSTATE, SQLERRM;
    END;
  END LOOP;
END $$;
-- The traps must not catch the test's own statements: plpgsql resolves those of the procedure itself by this path.
\c -
SET client_min_messages = warning;
CREATE TEMPORARY TABLE events (LIKE asynx.events);
CREATE TEMPORARY TABLE snapshots (LIKE asynx.snapshots);
CREATE TEMPORARY TABLE aggregate_types (LIKE asynx.aggregate_types);
GRANT ALL ON pg_temp.events, pg_temp.snapshots, pg_temp.aggregate_types TO PUBLIC;
-- In a fresh session, which has planned nothing yet, first the superuser falls for nothing, then the role.
SET search_path = hijack, pg_temp, pg_catalog;
CALL hijack.call_everything('hijack-super');
SET search_path = pg_temp, hijack, pg_catalog;
CALL hijack.call_everything('hijack-super');
\c -
SET client_min_messages = warning;
SET ROLE regress_asynx_hijack;
SET search_path = hijack, pg_temp, pg_catalog;
CALL hijack.call_everything('hijack-role');
RESET search_path;
RESET ROLE;
-- Also a CREATE EXTENSION by a superuser with such a path, and what is then made of its expressions.
BEGIN;
SET LOCAL search_path = hijack, pg_temp, pg_catalog;
SET LOCAL asynx.allow_drop = on;
DROP EXTENSION asynx;
CREATE EXTENSION asynx;
CALL hijack.call_everything('hijack-new');
ROLLBACK;
RESET search_path;

-- What is stored by the whole is what it should be: nothing of these aggregates is left, nothing was put elsewhere.
SELECT asynx.get('hijack-0'), asynx.exists('hijack-super'), asynx.exists('hijack-role');
SELECT (SELECT count(*) FROM hijack.events) AS events, (SELECT count(*) FROM hijack.snapshots) AS snapshots;
DROP OWNED BY regress_asynx_hijack CASCADE;
DROP SCHEMA IF EXISTS hijack CASCADE;
DROP ROLE regress_asynx_hijack;
