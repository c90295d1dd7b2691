-- Reading back: sizes, a history, time travel, and the proof that nothing was lost.

-- 3. Sizes.

\echo '3. Patches instead of states'
\echo
\echo 'What the full states would take and what the patches take: as JSON text, and as PostgreSQL'
\echo 'stores them (from 2 kB on compressed).  The first version of an aggregate is stored whole.'
\echo

CREATE TABLE demo.size AS
  SELECT s.version = 1 AS first,
         count(*) AS events,
         sum(octet_length(s.state::text)) AS state_text,
         sum(octet_length(e.patch::text)) AS patch_text,
         sum(pg_column_size(s.state)) AS state_stored,
         sum(pg_column_size(e.patch)) AS patch_stored
    FROM demo.state s JOIN asynx.events e USING (aggregate_id, version)
   GROUP BY 1;

SELECT m.measure AS "measured as",
       CASE WHEN grouping(first) = 1 THEN 'all' WHEN first THEN 'first' ELSE 'later' END
         AS versions,
       sum(events) AS events,
       sum(m.states) AS "bytes of states",
       sum(m.patches) AS "bytes of patches",
       round(100.0 * sum(m.patches) / sum(m.states), 1) AS "% of states"
  FROM demo.size,
       LATERAL (VALUES (1, 'JSON text', state_text, patch_text),
                       (2, 'stored', state_stored, patch_stored)) m(rank, measure, states, patches)
 GROUP BY m.rank, m.measure, ROLLUP (first)
 ORDER BY m.rank, grouping(first), first DESC;

-- 4. One history.

-- A value in a few characters: scalars as they are, the rest by its name if it has one.
CREATE FUNCTION demo.brief(value jsonb, width int DEFAULT 20) RETURNS text IMMUTABLE
RETURN (
  SELECT CASE WHEN length(said) > width THEN left(said, width - 3) || '...' ELSE said END
    FROM (SELECT CASE
            WHEN value IS NULL THEN 'absent'
            WHEN value IN ('null', '{}', '[]', '""') THEN value::text
            WHEN jsonb_typeof(value) = 'object'
              THEN coalesce(value ->> 'login', value ->> 'title', value ->> 'name', '{...}')
            WHEN jsonb_typeof(value) = 'array' THEN '[...]'
            ELSE value #>> '{}'
          END AS said) t);

-- What an event's patch did, in words; updated_at goes without saying.
CREATE FUNCTION demo.changes(event asynx.event) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  state jsonb := event.previous_aggregate;
  before jsonb;
  op jsonb;
  path text;
  words text[] := '{}';
  said text;
  left_out int;
BEGIN
  IF event.version = 1 THEN
    RETURN 'the whole document';
  END IF;

  -- Each operation sees the document as those before it have left it.
  FOR op IN SELECT * FROM jsonb_array_elements(event.patch) LOOP
    path := op ->> 'path';
    before := asynx.json_pointer(state, path);
    state := asynx.json_patch(state, jsonb_build_array(op));
    CONTINUE WHEN path = '/updated_at';
    words := words || left(concat(ltrim(path, '/'), CASE op ->> 'op'
      WHEN 'add' THEN ' added: ' || demo.brief(op -> 'value')
      WHEN 'remove' THEN ' removed'
      WHEN 'replace' THEN ': ' || demo.brief(before) || ' -> ' || demo.brief(op -> 'value')
      ELSE ' ' || (op ->> 'op') || ' from ' || (op ->> 'from') END), 48);
  END LOOP;

  IF cardinality(words) = 0 THEN
    RETURN CASE WHEN event.patch = '[]' THEN 'nothing' ELSE 'updated_at' END;
  END IF;

  -- As many of them as fit, changed values first, short before long.
  words := ARRAY(SELECT w FROM unnest(words) w ORDER BY w NOT LIKE '% -> %', length(w), w);
  said := words[1];
  FOR i IN 2 .. cardinality(words) LOOP
    left_out := cardinality(words) - i;
    IF length(said) + length(words[i]) > (CASE left_out WHEN 0 THEN 55 ELSE 46 END) THEN
      RETURN said || format(', %s more', left_out + 1);
    END IF;
    said := said || ', ' || words[i];
  END LOOP;
  RETURN said;
