/*
 * forget.c
 *	  Forgets an aggregate: forget(), purge_tombstones().
 *
 * 1. All in one transaction: an event "asynx.aggregate.forget" is inserted as the
 *	  next version, for which appends in flight wait (erase.c).  The on_forget hooks
 *	  and the inline subscriptions that match its name get it with the last state.
 *	  Then events, snapshot and failures go, that event too, and in the feed its
 *	  place is taken by a row of asynx.tombstones, which has no state.
 *
 *	  The checkpoints of the partitions that handle its events are locked: a batch under
 *	  way is waited for, and none begins before the forget has been committed.
 *
 * 2. What other sessions remember of the aggregate is out of date by the counters of
 *	  erasures.c; nobody can read it after the commit.
 *
 * 3. Only a hook can stop it.  An aggregate whose state cannot be rebuilt can be
 *	  forgotten too; it has no state then.  While it goes, nobody can command it.
 *
 * 4. A tombstone stays for the readers of the feed until it is purged, and at least
 *	  as long as an append whose position was drawn before it may be in flight
 *	  (store.c, 3).
 */
#include "asynx.h"

#include "args.h"
#include "catalog/pg_type.h"
#include "erase.h"
#include "errors.h"
#include "event.h"
#include "feed.h"
#include "hook.h"
#include "inline.h"
#include "lock.h"
#include "query.h"
#include "replay.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

/* A forget under way. */
typedef struct Forget
{
	const text *aggregate_id;
	AsynxStoredEvent event;		/* the last of the aggregate */
	Jsonb	   *state;			/* the last state; NULL if it could not be rebuilt */
} Forget;

/* The last event.  It is the only one whose position is not there for long. */
static AsynxQuery InsertForgetting = {
	.sql = ASYNX_SQL("INSERT INTO asynx.events AS e "
					 "(aggregate_id, version, id, aggregate_type, event_name, schema_version, "
					 " occurred_at, patch) "
					 "SELECT p.aggregate_id, p.version OPERATOR(pg_catalog.+) 1, "
					 " pg_catalog.gen_random_uuid(), p.aggregate_type, '" ASYNX_FORGET_EVENT "', "
					 " asynx.schema_version(p.aggregate_type), pg_catalog.clock_timestamp(), "
					 " '[]' FROM asynx.events p "
					 "WHERE p.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND p.version OPERATOR(pg_catalog.=) $2 "
					 "ON CONFLICT (aggregate_id, version) DO NOTHING "
					 "RETURNING " ASYNX_STORED_EVENT_COLUMNS),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery InsertTombstone = {
	.sql = ASYNX_SQL("INSERT INTO asynx.tombstones "
					 "(position, aggregate_id, aggregate_type, forgotten_at, id, version, "
					 " schema_version) VALUES ($1, $2, $3, $4, $5, $6, $7)"),
	.nargs = 7,
	.argtypes = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, UUIDOID, INT8OID, INT4OID},
};

