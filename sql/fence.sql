-- A function behind the fence reaches nothing that the caller's session found by name or number
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
CREATE SCHEMA fence_app;
CREATE ROLE regress_asynx_author IN ROLE asynx_admin;
GRANT USAGE, CREATE ON SCHEMA fence_app TO regress_asynx_author;
CREATE TABLE fence_app.treasure AS SELECT n FROM generate_series(1, 30) AS n;
CREATE TABLE fence_app.proof (who text);
GRANT INSERT ON fence_app.proof TO PUBLIC;
RESET client_min_messages;

-- Whoever runs a query of this function leaves a proof of who he was.
SET ROLE regress_asynx_author;
CREATE FUNCTION fence_app.trap() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO fence_app.proof VALUES (current_user);
  RETURN -1;
END $$;
CREATE FUNCTION fence_app.opens(name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  c refcursor := name;
BEGIN
  OPEN c FOR SELECT fence_app.trap();
END $$;
-- One attack on a cursor; what came of it is the new state.
CREATE FUNCTION fence_app.attack(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  c refcursor := payload ->> 'name';
  row record;
BEGIN
  CASE payload ->> 'how'
    WHEN 'close' THEN CLOSE c; PERFORM fence_app.opens(payload ->> 'name');
    WHEN 'close all' THEN PERFORM fence_app.runs('CLOSE ALL');
    WHEN 'close by name' THEN PERFORM fence_app.runs(format('CLOSE %I', payload ->> 'name'));
    WHEN 'open' THEN PERFORM fence_app.opens(payload ->> 'name');
    WHEN 'open and leave' THEN PERFORM fence_app.opens('left open'), fence_app.opens('left open, too');
    WHEN 'open and fail' THEN PERFORM fence_app.opens('left open'); RAISE EXCEPTION 'fails';
    WHEN 'fetch' THEN FETCH c INTO row;
    WHEN 'move' THEN MOVE c;
    WHEN 'move back' THEN MOVE ABSOLUTE 0 FROM c;
    WHEN 'xml' THEN PERFORM cursor_to_xml(c, 10, true, true, '');
    WHEN 'list' THEN PERFORM FROM pg_cursors;
    WHEN 'statements' THEN PERFORM FROM pg_prepared_statements;
  END CASE;
  RETURN to_jsonb(format('done %s', row));
EXCEPTION WHEN OTHERS THEN
  IF SQLERRM = 'fails' THEN
    RAISE;
  END IF;
  RETURN to_jsonb(concat_ws(' ', SQLSTATE, SQLERRM));
END $$;
CREATE FUNCTION fence_app.runs(statement text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; END $$;
SELECT FROM asynx.create_command('fence.attack', 'default', 'attacked', 'fence_app.attack');
RESET ROLE;
CREATE FUNCTION pg_temp.attack(how text, name text) RETURNS text LANGUAGE sql AS $$
  SELECT aggregate #>> '{}' FROM asynx.send('fence.attack', 'fence-1', jsonb_build_object('how', how, 'name', name))
$$;

-- A cursor that was declared: every attack fails, and the cursor goes on where it was.
BEGIN;
DECLARE mine SCROLL CURSOR FOR SELECT n FROM fence_app.treasure;
FETCH mine;
SELECT how, pg_temp.attack(how, 'mine')
FROM unnest(ARRAY['close', 'close by name', 'close all', 'open', 'fetch', 'move', 'move back', 'xml', 'list', 'statements', 'open and leave']) AS how;
FETCH mine;
SELECT name FROM pg_cursors WHERE name IN ('mine', 'left open', 'left open, too');
-- an error that is caught leaves it usable, and nothing open
DO $$
BEGIN
  PERFORM pg_temp.attack('open and fail', 'mine');
EXCEPTION WHEN SQLSTATE 'SX004' THEN
  RAISE NOTICE 'caught';
END $$;
FETCH mine;
SELECT name FROM pg_cursors WHERE name IN ('mine', 'left open', 'left open, too');
-- one that was read to its end, and then back
MOVE FORWARD ALL FROM mine;
SELECT how, pg_temp.attack(how, 'mine') FROM unnest(ARRAY['close', 'fetch', 'move back']) AS how;
FETCH PRIOR FROM mine;
CLOSE mine;
COMMIT;

-- A cursor that survived its transaction.
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT n FROM fence_app.treasure;
COMMIT;
FETCH held;
SELECT how, pg_temp.attack(how, 'held') FROM unnest(ARRAY['close', 'close all', 'open', 'fetch', 'move']) AS how;
SELECT asynx.send('fence.attack', 'fence-1', '{"how": "open and fail"}');
FETCH held;
CLOSE held;

-- A refcursor of a PL/pgSQL caller, one with a name and one without, and one that is still to be opened.
DO $$
DECLARE
  named refcursor := 'named';
  unnamed refcursor;
  later refcursor := 'left open';
  n int;
  how text;
BEGIN
  OPEN named FOR SELECT t.n FROM fence_app.treasure t;
  OPEN unnamed FOR SELECT t.n FROM fence_app.treasure t;
  FETCH named INTO n;
  FOREACH how IN ARRAY ARRAY['close', 'open', 'fetch', 'move', 'open and leave'] LOOP
    RAISE NOTICE '% %', how, pg_temp.attack(how, 'named');
    RAISE NOTICE '% %', how, regexp_replace(pg_temp.attack(how, unnamed::text), '\d+>', 'N>');
  END LOOP;
  OPEN later FOR SELECT 1;
  FETCH named INTO n;
  RAISE NOTICE '%', n;
  FETCH unnamed INTO n;
  RAISE NOTICE '%', n;
END $$;

-- A loop over a query is a cursor too: no row is stolen.
DO $$
DECLARE
  mine text;
  r record;
  n int := 0;
  total int := 0;
  failed text[] := '{}';
BEGIN
  FOR r IN SELECT t.n FROM fence_app.treasure t LOOP
    SELECT name INTO mine FROM pg_cursors WHERE statement LIKE '%fence_app.treasure t';
    IF n = 0 THEN
      failed := failed || pg_temp.attack('close', mine) || pg_temp.attack('fetch', mine) || pg_temp.attack('move', mine);
    END IF;
    n := n + 1;
    total := total + r.n;
  END LOOP;
  RAISE NOTICE '% rows, sum %', n, total;
  RAISE NOTICE '%', regexp_replace(failed::text, '\d+>', 'N>', 'g');
END $$;

-- also if the function fails and that is caught, and across a COMMIT, which turns the loop's cursor into one that is held
CREATE PROCEDURE pg_temp.loop() LANGUAGE plpgsql AS $$
DECLARE
  mine text;
  r record;
  total int := 0;
  said text[] := '{}';
BEGIN
  FOR r IN SELECT t.n FROM fence_app.treasure t LOOP
    SELECT name INTO mine FROM pg_cursors WHERE statement LIKE '%fence_app.treasure t';
    BEGIN
      PERFORM pg_temp.attack('open and fail', mine);
    EXCEPTION WHEN SQLSTATE 'SX004' THEN
      total := total + r.n;
    END;
    IF r.n > 28 THEN
      said := said || pg_temp.attack('close', mine) || pg_temp.attack('fetch', mine) || pg_temp.attack('open and leave', mine);
    END IF;
    COMMIT;
  END LOOP;
  RAISE NOTICE 'sum %', total;
  RAISE NOTICE '%', regexp_replace(said::text, '\d+>', 'N>', 'g');
END $$;
CALL pg_temp.loop();
SELECT count(*) FROM pg_cursors WHERE name LIKE 'left open%';
-- Nobody ran the author's query with rights that are not his.
SELECT DISTINCT who FROM fence_app.proof;

-- The portals of a function are out of reach for the functions of a command that it sends.
SET ROLE regress_asynx_author;
CREATE FUNCTION fence_app.outer(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  c refcursor := 'of outer';
  said jsonb;
  n int;
BEGIN
  OPEN c FOR SELECT 1 UNION ALL SELECT 2;
  said := (asynx.send('fence.attack', 'fence-2', jsonb_build_object('how', payload ->> 'how', 'name', 'of outer'))).aggregate;
  FETCH c INTO n;
  CLOSE c;
  RETURN jsonb_build_array(said, n);
END $$;
SELECT FROM asynx.create_command('fence.outer', 'default', 'e', 'fence_app.outer');
RESET ROLE;
SELECT how, (asynx.send('fence.outer', 'fence-1', jsonb_build_object('how', how))).aggregate FROM unnest(ARRAY['close', 'open', 'fetch', 'open and leave']) AS how;

-- Upcasters are behind the fence as well.
SET ROLE regress_asynx_author;
CREATE FUNCTION fence_app.upcaster(event_name text, patch jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', fence_app.attack(NULL, '{"how": "fetch", "name": "mine"}')));
END $$;
SELECT FROM asynx.create_aggregate_type('fence', 2);
SELECT FROM asynx.create_upcaster('fence', 1, 'fence_app.upcaster');
RESET ROLE;
SELECT version FROM asynx.append('fence-3', 1, 'e', '[]', 'fence', schema_version => 1);
BEGIN;
DECLARE mine CURSOR FOR SELECT n FROM fence_app.treasure;
SELECT asynx.get('fence-3');
FETCH mine;
COMMIT;

-- Advisory locks of the session are refused, those of the transaction are not; the caller's stay.
SET ROLE regress_asynx_author;
CREATE FUNCTION fence_app.try(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  said text;
BEGIN
  EXECUTE 'SELECT ' || (payload ->> 'do') INTO said;
  RETURN to_jsonb(concat_ws(' ', 'done', said));
EXCEPTION WHEN OTHERS THEN
  RETURN to_jsonb(concat_ws(' ', SQLSTATE, SQLERRM));
END $$;
CREATE FUNCTION fence_app.simple(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  got boolean := pg_try_advisory_lock(4711);
BEGIN
  RETURN to_jsonb(got);
END $$;
CREATE FUNCTION fence_app.locks() RETURNS boolean LANGUAGE sql AS 'SELECT pg_try_advisory_lock(4711)';
CREATE FUNCTION fence_app.sql(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT to_jsonb(fence_app.locks())';
SELECT FROM asynx.create_command('fence.try', 'default', 'e', 'fence_app.try');
SELECT FROM asynx.create_command('fence.simple', 'default', 'e', 'fence_app.simple');
SELECT FROM asynx.create_command('fence.sql', 'default', 'e', 'fence_app.sql');
RESET ROLE;
SELECT pg_advisory_lock(4712), pg_advisory_lock_shared(47, 13);
SELECT what, aggregate #>> '{}' AS said
FROM unnest(ARRAY['pg_advisory_lock(4711)', 'pg_advisory_lock_shared(4711)', 'pg_try_advisory_lock(4711)', 'pg_try_advisory_lock_shared(4711)',
                  'pg_advisory_lock(47, 11)', 'pg_advisory_lock_shared(47, 11)', 'pg_try_advisory_lock(47, 11)', 'pg_try_advisory_lock_shared(47, 11)',
                  'pg_advisory_unlock(4712)', 'pg_advisory_unlock_shared(4712)', 'pg_advisory_unlock(47, 13)', 'pg_advisory_unlock_shared(47, 13)', 'pg_advisory_unlock_all()',
                  'pg_advisory_xact_lock(4711)', 'pg_try_advisory_xact_lock_shared(4711)']) AS what,
     LATERAL asynx.send('fence.try', 'fence-1', jsonb_build_object('do', what));
SELECT asynx.send('fence.simple', 'fence-1');
SELECT asynx.send('fence.sql', 'fence-1');
SELECT classid, objid, objsubid, mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid IN (1, 2) ORDER BY objid;
SELECT pg_advisory_unlock(4712), pg_advisory_unlock_shared(47, 13);
-- Every function of the server that takes or releases one by that name is among those refused.
SELECT p.oid::regprocedure AS not_refused FROM pg_proc p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^pg_(try_)?advisory_' AND p.proname !~ '_xact_' AND NOT EXISTS (
  SELECT FROM asynx.send('fence.try', 'fence-1', jsonb_build_object('do',
    format('%I(%s)', p.proname, (SELECT string_agg('4711', ', ') FROM generate_series(1, p.pronargs))))) AS e
  WHERE e.aggregate #>> '{}' LIKE '42501 %');

-- A large object that the caller opened cannot be read by its number, nor one be left open; by OID everybody has his own rights.
BEGIN;
SELECT lo_from_bytea(4711, 'secret') = 4711 AS made;
SELECT lo_open(4711, x'40000'::int) AS fd \gset
SELECT what, aggregate #>> '{}' AS said
FROM unnest(ARRAY['loread(%s, 10)', 'lowrite(%s, ''x'')', 'lo_lseek(%s, 0, 0)', 'lo_lseek64(%s, 0, 0)', 'lo_tell(%s)', 'lo_tell64(%s)', 'lo_truncate(%s, 0)', 'lo_truncate64(%s, 0)',
                  'lo_close(%s)', 'lo_open(4711, 262144)', 'lo_get(4711)']) AS what,
     LATERAL asynx.send('fence.try', 'fence-1', jsonb_build_object('do', format(what, :fd)));
SELECT loread(:fd, 10);
ROLLBACK;
-- No operator is made of such a function: the planner would run it to see how many of a column's values it holds for.
SET ROLE regress_asynx_author;
CREATE OPERATOR fence_app.@ (LEFTARG = int, RIGHTARG = int, FUNCTION = pg_advisory_unlock, RESTRICT = eqsel);
CREATE OPERATOR fence_app.@@ (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq, RESTRICT = eqsel, COMMUTATOR = OPERATOR(fence_app.@@@));
CREATE OPERATOR fence_app.@@@ (LEFTARG = int, RIGHTARG = int, FUNCTION = pg_try_advisory_lock);
RESET ROLE;

-- Nor the columns of a cursor, what the session listens to, and what it has prepared: its plan may hold what only the caller may ask for.
SET ROLE regress_asynx_author;
CREATE FUNCTION fence_app.says(statement text) RETURNS text LANGUAGE plpgsql SET search_path = public AS $$
DECLARE
  said text;
BEGIN
  EXECUTE statement INTO said;
  RETURN said;
END $$;
RESET ROLE;
CREATE FUNCTION public.fence_secret() RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 'a secret'; END $$;
REVOKE EXECUTE ON FUNCTION public.fence_secret() FROM PUBLIC;
PREPARE fence_plan AS SELECT public.fence_secret();
EXECUTE fence_plan;
BEGIN;
DECLARE mine CURSOR FOR SELECT n FROM fence_app.treasure;
SELECT what, aggregate #>> '{}' AS said
FROM unnest(ARRAY['SELECT public.fence_secret()', 'EXECUTE fence_plan', 'EXPLAIN EXECUTE fence_plan', 'EXPLAIN CREATE TABLE fence_app.copy AS EXECUTE fence_plan',
                  'SELECT cursor_to_xmlschema(''mine'', true, true, '''')', 'SELECT pg_listening_channels()']) AS what,
     LATERAL asynx.send('fence.try', 'fence-1', jsonb_build_object('do', format('fence_app.says(%L)', what)));
COMMIT;
DEALLOCATE fence_plan;
DROP FUNCTION public.fence_secret();

-- Triggers that the caller has put off are not run before their time, as the author and with his search_path.
CREATE TABLE fence_app.watched (n int);
CREATE FUNCTION fence_app.watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO fence_app.proof VALUES ('watched as ' || current_user); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER watch AFTER INSERT ON fence_app.watched DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fence_app.watch();
BEGIN;
INSERT INTO fence_app.watched VALUES (1);
SELECT aggregate #>> '{}' AS said FROM asynx.send('fence.try', 'fence-1', '{"do": "fence_app.runs(''SET CONSTRAINTS ALL IMMEDIATE'')"}');
COMMIT;
SELECT count(*), bool_and(who = 'watched as ' || current_user) AS as_the_caller FROM fence_app.proof WHERE who LIKE 'watched%';

-- Outside of such functions all of it is as ever, also after an error of one.
SELECT pg_try_advisory_lock(4711), pg_advisory_unlock(4711);

SELECT count(asynx.drop_command(name)) FROM asynx.commands WHERE name LIKE 'fence.%';
SELECT count(asynx.delete(id)) FROM unnest(ARRAY['fence-1', 'fence-2', 'fence-3']) AS id;
SELECT FROM asynx.drop_upcaster('fence', 1);
SELECT FROM asynx.drop_aggregate_type('fence');
SET client_min_messages = warning;
DROP SCHEMA fence_app CASCADE;
DROP ROLE regress_asynx_author;
