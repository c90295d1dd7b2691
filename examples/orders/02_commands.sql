-- Aggregates and commands.  A command is two functions that only compute: validate says no, emit
-- says what the state is then.  asynx stores the difference as an RFC 6902 patch.  Run this as shop_owner.
SELECT asynx.create_aggregate_type('order', snapshot_every => 64);
SELECT asynx.create_aggregate_type('account', seed => '{"balance": 0}');

-- An order is created once, with at least one line.
CREATE FUNCTION shop.check_create(current jsonb, payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN current IS NOT NULL THEN 'the order exists already'
    WHEN payload ->> 'customer' IS NULL THEN 'an order needs a customer'
    WHEN NOT coalesce(jsonb_array_length(payload -> 'lines') > 0, false) THEN 'an order needs lines'
  END
$$;
CREATE FUNCTION shop.create_order(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('customer', payload -> 'customer', 'lines', payload -> 'lines', 'status', 'open',
           'total', (SELECT sum((line ->> 'price')::numeric * (line ->> 'quantity')::int)
                     FROM jsonb_array_elements(payload -> 'lines') AS line))
$$;
SELECT asynx.create_command('create_order', 'order', 'order.created', 'shop.create_order', 'shop.check_create');

-- Paying, shipping and cancelling move the status on.
CREATE FUNCTION shop.check_pay(current jsonb, payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN current IS NULL THEN 'there is no such order'
    WHEN current ->> 'status' <> 'open' THEN format('the order is %s', current ->> 'status')
    WHEN (payload ->> 'amount')::numeric <> (current ->> 'total')::numeric THEN 'that is not the total'
  END
$$;
CREATE FUNCTION shop.pay(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT current || '{"status": "paid"}'
$$;
SELECT asynx.create_command('pay_order', 'order', 'order.paid', 'shop.pay', 'shop.check_pay');

CREATE FUNCTION shop.check_ship(current jsonb, payload jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT current ->> 'status' IS NOT DISTINCT FROM 'paid'
$$;
CREATE FUNCTION shop.ship(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT current || jsonb_build_object('status', 'shipped', 'parcel', payload -> 'parcel')
$$;
SELECT asynx.create_command('ship_order', 'order', 'order.shipped', 'shop.ship', 'shop.check_ship');

CREATE FUNCTION shop.check_cancel(current jsonb, payload jsonb) RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF current ->> 'status' = 'shipped' THEN
    RAISE EXCEPTION 'the order has been shipped';
  END IF;
END $$;
CREATE FUNCTION shop.cancel(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT current || jsonb_build_object('status', 'cancelled', 'reason', payload -> 'reason')
$$;
SELECT asynx.create_command('cancel_order', 'order', 'order.cancelled', 'shop.cancel', 'shop.check_cancel');

-- An account never goes below zero.
CREATE FUNCTION shop.check_post(current jsonb, payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN coalesce((current ->> 'balance')::numeric, 0) + (payload ->> 'amount')::numeric < 0
    THEN 'the account has not enough' END
$$;
CREATE FUNCTION shop.post(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('balance', coalesce((current ->> 'balance')::numeric, 0) + (payload ->> 'amount')::numeric)
$$;
SELECT asynx.create_command('post', 'account', 'account.posted', 'shop.post', 'shop.check_post');
