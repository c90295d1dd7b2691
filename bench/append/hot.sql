-- Everybody the same aggregate.
SELECT (asynx.send('bench.change', 'order-hot', :patch)).position;