END $$;

-- The issue, or where there are none the order, that has changed most often.
SELECT aggregate_id AS hero, max(version) AS last_version
  FROM demo.state
 WHERE aggregate_type IN ('issue', 'order')
 GROUP BY aggregate_id
 ORDER BY count(*) FILTER (WHERE changed) DESC, aggregate_id COLLATE "C"
 LIMIT 1 \gset
\set travel 'version ' :last_version

\echo '4. The history of one aggregate:' :hero
\echo
\echo '  SELECT version, event_name, patch FROM asynx.replay(':'hero'')'
\echo

CREATE TABLE demo.history AS
  SELECT e.version, e.event_name, e.patch = '[]' AS same, demo.changes(e) AS changes
    FROM asynx.replay(:'hero') e;

SELECT version, event_name AS event, changes AS "what changed"
  FROM demo.history
 WHERE NOT same
 ORDER BY version;

\pset tuples_only on
\pset format unaligned
SELECT format('%s more events came with the state as it was; their patch is [].', count(*))
  FROM demo.history WHERE same HAVING count(*) > 0;
\pset tuples_only off
\pset format aligned
\if :real
\echo 'The examples span years of the GitHub API and some are shortened: members come and go.'
\endif
\echo

-- 5. Time travel: to version 2, four fifths of the way, and to the present.

SELECT greatest(2, :last_version * 4 / 5) AS middle \gset
\set then 'version ' :middle

\echo '5. Time travel:' :hero
\echo
\echo '  SELECT asynx.get(':'hero'', 2)      -- or' :middle', or without a version: now'
\echo

WITH value AS (
  SELECT f.rank, f.pointer,
         asynx.json_pointer(asynx.get(:'hero', 2), f.pointer) AS early,
         asynx.json_pointer(asynx.get(:'hero', :middle), f.pointer) AS middle,
         asynx.json_pointer(asynx.get(:'hero'), f.pointer) AS now
    FROM unnest(ARRAY['/title', '/number', '/state', '/locked', '/active_lock_reason', '/labels/0',
                      '/assignee', '/milestone', '/comments', '/status', '/paid', '/total', '/note',
                      '/tags/0', '/lines/0', '/lines/1', '/lines/2', '/ship_to/city',
                      '/tracking/code', '/closed_at', '/updated_at'])
           WITH ORDINALITY f(pointer, rank)
)
SELECT ltrim(pointer, '/') AS member,
       demo.brief(early, 22) AS "version 2",
       demo.brief(middle, 22) AS :"then",
       demo.brief(now, 22) AS now
  FROM value
 WHERE coalesce(early, middle, now) IS NOT NULL
 ORDER BY rank;

-- 6. Exactness.

CREATE TABLE demo.verdict (what text, compared bigint NOT NULL, different bigint NOT NULL);

-- Whether two documents are the same bytes: = would take 1.0 for 1, their images are different.
CREATE FUNCTION demo.same(a jsonb, b jsonb) RETURNS boolean IMMUTABLE
RETURN record_image_eq(ROW(a), ROW(b));

-- Replays the passes event by event against what was written; an event too many or too few
-- counts as a difference.
CREATE PROCEDURE demo.check_replay(first_pass int, last_pass int)
LANGUAGE plpgsql AS $$
DECLARE
  states bigint := (SELECT count(*) FROM demo.state);
  total bigint := states * (last_pass - first_pass + 1);
  stored bigint := (SELECT count(*) FROM asynx.events);
  seen bigint := 0;
  equal bigint := 0;
  r record;
