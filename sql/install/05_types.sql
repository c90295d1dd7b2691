-- The composites.  Their order of columns is known to src/event.c.

CREATE TYPE asynx.stored_event AS (
  id             uuid,
  aggregate_id   text,
  event_name     text,
  version        bigint,
  schema_version integer,
  occurred_at    timestamptz,
  position       bigint,
  aggregate_type text,
  metadata       jsonb,
  patch          jsonb
);
COMMENT ON TYPE asynx.stored_event IS 'An event as it is stored.';

CREATE TYPE asynx.event AS (
  id                 uuid,
  aggregate_id       text,
  event_name         text,
  version            bigint,
  schema_version     integer,
  occurred_at        timestamptz,
  aggregate          jsonb,
  previous_aggregate jsonb,
  position           bigint,
  aggregate_type     text,
  metadata           jsonb,
  patch              jsonb
);
COMMENT ON TYPE asynx.event IS
  'A stored event with the state after it (aggregate) and before it (previous_aggregate).';

