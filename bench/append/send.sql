-- One of the client's own aggregates, of :spread.
\set number random(1, :spread)
SELECT (asynx.send('bench.change', 'order-' || :client_id || '-' || :number, :patch)).position;
