-- What becomes of events that a handler cannot handle.

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
CREATE SCHEMA failures_app;
CREATE TABLE failures_app.seen (n bigserial, who text, aggregate_id text, version bigint, note text);
CREATE TABLE failures_app.broken (who text, aggregate_id text, version bigint, PRIMARY KEY (who, aggregate_id, version));

-- Handlers note the event and then fail if it is in the table: what a failed attempt wrote is undone.
CREATE FUNCTION failures_app.handle(who text, e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO failures_app.seen (who, aggregate_id, version) VALUES (who, e.aggregate_id, e.version);
  IF EXISTS (SELECT FROM failures_app.broken b WHERE b.who = handle.who AND b.aggregate_id = e.aggregate_id AND b.version = e.version) THEN
    RAISE EXCEPTION '% cannot handle version %', who, e.version USING ERRCODE = 'UE001';
  END IF;
END $$;
CREATE FUNCTION failures_app.first(e asynx.event) RETURNS void LANGUAGE sql AS $$ SELECT failures_app.handle('first', e) $$;
CREATE FUNCTION failures_app.second(e asynx.event) RETURNS void LANGUAGE sql AS $$ SELECT failures_app.handle('second', e) $$;
CREATE FUNCTION failures_app.batch(e asynx.event[]) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN FOR i IN 1 .. cardinality(e) LOOP PERFORM failures_app.handle('batch', e[i]); END LOOP; END $$;
CREATE FUNCTION failures_app.panic(e asynx.event, error jsonb) RETURNS void LANGUAGE sql AS
$$ INSERT INTO failures_app.seen (who, aggregate_id, version, note) VALUES ('panic', e.aggregate_id, e.version, error::text) $$;
CREATE FUNCTION failures_app.late(e asynx.event, timeout interval) RETURNS void LANGUAGE sql AS
$$ INSERT INTO failures_app.seen (who, aggregate_id, version, note) VALUES ('late', e.aggregate_id, e.version, timeout::text) $$;
CREATE FUNCTION failures_app.put(VARIADIC ids text[]) RETURNS void LANGUAGE sql AS
$$ SELECT asynx.write(id, 'failures.put', to_jsonb(random())) FROM unnest(ids) AS id $$;
-- Waits until the workers have done what can be done now, and says what there is.
CREATE PROCEDURE failures_app.settle() LANGUAGE plpgsql AS $$ BEGIN COMMIT; IF NOT asynx.wait_for(timeout => '5 min') THEN RAISE 'not handled in time'; END IF; END $$;
CREATE PROCEDURE failures_app.await(condition text) LANGUAGE plpgsql AS $$
DECLARE
  done boolean;
BEGIN
  FOR i IN 1 .. 30000 LOOP
    EXECUTE 'SELECT ' || condition INTO done;
    EXIT WHEN done;
    COMMIT;
    PERFORM pg_sleep(0.01);
  END LOOP;
  IF NOT done THEN RAISE 'never: %', condition; END IF;
END $$;
CREATE FUNCTION failures_app.failures(OUT subscription text, OUT aggregate_id text, OUT version bigint, OUT state text, OUT attempts int, OUT sqlstate text, OUT message text)
  RETURNS SETOF record LANGUAGE sql AS
$$ SELECT f.subscription, f.aggregate_id, f.version, f.state, f.attempts, f.sqlstate, f.message FROM asynx.failures f WHERE f.subscription LIKE 'failures%' ORDER BY 1, f.position $$;

CREATE FUNCTION failures_app.said(statement text) RETURNS text LANGUAGE plpgsql AS
$$ BEGIN EXECUTE statement; RETURN 'nothing'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, '\d+', 'N'); END $$;

-- continue, the default: the event is given up, all others are handled; in a batch too.
SELECT asynx.on_panic('failures_app.panic');
SELECT asynx.subscribe('failures.put', 'failures_app.first', 'failures_continue'), asynx.subscribe('failures.put', 'failures_app.batch', 'failures_batch');
INSERT INTO failures_app.broken VALUES ('first', 'failures-1', 2), ('batch', 'failures-1', 3);
SELECT asynx.append_many((SELECT jsonb_agg(jsonb_build_object('aggregate_id', 'failures-1', 'version', v, 'event_name', 'failures.put', 'patch', '[]'::jsonb))
  FROM generate_series(1, 4) AS v));
CALL failures_app.settle();
SELECT who, aggregate_id, version, note FROM failures_app.seen ORDER BY who, version;
SELECT * FROM failures_app.failures();
SELECT dead, waiting FROM asynx.subscription_status WHERE name = 'failures_continue';

