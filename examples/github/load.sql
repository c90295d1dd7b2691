-- From files to states: what the demo will write, in the order it will write it.
--
-- A payload is an event name, an action and some objects with ids.  Each of those objects is an
-- aggregate (issue-444500041), and the object as the payload holds it is its next state.

\pset footer off
\pset null '-'
\pset numericlocale on

\echo
\echo 'asynx demo'
\echo '=========='
\echo 'Input:' :source
\if :{?reason}
\echo 'Why:  ' :reason
\endif
\echo

-- The demo measures and compares whole stores, so it wants one to itself.
DO $$
DECLARE
  used boolean;
BEGIN
  IF to_regclass('asynx.events') IS NOT NULL THEN
    EXECUTE 'SELECT EXISTS (SELECT FROM asynx.events)' INTO used;
    IF used THEN
      RAISE EXCEPTION 'database "%" already holds events', current_database()
        USING HINT = 'Run the demo in an empty database.';
    END IF;
  END IF;
  IF to_regnamespace('demo') IS NOT NULL THEN
    RAISE EXCEPTION 'schema "demo" already exists in database "%"', current_database()
      USING HINT = 'Run the demo in an empty database.';
  END IF;
END $$;

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

CREATE SCHEMA demo;

CREATE FUNCTION demo.number(n numeric) RETURNS text IMMUTABLE
RETURN to_char(n, 'FM999,999,999,990');

-- 1. The files, one row each.

CREATE TABLE demo.file (source text PRIMARY KEY, content jsonb NOT NULL);

\copy demo.file FROM PROGRAM 'perl "$ASYNX_PACK"' (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')

-- 2. The payloads.  The package repeats many of them word for word: the first one counts.

CREATE TABLE demo.payload AS
  WITH example AS MATERIALIZED (
    SELECT f.source, e.ordinality AS event_no, x.ordinality AS example_no,
           e.value ->> 'name' AS event,
           x.value ->> 'action' AS action,
           x.value AS body
      FROM demo.file f,
           jsonb_array_elements(f.content) WITH ORDINALITY e,
           jsonb_array_elements(e.value -> 'examples') WITH ORDINALITY x
  )
  SELECT row_number() OVER (ORDER BY source COLLATE "C", event_no, example_no) AS payload_no,
         source, event, action, body
    FROM example;

CREATE TABLE demo.distinct_payload AS
  SELECT DISTINCT ON (body) * FROM demo.payload ORDER BY body, payload_no;

-- 3. The objects in them.

-- Which aggregate an object is, where the member's name does not say it.
CREATE FUNCTION demo.aggregate_type(member text, event text) RETURNS text IMMUTABLE
RETURN CASE
  WHEN member IN ('sender', 'member', 'assignee', 'blocked_user', 'requested_reviewer',
                  'requester', 'requestor') THEN 'user'
  WHEN member IN ('comment', 'alert') THEN event
  WHEN member IN ('answer', 'old_answer') THEN 'discussion_comment'
  WHEN member = 'forkee' THEN 'repository'
  WHEN member = 'review' THEN 'pull_request_review'
  WHEN member = 'rule' THEN 'branch_protection_rule'
  WHEN member = 'key' THEN 'deploy_key'
  WHEN member = 'head_commit' THEN 'commit'
  ELSE member
END;

-- The member an event is about, where the event's name does not say it.
CREATE FUNCTION demo.subject(event text) RETURNS text IMMUTABLE
RETURN CASE
  WHEN event = 'issues' THEN 'issue'
  WHEN event LIKE '%\_comment' THEN 'comment'
  WHEN event LIKE '%\_alert' THEN 'alert'
  WHEN event = 'pull_request_review' THEN 'review'
  WHEN event = 'branch_protection_rule' THEN 'rule'
  WHEN event = 'deploy_key' THEN 'key'
  WHEN event = 'fork' THEN 'forkee'
  WHEN event = 'membership' THEN 'member'
  WHEN event = 'org_block' THEN 'blocked_user'
  ELSE event
END;

-- When an object was in the state shown, by its own account.
CREATE FUNCTION demo.moment(object jsonb) RETURNS timestamptz STABLE
RETURN (
  SELECT (object ->> t.name)::timestamptz
    FROM unnest(ARRAY['updated_at', 'submitted_at', 'completed_at', 'published_at', 'started_at',
                      'timestamp', 'created_at']) WITH ORDINALITY t(name, rank)
   WHERE object ->> t.name ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d'
   ORDER BY t.rank
   LIMIT 1);

CREATE TABLE demo.object AS
  SELECT p.payload_no, p.source, p.event, p.action,
         o.key AS member,
         o.value AS state,
         demo.aggregate_type(o.key, p.event) AS aggregate_type,
         o.key = demo.subject(p.event) AS subject,
         demo.moment(o.value) AS moment
    FROM demo.distinct_payload p, jsonb_each(p.body) o
   WHERE jsonb_typeof(o.value) = 'object'
     AND jsonb_typeof(o.value -> 'id') IN ('number', 'string');

-- 4. The states in order of time.  What an event is about is written each time; what is only
-- mentioned (the sender, the repository) is written when it differs from its state before.

CREATE TABLE demo.state AS
  WITH dated AS (
    SELECT *,
           coalesce(moment,
                    max(moment) FILTER (WHERE subject) OVER payload,
                    max(moment) OVER payload) AS at,
           CASE WHEN action IN ('created', 'opened', 'requested', 'queued', 'placed') THEN 1
                WHEN action = 'deleted' THEN 3 ELSE 2 END AS rank
      FROM demo.object
    WINDOW payload AS (PARTITION BY payload_no)
  ), numbered AS (
    SELECT row_number() OVER (ORDER BY at, rank, payload_no, NOT subject, member COLLATE "C")
             AS ordinal,
           aggregate_type || '-' || (state ->> 'id') AS aggregate_id,
           aggregate_type,
           CASE WHEN subject THEN concat_ws('.', aggregate_type, action)
                ELSE concat_ws('.', aggregate_type, event, action) END AS event_name,
           state, subject, source, payload_no
      FROM dated
  ), compared AS (
    SELECT *,
           lag(state::text) OVER (PARTITION BY aggregate_id ORDER BY ordinal)
             IS DISTINCT FROM state::text AS changed
      FROM numbered
  )
  SELECT ordinal, aggregate_id,
         row_number() OVER (PARTITION BY aggregate_id ORDER BY ordinal) AS version,
         aggregate_type, event_name, state, changed, source, payload_no
    FROM compared
   WHERE subject OR changed
   ORDER BY ordinal;

ALTER TABLE demo.state ADD PRIMARY KEY (aggregate_id, version);
CREATE UNIQUE INDEX ON demo.state (ordinal);
VACUUM ANALYZE demo.state;

\echo '1. The input'
\echo
\pset tuples_only on
\pset format unaligned
SELECT format(E'%s payloads in %s %s, %s of them different; they hold %s objects with an id.\n'
              'Each object is an aggregate, each state in which it is seen an event: %s to write.\n'
              '(What a payload is about is written every time, what it mentions when it has '
              'changed.)\n',
              demo.number(payloads), files, CASE files WHEN 1 THEN 'file' ELSE 'files' END,
              demo.number(different), demo.number(objects), demo.number(states))
  FROM (SELECT (SELECT count(*) FROM demo.payload) AS payloads,
               (SELECT count(*) FROM demo.file) AS files,
               (SELECT count(*) FROM demo.distinct_payload) AS different,
               (SELECT count(*) FROM demo.object) AS objects,
               (SELECT count(*) FROM demo.state) AS states) counted;
\pset tuples_only off
\pset format aligned
