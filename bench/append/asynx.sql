-- A client's own aggregates, one after the other, each from version 1 to :length.
\set version :version % :length + 1
\set number CASE WHEN :version = 1 THEN :number + 1 ELSE :number END
SELECT (asynx.append('order-' || :client_id || '-' || :number, :version, 'order.changed', :patch)).position;
