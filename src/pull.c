/*
 * pull.c
 *	  Pull subscriptions: the application fetches events and says that it has them.
 *
 * fetch() locks the checkpoint to the end of the transaction, so that consumers of
 * one subscription take turns.  With auto_ack the checkpoint moves with the caller's
 * commit: together with what he wrote, exactly once.  Without, ack() moves it later,
 * from any session, and never beyond what was fetched, which is remembered in the
 * row.
 */
#include "asynx.h"

#include "args.h"
#include "catalog/pg_type.h"
#include "deliver.h"
#include "errors.h"
#include "feed.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pattern.h"
#include "query.h"
#include "subscription.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

/* A subscription as fetch() and ack() need it. */
typedef struct Pull
{
	text	   *pattern;
	text	   *state;
	int64		position;
	int64		fetched;		/* up to where events were fetched, at least position */
} Pull;

/* How many bytes of events are kept in memory at a time. */
#define PART_BYTES (16 * 1024 * 1024)

/* The events that are being fetched. */
typedef struct Fetch
{
	AsynxPattern *pattern;
	int64		wanted;			/* how many still fit */
	int64		reached;		/* the last position that was looked at */
	List	   *events;			/* of the part that is being read */
	Size		bytes;			/* of these */
	bool		full;			/* is there more after this part? */
	AsynxStatesMark mark;		/* from before the snapshot */
} Fetch;

static AsynxQuery LockPull = {
	.sql = ASYNX_SQL("SELECT s.pattern, s.state, c.position, COALESCE(c.fetched, c.position) "
					 "FROM asynx.subscriptions s JOIN asynx.checkpoints c "
					 "ON c.subscription OPERATOR(pg_catalog.=) s.name "
					 "WHERE s.name OPERATOR(pg_catalog.=) $1 "
					 "AND s.mode OPERATOR(pg_catalog.=) 'pull' FOR UPDATE OF c"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery MovePull = {
	.sql = ASYNX_SQL("UPDATE asynx.checkpoints c SET position = $2, fetched = $3 "
					 "WHERE c.subscription OPERATOR(pg_catalog.=) $1"),
	.nargs = 3,
	.argtypes = {TEXTOID, INT8OID, INT8OID},
};

/* Row function of LockPull. */
static bool
GetPull(TupleTableSlot *slot, void *arg)
{
	Pull	   *pull = (Pull *) arg;
	bool		isnull;

	pull->pattern = DatumGetTextPCopy(slot_getattr(slot, 1, &isnull));
	pull->state = DatumGetTextPCopy(slot_getattr(slot, 2, &isnull));
	pull->position = DatumGetInt64(slot_getattr(slot, 3, &isnull));
	pull->fetched = DatumGetInt64(slot_getattr(slot, 4, &isnull));
	return true;
}

/* Locks a pull subscription; raises 22023 if there is none. */
static void
Lock(const text *name, Pull *pull)
{
	Datum		values[] = {PointerGetDatum(name)};

	if (asynx_query_write(&LockPull, values, NULL, GetPull, pull) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no pull subscription \"%s\"", text_to_cstring(name))));
}

/* Moves it. */
static void
Move(const text *name, int64 position, int64 fetched)
{
	Datum		values[] = {
		PointerGetDatum(name), Int64GetDatum(position), Int64GetDatum(fetched)
	};

	(void) asynx_query_write(&MovePull, values, NULL, NULL, NULL);
}

/* Row function of the feed: takes what matches, until there are enough, or the part is full. */
static bool
Take(TupleTableSlot *slot, void *arg)
{
	Fetch	   *fetch = (Fetch *) arg;
	bool		isnull;
	text	   *name = DatumGetTextPP(slot_getattr(slot, 3, &isnull));
	AsynxStoredEvent *event;

	fetch->reached = DatumGetInt64(slot_getattr(slot, 7, &isnull));
	if (!asynx_pattern_match(fetch->pattern, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)))
		return true;
	event = palloc(sizeof(AsynxStoredEvent));
	asynx_event_from_slot(slot, event);
	fetch->events = lappend(fetch->events, event);
	fetch->bytes += sizeof(AsynxStoredEvent) + VARSIZE_ANY(event->aggregate_id) +
		VARSIZE_ANY(event->patch);
	if (event->metadata != NULL)
		fetch->bytes += VARSIZE_ANY(event->metadata);
	fetch->full = --fetch->wanted == 0 || fetch->bytes >= PART_BYTES;
	return !fetch->full;
}

