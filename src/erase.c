/*
 * erase.c
 *	  Erases an aggregate: its events and its snapshot; delete().
 *
 * delete() holds the aggregate's lock, so it is serial with itself, with write()
 * and with whoever takes a snapshot.  Appends take no such lock.  To wait for
 * those in flight, delete() first inserts the next version as a tombstone, a
 * row that nobody else ever sees.  An append that comes later waits on that
 * row, goes on after the delete, and then finds that what it was to continue
 * has gone (store.c, 3).
 */
#include "asynx.h"

#include "access/xact.h"
#include "args.h"
#include "catalog/pg_type.h"
#include "erase.h"
#include "erasures.h"
#include "guard.h"
#include "lock.h"
#include "miscadmin.h"
#include "query.h"
#include "snapshot.h"
#include "store.h"
#include "utils/snapmgr.h"

static AsynxQuery InsertTombstone = {
	.sql = ASYNX_SQL("INSERT INTO asynx.events "
					 "(aggregate_id, version, position, id, aggregate_type, event_name, "
					 " schema_version, occurred_at, patch) "
					 "SELECT e.aggregate_id, $2 OPERATOR(pg_catalog.+) 1, e.position, e.id, "
					 " e.aggregate_type, 'asynx.aggregate.delete', e.schema_version, "
					 " e.occurred_at, '[]' FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.version OPERATOR(pg_catalog.=) $2 "
					 "ON CONFLICT (aggregate_id, version) DO NOTHING"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery DeleteEvents = {
	.sql = ASYNX_SQL("DELETE FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/*
 * Begins to erase an aggregate: takes its lock, and inserts the row behind the last
 * version for which appends in flight wait.  "insert" does that, with the id and the
 * last version as parameters; "row" gets what it returns.  The result is the last
 * version, 0 if the aggregate does not exist.
 */
int64
asynx_erase_begin(const text *aggregate_id, AsynxQuery *insert, AsynxRowFunction row, void *arg)
{
	asynx_lock_aggregate(aggregate_id);
	asynx_erasures_begin();

	for (;;)
	{
		Datum		values[2];
		int64		head;

		PushActiveSnapshot(GetTransactionSnapshot());
		head = asynx_store_head(aggregate_id);
		PopActiveSnapshot();
		if (head == 0)
			return 0;

		values[0] = PointerGetDatum(aggregate_id);
		values[1] = Int64GetDatum(head);
		if (asynx_query_write(insert, values, NULL, row, arg) > 0)
			return head;
		CHECK_FOR_INTERRUPTS();
	}
}

/* Deletes the events, tombstone included; the one place where the guard is lifted. */
static void
DeleteStream(const text *aggregate_id)
{
	Datum		values[] = {PointerGetDatum(aggregate_id)};

	asynx_guard_lift();
	(void) asynx_query_write(&DeleteEvents, values, NULL, NULL, NULL);
	asynx_guard_restore();
}

/* Under REPEATABLE READ: raises 40001 if something remains that the transaction could not see. */
static void
CheckErased(const text *aggregate_id)
{
	bool		remains;

	if (!IsolationUsesXactSnapshot())
		return;

	PushActiveSnapshot(GetLatestSnapshot());
	remains = asynx_store_head(aggregate_id) > 0 || asynx_snapshot_exists(aggregate_id);
	PopActiveSnapshot();
	if (remains)
		asynx_store_refuse_moved(aggregate_id);
}

/* Erases the events, with the row that was inserted to begin with, and the snapshot. */
void
asynx_erase_finish(const text *aggregate_id, int64 head)
{
	if (head > 0)
		DeleteStream(aggregate_id);
	(void) asynx_snapshot_delete(aggregate_id);
	CheckErased(aggregate_id);
}

PG_FUNCTION_INFO_V1(asynx_delete);

/* asynx.delete(aggregate_id text) returns bigint */
Datum
asynx_delete(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	text	   *aggregate_id = asynx_arg_aggregate_id(fcinfo, 0);
	int64		erased;

	asynx_query_begin_write(&scope, "asynx.delete()");
	erased = asynx_erase_begin(aggregate_id, &InsertTombstone, NULL, NULL);
	asynx_erase_finish(aggregate_id, erased);
	asynx_query_end(&scope);

	PG_RETURN_INT64(erased);
}
