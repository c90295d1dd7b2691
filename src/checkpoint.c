/*
 * checkpoint.c
 *	  How far subscriptions have got, and what they could not handle.
 *
 * 1. Each partition of a subscription has a row that says up to where it has handled
 *	  the feed.  Who handles events of the partition holds that row's lock to the end
 *	  of his transaction and moves it in the same, so that nothing is handled twice.
 *
 * 2. What could not be handled is a row of asynx.failures, by state:
 *
 *	  retrying	it is tried again at next_at
 *	  parked	it waits for asynx.retry(), or, without attempts, for an earlier event
 *				of its aggregate
 *	  requested	it is to be tried now
 *	  dead		it was given up, and holds up nobody
 *
 *	  All but the dead hold up the later events of their aggregate, which become rows
 *	  too when their turn comes; they are handled in order.  There may be very many:
 *	  nobody looks at all of them but at what is due, and at an aggregate's line.  Who
 *	  is done with the first of a line releases the next.
 *
 * 3. Where a crash has to be survived, an event gets such a row before it is handled,
 *	  "retrying" without a next_at, in a transaction of its own.  It holds up nobody,
 *	  and goes when the event has been handled.
 */
#include "asynx.h"

#include "catalog/pg_type.h"
#include "checkpoint.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "query.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"

/* How much of an error's message a failure keeps, in bytes. */
#define MESSAGE_BYTES 1000

/* Before an event is tried again that did not fail by itself, in milliseconds. */
#define REPETITION_DELAY 100

/* How many failures are handled at a time. */
#define DUE_LIMIT 100

static AsynxQuery LockCheckpoint = {
	.sql = ASYNX_SQL("SELECT c.position FROM asynx.checkpoints c "
					 "WHERE c.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND c.partition OPERATOR(pg_catalog.=) $2 FOR UPDATE SKIP LOCKED"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT4OID},
};

static AsynxQuery MoveCheckpoint = {
	.sql = ASYNX_SQL("UPDATE asynx.checkpoints c SET position = $3 "
					 "WHERE c.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND c.partition OPERATOR(pg_catalog.=) $2"),
	.nargs = 3,
	.argtypes = {TEXTOID, INT4OID, INT8OID},
};

