-- asynx.append_many(): a batch of events in one statement, all or nothing
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- Which SQLSTATE, message, detail and context a batch ends with; nothing of it stays.
CREATE FUNCTION pg_temp.outcome(events text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  detail text;
  context text;
  stored bigint;
BEGIN
  stored := asynx.append_many(events::jsonb);
  RAISE SQLSTATE 'UNDO0';
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
  RETURN 'stored ' || stored;
WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                          context = PG_EXCEPTION_CONTEXT;
  RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''), substring(context FROM '^event.*0'));
END $$;

-- Several events of several aggregates; what is left out is filled in as append() does.
SELECT asynx.append_many('[
  {"aggregate_id": "many-1", "version": 1, "event_name": "opened", "patch": [{"op":"add","path":"","value":{"n":0}}]},
  {"aggregate_id": "many-2", "version": 1, "event_name": "opened", "patch": [{"op":"add","path":"","value":{"n":5}}],
   "metadata": {"user": "ann"}, "aggregate_type": "default", "schema_version": 3,
   "id": "00000000-0000-4000-8000-000000000001", "occurred_at": "2001-02-03T04:05:06Z"},
  {"aggregate_id": "many-1", "version": 2, "event_name": "counted", "patch": [{"op":"replace","path":"/n","value":1}]},
  {"aggregate_id": "many-1", "version": 3, "event_name": "counted", "patch": [{"op":"replace","path":"/n","value":2}],
   "metadata": null, "id": null, "occurred_at": null, "schema_version": null, "aggregate_type": null}
]') AS stored;
SELECT aggregate_id, version, event_name, patch, aggregate_type, schema_version, metadata
FROM asynx.events WHERE aggregate_id LIKE 'many-%' ORDER BY position;
SELECT id, occurred_at FROM asynx.read_from('many-2', 1);
SELECT asynx.get('many-1') AS many_1, asynx.get('many-2') AS many_2;

-- Positions are in the order of the array, also when the versions of an aggregate are spread over it.
SELECT asynx.append_many(jsonb_agg(jsonb_build_object(
         'aggregate_id', 'many-spread-' || n % 7, 'version', n / 7 + 1, 'event_name', n::text, 'patch', '[]'::jsonb)
         ORDER BY n)) AS stored
FROM generate_series(0, 999) AS n;
SELECT count(*), array_agg(event_name::int ORDER BY position) = array_agg(event_name::int ORDER BY event_name::int) AS in_order,
       count(DISTINCT position) AS positions, count(DISTINCT id) AS ids
FROM asynx.events WHERE aggregate_id LIKE 'many-spread-%';

-- An empty batch is none.
SELECT asynx.append_many('[]') AS stored;

-- Repetitions, known by their ids, are skipped and not counted.
SELECT asynx.append_many(batch) AS first, asynx.append_many(batch) AS second,
       asynx.append_many(batch || '[{"aggregate_id": "many-3", "version": 3, "event_name": "e", "patch": []}]') AS longer
FROM (SELECT '[
  {"aggregate_id": "many-3", "version": 1, "event_name": "e", "patch": [], "id": "00000000-0000-4000-8000-000000000001"},
  {"aggregate_id": "many-3", "version": 2, "event_name": "e", "patch": [], "id": "00000000-0000-4000-8000-000000000002"}
]'::jsonb AS batch OFFSET 0) AS b;
SELECT version, right(id::text, 1) AS id FROM asynx.read_range('many-3', 0, 2);

-- What append() refuses is refused, and the event is named; nothing of the batch is stored.
CREATE FUNCTION pg_temp.after_a_good_one(event text) RETURNS text LANGUAGE sql AS $$
  SELECT format('[{"aggregate_id": "many-good", "version": 1, "event_name": "e", "patch": []}, %s]', event)
$$;
SELECT event, pg_temp.outcome(pg_temp.after_a_good_one(event)) AS outcome
FROM unnest(ARRAY[
  '{"aggregate_id": "many-1", "version": 3, "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-1", "version": 5, "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-good", "version": 1, "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-good", "version": 3, "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-1", "version": 4, "event_name": "e", "patch": [], "aggregate_type": "other"}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [], "aggregate_type": "many no such type"}',
  '{"aggregate_id": "many-3", "version": 2, "event_name": "other", "patch": [], "id": "00000000-0000-4000-8000-000000000002"}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": {}}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [{"op": "add"}]}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "asynx.e", "patch": []}']) AS event;
