-- Nobody gains anybody's rights: not the sender, not the author of a command, whoever sends
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
CREATE SCHEMA rights_app;
CREATE TABLE rights_app.treasure (owner text);
CREATE TABLE rights_app.log (who text);
CREATE ROLE regress_asynx_author IN ROLE asynx_admin;
CREATE ROLE regress_asynx_sender IN ROLE asynx_sender;
CREATE ROLE regress_asynx_super SUPERUSER;
GRANT USAGE, CREATE ON SCHEMA rights_app TO regress_asynx_author;
GRANT INSERT ON rights_app.log TO regress_asynx_author;
RESET client_min_messages;

-- The author's function tries a statement and reports what came of it.
SET ROLE regress_asynx_author;
CREATE FUNCTION rights_app.try(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  EXECUTE payload ->> 'do';
  RETURN to_jsonb(format('as %s: done', current_user));
EXCEPTION WHEN OTHERS THEN
  RETURN to_jsonb(format('as %s: %s', current_user, SQLSTATE));
END $$;
SELECT FROM asynx.create_command('rights.try', 'default', 'tried', 'rights_app.try');
-- The same through a volatile function, to which PostgreSQL does not refuse writes.
CREATE FUNCTION rights_app.volatile(statement text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; END $$;
RESET ROLE;

CREATE FUNCTION pg_temp.try_all() RETURNS TABLE (statement text, outcome text) LANGUAGE sql AS $$
  SELECT s, (asynx.send('rights.try', 'rights-1', jsonb_build_object('do', format('SELECT rights_app.volatile(%L)', s)))).aggregate #>> '{}'
  FROM unnest(ARRAY[
    'INSERT INTO rights_app.log VALUES (current_user)',
    'INSERT INTO rights_app.treasure VALUES (current_user)',
    'SELECT * FROM rights_app.treasure',
    'DELETE FROM asynx.commands',
    'UPDATE asynx.snapshots SET state = ''1''',
    'SET ROLE regress_asynx_super',
    'RESET ROLE',
    'RESET SESSION AUTHORIZATION',
    'SET SESSION AUTHORIZATION regress_asynx_super',
    'SET LOCAL asynx.allow_drop = on',
    'SET asynx.max_document_size = ''1MB''',
    'ALTER ROLE regress_asynx_author SUPERUSER',
    'GRANT regress_asynx_super TO regress_asynx_author',
    'CREATE TEMPORARY TABLE events ()',
    'DECLARE later CURSOR WITH HOLD FOR SELECT 1',
    'SET CONSTRAINTS ALL DEFERRED',
    'LISTEN asynx_wake',
    'SELECT asynx.create_command(''rights.rob'', ''default'', ''e'', ''rights_app.super'')']) AS s
$$;
CREATE FUNCTION rights_app.super(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT payload';
GRANT EXECUTE ON FUNCTION pg_temp.try_all() TO PUBLIC;

-- It is the author who acts, if a superuser sends and if an unprivileged sender does, and to him the same is refused.
SELECT * FROM pg_temp.try_all();
CREATE TEMPORARY TABLE by_super AS SELECT * FROM pg_temp.try_all();
GRANT SELECT ON by_super TO PUBLIC;
SET ROLE regress_asynx_sender;
SELECT statement FROM pg_temp.try_all() EXCEPT SELECT statement FROM by_super;
SELECT count(*) FROM (SELECT * FROM pg_temp.try_all() EXCEPT SELECT * FROM by_super) AS otherwise;
-- A sender has the command and nothing else of the author's.
SELECT rights_app.try(NULL, '{}');
SELECT asynx.create_command('rights.mine', 'default', 'e', 'rights_app.try');
SELECT asynx.drop_command('rights.try');
SELECT asynx.write('rights-1', 'e', '1');
SELECT * FROM asynx.commands;
RESET ROLE;
SELECT DISTINCT who FROM rights_app.log;
SELECT count(*) FROM rights_app.treasure;
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_asynx_author';

-- An IMMUTABLE function's own writes are refused.
SELECT aggregate FROM asynx.send('rights.try', 'rights-1', '{"do": "INSERT INTO rights_app.log VALUES (current_user)"}');

-- A deferred trigger would run at commit, as whoever sends: the restricted context refuses to set it up.
SET ROLE regress_asynx_author;
CREATE TABLE rights_app.deferred (n int);
CREATE FUNCTION rights_app.trap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO rights_app.treasure VALUES (current_user);
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER trap AFTER INSERT ON rights_app.deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rights_app.trap();
RESET ROLE;
SELECT aggregate FROM asynx.send('rights.try', 'rights-1', '{"do": "SELECT rights_app.volatile(''INSERT INTO rights_app.deferred VALUES (1)'')"}');
SELECT count(*) FROM rights_app.treasure;

-- What the sender's session holds is no way in: its path, its temporary objects, its settings.
SET ROLE regress_asynx_author;
CREATE FUNCTION rights_app.path(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  PERFORM set_config('search_path', 'nowhere', payload ? 'local'), set_config('work_mem', '123kB', payload ? 'local');
  RETURN to_jsonb(current_setting('search_path'));
END $$;
CREATE FUNCTION rights_app.sees(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN jsonb_build_array(current_setting('search_path'), 1 + 1, length('abc'), (SELECT count(*) FROM log) > 0);
END $$;
CREATE FUNCTION rights_app.own_path(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = rights_app, public AS $$
BEGIN
  RETURN to_jsonb(current_setting('search_path'));
END $$;
SELECT FROM asynx.create_command('rights.path', 'default', 'e', 'rights_app.path');
SELECT FROM asynx.create_command('rights.sees', 'default', 'e', 'rights_app.sees');
SELECT FROM asynx.create_command('rights.own_path', 'default', 'e', 'rights_app.own_path');
RESET ROLE;
GRANT SELECT ON rights_app.log TO regress_asynx_author;
SET ROLE regress_asynx_sender;
SET search_path = pg_temp, public;
CREATE TEMPORARY TABLE log (who text);
CREATE FUNCTION pg_temp.caught(a int, b int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'caught as %', current_user; END $$;
CREATE OPERATOR pg_temp.+ (LEFTARG = int, RIGHTARG = int, FUNCTION = pg_temp.caught);
CREATE FUNCTION pg_temp.length(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'caught as %', current_user; END $$;
SELECT aggregate FROM asynx.send('rights.sees', 'rights-2');
SELECT aggregate FROM asynx.send('rights.own_path', 'rights-2');
SELECT aggregate FROM asynx.send('rights.path', 'rights-2', '{}');
SELECT aggregate FROM asynx.send('rights.path', 'rights-2', '{"local": true}');
SHOW search_path;
RESET search_path;
RESET ROLE;
SHOW work_mem;

-- A cast and an operator of the author's are his affair as well: they run as him.
SET ROLE regress_asynx_author;
CREATE TYPE rights_app.coin AS (worth int);
CREATE FUNCTION rights_app.mint(coin rights_app.coin) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb('minted as ' || current_user) $$;
CREATE CAST (rights_app.coin AS jsonb) WITH FUNCTION rights_app.mint(rights_app.coin) AS ASSIGNMENT;
CREATE FUNCTION rights_app.cast(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT ROW(1)::rights_app.coin::jsonb $$;
SELECT FROM asynx.create_command('rights.cast', 'default', 'e', 'rights_app.cast');
RESET ROLE;
SELECT aggregate FROM asynx.send('rights.cast', 'rights-2');

-- validate runs as the author too, and a superuser's own function as its owner for everybody.
SET ROLE regress_asynx_author;
CREATE FUNCTION rights_app.who(current jsonb, payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'validated as ' || current_user $$;
SELECT FROM asynx.create_command('rights.who', 'default', 'e', 'rights_app.try', 'rights_app.who');
RESET ROLE;
SELECT asynx.send('rights.who', 'rights-2');
SET ROLE regress_asynx_super;
CREATE FUNCTION rights_app.of_super(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT to_jsonb(current_user) $$;
SELECT FROM asynx.create_command('rights.super', 'default', 'e', 'rights_app.of_super');
RESET ROLE;
SET ROLE regress_asynx_sender;
SELECT aggregate, current_user FROM asynx.send('rights.super', 'rights-2');
RESET ROLE;

SELECT count(asynx.drop_command(name)) FROM asynx.commands WHERE name LIKE 'rights.%';
SELECT count(asynx.delete(id)) FROM unnest(ARRAY['rights-1', 'rights-2']) AS id;
SET client_min_messages = warning;
DROP OWNED BY regress_asynx_author, regress_asynx_super, regress_asynx_sender CASCADE;
DROP SCHEMA rights_app CASCADE;
DROP ROLE regress_asynx_author, regress_asynx_sender, regress_asynx_super;
