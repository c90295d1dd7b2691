-- The same event, by hand: the same columns with the values that append() would fill in.
\set version :version % :length + 1
\set number CASE WHEN :version = 1 THEN :number + 1 ELSE :number END
INSERT INTO plain.events (aggregate_id, version, id, aggregate_type, event_name, schema_version, occurred_at, patch) VALUES ('order-' || :client_id || '-' || :number, :version, gen_random_uuid(), 'default', 'order.changed', 1, clock_timestamp(), :patch) RETURNING position;
