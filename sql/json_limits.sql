-- Extreme documents: numbers, nesting, size, memory
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
\pset format unaligned
\set VERBOSITY terse
CREATE SCHEMA limits;

-- The patched document's shape, or the SQLSTATE of the error.
CREATE FUNCTION limits.outcome(document jsonb, patch jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN 'ok, ' || jsonb_typeof(asynx.json_patch(document, patch));
EXCEPTION WHEN SQLSTATE 'SX014' OR SQLSTATE 'SX015' OR SQLSTATE 'SX016' OR SQLSTATE 'SX018' THEN
    RETURN SQLSTATE;
END $$;

-- A patch of n times the same operations.
CREATE FUNCTION limits.times(n int, VARIADIC operations jsonb[]) RETURNS jsonb LANGUAGE sql AS
'SELECT jsonb_agg(operation ORDER BY i, k) FROM generate_series(1, n) AS i, unnest(operations) WITH ORDINALITY AS o(operation, k)';

-- Kilobytes of memory that the kernel counts for this backend: now, and at most so far.  This includes json-c's.
CREATE FUNCTION limits.resident() RETURNS bigint LANGUAGE sql AS
$$ SELECT substring(pg_read_file('/proc/self/status') FROM 'VmRSS:\s*(\d+) kB')::bigint $$;
CREATE FUNCTION limits.peak() RETURNS bigint LANGUAGE sql AS
$$ SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s*(\d+) kB')::bigint $$;

--
-- Numbers keep every digit, whether they are copied with their container or one by one
--
CREATE TEMP TABLE numbers AS
SELECT '[1e400, -1e400, 1e-400, 123456789012345678901234567890, -123456789012345678901234567890, 0.1000, 1.0, 1.00, 0, -0.0, 1E+2,
         9007199254740993, 18446744073709551616, 0.30000000000000004, 1e-10, 3.141592653589793238462643383279502884197]'::jsonb AS list;

WITH patched AS (
    SELECT list,
           asynx.json_patch(list, '[{"op": "add", "path": "/0", "value": 0}, {"op": "remove", "path": "/0"}]') AS expanded,
           asynx.json_patch(jsonb_build_object('n', list), '[{"op": "copy", "from": "/n", "path": "/m"}, {"op": "remove", "path": "/m/0"}, {"op": "move", "from": "/n", "path": ""}]') AS moved,
           asynx.json_patch('[]', (SELECT jsonb_agg(jsonb_build_object('op', 'add', 'path', '/-', 'value', n) ORDER BY i)
                                   FROM jsonb_array_elements(list) WITH ORDINALITY AS e(n, i))) AS added
    FROM numbers)
SELECT record_image_eq(ROW(expanded), ROW(list)) AS expanded, record_image_eq(ROW(moved), ROW(list)) AS moved, record_image_eq(ROW(added), ROW(list)) AS added FROM patched;

SELECT right(asynx.json_patch('{}', '[{"op": "add", "path": "/n", "value": 123456789012345678901234567890.1000}]')::text, 40) AS digits;

--
-- Nesting: the place of a value and its own levels add up
--
SET asynx.max_document_depth = 4;
SELECT statement, limits.outcome(document, patch)
FROM (VALUES
    ('the document''s own levels', '[]'::jsonb, '[{"op": "add", "path": "", "value": [[[[]]]]}]'::jsonb),
    ('one more', '[]', '[{"op": "add", "path": "", "value": [[[[[]]]]]}]'),
    ('a scalar is no level', '[[[[]]]]', '[{"op": "add", "path": "/0/0/0/0", "value": 1}]'),
    ('a container is one', '[[[[]]]]', '[{"op": "add", "path": "/0/0/0/0", "value": []}]'),
    ('replace', '[[[[1]]]]', '[{"op": "replace", "path": "/0/0/0/0", "value": {}}]'),
    ('replace by as many', '[[[[1]]]]', '[{"op": "replace", "path": "/0/0/0", "value": {"a": 1}}]'),
    ('a pointer of more tokens', '[[[[1]]]]', '[{"op": "test", "path": "/0/0/0/0/0", "value": 1}]'),
    ('copy', '{"a": {"b": [1]}}', '[{"op": "copy", "from": "/a", "path": "/a/c"}]'),
    ('copy deeper', '{"a": {"b": [1]}}', '[{"op": "copy", "from": "", "path": "/a/c"}]'),
    ('copy of what was changed', '{"a": {"b": []}}', '[{"op": "add", "path": "/a/b/0", "value": [1]}, {"op": "copy", "from": "/a", "path": "/a/c"}]'),
    ('move', '{"a": [[1]], "b": {}}', '[{"op": "move", "from": "/a", "path": "/b/c"}]'),
    ('move deeper', '{"a": [[1]], "b": {"d": {}}}', '[{"op": "move", "from": "/a", "path": "/b/d/c"}]'),
    ('move of what was changed', '{"a": [], "b": {"d": {}}}', '[{"op": "add", "path": "/a/0", "value": [1]}, {"op": "move", "from": "/a", "path": "/b/d/c"}]'),
    ('removing makes room', '[[[[1]]]]', '[{"op": "remove", "path": "/0/0/0"}, {"op": "add", "path": "/0/0/0", "value": [2]}]')
) AS t(statement, document, patch);

