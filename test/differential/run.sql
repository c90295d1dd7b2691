-- Compares json_patch() with what peers.js printed, which comes as standard input; see run.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;

CREATE TEMPORARY TABLE lines (line text);
\copy lines FROM PSTDIN WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')

-- The patched document, as {"result": ...} or {"error": true}; an error of another kind is a failure.
CREATE FUNCTION pg_temp.outcome(document jsonb, patch jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
  RETURN jsonb_build_object('result', asynx.json_patch(document, patch));
EXCEPTION
  WHEN SQLSTATE 'SX014' OR SQLSTATE 'SX015' OR SQLSTATE 'SX016' THEN
    RETURN '{"error": true}';
END
$$;

CREATE TEMPORARY TABLE opinions AS
SELECT c -> 'number' AS number, c -> 'document' AS document, c -> 'patch' AS patch, peer, opinion,
       opinion ->> 'rule' AS rule, pg_temp.outcome(c -> 'document', c -> 'patch') AS ours
FROM (SELECT line::jsonb AS c FROM lines) AS cases, jsonb_each(c -> 'peers') AS p (peer, opinion);

-- What did not count, and why; not more than half of any peer's opinions may be lost so.
SELECT format('%s: %s by the rule "%s"', peer, count(*), rule)
FROM opinions WHERE rule IS NOT NULL GROUP BY peer, rule ORDER BY peer, rule;

SELECT format('%s: %s agree, %s of them refuse', peer, count(*), count(*) FILTER (WHERE ours ? 'error'))
FROM opinions WHERE rule IS NULL AND opinion = ours GROUP BY peer ORDER BY peer;

SELECT format('differs: %s[%s] says %s, asynx %s: %s onto %s', peer, number, opinion, ours, patch, document)
FROM opinions WHERE rule IS NULL AND opinion <> ours ORDER BY length(patch::text) LIMIT 20;

SELECT format('lost: %s has too few opinions that count', peer)
FROM opinions GROUP BY peer HAVING count(*) FILTER (WHERE rule IS NULL) * 2 < count(*);

SELECT format('%s opinions agree, %s differ', count(*) FILTER (WHERE opinion = ours),
              count(*) FILTER (WHERE opinion <> ours))
FROM opinions WHERE rule IS NULL;