/* Is the position one that a rebuild has yet to pass? */
static AsynxQuery SelectRebuild = {
	.sql = ASYNX_SQL("SELECT r.goal FROM asynx.rebuilds r "
					 "WHERE r.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND r.goal OPERATOR(pg_catalog.>) $2"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

/* Is there anything that is not dead? */
static AsynxQuery SelectAny = {
	.sql = ASYNX_SQL("SELECT f.position FROM asynx.failures f "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.state OPERATOR(pg_catalog.<>) 'dead' LIMIT 1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* The line of an aggregate; a row that was only begun holds up nobody. */
static AsynxQuery SelectLine = {
	.sql = ASYNX_SQL("SELECT f.position FROM asynx.failures f "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.aggregate_id OPERATOR(pg_catalog.=) $2 "
					 "AND f.state OPERATOR(pg_catalog.<>) 'dead' "
					 "AND (f.state OPERATOR(pg_catalog.<>) 'retrying' "
					 " OR f.next_at IS NOT NULL) LIMIT 1"),
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

/*
 * What may be handled now, then what will be, by time: nothing earlier of its aggregate
 * is in its way.
 */
static AsynxQuery SelectDue = {
	.sql = ASYNX_SQL("SELECT f.position, f.aggregate_id, f.version, f.attempts, f.begun, "
					 " f.state OPERATOR(pg_catalog.=) 'requested', f.next_at "
					 "FROM asynx.failures f "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.state OPERATOR(pg_catalog.=) ANY ('{requested,retrying}') "
					 "AND (f.state OPERATOR(pg_catalog.=) 'requested' OR f.next_at IS NOT NULL) "
					 "AND NOT EXISTS (SELECT FROM asynx.failures b "
					 " WHERE b.subscription OPERATOR(pg_catalog.=) $1 "
					 " AND b.aggregate_id OPERATOR(pg_catalog.=) f.aggregate_id "
					 " AND b.position OPERATOR(pg_catalog.<) f.position "
					 " AND b.state OPERATOR(pg_catalog.<>) 'dead' "
					 " AND (b.state OPERATOR(pg_catalog.<>) 'retrying' "
					 "  OR b.next_at IS NOT NULL)) "
					 "ORDER BY f.next_at NULLS FIRST, f.position"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Is it still to be handled?  Somebody may have discarded it, or begun a rebuild. */
static AsynxQuery LockDue = {
	.sql = ASYNX_SQL("SELECT f.position FROM asynx.failures f "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.position OPERATOR(pg_catalog.=) $2 "
					 "AND f.state OPERATOR(pg_catalog.=) ANY ('{requested,retrying}') "
					 "FOR UPDATE"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery SelectBegun = {
	.sql = ASYNX_SQL("SELECT f.position, f.aggregate_id, f.version, f.attempts, f.begun, "
					 " false "
					 "FROM asynx.failures f "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.state OPERATOR(pg_catalog.=) ANY ('{requested,retrying}') "
					 "AND f.state OPERATOR(pg_catalog.=) 'retrying' AND f.next_at IS NULL "
					 "ORDER BY f.position"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* The first of an aggregate's line, if it only waited, waits no more. */
static AsynxQuery ReleaseNext = {
	.sql = ASYNX_SQL("UPDATE asynx.failures f "
					 "SET state = 'retrying', next_at = pg_catalog.clock_timestamp() "
					 "FROM (SELECT w.position FROM asynx.failures w "
					 " WHERE w.subscription OPERATOR(pg_catalog.=) $1 "
					 " AND w.aggregate_id OPERATOR(pg_catalog.=) $2 "
					 " AND w.state OPERATOR(pg_catalog.<>) 'dead' "
					 " AND (w.state OPERATOR(pg_catalog.<>) 'retrying' "
					 "  OR w.next_at IS NOT NULL) "
					 " ORDER BY w.position LIMIT 1) AS first "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.position OPERATOR(pg_catalog.=) first.position "
					 "AND f.state OPERATOR(pg_catalog.=) 'parked' "
					 "AND f.attempts OPERATOR(pg_catalog.=) 0"),
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

/* The same for all lines of a partition, of so many. */
static AsynxQuery ReleaseAll = {
	.sql = ASYNX_SQL("UPDATE asynx.failures f "
					 "SET state = 'retrying', next_at = pg_catalog.clock_timestamp() "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.state OPERATOR(pg_catalog.<>) 'dead' "
					 "AND f.state OPERATOR(pg_catalog.=) 'parked' "
					 "AND f.attempts OPERATOR(pg_catalog.=) 0 "
					 "AND asynx.partition_of(f.aggregate_id, $3) OPERATOR(pg_catalog.=) $2 "
					 "AND NOT EXISTS (SELECT FROM asynx.failures b "
					 " WHERE b.subscription OPERATOR(pg_catalog.=) $1 "
					 " AND b.aggregate_id OPERATOR(pg_catalog.=) f.aggregate_id "
					 " AND b.position OPERATOR(pg_catalog.<) f.position "
					 " AND b.state OPERATOR(pg_catalog.<>) 'dead' "
					 " AND (b.state OPERATOR(pg_catalog.<>) 'retrying' "
					 "  OR b.next_at IS NOT NULL))"),
	.nargs = 3,
	.argtypes = {TEXTOID, INT4OID, INT4OID},
};

/* Notes of events that have been handled all the same, up to a position. */
static AsynxQuery DeleteBegun = {
	.sql = ASYNX_SQL("DELETE FROM asynx.failures f "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.state OPERATOR(pg_catalog.=) ANY ('{requested,retrying}') "
					 "AND f.state OPERATOR(pg_catalog.=) 'retrying' AND f.next_at IS NULL "
					 "AND asynx.partition_of(f.aggregate_id, $3) OPERATOR(pg_catalog.=) $2 "
					 "AND f.position OPERATOR(pg_catalog.<=) $4"),
	.nargs = 4,
	.argtypes = {TEXTOID, INT4OID, INT4OID, INT8OID},
};

static AsynxQuery DeleteFailure = {
	.sql = ASYNX_SQL("DELETE FROM asynx.failures f "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.position OPERATOR(pg_catalog.=) $2"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery InsertBegun = {
	.sql = ASYNX_SQL("INSERT INTO asynx.failures AS f "
					 "(subscription, position, aggregate_id, version, state, attempts, begun) "
					 "VALUES ($1, $2, $3, $4, 'retrying', 1, 1) "
					 "ON CONFLICT (subscription, position) DO UPDATE "
					 "SET begun = f.begun OPERATOR(pg_catalog.+) 1"),
	.nargs = 4,
	.argtypes = {TEXTOID, INT8OID, TEXTOID, INT8OID},
};

static AsynxQuery BeginAgain = {
	.sql = ASYNX_SQL("UPDATE asynx.failures f SET begun = f.begun OPERATOR(pg_catalog.+) 1 "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.position OPERATOR(pg_catalog.=) $2"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery InsertWaiting = {
	.sql = ASYNX_SQL("INSERT INTO asynx.failures "
					 "(subscription, position, aggregate_id, version, state, attempts) "
					 "VALUES ($1, $2, $3, $4, 'parked', 0) "
					 "ON CONFLICT (subscription, position) DO UPDATE "
					 "SET state = excluded.state, attempts = 0, begun = 0"),
	.nargs = 4,
	.argtypes = {TEXTOID, INT8OID, TEXTOID, INT8OID},
};

static AsynxQuery UpsertFailure = {
	.sql = ASYNX_SQL("INSERT INTO asynx.failures AS f "
					 "(subscription, position, aggregate_id, version, state, attempts, next_at, "
					 " sqlstate, message, failed_at) "
					 "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, pg_catalog.clock_timestamp()) "
					 "ON CONFLICT (subscription, position) DO UPDATE SET "
					 " state = excluded.state, attempts = excluded.attempts, begun = 0, "
					 " next_at = excluded.next_at, sqlstate = excluded.sqlstate, "
					 " message = excluded.message, failed_at = excluded.failed_at"),
	.nargs = 9,
	.argtypes = {TEXTOID, INT8OID, TEXTOID, INT8OID, TEXTOID, INT4OID, TIMESTAMPTZOID, TEXTOID,
	TEXTOID},
};

static AsynxQuery StopSubscription = {
	.sql = ASYNX_SQL("UPDATE asynx.subscriptions s SET state = 'stopped', state_reason = $2 "
					 "WHERE s.name OPERATOR(pg_catalog.=) $1"),
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

/* A list of failures under way. */
typedef struct Failures
{
	const AsynxPartition *partition;	/* whose they are */
	int			partitions;		/* how many there are */
	TimestampTz now;
	List	   *list;
	TimestampTz next;			/* the earliest that is not due yet, of any partition */
} Failures;

/* The partition of an aggregate.  Stored checkpoints depend on it: it must never change. */
int
asynx_partition_of(const text *aggregate_id, int partitions)
{
	uint64		hash;

	if (partitions == 1)
		return 0;
	hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(aggregate_id),
							   VARSIZE_ANY_EXHDR(aggregate_id), 0);
	return (int) (hash % (uint64) partitions);
}

/* Row function of LockCheckpoint. */
static bool
GetPosition(TupleTableSlot *slot, void *arg)
{
	(void) asynx_query_get_int64(slot, arg);
	return true;
}

/*
 * Locks the partition's checkpoint to the end of the transaction and reads it; false
 * if there is none, or somebody else has locked it: he may take his time.
 */
bool
asynx_checkpoint_lock(const AsynxPartition *partition, int64 *position)
{
	Datum		values[] = {
		CStringGetTextDatum(partition->subscription), Int32GetDatum(partition->number)
	};

	return asynx_query_write(&LockCheckpoint, values, NULL, GetPosition, position) > 0;
}

/* Moves the partition's checkpoint, which is locked. */
void
asynx_checkpoint_move(const AsynxPartition *partition, int64 position)
{
	Datum		values[] = {
		CStringGetTextDatum(partition->subscription), Int32GetDatum(partition->number),
		Int64GetDatum(position)
	};

	(void) asynx_query_write(&MoveCheckpoint, values, NULL, NULL, NULL);
}

/* Has a rebuild, whose progress somebody may watch, to pass the position yet? */
bool
asynx_checkpoint_in_rebuild(const AsynxPartition *partition, int64 position)
{
	Datum		values[] = {
		CStringGetTextDatum(partition->subscription), Int64GetDatum(position)
	};

	return asynx_query_read(&SelectRebuild, values, NULL, NULL, NULL) > 0;
}

/* Has the subscription anything that waits, or is to be tried again? */
bool
asynx_failures_any(const char *subscription)
{
	Datum		values[] = {CStringGetTextDatum(subscription)};

	return asynx_query_read(&SelectAny, values, NULL, NULL, NULL) > 0;
}

/* Do later events of the aggregate have to wait? */
bool
asynx_failures_hold_up(const char *subscription, const text *aggregate_id)
{
	Datum		values[] = {CStringGetTextDatum(subscription), PointerGetDatum(aggregate_id)};

	return asynx_query_read(&SelectLine, values, NULL, NULL, NULL) > 0;
}

/* The first of the aggregate's line is done with: the next may be handled. */
void
asynx_failures_release(const char *subscription, const text *aggregate_id)
{
	Datum		values[] = {CStringGetTextDatum(subscription), PointerGetDatum(aggregate_id)};

	(void) asynx_query_write(&ReleaseNext, values, NULL, NULL, NULL);
}

/*
 * The same for all lines of a partition, of so many: their first may have been deleted by
 * hand, or discarded while another came to wait for it.  What was noted to be handled and
 * has been, up to the checkpoint, without the note's knowledge, is forgotten.
 */
void
asynx_failures_release_all(const AsynxPartition *partition, int partitions, int64 checkpoint)
{
	Datum		values[] = {
		CStringGetTextDatum(partition->subscription), Int32GetDatum(partition->number),
		Int32GetDatum(partitions), Int64GetDatum(checkpoint)
	};

	(void) asynx_query_write(&DeleteBegun, values, NULL, NULL, NULL);

	(void) asynx_query_write(&ReleaseAll, values, NULL, NULL, NULL);
}

/* Reads the first columns of SelectDue and SelectBegun. */
static AsynxFailure *
ReadFailure(TupleTableSlot *slot)
{
	AsynxFailure *failure = palloc(sizeof(AsynxFailure));
	bool		isnull;

	failure->position = DatumGetInt64(slot_getattr(slot, 1, &isnull));
	failure->aggregate_id = DatumGetTextPCopy(slot_getattr(slot, 2, &isnull));
	failure->version = DatumGetInt64(slot_getattr(slot, 3, &isnull));
	failure->attempts = DatumGetInt32(slot_getattr(slot, 4, &isnull));
	failure->begun = DatumGetInt32(slot_getattr(slot, 5, &isnull));
	failure->requested = DatumGetBool(slot_getattr(slot, 6, &isnull));
	return failure;
}

/* Row function of SelectDue. */
static bool
AddDue(TupleTableSlot *slot, void *arg)
{
	Failures   *failures = (Failures *) arg;
	bool		isnull;
	Datum		next = slot_getattr(slot, 7, &isnull);
	text	   *id;

	if (!isnull && DatumGetTimestampTz(next) > failures->now)
	{
		failures->next = DatumGetTimestampTz(next);
		return false;
	}
	id = DatumGetTextPP(slot_getattr(slot, 2, &isnull));
	if (asynx_partition_of(id, failures->partitions) == failures->partition->number)
		failures->list = lappend(failures->list, ReadFailure(slot));
	return list_length(failures->list) < DUE_LIMIT;
}

/*
 * What a partition, of so many, is to handle now although the feed has passed it, a
 * list of AsynxFailure; "next" gets when something else will be due, DT_NOEND for never.
 */
List *
asynx_failures_due(const AsynxPartition *partition, int partitions, TimestampTz *next)
{
	Datum		values[] = {CStringGetTextDatum(partition->subscription)};
	Failures	failures = {
		.partition = partition,
		.partitions = partitions,
		.now = GetCurrentTimestamp(),
		.next = DT_NOEND,
	};

	(void) asynx_query_read(&SelectDue, values, NULL, AddDue, &failures);
	*next = failures.next;
	return failures.list;
}

/* Locks a failure to the end of the transaction; false if it is not to be handled any more. */
bool
asynx_failures_lock_due(const char *subscription, int64 position)
{
	Datum		values[] = {CStringGetTextDatum(subscription), Int64GetDatum(position)};
	int64		found;

	return asynx_query_write(&LockDue, values, NULL, GetPosition, &found) > 0;
}

/* Row function of SelectBegun. */
static bool
AddBegun(TupleTableSlot *slot, void *arg)
{
	List	  **list = (List **) arg;

	*list = lappend(*list, ReadFailure(slot));
	return true;
}

/* The events that were begun and not ended, a list of AsynxFailure. */
List *
asynx_failures_begun(const char *subscription)
{
	Datum		values[] = {CStringGetTextDatum(subscription)};
	List	   *list = NIL;

	(void) asynx_query_read(&SelectBegun, values, NULL, AddBegun, &list);
	return list;
}

/* Deletes a failure: the event was handled, or there is no event any more. */
void
asynx_failures_forget(const char *subscription, int64 position)
{
	Datum		values[] = {CStringGetTextDatum(subscription), Int64GetDatum(position)};

	(void) asynx_query_write(&DeleteFailure, values, NULL, NULL, NULL);
}

/* Notes that an event is about to be handled, or its turn to wait; "insert" says which. */
static void
Note(AsynxQuery *insert, const char *subscription, const AsynxStoredEvent *event)
{
	Datum		values[] = {
		CStringGetTextDatum(subscription),
		Int64GetDatum(event->position),
		PointerGetDatum(event->aggregate_id),
		Int64GetDatum(event->version),
	};

	(void) asynx_query_write(insert, values, NULL, NULL, NULL);
}

/* Notes that an event is about to be handled. */
void
asynx_failures_begin(const char *subscription, const AsynxStoredEvent *event)
{
	Note(&InsertBegun, subscription, event);
}

/* The same for one that has failed before, if it is still there. */
void
asynx_failures_begin_again(const char *subscription, int64 position)
{
	Datum		values[] = {CStringGetTextDatum(subscription), Int64GetDatum(position)};

	(void) asynx_query_write(&BeginAgain, values, NULL, NULL, NULL);
}

/* Notes that an event waits for earlier ones of its aggregate. */
void
asynx_failures_wait(const char *subscription, const AsynxStoredEvent *event)
{
	Note(&InsertWaiting, subscription, event);
}

/* What becomes of the event: its state as a failure, and when it is tried again, in ms. */
static const char *
Decide(const AsynxSubscription *subscription, int attempts, const ErrorData *error,
	   int64 *delay)
{
	if (asynx_deliver_asks_for_repetition(error))
	{
		*delay = REPETITION_DELAY;
		return "retrying";
	}
	if (attempts < subscription->max_attempts)
	{
		*delay = subscription->retry_delay;
		return "retrying";
	}
	*delay = 0;
	switch (subscription->policy)
	{
		case ASYNX_PARK:
			return "parked";
		case ASYNX_STOP:
			return "requested";
		default:
			return "dead";
	}
}

/* The message as a failure keeps it. */
static Datum
Message(const ErrorData *error)
{
	int			len = strlen(error->message);

	return PointerGetDatum(cstring_to_text_with_len(error->message,
													pg_mbcliplen(error->message, len,
																 MESSAGE_BYTES)));
}

/*
 * Records that a subscription could not handle an event, at its so many-th attempt;
 * true if the subscription is to stop.
 */
bool
asynx_failures_record(const AsynxSubscription *subscription, const AsynxStoredEvent *event,
					  int attempts, const ErrorData *error)
{
	bool		repeated = asynx_deliver_asks_for_repetition(error);
	int64		delay;
	const char *state = Decide(subscription, attempts, error, &delay);
	bool		retrying = strcmp(state, "retrying") == 0;
	TimestampTz next = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay);
	char		nulls[] = "         ";
	Datum		values[] = {
		CStringGetTextDatum(subscription->name),
		Int64GetDatum(event->position),
		PointerGetDatum(event->aggregate_id),
		Int64GetDatum(event->version),
		CStringGetTextDatum(state),
		Int32GetDatum(repeated ? attempts - 1 : attempts),
		TimestampTzGetDatum(next),
		CStringGetTextDatum(unpack_sql_state(error->sqlerrcode)),
		Message(error),
	};

	if (!retrying)
		nulls[6] = 'n';
	(void) asynx_query_write(&UpsertFailure, values, nulls, NULL, NULL);
	return !retrying && subscription->policy == ASYNX_STOP;
}

/* Stops a subscription, for a reason that its status shows. */
void
asynx_subscription_stop(const char *subscription, const char *reason)
{
	Datum		values[] = {CStringGetTextDatum(subscription), CStringGetTextDatum(reason)};

	(void) asynx_query_write(&StopSubscription, values, NULL, NULL, NULL);
}

PG_FUNCTION_INFO_V1(asynx_partition_number);

/* asynx.partition_of(aggregate_id text, partitions integer) returns integer */
Datum
asynx_partition_number(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(asynx_partition_of(PG_GETARG_TEXT_PP(0), Max(1, PG_GETARG_INT32(1))));
}
