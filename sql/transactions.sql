-- Transactions: what asynx does is undone, kept and seen as everything else in them is
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- Savepoints: a version that was rolled back is free again, its position is not used again.
BEGIN;
SELECT version FROM asynx.append('tx-1', 1, 'e', '[{"op":"add","path":"","value":1}]');
SAVEPOINT a;
SELECT position AS lost FROM asynx.append('tx-1', 2, 'e', '[{"op":"add","path":"","value":2}]') \gset
ROLLBACK TO a;
SELECT version, position > :lost AS later FROM asynx.append('tx-1', 2, 'e', '[{"op":"add","path":"","value":20}]');
SAVEPOINT b;
SELECT version, aggregate FROM asynx.write('tx-1', 'e', '3');
RELEASE b;
ROLLBACK TO a;
SELECT version FROM asynx.write('tx-1', 'e', '200');
COMMIT;
SELECT asynx.get('tx-1'), asynx.count('tx-1', 0);

-- A transaction sees what it has written; the feed shows it to nobody before it is committed, itself included.
SELECT asynx.safe_position() AS start \gset
BEGIN;
SELECT version FROM asynx.write('tx-2', 'e', '{"n": 1}');
SELECT version FROM asynx.write('tx-2', 'e', '{"n": 2}');
SELECT asynx.get('tx-2'), asynx.exists('tx-2'), asynx.count('tx-2', 0), (SELECT count(*) FROM asynx.replay('tx-2')) AS replayed;
SELECT count(*) AS in_feed FROM asynx.read_all(:start, 10);
SELECT asynx.safe_position() >= :start AS at_least, asynx.safe_position() < (SELECT min(position) FROM asynx.read_from('tx-2', 0)) AS below_ours;
-- feed_status says who holds it back: this session, since its transaction began, with its first position.
SELECT pid = pg_backend_pid() AS this_session, since = transaction_timestamp() AS since_begin,
       position = (SELECT position FROM asynx.read_from('tx-2', 1) LIMIT 1) AS first_position FROM asynx.feed_status;
COMMIT;
SELECT count(*) AS holders FROM asynx.feed_status;
SELECT version FROM asynx.read_all(:start, 10) WHERE aggregate_id = 'tx-2';

-- A savepoint that took the first position and was rolled back holds nothing back; one inside a transaction that has taken one does not let go of it.
BEGIN;
SAVEPOINT a;
SELECT version FROM asynx.append('tx-3', 1, 'e', '[]');
SELECT count(*) AS holders FROM asynx.feed_status;
ROLLBACK TO a;
SELECT count(*) AS holders FROM asynx.feed_status;
SELECT version FROM asynx.append('tx-3', 1, 'e', '[]');
SAVEPOINT b;
SELECT version FROM asynx.append('tx-3', 2, 'e', '[]');
ROLLBACK TO b;
SELECT count(*) AS holders FROM asynx.feed_status;
ROLLBACK;
BEGIN;
SAVEPOINT a;
SAVEPOINT b;
SELECT version FROM asynx.append('tx-3', 1, 'e', '[]');
RELEASE b;
SELECT count(*) AS holders FROM asynx.feed_status;
ROLLBACK TO a;
SELECT count(*) AS holders FROM asynx.feed_status;
ROLLBACK;
SELECT asynx.exists('tx-3');

-- Exceptions in PL/pgSQL are savepoints: after a conflict one goes on.
DO $$
DECLARE
  current text;
BEGIN
  PERFORM asynx.append('tx-4', 1, 'e', '[{"op":"add","path":"","value":0}]');
  FOR n IN 1..5 LOOP
    BEGIN
      PERFORM asynx.append('tx-4', 3, 'e', '[]');
    EXCEPTION WHEN SQLSTATE 'SX017' THEN
      GET STACKED DIAGNOSTICS current = PG_EXCEPTION_DETAIL;
      PERFORM asynx.append('tx-4', substring(current FROM '\d+')::bigint + 1, 'e', jsonb_build_array(
        jsonb_build_object('op', 'add', 'path', '', 'value', n)));
    WHEN SQLSTATE 'SX003' THEN
      GET STACKED DIAGNOSTICS current = PG_EXCEPTION_DETAIL;
      PERFORM asynx.append('tx-4', substring(current FROM '\d+')::bigint + 1, 'e', jsonb_build_array(
        jsonb_build_object('op', 'add', 'path', '', 'value', -n)));
    END;
  END LOOP;
END $$;
SELECT version, aggregate FROM asynx.replay('tx-4');

-- A batch that fails stores nothing, and the transaction goes on.
BEGIN;
SAVEPOINT a;
SELECT asynx.append_many('[{"aggregate_id": "tx-5", "version": 1, "event_name": "e", "patch": []},
                           {"aggregate_id": "tx-5", "version": 3, "event_name": "e", "patch": []}]');
ROLLBACK TO a;
SELECT asynx.exists('tx-5');
SELECT asynx.append_many('[{"aggregate_id": "tx-5", "version": 1, "event_name": "e", "patch": []}]');
COMMIT;
SELECT asynx.count('tx-5', 0);

