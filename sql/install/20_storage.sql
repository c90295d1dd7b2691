-- The tables.  Every one of them is here from the first version on, also those
-- that only later rooms fill: dump, restore and upgrade depend on them.

CREATE SEQUENCE asynx.positions AS bigint CACHE 1 NO CYCLE;
COMMENT ON SEQUENCE asynx.positions IS
  'Positions in the feed. Never reused, also not after a forget; must keep CACHE 1.';

CREATE FUNCTION asynx.next_position(sequence regclass) RETURNS bigint
  AS 'MODULE_PATHNAME', 'asynx_next_position'
  LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.next_position(regclass) IS
  'Default of asynx.events.position: announces a position to the readers of the feed and draws it.';
REVOKE ALL ON FUNCTION asynx.next_position(regclass) FROM PUBLIC;

-- no CHECK: the server reads their expressions again for every INSERT, an eighth of an
-- append; who writes events (append, append_many, write) has checked what it stores
CREATE TABLE asynx.events (
  aggregate_id   text COLLATE "C" NOT NULL,
  version        bigint NOT NULL,
  position       bigint NOT NULL DEFAULT asynx.next_position('asynx.positions'),
  id             uuid NOT NULL,
  aggregate_type text COLLATE "C" NOT NULL,
  event_name     text COLLATE "C" NOT NULL,
  schema_version integer NOT NULL,
  occurred_at    timestamptz NOT NULL,
  patch          jsonb NOT NULL,
  metadata       jsonb,
  PRIMARY KEY (aggregate_id, version)
);
COMMENT ON TABLE asynx.events IS
  'The log: every state change of every aggregate as an RFC 6902 patch. Append-only; written through asynx.append() and asynx.write().';
COMMENT ON COLUMN asynx.events.aggregate_id IS 'The entity, 1 to 1000 bytes.';
COMMENT ON COLUMN asynx.events.version IS '1, 2, 3 ... per aggregate, without gaps.';
COMMENT ON COLUMN asynx.events.position IS 'Place in the feed, growing; not without gaps.';
COMMENT ON COLUMN asynx.events.id IS 'Given by the caller, who can then repeat the call safely, or random.';
COMMENT ON COLUMN asynx.events.aggregate_type IS 'The group of aggregates it belongs to.';
COMMENT ON COLUMN asynx.events.event_name IS 'What happened.';
COMMENT ON COLUMN asynx.events.schema_version IS 'Schema version of the type when the event was stored.';
COMMENT ON COLUMN asynx.events.occurred_at IS 'When it happened, as the caller says; else when it was appended.';
COMMENT ON COLUMN asynx.events.patch IS 'RFC 6902 array that turns the state at version - 1 into the state at version.';
COMMENT ON COLUMN asynx.events.metadata IS 'Whatever the caller adds: user, request, cause.';

CREATE INDEX events_position ON asynx.events (position);
COMMENT ON INDEX asynx.events_position IS 'The order of the feed.';
CREATE INDEX events_id ON asynx.events (aggregate_id, id);
COMMENT ON INDEX asynx.events_id IS 'Finds what a call repeats, however long the stream is.';
CREATE INDEX events_first ON asynx.events (aggregate_type, aggregate_id) WHERE version = 1;
COMMENT ON INDEX asynx.events_first IS 'The aggregates of a type; one entry per aggregate.';

CREATE FUNCTION asynx.refuse_change() RETURNS trigger
  AS 'MODULE_PATHNAME', 'asynx_refuse_change'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.refuse_change() IS
  'Trigger: keeps the log append-only.';
REVOKE ALL ON FUNCTION asynx.refuse_change() FROM PUBLIC;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON asynx.events
  FOR EACH STATEMENT EXECUTE FUNCTION asynx.refuse_change();
COMMENT ON TRIGGER append_only ON asynx.events IS
  'Refuses UPDATE, DELETE and TRUNCATE to everybody; asynx.delete() and asynx.forget() pass.';