BEGIN
  FOR pass IN first_pass .. last_pass LOOP
    SELECT count(*) AS seen,
           count(*) FILTER (WHERE e.event_name = s.event_name
                              AND demo.same(e.aggregate, s.state)
                              AND demo.same(e.previous_aggregate, p.state)) AS equal
      INTO r
      FROM (SELECT DISTINCT aggregate_id FROM demo.state) i
     CROSS JOIN LATERAL asynx.replay(demo.id_in(i.aggregate_id, pass)) e
      LEFT JOIN demo.state s ON s.aggregate_id = i.aggregate_id AND s.version = e.version
      LEFT JOIN demo.state p ON p.aggregate_id = i.aggregate_id AND p.version = e.version - 1;
    seen := seen + r.seen;
    equal := equal + r.equal;
    RAISE NOTICE 'progress comparing % %', states * (pass - first_pass + 1), total;
  END LOOP;

  INSERT INTO demo.verdict
    VALUES ('replay: each event''s name, state and state before', total,
            greatest(total, seen, stored - states * (first_pass - 1)) - equal);
END $$;

\echo '6. Is it exact?'
\echo

CALL demo.check_replay(1, 1);

INSERT INTO demo.verdict
  SELECT 'get(id, version): time travel to every version', count(*),
         count(*) FILTER (WHERE NOT demo.same(asynx.get(aggregate_id, version), state))
    FROM demo.state;

CREATE VIEW demo.latest AS
  SELECT DISTINCT ON (aggregate_id) aggregate_id, state
    FROM demo.state ORDER BY aggregate_id, version DESC;

INSERT INTO demo.verdict
  SELECT 'get(id): every aggregate as it is now', count(*),
         count(*) FILTER (WHERE NOT demo.same(asynx.get(aggregate_id), state))
    FROM demo.latest;

INSERT INTO demo.verdict
  SELECT 'json_patch_agg: the stored patches folded in plain SQL', count(*),
         count(*) FILTER (WHERE NOT demo.same(folded.state, latest.state))
    FROM demo.latest
    LEFT JOIN (SELECT aggregate_id, asynx.json_patch_agg(patch ORDER BY version) AS state
                 FROM asynx.events GROUP BY aggregate_id) folded USING (aggregate_id);

\echo
SELECT what AS "read back with", compared, compared - different AS equal, different
  FROM demo.verdict;
\echo 'Compared byte for byte: 1.0 and 1 would be different.'

-- 7. Speed.

SELECT greatest(1, ceil(:events / count(*)::numeric))::int AS passes FROM demo.state \gset
SELECT :passes > 1 AS more \gset

\echo
\echo '7. Speed'
\echo
\if :more
\set again :passes ' passes in all, then every event replayed and compared.'
\echo 'The same states again under other ids,' :again
\echo

CALL demo.write('write, more passes', 2, :passes);
VACUUM ANALYZE asynx.events;
\endif
CALL demo.replay('replay of everything');
\if :more
CALL demo.check_replay(1, :passes);
\endif

\echo
SELECT step, events, round(seconds, 2) AS seconds, round(events / seconds) AS "events/s"
  FROM demo.timing ORDER BY rank;
SELECT split_part(current_setting('server_version'), ' ', 1) AS server,
       current_setting('fsync') AS fsync \gset
\echo 'PostgreSQL' :server', one connection, a commit per hundred events, fsync' :fsync'.'

-- 8. Live: a projection and a listener at work while events are written.

CREATE TABLE demo.committed (position bigint PRIMARY KEY, at timestamptz NOT NULL);
CREATE TABLE demo.handled (position bigint PRIMARY KEY, at timestamptz NOT NULL);
CREATE TABLE demo.heard (at double precision, payload jsonb);

CREATE FUNCTION demo.note(event asynx.stored_event) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  begun timestamptz := clock_timestamp();
BEGIN
  INSERT INTO demo.handled VALUES (event.position, begun);
END $$;

-- Appends single events, each with a commit of its own, and notes when that was done.
CREATE PROCEDURE demo.write_live(events int) LANGUAGE plpgsql AS $$
DECLARE
  stored asynx.stored_event;
  committed timestamptz;
