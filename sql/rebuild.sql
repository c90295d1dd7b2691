-- rebuild(): a read model made anew, beside the others.

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
CREATE SCHEMA rebuild_app;
CREATE TABLE rebuild_app.model (aggregate_id text PRIMARY KEY, version bigint, n int);
CREATE TABLE rebuild_app.other (aggregate_id text PRIMARY KEY, version bigint, n int);
CREATE FUNCTION rebuild_app.put(e asynx.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO rebuild_app.model AS m VALUES (e.aggregate_id, e.version, (e.aggregate ->> 'n')::int)
   ON CONFLICT (aggregate_id) DO UPDATE SET version = excluded.version, n = m.n + excluded.n $$;
CREATE FUNCTION rebuild_app.put_other(e asynx.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO rebuild_app.other AS m VALUES (e.aggregate_id, e.version, (e.aggregate ->> 'n')::int)
   ON CONFLICT (aggregate_id) DO UPDATE SET version = excluded.version, n = m.n + excluded.n $$;
SELECT asynx.subscribe('rebuild.put', 'rebuild_app.put', 'rebuild', partitions => 2), asynx.subscribe('rebuild.put', 'rebuild_app.put_other', 'rebuild_other');
SELECT asynx.append_many((SELECT jsonb_agg(jsonb_build_object('aggregate_id', 'rebuild-' || i % 100, 'version', 1 + i / 100, 'event_name', 'rebuild.put',
  'patch', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', jsonb_build_object('n', i))))) FROM generate_series(0, 2999) AS i));
SELECT asynx.wait_for(timeout => '5 min');
SELECT count(*), sum(version), sum(n) FROM rebuild_app.model;

-- The read model is emptied and the subscription put back in one transaction; nobody sees half of it.
BEGIN;
TRUNCATE rebuild_app.model;
SELECT asynx.rebuild('rebuild');
COMMIT;
SELECT asynx.wait_for(timeout => '5 min');
SELECT count(*), sum(version), sum(n) FROM rebuild_app.model;
SELECT count(*), sum(version), sum(n) FROM rebuild_app.other;
SELECT subscription, done = total AS complete, total > 0 AS some, rate > 0 AS rate, remaining FROM asynx.progress WHERE subscription LIKE 'rebuild%';

-- From a position on; without effect if rolled back; its failures go.
BEGIN;
SELECT asynx.rebuild('rebuild');
ROLLBACK;
SELECT asynx.wait_for(timeout => '5 min');
SELECT sum(n) FROM rebuild_app.model;
SELECT asynx.rebuild('rebuild', (SELECT position - 1 FROM asynx.events WHERE aggregate_id = 'rebuild-99' AND version = 30));
SELECT asynx.wait_for(timeout => '5 min');
SELECT sum(n) FROM rebuild_app.model;

-- Paused, it says how far it is.
SELECT asynx.pause('rebuild');
SELECT asynx.rebuild('rebuild');
SELECT done, total > 2900 AS total FROM asynx.progress WHERE subscription = 'rebuild';

-- The next subscription of the name has nothing to do with it.
SELECT asynx.unsubscribe('rebuild');
SELECT asynx.subscribe('rebuild.put', 'rebuild_app.put', 'rebuild', partitions => 2);
SELECT count(*) FROM asynx.progress WHERE subscription = 'rebuild';

-- What is refused: there is none of the name, or none that could be.
SELECT asynx.subscribe('rebuild.none', 'rebuild_app.put', 'rebuild_inline', mode => 'inline');
SELECT asynx.rebuild('rebuild_inline');
SELECT asynx.unsubscribe('rebuild_inline');
SELECT asynx.rebuild('nothing');
SELECT asynx.rebuild(NULL);
SELECT asynx.rebuild('rebuild', -1);
SELECT asynx.rebuild('rebuild', 9223372036854775807);
SELECT asynx.unsubscribe('rebuild'), asynx.unsubscribe('rebuild_other');
SELECT count(*) FROM asynx.progress WHERE subscription LIKE 'rebuild%';
SELECT count(asynx.delete(a.aggregate_id)) FROM asynx.aggregates(count => 1000) AS a WHERE a.aggregate_id LIKE 'rebuild-%';
DROP SCHEMA rebuild_app CASCADE;