-- Each copy of the whole into itself is one level more.
SELECT n, limits.outcome('{}', limits.times(n, '{"op": "copy", "from": "", "path": "/a"}')) FROM unnest(ARRAY[3, 4]) AS n;
RESET asynx.max_document_depth;
SELECT n, limits.outcome('{}', limits.times(n, '{"op": "copy", "from": "", "path": "/a"}')) FROM unnest(ARRAY[999, 1000]) AS n;
SELECT asynx.json_patch('{}', limits.times(1000, '{"op": "copy", "from": "", "path": "/a"}'));

-- The deepest documents that can be allowed, expanded to their very bottom and freed again.
SET asynx.max_document_depth = 5000;
SELECT limits.outcome((repeat('{"a": ', 4999) || '{}' || repeat('}', 4999))::jsonb,
                       jsonb_build_array(jsonb_build_object('op', 'add', 'path', repeat('/a', 4999) || '/b', 'value', 1),
                                         jsonb_build_object('op', 'test', 'path', repeat('/a', 4999) || '/b', 'value', 1))) AS deepest,
       limits.outcome((repeat('{"a": ', 4999) || '{}' || repeat('}', 4999))::jsonb,
                       jsonb_build_array(jsonb_build_object('op', 'add', 'path', repeat('/a', 4999) || '/b', 'value', '[]'::jsonb))) AS too_deep,
       limits.outcome('1', jsonb_build_array(jsonb_build_object('op', 'add', 'path', repeat('/a', 5001), 'value', 1))) AS too_many_tokens;
RESET asynx.max_document_depth;

--
-- Size: counted while a patch runs, so that a small patch cannot make a large document
--
SET asynx.max_document_size = '1kB';
SELECT statement, limits.outcome(document, patch)
FROM (VALUES
    ('small enough', '{}'::jsonb, jsonb_build_array(jsonb_build_object('op', 'add', 'path', '/a', 'value', repeat('x', 1000)))),
    ('too large', '{}', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '/a', 'value', repeat('x', 1100)))),
    ('replace counts what goes', jsonb_build_object('a', repeat('x', 900)), limits.times(50, jsonb_build_object('op', 'replace', 'path', '/a', 'value', repeat('y', 1000)))),
    ('so does add', jsonb_build_object('a', repeat('x', 900)), limits.times(50, jsonb_build_object('op', 'add', 'path', '/a', 'value', repeat('y', 1000)))),
    ('and move', jsonb_build_object('a', repeat('x', 900), 'b', '{}'::jsonb), limits.times(20, '{"op": "move", "from": "/a", "path": "/b/a"}', '{"op": "move", "from": "/b/a", "path": "/a"}')),
    ('what was changed goes as a whole', jsonb_build_object('a', jsonb_build_array(repeat('x', 400))),
     limits.times(20, jsonb_build_object('op', 'add', 'path', '/a/-', 'value', repeat('z', 400)), '{"op": "replace", "path": "/a", "value": []}')),
    ('too large on the way', '{}', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '/a', 'value', repeat('x', 2000)), '{"op": "remove", "path": "/a"}'::jsonb)),
    ('more than twice too large on the way', '{}', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '/a', 'value', repeat('x', 2100)), '{"op": "remove", "path": "/a"}'::jsonb)),
    ('too large on the way in many small pieces', '[]', limits.times(165, '{"op": "add", "path": "/-", "value": 1}') || limits.times(100, '{"op": "remove", "path": "/0"}')),
    ('more than twice in many small pieces', '[]', limits.times(200, '{"op": "add", "path": "/-", "value": 1}') || limits.times(180, '{"op": "remove", "path": "/0"}')),
    ('a copy on the way', jsonb_build_object('a', repeat('x', 900)), '[{"op": "copy", "from": "", "path": "/b"}, {"op": "remove", "path": "/a"}]'),
    ('a second one', jsonb_build_object('a', repeat('x', 900)), '[{"op": "copy", "from": "", "path": "/b"}, {"op": "copy", "from": "", "path": "/c"}, {"op": "replace", "path": "", "value": 1}]'),
    ('a document that was too large may shrink', jsonb_build_object('a', repeat('x', 2000)), '[{"op": "remove", "path": "/a"}]'),
    ('step by step', jsonb_build_object('a', repeat('x', 2000), 'b', repeat('x', 3000), 'c', repeat('x', 4000)), '[{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/c"}, {"op": "replace", "path": "/b", "value": 1}]'),
    ('but must', jsonb_build_object('a', repeat('x', 2000)), '[]'),
    ('tests do not do that', jsonb_build_object('a', repeat('x', 2000), 'b', 1), '[{"op": "test", "path": "/b", "value": 1}]'),
    ('a little is not enough', jsonb_build_object('a', repeat('x', 2000), 'b', 1), '[{"op": "remove", "path": "/b"}]')
) AS t(statement, document, patch);

