-- asynx.json_pointer(): RFC 6901, the value that a pointer leads to
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
\pset format unaligned
\pset null NULL
\set VERBOSITY sqlstate

-- The document of RFC 6901, section 5, and every pointer that is listed there.
CREATE TEMP TABLE example AS
SELECT '{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8}'::jsonb AS document;

SELECT pointer, asynx.json_pointer(document, pointer)
FROM example, unnest(ARRAY['', '/foo', '/foo/0', '/', '/a~1b', '/c%d', '/e^f', '/g|h', '/i\j', '/k"l', '/ ', '/m~0n'])
     AS pointer;

-- "~1" is unescaped before "~0": "~01" is the name "~1", not "/".
SELECT pointer, asynx.json_pointer('{"~1": "tilde one", "/": "slash", "~": "tilde", "~0": "tilde zero", "~~": 2}', pointer)
FROM unnest(ARRAY['/~01', '/~1', '/~0', '/~00', '/~0~0']) AS pointer;

-- An array index is 0 or has no leading zero and no sign, and it never wraps around.
SELECT pointer, asynx.json_pointer('[10, 20, 30, [40]]', pointer)
FROM unnest(ARRAY['/0', '/2', '/3/0', '/4', '/00', '/01', '/+1', '/-1', '/1e0', '/1.0', '/', '/ 1', '/a', '/-',
                  '/999999999', '/4294967296', '/4294967297', '/18446744073709551616',
                  '/100000000000000000000000000000000000000001'])
     AS pointer;

-- In an object the same tokens are names; the empty name is one too.
SELECT pointer, asynx.json_pointer('{"-": 1, "0": 2, "01": 3, "": {"": 4}, "+1": 5}', pointer)
FROM unnest(ARRAY['/-', '/0', '/01', '/', '//', '/+1', '/1', '///']) AS pointer;

-- Scalars: "" is the whole document, nothing is inside.
SELECT document, asynx.json_pointer(document, '') AS whole, asynx.json_pointer(document, '/0') AS inside
FROM unnest(ARRAY['1', '"x"', 'null', 'true', '[]', '{}']::jsonb[]) AS document;

-- JSON null is a value, SQL NULL is where nothing is.
SELECT asynx.json_pointer('{"a": null}', '/a'), asynx.json_pointer('{"a": null}', '/b'),
       asynx.json_pointer('{"a": null}', '/a/b'), asynx.json_pointer(NULL, ''), asynx.json_pointer('1', NULL);

-- Names that are not ASCII; a name and its prefixes are different names.
SELECT pointer, asynx.json_pointer('{"ä": {"日本": [1]}, "a": 2, "aa": 3, "aaa": 4}', pointer)
FROM unnest(ARRAY['/ä/日本/0', '/a', '/aa', '/aaa', '/aaaa']) AS pointer;

-- What is found is what PostgreSQL itself finds, byte for byte, in wide containers too.
WITH wide AS (
    SELECT jsonb_object_agg('k' || i, jsonb_build_array(i, i::text, i * 1.50, NULL)) AS object,
           jsonb_agg(jsonb_build_object('n', i * 1.50, 's', repeat('x', i % 5))) AS list
    FROM generate_series(0, 999) AS i)
SELECT count(*) FILTER (WHERE record_image_eq(ROW(asynx.json_pointer(object, '/k' || i)), ROW(object -> ('k' || i)))) AS members,
       count(*) FILTER (WHERE record_image_eq(ROW(asynx.json_pointer(object, '/k' || i || '/2')), ROW(object #> ARRAY['k' || i, '2']))) AS numbers,
       count(*) FILTER (WHERE record_image_eq(ROW(asynx.json_pointer(list, '/' || i)), ROW(list -> i))) AS elements
FROM wide, generate_series(0, 999) AS i;

-- Pointers longer than any buffer, and with more tokens than a document may have levels.
SELECT asynx.json_pointer(jsonb_build_object(repeat('n', 5000), 1), '/' || repeat('n', 5000)) AS long_name,
       asynx.json_pointer('{}', repeat('/a', 100000)) AS many_tokens;

-- Malformed pointers are errors: no "/" at the start, "~" before anything but 0 and 1, in the last token too.
SELECT asynx.json_pointer('{"a": 1}', 'a');
SELECT asynx.json_pointer('{"a": 1}', ' /a');
SELECT asynx.json_pointer('{"a": 1}', '#/a');
SELECT asynx.json_pointer('{"a": 1}', '/~2');
SELECT asynx.json_pointer('{"a": 1}', '/~');
SELECT asynx.json_pointer('{"a": 1}', '/a/~');
SELECT asynx.json_pointer('{"a": 1}', '/b/~a/c');
SELECT asynx.json_pointer('1', '~0');
\set VERBOSITY terse
SELECT asynx.json_pointer('{"a": 1}', 'a');
SELECT asynx.json_pointer('{"a": 1}', '/~' || repeat('ä', 1000));
