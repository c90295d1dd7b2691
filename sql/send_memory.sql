-- A session does not grow with the commands that fail in it
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE SCHEMA memory_app;
CREATE FUNCTION memory_app.in_sql(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT to_jsonb(1 / (payload ->> 'n')::int) $$;
CREATE FUNCTION memory_app.in_plpgsql(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN to_jsonb(1 / (payload ->> 'n')::int); END $$;
-- One that sends its own command to others before it fails: the inner call fails too, or does not.
CREATE FUNCTION memory_app.nested(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN (payload ->> 'n')::int > 0
              THEN to_jsonb((asynx.send('memory.nested', 'memory-' || (payload ->> 'n'), jsonb_build_object('n', (payload ->> 'n')::int - 1, 'by', payload -> 'by'))).version / 0)
              ELSE to_jsonb(1 / (payload ->> 'by')::int) END
$$;
CREATE FUNCTION memory_app.rejects(current jsonb, payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'no ' || (1 / (payload ->> 'n')::int) $$;
SELECT FROM asynx.create_command('memory.in_sql', 'default', 'e', 'memory_app.in_sql');
SELECT FROM asynx.create_command('memory.in_plpgsql', 'default', 'e', 'memory_app.in_plpgsql');
SELECT FROM asynx.create_command('memory.nested', 'default', 'e', 'memory_app.nested');
SELECT FROM asynx.create_command('memory.rejects', 'default', 'e', 'memory_app.in_sql', 'memory_app.rejects');
CREATE PROCEDURE pg_temp.fail(times int, command text, payload jsonb) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. times LOOP
    BEGIN
      PERFORM asynx.send(command, 'memory-0', payload);
      RAISE EXCEPTION USING ERRCODE = 'XX000', MESSAGE = 'it does not fail';
    EXCEPTION WHEN SQLSTATE 'SX002' OR SQLSTATE 'SX004' THEN
      NULL;
    END;
    IF i % 10 = 0 THEN
      COMMIT;
    END IF;
  END LOOP;
END $$;
CREATE FUNCTION pg_temp.used() RETURNS bigint LANGUAGE sql AS 'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';
-- Each kind of failure 20 times, to fill the caches, and then 200 times more.
CREATE PROCEDURE pg_temp.measure(command text, payload jsonb) LANGUAGE plpgsql AS $$
DECLARE
  before bigint;
  after bigint;
BEGIN
  CALL pg_temp.fail(20, command, payload);
  COMMIT;
  before := pg_temp.used();
  CALL pg_temp.fail(200, command, payload);
  COMMIT;
  after := pg_temp.used();
  RAISE NOTICE '% %: %', command, payload, CASE WHEN after - before < 200 * 1024 THEN 'does not grow' ELSE format('grew by %s bytes', after - before) END;
END $$;
CALL pg_temp.measure('memory.in_sql', '{"n": 0}');
CALL pg_temp.measure('memory.in_plpgsql', '{"n": 0}');
CALL pg_temp.measure('memory.nested', '{"n": 2, "by": 0}');
CALL pg_temp.measure('memory.nested', '{"n": 2, "by": 1}');
CALL pg_temp.measure('memory.rejects', '{"n": 0}');
CALL pg_temp.measure('memory.rejects', '{"n": 1}');
-- A function that failed runs as ever.
SELECT aggregate FROM asynx.send('memory.in_sql', 'memory-0', '{"n": 1}');
-- One that is replaced while it runs, too: the next call is of the new one.
CREATE FUNCTION memory_app.replaces() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  CREATE OR REPLACE FUNCTION memory_app.changing(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $f$ SELECT '"new"'::jsonb $f$;
  RETURN (SELECT count(*) FROM asynx.send('memory.changing', 'memory-2'));
END $$;
CREATE FUNCTION memory_app.changing(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $f$ SELECT to_jsonb('old ' || memory_app.replaces()) $f$;
SELECT FROM asynx.create_command('memory.changing', 'default', 'e', 'memory_app.changing');
SELECT aggregate, asynx.get('memory-2') FROM asynx.send('memory.changing', 'memory-1');
SELECT aggregate FROM asynx.send('memory.changing', 'memory-1');

SELECT count(asynx.drop_command(name)) FROM asynx.commands WHERE name LIKE 'memory.%';
SELECT count(asynx.delete(id)) FROM unnest(ARRAY['memory-0', 'memory-1', 'memory-2']) AS id;
SET client_min_messages = warning;
DROP SCHEMA memory_app CASCADE;
