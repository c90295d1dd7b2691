/*
 * wait.c
 *	  Waiting for handlers and for events.
 *
 * Who waits looks with a new snapshot, sleeps until the bus says that something has
 * got on (slots.c), and looks again.  A handler has got to a position when its
 * partition's checkpoint has, or when between the two there is no event that it
 * wants: checkpoints of partitions that have nothing to do stay behind.  What failed,
 * and what waits for it, does not count; what a handler was asked for again does.
 */
#include "asynx.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "args.h"
#include "catalog/pg_type.h"
#include "checkpoint.h"
#include "deliver.h"
#include "errors.h"
#include "feed.h"
#include "funcapi.h"
#include "guc.h"
#include "miscadmin.h"
#include "operate.h"
#include "pattern.h"
#include "pgstat.h"
#include "query.h"
#include "slots.h"
#include "storage/latch.h"
#include "subscription.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "wait.h"

/* How long to sleep where nobody wakes, in milliseconds. */
#define MOMENT 100

/* What is waited for. */
typedef struct Awaited
{
	int64		position;		/* up to where */
	const text *subscription;	/* of whom; NULL for all */
	HTAB	   *behind;			/* partitions whose checkpoints are not there yet */
	int64		from;			/* the lowest of their checkpoints */
	bool		missing;		/* is there an event that one of them has not handled? */
} Awaited;

/* A partition that is behind. */
typedef struct Behind
{
	AsynxPartition key;			/* hash key */
	int64		position;
} Behind;

/* listen() under way. */
typedef struct Listening
{
	AsynxPattern *pattern;
	int64		after;			/* the last position that was looked at */
	int64		left;			/* events that may still come; negative for any number */
	TimestampTz until;
	AsynxStoredEvent event;		/* the next one, if found */
	AsynxDelivery delivery;		/* with its states */
	bool		found;
	MemoryContext context;		/* of that event */
} Listening;

/* Checkpoints of handlers that are behind a position. */
static AsynxQuery SelectBehind = {
	.sql = ASYNX_SQL("SELECT c.subscription, c.partition, c.position "
					 "FROM asynx.subscriptions s JOIN asynx.checkpoints c "
					 "ON c.subscription OPERATOR(pg_catalog.=) s.name "
					 "WHERE s.mode OPERATOR(pg_catalog.=) 'async' "
					 "AND s.state OPERATOR(pg_catalog.=) 'running' "
					 "AND c.position OPERATOR(pg_catalog.<) $1 "
					 "AND ($2 IS NULL OR s.name OPERATOR(pg_catalog.=) $2)"),
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID},
};

/* Is a handler asked for an event again, or has one been waited for and waits no more? */
static AsynxQuery SelectAsked = {
	.sql = ASYNX_SQL("SELECT f.position FROM asynx.failures f "
					 "JOIN asynx.subscriptions s "
					 "ON s.name OPERATOR(pg_catalog.=) f.subscription "
					 "WHERE s.mode OPERATOR(pg_catalog.=) 'async' "
					 "AND s.state OPERATOR(pg_catalog.=) 'running' "
					 "AND f.position OPERATOR(pg_catalog.<=) $1 "
					 "AND (f.state OPERATOR(pg_catalog.=) 'requested' "
					 " OR f.state OPERATOR(pg_catalog.=) 'retrying' "
					 "  AND f.attempts OPERATOR(pg_catalog.=) 0) "
					 "AND f.state OPERATOR(pg_catalog.=) ANY ('{requested,retrying}') "
					 "AND ($2 IS NULL OR s.name OPERATOR(pg_catalog.=) $2) LIMIT 1"),
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID},
};