-- The limit is exact: each of these documents passes through it byte by byte.
SELECT bool_and((limits.outcome('{"l": [1, "a", 2.5], "o": {"k": null}}', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '/l/1', 'value', repeat('x', n)))) LIKE 'ok%')
                = (pg_column_size(jsonb_insert('{"l": [1, "a", 2.5], "o": {"k": null}}', '{l,1}', to_jsonb(repeat('x', n)))) <= 1024)) AS exact,
       count(*)
FROM generate_series(900, 1024) AS n;

-- A difference between two documents within the limit applies, though what comes and what goes are both there on the way.
SELECT statement, asynx.json_diff(source, target) @? '$[*] ? (@.op == "replace" && @.path == "")' AS whole,
       record_image_eq(ROW(asynx.json_patch(source, asynx.json_diff(source, target))), ROW(target)) AS same
FROM (VALUES
    ('a renamed member with another value', jsonb_build_object('b', repeat('x', 500), 'z', repeat('z', 450)), jsonb_build_object('a', repeat('y', 500), 'z', repeat('z', 450))),
    ('larger before it is smaller', jsonb_build_object('a', 1, 'b', repeat('x', 500), 'z', repeat('z', 450)), jsonb_build_object('a', repeat('y', 500), 'b', 1, 'z', repeat('z', 450))),
    ('an array''s elements', jsonb_build_array(1, repeat('x', 480), repeat('z', 450), 2), jsonb_build_array(repeat('y', 470), 1, repeat('z', 450), 3)),
    ('a rotated array', jsonb_build_array(repeat('x', 320), repeat('y', 320), repeat('z', 320)), jsonb_build_array(repeat('z', 320), repeat('x', 320), repeat('y', 320))),
    ('nothing in common but one member', jsonb_build_object('b', repeat('x', 970), 'z', 1), jsonb_build_object('a', repeat('y', 970), 'z', 1))
) AS t(statement, source, target);

-- So it is at any size and in any order; what the documents share keeps the difference from replacing them as a whole.
SELECT bool_and(pg_column_size(source) <= 1024 AND pg_column_size(target) <= 1024) AS within,
       bool_and(record_image_eq(ROW(asynx.json_patch(source, asynx.json_diff(source, target))), ROW(target))) AS same, count(*)
FROM generate_series(0, 48) AS n,
     LATERAL (SELECT jsonb_object_agg('k' || i * n % 29, repeat('x', i)) || jsonb_build_object('s', repeat('s', 400)) AS source FROM generate_series(1, 15) AS i) AS s,
     LATERAL (SELECT jsonb_object_agg('k' || i * n % 31, repeat('y', 16 - i)) || jsonb_build_object('s', repeat('s', 400)) AS target FROM generate_series(1, 15) AS i) AS t;

SET asynx.max_document_size = '1MB';
SELECT asynx.json_patch('[1]', limits.times(20, '{"op": "copy", "from": "", "path": "/-"}'));
RESET asynx.max_document_size;

-- 20 copies of the whole are 21 MB, which the default allows; 28 would be 5 GB.  Refused at once, and without the memory.
\c -
-- (A new session, whose memory is known; a small fold loads what is needed.)
SELECT asynx.json_patch('[1]', limits.times(3, '{"op": "copy", "from": "", "path": "/-"}'));
SELECT limits.resident() AS base, clock_timestamp() AS started \gset
SELECT asynx.json_patch('[1]', limits.times(28, '{"op": "copy", "from": "", "path": "/-"}'));
SELECT limits.peak() - :base < 150 * 1024 AS little_memory, clock_timestamp() - :'started' < interval '10 s' AS quick;
SELECT pg_column_size(asynx.json_patch('[1]', limits.times(20, '{"op": "copy", "from": "", "path": "/-"}'))) AS bytes;

