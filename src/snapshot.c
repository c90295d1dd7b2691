/*
 * snapshot.c
 *	  Snapshots: one state per aggregate, a matter of speed alone; get(), preload().
 *
 * Deleting all of them changes no answer.  A snapshot remembers the position of
 * the event it was taken at; a fold uses it only while that very event is
 * stored (replay.c), so a stream that was erased and begun again never meets an
 * old state.
 *
 * Whoever writes a snapshot holds the aggregate's lock, and delete() and
 * forget() hold it too: no snapshot can come after the person it describes was
 * forgotten.  A reader that would like to leave one (asynx_snapshot_offer) takes
 * the lock only if it is free at once, and never under REPEATABLE READ, where
 * it could not see that the stream has gone, nor in a read-only transaction.
 */
#include "asynx.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "args.h"
#include "catalog/pg_type.h"
#include "errors.h"
#include "funcapi.h"
#include "lock.h"
#include "query.h"
#include "snapshot.h"
#include "storage/lmgr.h"
#include "store.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

/* The newest wins, unless the event of the one that is there has gone. */
static AsynxQuery UpsertSnapshot = {
	.sql = ASYNX_SQL("INSERT INTO asynx.snapshots AS s "
					 "(aggregate_id, version, position, schema_version, state, taken_at) "
					 "SELECT e.aggregate_id, e.version, e.position, $4, $5, "
					 " pg_catalog.clock_timestamp() "
					 "FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.version OPERATOR(pg_catalog.=) $2 "
					 "AND e.position OPERATOR(pg_catalog.=) $3 "
					 "ON CONFLICT (aggregate_id) DO UPDATE SET version = excluded.version, "
					 " position = excluded.position, schema_version = excluded.schema_version, "
					 " state = excluded.state, taken_at = excluded.taken_at "
					 "WHERE s.version OPERATOR(pg_catalog.<=) excluded.version "
					 "OR s.schema_version OPERATOR(pg_catalog.<>) excluded.schema_version "
					 "OR NOT EXISTS (SELECT FROM asynx.events x "
					 " WHERE x.aggregate_id OPERATOR(pg_catalog.=) s.aggregate_id "
					 " AND x.version OPERATOR(pg_catalog.=) s.version "
					 " AND x.position OPERATOR(pg_catalog.=) s.position)"),
	.nargs = 5,
	.argtypes = {TEXTOID, INT8OID, INT8OID, INT4OID, JSONBOID},
};

static AsynxQuery SelectSnapshot = {
	.sql = ASYNX_SQL("SELECT s.aggregate_id, s.version, s.position, s.schema_version, "
					 " s.state, s.taken_at FROM asynx.snapshots s "
					 "WHERE s.aggregate_id OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery DeleteSnapshot = {
	.sql = ASYNX_SQL("DELETE FROM asynx.snapshots s "
					 "WHERE s.aggregate_id OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Are the upcasters that made the state those of now?  The event table is locked. */
static bool
UpcastersHold(const AsynxAggregate *aggregate)
{
	bool		hold;

	if (!aggregate->upcast)
		return true;
	PushActiveSnapshot(GetLatestSnapshot());
	hold = asynx_upcasters_still(aggregate->type, &aggregate->upcasters);
	PopActiveSnapshot();
	return hold;
}

/* Writes the aggregate's state as its snapshot; the caller holds the aggregate's lock. */
void
asynx_snapshot_save(const text *aggregate_id, const AsynxAggregate *aggregate)
{
	Datum		values[5];

	if (!UpcastersHold(aggregate))
		return;

	values[0] = PointerGetDatum(aggregate_id);
	values[1] = Int64GetDatum(aggregate->version);
	values[2] = Int64GetDatum(aggregate->position);
	values[3] = Int32GetDatum(aggregate->schema_version);
	values[4] = PointerGetDatum(aggregate->state);
	(void) asynx_query_write(&UpsertSnapshot, values, NULL, NULL, NULL);
}

/* Writes a snapshot if that disturbs nobody and is allowed here; else does nothing. */
void
asynx_snapshot_offer(const text *aggregate_id, const AsynxAggregate *aggregate)
{
	if (RecoveryInProgress() || XactReadOnly || IsolationUsesXactSnapshot())
		return;
	if (aggregate->upcast &&
		!ConditionalLockRelationOid(asynx_query_event_table(), RowExclusiveLock))
		return;
	if (asynx_lock_aggregate_if_free(aggregate_id))
		asynx_snapshot_save(aggregate_id, aggregate);
}

/* Has the aggregate a snapshot, under the active snapshot of the database? */
bool
asynx_snapshot_exists(const text *aggregate_id)
{
	Datum		values[] = {PointerGetDatum(aggregate_id)};

	return asynx_query_read(&SelectSnapshot, values, NULL, NULL, NULL) > 0;
}

/* Deletes the snapshot; was there one? */
bool
asynx_snapshot_delete(const text *aggregate_id)
{
	Datum		values[] = {PointerGetDatum(aggregate_id)};

	return asynx_query_write(&DeleteSnapshot, values, NULL, NULL, NULL) > 0;
}

/* Raises 40001 if the event is not stored any more, whatever the transaction's snapshot shows. */
static void
CheckStillStored(const text *aggregate_id, const AsynxAggregate *aggregate)
{
	int64		position;

	PushActiveSnapshot(GetLatestSnapshot());
	position = asynx_store_position(aggregate_id, aggregate->version);
	PopActiveSnapshot();
	if (position != aggregate->position)
		asynx_store_refuse_moved(aggregate_id);
}

/* Raises validation_failed unless "state" is, byte for byte, what the events give. */
static void
CheckState(const text *aggregate_id, const AsynxAggregate *aggregate, const Jsonb *state)
{
	if (!asynx_same_bytes(state, aggregate->state))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_VALIDATION_FAILED),
				 errmsg("the state is not that of aggregate \"%s\" at version %lld",
						text_to_cstring(aggregate_id), (long long) aggregate->version),
				 errdetail("A snapshot must equal the fold of the events.")));
}

