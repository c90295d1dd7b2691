-- asynx.write(): the application gives the new state, asynx stores the difference as an event
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- The event comes back with the states after and before it; the patch is the difference.
SELECT aggregate_id, version, event_name, aggregate, previous_aggregate, aggregate_type, schema_version, metadata,
       id IS NOT NULL AS has_id, position > 0 AS has_position
FROM asynx.write('write-1', 'opened', '{"owner": "ann", "balance": 0, "log": []}');
SELECT version, aggregate, previous_aggregate, metadata,
       asynx.json_patch(previous_aggregate, patch)::text = aggregate::text AS patch_leads_there
FROM asynx.write('write-1', 'paid in', '{"owner": "ann", "balance": 10, "log": ["in"]}', metadata => '{"user": "ann"}');

-- What comes back is what replay() gives.
SELECT asynx.write('write-1', 'paid out', '{"owner": "ann", "balance": 0, "log": ["in", "out"]}') AS returned \gset
SELECT :'returned'::asynx.event = replayed AS same FROM asynx.replay('write-1', 3) AS replayed;

-- An unchanged state is an event too; only a difference in value or in how a number is written changes it.
SELECT version, patch FROM asynx.write('write-1', 'looked at', '{"log": ["in", "out"], "balance": 0, "owner": "ann"}');
SELECT version, patch FROM asynx.write('write-1', 'rounded', '{"log": ["in", "out"], "balance": 0.00, "owner": "ann"}');

-- Any JSON is a state, null as well.
SELECT version, asynx.get('write-any') FROM unnest(ARRAY['null', '1', '"text"', 'true', '[]', '{}', '[[1]]', 'null']::jsonb[]) AS state,
  LATERAL asynx.write('write-any', 'e', state);
SELECT version, aggregate FROM asynx.replay('write-any');

