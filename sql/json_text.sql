-- asynx.json_patch_text and asynx.json_diff_text: as if the text were cast to jsonb and back
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE SCHEMA json_text;
SET search_path = json_text, public;
SELECT setseed(0.25);

SELECT asynx.json_patch_text(' {"b": [1, 2.50], "a":"\u0041\n", "b" : [1,2.50]}', '[{"op": "add", "path": "/b/-", "value": 3}]') AS patched;
SELECT asynx.json_diff_text('{"a": 1, "b": [1, 2]}', '{"a": 1, "b": [1, 2, 3]}') AS diff;
SELECT asynx.json_patch_text(NULL, '[]') IS NULL AS no_document, asynx.json_diff_text('[]', NULL) IS NULL AS no_target;

-- What came of it: the text, or the error with all that it says.
CREATE FUNCTION outcome(statement text, first text, second text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
    state text;
    message text;
    detail text;
BEGIN
    EXECUTE statement USING first, second INTO result;
    RETURN 'ok ' || result;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
    RETURN concat_ws(': ', state, message, detail);
END $$;

-- The two ways, side by side.
CREATE FUNCTION patched_ways(document text, patch text, OUT by_text text, OUT by_jsonb text) LANGUAGE sql AS $$
SELECT outcome('SELECT asynx.json_patch_text($1, $2)', document, patch),
       outcome('SELECT asynx.json_patch($1::jsonb, $2::jsonb)::text', document, patch);
$$;
CREATE FUNCTION diff_ways(source text, target text, OUT by_text text, OUT by_jsonb text) LANGUAGE sql AS $$
SELECT outcome('SELECT asynx.json_diff_text($1, $2)', source, target),
       outcome('SELECT asynx.json_diff($1::jsonb, $2::jsonb)::text', source, target);
$$;

--
-- Chosen texts
--
CREATE TEMP TABLE chosen (i serial, document text);
INSERT INTO chosen (document) VALUES
    -- scalars, empty containers, white space
    ('null'), ('true'), (' false '), ('0'), ('"x"'), ('""'), ('[]'), ('{}'), (E'\t\r\n [ ] \n'), ('{"": {}, "a": []}'),
    -- numbers: zeros, signs, scales, the digits that an int64 has and more, exponents
    ('[-0, -0.0, 0.00, 1.0, 1.50, -1.05, 100, 10000, 100000000, 0.0001, 0.00001, -0.000100]'),
    ('[123456789012345678, 1234567890123456789, 12345678901234567, -12345678901234567, 0.1234567890123456, 0.12345678901234567, 9223372036854775808]'),
    ('[1e2, 1E+2, 1e-2, 1.5e3, -0e0, 1e400, 1e-400]'), ('[1e131071]'), ('[1e131072]'), ('[1e999999999999]'), ('1e-20000'),
    ('[01]'), ('[1.]'), ('[.5]'), ('[+1]'), ('[-]'), ('[1e]'), ('[1e+]'), ('[0x10]'), ('[1a]'), ('[--1]'), ('[1.5.5]'), ('[NaN]'), ('[Infinity]'),
    -- strings: escapes, characters that need one, runs of many lengths, surrogates, what is no string
    ('["\"\\\/\b\f\n\r\t", "/", "\u0001\u001f\u0020\u007f"]'), ('["a\u00e4\u20ac\ud83d\ude00z", "ä€😀"]'),
    ('["12345678", "1234567\"", "12345678\\", "123456789012345\n67", "\t234567812345678", "ääääääää\u0000"]'),
    ('["\u0000"]'), ('["\ud83d"]'), ('["\ude00"]'), ('["\ud83dx"]'), ('["\ud83d\ud83d"]'), ('["\u12"]'), ('["\u12g4"]'), ('["\x"]'), ('["abc'), (E'["a\tb"]'), (E'["a\nb"]'),
    -- keys: the order of jsonb, the same key more than once, escaped and not, alike in their first bytes
    ('{"b": 1, "a": 2, "aa": 3, "": 4, "Z": 5, "zz": 6, "abcde": 7, "abcdf": 8, "abcd": 9, "abce": 10, "ä": 11, "aä": 12}'),
    ('{"a": 1, "b": 2, "a": 3, "\u0061": 4}'), ('{"abcdefgh": 1, "abcdefgi": 2, "abcdefgh": {"x": [1], "x": 2}}'), ('{"a": {"b": 1}, "a": 5, "a": [{"c": 1}]}'),
    -- no JSON
    (''), ('  '), ('nul'), ('nulll'), ('[1'), ('[1,'), ('[1,]'), ('[,1]'), ('[1 2]'), ('[1]]'), ('[1] 2'), ('{'), ('{"a"'), ('{"a":'), ('{"a":1'), ('{"a":1,'),
    ('{"a":1,}'), ('{"a" 1}'), ('{a: 1}'), ('{1: 1}'), ('{"a": 1 "b": 2}'), ('{"a": 1, 2}'), ('{"a": 1]'), ('[1}'), (']'), ('}'), (':'), (','), ('{,}'), ('{:1}'),
    -- which of two errors comes first
    ('[1e999999 "\ud83d"]'), ('[1e999999, "\ud83d"]'), ('["\ud83d", 1e999999]'), ('[1e999999'), ('{"a": 1e999999 x'), ('["\x", 1e999999}');
SELECT count(*), count(*) FILTER (WHERE by_text LIKE 'ok %') AS accepted, count(*) FILTER (WHERE by_text IS DISTINCT FROM by_jsonb) AS different
FROM chosen, patched_ways(document, '[]');
SELECT document, by_text, by_jsonb FROM chosen, patched_ways(document, '[]') WHERE by_text IS DISTINCT FROM by_jsonb ORDER BY i;
SELECT count(DISTINCT by_text), count(*) FILTER (WHERE by_text IS DISTINCT FROM by_jsonb) AS different
FROM chosen, patched_ways('{"a": [1]}', document);
SELECT count(*), count(*) FILTER (WHERE by_text IS DISTINCT FROM by_jsonb) AS different
FROM chosen AS a, chosen AS b, diff_ways(a.document, b.document) WHERE (a.i + b.i) % 5 = 0;

-- A patch's errors are json_patch's.
SELECT patch, by_text, by_text = by_jsonb AS same
FROM unnest(ARRAY['{}', '[1]', '[{"op": "add"}]', '[{"op": "remove", "path": "/x"}]', '[{"op": "test", "path": "/a", "value": 2}]']) AS patch,
     patched_ways('{"a": 1}', patch);

-- Limits are those of documents; nesting that no stack holds is refused.
SET asynx.max_document_size = '1kB';
SELECT substring(by_text FOR 5) AS state, by_text = by_jsonb AS same FROM patched_ways('"' || repeat('x', 2000) || '"', '[]');
RESET asynx.max_document_size;
SELECT substring(by_text FOR 5) AS state, by_text = by_jsonb AS same
FROM unnest(ARRAY['[', '{"a":', '[[1],']) AS opening, patched_ways(repeat(opening, 1000000), '[]');

-- Large: containers beyond the first offsets, long strings, many members in any order.
CREATE TEMP TABLE large AS
SELECT (SELECT string_agg(format('"%s": %s', md5(g::text), g), ', ') FROM generate_series(1, 20000) AS g) AS members;
SELECT count(*), bool_and(by_text LIKE 'ok %') AS accepted, bool_and(by_text = by_jsonb) AS same
FROM large,
     LATERAL unnest(ARRAY['{' || members || '}', '{' || members || ', ' || members || '}', '[' || repeat('{},[],0,"",', 50000) || 'null]',
                          '["' || repeat(E'a\\n', 300000) || '", "' || repeat('x', 3000000) || '"]', '[' || repeat('1,', 500000) || '1]']) AS document,
     patched_ways(document, '[{"op": "add", "path": "/9", "value": {"b": 1, "a": 2}}, {"op": "remove", "path": "/9"}]');

--
-- Random texts
--

-- Characters that lie between tokens, mostly none.
CREATE FUNCTION space() RETURNS text LANGUAGE sql VOLATILE AS $$
SELECT CASE WHEN random() < 0.7 THEN '' ELSE (ARRAY[' ', E'\n', E'\t', E'\r', '   ', E' \r\n '])[1 + floor(random() * 6)::int] END;
$$;

-- A random string: every escape, characters of one to four bytes, few enough short ones to meet again.
CREATE FUNCTION random_string() RETURNS text LANGUAGE sql VOLATILE AS $$
SELECT '"' || coalesce(string_agg((ARRAY['a', 'b', 'c', 'long run of letters ', 'ä', '€', '😀', '\"', '\\', '\/', '\b', '\f', '\n', '\r', '\t',
    '\u0041', '\u00e4', '\ud83d\ude00', '\u0007', chr(127)])[1 + floor(random() * CASE WHEN random() < 0.6 THEN 3 ELSE 20 END)::int], ''), '') || '"'
FROM generate_series(1, floor(random() * random() * 9)::int);
$$;

-- A random number: signs, scales, exponents, leading zeros where they may stand.
CREATE FUNCTION random_number() RETURNS text LANGUAGE sql VOLATILE AS $$
SELECT CASE WHEN random() < 0.3 THEN '-' ELSE '' END
    || CASE WHEN random() < 0.2 THEN '0' ELSE (1 + floor(random() * 9))::text || left(lpad(floor(random() * 1e15)::text, 22, '0'), floor(random() * random() * 22)::int) END
    || CASE WHEN random() < 0.4 THEN '.' || left(reverse(floor(random() * 1e9)::text) || '000000000000', 1 + floor(random() * random() * 20)::int) ELSE '' END
    || CASE WHEN random() < 0.1 THEN (ARRAY['e', 'E'])[1 + floor(random() * 2)::int] || (ARRAY['', '+', '-'])[1 + floor(random() * 3)::int] || floor(random() * 40)::text ELSE '' END;
$$;

-- A random document as text.
CREATE FUNCTION random_text(levels int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    size int := CASE WHEN random() < 0.03 THEN 30 + floor(random() * 80) ELSE floor(random() * 6) END;
    parts text[] := '{}';
    inner_levels int := CASE WHEN size > 10 THEN 0 ELSE levels - 1 END;
BEGIN
    IF levels = 0 OR random() < 0.2 THEN
        RETURN space() || CASE floor(random() * 6)::int WHEN 0 THEN 'null' WHEN 1 THEN 'true' WHEN 2 THEN 'false' WHEN 3 THEN random_string() ELSE random_number() END || space();
    ELSIF random() < 0.5 THEN
        FOR i IN 1 .. size LOOP
            parts := parts || random_text(inner_levels);
        END LOOP;
        RETURN space() || '[' || space() || array_to_string(parts, ',') || ']' || space();
    END IF;
    FOR i IN 1 .. size LOOP
        parts := parts || (space() || random_string() || space() || ':' || random_text(inner_levels));
    END LOOP;
    RETURN space() || '{' || space() || array_to_string(parts, ',') || '}' || space();
END $$;

-- The same with a character left out, doubled or replaced: mostly no JSON any more.
CREATE FUNCTION damaged(document text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    at int := 1 + floor(random() * length(document))::int;
BEGIN
    RETURN overlay(document PLACING CASE floor(random() * 4)::int WHEN 0 THEN '' WHEN 1 THEN repeat(substring(document FROM at FOR 1), 2)
        ELSE (ARRAY['"', '\', '{', '}', '[', ']', ',', ':', '0', '-', '.', 'e', 't', 'ä', ' ', chr(1), 'u', 'd'])[1 + floor(random() * 18)::int] END FROM at FOR 1);
END $$;

CREATE TEMP TABLE random_texts AS
SELECT i, random_text(4) AS document, random_text(4) AS other FROM generate_series(1, 4000) AS i;
CREATE TEMP TABLE damaged_texts AS
SELECT i, damaged(document) AS document FROM random_texts;

-- Whole ones are accepted, damaged ones now and then; each has the same outcome either way.
SELECT count(*), count(*) FILTER (WHERE by_text NOT LIKE 'ok %') AS refused, count(*) FILTER (WHERE by_text IS DISTINCT FROM by_jsonb) AS different
FROM random_texts, patched_ways(document, '[]');
SELECT count(*), count(*) FILTER (WHERE by_text LIKE 'ok %') BETWEEN 400 AND 3600 AS some_refused, count(*) FILTER (WHERE by_text IS DISTINCT FROM by_jsonb) AS different
FROM damaged_texts, patched_ways(document, '[]');
SELECT count(*), count(*) FILTER (WHERE by_text IS DISTINCT FROM by_jsonb) AS different
FROM random_texts, patched_ways(document, format('[{"op": "test", "path": "", "value": %s}, {"op":"replace","path":"","value":%s}]', document, other));
SELECT count(*), count(*) FILTER (WHERE by_text IS DISTINCT FROM by_jsonb) AS different
FROM random_texts, diff_ways(document, other);

-- So they are in the patch's place, and the diff's patch leads from one to the other.
SELECT count(*), count(*) FILTER (WHERE by_text IS DISTINCT FROM by_jsonb) AS different
FROM damaged_texts, patched_ways('{}', document);
SELECT count(*) FILTER (WHERE asynx.json_patch_text(document, asynx.json_diff_text(document, other)) IS DISTINCT FROM other::jsonb::text) AS different
FROM random_texts;

SELECT document, by_text, by_jsonb FROM random_texts, patched_ways(document, '[]') WHERE by_text IS DISTINCT FROM by_jsonb ORDER BY i LIMIT 3;
SELECT document, by_text, by_jsonb FROM damaged_texts, patched_ways(document, '[]') WHERE by_text IS DISTINCT FROM by_jsonb ORDER BY i LIMIT 3;

SET client_min_messages = warning;
DROP SCHEMA json_text CASCADE;
