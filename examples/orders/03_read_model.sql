-- A read model in the writer's transaction: whoever sees the event sees the row.  Run this as shop_owner.
CREATE TABLE shop.orders (
  id       text PRIMARY KEY,
  customer text NOT NULL,
  status   text NOT NULL,
  total    numeric NOT NULL,
  version  bigint NOT NULL
);
GRANT SELECT ON shop.orders TO shop_app;

-- The upsert takes what it needs from the state after the event.
CREATE FUNCTION shop.project_order(e asynx.event) RETURNS void LANGUAGE sql AS $$
  INSERT INTO shop.orders (id, customer, status, total, version)
  VALUES (e.aggregate_id, e.aggregate ->> 'customer', e.aggregate ->> 'status', (e.aggregate ->> 'total')::numeric, e.version)
  ON CONFLICT (id) DO UPDATE SET customer = excluded.customer, status = excluded.status, total = excluded.total, version = excluded.version
$$;
SELECT asynx.subscribe(asynx.topic('order.*'), 'shop.project_order', 'orders', mode => 'inline');

-- A forgotten order leaves the read model; one that is still to be delivered cannot be forgotten.
CREATE FUNCTION shop.remove_order(e asynx.event) RETURNS void LANGUAGE sql AS $$
  DELETE FROM shop.orders WHERE id = e.aggregate_id
$$;
SELECT asynx.subscribe('asynx.aggregate.forget', 'shop.remove_order', 'orders forgotten', mode => 'inline');
CREATE FUNCTION shop.check_forget(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF e.aggregate_type = 'order' AND e.aggregate ->> 'status' = 'paid' THEN
    RAISE EXCEPTION 'the order is paid and not shipped';
  END IF;
END $$;
SELECT asynx.on_forget('shop.check_forget');

-- What the read model should be, from the events alone; no row if it is that.
CREATE VIEW shop.differences AS
  WITH truth AS (
    SELECT a.aggregate_id AS id, s.state ->> 'customer' AS customer, s.state ->> 'status' AS status,
           (s.state ->> 'total')::numeric AS total, a.version
    FROM asynx.aggregates('order', count => 1000000) AS a, LATERAL (SELECT asynx.get(a.aggregate_id) AS state) AS s)
  (TABLE truth EXCEPT TABLE shop.orders) UNION ALL (TABLE shop.orders EXCEPT TABLE truth);