SELECT asynx.exists('many-good'), asynx.count('many-1', 0);

-- Elements must be objects with the members that append() has parameters for.
SELECT event, pg_temp.outcome(pg_temp.after_a_good_one(event)) AS outcome
FROM unnest(ARRAY[
  'null', '1', '"e"', '[]', '{}',
  '{"version": 1, "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-4", "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-4", "version": 1, "patch": []}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e"}',
  '{"aggregate_id": null, "version": 1, "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-4", "version": null, "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": null, "patch": []}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": null}',
  '{"aggregate_id": 4, "version": 1, "event_name": "e", "patch": []}',
  '{"aggregate_id": " ", "version": 1, "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "", "patch": []}',
  '{"aggregate_id": "many-4", "version": "1", "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-4", "version": 1.5, "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-4", "version": 0, "event_name": "e", "patch": []}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [], "aggregate_type": 1}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [], "schema_version": 0}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [], "id": 1}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [], "occurred_at": 0}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [], "occurred_at": "infinity"}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [], "position": 1}',
  '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [], "aggregate_id_that_nobody_knows_and_is_long": 1}'
  ]) AS event;
-- A number that is too large for its column is refused, not cut.
SELECT member, value, pg_temp.outcome(pg_temp.after_a_good_one(format(
         '{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [], "%s": %s}', member, value)))
         ~ '^(22003|22023) ' AS refused
FROM (VALUES ('version', '9223372036854775808'), ('version', '1e30'), ('version', '-1e30'), ('version', '1e400'),
             ('schema_version', '2147483648'), ('schema_version', '4294967296'), ('schema_version', '4294967297'),
             ('schema_version', '9223372036854775808'), ('schema_version', '1e400')) AS t (member, value);
-- Strings that PostgreSQL cannot read as what they should be.
SELECT pg_temp.outcome(pg_temp.after_a_good_one('{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [], "id": "x"}')) AS id,
       pg_temp.outcome(pg_temp.after_a_good_one('{"aggregate_id": "many-4", "version": 1, "event_name": "e", "patch": [], "occurred_at": "x"}')) AS occurred_at;

-- The batch itself must be an array.
SELECT batch, pg_temp.outcome(batch) AS outcome FROM unnest(ARRAY['{}', 'null', '1', '"[]"', NULL]) AS batch;

\set SHOW_CONTEXT never
-- A trigger that skips a row leaves no gap, and another table's constraint is not taken for the log's.
CREATE FUNCTION pg_temp.skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER skip BEFORE INSERT ON asynx.events FOR EACH ROW WHEN (new.version = 2) EXECUTE FUNCTION pg_temp.skip();
SELECT asynx.append_many('[{"aggregate_id": "many-skip", "version": 1, "event_name": "e", "patch": []},
                           {"aggregate_id": "many-skip", "version": 2, "event_name": "e", "patch": []},
                           {"aggregate_id": "many-skip", "version": 3, "event_name": "e", "patch": []}]');
DROP TRIGGER skip ON asynx.events;
SELECT asynx.exists('many-skip');
CREATE TEMP TABLE events (id int PRIMARY KEY);
INSERT INTO events VALUES (1);
CREATE FUNCTION pg_temp.again() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO pg_temp.events VALUES (1); RETURN NULL; END';
CREATE TRIGGER again AFTER INSERT ON asynx.events FOR EACH ROW EXECUTE FUNCTION pg_temp.again();
SELECT asynx.append_many('[{"aggregate_id": "many-again", "version": 1, "event_name": "e", "patch": []}]');
DROP TRIGGER again ON asynx.events;
CREATE UNIQUE INDEX once ON asynx.events (event_name) WHERE event_name = 'many once';
SELECT asynx.append_many('[{"aggregate_id": "many-once", "version": 1, "event_name": "many once", "patch": []},
                           {"aggregate_id": "many-once", "version": 2, "event_name": "many once", "patch": []}]');
DROP INDEX asynx.once;
SELECT asynx.exists('many-once');
