-- Random documents and patches: asynx.json_patch() against PostgreSQL's own functions, byte for byte
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE SCHEMA random_json;
SET search_path = random_json, public;
SELECT setseed(0.5);

-- A random name; short, long, empty and index-like ones, few enough to meet again.
CREATE FUNCTION random_name() RETURNS text LANGUAGE sql VOLATILE AS $$
SELECT (ARRAY['', 'a', 'b', 'cc', 'd~d', 'e/e', '0', '1', '-', 'ä', 'a much longer name than that'])[1 + floor(random() * 11)::int]
       || CASE WHEN random() < 0.3 THEN floor(random() * 40)::text ELSE '' END;
$$;

-- A random scalar: every kind, numbers of many sizes and scales, strings of many lengths.
CREATE FUNCTION random_scalar() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
SELECT CASE floor(random() * 8)::int
       WHEN 0 THEN 'null' WHEN 1 THEN 'true' WHEN 2 THEN 'false'
       WHEN 3 THEN to_jsonb(floor(random() * 100)::int)
       WHEN 4 THEN to_jsonb(round((random() * 1e6)::numeric, floor(random() * 8)::int))
       WHEN 5 THEN to_jsonb((10::numeric ^ floor(random() * 60 - 30)) * floor(random() * 1000)::int)
       ELSE to_jsonb(repeat('x', floor(random() * random() * 40)::int)) END;
$$;

-- A random document of at most so many levels; now and then a container of more than 32 entries.
CREATE FUNCTION random_document(levels int) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    size int := CASE WHEN random() < 0.1 THEN 30 + floor(random() * 80) ELSE floor(random() * 6) END;
    list jsonb[] := '{}';
    object jsonb := '{}';
BEGIN
    IF levels = 0 OR random() < 0.3 THEN
        RETURN random_scalar();
    ELSIF random() < 0.5 THEN
        FOR i IN 1 .. size LOOP
            list := list || random_document(CASE WHEN size > 10 THEN 0 ELSE levels - 1 END);
        END LOOP;
        RETURN to_jsonb(list);
    END IF;
    FOR i IN 1 .. size LOOP
        object := object || jsonb_build_object(random_name(), random_document(CASE WHEN size > 10 THEN 0 ELSE levels - 1 END));
    END LOOP;
    RETURN object;
END $$;

-- Every value in a document, with its path.
CREATE FUNCTION places(document jsonb) RETURNS TABLE (path text[], value jsonb) LANGUAGE sql IMMUTABLE AS $$
WITH RECURSIVE place AS (
    SELECT '{}'::text[] AS path, document AS value
    UNION ALL
    SELECT place.path || child.name, child.value
    FROM place,
         LATERAL (SELECT key AS name, o.value FROM jsonb_each(CASE jsonb_typeof(place.value) WHEN 'object' THEN place.value ELSE '{}' END) AS o
                  UNION ALL
                  SELECT (ordinality - 1)::text, a.value FROM jsonb_array_elements(CASE jsonb_typeof(place.value) WHEN 'array' THEN place.value ELSE '[]' END) WITH ORDINALITY AS a) AS child)
SELECT * FROM place;
$$;