CREATE FUNCTION asynx.events_changed() RETURNS trigger
  AS 'MODULE_PATHNAME', 'asynx_events_changed'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.events_changed() IS
  'Trigger: tells all sessions that what they know of streams may be out of date.';
REVOKE ALL ON FUNCTION asynx.events_changed() FROM PUBLIC;

-- always, for those who pass the guard by session_replication_role, and for replication
CREATE TRIGGER events_changed BEFORE UPDATE OR DELETE ON asynx.events
  FOR EACH ROW EXECUTE FUNCTION asynx.events_changed();
ALTER TABLE asynx.events ENABLE ALWAYS TRIGGER events_changed;
CREATE TRIGGER events_truncated BEFORE TRUNCATE ON asynx.events
  FOR EACH STATEMENT EXECUTE FUNCTION asynx.events_changed();
ALTER TABLE asynx.events ENABLE ALWAYS TRIGGER events_truncated;
COMMENT ON TRIGGER events_truncated ON asynx.events IS
  'Tells all sessions that the events are gone.';
COMMENT ON TRIGGER events_changed ON asynx.events IS
  'Tells all sessions that events are changed or erased.';

CREATE TABLE asynx.snapshots (
  aggregate_id   text COLLATE "C" PRIMARY KEY,
  version        bigint NOT NULL CHECK (version > 0),
  position       bigint NOT NULL,
  schema_version integer NOT NULL CHECK (schema_version > 0),
  state          jsonb NOT NULL,
  taken_at       timestamptz NOT NULL
);
COMMENT ON TABLE asynx.snapshots IS
  'States kept so that a replay need not begin at version 1. Deleting all of them changes no answer.';
COMMENT ON COLUMN asynx.snapshots.position IS
  'Position of the event the snapshot was taken at; it counts only while that event is stored.';

CREATE TABLE asynx.aggregate_types (
  name           text COLLATE "C" PRIMARY KEY,
  schema_version integer NOT NULL CHECK (schema_version > 0),
  seed           jsonb,
  snapshot_every integer NOT NULL CHECK (snapshot_every >= 0)
);
COMMENT ON TABLE asynx.aggregate_types IS
  'Groups of aggregates that share schema version, upcasters, seed and snapshot policy. The type "default" needs no row.';
COMMENT ON COLUMN asynx.aggregate_types.seed IS
  'The document that the patch of version 1 is applied to; NULL for JSON null.';
COMMENT ON COLUMN asynx.aggregate_types.snapshot_every IS
  'Versions between two snapshots, 0 for none.';

CREATE FUNCTION asynx.schema_version(aggregate_type text) RETURNS integer
  AS 'MODULE_PATHNAME', 'asynx_schema_version'
  LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION asynx.schema_version(text) IS
  'Schema version that events of a type get when they are appended.';
REVOKE ALL ON FUNCTION asynx.schema_version(text) FROM PUBLIC;

CREATE FUNCTION asynx.type_changed() RETURNS trigger
  AS 'MODULE_PATHNAME', 'asynx_type_changed'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.type_changed() IS
  'Trigger: tells all sessions that what they know of aggregate types and their upcasters is out of date.';
REVOKE ALL ON FUNCTION asynx.type_changed() FROM PUBLIC;

-- always, that is also when rows come by logical replication
CREATE TRIGGER type_changed AFTER INSERT OR UPDATE OR DELETE ON asynx.aggregate_types
  FOR EACH ROW EXECUTE FUNCTION asynx.type_changed();
ALTER TABLE asynx.aggregate_types ENABLE ALWAYS TRIGGER type_changed;
COMMENT ON TRIGGER type_changed ON asynx.aggregate_types IS
  'Tells all sessions that a type was created, altered or dropped.';
CREATE TRIGGER types_truncated AFTER TRUNCATE ON asynx.aggregate_types
  FOR EACH STATEMENT EXECUTE FUNCTION asynx.type_changed();
