-- Every condition of ours has its SQLSTATE, and no argument whatever leads to an internal error
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- The conditions that the store, the states and the JSON functions can raise.
-- Which SQLSTATE a statement ends with; what it did is undone.
CREATE FUNCTION pg_temp.sqlstate_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  RAISE SQLSTATE 'UNDO0';
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
  RETURN 'none';
WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
SELECT version FROM asynx.append('errors-1', 1, 'e', '[{"op":"add","path":"","value":{"n":1}}]');
SELECT version FROM asynx.append('errors-unfit', 1, 'e', '[{"op":"remove","path":"/n"}]');
SELECT version FROM asynx.append('errors-untrue', 1, 'e', '[{"op":"test","path":"","value":1}]');
SELECT FROM asynx.create_aggregate_type('errors type');
CREATE SCHEMA errors_app;
CREATE FUNCTION errors_app.nothing(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT NULL::jsonb';
SELECT FROM asynx.create_command('errors nothing', 'default', 'e', 'errors_app.nothing');
SELECT expected, pg_temp.sqlstate_of(statement) AS raised, condition
FROM (VALUES
  ('SX001', 'aggregate_not_found', $$SELECT asynx.get('errors-none')$$),
  ('SX002', 'validation_failed', $$SELECT asynx.put_snapshot('errors-1', 1, '{"n":2}')$$),
  ('SX003', 'version_conflict', $$SELECT asynx.append('errors-1', 1, 'e', '[]')$$),
  ('SX003', 'version_conflict', $$SELECT asynx.write('errors-1', 'e', '{}', 0)$$),
  ('SX004', 'pipeline_failed', $$SELECT asynx.send('errors nothing', 'errors-1')$$),
  ('SX009', 'handler_missing', $$SELECT asynx.create_command('errors', 'default', 'e', 'errors_no_such_function')$$),
  ('SX010', 'pattern_empty', $$SELECT asynx.topic('')$$),
  ('SX010', 'pattern_empty', $$SELECT * FROM asynx.read_all(0, 1, ' ')$$),
  ('SX014', 'invalid_patch', $$SELECT asynx.append('errors-1', 2, 'e', '{}')$$),
  ('SX014', 'invalid_patch', $$SELECT asynx.json_patch('{}', '[{"op":"add"}]')$$),
  ('SX015', 'patch_failed', $$SELECT asynx.get('errors-unfit')$$),
  ('SX015', 'patch_failed', $$SELECT asynx.json_patch('{}', '[{"op":"remove","path":"/a"}]')$$),
  ('SX016', 'patch_test_failed', $$SELECT asynx.get('errors-untrue')$$),
  ('SX017', 'version_gap', $$SELECT asynx.append('errors-1', 3, 'e', '[]')$$),
  ('SX018', 'document_limit', $$SELECT asynx.write('errors-1', 'e', (repeat('[', 1001) || repeat(']', 1001))::jsonb)$$),
  ('22023', 'invalid_parameter_value', $$SELECT asynx.get(NULL)$$),
  ('22023', 'invalid_parameter_value', $$SELECT asynx.get('errors-1', 2)$$),
  ('22023', 'invalid_parameter_value', $$SELECT asynx.append('errors-2', 1, 'e', '[]', 'errors no such type')$$),
  ('22023', 'invalid_parameter_value', $$SELECT asynx.json_pointer('{}', 'a')$$),
  ('2201B', 'invalid_regular_expression', $$SELECT * FROM asynx.read_all(0, 1, '[')$$),
  ('25006', 'read_only_sql_transaction', $$SET LOCAL transaction_read_only = on; SELECT asynx.append('errors-1', 2, 'e', '[]')$$),
  ('42501', 'insufficient_privilege', $$SET LOCAL ROLE pg_signal_backend; SELECT asynx.get('errors-1')$$),
  ('42710', 'duplicate_object', $$SELECT asynx.create_aggregate_type('errors type')$$),
  ('55000', 'object_not_in_prerequisite_state', $$DELETE FROM asynx.events$$),
  ('55000', 'object_not_in_prerequisite_state', $$DROP EXTENSION asynx$$),
  ('55006', 'object_in_use', $$SELECT asynx.append('errors-3', 1, 'e', '[]', 'errors type'); SELECT asynx.drop_aggregate_type('errors type')$$)
  ) AS t (expected, condition, statement);

-- No message, detail, hint or context says what a document holds.
CREATE FUNCTION pg_temp.everything_said(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  detail text;
  hint text;
  context text;
BEGIN
  EXECUTE statement;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
  -- the last lines of the context quote the test's own statement
  RETURN concat_ws(E'\n', message, detail, hint, split_part(context, E'\nSQL statement "SELECT', 1));
END $$;
SELECT version FROM asynx.append('errors-secret', 1, 'e', '[{"op":"add","path":"","value":{"pin":"s3cret"}}]');
SELECT version FROM asynx.append('errors-secret', 2, 'e', '[{"op":"test","path":"/pin","value":"s3cret other"}]');
CREATE TEMPORARY TABLE secrets (id int, document jsonb);
INSERT INTO secrets VALUES
  (1, '{"pin": "s3cret"}'), (2, '[{"op": "add", "path": "/a/b", "value": "s3cret"}]'),
  (3, '[{"op": "test", "path": "/pin", "value": "s3cret!"}]'), (4, '[{"op": "add", "path": "/pin/x", "value": {"s3cret": 1}}]'),
  (5, '[{"op": "add", "path": "/pin", "val": "s3cret"}]'), (6, '["s3cret"]'), (7, '"s3cret"'), (8, '[{"op": "add", "path": "/pin", "s3cret": "s3cret"}]');
SELECT count(said) AS errors, count(*) FILTER (WHERE said LIKE '%s3cret%') AS tell_secrets
FROM unnest(ARRAY[
  $$SELECT asynx.get('errors-secret')$$, $$SELECT * FROM asynx.replay('errors-secret')$$,
  $$SELECT asynx.put_snapshot('errors-secret', 1, (SELECT document FROM secrets WHERE id = 7))$$,
  $$SELECT asynx.write('errors-secret', 'e', (SELECT document FROM secrets WHERE id = 1))$$,
  $$SELECT asynx.json_patch(a.document, b.document) FROM secrets a, secrets b WHERE a.id = 1 AND b.id = 2$$,
  $$SELECT asynx.json_patch(a.document, b.document) FROM secrets a, secrets b WHERE a.id = 1 AND b.id = 3$$,
  $$SELECT asynx.json_patch(a.document, b.document) FROM secrets a, secrets b WHERE a.id = 1 AND b.id = 4$$,
  $$SELECT asynx.json_patch(a.document, b.document) FROM secrets a, secrets b WHERE a.id = 1 AND b.id = 5$$,
  $$SELECT asynx.json_patch(a.document, b.document) FROM secrets a, secrets b WHERE a.id = 1 AND b.id = 6$$,
  $$SELECT asynx.json_patch(a.document, b.document) FROM secrets a, secrets b WHERE a.id = 1 AND b.id = 7$$,
  $$SELECT asynx.append('errors-1', 2, 'e', document) FROM secrets WHERE id = 8$$,
  $$SELECT asynx.append_many(jsonb_build_array(jsonb_build_object('aggregate_id', 'errors-1', 'version', 2, 'event_name', 'e', 'patch', document))) FROM secrets WHERE id = 6$$
  ]) AS statement, LATERAL pg_temp.everything_said(statement) AS said;

-- Every function of the schema, called with nothing but NULLs: either NULL comes back or what is missing is named.
SELECT p.oid::regprocedure AS function, pg_temp.sqlstate_of(format(
         CASE WHEN p.prokind = 'p' THEN 'CALL asynx.%I(%s)' ELSE 'SELECT * FROM asynx.%I(%s)' END, p.proname,
         (SELECT string_agg('NULL::' || type::regtype, ', ') FROM unnest(p.proargtypes) AS type))) AS raised
FROM pg_proc p
WHERE p.pronamespace = 'asynx'::regnamespace AND p.prokind <> 'a' AND NOT 'internal'::regtype = ANY (p.proargtypes)
ORDER BY p.oid::regprocedure::text COLLATE "C";

-- And with hostile values, each in each place, the other places being good, NULL and hostile too.  Whatever is raised
-- is a condition of ours or of PostgreSQL's classes for data and transactions; never an internal error.  25001 and 2D000 are
-- those of functions that wait, which do not in a transaction that has written, and of procedures.
CREATE TEMPORARY TABLE hostile (type regtype, value text);
INSERT INTO hostile VALUES
  ('text', $$NULL$$), ('text', $$''$$), ('text', $$' '$$), ('text', $$repeat('x', 1001)$$), ('text', $$repeat('é', 500)$$), ('text', $$repeat('x', 100000)$$),
  ('text', $$'errors-1'$$), ('text', $$'%s%n%d'$$), ('text', $$''';--'$$), ('text', $$E'\x01\x7f'$$), ('text', $$E'\u00a0'$$), ('text', $$E'\U0010ffff'$$),
  ('text', $$'/a/~'$$), ('text', $$'(((((((('$$), ('text', $$repeat('(', 5000)$$), ('text', $$'***:x'$$), ('text', $$'asynx.x'$$), ('text', $$'default'$$), ('text', $$'a.*.*.*'$$),
  ('text', $$'pg_catalog.now()'$$), ('text', $$'asynx.get'$$),
  ('bigint', $$NULL$$), ('bigint', $$0$$), ('bigint', $$1$$), ('bigint', $$-1$$), ('bigint', $$2$$), ('bigint', $$9223372036854775807$$), ('bigint', $$-9223372036854775808$$), ('bigint', $$2147483648$$),
  ('integer', $$NULL$$), ('integer', $$0$$), ('integer', $$1$$), ('integer', $$-1$$), ('integer', $$2147483647$$), ('integer', $$-2147483648$$),
  ('jsonb', $$NULL$$), ('jsonb', $$'null'$$), ('jsonb', $$'[]'$$), ('jsonb', $$'{}'$$), ('jsonb', $$'1e400'$$), ('jsonb', $$'""'$$), ('jsonb', $$'[null]'$$), ('jsonb', $$'[[]]'$$), ('jsonb', $$'[{}]'$$),
  ('jsonb', $$'[{"op":"add","path":"","value":1}]'$$), ('jsonb', $$'[{"op":"add","path":null,"value":1}]'$$), ('jsonb', $$'[{"op":"move","path":"","from":""}]'$$),
  ('jsonb', $$'[{"op":"copy","from":"","path":"/a"}]'$$), ('jsonb', $$'[{"op":"add","path":"/99999999999999999999","value":1}]'$$),
  ('jsonb', $$'[{"op":"test","path":"/n","value":1e-400}]'$$), ('jsonb', $$jsonb_build_array(jsonb_build_object('op', 'add', 'path', repeat('/a', 3000), 'value', 1))$$),
  ('jsonb', $$(repeat('[', 2000) || repeat(']', 2000))::jsonb$$), ('jsonb', $$to_jsonb(repeat('x', 1000000))$$),
  ('jsonb', $$'[{"aggregate_id":"errors-9","version":1,"event_name":"e","patch":[]}]'$$), ('jsonb', $$'[{"aggregate_id":"errors-9","version":1e99,"event_name":"e","patch":[]}]'$$),
  ('jsonb', $$jsonb_build_array(jsonb_build_object(repeat('k', 100000), 1))$$),
  ('uuid', $$NULL$$), ('uuid', $$'00000000-0000-0000-0000-000000000000'$$),
  ('timestamptz', $$NULL$$), ('timestamptz', $$'infinity'$$), ('timestamptz', $$'-infinity'$$), ('timestamptz', $$'294276-12-31 23:59:59.999999+00'$$), ('timestamptz', $$'4713-01-01 00:00:00 BC'$$),
  ('interval', $$NULL$$), ('interval', $$'0'$$), ('interval', $$'-1 s'$$), ('interval', $$'178000000 years'$$), ('interval', $$'-178000000 years'$$),
  ('boolean', $$NULL$$), ('boolean', $$true$$), ('boolean', $$false$$),
  ('regclass', $$NULL$$), ('regclass', $$'pg_class'$$), ('regclass', $$'asynx.events'$$);
CREATE TEMPORARY TABLE tame (type regtype, value text);
INSERT INTO tame VALUES ('text', $$'errors-1'$$), ('bigint', '1'), ('integer', '1'), ('jsonb', $$'[]'$$), ('uuid', 'gen_random_uuid()'),
  ('timestamptz', 'now()'), ('interval', $$'1 ms'$$), ('boolean', 'false'), ('regclass', $$'asynx.positions'$$);
CREATE TEMPORARY TABLE calls AS
SELECT DISTINCT p.oid::regprocedure::text AS function, format(
    CASE WHEN p.prokind = 'p' THEN 'CALL asynx.%I(%s)' ELSE 'SELECT * FROM asynx.%I(%s)' END, p.proname,
    (SELECT string_agg(format('(%s)::%s', CASE
         WHEN argument.n = place THEN hostile.value
         WHEN others = 'tame' THEN tame.value
         WHEN others = 'hostile' THEN coalesce((SELECT h.value FROM hostile h WHERE h.type = argument.type AND h.value <> 'NULL'
                                                ORDER BY md5(hostile.value || h.value || argument.n || p.proname) LIMIT 1), 'NULL')
         ELSE 'NULL' END, argument.type::regtype), ', ' ORDER BY argument.n)
     FROM unnest(p.proargtypes) WITH ORDINALITY AS argument (type, n) LEFT JOIN tame ON tame.type = argument.type)) AS statement
FROM pg_proc p, generate_series(1, p.pronargs) AS place, hostile, unnest(ARRAY['tame', 'hostile', 'NULL']) AS others
WHERE p.pronamespace = 'asynx'::regnamespace AND p.prokind <> 'a' AND NOT 'internal'::regtype = ANY (p.proargtypes)
  AND hostile.type = p.proargtypes[place - 1];
-- Who listens for so many events and names no timeout waits for them.
DELETE FROM calls WHERE statement ~ 'asynx.listen\(.*[(''][1-9]\d*[)'']+::integer, \(NULL\)::interval';
CREATE TEMPORARY TABLE outcomes AS SELECT function, statement, pg_temp.sqlstate_of(statement) AS raised FROM calls;
SELECT count(*) > 2000 AS many_calls, count(DISTINCT function) > 25 AS many_functions FROM outcomes;
SELECT raised, left(min(statement), 200) AS example FROM outcomes
WHERE raised !~ '^(none|SX...|22...|55006|42710|42704|42809|42601|42602|42P01|42883|25001|2D000)$' GROUP BY raised ORDER BY raised;
-- A sequence that does not exist, or cannot even be a name, is PostgreSQL's to refuse.
SELECT DISTINCT function FROM outcomes WHERE raised ~ '^(42704|42809|42601|42602|42P01)$' ORDER BY function;

-- Nothing of all that has been left.
SELECT asynx.get('errors-1'), asynx.count('errors-1', 0), asynx.exists('errors-9');
SET client_min_messages = warning;
SELECT FROM asynx.drop_command('errors nothing');
DROP SCHEMA errors_app CASCADE;
