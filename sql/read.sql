-- Reading events: of one aggregate, of all in the order of the feed, and the list of aggregates
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

SELECT asynx.append_many(jsonb_agg(jsonb_build_object(
         'aggregate_id', 'read-1', 'version', n, 'event_name', 'read.event', 'patch', '[]'::jsonb) ORDER BY n)) AS stored
FROM generate_series(1, 5) AS n;

-- read_from() is inclusive and ascending; 0 and 1 are the first, beyond the last there is nothing.
SELECT from_version, array(SELECT version FROM asynx.read_from('read-1', from_version)) AS versions
FROM unnest(ARRAY[0, 1, 3, 5, 6, 9223372036854775807]) AS from_version;

-- read_range() gives at most so many.
SELECT from_version, count, array(SELECT version FROM asynx.read_range('read-1', from_version, count)) AS versions
FROM (VALUES (0, 0), (0, 1), (1, 1), (2, 2), (4, 9), (6, 1), (0, 9223372036854775807)) AS t (from_version, count);

-- count() counts what read_from() gives.
SELECT from_version, asynx.count('read-1', from_version)
FROM unnest(ARRAY[0, 1, 3, 5, 6, 9223372036854775807]) AS from_version;

-- An unknown aggregate has no events; that is no error.
SELECT asynx.count('read-none', 0), asynx.exists('read-none'), asynx.exists('read-1'),
       (SELECT count(*) FROM asynx.read_from('read-none', 0)) AS read_from,
       (SELECT count(*) FROM asynx.read_range('read-none', 0, 10)) AS read_range;

-- Set-returning functions may also stand in the select list, and in subqueries that stop early.
SELECT (asynx.read_from('read-1', 4)).version;
SELECT version FROM asynx.read_from('read-1', 0) LIMIT 2;

-- What is NULL, blank or negative is refused.
\set VERBOSITY terse
SELECT asynx.read_from(NULL, 0);
SELECT * FROM asynx.read_from('', 0);
SELECT * FROM asynx.read_from('read-1', NULL);
SELECT * FROM asynx.read_from('read-1', -1);
SELECT * FROM asynx.read_range('read-1', -1, 1);
SELECT * FROM asynx.read_range('read-1', 0, -1);
SELECT * FROM asynx.read_range('read-1', 0, NULL);
SELECT asynx.count('read-1', -1);
SELECT asynx.count('read-1', NULL);
SELECT asynx.exists(NULL);
SELECT asynx.exists(' ');
\set VERBOSITY default

-- The feed: all events after a position, in the order of positions.
SELECT asynx.safe_position() AS start \gset
SELECT count(*) AS events FROM asynx.read_all(:start, 10);
SELECT asynx.append_many(jsonb_agg(jsonb_build_object(
         'aggregate_id', 'read-feed-' || n % 2, 'version', n / 2 + 1,
         'event_name', (ARRAY['order.created', 'order.paid.vip', 'orders', 'order'])[n % 4 + 1],
         'patch', '[]'::jsonb) ORDER BY n)) AS stored
FROM generate_series(0, 7) AS n;
SELECT aggregate_id, version, event_name, position > lag(position, 1, :start::bigint) OVER () AS ascends
FROM asynx.read_all(:start, 100) WHERE aggregate_id LIKE 'read-feed-%';

-- A page ends after count rows, the next one begins after the last position of the one before.
CREATE FUNCTION pg_temp.pages(after bigint, count bigint, pattern text)
RETURNS TABLE (page int, events bigint) LANGUAGE plpgsql AS $$
BEGIN
  page := 0;
  LOOP
    SELECT count(*), max(position) INTO events, after FROM asynx.read_all(after, count, pattern);
    EXIT WHEN events = 0;
    page := page + 1;
    RETURN NEXT;
  END LOOP;
END $$;
SELECT * FROM pg_temp.pages(:start, 3, NULL);
SELECT * FROM pg_temp.pages(:start, 3, asynx.topic('order.*'));
SELECT * FROM pg_temp.pages(:start, 0, NULL);

-- A pattern is an exact name or an expression for the whole name; topic() makes one of a dotted topic.
SELECT pattern, array(SELECT DISTINCT event_name COLLATE "C" FROM asynx.read_all(:start, 100, pattern) ORDER BY 1) AS names
FROM unnest(ARRAY['order', 'order.created', 'order.*', '.*', 'order|orders', 'order\..*', 'nothing',
                  asynx.topic('order.*'), asynx.topic('*'), asynx.topic('*.*.vip'), asynx.topic('order')]) AS pattern;