-- A large value is copied for a few bytes of memory each time, but counted.
SELECT asynx.json_patch(jsonb_build_object('a', repeat('x', 1024 * 1024)),
                        (SELECT jsonb_agg(jsonb_build_object('op', 'copy', 'from', '/a', 'path', '/' || i)) FROM generate_series(1, 100) AS i));

--
-- Width
--

-- Arrays of 10,000 elements: at the head, in the middle, at the end.
WITH source AS (SELECT jsonb_agg(jsonb_build_object('n', i, 's', repeat('s', i % 7))) AS list FROM generate_series(0, 9999) AS i)
SELECT record_image_eq(ROW(asynx.json_patch(list, '[{"op": "add", "path": "/0", "value": 1}]')), ROW(jsonb_insert(list, '{0}', '1'))) AS head,
       record_image_eq(ROW(asynx.json_patch(list, '[{"op": "add", "path": "/5000", "value": 1.50}]')), ROW(jsonb_insert(list, '{5000}', '1.50'))) AS middle,
       record_image_eq(ROW(asynx.json_patch(list, '[{"op": "add", "path": "/10000", "value": "x"}]')), ROW(list || '"x"')) AS ending,
       record_image_eq(ROW(asynx.json_patch(list, '[{"op": "remove", "path": "/5000"}]')), ROW(list - 5000)) AS removed,
       record_image_eq(ROW(asynx.json_patch(list, '[{"op": "move", "from": "/9999", "path": "/0"}]')), ROW(jsonb_insert(list - 9999, '{0}', list -> 9999))) AS moved
FROM source;

-- An array built one element at a time, an object of 10,000 members added in the wrong order, then emptied.
SELECT record_image_eq(ROW(asynx.json_patch('[]', jsonb_agg(jsonb_build_object('op', 'add', 'path', '/-', 'value', i) ORDER BY i))), ROW(jsonb_agg(i ORDER BY i))) AS appended,
       record_image_eq(ROW(asynx.json_patch('{}', jsonb_agg(jsonb_build_object('op', 'add', 'path', '/k' || i, 'value', i) ORDER BY i DESC))), ROW(jsonb_object_agg('k' || i, i))) AS members,
       asynx.json_patch(jsonb_object_agg('k' || i, i), jsonb_agg(jsonb_build_object('op', 'remove', 'path', '/k' || i) ORDER BY i)) AS emptied
FROM generate_series(1, 10000) AS i;

-- Empty names at every level.
SELECT asynx.json_patch('{"": {"": {"": []}}}', '[{"op": "add", "path": "////0", "value": {"": ""}}, {"op": "copy", "from": "//", "path": "//x"}, {"op": "test", "path": "////0/", "value": ""}]');

--
-- Memory: a fold of any number of events needs no more than its document
--

-- 10,000 patches onto a document of 1 KB that stays so; each patch brings more than 1 KB.
\c -
CREATE VIEW limits.stream AS
SELECT jsonb_build_array(jsonb_build_object('op', 'replace', 'path', '/note', 'value', to_char(n, 'FM00000') || repeat('n', 995)),
                         jsonb_build_object('op', 'add', 'path', '/items/0', 'value', jsonb_build_object('n', n)),
                         jsonb_build_object('op', 'remove', 'path', '/items/0')) AS patch
FROM generate_series(0, 10000) AS n;
CREATE VIEW limits.seed AS
SELECT '[{"op": "add", "path": "", "value": {"items": [], "note": ""}}]'::jsonb AS patch;

SELECT count(json_patch_agg) FROM (SELECT asynx.json_patch_agg(patch) FROM (TABLE limits.seed UNION ALL (TABLE limits.stream LIMIT 10)) AS p) AS s;
SELECT limits.resident() AS base \gset
SELECT left(asynx.json_patch_agg(patch)::text, 33) AS state FROM (TABLE limits.seed UNION ALL TABLE limits.stream) AS p;
SELECT limits.peak() - :base < 8 * 1024 AS little_memory;