-- retry() has it handled again, discard() gives it up for good.
SELECT position AS second FROM asynx.events WHERE aggregate_id = 'failures-1' AND version = 2 \gset
SELECT position AS third FROM asynx.events WHERE aggregate_id = 'failures-1' AND version = 3 \gset
TRUNCATE failures_app.seen;
SELECT asynx.on_publish_error('failures_app.panic') AS hook \gset
SELECT asynx.retry('failures_continue', :second);
CALL failures_app.settle();
SELECT who, version, note FROM failures_app.seen ORDER BY n;
SELECT asynx.unsubscribe(:'hook');
SELECT * FROM failures_app.failures();
DELETE FROM failures_app.broken;
SELECT asynx.retry('failures_continue', :second);
CALL failures_app.settle();
SELECT who, version FROM failures_app.seen WHERE who = 'first';
SELECT asynx.discard('failures_batch', :third);
SELECT * FROM failures_app.failures();
SELECT failures_app.said(format('SELECT asynx.retry(%L, %s)', 'failures_continue', :second)), failures_app.said(format('SELECT asynx.discard(%L, %s)', 'failures_batch', :third));
SELECT asynx.retry('nothing', 1);
SELECT asynx.discard(NULL, 1);
SELECT asynx.unsubscribe('failures_continue'), asynx.unsubscribe('failures_batch');

-- A fallback gets the same event.  If it fails too, that is the failure; the hook is told of both.
TRUNCATE failures_app.seen;
SELECT asynx.subscribe('failures.put', 'failures_app.first', 'failures_fallback', 'failures_app.second');
INSERT INTO failures_app.broken VALUES ('first', 'failures-2', 1), ('first', 'failures-2', 2), ('second', 'failures-2', 2);
SELECT failures_app.put('failures-2', 'failures-2');
CALL failures_app.settle();
SELECT who, aggregate_id, version, note FROM failures_app.seen ORDER BY n;
SELECT * FROM failures_app.failures();
SELECT asynx.unsubscribe('failures_fallback');

-- park: later events of the aggregate wait, others go on; retry() runs them in order.
TRUNCATE failures_app.seen, failures_app.broken;
SELECT asynx.subscribe('failures.put', 'failures_app.first', 'failures_park', on_failure => 'park');
INSERT INTO failures_app.broken VALUES ('first', 'failures-3', 2);
SELECT failures_app.put('failures-3', 'failures-3', 'failures-3', 'failures-4', 'failures-3');
CALL failures_app.settle();
SELECT failures_app.put('failures-3', 'failures-4');
CALL failures_app.settle();
SELECT who, aggregate_id, version FROM failures_app.seen WHERE who = 'first' ORDER BY n;
SELECT * FROM failures_app.failures();
SELECT waiting, dead FROM asynx.subscription_status WHERE name = 'failures_park';
SELECT position AS parked FROM asynx.events WHERE aggregate_id = 'failures-3' AND version = 2 \gset
SELECT failures_app.said(format('SELECT asynx.retry(%L, %s)', 'failures_park', :parked + 1));
DELETE FROM failures_app.broken;
SELECT asynx.retry('failures_park', :parked);
CALL failures_app.settle();
SELECT who, aggregate_id, version FROM failures_app.seen WHERE who = 'first' AND aggregate_id = 'failures-3' ORDER BY n;
SELECT * FROM failures_app.failures();
-- The same after the parked one was discarded; and the whole line with it goes when the aggregate is forgotten.
INSERT INTO failures_app.broken VALUES ('first', 'failures-3', 6);
SELECT failures_app.put('failures-3', 'failures-3');
CALL failures_app.settle();
SELECT version, state, attempts FROM failures_app.failures();
SELECT asynx.discard('failures_park', (SELECT min(position) FROM asynx.failures WHERE subscription = 'failures_park'));
CALL failures_app.settle();
SELECT aggregate_id, version FROM failures_app.seen WHERE aggregate_id = 'failures-3' AND version > 5 ORDER BY n;
INSERT INTO failures_app.broken VALUES ('first', 'failures-3', 8);
SELECT failures_app.put('failures-3', 'failures-3');
CALL failures_app.settle();
SELECT version, state, attempts FROM failures_app.failures();
SELECT asynx.forget('failures-3');
CALL failures_app.settle();
SELECT version, state, attempts FROM failures_app.failures();
SELECT failures_app.put('failures-3');
CALL failures_app.settle();
SELECT count(*) FROM failures_app.seen WHERE aggregate_id = 'failures-3' AND version = 1;
-- A line whose first was deleted by hand goes on when somebody looks at the subscriptions.
TRUNCATE failures_app.seen;
INSERT INTO failures_app.broken VALUES ('first', 'failures-3', 2);
SELECT failures_app.put('failures-3', 'failures-3', 'failures-3');
CALL failures_app.settle();
SELECT version, state, attempts FROM failures_app.failures();
DELETE FROM asynx.failures WHERE subscription = 'failures_park' AND attempts > 0;
SELECT asynx.alter_subscription('failures_park', max_attempts => 1);
CALL failures_app.await($$NOT EXISTS (SELECT FROM asynx.failures WHERE subscription = 'failures_park')$$);
SELECT count(*) FROM failures_app.seen WHERE aggregate_id = 'failures-3' AND version IN (3, 4);
-- The pattern of a subscription cannot be spoilt, not even by hand.
UPDATE asynx.subscriptions SET pattern = '(' WHERE name = 'failures_park';
SELECT asynx.unsubscribe('failures_park');

