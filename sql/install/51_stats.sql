-- Monitoring.

CREATE VIEW asynx.stats AS
  SELECT asynx.lifecycle_state() AS lifecycle, asynx.safe_position() AS safe_position,
         (SELECT pg_catalog.count(*) FROM asynx.feed_holders()) AS holders,
         (SELECT pg_catalog.count(*) FROM asynx.subscriptions s
          WHERE s.state OPERATOR(pg_catalog.=) 'running') AS running,
         (SELECT pg_catalog.count(*) FROM asynx.subscriptions s
          WHERE s.state OPERATOR(pg_catalog.=) 'paused') AS paused,
         (SELECT pg_catalog.count(*) FROM asynx.subscriptions s
          WHERE s.state OPERATOR(pg_catalog.=) 'stopped') AS stopped,
         (SELECT pg_catalog.count(*) FROM asynx.failures f
          WHERE f.state OPERATOR(pg_catalog.<>) 'dead') AS waiting,
         (SELECT pg_catalog.count(*) FROM asynx.failures f
          WHERE f.state OPERATOR(pg_catalog.=) 'dead') AS dead,
         (SELECT pg_catalog.count(*) FROM asynx.workers() w
          WHERE w.kind OPERATOR(pg_catalog.=) 'projection') AS workers,
         (SELECT pg_catalog.count(*) FROM asynx.workers() w
          WHERE w.kind OPERATOR(pg_catalog.=) 'projection'
          AND w.state OPERATOR(pg_catalog.=) 'running') AS busy;
COMMENT ON VIEW asynx.stats IS 'One row about the bus of this database, for monitoring.';
COMMENT ON COLUMN asynx.stats.lifecycle IS 'running, draining, stopped or dormant.';
COMMENT ON COLUMN asynx.stats.safe_position IS 'Up to where the feed can be read.';
COMMENT ON COLUMN asynx.stats.holders IS 'Transactions that hold the safe position back.';
COMMENT ON COLUMN asynx.stats.running IS 'Subscriptions and hooks that run.';
COMMENT ON COLUMN asynx.stats.paused IS 'Subscriptions that somebody has paused.';
COMMENT ON COLUMN asynx.stats.stopped IS 'Subscriptions that a failure has stopped.';
COMMENT ON COLUMN asynx.stats.waiting IS 'Events to be tried again, parked, or waiting for such ones.';
COMMENT ON COLUMN asynx.stats.dead IS 'Events that were given up.';
COMMENT ON COLUMN asynx.stats.workers IS 'Workers of this database that run handlers.';
COMMENT ON COLUMN asynx.stats.busy IS 'Those of them that are at work.';
