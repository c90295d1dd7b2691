-- send: the whole pipeline of a command
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE SCHEMA send_app;
SELECT FROM asynx.create_aggregate_type('send account', 3, '{"balance": 0}', 2);
CREATE FUNCTION send_app.credit(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('balance', coalesce((current ->> 'balance')::numeric, 0) + (payload ->> 'amount')::numeric, 'first', current IS NULL)
$$;
CREATE FUNCTION send_app.echo(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT payload -> 'state' $$;
CREATE FUNCTION send_app.same(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce(current, 'null') $$;
CREATE FUNCTION send_app.sufficient(current jsonb, payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN (current ->> 'balance')::numeric + (payload ->> 'amount')::numeric < 0 THEN 'the account has not enough' ELSE '' END
$$;
CREATE FUNCTION send_app.sensible(current jsonb, payload jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_typeof(payload -> 'state') = 'object'
$$;
SELECT FROM asynx.create_command('send.credit', 'send account', 'account.credited', 'send_app.credit', 'send_app.sufficient');
SELECT FROM asynx.create_command('send.echo', 'default', 'echoed', 'send_app.echo');
SELECT FROM asynx.create_command('send.same', 'default', 'same', 'send_app.same');
SELECT FROM asynx.create_command('send.object', 'default', 'objected', 'send_app.echo', 'send_app.sensible', true);

-- The first command sees no state, also if the type has a seed; the event's states are the seed and the new one.
SELECT version, event_name, schema_version, aggregate_type, previous_aggregate, aggregate, metadata, patch
FROM asynx.send('send.credit', 'send-1', '{"amount": 10}', '{"by": "me"}');
SELECT version, previous_aggregate, aggregate, metadata, patch FROM asynx.send('send.credit', 'send-1', '{"amount": -4.50}');
-- The type's policy, or the command, leaves snapshots.
SELECT version, state FROM asynx.get_snapshot('send-1');
SELECT version FROM asynx.send('send.object', 'send-2', '{"state": {"a": 1}}');
SELECT version, state FROM asynx.get_snapshot('send-2');

-- An unchanged state is an event too.  The payload may be left out.
SELECT version, patch FROM asynx.send('send.same', 'send-3');
SELECT version, patch FROM asynx.send('send.same', 'send-3');
SELECT version, patch, aggregate FROM asynx.send('send.echo', 'send-3', '{"state": null}');

-- Rejected: by a text, by false; nothing is written.
SELECT asynx.send('send.credit', 'send-1', '{"amount": -100}');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.send('send.object', 'send-2', '{"state": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.count('send-1', 0), asynx.count('send-2', 0);

-- No state: pipeline_failed.  A state that is too deep: document_limit.
SELECT asynx.send('send.echo', 'send-3', '{}');
\echo :LAST_ERROR_SQLSTATE
SET asynx.max_document_depth = 3;
SELECT asynx.send('send.echo', 'send-3', '{"state": [[[[1]]]]}');
\echo :LAST_ERROR_SQLSTATE
RESET asynx.max_document_depth;

-- What validate and emit raise, and what the sender gets to hear.
CREATE FUNCTION send_app.raise(current jsonb, payload jsonb) RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = payload ->> 'raise', MESSAGE = 'the function says no', DETAIL = 'its detail', HINT = 'its hint';
END $$;
CREATE FUNCTION send_app.emit_raise(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = payload ->> 'raise', MESSAGE = 'the function says no', DETAIL = 'its detail', HINT = 'its hint';
END $$;
SELECT FROM asynx.create_command('send.reject', 'default', 'e', 'send_app.same', 'send_app.raise');
SELECT FROM asynx.create_command('send.fail', 'default', 'e', 'send_app.emit_raise');
CREATE FUNCTION pg_temp.said(statement text) RETURNS TABLE (code text, message text, detail text, hint text) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  message := 'nothing';
  RETURN NEXT;
EXCEPTION WHEN query_canceled OR OTHERS THEN
  code := SQLSTATE;
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN NEXT;
END $$;
SELECT command, raised, said.*
FROM unnest(ARRAY['send.reject', 'send.fail']) AS command,
     unnest(ARRAY['P0001', '23505', '23514', 'SX002', 'SX001', 'SX003', '22012', 'P0002', 'XX000', '42501', '55006', '40001', '40P01', '53200', '55P03', '57014', '57P01', 'SX009']) AS raised,
     LATERAL pg_temp.said(format($$SELECT asynx.send(%L, 'send-3', %L)$$, command, jsonb_build_object('raise', raised))) AS said
ORDER BY command DESC, raised COLLATE "C";
-- PostgreSQL's own detail of a violated constraint would quote the value.
CREATE DOMAIN send_app.small AS integer CHECK (VALUE < 10);
CREATE FUNCTION send_app.check(current jsonb, payload jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT (payload ->> 'n')::send_app.small > 0 $$;
SELECT FROM asynx.create_command('send.check', 'default', 'e', 'send_app.same', 'send_app.check');
SELECT * FROM pg_temp.said($$SELECT asynx.send('send.check', 'send-3', '{"n": 11}')$$);
SELECT * FROM pg_temp.said($$SELECT asynx.send('send.check', 'send-3', '{"n": -1}')$$);
SELECT version FROM asynx.send('send.check', 'send-3', '{"n": 1}');
-- NULL is no objection.
SELECT version FROM asynx.send('send.check', 'send-3', '{}');
-- A cause that is caught leaves the session as it was: same user, same path, same state.
SET search_path = public;
DO $$
BEGIN
  PERFORM asynx.send('send.fail', 'send-3', '{"raise": "22012"}');
EXCEPTION WHEN SQLSTATE 'SX004' THEN
  RAISE NOTICE '% %', current_user = session_user, current_setting('search_path');
END $$;
SELECT current_user = session_user AS same_user, current_setting('search_path') AS path;
RESET search_path;
SELECT asynx.count('send-3', 0);

-- The context of an error leads to the line of the function.
SELECT asynx.send('send.fail', 'send-3', '{"raise": "22012"}');

-- The expected version is that of the current state.
SELECT version FROM asynx.send('send.credit', 'send-1', '{"amount": 1}', expected_version => 2);
SELECT asynx.send('send.credit', 'send-1', '{"amount": 1}', expected_version => 2);
\echo :LAST_ERROR_SQLSTATE
SELECT version FROM asynx.send('send.credit', 'send-new', '{"amount": 1}', expected_version => 0);

-- With an id a command happens once, however often it is sent.
SELECT version, aggregate FROM asynx.send('send.credit', 'send-1', '{"amount": 7}', '{"by": "me"}', 3, '00000000-0000-4000-8000-000000000001');
SELECT version FROM asynx.send('send.credit', 'send-1', '{"amount": 1}');
SELECT version, previous_aggregate, aggregate, metadata, patch
FROM asynx.send('send.credit', 'send-1', '{"amount": 7}', '{"by": "me"}', 3, '00000000-0000-4000-8000-000000000001');
SELECT version FROM asynx.send('send.credit', 'send-1', '{"amount": 7}', '{"by": "me"}', NULL, '00000000-0000-4000-8000-000000000001');
-- also a first command, and one that would be rejected by now
SELECT version, previous_aggregate FROM asynx.send('send.credit', 'send-once', '{"amount": 5}', id => '00000000-0000-4000-8000-000000000002');
SELECT version FROM asynx.send('send.credit', 'send-once', '{"amount": -5}', id => '00000000-0000-4000-8000-000000000003');
SELECT version, previous_aggregate, aggregate FROM asynx.send('send.credit', 'send-once', '{"amount": 5}', id => '00000000-0000-4000-8000-000000000002');
SELECT version, aggregate FROM asynx.send('send.credit', 'send-once', '{"amount": -5}', id => '00000000-0000-4000-8000-000000000003');
-- another payload, other metadata, another command, another expectation: the id stands for something else
SELECT said.* FROM unnest(ARRAY[
  $$SELECT asynx.send('send.credit', 'send-1', '{"amount": 8}', '{"by": "me"}', 3, '00000000-0000-4000-8000-000000000001')$$,
  $$SELECT asynx.send('send.credit', 'send-1', '{"amount": 7}', NULL, 3, '00000000-0000-4000-8000-000000000001')$$,
  $$SELECT asynx.send('send.credit', 'send-1', '{"amount": 7}', '{"by": "me"}', 2, '00000000-0000-4000-8000-000000000001')$$,
  $$SELECT asynx.send('send.same', 'send-1', '{"amount": 7}', '{"by": "me"}', 3, '00000000-0000-4000-8000-000000000001')$$]) AS statement, LATERAL pg_temp.said(statement) AS said;
SELECT asynx.count('send-1', 0), asynx.count('send-once', 0);

-- Another type than the stream's; what is missing or wrong.
SELECT said.code, said.message FROM unnest(ARRAY[
  $$SELECT asynx.send('send.same', 'send-1')$$,
  $$SELECT asynx.send('send.none', 'send-1')$$, $$SELECT asynx.send(NULL, 'send-1')$$, $$SELECT asynx.send(' ', 'send-1')$$,
  $$SELECT asynx.send('send.same', NULL)$$, $$SELECT asynx.send('send.same', '')$$, $$SELECT asynx.send('send.same', 'send-3', NULL)$$,
  $$SELECT asynx.send('send.same', 'send-3', expected_version => -1)$$,
  $$SET LOCAL transaction_read_only = on; SELECT asynx.send('send.same', 'send-3')$$]) AS statement, LATERAL pg_temp.said(statement) AS said;

-- A function that commands another aggregate.
CREATE FUNCTION send_app.nested(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN jsonb_build_array((asynx.send('send.nested2', payload ->> 'other', '{"state": "inner"}')).aggregate);
END $$;
SELECT FROM asynx.create_command('send.nested', 'default', 'e', 'send_app.nested');
SELECT FROM asynx.create_command('send.nested2', 'default', 'e', 'send_app.echo');
SELECT version, aggregate FROM asynx.send('send.nested', 'send-nested', '{"other": "send-inner"}');
-- A function that calls itself gets its own state of execution.
CREATE FUNCTION send_app.countdown(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN (payload ->> 'n')::int > 0
         THEN jsonb_build_array((asynx.send('send.countdown', 'send-countdown-' || (payload ->> 'n'), jsonb_build_object('n', (payload ->> 'n')::int - 1))).aggregate)
         ELSE '"end"' END
$$;
SELECT FROM asynx.create_command('send.countdown', 'default', 'e', 'send_app.countdown');
SELECT version, aggregate FROM asynx.send('send.countdown', 'send-countdown', '{"n": 3}');

-- What decides on an aggregate does not change it meanwhile, in whatever way; others it may.
CREATE FUNCTION send_app.does(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  said text;
BEGIN
  IF payload ? 'do' THEN
    EXECUTE 'SELECT ' || (payload ->> 'do') INTO said;
  END IF;
  RETURN jsonb_build_array(said);
END $$;
CREATE FUNCTION send_app.does_first(current jsonb, payload jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF payload ? 'first' THEN
    EXECUTE 'SELECT ' || (payload ->> 'first');
  END IF;
  RETURN NULL;
END $$;
SELECT FROM asynx.create_command('send.does', 'default', 'done', 'send_app.does', 'send_app.does_first');
SELECT version FROM asynx.send('send.does', 'send-does');
SELECT what, said.code, said.message, said.detail
FROM unnest(ARRAY[$$asynx.send('send.does', 'send-does')$$, $$asynx.send_many('[{"command": "send.same", "aggregate_id": "send-does"}]')$$,
                  $$asynx.write('send-does', 'e', '1')$$, $$asynx.append('send-does', 2, 'e', '[]')$$,
                  $$asynx.append_many('[{"aggregate_id": "send-does", "version": 2, "event_name": "e", "patch": []}]')$$,
                  $$asynx.delete('send-does')$$, $$asynx.put_snapshot('send-does', 1, '[null]')$$,
                  $$asynx.send('send.does', 'send-other', '{"do": "asynx.send(''send.does'', ''send-does'')"}')$$,
                  $$asynx.send('send.does', 'send-other')$$, $$asynx.get('send-does')$$, $$asynx.preload('send-does')$$]) AS what,
     LATERAL pg_temp.said(format($$SELECT asynx.send('send.does', 'send-does', %L)$$, jsonb_build_object('do', what))) AS said;
SELECT said.* FROM pg_temp.said($$SELECT asynx.send('send.does', 'send-does', '{"first": "asynx.send(''send.does'', ''send-does'')"}')$$) AS said;
-- one that does not exist yet, and with an expected version
SELECT said.* FROM pg_temp.said($$SELECT asynx.send('send.does', 'send-unborn', '{"do": "asynx.send(''send.does'', ''send-unborn'')"}')$$) AS said;
SELECT said.* FROM pg_temp.said($$SELECT asynx.send('send.does', 'send-unborn', '{"do": "asynx.append(''send-unborn'', 1, ''e'', ''[]'')"}', expected_version => 0)$$) AS said;
SELECT asynx.count('send-does', 0), asynx.count('send-other', 0), asynx.exists('send-unborn');
-- It was the decision that was refused, not the session.
SELECT version FROM asynx.send('send.does', 'send-does');

-- No text of ours carries what is in the state or the payload.
SELECT version FROM asynx.send('send.echo', 'send-secret', '{"state": {"in": "s3cr3t"}}');
CREATE FUNCTION pg_temp.texts(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  detail text;
  hint text;
  context text;
BEGIN
  EXECUTE statement;
  RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
  -- the last lines of the context are of this function and its statement
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
  context := split_part(context, 'SQL statement "SELECT asynx.send(', 1);
  RETURN SQLSTATE || CASE WHEN concat(message, detail, hint, context) LIKE '%s3cr3t%' THEN ' tells it: ' || concat_ws(' / ', message, detail, hint, context) ELSE ' is silent' END;
END $$;
SELECT what, pg_temp.texts(format('SELECT asynx.send(%s)', what)) FROM unnest(ARRAY[
  $$'send.fail', 'send-secret', '{"raise": "22012", "in": "s3cr3t"}'$$, $$'send.reject', 'send-secret', '{"raise": "P0001", "in": "s3cr3t"}'$$,
  $$'send.echo', 'send-secret', '{"in": "s3cr3t"}'$$, $$'send.object', 'send-secret', '{"state": "s3cr3t"}'$$, $$'send.check', 'send-secret', '{"n": 11, "in": "s3cr3t"}'$$,
  $$'send.same', 'send-secret', '{"in": "s3cr3t"}', expected_version => 5$$, $$'send.nested', 'send-secret', '{"other": "send-secret", "in": "s3cr3t"}'$$,
  $$'send.does', 'send-secret', '{"do": "asynx.get(''send-none'')", "in": "s3cr3t"}'$$]) AS what;

-- What a command sends while it decides is sent once, also if the command is repeated.
CREATE FUNCTION send_app.tell(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  PERFORM asynx.send('send.echo', 'send-told', jsonb_build_object('state', payload));
  RETURN payload;
END $$;
SELECT FROM asynx.create_command('send.tell', 'default', 'told', 'send_app.tell');
SELECT version, aggregate FROM asynx.send('send.tell', 'send-tells', '1', id => '00000000-0000-4000-8000-000000000010');
SELECT version, aggregate FROM asynx.send('send.tell', 'send-tells', '1', id => '00000000-0000-4000-8000-000000000010');
SELECT version FROM asynx.send('send.tell', 'send-tells', '2', id => '00000000-0000-4000-8000-000000000010');
SELECT version, aggregate FROM asynx.send('send.tell', 'send-tells', '1', id => '00000000-0000-4000-8000-000000000010');
SELECT asynx.count('send-told', 0), asynx.count('send-tells', 0), asynx.get('send-told');
-- An error while it is compared is the command's.
SELECT FROM asynx.drop_command('send.echo');
SELECT asynx.send('send.tell', 'send-tells', '1', id => '00000000-0000-4000-8000-000000000010');

-- The log tells the truth: every state is the fold.
SELECT e.aggregate_id, max(e.version) = count(*) AS whole, asynx.get(e.aggregate_id) = asynx.get(e.aggregate_id, max(e.version)) AS same
FROM asynx.events e WHERE e.aggregate_id LIKE 'send-%' GROUP BY 1 ORDER BY 1;

SELECT count(asynx.drop_command(name)) FROM asynx.commands WHERE name LIKE 'send.%';
SELECT count(asynx.delete(aggregate_id)) FROM (SELECT DISTINCT aggregate_id FROM asynx.events WHERE aggregate_id LIKE 'send-%') AS ours;
SELECT FROM asynx.drop_aggregate_type('send account');
SET client_min_messages = warning;
DROP SCHEMA send_app CASCADE;