-- A path as a JSON pointer.
CREATE FUNCTION pointer(path text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
SELECT coalesce(string_agg('/' || replace(replace(token, '~', '~0'), '/', '~1'), '' ORDER BY i), '')
FROM unnest(path) WITH ORDINALITY AS t(token, i);
$$;

-- "add" and "remove" with the functions that PostgreSQL has: slow and plain.
CREATE FUNCTION plain_add(document jsonb, path text[], value jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
SELECT CASE WHEN path = '{}' THEN value
            WHEN jsonb_typeof(document #> path[:cardinality(path) - 1]) = 'object' THEN jsonb_set(document, path, value)
            WHEN path[cardinality(path)] = jsonb_array_length(document #> path[:cardinality(path) - 1])::text THEN jsonb_insert(document, path, value, true)
            ELSE jsonb_insert(document, path, value) END;
$$;
CREATE FUNCTION plain_remove(document jsonb, path text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT document #- path';

-- A random place to add to: the root, a member (there or not), an element or the end of an array.
CREATE FUNCTION random_target(document jsonb) RETURNS text[] LANGUAGE sql VOLATILE AS $$
SELECT CASE jsonb_typeof(value) WHEN 'object' THEN path || random_name()
                                WHEN 'array' THEN path || floor(random() * (jsonb_array_length(value) + 1))::int::text
                                ELSE '{}' END
FROM places(document) WHERE jsonb_typeof(value) IN ('array', 'object') OR path = '{}' ORDER BY random() LIMIT 1;
$$;

-- A document, a patch, and what PostgreSQL's functions make of them one operation at a time.
CREATE TYPE fold AS (document jsonb, patch jsonb, expected jsonb);
CREATE FUNCTION random_fold(operations int) RETURNS fold LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    f fold;
    source record;
    target text[];
    kind text;
BEGIN
    f.document := random_document(4);
    f.expected := f.document;
    f.patch := '[]';
    FOR i IN 1 .. operations LOOP
        SELECT * INTO source FROM places(f.expected) ORDER BY random() LIMIT 1;
        kind := (ARRAY['add', 'add', 'remove', 'replace', 'move', 'copy', 'test'])[1 + floor(random() * 7)::int];
        CONTINUE WHEN source.path = '{}' AND (kind IN ('remove', 'move') OR random() < 0.9);
        IF kind = 'test' THEN
            f.patch := f.patch || jsonb_build_object('op', 'test', 'path', pointer(source.path), 'value', source.value);
        ELSIF kind = 'remove' THEN
            f.patch := f.patch || jsonb_build_object('op', 'remove', 'path', pointer(source.path));
            f.expected := plain_remove(f.expected, source.path);
        ELSIF kind = 'replace' THEN
            source.value := random_document(2);
            f.patch := f.patch || jsonb_build_object('op', 'replace', 'path', pointer(source.path), 'value', source.value);
            f.expected := CASE WHEN source.path = '{}' THEN source.value ELSE jsonb_set(f.expected, source.path, source.value) END;
        ELSIF kind = 'move' THEN
            target := random_target(plain_remove(f.expected, source.path));
            CONTINUE WHEN target[:cardinality(source.path)] = source.path AND target <> source.path;
            f.patch := f.patch || jsonb_build_object('op', 'move', 'from', pointer(source.path), 'path', pointer(target));
            f.expected := plain_add(plain_remove(f.expected, source.path), target, source.value);
        ELSE
            target := random_target(f.expected);
            CONTINUE WHEN target = '{}' AND random() < 0.9;
            IF kind = 'add' THEN
                source.value := random_document(2);
                f.patch := f.patch || jsonb_build_object('op', 'add', 'path', pointer(target), 'value', source.value);
            ELSE
                f.patch := f.patch || jsonb_build_object('op', 'copy', 'from', pointer(source.path), 'path', pointer(target));
            END IF;
            f.expected := plain_add(f.expected, target, source.value);
        END IF;
    END LOOP;
    RETURN f;
END $$;

CREATE TABLE folds AS
SELECT i, (f).* FROM (SELECT i, random_fold(1 + i % 12) AS f FROM generate_series(1, 600) AS i OFFSET 0) AS r;

-- Every kind of operation occurs often, and the documents are of every kind.
SELECT operation ->> 'op' AS op, count(*) > 200 AS often
FROM folds, jsonb_array_elements(patch) AS operation GROUP BY 1 ORDER BY 1;
SELECT jsonb_typeof(document) AS kind, count(*) > 10 AS often FROM folds GROUP BY 1 ORDER BY 1;

-- The patch as a whole gives the bytes that PostgreSQL gives; so does each operation as a patch of its own.
SELECT i, document, patch, expected FROM folds WHERE NOT record_image_eq(ROW(asynx.json_patch(document, patch)), ROW(expected));

SELECT i, document, patch, expected
FROM folds, LATERAL (SELECT asynx.json_patch_agg(p ORDER BY n) AS state
                     FROM (SELECT 0 AS n, jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', document)) AS p
                           UNION ALL
                           SELECT n, jsonb_build_array(operation) FROM jsonb_array_elements(patch) WITH ORDINALITY AS o(operation, n)) AS operations) AS folded
WHERE NOT record_image_eq(ROW(state), ROW(expected));

-- The writer alone: every container of every document expanded, then written again.
CREATE FUNCTION expand_everything(document jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
SELECT jsonb_agg(operation ORDER BY path, step)
FROM places(document),
     LATERAL (VALUES (1, jsonb_build_object('op', 'add', 'path', pointer(path || CASE jsonb_typeof(value) WHEN 'array' THEN '-' ELSE 'no such name' END), 'value', 1)),
                     (2, jsonb_build_object('op', 'remove', 'path', pointer(path || CASE jsonb_typeof(value) WHEN 'array' THEN jsonb_array_length(value)::text ELSE 'no such name' END)))) AS s(step, operation)
WHERE jsonb_typeof(value) IN ('array', 'object');
$$;

SELECT count(*) > 100 AS documents, bool_and(record_image_eq(ROW(asynx.json_patch(document, expand_everything(document))), ROW(document))) AS identical
FROM folds WHERE expand_everything(document) IS NOT NULL;

-- Every place is found, by pointer and by "test".
SELECT count(*) > 1000 AS places,
       bool_and(record_image_eq(ROW(asynx.json_pointer(document, pointer(path))), ROW(value))) AS found,
       bool_and(asynx.json_patch(document, jsonb_build_array(jsonb_build_object('op', 'test', 'path', pointer(path), 'value', value))) = document) AS tested
FROM folds, places(document);

SET client_min_messages = warning;
DROP SCHEMA random_json CASCADE;
