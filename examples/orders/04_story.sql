-- What the application does.  Run this as shop_app, but where it says otherwise.
SET ROLE shop_app;
SELECT version, event_name, aggregate ->> 'status' AS status, aggregate ->> 'total' AS total
FROM asynx.send('create_order', 'order-1',
  '{"customer": "ada", "lines": [{"sku": "pen", "quantity": 2, "price": 1.50}, {"sku": "ink", "quantity": 1, "price": 7}]}');
SELECT * FROM shop.orders;

-- Rejected: nothing is stored, and the function's own words come back.
SELECT asynx.send('pay_order', 'order-1', '{"amount": 5}');
SELECT asynx.send('create_order', 'order-1', '{"customer": "bob", "lines": [{"sku": "pen", "quantity": 1, "price": 1}]}');

-- The connection was lost after paying?  The same id again pays once.
SELECT version, patch FROM asynx.send('pay_order', 'order-1', '{"amount": 10.00}', id => 'b9a3f0c2-0000-4000-8000-000000000001');
SELECT version, patch FROM asynx.send('pay_order', 'order-1', '{"amount": 10.00}', id => 'b9a3f0c2-0000-4000-8000-000000000001');
SELECT asynx.count('order-1', 0);

-- Who decided by what he saw says so: version 1 is not current any more.
SELECT asynx.send('cancel_order', 'order-1', '{"reason": "changed my mind"}', expected_version => 1);
SELECT version, aggregate ->> 'status' AS status FROM asynx.send('ship_order', 'order-1', '{"parcel": "P-1"}');
SELECT asynx.send('cancel_order', 'order-1', '{"reason": "too late"}');
SELECT version, event_name, patch FROM asynx.read_from('order-1', 0);
SELECT asynx.get('order-1', 2) ->> 'status' AS status_then, asynx.get('order-1') ->> 'status' AS status_now;

-- A transfer is two commands in one: both, or none.
SELECT version, aggregate FROM asynx.send('post', 'account-ada', '{"amount": 100}');
SELECT aggregate_id, aggregate FROM asynx.send_many('[
  {"command": "post", "aggregate_id": "account-ada", "payload": {"amount": -30}},
  {"command": "post", "aggregate_id": "account-bob", "payload": {"amount": 30}}]');
SELECT aggregate_id, aggregate FROM asynx.send_many('[
  {"command": "post", "aggregate_id": "account-bob", "payload": {"amount": 500}},
  {"command": "post", "aggregate_id": "account-ada", "payload": {"amount": -500}}]');
SELECT asynx.get('account-ada') AS ada, asynx.get('account-bob') AS bob;

-- A field is renamed: from schema version 2 on, a customer is a buyer.  Old events stay as they are;
-- an upcaster turns their patches into what they would be now.  As shop_owner:
SET ROLE shop_owner;
CREATE FUNCTION shop.order_to_2(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(jsonb_agg(CASE
           WHEN op ->> 'path' = '' AND op -> 'value' ? 'customer'
             THEN jsonb_set(op, '{value}', (op -> 'value') - 'customer' || jsonb_build_object('buyer', op #> '{value,customer}'))
           WHEN op ->> 'path' = '/customer' THEN jsonb_set(op, '{path}', '"/buyer"')
           ELSE op END ORDER BY n), '[]')
  FROM jsonb_array_elements(patch) WITH ORDINALITY AS ops (op, n)
$$;
SELECT asynx.create_upcaster('order', 1, 'shop.order_to_2');
SELECT asynx.alter_aggregate_type('order', schema_version => 2);
CREATE OR REPLACE FUNCTION shop.check_create(current jsonb, payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN current IS NOT NULL THEN 'the order exists already'
    WHEN payload ->> 'buyer' IS NULL THEN 'an order needs a buyer'
    WHEN NOT coalesce(jsonb_array_length(payload -> 'lines') > 0, false) THEN 'an order needs lines'
  END
$$;
CREATE OR REPLACE FUNCTION shop.create_order(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('buyer', payload -> 'buyer', 'lines', payload -> 'lines', 'status', 'open',
           'total', (SELECT sum((line ->> 'price')::numeric * (line ->> 'quantity')::int)
                     FROM jsonb_array_elements(payload -> 'lines') AS line))
$$;
CREATE OR REPLACE FUNCTION shop.project_order(e asynx.event) RETURNS void LANGUAGE sql AS $$
  INSERT INTO shop.orders (id, customer, status, total, version)
  VALUES (e.aggregate_id, e.aggregate ->> 'buyer', e.aggregate ->> 'status', (e.aggregate ->> 'total')::numeric, e.version)
  ON CONFLICT (id) DO UPDATE SET customer = excluded.customer, status = excluded.status, total = excluded.total, version = excluded.version
$$;
CREATE OR REPLACE VIEW shop.differences AS
  WITH truth AS (
    SELECT a.aggregate_id AS id, s.state ->> 'buyer' AS customer, s.state ->> 'status' AS status,
           (s.state ->> 'total')::numeric AS total, a.version
    FROM asynx.aggregates('order', count => 1000000) AS a, LATERAL (SELECT asynx.get(a.aggregate_id) AS state) AS s)
  (TABLE truth EXCEPT TABLE shop.orders) UNION ALL (TABLE shop.orders EXCEPT TABLE truth);
SET ROLE shop_app;
SELECT version, schema_version, aggregate -> 'buyer' AS buyer, aggregate -> 'status' AS status FROM asynx.replay('order-1');
SELECT version, schema_version, aggregate -> 'buyer' AS buyer
FROM asynx.send('create_order', 'order-2', '{"buyer": "bob", "lines": [{"sku": "pen", "quantity": 1, "price": 1.50}]}');

-- The read model is what the events say.  As shop_owner, who may read them all:
SET ROLE shop_owner;
SELECT * FROM shop.differences;

-- Ada wants to be forgotten.  Her order has been shipped, so it may go, and so may her account;
-- order-2 is paid and still to be delivered.
SELECT version FROM asynx.send('pay_order', 'order-2', '{"amount": 1.50}');
SELECT asynx.forget('order-2');
SELECT asynx.forget('order-1');
SELECT asynx.forget('account-ada');
SELECT asynx.exists('order-1') AS order_1, asynx.exists('account-ada') AS account_ada, (SELECT count(*) FROM shop.orders WHERE customer = 'ada') AS rows_of_ada;
SELECT id, customer, status FROM shop.orders;
SELECT * FROM shop.differences;

-- Readers of the feed learn of it, without any content.
SELECT aggregate_id, event_name, patch FROM asynx.read_all(0, 1000, 'asynx\..*');
RESET ROLE;
