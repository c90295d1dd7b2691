-- Patterns: which names each of them selects from the feed
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- One event for each name.
CREATE TEMPORARY TABLE names AS
SELECT name, row_number() OVER () AS n
FROM unnest(ARRAY['a', 'aa', 'b', 'ab', 'abc', 'A', 'AB', 'x', 'X', 'aabaa', 'aaba', 'xab',
                  'order', 'orders', 'reorder', 'order.', 'order.created', 'order.created.eu', 'order-created',
                  'order.paid.vip', 'order.paid.twice.vip', 'order..vip', '.order', 'a b', ' a', 'a ',
                  'a+b', 'a|b', '(a)', '[a]', 'a{2}', '^a$', 'a\b', 'a.*', '*', '.', '$', 'a"b''c',
                  'ä', 'ää', 'ä.ö', '日本語', '日本.語', '€', '🙂.🙃', E'a\nb', E'order.\ncreated', E'\n.', E'\ta']) AS name;
SELECT asynx.safe_position() AS start \gset
SELECT count(asynx.append('patterns-' || n, 1, name, '[]')) FROM names;
SELECT count(*) AS events, count(*) FILTER (WHERE event_name = name) AS kept
FROM asynx.read_all(:start, 1000) AS e JOIN names ON e.aggregate_id = 'patterns-' || n;

CREATE FUNCTION pg_temp.selected(start bigint, pattern text) RETURNS jsonb LANGUAGE sql AS $$
  SELECT coalesce(jsonb_agg(event_name ORDER BY position), '[]')
  FROM asynx.read_all(start, 1000, pattern) WHERE aggregate_id LIKE 'patterns-%';
$$;

-- Exact names, and expressions that are nothing but a name.  A dot alone is a name character, so is a slash.
SELECT pattern, pg_temp.selected(:start, pattern) AS names
FROM unnest(ARRAY['a', 'order.created', 'order-created', '.', '日本語', 'ä', 'a b', ' a', 'a ', E'a\nb', E'\ta', 'a"b''c',
                  '^order\.created$', 'order\.created', '^a', 'a$', 'a\+b', '\^a\$', 'a\\b', '\*', 'orde', 'no/such']) AS pattern;

-- Topics of every shape select what they say, byte for byte.
SELECT topic, pg_temp.selected(:start, asynx.topic(topic)) AS names
FROM unnest(ARRAY['order', 'order.*', 'order.*.*', 'order.*.vip', 'order.paid.*', '*.created', '*.*', '*.order', 'order.', '.', '..*',
                  '日本.*', '*.語', 'ä.ö', '*.🙃', 'a+b', 'a|b', '(a)', '[a]', 'a{2}', '^a$', 'a\b', 'a.*', 'a b', 'orde*', '$']) AS topic;
SELECT pg_temp.selected(:start, asynx.topic('*')) = pg_temp.selected(:start, NULL) AS star_is_all,
       pg_temp.selected(:start, '.*') = pg_temp.selected(:start, NULL) AS dot_star_is_all;
SELECT count(*) AS names, count(*) FILTER (WHERE pg_temp.selected(:start, asynx.topic(name)) ? name) AS select_themselves FROM names;

-- Expressions match the whole name, whatever their branches and anchors are.
SELECT pattern, pg_temp.selected(:start, pattern) AS names
FROM unnest(ARRAY['order.*', 'order\..*', 'order.+', 'a|ab', 'a|b|', '(a|ab)(c|bc)', '^a|b$', '(a+)b\1', 'a(?=b)', 'a(?=b).', '(?!a).', '(?<!x)ab',
                  '.*(?<=b)', 'a^b', 'a$b', '$a', '^^a', 'a$$', '\Aab\Z', 'a??', 'a.*?', '[^a-z.]+', '[[:upper:]]+', '[[:alpha:]]+', '.', '..',
                  'ä+', '[ä€]', '\w+\.\w+', '.*\s.*', 'a.b', E'.*\n.*', 'a\x2bb', '\u65e5.*', 'a{2}', 'a\{2\}', 'a(?#remark)b', '(?:a)(?:b)', ']', 'a#b']) AS pattern;

-- What is blank is no pattern, and what the engine does not take, or would take for options, is an invalid one.
CREATE FUNCTION pg_temp.refusal(pattern text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM asynx.read_all(0, 1, pattern);
  RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT pattern, pg_temp.refusal(pattern)
FROM unnest(ARRAY['', ' ', E' \t\n\r\f' || chr(11), 'a)|(b', '(', ')', 'a)', '(?:a', '[', '[a', '[b-a]', '[[:nothing:]]', '*', '+a', 'a**', 'a{2', 'a{3,2}', 'a{1000}',
                  'a\', '(a)\2', '\1', '(?i)x', '(?I)x', '***=x', '***:x', '***', '(?', '(?i', '(?<a', 'a(?#', '(?:(?i)x)']) AS pattern;
SELECT asynx.read_all(0, 1, repeat('ä', 200) || '(');

-- An expression that would take years ends when the statement is cancelled.
SELECT count(asynx.append('patterns-long', 1, repeat('a', 90) || 'b' || repeat('a', 91), '[]'));
SET statement_timeout = 200;
\set VERBOSITY terse
SELECT count(*) FROM asynx.read_all(:start, 1000, repeat('(a+)', 8) || 'b\1\2\3\4\5\6\7\8');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default
RESET statement_timeout;
SELECT count(*) FROM asynx.read_all(:start, 1000, '(a+)b\1a') WHERE aggregate_id = 'patterns-long';