static AsynxQuery SelectName = {
	.sql = ASYNX_SQL("SELECT s.name FROM asynx.subscriptions s "
					 "WHERE s.name OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Row function of SelectBehind. */
static bool
AddBehind(TupleTableSlot *slot, void *arg)
{
	Awaited    *awaited = (Awaited *) arg;
	AsynxPartition key;
	Behind	   *behind;
	bool		isnull;

	memset(&key, 0, sizeof(key));
	text_to_cstring_buffer(DatumGetTextPP(slot_getattr(slot, 1, &isnull)), key.subscription,
						   sizeof(key.subscription));
	key.number = DatumGetInt32(slot_getattr(slot, 2, &isnull));
	behind = hash_search(awaited->behind, &key, HASH_ENTER, NULL);
	behind->position = DatumGetInt64(slot_getattr(slot, 3, &isnull));
	awaited->from = Min(awaited->from, behind->position);
	return true;
}

/* Row function of the feed: has somebody not handled the event who should? */
static bool
FindMissing(TupleTableSlot *slot, void *arg)
{
	Awaited    *awaited = (Awaited *) arg;
	bool		isnull;
	text	   *id = DatumGetTextPP(slot_getattr(slot, 2, &isnull));
	text	   *name = DatumGetTextPP(slot_getattr(slot, 3, &isnull));
	int64		position = DatumGetInt64(slot_getattr(slot, 7, &isnull));
	const ListCell *cell;

	foreach(cell, asynx_subscriptions_known(ASYNX_ASYNC, name))
	{
		const AsynxSubscription *subscription = lfirst(cell);
		AsynxPartition key;
		const Behind *behind;

		memset(&key, 0, sizeof(key));
		strlcpy(key.subscription, subscription->name, sizeof(key.subscription));
		key.number = asynx_partition_of(id, subscription->partitions);
		behind = hash_search(awaited->behind, &key, HASH_FIND, NULL);
		if (behind != NULL && behind->position < position)
			awaited->missing = true;
	}
	return !awaited->missing;
}

/* Have the handlers got there? */
static bool
IsHandled(const text *subscription, int64 position)
{
	HASHCTL		control = {
		.keysize = sizeof(AsynxPartition),
		.entrysize = sizeof(Behind),
		.hcxt = CurrentMemoryContext,
	};
	Awaited		awaited = {
		.position = position,
		.subscription = subscription,
		.from = position,
	};
	Datum		values[] = {Int64GetDatum(position), PointerGetDatum(subscription)};
	const char *nulls = subscription == NULL ? " n" : "  ";

	if (asynx_feed_safe_position() < position)
		return false;

	awaited.behind = hash_create("asynx behind", 64, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	(void) asynx_subscriptions_of(ASYNX_ASYNC);
	PushActiveSnapshot(GetLatestSnapshot());
	awaited.missing = asynx_query_read(&SelectAsked, values, nulls, NULL, NULL) > 0;
	(void) asynx_query_read(&SelectBehind, values, nulls, AddBehind, &awaited);
	if (!awaited.missing && awaited.from < position)
		asynx_feed_scan(awaited.from, position, FindMissing, &awaited);
	PopActiveSnapshot();
	hash_destroy(awaited.behind);
	return !awaited.missing;
}

/* The wait event of all of these. */
static uint32
EventOfWaits(void)
{
	static uint32 wait_event = 0;

	return asynx_wait_event(&wait_event, "AsynxWait");
}

/* Sleeps a moment, for what nobody tells of; false if time is up. */
bool
asynx_wait_moment(TimestampTz until)
{
	long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

	CHECK_FOR_INTERRUPTS();
	if (left <= 0)
		return false;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Min(left, MOMENT), EventOfWaits());
	ResetLatch(MyLatch);
	return true;
}

/* Sleeps until something has got on, or where there is no bus, a moment; false if time is up. */
bool
asynx_wait_sleep(TimestampTz until)
{
	ConditionVariable *progress = asynx_slots_progress();
	long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

	if (progress == NULL || !asynx_slots_has_bus())
		return asynx_wait_moment(until);

	CHECK_FOR_INTERRUPTS();
	if (left <= 0)
		return false;
	(void) ConditionVariableTimedSleep(progress, Min(left, asynx_poll_interval), EventOfWaits());
	return true;
}

/* Raises dispatcher_closed. */
static void
RefuseToWait(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_DISPATCHER_CLOSED),
			 errmsg("no handler can run"),
			 errdetail("%s", detail)));
}

/* Raises dispatcher_closed if no handler can run; those of a standby run on its primary. */
static void
CheckDispatcher(void)
{
	if (asynx_max_workers == 0 && !RecoveryInProgress())
		RefuseToWait("\"asynx.max_workers\" is 0.");
}

/*
 * The outcome of a wait that handlers were to end; raises dispatcher_closed if time was
 * up because none can run.  They may just be about to be started, so this is not
 * looked at before.
 */
static Datum
Outcome(bool handled)
{
	if (!handled && !RecoveryInProgress() && !asynx_slots_can_work())
		RefuseToWait("No worker is there, and none could be started: "
					 "\"max_worker_processes\" may be too low, or the library not preloaded.");
	PG_RETURN_BOOL(handled);
}

