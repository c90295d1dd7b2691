-- Operating subscriptions.

CREATE FUNCTION asynx.pause(name text) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_pause'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.pause(text) IS 'Pauses a subscription; what is under way is finished.';

CREATE FUNCTION asynx.resume(name text) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_resume_subscription'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.resume(text) IS 'Lets a paused or stopped subscription run.';

CREATE FUNCTION asynx.alter_subscription(
    name text, timeout interval DEFAULT NULL, max_attempts integer DEFAULT NULL,
    retry_delay interval DEFAULT NULL, on_failure text DEFAULT NULL)
  RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_alter_subscription'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.alter_subscription(text, interval, integer, interval, text) IS
  'Changes what a subscription does with events that it cannot handle; NULL leaves a value as it is.';

CREATE FUNCTION asynx.retry(subscription text, event_position bigint) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_retry'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.retry(text, bigint) IS
  'Has a subscription handle an event again that it could not handle, and then those that wait for it.';

CREATE FUNCTION asynx.discard(subscription text, event_position bigint) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_discard'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.discard(text, bigint) IS
  'Gives up an event that a subscription could not handle; those that wait for it go on.';

CREATE FUNCTION asynx.rebuild(subscription text, start_at bigint DEFAULT 0) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_rebuild'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.rebuild(text, bigint) IS
  'Has a subscription handle the feed again from a position on; see asynx.progress.';

-- Redelivery.

CREATE FUNCTION asynx.publish(aggregate_id text, version bigint) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_publish'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.publish(text, bigint) IS
  'Hands a stored event again to its subscriptions that run, by the workers.';

CREATE FUNCTION asynx.publish_sync(aggregate_id text, version bigint) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_publish_sync'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.publish_sync(text, bigint) IS
  'Runs the handlers that want a stored event in the caller''s transaction.';

-- Pull.

CREATE FUNCTION asynx.fetch(subscription text, count integer DEFAULT 100,
                            auto_ack boolean DEFAULT false)
  RETURNS SETOF asynx.event
  AS 'MODULE_PATHNAME', 'asynx_fetch'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.fetch(text, integer, boolean) IS
  'The next events of a pull subscription, with states. With auto_ack they are done with the caller''s commit, else with ack().';

CREATE FUNCTION asynx.ack(subscription text, event_position bigint) RETURNS void
  AS 'MODULE_PATHNAME', 'asynx_ack'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.ack(text, bigint) IS
  'Says that the events of a pull subscription are done up to a position that was fetched.';

-- Waiting.

CREATE FUNCTION asynx.wait_for(
    event_position bigint DEFAULT NULL, timeout interval DEFAULT '30 s',
    subscription text DEFAULT NULL)
  RETURNS boolean
  AS 'MODULE_PATHNAME', 'asynx_wait_for'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.wait_for(bigint, interval, text) IS
  'Waits until the running async subscriptions, or one of them, have handled the feed up to a position; NULL: up to now. False if time was up before.';

CREATE FUNCTION asynx.wait_for_handlers(timeout interval DEFAULT '30 s') RETURNS boolean
  AS 'MODULE_PATHNAME', 'asynx_wait_for_handlers'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.wait_for_handlers(interval) IS
  'Waits until all handlers have handled what there is; false if time was up before.';

CREATE FUNCTION asynx.listen(pattern text, count integer DEFAULT 0,
                             timeout interval DEFAULT '30 s')
  RETURNS SETOF asynx.event
  AS 'MODULE_PATHNAME', 'asynx_listen'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.listen(text, integer, interval) IS
  'Events as they come from now on, at most count (0: any number), until time is up; with a count, NULL is for ever.';

CREATE FUNCTION asynx.subscribe_wait(pattern text, timeout interval DEFAULT '30 s')
  RETURNS asynx.event
  AS 'MODULE_PATHNAME', 'asynx_subscribe_wait'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.subscribe_wait(text, interval) IS
  'The next event whose name matches; NULL if time is up before.';

CREATE PROCEDURE asynx.send_wait(
    command text, aggregate_id text, payload jsonb DEFAULT '{}', metadata jsonb DEFAULT NULL,
    timeout interval DEFAULT '30 s', INOUT event asynx.event DEFAULT NULL)
  AS 'MODULE_PATHNAME', 'asynx_send_wait'
  LANGUAGE C;
COMMENT ON PROCEDURE asynx.send_wait(text, text, jsonb, jsonb, interval, asynx.event) IS
  'Sends a command, commits, and waits until the handlers have handled its event.';

CREATE PROCEDURE asynx.shutdown(timeout interval DEFAULT '30 s')
  AS 'MODULE_PATHNAME', 'asynx_shutdown'
  LANGUAGE C;
COMMENT ON PROCEDURE asynx.shutdown(interval) IS
  'Refuses new commands, waits until the handlers have handled what there is, and stops the store until asynx.resume().';

-- Status.

CREATE FUNCTION asynx.workers(OUT pid integer, OUT kind text, OUT state text,
                              OUT since timestamptz, OUT subscription text,
                              OUT partition integer)
  RETURNS SETOF record
  AS 'MODULE_PATHNAME', 'asynx_workers'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.workers() IS 'The workers of this database; see asynx.worker_status.';

