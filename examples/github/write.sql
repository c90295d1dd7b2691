-- Writing: one asynx.write per state, a commit per hundred, and the clock.

CREATE TABLE demo.timing (
  rank int GENERATED ALWAYS AS IDENTITY,
  step text NOT NULL,
  events bigint NOT NULL,
  seconds numeric NOT NULL
);

-- The aggregate's id in a pass: its own in the first, marked with the pass in those after it.
CREATE FUNCTION demo.id_in(aggregate_id text, pass int) RETURNS text IMMUTABLE
RETURN CASE pass WHEN 1 THEN aggregate_id ELSE aggregate_id || '#' || pass END;

-- Writes all states once in each of the passes; the step names the row of demo.timing.
CREATE PROCEDURE demo.write(step text, first_pass int, last_pass int)
LANGUAGE plpgsql AS $$
DECLARE
  total bigint := (SELECT count(*) FROM demo.state) * (last_pass - first_pass + 1);
  done bigint := 0;
  started timestamptz := clock_timestamp();
  s demo.state;
  event asynx.event;
BEGIN
  FOR pass IN first_pass .. last_pass LOOP
    FOR s IN SELECT * FROM demo.state ORDER BY ordinal LOOP
      event := asynx.write(demo.id_in(s.aggregate_id, pass), s.event_name, s.state,
                           aggregate_type => s.aggregate_type,
                           metadata => jsonb_build_object('source', s.source,
                                                          'payload', s.payload_no));
      IF event.version <> s.version THEN
        RAISE EXCEPTION 'aggregate "%" is at version %, expected %', s.aggregate_id,
          event.version, s.version;
      END IF;

      done := done + 1;
      IF done % 100 = 0 THEN
        COMMIT;
        RAISE NOTICE 'progress writing % %', done, total;
      END IF;
    END LOOP;
  END LOOP;
  COMMIT;
  RAISE NOTICE 'progress writing % %', total, total;

  INSERT INTO demo.timing (step, events, seconds)
    VALUES (step, total, extract(epoch FROM clock_timestamp() - started));
END $$;

-- Reads every aggregate's whole history, a page of aggregates at a time.
CREATE PROCEDURE demo.replay(step text)
LANGUAGE plpgsql AS $$
DECLARE
  total bigint := (SELECT count(*) FROM asynx.events);
  done bigint := 0;
  started timestamptz := clock_timestamp();
  page text[];
  read bigint;
BEGIN
  LOOP
    page := ARRAY(SELECT a.aggregate_id
                    FROM asynx.aggregates(after => page[cardinality(page)], count => 100) a);
    EXIT WHEN cardinality(page) = 0;

    SELECT count(e.aggregate) INTO read
      FROM unnest(page) AS id, LATERAL asynx.replay(id) AS e;
    done := done + read;
    RAISE NOTICE 'progress replaying % %', done, total;
  END LOOP;

  INSERT INTO demo.timing (step, events, seconds)
    VALUES (step, done, extract(epoch FROM clock_timestamp() - started));
END $$;

SELECT count(asynx.create_aggregate_type(t.aggregate_type))
  FROM (SELECT DISTINCT aggregate_type FROM demo.state) t \g /dev/null

-- A read model that a background worker keeps while the states are written.
CREATE TABLE demo.model (aggregate_type text PRIMARY KEY, events bigint, last_position bigint);
CREATE FUNCTION demo.project(events asynx.stored_event[]) RETURNS void LANGUAGE sql
BEGIN ATOMIC
  INSERT INTO demo.model AS m
    SELECT e.aggregate_type, count(*), max(e.position) FROM unnest(events) AS e GROUP BY 1
    ON CONFLICT (aggregate_type) DO UPDATE
      SET events = m.events + excluded.events, last_position = excluded.last_position;
END;
SELECT asynx.subscribe('.*', 'demo.project', 'demo.model', start_at => 0) \g /dev/null

\echo '2. Writing'
\echo
\echo '  SELECT asynx.write(aggregate_id, event_name, state, aggregate_type => ...)'
\echo

CALL demo.write('write, first pass', 1, 1);

\echo
WITH by_type AS (
  SELECT aggregate_type, count(DISTINCT aggregate_id) AS aggregates, count(*) AS events,
         row_number() OVER (ORDER BY count(*) DESC, aggregate_type COLLATE "C") AS rank
    FROM asynx.events
   GROUP BY aggregate_type
), shown AS (
  SELECT CASE WHEN rank <= 8 THEN aggregate_type END AS aggregate_type,
         sum(aggregates) AS aggregates, sum(events) AS events, count(*) AS types,
         min(rank) AS rank
    FROM by_type
   GROUP BY 1, CASE WHEN rank <= 8 THEN rank END
)
SELECT coalesce(aggregate_type, format('(%s more types)', types)) AS "aggregate type",
       aggregates, events
  FROM (SELECT * FROM shown
         UNION ALL
        SELECT '(all)', sum(aggregates), sum(events), NULL, NULL FROM shown) t
 ORDER BY rank;