-- 100 events onto a document of 1 MB.
CREATE TABLE limits.large AS
SELECT jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', jsonb_agg(jsonb_build_object('n', i, 'name', 'name of ' || i, 'price', i * 1.25)))) AS patch
FROM generate_series(1, 15000) AS i;
\c -
SELECT count(json_patch_agg) FROM (SELECT asynx.json_patch_agg(patch) FROM limits.seed) AS s;
SELECT limits.resident() AS base \gset
SELECT pg_column_size(asynx.json_patch_agg(patch)) > 1024 * 1024 AS large
FROM (TABLE limits.large
      UNION ALL
      SELECT jsonb_build_array(jsonb_build_object('op', 'replace', 'path', '/' || n * 100 || '/price', 'value', n),
                               jsonb_build_object('op', 'copy', 'from', '/' || n, 'path', '/0'),
                               jsonb_build_object('op', 'remove', 'path', '/5000'))
      FROM generate_series(1, 100) AS n) AS p;
SELECT limits.peak() - :base < 8 * 1024 AS little_memory;

-- Expanding a wide container: booleans share their nodes, and an object's table is as large as it must be from the start.
CREATE TABLE limits.wide AS
SELECT jsonb_agg(i % 2 = 0) AS list, jsonb_object_agg(i, true) AS object FROM generate_series(1, 250000) AS i;
\c -
SELECT asynx.json_patch('[true, {"a": false}]', '[{"op": "add", "path": "/1/b", "value": true}]');
SELECT limits.resident() AS base \gset
SELECT jsonb_array_length(asynx.json_patch(list, '[{"op": "add", "path": "/0", "value": true}, {"op": "remove", "path": "/5"}]')) FROM limits.wide;
SELECT limits.peak() - :base < 12 * 1024 AS little_memory;
\c -
SELECT asynx.json_patch('[true, {"a": false}]', '[{"op": "add", "path": "/1/b", "value": true}]');
SELECT limits.resident() AS base \gset
SELECT asynx.json_patch(object, '[{"op": "remove", "path": "/77"}, {"op": "add", "path": "/77", "value": true}]') = object AS same FROM limits.wide;
SELECT limits.peak() - :base < 40 * 1024 AS little_memory;

-- Folds that fail leave nothing behind: neither in PostgreSQL's memory nor in json-c's.
CREATE FUNCTION limits.fail(times int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    document jsonb := (SELECT jsonb_build_object('items', jsonb_agg(jsonb_build_object('n', i, 's', 'item')), 'more', '{}'::jsonb) FROM generate_series(1, 50) AS i);
    failures jsonb[] := ARRAY[
        '[{"op": "add", "path": "/items/7/x", "value": {"a": [1, 2]}}, {"op": "add", "path": "/nowhere/x", "value": [1]}]',
        '[{"op": "copy", "from": "/items", "path": "/more/x"}, {"op": "copy", "from": "/items", "path": "/more/y/z"}]',
        '[{"op": "add", "path": "/items/0", "value": [[[]]]}, {"op": "move", "from": "/items", "path": "/nowhere/0"}]',
        '[{"op": "remove", "path": "/items/3/n"}, {"op": "test", "path": "", "value": {}}]',
        '[{"op": "replace", "path": "/items/49/s", "value": "x"}, {"op": "replace", "path": "/items/50", "value": {"large": "value"}}]',
        '[{"op": "add", "path": "/items/0", "value": 1}, {"op": "add", "path": "/items/99", "value": {}}, {"op": "remove", "path": ""}]',
        '[{"op": "add", "path": "/items/0", "value": 1}, {"op": "nonsense"}]',
        '[{"op": "add", "path": "/items/0", "value": 1}, {"op": "add", "path": "", "value": [[[[[[[[[[[]]]]]]]]]]]}]'];
    failed int := 0;
BEGIN
    FOR i IN 1 .. times LOOP
        BEGIN
            IF i % 2 = 0 THEN
                PERFORM asynx.json_patch(document, failures[1 + i % 8]);
            ELSE
                PERFORM asynx.json_patch_agg(p) FROM unnest(ARRAY[jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', document)), failures[1 + i % 8]]) AS p;
            END IF;
        EXCEPTION WHEN SQLSTATE 'SX014' OR SQLSTATE 'SX015' OR SQLSTATE 'SX016' OR SQLSTATE 'SX018' THEN
            failed := failed + 1;
        END;
    END LOOP;
    RETURN failed;
END $$;
SET asynx.max_document_depth = 10;
SELECT limits.fail(1000);
SELECT sum(total_bytes) AS contexts, limits.resident() AS resident FROM pg_backend_memory_contexts \gset
SELECT limits.fail(10000);
SELECT sum(total_bytes) - :contexts < 256 * 1024 AS postgres_memory, limits.resident() - :resident < 512 AS process_memory
FROM pg_backend_memory_contexts;
RESET asynx.max_document_depth;

SET client_min_messages = warning;
DROP SCHEMA limits CASCADE;