ALTER TABLE asynx.aggregate_types ENABLE ALWAYS TRIGGER types_truncated;
COMMENT ON TRIGGER types_truncated ON asynx.aggregate_types IS
  'Tells all sessions that the types are gone.';

CREATE TABLE asynx.upcasters (
  aggregate_type text COLLATE "C",
  from_version   integer CHECK (from_version > 0),
  function       text NOT NULL,
  owner          text NOT NULL,
  PRIMARY KEY (aggregate_type, from_version)
);
COMMENT ON TABLE asynx.upcasters IS
  'Functions that bring patches of an older schema version one version up.';
COMMENT ON COLUMN asynx.upcasters.function IS 'Qualified signature, resolved at use.';
COMMENT ON COLUMN asynx.upcasters.owner IS 'Role that owns the function and as which it runs.';

-- always, as for types
CREATE TRIGGER upcaster_changed AFTER INSERT OR UPDATE OR DELETE ON asynx.upcasters
  FOR EACH ROW EXECUTE FUNCTION asynx.type_changed();
ALTER TABLE asynx.upcasters ENABLE ALWAYS TRIGGER upcaster_changed;
COMMENT ON TRIGGER upcaster_changed ON asynx.upcasters IS
  'Tells all sessions that an upcaster was created or dropped.';
CREATE TRIGGER upcasters_truncated AFTER TRUNCATE ON asynx.upcasters
  FOR EACH STATEMENT EXECUTE FUNCTION asynx.type_changed();
ALTER TABLE asynx.upcasters ENABLE ALWAYS TRIGGER upcasters_truncated;
COMMENT ON TRIGGER upcasters_truncated ON asynx.upcasters IS
  'Tells all sessions that the upcasters are gone.';

CREATE TABLE asynx.commands (
  name           text COLLATE "C" PRIMARY KEY,
  aggregate_type text COLLATE "C" NOT NULL,
  event_name     text COLLATE "C" NOT NULL,
  validate       text,
  emit           text NOT NULL,
  snapshot       boolean NOT NULL,
  owner          text NOT NULL
);
COMMENT ON TABLE asynx.commands IS
  'Named pairs of functions: validate rejects a command, emit computes the new state.';
COMMENT ON COLUMN asynx.commands.owner IS 'Role that owns the functions and as which they run.';

CREATE FUNCTION asynx.definition_changed() RETURNS trigger
  AS 'MODULE_PATHNAME', 'asynx_definition_changed'
  LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION asynx.definition_changed() IS
  'Trigger: tells all sessions that what they know of commands or subscriptions is out of date.';
REVOKE ALL ON FUNCTION asynx.definition_changed() FROM PUBLIC;

-- always, as for types
CREATE TRIGGER command_changed AFTER INSERT OR UPDATE OR DELETE ON asynx.commands
  FOR EACH ROW EXECUTE FUNCTION asynx.definition_changed();
ALTER TABLE asynx.commands ENABLE ALWAYS TRIGGER command_changed;
COMMENT ON TRIGGER command_changed ON asynx.commands IS
  'Tells all sessions that a command was created or dropped.';
CREATE TRIGGER commands_truncated AFTER TRUNCATE ON asynx.commands
  FOR EACH STATEMENT EXECUTE FUNCTION asynx.definition_changed();
ALTER TABLE asynx.commands ENABLE ALWAYS TRIGGER commands_truncated;
COMMENT ON TRIGGER commands_truncated ON asynx.commands IS
  'Tells all sessions that the commands are gone.';

