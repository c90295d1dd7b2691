-- What the cases about the bus share.  Each begins with no events and no subscriptions.
CREATE SCHEMA bench;

-- Events of a document of 1 KB; each but the first changes two members.
CREATE FUNCTION bench.store(aggregates int, versions int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  document jsonb := (SELECT jsonb_object_agg('field_' || i, md5(i::text)) FROM generate_series(1, 22) AS i);
BEGIN
  FOR v IN 1 .. versions LOOP
    PERFORM asynx.append_many((SELECT jsonb_agg(jsonb_build_object('aggregate_id', 'order-' || i, 'version', v,
        'event_name', 'order.changed', 'patch', CASE v
          WHEN 1 THEN jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', document))
          ELSE jsonb_build_array(jsonb_build_object('op', 'replace', 'path', '/field_' || v, 'value', md5(v::text || i)),
                                 jsonb_build_object('op', 'add', 'path', '/n', 'value', v)) END))
      FROM generate_series(1, aggregates) AS i));
  END LOOP;
END $$;

CREATE TABLE bench.model (id text PRIMARY KEY, version bigint, n int, document jsonb);
CREATE TABLE bench.log (position bigint PRIMARY KEY, id text, version bigint, document jsonb);

-- The handlers, and the same without a bus: the rows lie ready in bench.source.
CREATE FUNCTION bench.upsert(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bench.model AS m VALUES (e.aggregate_id, e.version, (e.aggregate ->> 'n')::int, e.aggregate)
  ON CONFLICT (id) DO UPDATE SET version = excluded.version, n = excluded.n, document = excluded.document;
END $$;
CREATE FUNCTION bench.upsert_stored(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bench.model AS m VALUES (e.aggregate_id, e.version, e.version, e.patch)
  ON CONFLICT (id) DO UPDATE SET version = excluded.version, n = excluded.n, document = excluded.document;
END $$;
CREATE FUNCTION bench.insert_batch(e asynx.event[]) RETURNS void LANGUAGE sql AS $$
  INSERT INTO bench.log SELECT x.position, x.aggregate_id, x.version, x.aggregate FROM unnest(e) AS x $$;
CREATE FUNCTION bench.insert_stored_batch(e asynx.stored_event[]) RETURNS void LANGUAGE sql AS $$
  INSERT INTO bench.log SELECT x.position, x.aggregate_id, x.version, x.patch FROM unnest(e) AS x $$;
CREATE PROCEDURE bench.upsert_loop() LANGUAGE plpgsql AS $$
DECLARE
  r record;
BEGIN
  FOR r IN SELECT * FROM bench.source ORDER BY position LOOP
    INSERT INTO bench.model AS m VALUES (r.aggregate_id, r.version, (r.aggregate ->> 'n')::int, r.aggregate)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, n = excluded.n, document = excluded.document;
  END LOOP;
END $$;
CREATE PROCEDURE bench.upsert_stored_loop() LANGUAGE plpgsql AS $$
DECLARE
  r record;
BEGIN
  FOR r IN SELECT * FROM bench.source ORDER BY position LOOP
    INSERT INTO bench.model AS m VALUES (r.aggregate_id, r.version, r.version, r.patch)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, n = excluded.n, document = excluded.document;
  END LOOP;
END $$;

-- For latencies: when the handler began, and when the commit before it had ended.
CREATE TABLE bench.begun (position bigint, at timestamptz);
CREATE TABLE bench.committed (position bigint, before timestamptz, after timestamptz);
CREATE FUNCTION bench.note(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  at timestamptz := clock_timestamp();
BEGIN
  INSERT INTO bench.begun VALUES (e.position, at);
END $$;
CREATE FUNCTION bench.nothing(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
-- One event after the other, with pauses, each in a transaction of its own.
CREATE PROCEDURE bench.write_slowly(prefix text, events int, event_name text) LANGUAGE plpgsql AS $$
DECLARE
  stored asynx.stored_event;
  before timestamptz;
  after timestamptz;
BEGIN
  FOR i IN 1 .. events LOOP
    stored := asynx.append(prefix || i, 1, event_name, '[]');
    before := clock_timestamp();
    COMMIT;
    after := clock_timestamp();
    INSERT INTO bench.committed VALUES (stored.position, before, after);
    COMMIT;
    PERFORM pg_sleep(0.003);
  END LOOP;
END $$;
