-- A session remembers the states that its commands left, and nobody can tell by what they do
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE SCHEMA states_app;
CREATE FUNCTION states_app.push(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce(current, '[]') || payload $$;
CREATE FUNCTION states_app.be(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT payload';
SELECT FROM asynx.create_aggregate_type('states', snapshot_every => 2);
SELECT FROM asynx.create_command('states.push', 'states', 'pushed', 'states_app.push');
SELECT FROM asynx.create_command('states.be', 'states', 'been', 'states_app.be');
CREATE FUNCTION pg_temp.push(what jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT previous_aggregate FROM asynx.send('states.push', 'states-1', what) $$;

-- Does it remember?  A snapshot that somebody spoiled by hand is not even looked at; it is by others.
SELECT pg_temp.push('1'), pg_temp.push('2');
UPDATE asynx.snapshots SET state = '["spoiled"]' WHERE aggregate_id = 'states-1';
SELECT pg_temp.push('3');
SELECT asynx.get('states-1', 3);
\c -
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.push(what jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT previous_aggregate FROM asynx.send('states.push', 'states-1', what) $$;
SELECT pg_temp.push('4');
-- (so this stream is spoiled)
SELECT asynx.delete('states-1');

-- What is appended in between, by the same session or another, is seen.
SELECT pg_temp.push('1'), pg_temp.push('2');
SELECT version FROM asynx.append('states-1', 3, 'e', '[{"op": "add", "path": "/-", "value": "appended"}]');
SELECT pg_temp.push('4');
SELECT asynx.append_many('[{"aggregate_id": "states-1", "version": 5, "event_name": "e", "patch": [{"op": "remove", "path": "/0"}]},
                          {"aggregate_id": "states-1", "version": 6, "event_name": "e", "patch": [{"op": "add", "path": "/-", "value": "many"}]}]');
SELECT pg_temp.push('7');
SELECT version, previous_aggregate FROM asynx.write('states-1', 'e', '["written"]');
SELECT pg_temp.push('9');
-- also a command that repeats an earlier one leaves it alone
SELECT version FROM asynx.send('states.push', 'states-1', '"once"', id => '00000000-0000-4000-8000-000000000001');
SELECT pg_temp.push('11');
SELECT version FROM asynx.send('states.push', 'states-1', '"once"', id => '00000000-0000-4000-8000-000000000001');
SELECT pg_temp.push('12');
SELECT asynx.get('states-1', 12) = asynx.json_patch_agg(patch ORDER BY version) AS fold FROM asynx.events WHERE aggregate_id = 'states-1';

-- What is rolled back is not remembered.
BEGIN;
SELECT pg_temp.push('"rolled back"');
SELECT pg_temp.push('"rolled back"') ->> -1;
ROLLBACK;
SELECT pg_temp.push('13') ->> -1;
BEGIN;
SELECT pg_temp.push('14') ->> -1;
SAVEPOINT s;
SELECT pg_temp.push('"rolled back"') ->> -1;
ROLLBACK TO s;
SELECT pg_temp.push('15') ->> -1;
COMMIT;
DO $$
BEGIN
  PERFORM asynx.send('states.push', 'states-1', '"rolled back"');
  RAISE EXCEPTION 'no';
EXCEPTION WHEN raise_exception THEN
  NULL;
END $$;
SELECT pg_temp.push('16') ->> -1;
-- A command that is rejected leaves what there was.
SELECT asynx.send('states.be', 'states-1', 'null') IS NULL AS rejected;
SELECT asynx.send('states.be', 'states-1', '1', expected_version => 1);
SELECT pg_temp.push('18');

-- What is erased is forgotten, however it is erased, and a stream that begins again begins with nothing.
SELECT asynx.delete('states-1');
SELECT pg_temp.push('1');
BEGIN;
SELECT asynx.delete('states-1');
SELECT pg_temp.push('"in vain"');
ROLLBACK;
SELECT pg_temp.push('2');
SET session_replication_role = replica;
UPDATE asynx.events SET patch = '[{"op": "add", "path": "", "value": ["by hand"]}]' WHERE aggregate_id = 'states-1' AND version = 1;
DELETE FROM asynx.snapshots WHERE aggregate_id = 'states-1';
RESET session_replication_role;
SELECT pg_temp.push('3');

-- Upcasters and types.
CREATE FUNCTION states_app.upcast(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT replace(patch::text, 'by hand', 'upcast')::jsonb $$;
SELECT FROM asynx.create_upcaster('states', 1, 'states_app.upcast');
SELECT pg_temp.push('4');
SELECT FROM asynx.alter_aggregate_type('states', 2);
SELECT pg_temp.push('5');
SELECT pg_temp.push('6');
SELECT FROM asynx.drop_upcaster('states', 1);
SELECT pg_temp.push('7');
BEGIN;
SELECT FROM asynx.create_upcaster('states', 1, 'states_app.upcast');
SELECT pg_temp.push('8');
ROLLBACK;
SELECT pg_temp.push('8');
INSERT INTO asynx.upcasters SELECT 'states', 1, 'states_app.upcast(pg_catalog.text,pg_catalog.jsonb)', current_user;
DELETE FROM asynx.snapshots WHERE aggregate_id = 'states-1';
SELECT pg_temp.push('9');
DELETE FROM asynx.upcasters WHERE aggregate_type = 'states';
DELETE FROM asynx.snapshots WHERE aggregate_id = 'states-1';
SELECT pg_temp.push('10');
-- also if it is the command itself that causes the change, here by hand
CREATE FUNCTION states_app.by_hand() RETURNS void LANGUAGE sql AS $$ INSERT INTO asynx.upcasters VALUES ('states', 1, 'states_app.upcast(pg_catalog.text,pg_catalog.jsonb)', current_user) $$;
CREATE FUNCTION states_app.meddle(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  PERFORM states_app.by_hand(), asynx.send('states.be', 'states-other', '1');
  RETURN current || payload;
END $$;
SELECT FROM asynx.create_command('states.meddle', 'states', 'e', 'states_app.meddle');
DELETE FROM asynx.snapshots WHERE aggregate_id = 'states-1';
SELECT previous_aggregate FROM asynx.send('states.push', 'states-1', '11');
BEGIN;
SELECT previous_aggregate FROM asynx.send('states.meddle', 'states-1', '12');
DELETE FROM asynx.snapshots WHERE aggregate_id = 'states-1';
SELECT previous_aggregate FROM asynx.send('states.push', 'states-1', '13');
ROLLBACK;
SELECT pg_temp.push('12');
-- the policy is that of now
SELECT asynx.delete('states-1');
SELECT pg_temp.push('1');
SELECT FROM asynx.alter_aggregate_type('states', snapshot_every => 3);
SELECT pg_temp.push('2');
SELECT pg_temp.push('3');
SELECT version, state FROM asynx.get_snapshot('states-1');

-- Under REPEATABLE READ it is what the transaction sees that counts.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.push('4');
SELECT pg_temp.push('5');
COMMIT;
SELECT pg_temp.push('6');

-- A function that sends others while it runs, enough to let its own state go.
CREATE FUNCTION states_app.crowd(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(current, '[]') || to_jsonb((SELECT count(asynx.send('states.be', 'states-crowd-' || n, to_jsonb(n))) FROM generate_series(1, 600) AS n))
$$;
SELECT FROM asynx.create_command('states.crowd', 'states', 'crowded', 'states_app.crowd');
SELECT previous_aggregate, aggregate FROM asynx.send('states.crowd', 'states-1');
SELECT pg_temp.push('8');

-- The memory is bounded: by the number of aggregates, by the size of one, by that of all.
CREATE FUNCTION pg_temp.used() RETURNS boolean LANGUAGE sql AS $$ SELECT sum(total_bytes) < 12 * 1024 * 1024 FROM pg_backend_memory_contexts WHERE name = 'asynx states' $$;
SELECT count(DISTINCT version) FROM generate_series(1, 200) AS n, LATERAL asynx.send('states.be', 'states-large-' || n, to_jsonb(repeat('x', 200000) || n)) LIMIT 1;
SELECT pg_temp.used() AS bounded;
SELECT version FROM asynx.send('states.be', 'states-huge', to_jsonb(repeat('x', 3000000)));
SELECT version, length(previous_aggregate::text) FROM asynx.send('states.be', 'states-huge', '"small"');
SELECT version, previous_aggregate FROM asynx.send('states.be', 'states-huge', '"smaller"');
SELECT count(*) AS not_the_fold FROM asynx.aggregates('states', count => 100000) AS a, LATERAL asynx.send('states.push', a.aggregate_id, '"last"') AS e
WHERE e.previous_aggregate <> asynx.get(a.aggregate_id, a.version);
SELECT pg_temp.used() AS bounded;

SELECT count(asynx.drop_command(name)) FROM asynx.commands WHERE name LIKE 'states.%';
SELECT count(asynx.delete(aggregate_id)) > 800 AS many FROM asynx.aggregates('states', count => 100000);
SELECT FROM asynx.drop_aggregate_type('states');
DROP SCHEMA states_app CASCADE;
