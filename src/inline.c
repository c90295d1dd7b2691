/*
 * inline.c
 *	  Runs inline subscriptions: handlers in the writer's transaction.
 *
 * 1. Every function that writes events hands them here after they were stored.  The
 *	  subscriptions that want an event are run one after the other, by their names;
 *	  what they write commits, or not, with the event.
 *
 * 2. If neither the handler nor the fallback can handle the event (deliver.c),
 *	  on_failure decides: "stop" refuses the write, "continue" records a failure.  If
 *	  it stops, a serialization failure, a deadlock or a lock that was not available
 *	  is thrown as it is: whoever wrote can repeat his transaction.
 *
 * 3. Many events that were stored together go to each subscription as one unit, in
 *	  one subtransaction, so that a large batch does not need as many; after an error
 *	  they go one by one.
 *
 * 4. A forget cannot be refused by a subscription, only by a hook (hook.c).  What is
 *	  recorded of a failure then has no message, because it may quote the state.
 */
#include "asynx.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "deliver.h"
#include "errors.h"
#include "hook.h"
#include "inline.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "query.h"
#include "store.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* How much of an error's message a failure keeps, in bytes. */
#define MESSAGE_BYTES 1000

/* Many events on their way to one subscription. */
typedef struct Unit
{
	const AsynxSubscription *subscription;
	const AsynxInlineItem *items;
	const List **wanted;		/* by which subscriptions, for each item */
	int			count;
	AsynxCall	call;			/* that is being made, for the error filter */
} Unit;

static AsynxQuery InsertFailure = {
	.sql = ASYNX_SQL("INSERT INTO asynx.failures AS f "
					 "(subscription, position, aggregate_id, version, state, attempts, "
					 " sqlstate, message, failed_at) "
					 "VALUES ($1, $2, $3, $4, 'dead', 1, $5, $6, pg_catalog.clock_timestamp()) "
					 "ON CONFLICT (subscription, position) DO UPDATE SET "
					 " attempts = f.attempts OPERATOR(pg_catalog.+) 1, state = 'dead', "
					 " sqlstate = excluded.sqlstate, message = excluded.message, "
					 " failed_at = excluded.failed_at"),
	.nargs = 6,
	.argtypes = {TEXTOID, INT8OID, TEXTOID, INT8OID, TEXTOID, TEXTOID},
};

/* Raises pipeline_failed: the subscription refuses the event. */
pg_noreturn static void
RefuseWrite(const AsynxSubscription *subscription, const AsynxDelivery *delivery, ErrorData *error)
{
	const AsynxStoredEvent *event = delivery->envelope.event;

	if (error->sqlerrcode == ERRCODE_ASYNX_HANDLER_MISSING ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES)
		ReThrowError(error);
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_PIPELINE_FAILED),
			 errmsg("subscription \"%s\" refused version %lld of aggregate \"%s\"",
					subscription->name, (long long) event->version,
					text_to_cstring(event->aggregate_id)),
			 errdetail("The cause is %s.", asynx_handler_cause(error))));
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

/* Does the event say that its aggregate is forgotten? */
static bool
Forgets(const AsynxDelivery *delivery)
{
	return asynx_text_is(delivery->envelope.event->event_name, ASYNX_FORGET_EVENT);
}

/* Records that the subscription could not handle the event. */
static void
RecordFailure(const AsynxSubscription *subscription, const AsynxDelivery *delivery,
			  const ErrorData *error)
{
	const AsynxStoredEvent *event = delivery->envelope.event;
	Datum		values[] = {
		CStringGetTextDatum(subscription->name),
		Int64GetDatum(event->position),
		PointerGetDatum(event->aggregate_id),
		Int64GetDatum(event->version),
		CStringGetTextDatum(unpack_sql_state(error->sqlerrcode)),
		Forgets(delivery) ? (Datum) 0 : Message(error),
	};

	(void) asynx_query_write(&InsertFailure, values, Forgets(delivery) ? "     n" : "      ",
							 NULL, NULL);
}

/* Gives an event to a subscription, and does what is to be done if that fails. */
static void
Deliver(const AsynxSubscription *subscription, AsynxDelivery *delivery)
{
	bool		stops = subscription->policy == ASYNX_STOP && !Forgets(delivery);
	ErrorData  *error;

	delivery->repeatable = stops;
	error = asynx_deliver(subscription, delivery);
	if (error == NULL)
		return;
	if (stops && asynx_deliver_asks_for_repetition(error))
		ReThrowError(error);
	if (stops)
		RefuseWrite(subscription, delivery, error);
	RecordFailure(subscription, delivery, error);
}

/* Gives an event to all the subscriptions that want it. */
static void
DeliverToAll(const List *subscriptions, AsynxDelivery *delivery)
{
	const ListCell *cell;

	foreach(cell, subscriptions)
		Deliver(lfirst(cell), delivery);
}

