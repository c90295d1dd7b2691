-- Roles and rights.  Roles belong to the cluster: they are made once and stay
-- when the extension goes.  One that exists already and could be somebody's
-- login or a way to more power is not used.

DO $roles$
DECLARE
  role_name text;
  role_purpose text;
BEGIN
  FOR role_name, role_purpose IN VALUES
    ('asynx_reader', 'asynx: may read states and the feed'),
    ('asynx_sender', 'asynx: may send commands'),
    ('asynx_writer', 'asynx: may send commands, append and write'),
    ('asynx_admin', 'asynx: may do all that the others may, and define, erase and operate')
  LOOP
    IF EXISTS (SELECT FROM pg_catalog.pg_roles r
               WHERE r.rolname OPERATOR(pg_catalog.=) role_name
               AND (r.rolcanlogin OR r.rolsuper OR r.rolcreaterole)) THEN
      RAISE EXCEPTION USING
        ERRCODE = 'duplicate_object',
        MESSAGE = pg_catalog.format('role "%s" exists and is not a plain group role', role_name),
        DETAIL = 'It has LOGIN, SUPERUSER or CREATEROLE.',
        HINT = 'Rename the role, or take these attributes from it.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r
                   WHERE r.rolname OPERATOR(pg_catalog.=) role_name) THEN
      EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
      EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', role_name, role_purpose);
    END IF;
  END LOOP;
END
$roles$;

GRANT asynx_sender TO asynx_writer;
GRANT asynx_reader, asynx_writer TO asynx_admin;

-- Everybody may use the JSON functions; everything else is for the roles.
GRANT USAGE ON SCHEMA asynx TO PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA asynx FROM PUBLIC;
REVOKE ALL ON ALL PROCEDURES IN SCHEMA asynx FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE asynx.send_wait(text, text, jsonb, jsonb, interval, asynx.event)
  TO asynx_sender;
GRANT EXECUTE ON PROCEDURE asynx.shutdown(interval) TO asynx_admin;
GRANT EXECUTE ON FUNCTION
  asynx.json_patch(jsonb, jsonb),
  asynx.json_diff(jsonb, jsonb),
  asynx.json_patch_text(text, text),
  asynx.json_diff_text(text, text),
  asynx.json_pointer(jsonb, text),
  asynx.json_patch_agg(jsonb),
  asynx.topic(text)
  TO PUBLIC;

GRANT EXECUTE ON FUNCTION
  asynx.get(text),
  asynx.get(text, bigint),
  asynx.get_at(text, timestamptz),
  asynx.exists(text),
  asynx.aggregates(text, text, integer),
  asynx.preload(text),
  asynx.replay(text, bigint, bigint),
  asynx.read_from(text, bigint),
  asynx.read_range(text, bigint, bigint),
  asynx.read_all(bigint, bigint, text),
  asynx.count(text, bigint),
  asynx.safe_position(),
  asynx.feed_holders(),
  asynx.fetch(text, integer, boolean),
  asynx.ack(text, bigint),
  asynx.wait_for(bigint, interval, text),
  asynx.wait_for_handlers(interval),
  asynx.listen(text, integer, interval),
  asynx.subscribe_wait(text, interval),
  asynx.workers(),
  asynx.lifecycle_state()
  TO asynx_reader;
GRANT SELECT ON asynx.events, asynx.aggregate_types, asynx.tombstones, asynx.feed_status,
  asynx.worker_status, asynx.subscription_status, asynx.progress, asynx.stats
  TO asynx_reader;

GRANT EXECUTE ON FUNCTION
  asynx.send(text, text, jsonb, jsonb, bigint, uuid),
  asynx.send_many(jsonb)
  TO asynx_sender;

GRANT EXECUTE ON FUNCTION
  asynx.append(text, bigint, text, jsonb, text, jsonb, uuid, timestamptz, integer),
  asynx.append_many(jsonb),
  asynx.write(text, text, jsonb, bigint, text, jsonb, uuid, boolean)
  TO asynx_writer;

GRANT EXECUTE ON FUNCTION
  asynx.delete(text),
  asynx.put_snapshot(text, bigint, jsonb),
  asynx.get_snapshot(text),
  asynx.delete_snapshot(text),
  asynx.create_aggregate_type(text, integer, jsonb, integer),
  asynx.alter_aggregate_type(text, integer, integer),
  asynx.drop_aggregate_type(text),
  asynx.create_command(text, text, text, text, text, boolean),
  asynx.drop_command(text),
  asynx.create_upcaster(text, integer, text),
  asynx.drop_upcaster(text, integer),
  asynx.subscribe(text, text, text, text, interval, text, text, bigint, integer, integer,
                  interval, text),
  asynx.unsubscribe(text),
  asynx.on_forget(text),
  asynx.on_panic(text),
  asynx.on_timeout(text),
  asynx.on_publish_error(text),
  asynx.on_corruption(text),
  asynx.forget(text),
  asynx.purge_tombstones(timestamptz),
  asynx.pause(text),
  asynx.resume(text),
  asynx.alter_subscription(text, interval, integer, interval, text),
  asynx.retry(text, bigint),
  asynx.discard(text, bigint),
  asynx.rebuild(text, bigint),
  asynx.publish(text, bigint),
  asynx.publish_sync(text, bigint),
  asynx.resume()
  TO asynx_admin;
GRANT SELECT ON
  asynx.snapshots, asynx.upcasters, asynx.commands, asynx.subscriptions, asynx.checkpoints,
  asynx.rebuilds, asynx.failures, asynx.feed_mark, asynx.lifecycle
  TO asynx_admin;
