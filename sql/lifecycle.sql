-- Shutting the store down, and letting it run again.

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
CREATE SCHEMA lifecycle_app;
CREATE TABLE lifecycle_app.seen (aggregate_id text, version bigint);
CREATE FUNCTION lifecycle_app.note(e asynx.stored_event) RETURNS void LANGUAGE sql AS 'INSERT INTO lifecycle_app.seen VALUES (e.aggregate_id, e.version)';
CREATE FUNCTION lifecycle_app.put(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT payload';
SELECT asynx.create_command('lifecycle.put', 'default', 'lifecycle.put', 'lifecycle_app.put');
SELECT asynx.subscribe('lifecycle.put', 'lifecycle_app.note', 'lifecycle');

-- What there is, is handled; then commands are refused.  Reading is not.
SELECT version FROM asynx.send('lifecycle.put', 'lifecycle-1', '1');
CALL asynx.shutdown();
SELECT aggregate_id, version FROM lifecycle_app.seen;
SELECT asynx.lifecycle_state();
SELECT version FROM asynx.send('lifecycle.put', 'lifecycle-1', '2');
\echo :LAST_ERROR_SQLSTATE
SELECT version FROM asynx.write('lifecycle-1', 'lifecycle.put', '2');
SELECT asynx.send_many('[{"command": "lifecycle.put", "aggregate_id": "lifecycle-1"}]');
SELECT asynx.subscribe('lifecycle.put', 'lifecycle_app.note', 'lifecycle_too');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.publish('lifecycle-1', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.get('lifecycle-1');
CALL asynx.shutdown();

-- append() is how stores are filled, also while handlers rest; resume() has them go on.
SELECT version FROM asynx.append('lifecycle-1', 2, 'lifecycle.put', '[]');
CALL asynx.shutdown();
SELECT asynx.lifecycle_state(), count(*) FROM lifecycle_app.seen;
SELECT asynx.resume();
SELECT asynx.wait_for(timeout => '5 min');
SELECT aggregate_id, version FROM lifecycle_app.seen ORDER BY version;
SELECT version FROM asynx.send('lifecycle.put', 'lifecycle-1', '3');
SELECT asynx.wait_for(timeout => '5 min');

-- What is refused.
BEGIN;
CALL asynx.shutdown();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CALL asynx.shutdown(NULL);
CALL asynx.shutdown('-1 s');
SELECT asynx.lifecycle_state();

-- A restored copy, which has subscriptions and no row, is dormant until it is resumed.
DELETE FROM asynx.lifecycle;
SELECT asynx.lifecycle_state();
SELECT version FROM asynx.append('lifecycle-1', 4, 'lifecycle.put', '[]');
NOTIFY asynx_wake;
SELECT asynx.wait_for(timeout => '0.05 s');
CALL asynx.shutdown();
SELECT asynx.lifecycle_state(), count(*) FROM lifecycle_app.seen;
SELECT asynx.resume();
SELECT asynx.wait_for(timeout => '5 min');
SELECT count(*) FROM lifecycle_app.seen;

SELECT asynx.unsubscribe('lifecycle');
SELECT FROM asynx.drop_command('lifecycle.put');
SELECT count(asynx.delete(a.aggregate_id)) FROM asynx.aggregates(count => 1000) AS a WHERE a.aggregate_id LIKE 'lifecycle-%';
DROP SCHEMA lifecycle_app CASCADE;