PG_FUNCTION_INFO_V1(asynx_get);
PG_FUNCTION_INFO_V1(asynx_preload);
PG_FUNCTION_INFO_V1(asynx_put_snapshot);
PG_FUNCTION_INFO_V1(asynx_get_snapshot);
PG_FUNCTION_INFO_V1(asynx_delete_snapshot);

/* asynx.get(aggregate_id text) returns jsonb; leaves a snapshot if it had to upcast, and may */
Datum
asynx_get(PG_FUNCTION_ARGS)
{
	text	   *aggregate_id = asynx_arg_aggregate_id(fcinfo, 0);
	AsynxQueryScope scope;
	AsynxAggregate aggregate;

	asynx_query_begin(&scope);
	PushActiveSnapshot(GetTransactionSnapshot());
	asynx_replay_aggregate(aggregate_id, ASYNX_REPLAY_ALL, &aggregate);
	PopActiveSnapshot();
	if (aggregate.upcast || aggregate.damaged)
		asynx_snapshot_offer(aggregate_id, &aggregate);
	asynx_query_end(&scope);

	if (!aggregate.exists)
		asynx_replay_refuse_unknown(aggregate_id);
	if (aggregate.state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(aggregate.state);
}

/* asynx.preload(aggregate_id text) returns void: leaves a snapshot, if it may */
Datum
asynx_preload(PG_FUNCTION_ARGS)
{
	text	   *aggregate_id = asynx_arg_aggregate_id(fcinfo, 0);
	AsynxQueryScope scope;
	AsynxAggregate aggregate;

	asynx_query_begin(&scope);
	PushActiveSnapshot(GetTransactionSnapshot());
	asynx_replay_aggregate(aggregate_id, ASYNX_REPLAY_ALL, &aggregate);
	PopActiveSnapshot();
	if (aggregate.exists && (aggregate.upcast || aggregate.damaged ||
							 aggregate.version > aggregate.snapshot_version))
		asynx_snapshot_offer(aggregate_id, &aggregate);
	asynx_query_end(&scope);

	PG_RETURN_VOID();
}

/* asynx.put_snapshot(aggregate_id text, version bigint, state jsonb) returns void */
Datum
asynx_put_snapshot(PG_FUNCTION_ARGS)
{
	text	   *aggregate_id = asynx_arg_aggregate_id(fcinfo, 0);
	int64		version = asynx_arg_bigint(fcinfo, 1, "version", 1);
	Jsonb	   *state = asynx_arg_jsonb(fcinfo, 2, "state");
	AsynxQueryScope scope;
	AsynxAggregate aggregate;

	asynx_query_begin_write(&scope, "asynx.put_snapshot()");
	asynx_lock_aggregate(aggregate_id);
	PushActiveSnapshot(GetTransactionSnapshot());
	asynx_replay_aggregate_at(aggregate_id, version, &aggregate);
	PopActiveSnapshot();
	CheckStillStored(aggregate_id, &aggregate);
	CheckState(aggregate_id, &aggregate, state);
	asynx_snapshot_save(aggregate_id, &aggregate);
	asynx_query_end(&scope);

	PG_RETURN_VOID();
}

/* asynx.get_snapshot(aggregate_id text) returns setof asynx.snapshots: its row, if there is one */
Datum
asynx_get_snapshot(PG_FUNCTION_ARGS)
{
	Datum		values[] = {PointerGetDatum(asynx_arg_aggregate_id(fcinfo, 0))};

	asynx_query_read_into(&SelectSnapshot, values, NULL, fcinfo);
	return (Datum) 0;
}

/* asynx.delete_snapshot(aggregate_id text) returns boolean: was there one? */
Datum
asynx_delete_snapshot(PG_FUNCTION_ARGS)
{
	text	   *aggregate_id = asynx_arg_aggregate_id(fcinfo, 0);
	AsynxQueryScope scope;
	bool		deleted;

	asynx_query_begin(&scope);
	deleted = asynx_snapshot_delete(aggregate_id);
	asynx_query_end(&scope);

	PG_RETURN_BOOL(deleted);
}
