/*
 * hook.c
 *	  Tells the user's hooks what befell others.
 *
 * A hook is told of what has happened anyway, so its own failure changes nothing:
 * it runs in a subtransaction, and what it raises is a warning.  Only on_forget
 * hooks are asked: what they raise stops the forget.
 *
 * Errors reach a hook as an object with the members "sqlstate" and "message", and
 * "subscription" where there is one.
 */
#include "asynx.h"

#include "errors.h"
#include "hook.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* What an array of events has room for at first, in bytes. */
#define FIRST_ROOM 8192

/* Adds a member to the object that is being built. */
static void
AddMember(JsonbParseState **state, const char *name, const char *value)
{
	JsonbValue	key = {.type = jbvString};
	JsonbValue	string = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	string.val.string.val = unconstify(char *, value);
	string.val.string.len = strlen(value);
	(void) pushJsonbValue(state, WJB_KEY, &key);
	(void) pushJsonbValue(state, WJB_VALUE, &string);
}

/* The error as hooks get it; "subscription" may be NULL. */
static Jsonb *
ErrorObject(const char *subscription, const ErrorData *error)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	AddMember(&state, "sqlstate", unpack_sql_state(error->sqlerrcode));
	AddMember(&state, "message", error->message);
	if (subscription != NULL)
		AddMember(&state, "subscription", subscription);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Does a function of that form take stored events, without states? */
static bool
TakesStored(AsynxForm form)
{
	return form == ASYNX_TAKES_STORED || form == ASYNX_TAKES_STOREDS;
}

/* Begins an array for a function of that form. */
void
asynx_hooks_begin_array(AsynxEventArray *array, AsynxForm form)
{
	Oid			type = asynx_subscription_signature(form)->argtypes[0];

	memset(array, 0, sizeof(*array));
	array->form = form;
	array->type = get_element_type(type);
	array->context = CurrentMemoryContext;
	array->scratch = AllocSetContextCreate(CurrentMemoryContext, "asynx event",
										   ALLOCSET_DEFAULT_SIZES);
	array->bytes = ARR_OVERHEAD_NONULLS(1);
	array->room = FIRST_ROOM;
	array->array = MemoryContextAllocHuge(array->context, array->room);
}

/* The event as a composite of the type. */
static Datum
Composite(AsynxForm form, Oid type, const AsynxEnvelope *envelope)
{
	if (TakesStored(form))
		return asynx_stored_event_form(type, envelope->event);
	return asynx_event_form(type, envelope->event, envelope->aggregate, envelope->previous);
}

/* Makes room for so many bytes more. */
static void
MakeRoom(AsynxEventArray *array, Size bytes)
{
	if (!AllocSizeIsValid(array->bytes + bytes))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("an array of events exceeds the maximum size of an array")));
	if (array->bytes + bytes <= array->room)
		return;
	array->room = Max(array->room * 2, array->bytes + bytes);
	array->array = repalloc_huge(array->array, array->room);
}

/*
 * Adds an event to the array.  A composite is copied once, to where it will stay;
 * the server's functions for arrays copy it three times.
 */
void
asynx_hooks_add_event(AsynxEventArray *array, const AsynxEnvelope *envelope)
{
	MemoryContext caller = MemoryContextSwitchTo(array->scratch);
	char	   *composite = DatumGetPointer(Composite(array->form, array->type, envelope));
	Size		bytes = VARSIZE(composite);
	Size		aligned = MAXALIGN(bytes);
	char	   *end;

	MakeRoom(array, aligned);
	end = (char *) array->array + array->bytes;
	memcpy(end, composite, bytes);
	memset(end + bytes, 0, aligned - bytes);
	array->bytes += aligned;
	array->count++;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(array->scratch);
}

/* Makes the array, which is not empty, the first argument of a call. */
void
asynx_hooks_set_array(AsynxCall *call, AsynxEventArray *array)
{
	SET_VARSIZE(array->array, array->bytes);
	array->array->ndim = 1;
	array->array->dataoffset = 0;
	array->array->elemtype = array->type;
	ARR_DIMS(array->array)[0] = array->count;
	ARR_LBOUND(array->array)[0] = 1;
	call->signature = asynx_subscription_signature(array->form);
	call->args[0].value = PointerGetDatum(array->array);
	call->args[0].isnull = false;
	MemoryContextDelete(array->scratch);
}

/* Fills in the first argument of a call for an event. */
void
asynx_hooks_set_event(AsynxCall *call, AsynxForm form, const AsynxEnvelope *envelope)
{
	AsynxEventArray array;

	if (form == ASYNX_TAKES_EVENTS || form == ASYNX_TAKES_STOREDS)
	{
		asynx_hooks_begin_array(&array, form);
		asynx_hooks_add_event(&array, envelope);
		asynx_hooks_set_array(call, &array);
		return;
	}
	call->signature = asynx_subscription_signature(form);
	call->args[0].value = Composite(form, call->signature->argtypes[0], envelope);
	call->args[0].isnull = false;
}

