-- Aggregate types: schema version, seed and snapshot policy of a group of aggregates
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- A type has a schema version, a seed, and a number of versions between snapshots.
SELECT FROM asynx.create_aggregate_type('types plain');
SELECT FROM asynx.create_aggregate_type('types full', 3, '{"total": 0}', 100);
SELECT FROM asynx.create_aggregate_type('types null seed', seed => 'null');
SELECT name, schema_version, seed, seed IS NULL AS no_seed, snapshot_every
FROM asynx.aggregate_types WHERE name LIKE 'types %' ORDER BY name;

-- A name can be had once.
SELECT asynx.create_aggregate_type('types plain');
\echo :LAST_ERROR_SQLSTATE

-- Events carry the schema version that their type has when they are stored, or the one the caller gives.
SELECT version, schema_version FROM asynx.append('types-1', 1, 'e', '[]', 'types full');
SELECT FROM asynx.alter_aggregate_type('types full', schema_version => 4);
SELECT version, schema_version FROM asynx.append('types-1', 2, 'e', '[]');
SELECT version, schema_version FROM asynx.append('types-1', 3, 'e', '[]', schema_version => 2);
SELECT asynx.append_many('[{"aggregate_id": "types-1", "version": 4, "event_name": "e", "patch": []},
                           {"aggregate_id": "types-1", "version": 5, "event_name": "e", "patch": [], "schema_version": 9}]') AS stored;
SELECT version, schema_version FROM asynx.write('types-1', 'e', '{}');
SELECT version, schema_version FROM asynx.read_from('types-1', 1);

-- A type that has events exists as well.
SELECT asynx.create_aggregate_type('types full', 4);
\echo :LAST_ERROR_SQLSTATE

-- The seed is the state before the first event; the first patch is applied to it.
SELECT version, patch, previous_aggregate, aggregate FROM asynx.write('types-2', 'e', '{"total": 1}', aggregate_type => 'types full');
SELECT version, previous_aggregate, aggregate FROM asynx.replay('types-2');
SELECT version, previous_aggregate, previous_aggregate IS NULL AS sql_null
FROM asynx.write('types-3', 'e', '1', aggregate_type => 'types null seed');
SELECT version, previous_aggregate, previous_aggregate IS NULL AS sql_null
FROM asynx.write('types-4', 'e', '1', aggregate_type => 'types plain');

-- The schema version only grows, the snapshot policy can change, NULL leaves a value as it is; the seed is fixed.
SELECT FROM asynx.alter_aggregate_type('types full', 4);
SELECT FROM asynx.alter_aggregate_type('types full', snapshot_every => 0);
SELECT FROM asynx.alter_aggregate_type('types full');
SELECT schema_version, seed, snapshot_every FROM asynx.aggregate_types WHERE name = 'types full';
SELECT asynx.alter_aggregate_type('types full', 3);
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.alter_aggregate_type('types none', 3);
\echo :LAST_ERROR_SQLSTATE

-- A type goes when it has no events any more.
SELECT asynx.drop_aggregate_type('types full');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.delete('types-1'), asynx.delete('types-2');
SELECT FROM asynx.drop_aggregate_type('types full');
SELECT asynx.drop_aggregate_type('types full');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.append('types-1', 1, 'e', '[]', 'types full');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.write('types-1', 'e', '[]', aggregate_type => 'types full');
\echo :LAST_ERROR_SQLSTATE
-- Its name can then be used for another one.
SELECT FROM asynx.create_aggregate_type('types full', seed => '[]');
SELECT asynx.get('types-1') FROM asynx.append('types-1', 1, 'e', '[{"op":"add","path":"/-","value":1}]', 'types full');
SELECT asynx.get('types-1');

-- The type "default" is always there, and belongs to aggregates that were given none.
BEGIN;
SELECT version, aggregate_type, schema_version FROM asynx.append('types-5', 1, 'e', '[]');
SELECT asynx.create_aggregate_type('default');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT version FROM asynx.append('types-5', 1, 'e', '[]', 'default');
SELECT asynx.drop_aggregate_type('default');
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT FROM asynx.alter_aggregate_type('default', 2, 5);
SELECT version, aggregate_type, schema_version FROM asynx.append('types-5', 2, 'e', '[]');
ROLLBACK;
-- As long as it has no events it can be created, with a seed too, and dropped; then it is as before.
BEGIN;
SELECT count(asynx.delete(aggregate_id)) >= 1 AS deleted FROM asynx.events WHERE version = 1 AND aggregate_type = 'default';
DELETE FROM asynx.aggregate_types WHERE name = 'default';
SELECT FROM asynx.create_aggregate_type('default', 2, '{"seed": true}');
SELECT previous_aggregate, schema_version FROM asynx.write('types-5', 'e', '{}');
SELECT asynx.delete('types-5');
SELECT FROM asynx.drop_aggregate_type('default');
SELECT previous_aggregate, schema_version FROM asynx.write('types-5', 'e', '{}');
ROLLBACK;

-- A session that has appended knows the type's version, and learns of every change, and of every change taken back.
SELECT FROM asynx.create_aggregate_type('types known');
SELECT schema_version FROM asynx.append('types-known', 1, 'e', '[]', 'types known');
SELECT FROM asynx.alter_aggregate_type('types known', 2);
SELECT schema_version FROM asynx.append('types-known', 2, 'e', '[]');
BEGIN;
SELECT FROM asynx.alter_aggregate_type('types known', 3);
SELECT schema_version FROM asynx.append('types-known', 3, 'e', '[]');
SAVEPOINT altered;
SELECT FROM asynx.alter_aggregate_type('types known', 4);
SELECT schema_version FROM asynx.append('types-known', 4, 'e', '[]');
ROLLBACK TO altered;
SELECT schema_version FROM asynx.append('types-known', 4, 'e', '[]');
ROLLBACK;
SELECT schema_version FROM asynx.append('types-known', 3, 'e', '[]');
UPDATE asynx.aggregate_types SET schema_version = 7 WHERE name = 'types known';
SELECT schema_version FROM asynx.append('types-known', 4, 'e', '[]');
BEGIN;
TRUNCATE asynx.aggregate_types;
SELECT schema_version FROM asynx.append('types-known', 5, 'e', '[]');
SELECT asynx.append('types-other', 1, 'e', '[]', 'types known');
ROLLBACK;
SELECT schema_version FROM asynx.append('types-known', 5, 'e', '[]');

-- What is NULL, blank, reserved, too long, too small or too large is refused.
\set VERBOSITY terse
SELECT asynx.create_aggregate_type(NULL);
SELECT asynx.create_aggregate_type('');
SELECT asynx.create_aggregate_type('asynx.type');
SELECT asynx.create_aggregate_type(repeat('t', 201));
SELECT asynx.create_aggregate_type('types bad', NULL);
SELECT asynx.create_aggregate_type('types bad', 0);
SELECT asynx.create_aggregate_type('types bad', snapshot_every => -1);
SELECT asynx.create_aggregate_type('types bad', snapshot_every => NULL);
SELECT asynx.alter_aggregate_type(NULL, 2);
SELECT asynx.alter_aggregate_type('types plain', 0);
SELECT asynx.alter_aggregate_type('types plain', snapshot_every => -1);
SELECT asynx.drop_aggregate_type(NULL);
SELECT asynx.drop_aggregate_type(' ');
SELECT count(*) AS bad_ones FROM asynx.aggregate_types WHERE name = 'types bad';
