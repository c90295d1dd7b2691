-- Limits: how deep and how large documents may be, as the store meets them
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
BEGIN
  EXECUTE statement;
  RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
  RETURN concat_ws(' | ', SQLSTATE, message);
END $$;
CREATE FUNCTION pg_temp.nested(levels int) RETURNS jsonb LANGUAGE sql AS $$
  SELECT (repeat('[', levels) || repeat(']', levels))::jsonb
$$;
SHOW asynx.max_document_depth;
SHOW asynx.max_document_size;

-- write() refuses a state that is too deep or too large; the aggregate is as before.
SELECT levels, pg_temp.outcome(format('SELECT asynx.write(''limits-1'', ''e'', pg_temp.nested(%s))', levels)) AS outcome
FROM unnest(ARRAY[1000, 1001, 5000]) AS levels;
SELECT asynx.count('limits-1', 0);
SET asynx.max_document_size = '1MB';
SELECT size, pg_temp.outcome(format('SELECT asynx.write(''limits-2'', ''e'', to_jsonb(repeat(''x'', %s)))', size)) AS outcome
FROM unnest(ARRAY[1000000, 1048576, 3000000]) AS size;
SELECT asynx.count('limits-2', 0), length(asynx.get('limits-2') #>> '{}');

-- append() does not apply its patch; the fold stops where the document would grow too large, and says at which event.
SELECT version FROM asynx.append('limits-3', 1, 'e', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value',
  jsonb_build_object('a', repeat('x', 600000)))));
SELECT version FROM asynx.append('limits-3', 2, 'e', '[{"op":"copy","from":"/a","path":"/b"}]');
\set VERBOSITY terse
SELECT length(asynx.get('limits-3', 1) ->> 'a');
SELECT asynx.get('limits-3');
\echo :LAST_ERROR_SQLSTATE
-- A small patch can ask for an enormous document: 2000 levels, 2 to the power of 60 elements.
SELECT version FROM asynx.append('limits-4', 1, 'e', '[{"op":"add","path":"","value":{"a":1}}]');
SELECT version FROM asynx.append('limits-4', 2, 'e', (SELECT jsonb_agg('{"op":"copy","from":"","path":"/a"}'::jsonb) FROM generate_series(1, 2000)));
SELECT asynx.get('limits-4');
\echo :LAST_ERROR_SQLSTATE
SELECT version FROM asynx.append('limits-5', 1, 'e', '[{"op":"add","path":"","value":{"a":[1]}}]');
SELECT version FROM asynx.append('limits-5', 2, 'e', (SELECT jsonb_agg('{"op":"copy","from":"/a","path":"/a/-"}'::jsonb) FROM generate_series(1, 60)));
SELECT asynx.get('limits-5');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.preload('limits-5');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM asynx.replay('limits-5');
\echo :LAST_ERROR_SQLSTATE

-- Raising the limit is a superuser's way out; nothing is lost.
RESET asynx.max_document_size;
SELECT length(asynx.get('limits-3') ->> 'b');
SET asynx.max_document_depth = 10;
SELECT asynx.get('limits-1');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.append('limits-6', 1, 'e', '[{"op":"add","path":"/1/2/3/4/5/6/7/8/9/10/11","value":1}]');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.create_aggregate_type('limits type', seed => pg_temp.nested(11));
\echo :LAST_ERROR_SQLSTATE
RESET asynx.max_document_depth;
SELECT asynx.get('limits-1') = pg_temp.nested(1000) AS readable_again;

-- append() refuses a value that no document could take up; so does a fold after the limit was lowered.
SELECT version FROM asynx.append('limits-7', 1, 'e', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', pg_temp.nested(1500))));
\echo :LAST_ERROR_SQLSTATE
SET asynx.max_document_depth = 2000;
SELECT version FROM asynx.append('limits-7', 1, 'e', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', pg_temp.nested(1500))));
SELECT asynx.get('limits-7') = pg_temp.nested(1500) AS readable;
RESET asynx.max_document_depth;
\set VERBOSITY terse
SELECT asynx.get('limits-7');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default
-- A batch may hold many events; each alone is limited.
SELECT asynx.append_many(jsonb_agg(jsonb_build_object('aggregate_id', 'limits-8', 'version', n, 'event_name', 'e', 'patch',
  jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', repeat('x', 10000)))))) FROM generate_series(1, 500) AS n;
SELECT length(asynx.get('limits-8') #>> '{}');

-- A user cannot change the limits.
CREATE ROLE regress_asynx_limits;
SET ROLE regress_asynx_limits;
SET asynx.max_document_size = '200MB';
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
DROP ROLE regress_asynx_limits;
