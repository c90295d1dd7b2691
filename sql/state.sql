-- States: the fold of an aggregate's patches, at any version
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- The truth: the patches folded in order onto the seed.  Compared as text, byte for byte.
CREATE FUNCTION pg_temp.fold(aggregate text, to_version bigint) RETURNS jsonb LANGUAGE sql AS $$
  SELECT asynx.json_patch_agg(patch ORDER BY version)
  FROM (SELECT e.version, e.patch FROM asynx.events e WHERE e.aggregate_id = aggregate AND e.version <= to_version
        UNION ALL
        SELECT 0, jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', t.seed))
        FROM asynx.events e JOIN asynx.aggregate_types t ON t.name = e.aggregate_type
        WHERE e.aggregate_id = aggregate AND e.version = 1) AS patches
$$;

-- An account, step by step.
SELECT asynx.append_many('[
  {"aggregate_id": "state-1", "version": 1, "event_name": "opened", "occurred_at": "2001-01-01",
   "patch": [{"op": "add", "path": "", "value": {"owner": "ann", "balance": 0, "log": []}}]},
  {"aggregate_id": "state-1", "version": 2, "event_name": "paid in", "occurred_at": "2001-02-01",
   "patch": [{"op": "replace", "path": "/balance", "value": 10.50}, {"op": "add", "path": "/log/-", "value": {"in": 10.50}}]},
  {"aggregate_id": "state-1", "version": 3, "event_name": "looked at", "occurred_at": "2001-03-01", "patch": []},
  {"aggregate_id": "state-1", "version": 4, "event_name": "paid out", "occurred_at": "2001-04-01",
   "patch": [{"op": "test", "path": "/balance", "value": 10.5}, {"op": "replace", "path": "/balance", "value": 0.00},
             {"op": "copy", "from": "/log/0", "path": "/log/-"}, {"op": "move", "from": "/owner", "path": "/was"}]},
  {"aggregate_id": "state-1", "version": 5, "event_name": "closed", "occurred_at": "2001-05-01",
   "patch": [{"op": "replace", "path": "", "value": null}]}]') AS stored;

-- get() is the state now, get() with a version the one then; 0 is before the first.
SELECT version, asynx.get('state-1', version) AS state FROM generate_series(0, 5) AS version;
SELECT asynx.get('state-1') AS now, asynx.get('state-1') IS NULL AS sql_null;
SELECT bool_and(asynx.get('state-1', version)::text IS NOT DISTINCT FROM pg_temp.fold('state-1', version)::text) AS as_folded
FROM generate_series(0, 5) AS version;

-- get_at() is the state at the last version that had occurred by then.
SELECT at, asynx.get_at('state-1', at)
FROM unnest(ARRAY['-infinity', '2000-12-31 23:59:59.999999', '2001-01-01', '2001-01-15', '2001-02-01',
                  '2001-04-30', '2001-05-01', 'infinity']::timestamptz[]) AS at;
-- Times need not ascend: it is the highest version that counts.
SELECT asynx.append_many('[
  {"aggregate_id": "state-times", "version": 1, "event_name": "e", "occurred_at": "2001-03-01", "patch": [{"op": "add", "path": "", "value": 1}]},
  {"aggregate_id": "state-times", "version": 2, "event_name": "e", "occurred_at": "2001-01-01", "patch": [{"op": "add", "path": "", "value": 2}]},
  {"aggregate_id": "state-times", "version": 3, "event_name": "e", "occurred_at": "2001-02-01", "patch": [{"op": "add", "path": "", "value": 3}]}]') AS stored;
SELECT at, asynx.get_at('state-times', at)
FROM unnest(ARRAY['2000-12-31', '2001-01-15', '2001-02-15', '2001-03-15']::timestamptz[]) AS at;