CREATE VIEW asynx.worker_status AS
  SELECT w.pid, w.kind, w.state, w.since, w.subscription, w.partition FROM asynx.workers() w;
COMMENT ON VIEW asynx.worker_status IS 'The workers of this database, and what they do.';
COMMENT ON COLUMN asynx.worker_status.pid IS 'Process; NULL while it is being started.';
COMMENT ON COLUMN asynx.worker_status.kind IS 'bus: looks for new events, one per database; projection: runs handlers.';
COMMENT ON COLUMN asynx.worker_status.state IS 'starting, running or idle.';
COMMENT ON COLUMN asynx.worker_status.since IS 'When it was started.';
COMMENT ON COLUMN asynx.worker_status.subscription IS 'Whose events it handles now.';
COMMENT ON COLUMN asynx.worker_status.partition IS 'Of that subscription, from 0.';

CREATE VIEW asynx.subscription_status AS
  SELECT s.name, s.mode, s.pattern, s.state, s.state_reason, c.partition, c.position,
         (SELECT pg_catalog.count(*) FROM asynx.failures f
          WHERE f.subscription OPERATOR(pg_catalog.=) s.name
          AND f.state OPERATOR(pg_catalog.=) 'dead') AS dead,
         (SELECT pg_catalog.count(*) FROM asynx.failures f
          WHERE f.subscription OPERATOR(pg_catalog.=) s.name
          AND f.state OPERATOR(pg_catalog.<>) 'dead') AS waiting
  FROM asynx.subscriptions s LEFT JOIN asynx.checkpoints c
    ON c.subscription OPERATOR(pg_catalog.=) s.name;
COMMENT ON VIEW asynx.subscription_status IS
  'Each partition of each subscription, how far it has got, and its failures. The checkpoint of one that has nothing to do may lag behind the feed.';
COMMENT ON COLUMN asynx.subscription_status.name IS 'Of the subscription.';
COMMENT ON COLUMN asynx.subscription_status.mode IS 'async, inline, channel, pull, or what kind of hook it is.';
COMMENT ON COLUMN asynx.subscription_status.pattern IS 'Which event names it wants; NULL for a hook.';
COMMENT ON COLUMN asynx.subscription_status.state IS 'running, paused or stopped.';
COMMENT ON COLUMN asynx.subscription_status.state_reason IS 'Why it was stopped.';
COMMENT ON COLUMN asynx.subscription_status.partition IS 'From 0; NULL if the mode has no checkpoint.';
COMMENT ON COLUMN asynx.subscription_status.position IS 'Up to where the partition has handled the feed.';
COMMENT ON COLUMN asynx.subscription_status.dead IS 'Events that were given up.';
COMMENT ON COLUMN asynx.subscription_status.waiting IS 'Events to be tried again, or parked, or waiting for such ones.';

CREATE VIEW asynx.progress AS
  SELECT p.subscription, p.goal, p.done, p.total, p.begun_at,
         CASE WHEN p.seconds OPERATOR(pg_catalog.>) 0
           THEN p.done::double precision OPERATOR(pg_catalog./) p.seconds END AS rate,
         CASE WHEN p.done OPERATOR(pg_catalog.>) 0
           THEN pg_catalog.make_interval(secs => p.seconds OPERATOR(pg_catalog.*)
             (p.total OPERATOR(pg_catalog.-) p.done)::double precision
             OPERATOR(pg_catalog./) p.done::double precision) END AS remaining
  FROM (SELECT r.subscription, r.goal, r.begun_at,
               LEAST(pg_catalog.min(c.position), r.goal) OPERATOR(pg_catalog.-) r.start_at AS done,
               r.goal OPERATOR(pg_catalog.-) r.start_at AS total,
               EXTRACT(epoch FROM pg_catalog.clock_timestamp()
                 OPERATOR(pg_catalog.-) r.begun_at)::double precision AS seconds
        FROM asynx.rebuilds r JOIN asynx.checkpoints c
          ON c.subscription OPERATOR(pg_catalog.=) r.subscription
        GROUP BY r.subscription, r.goal, r.start_at, r.begun_at) AS p;
COMMENT ON VIEW asynx.progress IS
  'Rebuilds: positions done of the total, the rate per second, and the time that remains at that rate.';
COMMENT ON COLUMN asynx.progress.subscription IS 'Which is being rebuilt, or was last.';
COMMENT ON COLUMN asynx.progress.goal IS 'The safe position when the rebuild began.';
COMMENT ON COLUMN asynx.progress.done IS 'Positions that its slowest partition has passed.';
COMMENT ON COLUMN asynx.progress.total IS 'Positions from its start to the goal.';
COMMENT ON COLUMN asynx.progress.begun_at IS 'When the rebuild began.';
COMMENT ON COLUMN asynx.progress.rate IS 'Positions per second so far.';
COMMENT ON COLUMN asynx.progress.remaining IS 'Time until the goal at that rate.';
