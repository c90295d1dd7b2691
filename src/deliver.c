/*
 * deliver.c
 *	  Gives one event to a subscription.
 *
 * 1. The handler runs in a subtransaction.  If it fails, or is too slow, its effects
 *	  are undone, the hooks are told, and the fallback gets the same event; if that
 *	  fails too, the hooks are told again, and the error is the result.
 *
 * 2. A serialization failure, a deadlock or a lock that was not available says that
 *	  the transaction should be repeated, and a command that was refused by a store
 *	  that has been shut down, that it should when the store runs again.  Where it
 *	  can be, that is the result at once.  A cancel or the end of the session is never
 *	  the handler's.
 *
 * 3. Handlers that want states get them from whoever knows them, or from a fold,
 *	  which goes on from where the one before ended (states.c).  A fold that fails is
 *	  a failure of each handler that wanted it.
 */
#include "asynx.h"

#include "deliver.h"
#include "errors.h"
#include "hook.h"
#include "query.h"
#include "replay.h"
#include "states.h"
#include "utils/snapmgr.h"

/* Does a function of that form want states? */
bool
asynx_deliver_wants_states(AsynxForm form)
{
	return form == ASYNX_TAKES_EVENT || form == ASYNX_TAKES_EVENTS;
}

/* Brings an aggregate to the version before an event, from what this session knows of it. */
static void
Reach(const AsynxStoredEvent *event, AsynxAggregate *aggregate)
{
	const text *aggregate_id = event->aggregate_id;
	int64		version = event->version - 1;

	if (version == 0)
		asynx_replay_beginning(event, aggregate);
	else if (!asynx_states_find(aggregate_id, aggregate) || aggregate->version > version)
		asynx_replay_aggregate_at(aggregate_id, version, aggregate);
	else if (aggregate->version < version)
		asynx_replay_onward(aggregate_id, version, aggregate);
}

/*
 * Rebuilds the states before and after the event under the active snapshot, which
 * sees the event; raises what a fold raises.
 */
void
asynx_deliver_fold(AsynxDelivery *delivery)
{
	const AsynxStoredEvent *event = delivery->envelope.event;
	AsynxAggregate aggregate;

	/* of what was forgotten there is none */
	if (!asynx_text_is(event->event_name, ASYNX_FORGET_EVENT))
	{
		Reach(event, &aggregate);
		delivery->envelope.previous = aggregate.version > 0 ? aggregate.state : aggregate.seed;
		asynx_replay_event(event, &aggregate);
		delivery->envelope.aggregate = aggregate.state;
		asynx_states_remember(event->aggregate_id, &aggregate, &delivery->mark);
	}
	delivery->folded = true;
}

/* Unit of work: the same, under a snapshot that sees what this transaction wrote. */
static void
Fold(void *arg)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	asynx_deliver_fold((AsynxDelivery *) arg);
	PopActiveSnapshot();
}

/* Is the error one after which the whole transaction should be repeated? */
bool
asynx_deliver_asks_for_repetition(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_ASYNX_SHUTTING_DOWN;
}

/* Error filter: what a fold raises, but for an interruption. */
static bool
IsFoldFailure(const ErrorData *error, void *arg)
{
	(void) arg;
	return !asynx_handler_is_interruption(error);
}

/* Makes sure that the states are there if the form wants them; NULL, or why they cannot be. */
static ErrorData *
NeedStates(AsynxDelivery *delivery, AsynxForm form)
{
	if (delivery->folded || !asynx_deliver_wants_states(form))
		return NULL;
	return asynx_query_attempt(Fold, IsFoldFailure, delivery);
}

/*
 * Gives the event to a function; NULL, or why it could not handle it.  "late" tells
 * whether it was too slow.
 */
static ErrorData *
Attempt(const AsynxSubscription *subscription, const AsynxTaker *taker,
		AsynxDelivery *delivery, bool *late)
{
	ErrorData  *error = NeedStates(delivery, taker->form);
	AsynxCall	call = {
		.function = &taker->function,
		.timeout = subscription->milliseconds,
	};

	*late = false;
	if (error != NULL)
		return error;

	asynx_hooks_set_event(&call, taker->form, &delivery->envelope);
	error = asynx_handler_attempt(&call);
	*late = call.timed_out;
	return error;
}

/* Tells the hooks of a failure; they get the states if there are any. */
static void
TellHooks(const AsynxSubscription *subscription, AsynxDelivery *delivery,
		  const ErrorData *error, bool late)
{
	if (asynx_subscriptions_of(late ? ASYNX_ON_TIMEOUT : ASYNX_ON_PANIC) == NIL)
		return;

	(void) NeedStates(delivery, ASYNX_TAKES_EVENT);
	if (late)
		asynx_hooks_tell_timeout(subscription, &delivery->envelope);
	else
		asynx_hooks_tell_failure(subscription, &delivery->envelope, error);
}

/* The same for a function that is there; true in "done" if nothing is left to be tried. */
static ErrorData *
Try(const AsynxSubscription *subscription, const AsynxTaker *taker, AsynxDelivery *delivery,
	bool *done)
{
	bool		late;
	ErrorData  *error = Attempt(subscription, taker, delivery, &late);

	*done = error == NULL ||
		(delivery->repeatable && asynx_deliver_asks_for_repetition(error));
	if (!*done)
		TellHooks(subscription, delivery, error, late);
	return error;
}

/* Gives an event to a subscription's handler, then to its fallback; NULL, or the last error. */
ErrorData *
asynx_deliver(const AsynxSubscription *subscription, AsynxDelivery *delivery)
{
	bool		done;
	ErrorData  *error = Try(subscription, &subscription->handler, delivery, &done);

	if (!done && subscription->fallback.function.name != NULL)
		error = Try(subscription, &subscription->fallback, delivery, &done);
	return error;
}
