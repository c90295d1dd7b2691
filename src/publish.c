/*
 * publish.c
 *	  Hands a stored event to its subscriptions once more.
 *
 * publish() asks for it: the event becomes a failure "requested" of each async
 * subscription that wants it, which its worker then handles (checkpoint.c), and
 * channels are notified when the caller commits.  publish_sync() runs the handlers in
 * the caller's transaction; an error of theirs is an error of the call.
 */
#include "asynx.h"

#include "access/xact.h"
#include "args.h"
#include "catalog/pg_type.h"
#include "checkpoint.h"
#include "commands/async.h"
#include "deliver.h"
#include "errors.h"
#include "handler.h"
#include "lifecycle.h"
#include "lock.h"
#include "miscadmin.h"
#include "operate.h"
#include "payload.h"
#include "query.h"
#include "store.h"
#include "subscription.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

/*
 * For who has not got to the event yet there is nothing to be done: it is still to come.
 * The subscription is locked, so that who drops it sees what it was asked for.
 */
static AsynxQuery RequestEvent = {
	.sql = ASYNX_SQL("INSERT INTO asynx.failures AS f "
					 "(subscription, position, aggregate_id, version, state, attempts) "
					 "SELECT $1, $2, $3, $4, 'requested', 0 FROM asynx.checkpoints c "
					 "JOIN asynx.subscriptions s "
					 "ON s.name OPERATOR(pg_catalog.=) c.subscription "
					 "WHERE c.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND c.partition OPERATOR(pg_catalog.=) $5 "
					 "AND c.position OPERATOR(pg_catalog.>=) $2 FOR KEY SHARE OF s "
					 "ON CONFLICT (subscription, position) DO UPDATE "
					 "SET state = 'requested', attempts = 0, next_at = NULL"),
	.nargs = 5,
	.argtypes = {TEXTOID, INT8OID, TEXTOID, INT8OID, INT4OID},
};

/* Reads the event that the arguments name; raises 22023 if there is none. */
static void
ReadEvent(FunctionCallInfo fcinfo, AsynxStoredEvent *event)
{
	text	   *aggregate_id = asynx_arg_aggregate_id(fcinfo, 0);
	int64		version = asynx_arg_bigint(fcinfo, 1, "version", 1);
	bool		found;

	PushActiveSnapshot(GetTransactionSnapshot());
	found = asynx_store_read(aggregate_id, version, event);
	PopActiveSnapshot();
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("aggregate \"%s\" has no version %lld", text_to_cstring(aggregate_id),
						(long long) version)));
}

/* Asks a subscription's worker to handle the event. */
static void
Request(const AsynxSubscription *subscription, const AsynxStoredEvent *event)
{
	Datum		values[] = {
		CStringGetTextDatum(subscription->name),
		Int64GetDatum(event->position),
		PointerGetDatum(event->aggregate_id),
		Int64GetDatum(event->version),
		Int32GetDatum(asynx_partition_of(event->aggregate_id, subscription->partitions)),
	};

	(void) asynx_query_write(&RequestEvent, values, NULL, NULL, NULL);
}

/* Runs the handlers of a mode. */
static void
RunHandlers(AsynxMode mode, const AsynxStoredEvent *event)
{
	const List *subscriptions = asynx_subscriptions_matching(mode, event->event_name);
	const ListCell *cell;

	foreach(cell, subscriptions)
	{
		const AsynxSubscription *subscription = lfirst(cell);
		AsynxDelivery delivery = {
			.envelope = {.event = event},
			.mark = asynx_states_mark(),
			.repeatable = true,
		};
		ErrorData  *error = asynx_deliver(subscription, &delivery);

		if (error == NULL)
			continue;
		if (asynx_deliver_asks_for_repetition(error) ||
			error->sqlerrcode == ERRCODE_ASYNX_HANDLER_MISSING)
			ReThrowError(error);
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_PIPELINE_FAILED),
				 errmsg("subscription \"%s\" could not handle version %lld of aggregate \"%s\"",
						subscription->name, (long long) event->version,
						text_to_cstring(event->aggregate_id)),
				 errdetail("The cause is %s.", asynx_handler_cause(error))));
	}
}

PG_FUNCTION_INFO_V1(asynx_publish);
PG_FUNCTION_INFO_V1(asynx_publish_sync);

/* asynx.publish(aggregate_id text, version bigint) returns void */
Datum
asynx_publish(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	AsynxStoredEvent event;
	const ListCell *cell;

	PreventCommandIfReadOnly("asynx.publish()");
	PreventCommandDuringRecovery("asynx.publish()");
	asynx_query_begin(&scope);
	asynx_lifecycle_check_bus();
	ReadEvent(fcinfo, &event);
	foreach(cell, asynx_subscriptions_matching(ASYNX_ASYNC, event.event_name))
		Request(lfirst(cell), &event);
	foreach(cell, asynx_subscriptions_matching(ASYNX_CHANNEL, event.event_name))
	{
		/* what leaves the database is on disk */
		ForceSyncCommit();
		Async_Notify(((const AsynxSubscription *) lfirst(cell))->channel,
					 asynx_payload(&event));
	}
	asynx_announce_subscriptions();
	asynx_query_end(&scope);
	PG_RETURN_VOID();
}

/* asynx.publish_sync(aggregate_id text, version bigint) returns void */
Datum
asynx_publish_sync(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	AsynxStoredEvent event;

	asynx_query_begin_write(&scope, "asynx.publish_sync()");
	asynx_lifecycle_check_bus();
	/* nobody is to forget the aggregate while its states are at work */
	asynx_lock_aggregate(asynx_arg_aggregate_id(fcinfo, 0));
	ReadEvent(fcinfo, &event);
	RunHandlers(ASYNX_INLINE, &event);
	RunHandlers(ASYNX_ASYNC, &event);
	asynx_query_end(&scope);
	PG_RETURN_VOID();
}
