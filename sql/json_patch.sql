-- asynx.json_patch() and asynx.json_patch_agg(): RFC 6902
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
\pset format unaligned
\pset null NULL

-- The patched document, or the SQLSTATE of the error; a result must have the bytes that PostgreSQL would give it.
CREATE FUNCTION pg_temp.patched(document jsonb, patch jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result jsonb;
BEGIN
    result := asynx.json_patch(document, patch);
    IF NOT record_image_eq(ROW(result), ROW(result::text::jsonb)) THEN
        RAISE EXCEPTION 'not canonical: %', result;
    END IF;
    RETURN result;
EXCEPTION WHEN SQLSTATE 'SX014' OR SQLSTATE 'SX015' OR SQLSTATE 'SX016' OR SQLSTATE 'SX018' THEN
    RETURN SQLSTATE;
END $$;

-- The examples of RFC 6902, appendix A.
SELECT example, pg_temp.patched(document, patch)
FROM (VALUES
    ('A.1 adding an object member', '{"foo": "bar"}'::jsonb, '[{"op": "add", "path": "/baz", "value": "qux"}]'::jsonb),
    ('A.2 adding an array element', '{"foo": ["bar", "baz"]}', '[{"op": "add", "path": "/foo/1", "value": "qux"}]'),
    ('A.3 removing an object member', '{"baz": "qux", "foo": "bar"}', '[{"op": "remove", "path": "/baz"}]'),
    ('A.4 removing an array element', '{"foo": ["bar", "qux", "baz"]}', '[{"op": "remove", "path": "/foo/1"}]'),
    ('A.5 replacing a value', '{"baz": "qux", "foo": "bar"}', '[{"op": "replace", "path": "/baz", "value": "boo"}]'),
    ('A.6 moving a value', '{"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}',
     '[{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]'),
    ('A.7 moving an array element', '{"foo": ["all", "grass", "cows", "eat"]}', '[{"op": "move", "from": "/foo/1", "path": "/foo/3"}]'),
    ('A.8 testing a value: success', '{"baz": "qux", "foo": ["a", 2, "c"]}',
     '[{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}]'),
    ('A.9 testing a value: error', '{"baz": "qux"}', '[{"op": "test", "path": "/baz", "value": "bar"}]'),
    ('A.10 adding a nested member object', '{"foo": "bar"}', '[{"op": "add", "path": "/child", "value": {"grandchild": {}}}]'),
    ('A.11 ignoring unrecognized elements', '{"foo": "bar"}', '[{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}]'),
    ('A.12 adding to a nonexistent target', '{"foo": "bar"}', '[{"op": "add", "path": "/baz/bat", "value": "qux"}]'),
    ('A.13 invalid JSON patch document (the last "op" counts)', '{"foo": "bar"}',
     '[{"op": "add", "path": "/baz", "value": "qux", "op": "remove"}]'),
    ('A.14 ~ escape ordering', '{"/": 9, "~1": 10}', '[{"op": "test", "path": "/~01", "value": 10}]'),
    ('A.15 comparing strings and numbers', '{"/": 9, "~1": 10}', '[{"op": "test", "path": "/~01", "value": "10"}]'),
    ('A.16 adding an array value', '{"foo": ["bar"]}', '[{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}]')
) AS t(example, document, patch);

--
-- What a patch looks like
--

-- A patch is an array of objects; "op", "path" and "from" are strings and present, "op" is one of six.
SELECT patch, pg_temp.patched('{"a": 1}', patch)
FROM unnest(ARRAY[
    '[]',
    '{}',
    'null',
    '"add"',
    '[1]',
    '[null]',
    '[[]]',
    '[{}]',
    '[{"path": "/a", "value": 1}]',
    '[{"op": null, "path": "/a", "value": 1}]',
    '[{"op": "ADD", "path": "/a", "value": 1}]',
    '[{"op": "spam", "path": "/a", "value": 1}]',
    '[{"op": "", "path": "/a", "value": 1}]',
    '[{"op": "add", "value": 1}]',
    '[{"op": "add", "path": null, "value": 1}]',
    '[{"op": "add", "path": 0, "value": 1}]',
    '[{"op": "add", "path": "/a"}]',
    '[{"op": "replace", "path": "/a"}]',
    '[{"op": "test", "path": "/a"}]',
    '[{"op": "move", "path": "/a"}]',
    '[{"op": "copy", "path": "/a"}]',
    '[{"op": "copy", "path": "/b", "from": 1}]',
    '[{"op": "move", "path": "/b", "from": null}]']::jsonb[]) AS patch;

-- A value of null is present.
SELECT patch, pg_temp.patched('{"a": 1}', patch)
FROM unnest(ARRAY[
    '[{"op": "add", "path": "/b", "value": null}]',
    '[{"op": "replace", "path": "/a", "value": null}]',
    '[{"op": "test", "path": "/a", "value": null}]']::jsonb[]) AS patch;

-- Members that an operation does not need are ignored, whatever they are.
SELECT patch, pg_temp.patched('{"a": 1}', patch)
FROM unnest(ARRAY[
    '[{"op": "remove", "path": "/a", "value": 2, "from": "no pointer"}]',
    '[{"op": "add", "path": "/b", "value": 2, "from": 7, "comment": {"by": "me"}}]',
    '[{"op": "copy", "from": "/a", "path": "/b", "value": 3, "OP": "x", "Path": 1}]']::jsonb[]) AS patch;

-- Pointers are checked in "path" and "from", the last token too.
SELECT patch, pg_temp.patched('{"a": 1}', patch)
FROM unnest(ARRAY[
    '[{"op": "add", "path": "a", "value": 1}]',
    '[{"op": "remove", "path": "a/b"}]',
    '[{"op": "add", "path": "/~2", "value": 1}]',
    '[{"op": "add", "path": "/a~", "value": 1}]',
    '[{"op": "copy", "from": "/~", "path": "/b"}]',
    '[{"op": "move", "from": "a", "path": "/b"}]']::jsonb[]) AS patch;

-- Messages name the operation (from 0), its kind and its pointers, never a value.
\set VERBOSITY default
SELECT asynx.json_patch('{"secret": "s3cret"}', '[{"op": "test", "path": "/secret", "value": "s3cret"}, {"op": "test", "path": "/secret", "value": "other"}]');
SELECT asynx.json_patch('{"a": ["s3cret"]}', '[{"op": "replace", "path": "/a/1", "value": "s3cret"}]');
SELECT asynx.json_patch('{"a": ["s3cret"]}', '[{"op": "add", "path": "/a/x", "value": "s3cret"}]');
SELECT asynx.json_patch('{"a": "s3cret"}', '[{"op": "copy", "from": "/a/b/c", "path": "/d"}]');
SELECT asynx.json_patch('{"a": "s3cret"}', '[{"op": "copy", "from": "/a", "path": "/b/c"}]');
SELECT asynx.json_patch('{"a": "s3cret"}', '[{"op": "frobnicate", "path": "/a"}]');
SELECT asynx.json_patch('{"a": "s3cret"}', '[{"op": "add", "path": "/b"}]');
SELECT asynx.json_patch('{"a": "s3cret"}', '[{"op": "add", "path": ["s3cret"], "value": 1}]');
SELECT asynx.json_patch('{"a": "s3cret"}', '[{"op": "add", "path": "b", "value": 1}]');
SELECT asynx.json_patch('{"a": "s3cret"}', '["s3cret"]');
SELECT asynx.json_patch('{"a": "s3cret"}', '"s3cret"');
SELECT asynx.json_patch('{"a": "s3cret"}', '[{"op": "remove", "path": ""}]');
SELECT asynx.json_patch('{"a": "s3cret"}', '[{"op": "move", "from": "/a", "path": "/a/b"}]');
\set VERBOSITY terse
SELECT asynx.json_patch('{}', jsonb_build_array(jsonb_build_object('op', 'remove', 'path', '/' || repeat('ä', 1000))));
\set VERBOSITY default

--
-- add
--

-- To an array: before an element, at the end by its length or by "-", never beyond; the index has no other spelling.
SELECT path, pg_temp.patched('[1, 2]', jsonb_build_array(jsonb_build_object('op', 'add', 'path', path, 'value', 'new')))
FROM unnest(ARRAY['/0', '/1', '/2', '/-', '/3', '/00', '/01', '/-1', '/+1', '/1e0', '/1.0', '/', '/a', '/ 0', '/--', '/-/x', '/0/x',
                  '/4294967296', '/4294967298', '/18446744073709551616']) AS path;

-- To an object: a new member, or in place of one; every token is a name.
SELECT path, pg_temp.patched('{"a": 1, "b": null}', jsonb_build_array(jsonb_build_object('op', 'add', 'path', path, 'value', 'new')))
FROM unnest(ARRAY['/a', '/b', '/c', '/', '/-', '/0', '/01', '/a~1b', '/m~0n', '/~01', '/aaaaaaaaaaaaaaaaaaaaaaaaa', '/ä']) AS path;

-- The parent must exist and be a container; "//" is a member named "" of a member named "".
SELECT document, path, pg_temp.patched(document, jsonb_build_array(jsonb_build_object('op', 'add', 'path', path, 'value', 'new')))
FROM (VALUES ('{"a": 1}'::jsonb, '/b/c'), ('{"a": 1}', '/a/c'), ('{"a": null}', '/a/c'), ('{"a": "x"}', '/a/0'), ('{"a": true}', '/a/-'),
             ('{"a": []}', '/a/-'), ('{"a": []}', '/a/0'), ('{"a": []}', '/a/1'), ('{"a": {}}', '/a/-'), ('{"": {}}', '//'),
             ('[[]]', '/0/0'), ('[[]]', '/1/0'), ('[null]', '/0/0')) AS t(document, path);

-- At "" it replaces the document, whatever that is; a scalar has nothing inside to add to.
SELECT document, pg_temp.patched(document, '[{"op": "add", "path": "", "value": {"n": 1}}]') AS whole,
       pg_temp.patched(document, '[{"op": "add", "path": "", "value": 7}]') AS scalar,
       pg_temp.patched(document, '[{"op": "add", "path": "/a", "value": 1}]') AS inside
FROM unnest(ARRAY['1', '"x"', 'null', 'true', '[]', '{}']::jsonb[]) AS document;

--
-- remove, replace, test: the target must be there; null members and elements are
--
SELECT document, path,
       pg_temp.patched(document, jsonb_build_array(jsonb_build_object('op', 'remove', 'path', path))) AS remove,
       pg_temp.patched(document, jsonb_build_array(jsonb_build_object('op', 'replace', 'path', path, 'value', 'new'))) AS replace,
       pg_temp.patched(document, jsonb_build_array(jsonb_build_object('op', 'test', 'path', path, 'value', NULL))) AS test_null
FROM (VALUES ('{"a": null, "b": 1}'::jsonb, '/a'), ('{"a": null, "b": 1}', '/b'), ('{"a": null, "b": 1}', '/c'),
             ('[null, 1]', '/0'), ('[null, 1]', '/1'), ('[null, 1]', '/2'), ('[null, 1]', '/-'), ('[null, 1]', '/01'), ('[null, 1]', '/-/x'),
             ('{"-": null}', '/-'), ('{"0": null}', '/0'), ('{"": null}', '/'), ('{"a/b": null, "m~n": 1}', '/a~1b'),
             ('{"a/b": 1, "m~n": null}', '/m~0n'), ('{"a": {"b": null}}', '/a/b'), ('{"a": {"b": null}}', '/a/b/c'),
             ('null', ''), ('{"a": 1}', '')) AS t(document, path);

--
-- move: remove, then add
--
SELECT statement, pg_temp.patched(document, patch)
FROM (VALUES
    ('the index counts after the removal', '[1, 2, 3]'::jsonb, '[{"op": "move", "from": "/0", "path": "/2"}]'::jsonb),
    ('so the old length is beyond the end', '[1, 2, 3]', '[{"op": "move", "from": "/0", "path": "/3"}]'),
    ('"-" is the end', '[1, 2, 3]', '[{"op": "move", "from": "/0", "path": "/-"}]'),
    ('"-" is nothing to move', '[1, 2, 3]', '[{"op": "move", "from": "/-", "path": "/0"}]'),
    ('to the front', '[1, 2, 3]', '[{"op": "move", "from": "/2", "path": "/0"}]'),
    ('the target''s path is resolved after the removal', '[[1], [2], [3]]', '[{"op": "move", "from": "/0", "path": "/1/0"}]'),
    ('rename', '{"a": 1}', '[{"op": "move", "from": "/a", "path": "/b"}]'),
    ('over an existing member', '{"a": 1, "b": 2}', '[{"op": "move", "from": "/a", "path": "/b"}]'),
    ('null moves too', '{"a": null, "b": [null]}', '[{"op": "move", "from": "/a", "path": "/c"}, {"op": "move", "from": "/b/0", "path": "/d"}]'),
    ('to the whole document', '{"a": {"b": 1}}', '[{"op": "move", "from": "/a", "path": ""}]'),
    ('onto its own parent', '{"a": {"b": 1}}', '[{"op": "move", "from": "/a/b", "path": "/a"}]'),
    ('the source must be there', '{"a": 1}', '[{"op": "move", "from": "/b", "path": "/c"}]'),
    ('the target''s parent must be there', '{"a": 1}', '[{"op": "move", "from": "/a", "path": "/b/c"}]'),
    ('onto itself: no change', '{"a": [1, 2]}', '[{"op": "move", "from": "/a/1", "path": "/a/1"}, {"op": "move", "from": "/a", "path": "/a"}, {"op": "move", "from": "", "path": ""}]'),
    ('onto itself, but not there', '{"a": [1, 2]}', '[{"op": "move", "from": "/a/2", "path": "/a/2"}]'),
    ('into itself', '{"a": {"b": 1}}', '[{"op": "move", "from": "/a", "path": "/a/b"}]'),
    ('into itself, deeper', '{"a": {"b": {}}}', '[{"op": "move", "from": "/a", "path": "/a/b/c"}]'),
    ('into itself, although it is not there', '{}', '[{"op": "move", "from": "/x", "path": "/x/y"}]'),
    ('the whole document into itself', '{"a": 1}', '[{"op": "move", "from": "", "path": "/b"}]'),
    ('a common prefix of names is none of tokens', '{"a": 1, "ab": {}}', '[{"op": "move", "from": "/a", "path": "/ab"}, {"op": "move", "from": "/ab", "path": "/abc"}]'),
    ('tokens count as unescaped', '{"~": {"b": 1}, "a/b": {}}', '[{"op": "move", "from": "/~0", "path": "/~0/b"}]'),
    ('an escaped slash does not separate', '{"a": 1}', '[{"op": "move", "from": "/a", "path": "/a~1b"}]'),
    ('a changed container moves as it is', '{"a": {"b": [1]}, "c": {}}', '[{"op": "add", "path": "/a/b/0", "value": 0}, {"op": "move", "from": "/a", "path": "/c/d"}, {"op": "add", "path": "/c/d/b/-", "value": 2}]')
) AS t(statement, document, patch);

--
-- copy: deep, also into its own child
--
SELECT statement, pg_temp.patched(document, patch)
FROM (VALUES
    ('element', '[1, 2]'::jsonb, '[{"op": "copy", "from": "/0", "path": "/0"}, {"op": "copy", "from": "/2", "path": "/-"}]'::jsonb),
    ('over a member', '{"a": 1, "b": 2}', '[{"op": "copy", "from": "/a", "path": "/b"}]'),
    ('null', '{"a": null, "b": [null]}', '[{"op": "copy", "from": "/a", "path": "/c"}, {"op": "copy", "from": "/b/0", "path": "/b/0"}]'),
    ('a later change of the copy leaves the source alone', '{"a": {"b": [1]}}', '[{"op": "copy", "from": "/a", "path": "/c"}, {"op": "add", "path": "/c/b/-", "value": 2}]'),
    ('and of the source the copy', '{"a": {"b": [1]}}', '[{"op": "copy", "from": "/a", "path": "/c"}, {"op": "add", "path": "/a/b/-", "value": 2}]'),
    ('also where the source had been changed', '{"a": {"b": [1]}}', '[{"op": "add", "path": "/a/b/-", "value": 2}, {"op": "copy", "from": "/a", "path": "/c"}, {"op": "remove", "path": "/a/b/0"}, {"op": "add", "path": "/c/b/-", "value": 3}]'),
    ('into its own child', '{"a": {"b": 1}}', '[{"op": "copy", "from": "/a", "path": "/a/b"}]'),
    ('the whole document into itself', '{"a": 1}', '[{"op": "copy", "from": "", "path": "/b"}, {"op": "copy", "from": "", "path": "/b/c"}]'),
    ('a part as the whole document', '{"a": {"b": [1, 2]}}', '[{"op": "copy", "from": "/a/b", "path": ""}]'),
    ('onto itself', '{"a": 1}', '[{"op": "copy", "from": "/a", "path": "/a"}, {"op": "copy", "from": "", "path": ""}]'),
    ('the source must be there', '{"a": 1}', '[{"op": "copy", "from": "/b", "path": "/a"}]'),
    ('onto itself, but not there', '{"a": 1}', '[{"op": "copy", "from": "/b", "path": "/b"}]'),
    ('"-" is nothing to copy', '[1]', '[{"op": "copy", "from": "/-", "path": "/0"}]'),
    ('beyond the end', '[1]', '[{"op": "copy", "from": "/0", "path": "/2"}]')
) AS t(statement, document, patch);

--
-- test: type and value, numbers by value, objects without order
--
SELECT a, b, pg_temp.patched(jsonb_build_object('a', a), jsonb_build_array(jsonb_build_object('op', 'test', 'path', '/a', 'value', b))) NOT LIKE 'SX016' AS equal
FROM (VALUES
    ('1'::jsonb, '1.0'::jsonb), ('1', '1e0'), ('100', '1e2'), ('0', '-0.0'), ('0.1000', '0.1'), ('1', '2'), ('1', '"1"'), ('1', 'true'), ('0', 'false'),
    ('0', 'null'), ('null', 'null'), ('null', 'false'), ('true', 'true'), ('true', 'false'), ('""', 'null'), ('""', '""'), ('"a"', '"A"'), ('"a"', '"a "'),
    ('"\u00e4"', '"ä"'), ('[]', '{}'), ('[]', '[]'), ('{}', '{}'), ('[]', 'null'), ('[1]', '1'), ('[1, 2]', '[1.0, 2.00]'), ('[1, 2]', '[2, 1]'), ('[1]', '[1, 1]'),
    ('{"a": 1, "b": [2]}', '{"b": [2.0], "a": 1e0}'), ('{"a": 1}', '{"a": 1, "b": null}'), ('{"a": null}', '{}'), ('{"a": 1}', '{"b": 1}'),
    ('1e400', '1e400'), ('1e400', '2e400'), ('123456789012345678901', '123456789012345678902'), ('18446744073709551616', '18446744073709551617'),
    ('9007199254740993', '9007199254740992.0')) AS t(a, b);

-- It sees what the operations before it did, at every level.
SELECT pg_temp.patched('{"a": {"b": [1, {"c": 2}]}}', patch)
FROM unnest(ARRAY[
    '[{"op": "add", "path": "/a/b/1/d", "value": null}, {"op": "test", "path": "", "value": {"a": {"b": [1.0, {"d": null, "c": 2}]}}}]',
    '[{"op": "add", "path": "/a/b/1/d", "value": null}, {"op": "test", "path": "/a", "value": {"b": [1, {"c": 2}]}}]',
    '[{"op": "remove", "path": "/a/b/0"}, {"op": "test", "path": "/a/b/0", "value": {"c": 2}}, {"op": "test", "path": "/a/b/0/c", "value": 2}]',
    '[{"op": "remove", "path": "/a/b"}, {"op": "test", "path": "/a", "value": {}}]']::jsonb[]) AS patch;

--
-- The whole patch, or nothing
--

-- An error in any operation takes back those before it.
CREATE TEMP TABLE documents (document jsonb);
INSERT INTO documents VALUES ('{"a": {"b": 1}}');
\set VERBOSITY sqlstate
UPDATE documents SET document = asynx.json_patch(document, '[{"op": "add", "path": "/a/c", "value": 2}, {"op": "remove", "path": "/x"}]');
UPDATE documents SET document = asynx.json_patch(document, '[{"op": "add", "path": "/a/c", "value": 2}, {"op": "test", "path": "/a/b", "value": 2}]');
UPDATE documents SET document = asynx.json_patch(document, '[{"op": "add", "path": "/a/c", "value": 2}, {"op": "nonsense", "path": "/a/b"}]');
\set VERBOSITY default
TABLE documents;

-- No operation changes no byte.
SELECT record_image_eq(ROW(asynx.json_patch(document, '[]')), ROW(document)) AS identical
FROM unnest(ARRAY['1', '1.50', '"x"', 'null', 'false', '[]', '{}', '[1, "a", 2.50]', '{"aa": 1, "b": [1e2]}']::jsonb[]) AS document;

-- The member order of the patch and of the document does not matter, nor do NULL arguments.
SELECT asynx.json_patch('{"bb": 1, "a": 2}', '[{"value": 3, "path": "/ccc", "op": "add"}]'), asynx.json_patch(NULL, '[]'), asynx.json_patch('{}', NULL);

--
-- asynx.json_patch_agg()
--
CREATE TEMP TABLE patches (n int, stream text, patch jsonb);
INSERT INTO patches VALUES
    (3, 'a', '[{"op": "add", "path": "/lines/-", "value": "two"}]'),
    (1, 'a', '[{"op": "add", "path": "", "value": {"lines": []}}]'),
    (2, 'a', '[{"op": "add", "path": "/lines/-", "value": "one"}]'),
    (4, 'a', NULL),
    (5, 'a', '[{"op": "move", "from": "/lines/0", "path": "/lines/1"}]'),
    (1, 'b', '[{"op": "replace", "path": "", "value": 7}]'),
    (2, 'b', '[{"op": "test", "path": "", "value": 7.0}]'),
    (1, 'c', NULL),
    (1, 'd', '[]');

-- Patches are folded onto a null document in the given order; NULL patches are skipped, without any the result is NULL.
SELECT stream, asynx.json_patch_agg(patch ORDER BY n) FROM patches GROUP BY stream ORDER BY stream;
SELECT asynx.json_patch_agg(patch ORDER BY n) FROM patches WHERE false;

-- As a window function it gives the state after each event.
SELECT n, asynx.json_patch_agg(patch) OVER (ORDER BY n) FROM patches WHERE stream = 'a' ORDER BY n;
SELECT n, asynx.json_patch_agg(patch) OVER (ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM patches WHERE stream = 'a' ORDER BY n;

-- The same by hashing, with a fold in progress for every group.
SET enable_sort = off;
SELECT count(*), count(DISTINCT state) AS states, min(state::text), max(state::text)
FROM (SELECT g, asynx.json_patch_agg(jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', jsonb_build_object('group', g)))) AS state
      FROM generate_series(1, 1000) AS g GROUP BY g) AS s;
RESET enable_sort;

-- An error in a fold names the operation of the patch at hand.
\set VERBOSITY terse
SELECT asynx.json_patch_agg(patch ORDER BY n DESC) FROM patches WHERE stream = 'a';