-- expected_version: write only if nothing has happened since; 0 if it must not exist yet.
SELECT version FROM asynx.write('write-2', 'opened', '1', expected_version => 0);
SELECT asynx.write('write-2', 'opened', '1', expected_version => 0);
\echo :LAST_ERROR_SQLSTATE
SELECT version FROM asynx.write('write-2', 'e', '2', expected_version => 1);
SELECT asynx.write('write-2', 'e', '3', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.write('write-2', 'e', '3', expected_version => 9223372036854775807);
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.write('write-none', 'e', '3', expected_version => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.exists('write-none');

-- With an id it can be repeated: nothing is written, the stored event is returned, whatever came after it.
SELECT asynx.write('write-3', 'e', '{"n": 1}', metadata => '{"try": 1}', id => '00000000-0000-4000-8000-000000000001') AS first \gset
SELECT version FROM asynx.write('write-3', 'e', '{"n": 2}');
SELECT :'first'::asynx.event = again AS same
FROM asynx.write('write-3', 'e', '{"n": 1}', metadata => '{"try": 1}', id => '00000000-0000-4000-8000-000000000001') AS again;
SELECT version FROM asynx.write('write-3', 'e', '{"n": 1}', 0, 'default', '{"try": 1}', '00000000-0000-4000-8000-000000000001');
SELECT asynx.count('write-3', 0), asynx.get('write-3');
-- The same id for something else is a conflict.
CREATE FUNCTION pg_temp.outcome(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  detail text;
BEGIN
  EXECUTE format('SELECT asynx.write(%s)', arguments);
  RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
  RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''));
END $$;
SELECT difference, pg_temp.outcome(format('%s, id => ''00000000-0000-4000-8000-000000000001''', arguments)) AS outcome
FROM (VALUES ('nothing', $$'write-3', 'e', '{"n": 1}', metadata => '{"try": 1}'$$),
             ('event name', $$'write-3', 'f', '{"n": 1}', metadata => '{"try": 1}'$$),
             ('state', $$'write-3', 'e', '{"n": 2}', metadata => '{"try": 1}'$$),
             ('state, as a number is written', $$'write-3', 'e', '{"n": 1.0}', metadata => '{"try": 1}'$$),
             ('metadata', $$'write-3', 'e', '{"n": 1}', metadata => '{"try": 2}'$$),
             ('no metadata', $$'write-3', 'e', '{"n": 1}'$$),
             ('type', $$'write-3', 'e', '{"n": 1}', metadata => '{"try": 1}', aggregate_type => 'other'$$),
             ('expected version', $$'write-3', 'e', '{"n": 1}', metadata => '{"try": 1}', expected_version => 1$$),
             ('largest expected version', $$'write-3', 'e', '{"n": 1}', metadata => '{"try": 1}', expected_version => 9223372036854775807$$)
  ) AS t (difference, arguments);
-- To look for an id costs the same in a long stream as in a short one: only a few index entries are read.
SELECT asynx.append_many(jsonb_agg(jsonb_build_object('aggregate_id', 'write-long', 'version', n, 'event_name', 'e', 'patch', '[]'::jsonb) ORDER BY n)) AS stored
FROM generate_series(1, 20000) AS n;
SELECT FROM asynx.preload('write-long');
VACUUM ANALYZE asynx.events;
CREATE FUNCTION pg_temp.buffers(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  plan jsonb;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ' || statement INTO plan;
  RETURN (plan #>> '{0,Plan,Shared Hit Blocks}')::bigint + (plan #>> '{0,Plan,Shared Read Blocks}')::bigint;
END $$;
SELECT pg_temp.buffers($$SELECT asynx.write('write-long', 'e', '1', id => '00000000-0000-4000-8000-000000000001')$$) < 200 AS few_buffers;
SELECT asynx.delete('write-long');

-- In another aggregate an id is another id.
SELECT aggregate_id, version FROM asynx.write('write-4', 'e', '{"n": 1}', id => '00000000-0000-4000-8000-000000000001');

-- The first write decides the type; later ones inherit it.
SELECT FROM asynx.create_aggregate_type('write type', 5, '{"seed": true}');
SELECT version, aggregate_type, schema_version, previous_aggregate, patch
FROM asynx.write('write-5', 'e', '{"seed": false}', aggregate_type => 'write type');
SELECT version, aggregate_type, schema_version FROM asynx.write('write-5', 'e', '{}');
SELECT pg_temp.outcome($$'write-5', 'e', '{}', aggregate_type => 'default'$$) AS other_type,
       pg_temp.outcome($$'write-6', 'e', '{}', aggregate_type => 'write no such type'$$) AS no_such_type;

-- write() goes on from what append() stored.
SELECT version FROM asynx.append('write-7', 1, 'e', '[{"op":"add","path":"","value":{"a":[1,2,3]}}]');
SELECT version, patch FROM asynx.write('write-7', 'e', '{"a": [1, 3]}');
SELECT version FROM asynx.append('write-7', 3, 'e', '[{"op":"add","path":"/a/-","value":4}]');
SELECT previous_aggregate, patch FROM asynx.write('write-7', 'e', '{"a": [1, 3, 4]}');

-- Random documents: after each write the state is the one given, byte for byte, and so is every fold.
SELECT setseed(0.42);
CREATE FUNCTION pg_temp.random_document(depth int) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  IF depth = 0 OR random() < 0.3 THEN
    RETURN (ARRAY['null', 'true', 'false', '""', '"a/b~c"', '0', '-1.50', '1e3', '{}', '[]'])[1 + floor(random() * 10)]::jsonb;
  ELSIF random() < 0.5 THEN
    RETURN (SELECT coalesce(jsonb_agg(pg_temp.random_document(depth - 1)), '[]') FROM generate_series(1, floor(random() * 6)::int));
  END IF;
  RETURN (SELECT coalesce(jsonb_object_agg((ARRAY['', 'a', 'a/b', '~', '0', '-', 'é'])[1 + floor(random() * 7)], pg_temp.random_document(depth - 1)), '{}')
          FROM generate_series(1, floor(random() * 6)::int));
END $$;
CREATE TEMPORARY TABLE wanted AS SELECT n AS version, pg_temp.random_document(5) AS state FROM generate_series(1, 150) AS n;
SELECT count(asynx.write('write-random', 'e', state)) FROM (SELECT state FROM wanted ORDER BY version) AS w;
SELECT count(*) AS versions, count(*) FILTER (WHERE w.state::text <> r.aggregate::text) AS differences
FROM wanted w JOIN asynx.replay('write-random') r USING (version);
SELECT asynx.get('write-random')::text = asynx.json_patch_agg(patch ORDER BY version)::text AS as_folded
FROM asynx.read_from('write-random', 0);

-- NULL, blank, negative, reserved.
SELECT arguments, pg_temp.outcome(arguments) AS outcome
FROM unnest(ARRAY[$$NULL, 'e', '{}'$$, $$'', 'e', '{}'$$, $$'write-8', NULL, '{}'$$, $$'write-8', ' ', '{}'$$, $$'write-8', 'asynx.e', '{}'$$,
                  $$'write-8', 'e', NULL$$, $$'write-8', 'e', '{}', -1$$, $$'write-8', 'e', '{}', aggregate_type => ''$$,
                  $$'write-8', 'e', '{}', snapshot => NULL$$]) AS arguments;
SELECT asynx.exists('write-8');