/* The same, in memory that is used for each look. */
static bool
Look(const text *subscription, int64 position, MemoryContext memory)
{
	MemoryContext caller = MemoryContextSwitchTo(memory);
	bool		handled = IsHandled(subscription, position);

	MemoryContextSwitchTo(caller);
	MemoryContextReset(memory);
	return handled;
}

/* Waits until handlers have got to a position; false if time was up before. */
bool
asynx_wait_handled(const text *subscription, int64 position, TimestampTz until)
{
	ConditionVariable *progress = asynx_slots_progress();
	MemoryContext look = AllocSetContextCreate(CurrentMemoryContext, "asynx wait",
											   ALLOCSET_DEFAULT_SIZES);
	bool		handled;

	if (progress != NULL)
		ConditionVariablePrepareToSleep(progress);
	while (!(handled = Look(subscription, position, look)) && asynx_wait_sleep(until))
		;
	ConditionVariableCancelSleep();
	MemoryContextDelete(look);
	return handled;
}

/* Raises an error if the transaction has written: it would wait for itself. */
static void
CheckNothingWritten(const char *function)
{
	asynx_feed_check_isolation(function);
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("\"%s\" cannot run in a transaction that has written", function),
				 errdetail("Handlers might wait for the transaction, and it for them."),
				 errhint("Commit before.")));
}

/* Raises 22023 for a subscription that is not there. */
static void
CheckSubscription(const text *name)
{
	Datum		values[] = {PointerGetDatum(name)};
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = asynx_query_read(&SelectName, values, NULL, NULL, NULL) > 0;
	PopActiveSnapshot();
	if (!found)
		asynx_refuse_unknown_subscription(name);
}

/* When a wait of so long ends; raises 22023 for NULL and for a negative time. */
TimestampTz
asynx_wait_until(FunctionCallInfo fcinfo, int arg)
{
	int64		milliseconds;

	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"timeout\" must not be null")));
	milliseconds = asynx_milliseconds(PG_GETARG_INTERVAL_P(arg));
	if (milliseconds < 0 || milliseconds > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"timeout\" must be between 0 and 24 days")));
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
}

/* Row function of the feed: the next event that matches. */
static bool
TakeNext(TupleTableSlot *slot, void *arg)
{
	Listening  *listening = (Listening *) arg;
	bool		isnull;
	text	   *name = DatumGetTextPP(slot_getattr(slot, 3, &isnull));

	listening->after = DatumGetInt64(slot_getattr(slot, 7, &isnull));
	if (!asynx_pattern_match(listening->pattern, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)))
		return true;
	asynx_event_from_slot(slot, &listening->event);
	listening->found = true;
	return false;
}

/* Rebuilds the states of the event that was found; the mark is from before the snapshot. */
static void
FoldFound(Listening *listening, const AsynxStatesMark *mark)
{
	memset(&listening->delivery, 0, sizeof(listening->delivery));
	listening->delivery.envelope.event = &listening->event;
	listening->delivery.mark = *mark;
	asynx_deliver_fold(&listening->delivery);
}

/* Looks for the next event; false if there is none yet. */
static bool
LookForNext(Listening *listening)
{
	int64		safe = asynx_feed_safe_position();
	AsynxStatesMark mark;
	MemoryContext caller;

	MemoryContextReset(listening->context);
	caller = MemoryContextSwitchTo(listening->context);
	listening->found = false;
	mark = asynx_states_mark();
	PushActiveSnapshot(GetLatestSnapshot());
	if (listening->after < safe)
		asynx_feed_scan(listening->after, safe, TakeNext, listening);
	if (listening->found)
		FoldFound(listening, &mark);
	PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
	if (!listening->found)
		listening->after = Max(listening->after, safe);
	return listening->found;
}

/* Waits for the next event; false if time is up. */
static bool
AwaitNext(Listening *listening)
{
	ConditionVariable *progress = asynx_slots_progress();

	if (progress != NULL)
		ConditionVariablePrepareToSleep(progress);
	while (!LookForNext(listening) && asynx_wait_sleep(listening->until))
		;
	ConditionVariableCancelSleep();
	return listening->found;
}

/* The pattern of what is listened for. */
static AsynxPattern *
PatternArgument(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_PATTERN_EMPTY),
				 errmsg("\"pattern\" must not be null")));
	return asynx_pattern_compile(text_to_cstring(PG_GETARG_TEXT_PP(arg)));
}

