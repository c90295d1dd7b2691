-- Inline handlers and hooks run as their owner, whoever writes, and get nobody else's rights
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE ROLE regress_asynx_author IN ROLE asynx_admin;
CREATE ROLE regress_asynx_writer IN ROLE asynx_writer;
CREATE ROLE regress_asynx_other;
CREATE SCHEMA inline_rights AUTHORIZATION regress_asynx_author;
CREATE TABLE inline_rights.treasure (gold int);
CREATE FUNCTION inline_rights.of_super(e asynx.event) RETURNS void LANGUAGE sql AS '';
SET ROLE regress_asynx_author;
CREATE TABLE inline_rights.noted (who text, said text);
CREATE TABLE inline_rights.late (who name DEFAULT current_user);
CREATE FUNCTION inline_rights.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO inline_rights.noted VALUES (current_user, 'trigger');
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON inline_rights.late DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION inline_rights.at_commit();

-- Tries something and notes what it came to.
CREATE FUNCTION inline_rights.try(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE e.aggregate ->> 'try';
  INSERT INTO inline_rights.noted VALUES (current_user, 'done');
EXCEPTION WHEN OTHERS THEN
  INSERT INTO inline_rights.noted VALUES (current_user, sqlstate);
END $$;
CREATE FUNCTION inline_rights.hook(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM inline_rights.try(e);
END $$;

-- A handler is its owner's to register.
SELECT asynx.subscribe('inline.rights', 'inline_rights.of_super', 'inline_rights', mode => 'inline');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.on_forget('inline_rights.of_super');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.subscribe('inline.rights', 'inline_rights.try', 'inline_rights', mode => 'inline');
SELECT asynx.on_forget('inline_rights.hook') AS hook \gset
RESET ROLE;

-- A superuser writes.  Nothing of what follows gets further than its author may go.
CREATE FUNCTION pg_temp.try(what text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  said text;
BEGIN
  DELETE FROM inline_rights.noted;
  PERFORM asynx.write('inline-rights', 'inline.rights', jsonb_build_object('try', what));
  SELECT string_agg(who || ': ' || n.said, '; ') INTO said FROM inline_rights.noted AS n;
  RETURN said;
END $$;
SELECT pg_temp.try('SELECT 1');
SELECT pg_temp.try('SELECT gold FROM inline_rights.treasure');
SELECT pg_temp.try('RESET ROLE');
SELECT pg_temp.try('SET ROLE regress_asynx_other');
SELECT pg_temp.try('SET SESSION AUTHORIZATION DEFAULT');
SELECT pg_temp.try('CREATE TEMP TABLE t (a int)');
SELECT pg_temp.try('INSERT INTO inline_rights.late DEFAULT VALUES');
SELECT pg_temp.try('ALTER ROLE regress_asynx_author SUPERUSER');
SELECT pg_temp.try('SELECT pg_advisory_lock(1)');
SELECT pg_temp.try('DELETE FROM asynx.events');
SELECT pg_temp.try('UPDATE asynx.subscriptions SET owner = ''postgres''');
SELECT pg_temp.try('SELECT pg_read_file(''postgresql.conf'')');
SELECT pg_temp.try('SET search_path = pg_temp');
SHOW search_path;
DECLARE mine CURSOR WITH HOLD FOR SELECT 1;
SELECT pg_temp.try('CLOSE mine');
SELECT pg_temp.try('DECLARE theirs CURSOR WITH HOLD FOR SELECT 2');
SELECT name FROM pg_cursors ORDER BY name;
CLOSE mine;
SELECT count(*) FROM inline_rights.late;

-- A hook the same, and an unprivileged writer needs no rights on what the handler fills.
SELECT version FROM asynx.write('inline-rights', 'inline.rights', '{"try": "TABLE inline_rights.treasure"}');
DELETE FROM inline_rights.noted;
SELECT asynx.forget('inline-rights');
TABLE inline_rights.noted;
DELETE FROM inline_rights.noted;
SET ROLE regress_asynx_writer;
SELECT version FROM asynx.append('inline-rights', 1, 'inline.rights', '[{"op": "add", "path": "", "value": {"try": "SELECT 1"}}]');
SELECT count(*) FROM inline_rights.noted;
SELECT asynx.subscribe('a', 'inline_rights.try', mode => 'inline');
SELECT asynx.forget('inline-rights');
SELECT asynx.unsubscribe('inline_rights');
RESET ROLE;
TABLE inline_rights.noted;

-- An owner who has lost the function, or the role itself: the write says so.
ALTER FUNCTION inline_rights.try(asynx.event) OWNER TO regress_asynx_other;
SELECT asynx.append('inline-rights', 2, 'inline.rights', '[]');
\echo :LAST_ERROR_SQLSTATE

SELECT asynx.unsubscribe('inline_rights'), asynx.unsubscribe(:'hook');
SELECT asynx.delete('inline-rights');
SET client_min_messages = warning;
DROP SCHEMA inline_rights CASCADE;
DROP ROLE regress_asynx_author, regress_asynx_writer, regress_asynx_other;