static AsynxQuery DeleteFailures = {
	.sql = ASYNX_SQL("DELETE FROM asynx.failures f "
					 "WHERE f.aggregate_id OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery PurgeTombstones = {
	.sql = ASYNX_SQL("DELETE FROM asynx.tombstones t "
					 "WHERE t.forgotten_at OPERATOR(pg_catalog.<) $1 "
					 "AND t.position OPERATOR(pg_catalog.<=) $2"),
	.nargs = 2,
	.argtypes = {TIMESTAMPTZOID, INT8OID},
};

/* The checkpoints of all partitions that may be handling events of the aggregate. */
static AsynxQuery LockCheckpoints = {
	.sql = ASYNX_SQL("SELECT c.subscription FROM asynx.checkpoints c "
					 "JOIN asynx.subscriptions s "
					 "ON s.name OPERATOR(pg_catalog.=) c.subscription "
					 "WHERE asynx.partition_of($1, s.partitions) "
					 "OPERATOR(pg_catalog.=) c.partition "
					 "ORDER BY c.subscription FOR UPDATE OF c"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Row function of InsertForgetting. */
static bool
GetEvent(TupleTableSlot *slot, void *arg)
{
	asynx_event_from_slot(slot, (AsynxStoredEvent *) arg);
	return true;
}

/* Unit of work: rebuilds the last state. */
static void
Fold(void *arg)
{
	Forget	   *forget = (Forget *) arg;
	AsynxAggregate aggregate;

	PushActiveSnapshot(GetTransactionSnapshot());
	asynx_replay_aggregate_at(forget->aggregate_id, forget->event.version - 1, &aggregate);
	PopActiveSnapshot();
	forget->state = aggregate.state;
}

/* Error filter: whatever says that the state cannot be rebuilt. */
static bool
IsFoldFailure(const ErrorData *error, void *arg)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	(void) arg;
	return category != ERRCODE_OPERATOR_INTERVENTION &&
		category != ERRCODE_TRANSACTION_ROLLBACK;
}

/* Asks the hooks and tells the subscriptions. */
static void
Tell(Forget *forget)
{
	AsynxEnvelope envelope = {.event = &forget->event};

	if (asynx_subscriptions_of(ASYNX_ON_FORGET) == NIL &&
		asynx_subscriptions_matching(ASYNX_INLINE, forget->event.event_name) == NIL)
		return;

	(void) asynx_query_attempt(Fold, IsFoldFailure, forget);
	envelope.aggregate = envelope.previous = forget->state;
	asynx_hooks_ask_forget(&envelope);
	asynx_inline_run_forget(&envelope);
}

/* The same; functions of the user's that run on the way cannot get the aggregate's lock. */
static void
TellAlone(Forget *forget)
{
	AsynxDecisionUnderWay decision;

	asynx_lock_begin_decision(&decision, forget->aggregate_id);
	PG_TRY();
	{
		Tell(forget);
	}
	PG_FINALLY();
	{
		asynx_lock_end_decision(&decision);
	}
	PG_END_TRY();
}

/* Leaves the tombstone. */
static void
Bury(const AsynxStoredEvent *event)
{
	Datum		values[] = {
		Int64GetDatum(event->position),
		PointerGetDatum(event->aggregate_id),
		PointerGetDatum(event->aggregate_type),
		TimestampTzGetDatum(event->occurred_at),
		UUIDPGetDatum(&event->id),
		Int64GetDatum(event->version),
		Int32GetDatum(event->schema_version),
	};

	(void) asynx_query_write(&InsertTombstone, values, NULL, NULL, NULL);
}

/* Forgets an aggregate; raises validation_failed if there is none. */
static void
ForgetAggregate(const text *aggregate_id)
{
	Forget		forget = {.aggregate_id = aggregate_id};
	Datum		values[] = {PointerGetDatum(aggregate_id)};
	int64		head;

	/* before the position is drawn: from then on the feed waits for this transaction */
	(void) asynx_query_write(&LockCheckpoints, values, NULL, NULL, NULL);
	head = asynx_erase_begin(aggregate_id, &InsertForgetting, GetEvent, &forget.event);
	if (head == 0)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_VALIDATION_FAILED),
				 errmsg("aggregate \"%s\" does not exist", text_to_cstring(aggregate_id)),
				 errdetail("There is nothing to forget.")));

	(void) asynx_query_write(&DeleteFailures, values, NULL, NULL, NULL);
	TellAlone(&forget);
	Bury(&forget.event);
	asynx_erase_finish(aggregate_id, head);
}

PG_FUNCTION_INFO_V1(asynx_forget);
PG_FUNCTION_INFO_V1(asynx_purge_tombstones);

/* asynx.forget(aggregate_id text) returns void */
Datum
asynx_forget(PG_FUNCTION_ARGS)
{
	text	   *aggregate_id = asynx_arg_aggregate_id(fcinfo, 0);
	AsynxQueryScope scope;

	asynx_feed_check_isolation("asynx.forget");
	asynx_query_begin_write(&scope, "asynx.forget()");
	ForgetAggregate(aggregate_id);
	asynx_query_end(&scope);

	PG_RETURN_VOID();
}

/* asynx.purge_tombstones(before timestamptz) returns bigint: how many went */
Datum
asynx_purge_tombstones(PG_FUNCTION_ARGS)
{
	TimestampTz before = asynx_arg_timestamp(fcinfo, 0, "before");
	AsynxQueryScope scope;
	Datum		values[2];
	uint64		purged;

	asynx_query_begin_write(&scope, "asynx.purge_tombstones()");
	values[0] = TimestampTzGetDatum(before);
	values[1] = Int64GetDatum(asynx_feed_safe_position());
	purged = asynx_query_write(&PurgeTombstones, values, NULL, NULL, NULL);
	asynx_query_end(&scope);

	PG_RETURN_INT64(purged);
}
