-- Async subscriptions: handlers that workers run.

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
CREATE SCHEMA bus_app;
CREATE TABLE bus_app.seen (n bigserial, who text, event text, aggregate_id text, version bigint, state jsonb, previous jsonb,
  position bigint, role name DEFAULT current_user, path text DEFAULT current_setting('search_path'), worker int DEFAULT pg_backend_pid());
CREATE FUNCTION bus_app.one(e asynx.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO bus_app.seen (who, event, aggregate_id, version, state, previous, position)
   VALUES ('one', e.event_name, e.aggregate_id, e.version, e.aggregate, e.previous_aggregate, e.position) $$;
CREATE FUNCTION bus_app.many(e asynx.event[]) RETURNS void LANGUAGE sql AS
$$ INSERT INTO bus_app.seen (who, event, aggregate_id, version, state, previous, position)
   SELECT 'many', x.event_name, x.aggregate_id, x.version, x.aggregate, x.previous_aggregate, x.position FROM unnest(e) AS x $$;
CREATE FUNCTION bus_app.one_stored(e asynx.stored_event) RETURNS text LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO bus_app.seen (who, event, aggregate_id, version, position)
   VALUES ('one stored', e.event_name, e.aggregate_id, e.version, e.position); RETURN 'anything'; END $$;
CREATE FUNCTION bus_app.many_stored(e asynx.stored_event[]) RETURNS int LANGUAGE sql AS
$$ INSERT INTO bus_app.seen (who, event, aggregate_id, version, position)
   SELECT 'many stored', x.event_name, x.aggregate_id, x.version, x.position FROM unnest(e) AS x;
   SELECT cardinality(e) $$;

-- Every form of a handler, from now on.  Each gets the events in order, with the states around them.
SELECT version FROM asynx.write('bus-1', 'bus.before', '{"n": 0}');
SELECT asynx.subscribe('bus[.].*', 'bus_app.one', 'bus_one'), asynx.subscribe('bus[.].*', 'bus_app.many', 'bus_many'),
  asynx.subscribe('bus[.].*', 'bus_app.one_stored', 'bus_one_stored'), asynx.subscribe('bus[.].*', 'bus_app.many_stored(asynx.stored_event[])', 'bus_many_stored');
SELECT version FROM asynx.write('bus-1', 'bus.put', '{"n": 1}');
SELECT version FROM asynx.write('bus-2', 'bus.put', '[1]');
SELECT version FROM asynx.write('bus-2', 'other.put', '[1, 2]');
SELECT version FROM asynx.write('bus-2', 'bus.put', '[1, 2, 3]');
SELECT asynx.wait_for(timeout => '5 min');
SELECT who, event, aggregate_id, version, state, previous, role = current_user AS as_owner, path, worker <> pg_backend_pid() AS elsewhere
FROM bus_app.seen ORDER BY who, n;
SELECT count(*) AS failures FROM asynx.failures WHERE subscription LIKE 'bus%';

-- The same again is no change; another one is refused.
SELECT asynx.subscribe('bus[.].*', 'bus_app.one', 'bus_one');
SELECT asynx.subscribe('bus[.]x', 'bus_app.one', 'bus_one');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.subscribe('bus[.].*', 'bus_app.one', 'bus_one', partitions => 2);
SELECT asynx.unsubscribe('bus_one'), asynx.unsubscribe('bus_many'), asynx.unsubscribe('bus_one_stored'), asynx.unsubscribe('bus_many_stored'),
  asynx.unsubscribe('bus_one');
SELECT count(*) FROM asynx.checkpoints WHERE subscription LIKE 'bus%';

-- The whole history, or from a position; each partition has an aggregate's events in order.
TRUNCATE bus_app.seen;
SELECT asynx.append_many((SELECT jsonb_agg(jsonb_build_object('aggregate_id', 'bus-p' || i % 50, 'version', 1 + i / 50, 'event_name', 'bus.many',
  'patch', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', i)))) FROM generate_series(0, 1999) AS i));
SELECT asynx.subscribe('bus[.]many', 'bus_app.one', 'bus_parts', start_at => 0, partitions => 4);
SELECT position AS middle FROM asynx.events WHERE event_name = 'bus.many' ORDER BY position OFFSET 999 LIMIT 1 \gset
SELECT asynx.subscribe('bus[.]many', 'bus_app.many_stored', 'bus_tail', start_at => :middle);
SELECT asynx.wait_for(timeout => '5 min');
SELECT who, count(*), count(DISTINCT position) AS positions, bool_and(version = before + 1) AS in_order, sum((state)::int), sum(previous::int)
FROM (SELECT *, lag(version, 1, CASE who WHEN 'one' THEN 0::bigint ELSE 20 END) OVER (PARTITION BY who, aggregate_id ORDER BY n) AS before FROM bus_app.seen) AS s
GROUP BY who ORDER BY who;
SELECT count(*) AS partitions FROM asynx.checkpoints WHERE subscription = 'bus_parts';
SELECT count(DISTINCT asynx.partition_of(aggregate_id, 4)) FROM bus_app.seen;
SELECT asynx.unsubscribe('bus_parts'), asynx.unsubscribe('bus_tail');

-- Paused, a subscription keeps its place.  Who waits does not wait for it.
TRUNCATE bus_app.seen;
SELECT asynx.subscribe('bus.pause', 'bus_app.one', 'bus_pause');
SELECT asynx.pause('bus_pause');
SELECT version FROM asynx.write('bus-3', 'bus.pause', '1');
SELECT asynx.wait_for(timeout => '5 min');
SELECT state, state_reason, waiting, dead FROM asynx.subscription_status WHERE name = 'bus_pause';
SELECT count(*) FROM bus_app.seen;
SELECT asynx.resume('bus_pause');
SELECT asynx.wait_for(subscription => 'bus_pause');
SELECT who, version FROM bus_app.seen;
SELECT asynx.pause('nothing');
SELECT asynx.resume('nothing');
SELECT asynx.wait_for(subscription => 'nothing');
SELECT asynx.pause(NULL);

-- Rolled back with the transaction that they were in.
BEGIN;
SELECT asynx.pause('bus_pause'), asynx.subscribe('bus.pause', 'bus_app.one', 'bus_gone');
ROLLBACK;
SELECT version FROM asynx.write('bus-3', 'bus.pause', '2');
SELECT asynx.wait_for(timeout => '5 min');
SELECT who, version FROM bus_app.seen ORDER BY n;

-- Waiting: for a position, no longer than the timeout; never in a transaction that has written.
SELECT asynx.wait_for(9223372036854775807, '0.01 s');
SELECT asynx.wait_for(0, '0 s'), asynx.wait_for_handlers();
SELECT asynx.wait_for(-1);
SELECT asynx.wait_for(0, '-1 s');
SELECT asynx.wait_for(0, NULL);
BEGIN;
SELECT version FROM asynx.write('bus-3', 'bus.pause', '3');
SELECT asynx.wait_for(timeout => '5 min');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT asynx.wait_for(timeout => '5 min');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- A command that waits for the handlers of its event; a process manager: a handler that sends commands.
CREATE FUNCTION bus_app.set(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT payload';
SELECT asynx.create_command('bus.pause', 'default', 'bus.pause', 'bus_app.set'), asynx.create_command('bus.follow', 'default', 'bus.follow', 'bus_app.set');
CALL asynx.send_wait('bus.pause', 'bus-4', '{"sent": true}') \gset sent_
SELECT (:'sent_event'::asynx.event).aggregate, (:'sent_event'::asynx.event).version;
SELECT who, aggregate_id, version, state FROM bus_app.seen WHERE aggregate_id = 'bus-4';
CREATE FUNCTION bus_app.manage(e asynx.event) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN PERFORM asynx.send('bus.follow', e.aggregate_id || '-followed', e.aggregate, id => e.id); END $$;
SELECT asynx.subscribe('bus.pause', 'bus_app.manage', 'bus_manager');
CALL asynx.send_wait('bus.pause', 'bus-5', '{"sent": 1}') \gset sent_
SELECT asynx.get('bus-5-followed');
BEGIN;
CALL asynx.send_wait('bus.pause', 'bus-5', '{"sent": 2}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CALL asynx.send_wait('bus.nothing', 'bus-5');
CALL asynx.send_wait('bus.pause', 'bus-5', timeout => NULL);
SELECT asynx.unsubscribe('bus_manager');

-- Once more, by the workers or in the caller's transaction.
TRUNCATE bus_app.seen;
SELECT asynx.publish('bus-3', 1);
SELECT asynx.wait_for(timeout => '5 min');
SELECT who, version FROM bus_app.seen;
SELECT count(*) FROM asynx.failures WHERE subscription LIKE 'bus%';
BEGIN;
SELECT asynx.publish_sync('bus-3', 2);
SELECT who, version, worker = pg_backend_pid() AS here FROM bus_app.seen ORDER BY n;
ROLLBACK;
SELECT count(*) FROM bus_app.seen;
SELECT asynx.publish('bus-3', 99);
SELECT asynx.publish_sync('bus-3', NULL);

-- Events as they come.  Nothing comes in the time of a test that has one session; specs and t/ have more.
SELECT asynx.subscribe_wait('bus.pause', '0.01 s') IS NULL AS timeout;
SELECT count(*) FROM asynx.listen('bus.pause', 1, '0.01 s');
SELECT asynx.subscribe_wait('(', '0.01 s');
SELECT * FROM asynx.listen('bus.pause', -1);

-- What there is to be seen.
SELECT kind, bool_or(pid IS NOT NULL) AS works FROM asynx.worker_status GROUP BY kind ORDER BY kind;
SELECT lifecycle, safe_position > 0 AS feed, holders, running >= 1 AS running, paused, stopped, waiting, dead, workers > 0 AS workers FROM asynx.stats;
SELECT DISTINCT backend_type FROM pg_stat_activity WHERE backend_type LIKE 'asynx%' ORDER BY 1;
SELECT name, mode, pattern, state, partition, position > 0 AS has_position, dead, waiting FROM asynx.subscription_status WHERE name LIKE 'bus%';

SELECT asynx.unsubscribe('bus_pause');
SELECT FROM asynx.drop_command('bus.pause');
SELECT FROM asynx.drop_command('bus.follow');
SELECT count(asynx.delete(a.aggregate_id)) FROM asynx.aggregates(count => 1000) AS a WHERE a.aggregate_id LIKE 'bus-%';
DROP SCHEMA bus_app CASCADE;