-- What does not exist: an aggregate, a version.
SELECT asynx.get('state-none');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.get('state-none', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.get('state-none', 0);
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.get_at('state-none', now());
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.get('state-1', 6);
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.get('state-1', 9223372036854775807);
SELECT asynx.exists('state-1') AS known, asynx.exists('state-none') AS unknown;
SELECT FROM asynx.preload('state-none');

-- A patch that does not fit is found when it is folded; the event is named, versions before it stay readable.
SELECT version FROM asynx.append('state-unfit', 1, 'good', '[{"op":"add","path":"","value":{"secret":"s3cret"}}]');
SELECT version FROM asynx.append('state-unfit', 2, 'good', '[{"op":"add","path":"/a","value":1}]');
SELECT version FROM asynx.append('state-unfit', 3, 'bad', '[{"op":"replace","path":"/b/c","value":2}]');
SELECT version FROM asynx.append('state-unfit', 4, 'bad', '[{"op":"test","path":"/secret","value":"other"}]');
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  context text;
  result text;
BEGIN
  EXECUTE statement INTO result;
  RETURN result;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
  RETURN concat_ws(' | ', SQLSTATE, message, substring(context FROM 'folding[^\n]*'));
END $$;
SELECT call, pg_temp.outcome('SELECT ' || call) AS outcome
FROM unnest(ARRAY[$$asynx.get('state-unfit')$$, $$asynx.get('state-unfit', 3)$$, $$asynx.get('state-unfit', 2)$$,
                  $$asynx.get_at('state-unfit', 'infinity')$$, $$asynx.preload('state-unfit')$$,
                  $$count(*) FROM asynx.replay('state-unfit')$$, $$count(*) FROM asynx.replay('state-unfit', 1, 2)$$,
                  $$count(*) FROM asynx.replay('state-unfit', 4, 4)$$]) AS call;
SELECT version FROM asynx.append('state-untrue', 1, 'bad', '[{"op":"test","path":"","value":{"secret":1}}]');
SELECT pg_temp.outcome($$SELECT asynx.get('state-untrue')$$);

-- replay() gives each event with the states after and before it.
SELECT version, event_name, previous_aggregate, aggregate FROM asynx.replay('state-1');
SELECT version, previous_aggregate IS NULL AS before_is_null, aggregate = 'null' AS after_is_json_null
FROM asynx.replay('state-1') WHERE version IN (1, 5);

-- Any part of it has the same states; both ends are included, 0 is the end.
SELECT from_version, to_version, array_agg(version) AS versions,
       bool_and(aggregate::text = pg_temp.fold('state-1', version)::text
                AND previous_aggregate::text IS NOT DISTINCT FROM
                    CASE WHEN version > 1 THEN pg_temp.fold('state-1', version - 1)::text END) AS as_folded
FROM generate_series(0, 6) AS from_version, generate_series(0, 6) AS to_version,
     LATERAL asynx.replay('state-1', from_version, to_version)
GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS nothing FROM (VALUES (6, 0), (9, 0), (4, 2), (9223372036854775807, 9223372036854775807)) AS t (f, t),
     LATERAL asynx.replay('state-1', f, t);
SELECT count(*) AS unknown FROM asynx.replay('state-none', 3);

-- It carries what is stored, and can be cut short.
SELECT count(*) AS equal FROM asynx.replay('state-1') r JOIN asynx.read_from('state-1', 0) s USING
  (id, aggregate_id, event_name, version, schema_version, occurred_at, position, aggregate_type, patch);
SELECT version FROM asynx.replay('state-1') LIMIT 2;
SELECT (asynx.replay('state-1', 4)).version;

-- A seed is the document that version 1's patch is applied to.
SELECT FROM asynx.create_aggregate_type('state seeded', seed => '{"n": 0, "tags": ["seed"]}');
SELECT version FROM asynx.append('state-seeded', 1, 'e', '[{"op":"replace","path":"/n","value":1}]', 'state seeded');
SELECT version FROM asynx.append('state-seeded', 2, 'e', '[{"op":"remove","path":"/tags/0"}]');
SELECT version, previous_aggregate, aggregate FROM asynx.replay('state-seeded');
SELECT version, previous_aggregate, aggregate FROM asynx.replay('state-seeded', 2);
SELECT asynx.get('state-seeded', 0) AS at_0, asynx.get('state-seeded', 1) AS at_1, asynx.get('state-seeded') AS now;
SELECT asynx.get('state-seeded')::text = pg_temp.fold('state-seeded', 2)::text AS as_folded;

-- A long and wild stream: the same at every version, whichever way one asks.
SELECT asynx.append_many(jsonb_agg(jsonb_build_object('aggregate_id', 'state-long', 'version', n, 'event_name', 'e',
  'patch', CASE
    WHEN n = 1 THEN '[{"op": "add", "path": "", "value": {"list": [], "map": {}}}]'
    WHEN n % 100 = 0 THEN '[{"op": "replace", "path": "/list", "value": []}]'
    WHEN n % 7 = 0 THEN jsonb_build_array(
      jsonb_build_object('op', 'add', 'path', '/map/k' || n % 13, 'value', jsonb_build_object('deep', jsonb_build_array(n, n / 10.0))))
    WHEN n % 11 = 0 THEN '[{"op": "copy", "from": "/map", "path": "/list/0"}]'
    WHEN n % 5 = 0 THEN jsonb_build_array(jsonb_build_object('op', 'add', 'path', '/list/-', 'value', jsonb_build_object('n', n)),
      jsonb_build_object('op', 'move', 'from', '/list/0', 'path', '/list/-'))
    ELSE jsonb_build_array(jsonb_build_object('op', 'add', 'path', '/list/-', 'value', n)) END) ORDER BY n)) AS stored
FROM generate_series(1, 400) AS n;
CREATE FUNCTION pg_temp.differences(aggregate text) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FROM asynx.replay(differences.aggregate) AS r, LATERAL (SELECT pg_temp.fold(r.aggregate_id, r.version)::text AS truth OFFSET 0) AS t
  WHERE r.aggregate::text IS DISTINCT FROM t.truth
     OR asynx.get(r.aggregate_id, r.version)::text IS DISTINCT FROM t.truth
     OR (SELECT one.aggregate::text FROM asynx.replay(r.aggregate_id, r.version, r.version) AS one) IS DISTINCT FROM t.truth
$$;
SELECT pg_temp.differences('state-long');
-- Also when a snapshot stands in the middle of it.
SELECT FROM asynx.put_snapshot('state-long', 217, pg_temp.fold('state-long', 217));
SELECT version FROM asynx.get_snapshot('state-long');
SELECT pg_temp.differences('state-long');
SELECT FROM asynx.preload('state-long');
SELECT version FROM asynx.get_snapshot('state-long');
SELECT pg_temp.differences('state-long');
SELECT asynx.get('state-long')::text = pg_temp.fold('state-long', 400)::text AS as_folded;

-- NULL, blank and negative arguments are refused.
\set VERBOSITY terse
SELECT asynx.get(NULL);
SELECT asynx.get('');
SELECT asynx.get('state-1', NULL);
SELECT asynx.get('state-1', -1);
SELECT asynx.get_at('state-1', NULL);
SELECT asynx.preload(NULL);
SELECT * FROM asynx.replay(NULL);
SELECT * FROM asynx.replay('state-1', NULL);
SELECT * FROM asynx.replay('state-1', -1);
SELECT * FROM asynx.replay('state-1', 1, NULL);
SELECT * FROM asynx.replay('state-1', 1, -1);
