-- asynx.json_diff(): a short patch that turns one document into another
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- The patch, and whether applying it to a gives b byte for byte (1.0 is not 1 here).
CREATE FUNCTION pg_temp.diff(a jsonb, b jsonb, OUT patch jsonb, OUT identical boolean)
LANGUAGE sql IMMUTABLE AS $$
  SELECT p, record_image_eq(row(asynx.json_patch(a, p)), row(b)) FROM asynx.json_diff(a, b) AS p;
$$;

-- Documents that are the same, or differ in nothing but a number's scale.
SELECT a, b, patch, identical
FROM (VALUES ('{"a": [1, 2, {"b": null}]}', '{"a": [1, 2, {"b": null}]}'),
             ('1', '1'),
             ('1', '1.0'),
             ('{"n": 1.0}', '{"n": 1}'),
             ('[0.10, 0.20, 0.30, 0.40, 0.50]', '[0.10, 0.2, 0.30, 0.40, 0.50]'),
             ('null', '{}'),
             ('[]', '{}'),
             ('{"a": false}', '{"a": null}')) AS t (a, b),
     pg_temp.diff(a::jsonb, b::jsonb);

-- Objects: added, removed, changed and renamed members; names are escaped.
SELECT a, b, patch, identical
FROM (VALUES ('{"a": 1}', '{"a": 1, "b": 2}'),
             ('{"a": 1, "b": 2}', '{"b": 2}'),
             ('{"a": {"b": {"c": 1, "d": "unchanged and long"}}}', '{"a": {"b": {"c": 2, "d": "unchanged and long"}}}'),
             ('{"old": {"x": [1, 2, 3]}, "y": 0}', '{"new": {"x": [1, 2, 3]}, "y": 0}'),
             ('{"a": "same value", "b": "same value"}', '{"c": "same value", "d": "same value"}'),
             ('{"a/b": 1, "m~n": 1, "": 1, "-": "long enough"}', '{"a/b": 2, "m~n": 2, "": 2, "-": "long enough"}'),
             ('{"a": {"x": 1, "y": 2, "z": 3}}', '{"a": {"p": 4, "q": 5, "r": 6}}')) AS t (a, b),
     pg_temp.diff(a::jsonb, b::jsonb);

-- Arrays: elements inserted, removed, changed, moved; each index holds when its operation is reached.
CREATE FUNCTION pg_temp.list(names text[]) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_object('list', coalesce(jsonb_agg(jsonb_build_object('name', name, 'text', repeat(name, 30)) ORDER BY i), '[]'))
  FROM unnest(names) WITH ORDINALITY AS n (name, i);
$$;
SELECT a, b, patch, identical
FROM (VALUES ('{a,b,c,d}', '{a,c,d}'),
             ('{a,b,c,d}', '{}'),
             ('{}', '{a}'),
             ('{a,b,c,d}', '{a,b,x,c,d}'),
             ('{a,b,c,d}', '{d,a,b,c}'),
             ('{a,b,c,d}', '{b,c,d,a}'),
             ('{a,b,c,d,e,f}', '{f,b,c,d,e,a}'),
             ('{a,b,c,d,e,f}', '{c,a,b,f,d,e}'),
             ('{a,b,c,d,e,f}', '{f,a,d,x,c}'),
             ('{a,b,c}', '{a,b,b,c}')) AS t (a, b),
     pg_temp.diff(pg_temp.list(a::text[]), pg_temp.list(b::text[]));

-- An element that is changed is looked into; one that has little in common with the old one is replaced.
SELECT patch, identical
FROM (VALUES ('{list,1,name}', '"renamed"'),
             ('{list,1}', '{"kind": "other", "parts": [1, 2]}')) AS t (path, value),
     pg_temp.diff(pg_temp.list('{a,b,c}'), jsonb_set(pg_temp.list('{a,b,c}'), path::text[], value::jsonb));

-- Where most of a container is new, one replacement is shorter.
SELECT patch, identical FROM pg_temp.diff('[1, 2, 3, 4, 5, 6]', '[6, 5, 4, 3, 2, 1]');

-- Changes to an order of about 100 KB stay as small as they are.
CREATE FUNCTION pg_temp.item(i bigint) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_object('id', i, 'sku', 'SKU-' || i * 7919 % 100000, 'qty', 1 + i % 9, 'name', 'Product number ' || i,
                            'price', i * 37 % 10000 / 100.0, 'tags', jsonb_build_array('tag ' || i % 5, 'new'), 'gift', i % 3 = 0, 'note', NULL);
$$;
CREATE TEMPORARY TABLE orders AS
SELECT jsonb_build_object('order', 17, 'items', jsonb_agg(pg_temp.item(i) ORDER BY i),
                          'lines', jsonb_object_agg('line ' || i, pg_temp.item(i + 1000))) AS a