-- Calls may stand in each other's arguments and in one statement; each sees what those before it wrote.
SELECT version FROM asynx.write('tx-6', 'e', to_jsonb((asynx.write('tx-6', 'e', '1')).version));
SELECT asynx.get('tx-6');
SELECT array_agg((asynx.write('tx-6', 'e', to_jsonb(n))).version ORDER BY n) AS versions FROM generate_series(1, 3) AS n;
-- STABLE functions see what their statement saw when it began, get() sees what there is.
SELECT (w).version, asynx.get('tx-6') AS got, asynx.count('tx-6', 0) AS counted
FROM (SELECT asynx.write('tx-6', 'e', '"new"') AS w OFFSET 0) AS q;
-- Also inside a function that is itself called by a query.
CREATE FUNCTION pg_temp.bump(aggregate text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  PERFORM asynx.write(aggregate, 'bumped', to_jsonb(asynx.count(aggregate, 0)));
  RETURN asynx.count(aggregate, 0);
END $$;
SELECT pg_temp.bump('tx-7'), pg_temp.bump('tx-7'), pg_temp.bump('tx-7');
SELECT version, aggregate FROM asynx.replay('tx-7');

-- Read-only transactions read, and write nothing.
BEGIN READ ONLY;
SELECT asynx.get('tx-7'), asynx.get('tx-7', 1), asynx.exists('tx-7'), asynx.count('tx-7', 0);
SELECT count(*) FROM asynx.replay('tx-7');
SELECT count(*) > 0 AS some FROM asynx.read_all(0, 1);
SELECT asynx.safe_position() > 0 AS safe;
SELECT FROM asynx.preload('tx-7');
SAVEPOINT a;
\set VERBOSITY terse
SELECT asynx.append('tx-7', 4, 'e', '[]');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a;
SELECT asynx.write('tx-7', 'e', '1');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a;
SELECT asynx.append_many('[{"aggregate_id": "tx-7", "version": 4, "event_name": "e", "patch": []}]');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a;
SELECT asynx.put_snapshot('tx-7', 3, '2');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a;
SELECT asynx.delete_snapshot('tx-7');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a;
SELECT asynx.create_aggregate_type('tx type');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a;
SELECT asynx.drop_aggregate_type('default');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO a;
SELECT asynx.resume();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT count(*) AS snapshots FROM asynx.get_snapshot('tx-7');

-- REPEATABLE READ and SERIALIZABLE transactions write and read too.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT version FROM asynx.write('tx-8', 'e', '1');
SELECT version FROM asynx.append('tx-8', 2, 'e', '[{"op":"replace","path":"","value":2}]');
SELECT asynx.get('tx-8'), asynx.delete('tx-8');
SELECT asynx.exists('tx-8');
SELECT version FROM asynx.write('tx-8', 'e', '3');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT version FROM asynx.write('tx-8', 'e', '1');
SELECT asynx.append_many('[{"aggregate_id": "tx-8", "version": 2, "event_name": "e", "patch": []}]');
SELECT asynx.get('tx-8'), asynx.get('tx-8', 1);
COMMIT;
SELECT asynx.get('tx-8'), asynx.count('tx-8', 0);

-- A prepared transaction would outlive its session and with it the note of its positions; it is refused once there are any.
BEGIN;
SELECT version FROM asynx.append('tx-9', 1, 'e', '[]');
PREPARE TRANSACTION 'asynx tx-9';
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT asynx.exists('tx-9'), (SELECT count(*) FROM asynx.feed_status) AS holders;

-- Procedures may commit between calls.
CREATE PROCEDURE pg_temp.in_steps() LANGUAGE plpgsql AS $$
BEGIN
  FOR n IN 1..3 LOOP
    PERFORM asynx.write('tx-10', 'e', to_jsonb(n));
    IF n = 2 THEN ROLLBACK; ELSE COMMIT; END IF;
    PERFORM asynx.get('tx-10');
  END LOOP;
END $$;
CALL pg_temp.in_steps();
SELECT version, aggregate FROM asynx.replay('tx-10');

-- Cursors stay with what they saw, also after the transaction.
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT version, aggregate FROM asynx.replay('tx-10');
SELECT version FROM asynx.write('tx-10', 'e', '4');
FETCH 1 FROM c;
COMMIT;
SELECT asynx.delete('tx-10');
FETCH ALL FROM c;
CLOSE c;

-- Settings of the session that change plans change no answer.
\c -
SELECT version FROM asynx.append('tx-11', 1, 'e', '[{"op":"add","path":"","value":[]}]');
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SET enable_indexonlyscan = off;
SET plan_cache_mode = force_custom_plan;
SELECT count(asynx.append('tx-11', n, 'e', '[{"op":"add","path":"/-","value":1}]')) FROM generate_series(2, 50) AS n;
SELECT jsonb_array_length(asynx.get('tx-11')), jsonb_array_length(asynx.get('tx-11', 10)),
       (SELECT count(*) FROM asynx.replay('tx-11', 5)) AS replayed, (SELECT version FROM asynx.aggregates(after => 'tx-10', count => 1));
SELECT jsonb_array_length(asynx.json_patch_agg(patch ORDER BY version)) FROM asynx.events WHERE aggregate_id = 'tx-11';