/* Runs the subscriptions that want an event whose states are known. */
void
asynx_inline_run(const AsynxEnvelope *envelope)
{
	const List *subscriptions = asynx_subscriptions_matching(ASYNX_INLINE,
															  envelope->event->event_name);
	AsynxDelivery delivery = {.envelope = *envelope, .folded = true};

	DeliverToAll(subscriptions, &delivery);
}

/* Runs the subscriptions that want an event that was stored as it came. */
void
asynx_inline_run_stored(const AsynxStoredEvent *event)
{
	const List *subscriptions = asynx_subscriptions_matching(ASYNX_INLINE, event->event_name);
	AsynxDelivery delivery = {.envelope = {.event = event}};

	if (subscriptions == NIL)
		return;
	delivery.mark = asynx_states_mark();
	DeliverToAll(subscriptions, &delivery);
}

/* Runs the subscriptions that want to know that an aggregate is forgotten. */
void
asynx_inline_run_forget(const AsynxEnvelope *envelope)
{
	const List *subscriptions = asynx_subscriptions_matching(ASYNX_INLINE,
															  envelope->event->event_name);
	AsynxDelivery delivery = {.envelope = *envelope, .folded = true};

	DeliverToAll(subscriptions, &delivery);
}

/* Reads an item's event as it was stored. */
static void
ReadItem(const AsynxInlineItem *item, AsynxStoredEvent *event)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!asynx_store_read(item->aggregate_id, item->version, event))
		elog(ERROR, "version %lld of aggregate \"%s\" is not there",
			 (long long) item->version, text_to_cstring(item->aggregate_id));
	PopActiveSnapshot();
}

/* Gives an item's event to the handler, within the unit. */
static void
HandleItem(Unit *unit, const AsynxInlineItem *item)
{
	const AsynxTaker *handler = &unit->subscription->handler;
	AsynxStoredEvent event;
	AsynxDelivery delivery = {.envelope = {.event = &event}, .mark = asynx_states_mark()};

	memset(&unit->call, 0, sizeof(unit->call));
	unit->call.function = &handler->function;
	unit->call.timeout = unit->subscription->milliseconds;

	PushActiveSnapshot(GetTransactionSnapshot());
	ReadItem(item, &event);
	if (asynx_deliver_wants_states(handler->form))
		asynx_deliver_fold(&delivery);
	asynx_hooks_set_event(&unit->call, handler->form, &delivery.envelope);
	asynx_handler_run_in_time(&unit->call);
	PopActiveSnapshot();
}

/* Does something with each item that the subscription wants, in memory that goes with it. */
static void
ForEachItem(Unit *unit, void (*work) (Unit *unit, const AsynxInlineItem *item))
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "asynx inline",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	int			i;

	for (i = 0; i < unit->count; i++)
	{
		if (!list_member_ptr(unit->wanted[i], unit->subscription))
			continue;
		CHECK_FOR_INTERRUPTS();
		work(unit, &unit->items[i]);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
}

/* Unit of work: gives all items to the handler. */
static void
HandleItems(void *arg)
{
	ForEachItem((Unit *) arg, HandleItem);
}

/* Error filter: is it the handler's? */
static bool
IsHandlerFailure(const ErrorData *error, void *arg)
{
	const Unit *unit = (const Unit *) arg;

	return !asynx_handler_is_interruption(error) || unit->call.timed_out;
}

/* Gives an item's event to the subscription for itself. */
static void
DeliverItem(Unit *unit, const AsynxInlineItem *item)
{
	AsynxStoredEvent event;
	AsynxDelivery delivery = {.envelope = {.event = &event}, .mark = asynx_states_mark()};

	ReadItem(item, &event);
	Deliver(unit->subscription, &delivery);
}

/* Order of two subscriptions by their names. */
static int
CompareNames(const ListCell *a, const ListCell *b)
{
	return strcmp(((const AsynxSubscription *) lfirst(a))->name,
				  ((const AsynxSubscription *) lfirst(b))->name);
}

/*
 * Runs the subscriptions that want events that were stored together, in the order
 * given.  Who wants what is settled before: a handler may change the subscriptions.
 */
void
asynx_inline_run_many(const AsynxInlineItem *items, int count)
{
	Unit		unit = {.items = items, .count = count};
	List	   *subscriptions = NIL;
	const ListCell *cell;
	int			i;

	unit.wanted = MemoryContextAllocHuge(CurrentMemoryContext, count * sizeof(List *));
	(void) asynx_subscriptions_of(ASYNX_INLINE);
	for (i = 0; i < count; i++)
	{
		unit.wanted[i] = asynx_subscriptions_known(ASYNX_INLINE, items[i].event_name);
		subscriptions = list_concat_unique_ptr(subscriptions, unit.wanted[i]);
	}
	list_sort(subscriptions, CompareNames);

	foreach(cell, subscriptions)
	{
		unit.subscription = lfirst(cell);
		if (asynx_query_attempt(HandleItems, IsHandlerFailure, &unit) != NULL)
			ForEachItem(&unit, DeliverItem);
	}
}
