-- The same event to message-db, all streams in the category "order".
\set version :version % :length + 1
\set number CASE WHEN :version = 1 THEN :number + 1 ELSE :number END
SELECT message_store.write_message(gen_random_uuid()::varchar, 'order-' || :client_id || '-' || :number, 'order.changed', :patch, NULL, :version - 2);
