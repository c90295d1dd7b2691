-- A command that puts a number into a document of 1 KB, and aggregates of a length with a snapshot
-- each.
CREATE SCHEMA IF NOT EXISTS bench;
CREATE OR REPLACE FUNCTION bench.change(current jsonb, payload jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN current
    || jsonb_build_object('changes', coalesce((current ->> 'changes')::int, 0) + 1);
END $$;
SELECT asynx.create_aggregate_type('bench', snapshot_every => 64);
SELECT asynx.create_command('bench.change', 'bench', 'order.changed', 'bench.change');

-- The patch of a version: the first puts the document.
CREATE OR REPLACE FUNCTION bench.patch(version int) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_array(CASE version
    WHEN 1 THEN jsonb_build_object('op', 'add', 'path', '', 'value', jsonb_build_object(
      'changes', 1,
      'lines', (SELECT jsonb_agg(jsonb_build_object('sku', 'sku-' || n, 'quantity', n,
                  'note', 'gift wrapped, with a card')) FROM generate_series(1, 14) AS n)))
    ELSE jsonb_build_object('op', 'replace', 'path', '/changes', 'value', version) END)
$$;
CREATE OR REPLACE FUNCTION bench.fill(id text, length int) RETURNS void LANGUAGE sql AS $$
  SELECT asynx.append_many((
    SELECT jsonb_agg(jsonb_build_object('aggregate_id', id, 'version', version,
             'event_name', 'order.changed', 'aggregate_type', 'bench',
             'patch', bench.patch(version)) ORDER BY version)
    FROM generate_series(1, length) AS version));
  SELECT asynx.preload(id);
$$;