CREATE TABLE asynx.subscriptions (
  name           text COLLATE "C" PRIMARY KEY,
  pattern        text COLLATE "C",
  mode           text COLLATE "C" NOT NULL CHECK (mode IN (
                   'async', 'inline', 'channel', 'pull',
                   'on_forget', 'on_panic', 'on_timeout', 'on_publish_error', 'on_corruption')),
  handler        text,
  fallback       text,
  timeout        interval,
  channel        text COLLATE "C",
  start_at       bigint NOT NULL CHECK (start_at >= 0),
  partitions     integer NOT NULL CHECK (partitions > 0),
  max_attempts   integer NOT NULL CHECK (max_attempts > 0),
  retry_delay    interval NOT NULL,
  on_failure     text COLLATE "C" NOT NULL CHECK (on_failure IN ('continue', 'park', 'stop')),
  state          text COLLATE "C" NOT NULL CHECK (state IN ('running', 'paused', 'stopped')),
  state_reason   text,
  owner          text NOT NULL
);
COMMENT ON TABLE asynx.subscriptions IS
  'Durable, named readers of the feed, and hooks.';
COMMENT ON COLUMN asynx.subscriptions.owner IS 'Role that owns the functions and as which they run.';

-- always, as for types
CREATE TRIGGER subscription_changed AFTER INSERT OR UPDATE OR DELETE ON asynx.subscriptions
  FOR EACH ROW EXECUTE FUNCTION asynx.definition_changed();
ALTER TABLE asynx.subscriptions ENABLE ALWAYS TRIGGER subscription_changed;
COMMENT ON TRIGGER subscription_changed ON asynx.subscriptions IS
  'Tells all sessions that a subscription or a hook was created, altered or dropped.';
CREATE TRIGGER subscriptions_truncated AFTER TRUNCATE ON asynx.subscriptions
  FOR EACH STATEMENT EXECUTE FUNCTION asynx.definition_changed();
ALTER TABLE asynx.subscriptions ENABLE ALWAYS TRIGGER subscriptions_truncated;
COMMENT ON TRIGGER subscriptions_truncated ON asynx.subscriptions IS
  'Tells all sessions that the subscriptions and hooks are gone.';

CREATE FUNCTION asynx.partition_of(aggregate_id text, partitions integer) RETURNS integer
  AS 'MODULE_PATHNAME', 'asynx_partition_number'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION asynx.partition_of(text, integer) IS
  'Which of so many partitions of a subscription handles the events of an aggregate.';

