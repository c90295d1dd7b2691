-- Pull subscriptions: the application fetches.

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
CREATE SCHEMA pull_app;
CREATE TABLE pull_app.read (aggregate_id text, version bigint, n bigserial);
SELECT asynx.subscribe('pull[.].*', mode => 'pull', name => 'pull');
SELECT asynx.append_many((SELECT jsonb_agg(jsonb_build_object('aggregate_id', 'pull-1', 'version', v, 'event_name', CASE v WHEN 3 THEN 'other' ELSE 'pull.put' END,
  'patch', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', v)))) FROM generate_series(1, 6) AS v));

-- Without an acknowledgement the same events come again; ack() moves on, never back and not beyond what was fetched.
SELECT aggregate_id, version, previous_aggregate, aggregate FROM asynx.fetch('pull', 2);
SELECT position - (SELECT min(position) FROM asynx.events WHERE aggregate_id = 'pull-1') AS place, version FROM asynx.fetch('pull', 3);
SELECT position AS second FROM asynx.events WHERE aggregate_id = 'pull-1' AND version = 2 \gset
SELECT asynx.ack('pull', :second);
SELECT version FROM asynx.fetch('pull');
SELECT asynx.ack('pull', :second - 1);
SELECT version FROM asynx.fetch('pull', 1);
\set VERBOSITY terse
SELECT asynx.ack('pull', 9223372036854775807);
\set VERBOSITY default
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM asynx.fetch('pull', 0);

-- With auto_ack the checkpoint moves with the caller's own writes, or not at all.
BEGIN;
INSERT INTO pull_app.read SELECT aggregate_id, version FROM asynx.fetch('pull', 2, true);
ROLLBACK;
BEGIN;
INSERT INTO pull_app.read SELECT aggregate_id, version FROM asynx.fetch('pull', 2, true);
SAVEPOINT s;
INSERT INTO pull_app.read SELECT aggregate_id, version FROM asynx.fetch('pull', 2, true);
ROLLBACK TO s;
INSERT INTO pull_app.read SELECT aggregate_id, version FROM asynx.fetch('pull', 1, true);
COMMIT;
SELECT aggregate_id, version FROM pull_app.read ORDER BY n;
SELECT count(*) FROM asynx.fetch('pull');

-- What was forgotten comes as a tombstone, without a state; those after it with theirs.
SELECT version FROM asynx.write('pull-2', 'pull.put', '{"secret": true}');
SELECT asynx.forget('pull-2');
SELECT version FROM asynx.write('pull-2', 'pull.put', '{"again": true}');
SELECT asynx.subscribe('.*', mode => 'pull', name => 'pull_all', start_at => (SELECT max(position) FROM asynx.events WHERE aggregate_id = 'pull-1'));
SELECT event_name, aggregate_id, version, aggregate, previous_aggregate FROM asynx.fetch('pull_all', auto_ack => true);
SELECT event_name, version FROM asynx.fetch('pull', auto_ack => true);

-- Nothing is fetched while it is paused.
SELECT version FROM asynx.write('pull-2', 'pull.put', '1');
SELECT asynx.pause('pull');
SELECT count(*) FROM asynx.fetch('pull');
SELECT asynx.resume('pull');
SELECT count(*) FROM asynx.fetch('pull');

-- Again from a position.
SELECT asynx.rebuild('pull', :second);
SELECT version FROM asynx.fetch('pull', 2);

-- Where nothing is wanted there is nothing to acknowledge: it is not looked at again.
SELECT asynx.subscribe('pull.never', mode => 'pull', name => 'pull_rare', start_at => 0);
SELECT count(*) FROM asynx.fetch('pull_rare');
SELECT position >= :second AS moved FROM asynx.subscription_status WHERE name = 'pull_rare';
SELECT asynx.unsubscribe('pull_rare');

-- What is refused.
SELECT asynx.alter_subscription('pull', timeout => '1 s');
SELECT asynx.alter_subscription('pull', max_attempts => 2);
SELECT asynx.fetch('nothing');
SELECT asynx.ack('nothing', 1);
SELECT asynx.fetch(NULL);
SELECT asynx.fetch('pull', -1);
SELECT asynx.fetch('pull', NULL);
SELECT asynx.ack('pull', NULL);
SELECT asynx.ack('pull', -1);
BEGIN READ ONLY;
SELECT asynx.fetch('pull');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT asynx.fetch('pull');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT asynx.subscribe('pull', 'asynx.get', mode => 'pull');
SELECT asynx.subscribe('pull', mode => 'pull', partitions => 2);
SELECT asynx.subscribe('pull', mode => 'pull', channel => 'c');
SELECT asynx.subscribe('pull', mode => 'pull', timeout => '1 s');

-- Channel subscriptions need a channel, and nothing else.
SELECT asynx.subscribe('pull', mode => 'channel', name => 'pull_channel');
SELECT asynx.subscribe('pull', mode => 'channel', channel => repeat('c', 64));
SELECT asynx.subscribe('pull', mode => 'channel', channel => '');
SELECT asynx.subscribe('pull', 'asynx.get', mode => 'channel', channel => 'c');
SELECT asynx.subscribe('pull', mode => 'channel', channel => 'pulled', name => 'pull_channel');
SELECT name, mode, channel, partitions, on_failure FROM asynx.subscriptions WHERE name LIKE 'pull%' ORDER BY name;

SELECT asynx.unsubscribe('pull'), asynx.unsubscribe('pull_all'), asynx.unsubscribe('pull_channel');
SELECT count(asynx.delete(a.aggregate_id)) FROM asynx.aggregates(count => 1000) AS a WHERE a.aggregate_id LIKE 'pull-%';
SELECT asynx.purge_tombstones('infinity') > 0 AS purged;
DROP SCHEMA pull_app CASCADE;
