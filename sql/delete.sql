-- asynx.delete(): erases an aggregate, its events and its snapshot
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

SELECT asynx.append_many(jsonb_agg(jsonb_build_object('aggregate_id', id, 'version', n, 'event_name', 'e',
         'patch', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', n))) ORDER BY n)) AS stored
FROM unnest(ARRAY['delete-1', 'delete-2']) AS id, generate_series(1, 3) AS n;
SELECT FROM asynx.preload('delete-1');
SELECT count(*) AS snapshots FROM asynx.get_snapshot('delete-1');

-- It says how many events went; doing it again is no error.
SELECT asynx.delete('delete-1') AS first, asynx.delete('delete-1') AS again, asynx.delete('delete-never') AS unknown;
SELECT asynx.exists('delete-1'), asynx.count('delete-1', 0),
       (SELECT count(*) FROM asynx.get_snapshot('delete-1')) AS snapshots,
       (SELECT count(*) FROM asynx.replay('delete-1')) AS replayed;
SELECT asynx.get('delete-1');
\echo :LAST_ERROR_SQLSTATE

-- Nobody else is concerned, and nothing is left behind in the table.
SELECT asynx.get('delete-2'), asynx.count('delete-2', 0);
SELECT count(*) AS left_behind FROM asynx.events WHERE aggregate_id = 'delete-1' OR event_name LIKE 'asynx.%';

-- The id starts again at version 1, at positions that were never used, and with any type.
SELECT last_value AS last_position FROM asynx.positions \gset
SELECT FROM asynx.create_aggregate_type('delete type', seed => '{"seed": true}');
SELECT version, position > :last_position AS new_position, aggregate_type
FROM asynx.append('delete-1', 1, 'again', '[{"op":"add","path":"/n","value":1}]', 'delete type');
SELECT asynx.get('delete-1');

-- Deletes are undone with their transaction, and with their savepoint.
BEGIN;
SELECT asynx.delete('delete-2') AS deleted;
SELECT asynx.exists('delete-2');
ROLLBACK;
BEGIN;
SAVEPOINT before;
SELECT asynx.delete('delete-2') AS deleted;
ROLLBACK TO before;
SELECT asynx.get('delete-2');
COMMIT;

-- Within one transaction an aggregate can be erased and begun again as often as one likes.
BEGIN;
SELECT asynx.delete('delete-2') AS deleted;
SELECT version FROM asynx.append('delete-2', 1, 'again', '[{"op":"add","path":"","value":"new"}]');
SELECT asynx.get('delete-2'), asynx.delete('delete-2') AS deleted;
SELECT version FROM asynx.append('delete-2', 1, 'again', '[{"op":"add","path":"","value":"newer"}]');
SELECT version FROM asynx.append('delete-2', 2, 'again', '[]');
COMMIT;
SELECT asynx.get('delete-2'), asynx.count('delete-2', 0);
SELECT version, position > lag(position) OVER (ORDER BY version) AS ascends FROM asynx.read_from('delete-2', 0);

-- A read-only transaction cannot; an id must be an id.
\set VERBOSITY terse
BEGIN READ ONLY;
SELECT asynx.delete('delete-2');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT asynx.delete(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.delete(' ');
\echo :LAST_ERROR_SQLSTATE
