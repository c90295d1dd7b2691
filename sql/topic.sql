-- asynx.topic(): the pattern that a dotted topic stands for
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- At most three segments; a lone star is a wildcard, everything else is literal.
SELECT topic, asynx.topic(topic)
FROM unnest(ARRAY['order', 'order.created', 'order.*', 'order.*.vip', '*.created', '*', '*.*', '*.*.*',
                  'order.cre*', 'a.b.*', 'a.b.c.d', 'a.b.c.*', '*.*.c.*', 'a+b.(x)|[y]{2}^$?\', '.', 'a.',
                  'order.created@v-2', ' order ']) AS topic;

-- What such a pattern matches: the whole name, whatever stands before or after.
SELECT topic, name, name ~ asynx.topic(topic) AS matches
FROM (VALUES ('order.*', 'order.created'),
             ('order.*', 'order.created.eu'),
             ('order.*', 'order.'),
             ('order.*', 'order'),
             ('order.*', 'orders'),
             ('order.*', 'reorder.created'),
             ('order.*.vip', 'order.paid.vip'),
             ('order.*.vip', 'order.paid.twice.vip'),
             ('order.*.vip', 'order..vip'),
             ('order.*.vip', 'order.paid.vip.eu'),
             ('*', 'order'),
             ('*', 'order.created'),
             ('*.created', 'order.created'),
             ('*.created', 'order.eu.created'),
             ('order.created', 'order.created'),
             ('order.created', 'order-created'),
             ('a.b.c.d', 'a.b.c.d'),
             ('a.b.c.*', 'a.b.c.d'),
             ('a.b.c.*', 'a.b.c.*'),
             ('a+b', 'aab')) AS t (topic, name);

-- Only the wildcards are wider than the topic itself.
SELECT count(*) FILTER (WHERE name ~ asynx.topic(name)) AS matches_itself, count(*)
FROM (SELECT format('%s.%s%s', a, chr(c), b) AS name
      FROM generate_series(32, 126) AS c, unnest(ARRAY['', 'x', 'x.y']) AS a, unnest(ARRAY['', 'z']) AS b) AS names
WHERE name NOT LIKE '%*%';

SELECT asynx.topic(NULL) IS NULL AS null_in_null_out;
SELECT asynx.topic('');
\echo :LAST_ERROR_SQLSTATE
SELECT asynx.topic(E' \t\n');
\echo :LAST_ERROR_SQLSTATE