-- stop: the subscription stops at the event, and begins with it when it is resumed.
TRUNCATE failures_app.seen, failures_app.broken;
SELECT asynx.subscribe('failures.put', 'failures_app.first', 'failures_stop', on_failure => 'stop');
INSERT INTO failures_app.broken VALUES ('first', 'failures-5', 1);
SELECT failures_app.put('failures-5', 'failures-6');
CALL failures_app.settle();
SELECT state, regexp_replace(state_reason, '\d+', 'N') AS reason FROM asynx.subscription_status WHERE name = 'failures_stop';
SELECT who, aggregate_id, version FROM failures_app.seen WHERE who = 'first' ORDER BY n;
DELETE FROM failures_app.broken;
SELECT asynx.resume('failures_stop');
CALL failures_app.settle();
SELECT who, aggregate_id, version FROM failures_app.seen WHERE who = 'first' ORDER BY n;
SELECT state, state_reason FROM asynx.subscription_status WHERE name = 'failures_stop';
SELECT * FROM failures_app.failures();
SELECT asynx.unsubscribe('failures_stop');

-- So many attempts, with a delay; meanwhile later events of the aggregate wait.
TRUNCATE failures_app.seen, failures_app.broken;
SELECT asynx.subscribe('failures.put', 'failures_app.first', 'failures_retry', max_attempts => 3, retry_delay => '1 ms');
INSERT INTO failures_app.broken VALUES ('first', 'failures-7', 1);
SELECT failures_app.put('failures-7', 'failures-7');
CALL failures_app.await($$EXISTS (SELECT FROM asynx.failures WHERE subscription = 'failures_retry' AND state = 'dead')$$);
CALL failures_app.await($$EXISTS (SELECT FROM failures_app.seen WHERE who = 'first')$$);
SELECT * FROM failures_app.failures();
SELECT who, aggregate_id, version FROM failures_app.seen WHERE who = 'first' ORDER BY n;
SELECT count(*) AS panics FROM failures_app.seen WHERE who = 'panic';
SELECT asynx.alter_subscription('failures_retry', max_attempts => 1, on_failure => 'park', timeout => '1 hour', retry_delay => '2 s');
SELECT max_attempts, on_failure, timeout, retry_delay FROM asynx.subscriptions WHERE name = 'failures_retry';
SELECT asynx.alter_subscription('failures_retry', max_attempts => 0);
SELECT asynx.alter_subscription('failures_retry', on_failure => 'explode');
SELECT asynx.alter_subscription('failures_retry', timeout => '0');
SELECT asynx.alter_subscription('failures_retry', retry_delay => '-1 s');
SELECT asynx.alter_subscription('failures_retry', retry_delay => '300000 years');
SELECT asynx.alter_subscription('nothing');
SELECT asynx.unsubscribe('failures_retry');

-- A handler that is too slow is stopped, also if it swallows the cancel, with its hook and fallback.
TRUNCATE failures_app.seen, failures_app.broken;
CREATE FUNCTION failures_app.sleep(e asynx.event) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(3600)';
CREATE FUNCTION failures_app.swallow(e asynx.event) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN INSERT INTO failures_app.seen (who) VALUES ('swallowed'); END $$;
CREATE FUNCTION failures_app.spin(e asynx.event[]) RETURNS void LANGUAGE plpgsql AS $$ BEGIN LOOP END LOOP; END $$;
SELECT asynx.on_timeout('failures_app.late');
-- So is a hook.
CREATE FUNCTION failures_app.hang(e asynx.event, timeout interval) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(3600)';
SELECT asynx.on_timeout('failures_app.hang');
SELECT asynx.subscribe('failures.put', 'failures_app.sleep', 'failures_sleep', 'failures_app.second', timeout => '30 ms'),
  asynx.subscribe('failures.put', 'failures_app.swallow', 'failures_swallow', timeout => '30 ms'),
  asynx.subscribe('failures.put', 'failures_app.spin', 'failures_spin', timeout => '30 ms'),
  asynx.subscribe('failures.put', 'failures_app.first', 'failures_good');