FROM generate_series(1, 300) AS i;
SELECT change, jsonb_array_length(patch) AS operations, length(patch::text) AS length, identical
FROM orders,
     LATERAL (VALUES
       ('leaf', jsonb_set(a, '{items,150,price}', '77.70')),
       ('insert at the head', jsonb_insert(a, '{items,0}', pg_temp.item(5000))),
       ('remove from the middle', a #- '{items,150}'),
       ('last to first', jsonb_insert(a #- '{items,-1}', '{items,0}', a #> '{items,-1}')),
       ('20 % of the items', jsonb_set(a, '{items}', (SELECT jsonb_agg(CASE WHEN i % 5 = 0 THEN jsonb_set(item, '{price}', '-1') ELSE item END ORDER BY i)
                                                     FROM jsonb_array_elements(a -> 'items') WITH ORDINALITY AS e (item, i)))),
       ('rename', jsonb_set(a #- '{lines,line 7}', '{lines,renamed}', a #> '{lines,line 7}')),
       ('replace a subtree', jsonb_set(a, '{items,150}', '{"kind": "bundle", "parts": [1, 2, 3], "label": "something else", "active": true}')),
       ('3 removed, 3 inserted', jsonb_insert(jsonb_insert(jsonb_insert(a #- '{items,250}' #- '{items,150}' #- '{items,50}',
                                 '{items,280}', pg_temp.item(5001)), '{items,180}', pg_temp.item(5002)), '{items,80}', pg_temp.item(5003)))) AS c (change, b),
     pg_temp.diff(a, b);

-- Arrays that have nothing, or everything but the order, in common; and one too large to be aligned.
SELECT name, jsonb_array_length(patch) AS operations, identical
FROM (SELECT 'different', jsonb_agg(pg_temp.item(i)), jsonb_agg(pg_temp.item(i + 3000)) FROM generate_series(1, 3000) AS i
      UNION ALL
      SELECT 'shuffled', jsonb_agg(pg_temp.item(i) ORDER BY i), jsonb_agg(pg_temp.item(i) ORDER BY i * 7919 % 3001) FROM generate_series(1, 3000) AS i
      UNION ALL
      SELECT 'large, changed', jsonb_agg(i), jsonb_agg(CASE WHEN i % 100000 = 0 THEN -i ELSE i END) FROM generate_series(1, 1100000) AS i
      UNION ALL
      SELECT 'large, shorter', jsonb_agg(i), jsonb_agg(i) FILTER (WHERE i < 1100000) FROM generate_series(1, 1100001) AS i
      UNION ALL
      SELECT 'large, longer', jsonb_agg(i) FILTER (WHERE i < 1100000), jsonb_agg(i) FROM generate_series(1, 1100001) AS i
      UNION ALL
      SELECT 'large, shifted', jsonb_agg(i), jsonb_agg(i + 1) FROM generate_series(1, 1100000) AS i) AS t (name, a, b),
     pg_temp.diff(a, b);

-- Random pairs of documents that share most of what they consist of.
SELECT setseed(0.25);
CREATE FUNCTION pg_temp.document() RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_object('status', (ARRAY['"open"', '"paid"', 'null', '1', '1.0', '{}', '[]'])[1 + floor(random() * 7)]::jsonb,
                            'items', coalesce(jsonb_agg(pg_temp.item(floor(random() * 30)::int) ORDER BY random()), '[]'),
                            'codes', coalesce(jsonb_agg(floor(random() * 4)), '[]'),
                            'lines', coalesce(jsonb_object_agg('line ' || floor(random() * 9), pg_temp.item(i % 5)), '{}'))
  FROM generate_series(1, floor(random() * 12)::int) AS i;
$$;
SELECT count(*), count(*) FILTER (WHERE identical) AS identical, sum(jsonb_array_length(patch)) > count(*) AS changed
FROM (SELECT pg_temp.document() AS a, pg_temp.document() AS b FROM generate_series(1, 2000) OFFSET 0) AS pairs,
     pg_temp.diff(a, b);

-- Below long names, and at every level of a deep document: no more is collected than a replacement takes.
CREATE FUNCTION pg_temp.nested(levels int, list text) RETURNS jsonb LANGUAGE sql AS $$
  SELECT (repeat('[' || list || ', ', levels) || '0' || repeat(']', levels))::jsonb;
$$;
SELECT name, jsonb_array_length(patch) AS operations, length(patch #>> '{0,path}') AS path, identical
FROM (SELECT 'elements removed' AS name, jsonb_build_object(repeat('k', 20000), jsonb_agg(i)) AS a, jsonb_build_object(repeat('k', 20000), '[]'::jsonb) AS b
      FROM generate_series(1, 60000) AS i
      UNION ALL
      SELECT 'other members', jsonb_build_object(repeat('k', 20000), jsonb_object_agg('a' || i, i)), jsonb_build_object(repeat('k', 20000), jsonb_object_agg('b' || i, -i))
      FROM generate_series(1, 60000) AS i
      UNION ALL
      SELECT format('%s levels of %s', levels, size), pg_temp.nested(levels, string_agg((2 * i)::text, ',')), pg_temp.nested(levels, string_agg((2 * i + 1)::text, ','))
      FROM unnest(ARRAY[3, 30, 300, 900]) AS levels, unnest(ARRAY[1, 5, 100]) AS size, generate_series(1, size) AS i GROUP BY levels, size) AS t (name, a, b),
     pg_temp.diff(a, b)
ORDER BY name COLLATE "C";

-- NULL in, NULL out; what is deeper than the limit is refused, unless it stays as it is.
SELECT asynx.json_diff(NULL, '{}') IS NULL AND asynx.json_diff('{}', NULL) IS NULL AS null_in_null_out;
SET asynx.max_document_depth = 3;
SELECT asynx.json_diff('[[[1]]]', '[[[2]]]');
SELECT asynx.json_diff('[[[[1]]]]', '[[[[2]]]]');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.json_diff('[[[[1]]], 1]', '[[[[1]]], 2]');
SELECT patch, identical FROM pg_temp.diff('null', '[[[1]]]');
SELECT asynx.json_diff('null', '[[[[1]]]]');
\echo :LAST_ERROR_SQLSTATE
SELECT patch, identical FROM pg_temp.diff('[["a name"]]', '[["a name", []]]');
SELECT asynx.json_diff('[["a name"]]', '[["a name", [[]]]]');
\echo :LAST_ERROR_SQLSTATE
RESET asynx.max_document_depth;
