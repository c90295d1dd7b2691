-- JSON numbers survive as they were written, in patches, states, snapshots and differences
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;
CREATE TEMPORARY TABLE numbers (n int, written text);
INSERT INTO numbers VALUES
  (1, '1e400'), (2, '123456789012345678901234567890'), (3, '0.1000'), (4, '-0.0'), (5, '-0'), (6, '1.0'), (7, '1'), (8, '1e0'),
  (9, '1e-400'), (10, '9007199254740993'), (11, '18446744073709551616'), (12, '-9223372036854775809'), (13, '0.30000000000000004'),
  (14, '3.141592653589793238462643383279502884197'), (15, '1E+2'), (16, '0e10'), (17, '1' || repeat('0', 5000)), (18, '0.' || repeat('0', 5000) || '1');

-- Through append(), get(), replay(), a snapshot, and write() back and forth: as jsonb writes them, byte for byte.
SELECT version FROM asynx.append('numbers-1', 1, 'e', '[{"op":"add","path":"","value":{"x":null,"list":[]}}]');
SELECT count(asynx.append('numbers-1', n + 1, 'e', format('[{"op":"add","path":"/x","value":%s},{"op":"copy","from":"/x","path":"/list/-"},{"op":"test","path":"/x","value":%s}]', written, written)::jsonb))
FROM (SELECT * FROM numbers ORDER BY n) AS o;
SELECT n, left(written, 45) AS written, left(asynx.get('numbers-1', n + 1) ->> 'x', 45) AS got,
       (asynx.get('numbers-1', n + 1) -> 'x')::text = written::jsonb::text AS same,
       (asynx.get('numbers-1') -> 'list' -> (n - 1))::text = written::jsonb::text AS same_in_list
FROM numbers ORDER BY n;
SELECT FROM asynx.preload('numbers-1');
SELECT s.state::text = asynx.json_patch_agg(e.patch ORDER BY e.version)::text AS snapshot_same
FROM asynx.get_snapshot('numbers-1') s, asynx.read_from('numbers-1', 0) e GROUP BY s.state;
SELECT count(*) FILTER (WHERE (aggregate -> 'x')::text = written::jsonb::text) AS same, count(*)
FROM numbers n JOIN asynx.replay('numbers-1') r ON r.version = n.n + 1;

-- Numbers that are equal in value but not in writing are different states, and the same to a test.
SELECT count(asynx.write('numbers-2', 'e', jsonb_build_array(written::jsonb))) FROM (SELECT * FROM numbers ORDER BY n) AS o;
SELECT count(*) FILTER (WHERE (aggregate -> 0)::text = written::jsonb::text) AS same, count(*)
FROM numbers n JOIN asynx.replay('numbers-2') r ON r.version = n.n;
SELECT a, b, asynx.json_diff(a::jsonb, b::jsonb) = '[]' AS same_state,
       asynx.json_patch(a::jsonb, jsonb_build_array(jsonb_build_object('op', 'test', 'path', '', 'value', b::jsonb))) IS NOT NULL AS tests_equal
FROM (VALUES ('1', '1.0'), ('1', '1e0'), ('-0', '0'), ('0.0', '-0.00'), ('100', '1e2'), ('1e400', '1e400')) AS t (a, b);

-- Metadata too.
SELECT metadata FROM asynx.append('numbers-3', 1, 'e', '[]', metadata => '{"a": 1e2, "b": 0.1000, "c": 123456789012345678901234567890}');
SELECT asynx.append_many('[{"aggregate_id": "numbers-3", "version": 2, "event_name": "e", "patch": [{"op": "add", "path": "", "value": 0.1000}],
                            "metadata": {"c": 123456789012345678901234567890.10}}]');
SELECT patch, metadata, asynx.get('numbers-3') FROM asynx.read_from('numbers-3', 2);
-- A version may be written as any number that is one.
SELECT asynx.append_many('[{"aggregate_id": "numbers-3", "version": 3.0, "event_name": "e", "patch": []}, {"aggregate_id": "numbers-3", "version": 4e0, "event_name": "e", "patch": []}]');