CREATE TABLE asynx.checkpoints (
  subscription   text COLLATE "C",
  partition      integer CHECK (partition >= 0),
  position       bigint NOT NULL,
  fetched        bigint,
  PRIMARY KEY (subscription, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE asynx.checkpoints IS 'How far each partition of a subscription has got.';
COMMENT ON COLUMN asynx.checkpoints.fetched IS 'Mode pull: up to where events were fetched.';

CREATE TABLE asynx.rebuilds (
  subscription   text COLLATE "C" PRIMARY KEY,
  start_at       bigint NOT NULL,
  goal           bigint NOT NULL,
  begun_at       timestamptz NOT NULL
);
COMMENT ON TABLE asynx.rebuilds IS 'The last rebuild of each subscription, for asynx.progress.';
COMMENT ON COLUMN asynx.rebuilds.goal IS 'The safe position when it began.';

CREATE TABLE asynx.failures (
  subscription   text COLLATE "C",
  position       bigint,
  aggregate_id   text COLLATE "C" NOT NULL,
  version        bigint NOT NULL,
  state          text COLLATE "C" NOT NULL CHECK (state IN ('retrying', 'parked', 'dead', 'requested')),
  attempts       integer NOT NULL CHECK (attempts >= 0),
  next_at        timestamptz,
  sqlstate       text COLLATE "C",
  message        text,
  failed_at      timestamptz,
  begun          integer NOT NULL DEFAULT 0,
  PRIMARY KEY (subscription, position)
);
COMMENT ON TABLE asynx.failures IS 'Events that a subscription could not handle.';
COMMENT ON COLUMN asynx.failures.begun IS 'How many attempts have begun and not ended since the last that did: the worker died, or is at it.';
CREATE INDEX failures_aggregate ON asynx.failures (aggregate_id);
COMMENT ON INDEX asynx.failures_aggregate IS 'Finds what a forget must take along.';
CREATE INDEX failures_line ON asynx.failures (subscription, aggregate_id, position)
  WHERE state OPERATOR(pg_catalog.<>) 'dead';
COMMENT ON INDEX asynx.failures_line IS 'Finds the events of an aggregate that wait for one another.';
CREATE INDEX failures_due ON asynx.failures (subscription, next_at NULLS FIRST, position)
  WHERE state OPERATOR(pg_catalog.=) ANY ('{requested,retrying}');
COMMENT ON INDEX asynx.failures_due IS 'Finds what is to be tried again, and when.';

CREATE TABLE asynx.tombstones (
  position       bigint PRIMARY KEY,
  aggregate_id   text COLLATE "C" NOT NULL,
  aggregate_type text COLLATE "C" NOT NULL,
  forgotten_at   timestamptz NOT NULL,
  id             uuid NOT NULL,
  version        bigint NOT NULL,
  schema_version integer NOT NULL
);
COMMENT ON TABLE asynx.tombstones IS
  'What remains of a forgotten aggregate in the feed, without any state.';
COMMENT ON COLUMN asynx.tombstones.id IS 'Of the event that the feed tells of it.';
COMMENT ON COLUMN asynx.tombstones.version IS 'The one after the last that there was.';
CREATE INDEX tombstones_aggregate ON asynx.tombstones (aggregate_id);
COMMENT ON INDEX asynx.tombstones_aggregate IS
  'Lets an append notice that its aggregate was forgotten meanwhile.';

CREATE TABLE asynx.feed_mark (
  singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  position       bigint NOT NULL,
  noted_at       timestamptz NOT NULL
);
COMMENT ON TABLE asynx.feed_mark IS
  'The safe position as of a moment ago: how far standbys may read. One row.';
INSERT INTO asynx.feed_mark (position, noted_at) VALUES (0, pg_catalog.now());

CREATE TABLE asynx.lifecycle (
  singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  state          text COLLATE "C" NOT NULL CHECK (state IN ('running', 'draining', 'stopped')),
  changed_at     timestamptz NOT NULL
);
COMMENT ON TABLE asynx.lifecycle IS
  'Is the store running? Without a row: yes if it has no subscriptions, else it is a restored copy and dormant.';

-- always, as for types
CREATE TRIGGER lifecycle_changed AFTER INSERT OR UPDATE OR DELETE ON asynx.lifecycle
  FOR EACH ROW EXECUTE FUNCTION asynx.definition_changed();
ALTER TABLE asynx.lifecycle ENABLE ALWAYS TRIGGER lifecycle_changed;
COMMENT ON TRIGGER lifecycle_changed ON asynx.lifecycle IS
  'Tells all sessions that the store runs, or does not any more.';

-- What a dump carries.  feed_mark and lifecycle describe this very database and
-- its workers, so a restored copy begins without them.
SELECT pg_catalog.pg_extension_config_dump('asynx.positions', '');
SELECT pg_catalog.pg_extension_config_dump('asynx.events', '');
SELECT pg_catalog.pg_extension_config_dump('asynx.snapshots', '');
SELECT pg_catalog.pg_extension_config_dump('asynx.aggregate_types', '');
SELECT pg_catalog.pg_extension_config_dump('asynx.upcasters', '');
SELECT pg_catalog.pg_extension_config_dump('asynx.commands', '');
SELECT pg_catalog.pg_extension_config_dump('asynx.subscriptions', '');
SELECT pg_catalog.pg_extension_config_dump('asynx.checkpoints', '');
SELECT pg_catalog.pg_extension_config_dump('asynx.rebuilds', '');
SELECT pg_catalog.pg_extension_config_dump('asynx.failures', '');
SELECT pg_catalog.pg_extension_config_dump('asynx.tombstones', '');

