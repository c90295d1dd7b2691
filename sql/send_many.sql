-- send_many: commands on several aggregates, all or none
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE SCHEMA many_app;
CREATE FUNCTION many_app.move(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('balance', coalesce((current ->> 'balance')::int, 0) + coalesce((payload ->> 'amount')::int, 0))
$$;
CREATE FUNCTION many_app.covered(current jsonb, payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN coalesce((current ->> 'balance')::int, 0) + (payload ->> 'amount')::int < 0 THEN 'not enough' END
$$;
SELECT FROM asynx.create_command('many.move', 'default', 'moved', 'many_app.move', 'many_app.covered');

-- The events come in the order of the array; commands on one aggregate see what those before them did.
SELECT aggregate_id, version, previous_aggregate, aggregate, metadata FROM asynx.send_many('[
  {"command": "many.move", "aggregate_id": "many-b", "payload": {"amount": 10}, "metadata": {"n": 1}},
  {"command": "many.move", "aggregate_id": "many-a", "payload": {"amount": 5}, "expected_version": 0},
  {"command": "many.move", "aggregate_id": "many-b", "payload": {"amount": -3}, "expected_version": 1, "metadata": null, "id": null},
  {"command": "many.move", "aggregate_id": "many-b"}]');
SELECT bool_and(position > before) AS ascending FROM (SELECT position, lag(position, 1, 0::bigint) OVER (ORDER BY position) AS before FROM asynx.events WHERE aggregate_id LIKE 'many-%') AS p;

-- A transfer happens as a whole or not at all.
SELECT aggregate_id, aggregate FROM asynx.send_many('[
  {"command": "many.move", "aggregate_id": "many-a", "payload": {"amount": -5}},
  {"command": "many.move", "aggregate_id": "many-b", "payload": {"amount": 5}}]');
SELECT * FROM asynx.send_many('[
  {"command": "many.move", "aggregate_id": "many-b", "payload": {"amount": 5}},
  {"command": "many.move", "aggregate_id": "many-a", "payload": {"amount": -5}}]');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.get('many-a') AS a, asynx.get('many-b') AS b, asynx.count('many-b', 0);

-- Repeated with ids it happens once, also if only some of it was sent before.
SELECT aggregate_id, version FROM asynx.send('many.move', 'many-a', '{"amount": 1}', id => '00000000-0000-4000-8000-00000000000a');
SELECT aggregate_id, version, aggregate FROM asynx.send_many('[
  {"command": "many.move", "aggregate_id": "many-a", "payload": {"amount": 1}, "id": "00000000-0000-4000-8000-00000000000a"},
  {"command": "many.move", "aggregate_id": "many-b", "payload": {"amount": 1}, "id": "00000000-0000-4000-8000-00000000000b"}]');
SELECT aggregate_id, version, aggregate FROM asynx.send_many('[
  {"command": "many.move", "aggregate_id": "many-a", "payload": {"amount": 1}, "id": "00000000-0000-4000-8000-00000000000a"},
  {"command": "many.move", "aggregate_id": "many-b", "payload": {"amount": 1}, "id": "00000000-0000-4000-8000-00000000000b"}]');

-- Nothing to do is nothing wrong.
SELECT count(*) FROM asynx.send_many('[]');

-- What is not such an array; the context says which element it is.
CREATE FUNCTION pg_temp.said(commands jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  context text;
BEGIN
  PERFORM asynx.send_many(commands);
  RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
  RETURN concat_ws(' ', SQLSTATE, SQLERRM, '/', substring(context FROM '^command \d+'));
END $$;
SELECT commands, pg_temp.said(commands::jsonb) AS said
FROM unnest(ARRAY[NULL, '{}', '"x"', '1', '[1]', '[[]]', '[{}]', '[{"command": "many.move"}]', '[{"aggregate_id": "many-a"}]',
  '[{"command": 1, "aggregate_id": "many-a"}]', '[{"command": "many.move", "aggregate_id": null}]', '[{"command": "many.move", "aggregate_id": " "}]',
  '[{"command": "many.none", "aggregate_id": "many-a"}]', '[{"command": "many.move", "aggregate_id": "many-a", "version": 1}]',
  '[{"command": "many.move", "aggregate_id": "many-a"}, {"command": "many.move", "aggregate_id": "many-b", "expected_version": "1"}]',
  '[{"command": "many.move", "aggregate_id": "many-a", "expected_version": 1.5}]', '[{"command": "many.move", "aggregate_id": "many-a", "expected_version": -1}]',
  '[{"command": "many.move", "aggregate_id": "many-a", "expected_version": 1e30}]', '[{"command": "many.move", "aggregate_id": "many-a", "id": "x"}]',
  '[{"command": "many.move", "aggregate_id": "many-a"}, {"command": "many.move", "aggregate_id": "many-b", "payload": {"amount": "x"}}]']) AS commands;
SELECT asynx.count('many-a', 0), asynx.count('many-b', 0);
-- What is wrong with none of them in particular names none.
BEGIN READ ONLY;
SELECT pg_temp.said('[{"command": "many.move", "aggregate_id": "many-a"}]');
COMMIT;

SELECT FROM asynx.drop_command('many.move');
SELECT asynx.delete('many-a'), asynx.delete('many-b');
SET client_min_messages = warning;
DROP SCHEMA many_app CASCADE;