BEGIN
  FOR i IN 1 .. events LOOP
    stored := asynx.append('live-' || i, 1, 'demo.live',
                           '[{"op": "add", "path": "", "value": {}}]');
    COMMIT;
    committed := clock_timestamp();
    INSERT INTO demo.committed VALUES (stored.position, committed);
    COMMIT;
    PERFORM pg_sleep(0.003);
  END LOOP;
END $$;

\echo
\echo '8. Live'
\echo
\echo 'The read model demo.model was kept by a background worker while all of the above was written.'
SELECT asynx.wait_for(timeout => '120 s') AS handled \gset
SELECT count(*) = 0 AS "same as recomputed from the events"
  FROM (SELECT m.aggregate_type, m.events FROM demo.model m
        EXCEPT ALL
        SELECT e.aggregate_type, count(*) FROM asynx.events e GROUP BY 1) d;

SELECT asynx.subscribe('demo.live', 'demo.note', 'demo.handler'),
       asynx.subscribe('demo.live', mode => 'channel', channel => 'asynx_demo',
                       name => 'demo.channel') \g /dev/null
CALL demo.write_live(300);
SELECT asynx.wait_for(timeout => '120 s') AS handled \gset
\if :listens
\copy demo.heard FROM PROGRAM 'perl "$ASYNX_HEARD" 300' (FORMAT csv, QUOTE E'\x01', DELIMITER ' ')
\endif
\echo '300 single events were committed, one every few milliseconds.  From the end of each commit:'
\echo
SELECT reached AS "to", count(*) AS events,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2) AS "median, ms",
       round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)::numeric, 2) AS "99 %, ms"
  FROM (SELECT 'the start of a handler' AS reached, extract(epoch FROM h.at - c.at) * 1000 AS ms
          FROM demo.committed c JOIN demo.handled h USING (position)
        UNION ALL
        SELECT 'a notification at a LISTENing client',
               (h.at - extract(epoch FROM c.at)::double precision) * 1000
          FROM demo.committed c JOIN demo.heard h
            ON (h.payload ->> 'position')::bigint = c.position) t
 GROUP BY reached ORDER BY reached DESC;
SELECT (SELECT count(*) FROM demo.handled) <> 300
    OR :'listens'::boolean AND (SELECT count(*) FROM demo.heard) <> 300 AS lost \gset
\if :lost
DO $$ BEGIN RAISE EXCEPTION 'events were not handled or not notified once'; END $$;
\endif
SELECT asynx.unsubscribe(name) FROM asynx.subscriptions \g /dev/null

-- The sum of it.

\echo
\echo 'Summary'
\echo
\pset tuples_only on
\pset format unaligned
SELECT format(E'%s events of %s aggregates: %s kB of JSON states, stored as %s kB of patches '
              '(%s %%).\n'
              '%s events replayed and compared with what went in: %s different.\n'
              '%s events per second written, %s replayed.',
              demo.number(events), demo.number(aggregates), demo.number(states / 1000),
              demo.number(patches / 1000), round(100 * patches / states, 1),
              demo.number(compared), demo.number(different),
              demo.number(written), demo.number(replayed))
  FROM (SELECT sum(events) AS events, sum(state_text) AS states, sum(patch_text) AS patches
          FROM demo.size) s,
       (SELECT count(*) AS aggregates FROM demo.latest) l,
       (SELECT max(compared) AS compared, sum(different) AS different FROM demo.verdict) v,
       (SELECT sum(events) FILTER (WHERE step LIKE 'write%')
                 / sum(seconds) FILTER (WHERE step LIKE 'write%') AS written,
               sum(events) FILTER (WHERE step LIKE 'replay%')
                 / sum(seconds) FILTER (WHERE step LIKE 'replay%') AS replayed
          FROM demo.timing) t;

DO $$
DECLARE
  wrong bigint := (SELECT sum(different) FROM demo.verdict);
BEGIN
  IF wrong > 0 THEN
    RAISE EXCEPTION '% of the states read back are not the states that were written', wrong;
  END IF;
END $$;
