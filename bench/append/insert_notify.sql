-- The event by hand, as insert.sql has it, with a notification in the same transaction.
\set version :version % :length + 1
\set number CASE WHEN :version = 1 THEN :number + 1 ELSE :number END
BEGIN;
INSERT INTO plain.events (aggregate_id, version, id, aggregate_type, event_name, schema_version, occurred_at, patch) VALUES ('order-' || :client_id || '-' || :number, :version, gen_random_uuid(), 'default', 'order.changed', 1, clock_timestamp(), :patch) RETURNING position;
SELECT pg_notify('plain', :number::text || '/' || :version::text);
COMMIT;