/* Adds the events with their states to the result. */
static void
PutEvents(const List *events, const AsynxStatesMark *mark, ReturnSetInfo *result)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "asynx fetch",
												  ALLOCSET_DEFAULT_SIZES);
	const ListCell *cell;

	foreach(cell, events)
	{
		MemoryContext caller = MemoryContextSwitchTo(scratch);
		AsynxDelivery delivery = {
			.envelope = {.event = lfirst(cell)},
			.mark = *mark,
		};
		Datum		values[ASYNX_EVENT_NATTS];
		bool		nulls[ASYNX_EVENT_NATTS];

		CHECK_FOR_INTERRUPTS();
		asynx_deliver_fold(&delivery);
		asynx_event_values(delivery.envelope.event, delivery.envelope.aggregate,
						   delivery.envelope.previous, values, nulls);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
}

/* Reads some of the events, up to the safe position, and adds them to the result. */
static void
FetchPart(Fetch *fetch, int64 safe, ReturnSetInfo *result)
{
	MemoryContext part = AllocSetContextCreate(CurrentMemoryContext, "asynx part",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(part);

	fetch->events = NIL;
	fetch->bytes = 0;
	fetch->full = false;
	asynx_feed_scan(fetch->reached, safe, Take, fetch);
	if (!fetch->full)
		fetch->reached = safe;
	PutEvents(fetch->events, &fetch->mark, result);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(part);
}

/* Fetches the events after the checkpoint; returns up to where, and whether there were any. */
static int64
FetchEvents(const Pull *pull, int64 count, ReturnSetInfo *result, bool *any)
{
	Fetch		fetch = {
		.pattern = asynx_pattern_compile(text_to_cstring(pull->pattern)),
		.wanted = count,
		.reached = pull->position,
		.mark = asynx_states_mark(),
	};
	int64		safe = asynx_feed_safe_position();

	PushActiveSnapshot(GetLatestSnapshot());
	while (fetch.wanted > 0 && fetch.reached < safe)
		FetchPart(&fetch, safe, result);
	PopActiveSnapshot();
	*any = fetch.wanted < count;
	return fetch.reached;
}

PG_FUNCTION_INFO_V1(asynx_fetch);
PG_FUNCTION_INFO_V1(asynx_ack);

/* asynx.fetch(subscription text, count integer, auto_ack boolean) returns setof asynx.event */
Datum
asynx_fetch(PG_FUNCTION_ARGS)
{
	text	   *name = asynx_arg_text(fcinfo, 0, "subscription");
	int64		count = asynx_arg_int(fcinfo, 1, "count", 0);
	bool		auto_ack = asynx_arg_bool(fcinfo, 2, "auto_ack");
	AsynxQueryScope scope;
	Pull		pull;
	int64		reached;
	bool		any;

	asynx_feed_check_isolation("asynx.fetch");
	PreventCommandIfReadOnly("asynx.fetch()");
	InitMaterializedSRF(fcinfo, 0);
	asynx_query_begin(&scope);
	Lock(name, &pull);
	if (asynx_text_is(pull.state, "running"))
	{
		reached = FetchEvents(&pull, count, (ReturnSetInfo *) fcinfo->resultinfo, &any);
		/* where there is nothing, there is nothing to be acknowledged */
		if (reached > pull.position)
			Move(name, auto_ack || !any ? reached : pull.position,
				 Max(reached, pull.fetched));
	}
	asynx_query_end(&scope);
	return (Datum) 0;
}

/* asynx.ack(subscription text, event_position bigint) returns void */
Datum
asynx_ack(PG_FUNCTION_ARGS)
{
	text	   *name = asynx_arg_text(fcinfo, 0, "subscription");
	int64		position = asynx_arg_bigint(fcinfo, 1, "event_position", 0);
	AsynxQueryScope scope;
	Pull		pull;

	asynx_query_begin(&scope);
	Lock(name, &pull);
	if (position > pull.fetched)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position %lld of subscription \"%s\" was not fetched",
						(long long) position, text_to_cstring(name)),
				 errdetail("Events were fetched up to position %lld.",
						   (long long) pull.fetched)));
	if (position > pull.position)
		Move(name, position, pull.fetched);
	asynx_query_end(&scope);
	PG_RETURN_VOID();
}