/* The next event with its states, as asynx.event; false if time is up. */
static bool
NextEvent(Listening *listening, Oid type, Datum *event)
{
	const AsynxEnvelope *envelope = &listening->delivery.envelope;
	AsynxQueryScope scope;
	bool		found;

	asynx_query_begin(&scope);
	found = AwaitNext(listening);
	if (found)
		*event = asynx_event_form(type, envelope->event, envelope->aggregate,
								  envelope->previous);
	asynx_query_end(&scope);
	return found;
}

/* Begins to listen, from now on. */
static void
BeginListening(Listening *listening, TimestampTz until)
{
	AsynxQueryScope scope;

	listening->until = until;
	listening->context = AllocSetContextCreate(CurrentMemoryContext, "asynx listen",
											   ALLOCSET_DEFAULT_SIZES);
	asynx_query_begin(&scope);
	listening->after = asynx_feed_safe_position();
	asynx_query_end(&scope);
}

PG_FUNCTION_INFO_V1(asynx_wait_for);
PG_FUNCTION_INFO_V1(asynx_wait_for_handlers);
PG_FUNCTION_INFO_V1(asynx_listen);
PG_FUNCTION_INFO_V1(asynx_subscribe_wait);

/* asynx.wait_for(event_position, timeout, subscription) returns boolean: false if time was up */
Datum
asynx_wait_for(PG_FUNCTION_ARGS)
{
	TimestampTz until = asynx_wait_until(fcinfo, 1);
	const text *subscription = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	AsynxQueryScope scope;
	int64		position;
	bool		handled;

	CheckNothingWritten("asynx.wait_for");
	CheckDispatcher();
	asynx_query_begin(&scope);
	if (subscription != NULL)
		CheckSubscription(subscription);
	position = PG_ARGISNULL(0) ? asynx_feed_safe_position() :
		asynx_arg_bigint(fcinfo, 0, "event_position", 0);
	handled = asynx_wait_handled(subscription, position, until);
	asynx_query_end(&scope);
	return Outcome(handled);
}

/* asynx.wait_for_handlers(timeout interval) returns boolean: false if time was up */
Datum
asynx_wait_for_handlers(PG_FUNCTION_ARGS)
{
	TimestampTz until = asynx_wait_until(fcinfo, 0);
	AsynxQueryScope scope;
	bool		handled;

	CheckNothingWritten("asynx.wait_for_handlers");
	CheckDispatcher();
	asynx_query_begin(&scope);
	handled = asynx_wait_handled(NULL, asynx_feed_safe_position(), until);
	asynx_query_end(&scope);
	return Outcome(handled);
}

/* asynx.listen(pattern text, count integer, timeout interval) returns setof asynx.event */
Datum
asynx_listen(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	Listening  *listening;
	Datum		event;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;

		asynx_feed_check_isolation("asynx.listen");
		context = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		listening = palloc0(sizeof(Listening));
		listening->left = asynx_arg_int(fcinfo, 1, "count", 0);
		listening->pattern = PatternArgument(fcinfo, 0);
		/* for a number of events there need be no timeout */
		BeginListening(listening, PG_ARGISNULL(2) && listening->left > 0 ?
					   DT_NOEND : asynx_wait_until(fcinfo, 2));
		if (listening->left == 0)
			listening->left = -1;
		context->user_fctx = listening;
		MemoryContextSwitchTo(caller);
	}

	context = SRF_PERCALL_SETUP();
	listening = context->user_fctx;
	if (listening->left == 0 ||
		!NextEvent(listening, get_func_rettype(fcinfo->flinfo->fn_oid), &event))
		SRF_RETURN_DONE(context);
	if (listening->left > 0)
		listening->left--;
	SRF_RETURN_NEXT(context, event);
}

/* asynx.subscribe_wait(pattern text, timeout interval) returns asynx.event; NULL if time was up */
Datum
asynx_subscribe_wait(PG_FUNCTION_ARGS)
{
	Listening	listening = {.left = 1, .pattern = PatternArgument(fcinfo, 0)};
	Datum		event;

	asynx_feed_check_isolation("asynx.subscribe_wait");
	BeginListening(&listening, asynx_wait_until(fcinfo, 1));
	if (!NextEvent(&listening, get_func_rettype(fcinfo->flinfo->fn_oid), &event))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(event);
}