SELECT failures_app.put('failures-8', 'failures-8');
CALL failures_app.settle();
SELECT who, aggregate_id, version, note, count(*) FROM failures_app.seen GROUP BY who, aggregate_id, version, note ORDER BY 1, 3;
SELECT * FROM failures_app.failures();
SELECT asynx.unsubscribe(name) FROM asynx.subscriptions WHERE name LIKE 'failures%';

-- A function that is missing, or that belongs to somebody else by now.
CREATE FUNCTION failures_app.short_lived(e asynx.event) RETURNS void LANGUAGE sql AS 'SELECT';
SELECT asynx.subscribe('failures.put', 'failures_app.short_lived', 'failures_missing');
DROP FUNCTION failures_app.short_lived;
SELECT failures_app.put('failures-9');
CALL failures_app.settle();
SELECT * FROM failures_app.failures();
SELECT asynx.unsubscribe('failures_missing');

-- A role that is missing stops the subscription: nobody else runs the handler. It goes on where it was.
TRUNCATE failures_app.seen;
CREATE ROLE regress_failures_owner;
CREATE FUNCTION failures_app.owned(e asynx.stored_event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO failures_app.seen (who, aggregate_id, version) VALUES (current_user, e.aggregate_id, e.version) $$;
ALTER FUNCTION failures_app.owned OWNER TO regress_failures_owner;
GRANT USAGE ON SCHEMA failures_app TO regress_failures_owner;
GRANT INSERT ON failures_app.seen TO regress_failures_owner;
GRANT USAGE ON SEQUENCE failures_app.seen_n_seq TO regress_failures_owner;
SELECT asynx.subscribe('failures.put', 'failures_app.owned', 'failures_owned');
ALTER ROLE regress_failures_owner RENAME TO regress_failures_renamed;
SELECT failures_app.put('failures-9', 'failures-9');
CALL failures_app.settle();
SELECT state, state_reason FROM asynx.subscription_status WHERE name = 'failures_owned';
SELECT * FROM failures_app.failures();
ALTER ROLE regress_failures_renamed RENAME TO regress_failures_owner;
SELECT asynx.resume('failures_owned');
CALL failures_app.settle();
SELECT who, aggregate_id, version FROM failures_app.seen ORDER BY n;
SELECT asynx.unsubscribe('failures_owned');
DROP OWNED BY regress_failures_owner;
DROP ROLE regress_failures_owner;

-- What an inline subscription could not handle can be discarded; no worker could handle it again.
CREATE FUNCTION failures_app.refuse(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
SELECT asynx.subscribe('failures.inline', 'failures_app.refuse', 'failures_inline', mode => 'inline', on_failure => 'continue');
SELECT version FROM asynx.write('failures-11', 'failures.inline', '1');
SELECT * FROM failures_app.failures();
SELECT asynx.retry('failures_inline', position) FROM asynx.failures WHERE subscription = 'failures_inline';
SELECT asynx.discard('failures_inline', position) FROM asynx.failures WHERE subscription = 'failures_inline';
SELECT asynx.unsubscribe('failures_inline');

-- No document is in a failure's message unless the handler put it there.
SELECT version FROM asynx.append('failures-10', 1, 'failures.put', '[{"op": "add", "path": "/a/b", "value": "s3cret"}]');
SELECT asynx.subscribe('failures.put', 'failures_app.first', 'failures_fold', start_at => (SELECT position - 1 FROM asynx.events WHERE aggregate_id = 'failures-10'));
CALL failures_app.settle();
SELECT subscription, version, state, sqlstate, message FROM failures_app.failures();
SELECT asynx.unsubscribe('failures_fold');

SELECT asynx.unsubscribe(name) FROM asynx.subscriptions WHERE handler LIKE 'failures_app.%' ORDER BY name;
SELECT count(asynx.delete(a.aggregate_id)) FROM asynx.aggregates(count => 1000) AS a WHERE a.aggregate_id LIKE 'failures-%';
SELECT asynx.purge_tombstones('infinity') > 0 AS purged;
DROP SCHEMA failures_app CASCADE;