-- What is NULL or negative is refused, and so is a pattern that is none.
\set VERBOSITY terse
SELECT * FROM asynx.read_all(NULL, 1);
SELECT * FROM asynx.read_all(0, NULL);
SELECT * FROM asynx.read_all(-1, 1);
SELECT * FROM asynx.read_all(0, -1);
SELECT * FROM asynx.read_all(0, 1, '');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM asynx.read_all(0, 1, '(');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM asynx.read_all(0, 1, '(?i)order');
\echo :LAST_ERROR_SQLSTATE
-- It needs snapshots newer than the safe position.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM asynx.read_all(0, 1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM asynx.read_all(0, 1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
\set VERBOSITY default

-- aggregates() lists aggregates by id, with their current versions, a page at a time.
SELECT FROM asynx.create_aggregate_type('read type');
SELECT count(asynx.append(format('read-list-%s', n), 1, 'e', '[]',
                          CASE WHEN n % 2 = 0 THEN 'read type' END, occurred_at => '2001-01-01'))
FROM generate_series(1, 7) AS n;
SELECT version, occurred_at FROM asynx.append('read-list-4', 2, 'e', '[]', occurred_at => '2002-02-02');
SELECT aggregate_id, aggregate_type, version, occurred_at FROM asynx.aggregates(after => 'read-list-', count => 5);
SELECT aggregate_id FROM asynx.aggregates(after => 'read-list-5', count => 2);
SELECT aggregate_id, version FROM asynx.aggregates('read type');
SELECT aggregate_id FROM asynx.aggregates('read type', count => 2);
SELECT aggregate_id FROM asynx.aggregates('read type', 'read-list-4', 2);

-- Empty pages: none wanted, none left, none of a type; without arguments a page has 100.
SELECT (SELECT count(*) FROM asynx.aggregates(count => 0)) AS none_wanted,
       (SELECT count(*) FROM asynx.aggregates('read type', count => 0)) AS none_of_type_wanted,
       (SELECT count(*) FROM asynx.aggregates('read type', 'read-list-6')) AS none_left,
       (SELECT count(*) FROM asynx.aggregates(after => E'\U0010FFFF')) AS none_at_all_left,
       (SELECT count(*) FROM asynx.aggregates('read no such type')) AS none_of_type,
       (SELECT count(*) <= 100 FROM asynx.aggregates()) AS at_most_100;

-- A stream of 20000 events costs a page as much as one of one event: only a few index entries are read.
SELECT asynx.append_many(jsonb_agg(jsonb_build_object(
         'aggregate_id', 'read-list-5-long', 'version', n, 'event_name', 'e', 'patch', '[]'::jsonb) ORDER BY n)) AS stored
FROM generate_series(1, 20000) AS n;
VACUUM asynx.events;
CREATE FUNCTION pg_temp.buffers(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  plan jsonb;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ' || statement INTO plan;
  RETURN (plan #>> '{0,Plan,Shared Hit Blocks}')::bigint + (plan #>> '{0,Plan,Shared Read Blocks}')::bigint;
END $$;
SELECT pg_temp.buffers($$SELECT * FROM asynx.aggregates(after => 'read-list-', count => 10)$$) < 200 AS few_buffers;
SELECT aggregate_id, version FROM asynx.aggregates(after => 'read-list-4', count => 3);

-- Pages put together are all there is, each aggregate once.
CREATE FUNCTION pg_temp.all_pages(type text, size int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  last text;
  page text[];
BEGIN
  LOOP
    SELECT array_agg(aggregate_id) INTO page FROM asynx.aggregates(type, last, size);
    EXIT WHEN page IS NULL;
    RETURN QUERY SELECT unnest(page);
    last := page[cardinality(page)];
  END LOOP;
END $$;
SELECT array(SELECT * FROM pg_temp.all_pages(NULL, 3))
     = array(SELECT DISTINCT aggregate_id FROM asynx.events ORDER BY 1) AS all_aggregates,
       array(SELECT * FROM pg_temp.all_pages('read type', 2))
     = array(SELECT DISTINCT aggregate_id FROM asynx.events WHERE aggregate_type = 'read type' ORDER BY 1) AS all_of_type;

\set VERBOSITY terse
SELECT * FROM asynx.aggregates(count => -1);
SELECT * FROM asynx.aggregates(count => NULL);
SELECT * FROM asynx.aggregates('');
\set VERBOSITY default
SELECT asynx.delete('read-list-5-long') AS deleted;