/* Runs a hook whose failure is only told; it may take so many milliseconds, 0 for any time. */
static void
Tell(const AsynxSubscription *hook, int64 timeout, AsynxCall *call)
{
	ErrorData  *error;

	call->function = &hook->handler.function;
	call->timeout = timeout;
	error = asynx_handler_attempt(call);
	if (error != NULL)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("hook \"%s\" failed", hook->name),
				 errdetail("It raised %s.", asynx_handler_cause(error))));
}

/* Tells hooks of a kind of an event and an error. */
static void
TellOfError(AsynxMode kind, const AsynxSubscription *subscription, const AsynxEnvelope *envelope,
			const ErrorData *error)
{
	const List *hooks = asynx_subscriptions_of(kind);
	const ListCell *cell;

	foreach(cell, hooks)
	{
		AsynxCall	call = {.function = NULL};

		asynx_hooks_set_event(&call, ASYNX_TAKES_ERROR, envelope);
		call.args[1].value = JsonbPGetDatum(ErrorObject(subscription->name, error));
		Tell(lfirst(cell), subscription->milliseconds, &call);
	}
}

/* Tells that a function of the subscription failed with an event. */
void
asynx_hooks_tell_failure(const AsynxSubscription *subscription, const AsynxEnvelope *envelope,
						 const ErrorData *error)
{
	TellOfError(ASYNX_ON_PANIC, subscription, envelope, error);
}

/* Tells that the subscription could not handle an event that was published again. */
void
asynx_hooks_tell_publish_error(const AsynxSubscription *subscription,
							   const AsynxEnvelope *envelope, const ErrorData *error)
{
	TellOfError(ASYNX_ON_PUBLISH_ERROR, subscription, envelope, error);
}

/* Tells that a function of the subscription was too slow with an event. */
void
asynx_hooks_tell_timeout(const AsynxSubscription *subscription, const AsynxEnvelope *envelope)
{
	const List *hooks = asynx_subscriptions_of(ASYNX_ON_TIMEOUT);
	const ListCell *cell;

	foreach(cell, hooks)
	{
		AsynxCall	call = {.function = NULL};

		asynx_hooks_set_event(&call, ASYNX_TAKES_TIMEOUT, envelope);
		call.args[1].value = IntervalPGetDatum(subscription->timeout);
		Tell(lfirst(cell), subscription->milliseconds, &call);
	}
}

/* Tells that the snapshot of an aggregate cannot be read. */
void
asynx_hooks_tell_corruption(const text *aggregate_id, const ErrorData *error)
{
	const List *hooks = asynx_subscriptions_of(ASYNX_ON_CORRUPTION);
	const ListCell *cell;

	foreach(cell, hooks)
	{
		AsynxCall	call = {
			.signature = asynx_subscription_signature(ASYNX_TAKES_ID),
			.args = {
				{PointerGetDatum(aggregate_id), false},
				{JsonbPGetDatum(ErrorObject(NULL, error)), false}
			},
		};

		Tell(lfirst(cell), 0, &call);
	}
}

/* Makes of what a hook raised the end of the forget. */
static void
ExplainVeto(const AsynxCall *call, ErrorData *error)
{
	const AsynxEnvelope *envelope = call->arg;

	error->detail = psprintf("Hook \"%s\" raised %s", call->function->name,
							 asynx_handler_cause(error));
	error->message = psprintf("aggregate \"%s\" was not forgotten",
							  text_to_cstring(envelope->event->aggregate_id));
	error->hint = NULL;
	error->sqlerrcode = ERRCODE_ASYNX_FORGET_FAILED;
}

/* Asks whether an aggregate may be forgotten; raises forget_failed if a hook speaks against it. */
void
asynx_hooks_ask_forget(const AsynxEnvelope *envelope)
{
	const List *hooks = asynx_subscriptions_of(ASYNX_ON_FORGET);
	const ListCell *cell;

	foreach(cell, hooks)
	{
		const AsynxSubscription *hook = lfirst(cell);
		AsynxCall	call = {
			.function = &hook->handler.function,
			.explain = ExplainVeto,
			.arg = unconstify(AsynxEnvelope *, envelope),
		};

		asynx_hooks_set_event(&call, ASYNX_TAKES_EVENT, envelope);
		PushActiveSnapshot(GetTransactionSnapshot());
		asynx_handler_run(&call);
		PopActiveSnapshot();
	}
}
