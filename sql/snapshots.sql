-- Snapshots are a matter of speed alone: none can forge a state, and without them every answer is the same
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

CREATE FUNCTION pg_temp.append(id text, version bigint, value text) RETURNS void LANGUAGE sql AS $$
  SELECT asynx.append(id, version, 'e', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', value)))
$$;
SELECT FROM generate_series(1, 5) AS n, LATERAL pg_temp.append('snapshot-1', n, 'value ' || n) AS a;

-- Without one there is no row; put_snapshot() keeps the state of a version.
SELECT count(*) FROM asynx.get_snapshot('snapshot-1');
SELECT FROM asynx.put_snapshot('snapshot-1', 3, '"value 3"');
SELECT s.aggregate_id, s.version, s.schema_version, s.state, s.position = e.position AS position_of_its_event,
       s.taken_at <= clock_timestamp() AS taken
FROM asynx.get_snapshot('snapshot-1') s JOIN asynx.events e USING (aggregate_id, version);

-- A newer one takes its place, an older one does not.
SELECT FROM asynx.put_snapshot('snapshot-1', 4, '"value 4"');
SELECT FROM asynx.put_snapshot('snapshot-1', 2, '"value 2"');
SELECT version, state FROM asynx.get_snapshot('snapshot-1');

-- delete_snapshot() says whether there was one.
SELECT asynx.delete_snapshot('snapshot-1') AS first, asynx.delete_snapshot('snapshot-1') AS again,
       asynx.delete_snapshot('snapshot-none') AS unknown;

-- preload() leaves one at the current version, and looks again when the stream has grown.
SELECT FROM asynx.preload('snapshot-1');
SELECT version, state FROM asynx.get_snapshot('snapshot-1');
SELECT FROM pg_temp.append('snapshot-1', 6, 'value 6');
SELECT FROM asynx.preload('snapshot-1');
SELECT version, state FROM asynx.get_snapshot('snapshot-1');
-- A read-only or repeatable-read transaction leaves none, and it is no error.
SELECT FROM pg_temp.append('snapshot-1', 7, 'value 7');
BEGIN READ ONLY;
SELECT FROM asynx.preload('snapshot-1');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT FROM asynx.preload('snapshot-1');
COMMIT;
SELECT version FROM asynx.get_snapshot('snapshot-1');

-- A forged one is refused: another value, another version's, one that only looks equal.
SELECT FROM pg_temp.append('snapshot-2', 1, 'a');
SELECT version FROM asynx.append('snapshot-2', 2, 'e', '[{"op":"add","path":"","value":{"n":1.0}}]');
SELECT asynx.put_snapshot('snapshot-2', 2, '{"n": 2}');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.put_snapshot('snapshot-2', 2, '"a"');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.put_snapshot('snapshot-2', 2, '{"n": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.put_snapshot('snapshot-2', 3, '{"n": 1.0}');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.put_snapshot('snapshot-none', 1, '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM asynx.get_snapshot('snapshot-2');
SELECT FROM asynx.put_snapshot('snapshot-2', 2, '{"n": 1.0}');
SELECT state FROM asynx.get_snapshot('snapshot-2');

-- Deleting all of them changes no answer.
CREATE TEMPORARY TABLE with_snapshots AS
  SELECT r.aggregate_id, r.version, r.aggregate, r.previous_aggregate, asynx.get(r.aggregate_id, r.version) AS got
  FROM unnest(ARRAY['snapshot-1', 'snapshot-2']) AS id, LATERAL asynx.replay(id) AS r;
SELECT count(*) FROM with_snapshots;
BEGIN;
DELETE FROM asynx.snapshots;
SELECT count(*) AS differences FROM with_snapshots w, LATERAL asynx.replay(w.aggregate_id, w.version, w.version) AS r
WHERE w.got IS DISTINCT FROM asynx.get(w.aggregate_id, w.version)
   OR (w.aggregate, w.previous_aggregate) IS DISTINCT FROM (r.aggregate, r.previous_aggregate);
ROLLBACK;

-- It is really used where it is good: with superuser rights one can plant a lie and see it.
UPDATE asynx.snapshots SET state = '"planted"' WHERE aggregate_id = 'snapshot-1' RETURNING version;
SELECT asynx.get('snapshot-1', 5) AS before_it, asynx.get('snapshot-1', 6) AS at_it, asynx.get('snapshot-1') AS after_it;

-- Not when its event is not that event: a snapshot of a stream that was erased and begun again.
CREATE TEMPORARY TABLE old_snapshot AS SELECT * FROM asynx.snapshots WHERE aggregate_id = 'snapshot-1';
SELECT asynx.delete('snapshot-1') AS deleted;
SELECT FROM generate_series(1, 6) AS n, LATERAL pg_temp.append('snapshot-1', n, 'second life ' || n) AS a;
INSERT INTO asynx.snapshots SELECT * FROM old_snapshot;
SELECT asynx.get('snapshot-1') AS now, asynx.get('snapshot-1', 6) AS at_6;
SELECT count(*) AS of_the_first_life FROM asynx.replay('snapshot-1') AS r WHERE r.aggregate = '"planted"';
SELECT aggregate, previous_aggregate FROM asynx.replay('snapshot-1', 6);
-- The next one takes its place, also if its version is lower.
UPDATE asynx.snapshots SET version = 9 WHERE aggregate_id = 'snapshot-1';
SELECT asynx.get('snapshot-1') AS now;
SELECT FROM asynx.preload('snapshot-1');
SELECT version, state FROM asynx.get_snapshot('snapshot-1');

-- Not when its schema version is another than the type's: a fold then starts cold.
SELECT FROM asynx.create_aggregate_type('snapshot type', seed => '"seed"');
SELECT version FROM asynx.append('snapshot-typed', 1, 'e', '[{"op":"test","path":"","value":"seed"}]', 'snapshot type');
SELECT FROM pg_temp.append('snapshot-typed', 2, 'current');
SELECT FROM asynx.preload('snapshot-typed');
UPDATE asynx.snapshots SET state = '"planted"' WHERE aggregate_id = 'snapshot-typed' RETURNING version, schema_version;
SELECT asynx.get('snapshot-typed') AS at_schema_version_1;
SELECT FROM asynx.alter_aggregate_type('snapshot type', schema_version => 2);
SELECT asynx.get('snapshot-typed') AS at_schema_version_2;
SELECT FROM asynx.preload('snapshot-typed');
SELECT version, schema_version, state FROM asynx.get_snapshot('snapshot-typed');

-- A type can ask for a snapshot every so many versions that write() stores.
SELECT FROM asynx.create_aggregate_type('snapshot every 3', snapshot_every => 3);
SELECT count(asynx.write('snapshot-every', 'e', to_jsonb(n), aggregate_type => 'snapshot every 3')) FROM generate_series(1, 7) AS n;
SELECT version, state FROM asynx.get_snapshot('snapshot-every');
SELECT version FROM asynx.write('snapshot-every', 'e', '8', snapshot => true);
SELECT version, state FROM asynx.get_snapshot('snapshot-every');

-- NULL and blank arguments are refused.
\set VERBOSITY terse
SELECT asynx.put_snapshot(NULL, 1, '{}');
SELECT asynx.put_snapshot('snapshot-1', NULL, '{}');
SELECT asynx.put_snapshot('snapshot-1', 0, '{}');
SELECT asynx.put_snapshot('snapshot-1', -1, '{}');
SELECT asynx.put_snapshot('snapshot-1', 1, NULL);
SELECT asynx.put_snapshot(' ', 1, '{}');
SELECT * FROM asynx.get_snapshot(NULL);
SELECT * FROM asynx.get_snapshot('');
SELECT asynx.delete_snapshot(NULL);
SELECT asynx.delete_snapshot('');
