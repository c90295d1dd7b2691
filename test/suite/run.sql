-- Runs the cases in the file that ASYNX_SUITE names; see run.
\set suite `cat "$ASYNX_SUITE"`
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;

-- What came of one case: passed, or the other words with the reason.
CREATE FUNCTION pg_temp.outcome(item jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  result jsonb;
BEGIN
  IF item -> 'disabled' = 'true' THEN
    RETURN 'skipped: ' || coalesce(item ->> 'comment', 'disabled');
  ELSIF NOT item ?& ARRAY['doc', 'patch'] THEN
    RETURN 'skipped: no document or no patch';
  END IF;

  result := asynx.json_patch(item -> 'doc', item -> 'patch');
  IF item ? 'error' THEN
    RETURN format('failed: %s instead of an error', result);
  ELSIF item ? 'expected' AND result::text <> (item -> 'expected')::text THEN
    RETURN format('failed: %s', result);
  END IF;
  RETURN 'passed';
EXCEPTION
  WHEN SQLSTATE 'SX014' OR SQLSTATE 'SX015' OR SQLSTATE 'SX016' THEN
    RETURN CASE WHEN item ? 'error' THEN 'passed' ELSE format('failed: %s', sqlerrm) END;
END
$$;

CREATE TEMPORARY TABLE outcomes AS
SELECT file, number - 1 AS number, item ->> 'comment' AS comment, pg_temp.outcome(item) AS outcome
FROM jsonb_each(:'suite'::jsonb) AS files (file, items),
     jsonb_array_elements(items) WITH ORDINALITY AS cases (item, number);

SELECT format('%s[%s] %s', file, number, outcome)
FROM outcomes
WHERE outcome <> 'passed'
ORDER BY file, number;

SELECT format('%s passed, %s failed, %s skipped',
              count(*) FILTER (WHERE outcome = 'passed'),
              count(*) FILTER (WHERE outcome LIKE 'failed%'),
              count(*) FILTER (WHERE outcome LIKE 'skipped%'))
FROM outcomes;
