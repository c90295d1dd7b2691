/*
 * subscribe.c
 *	  Registers subscriptions and hooks.
 *
 * 1. An inline subscription runs in the transaction of whoever writes an event
 *	  whose name matches its pattern (inline.c).  A hook is told of what befalls
 *	  others: an aggregate to be forgotten, a handler that failed or was too slow, a
 *	  snapshot that cannot be read (hook.c).  A hook's name says what it is, so that
 *	  registering it twice is once.
 *
 * 2. Nothing is missed: who subscribes locks the event table in SHARE mode, so every
 *	  writer either has ended, or looks at the subscriptions after this one was
 *	  committed, because writers look after their own lock on the table.
 *
 * 3. The functions belong to one role, the subscription's owner, as which they run
 *	  (handler.c).  Who registers them must have that role's privileges.
 */
#include "asynx.h"

#include "args.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "errors.h"
#include "feed.h"
#include "lifecycle.h"
#include "miscadmin.h"
#include "pattern.h"
#include "query.h"
#include "slots.h"
#include "subscription.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "uuid.h"

/* Longest timeout, and longest delay, in milliseconds: about 24 days. */
#define LONGEST_TIMEOUT PG_INT32_MAX

/* More than there can be workers is of no use. */
#define MOST_PARTITIONS 1024

/* What a hook takes. */
static const AsynxForm HookForms[ASYNX_MODES] = {
	[ASYNX_ON_FORGET] = ASYNX_TAKES_EVENT,
	[ASYNX_ON_PANIC] = ASYNX_TAKES_ERROR,
	[ASYNX_ON_TIMEOUT] = ASYNX_TAKES_TIMEOUT,
	[ASYNX_ON_PUBLISH_ERROR] = ASYNX_TAKES_ERROR,
	[ASYNX_ON_CORRUPTION] = ASYNX_TAKES_ID,
};

static AsynxQuery SelectByName = {
	.sql = ASYNX_SQL("SELECT " ASYNX_SUBSCRIPTION_COLUMNS " FROM asynx.subscriptions s "
					 "WHERE s.name OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* A store that has had no subscription runs; a row keeps it so (lifecycle.c). */
static AsynxQuery InsertLifecycle = {
	.sql = ASYNX_SQL("INSERT INTO asynx.lifecycle (state, changed_at) "
					 "SELECT 'running', pg_catalog.clock_timestamp() "
					 "WHERE NOT EXISTS (SELECT FROM asynx.subscriptions) "
					 "ON CONFLICT (singleton) DO NOTHING"),
	.nargs = 0,
};

static AsynxQuery InsertSubscription = {
	.sql = ASYNX_SQL("INSERT INTO asynx.subscriptions "
					 "(name, pattern, mode, handler, fallback, timeout, channel, start_at, "
					 " partitions, max_attempts, retry_delay, on_failure, owner, state) "
					 "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'running') "
					 "ON CONFLICT (name) DO NOTHING"),
	.nargs = ASYNX_SUBSCRIPTION_NATTS,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INTERVALOID, TEXTOID, INT8OID,
	INT4OID, INT4OID, INTERVALOID, TEXTOID, TEXTOID},
};

/* One checkpoint for each partition. */
static AsynxQuery InsertCheckpoints = {
	.sql = ASYNX_SQL("INSERT INTO asynx.checkpoints (subscription, partition, position) "
					 "SELECT $1, p.number, $3 "
					 "FROM pg_catalog.generate_series(0, $2 OPERATOR(pg_catalog.-) 1) "
					 "AS p (number)"),
	.nargs = 3,
	.argtypes = {TEXTOID, INT4OID, INT8OID},
};

static AsynxQuery LockEvents = {
	.sql = ASYNX_SQL("LOCK TABLE asynx.events IN SHARE MODE"),
	.nargs = 0,
};

static AsynxQuery DeleteSubscription = {
	.sql = ASYNX_SQL("DELETE FROM asynx.subscriptions s "
					 "WHERE s.name OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery DeleteCheckpoints = {
	.sql = ASYNX_SQL("DELETE FROM asynx.checkpoints c "
					 "WHERE c.subscription OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Who works on it is waited for, before anything else is locked. */
static AsynxQuery LockCheckpoints = {
	.sql = ASYNX_SQL("SELECT c.partition FROM asynx.checkpoints c "
					 "WHERE c.subscription OPERATOR(pg_catalog.=) $1 "
					 "ORDER BY c.partition FOR UPDATE"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery DeleteRebuild = {
	.sql = ASYNX_SQL("DELETE FROM asynx.rebuilds r "
					 "WHERE r.subscription OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery DeleteFailures = {
	.sql = ASYNX_SQL("DELETE FROM asynx.failures f "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Are two values of a type that has no padding the same?  NULL equals NULL alone. */
static bool
SameText(const text *a, const text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, PointerGetDatum(a),
												PointerGetDatum(b)));
}

/* The same for intervals. */
static bool
SameInterval(const Interval *a, const Interval *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return DatumGetBool(DirectFunctionCall2(interval_eq, IntervalPGetDatum(a),
											IntervalPGetDatum(b)));
}

/* Row function of SelectByName. */
static bool
GetRow(TupleTableSlot *slot, void *arg)
{
	asynx_subscription_from_slot(slot, (AsynxSubscriptionRow *) arg);
	return false;
}

/* Raises 42710 unless the subscription that there is, is the one that was asked for. */
static void
CheckSame(const AsynxSubscriptionRow *row, const AsynxSubscriptionRow *there)
{
	if (SameText(row->pattern, there->pattern) && SameText(row->mode, there->mode) &&
		SameText(row->handler, there->handler) && SameText(row->fallback, there->fallback) &&
		SameInterval(row->timeout, there->timeout) && SameText(row->channel, there->channel) &&
		row->partitions == there->partitions && row->max_attempts == there->max_attempts &&
		SameInterval(row->retry_delay, there->retry_delay) &&
		SameText(row->on_failure, there->on_failure) && SameText(row->owner, there->owner))
		return;

	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("subscription \"%s\" already exists and is another one",
					text_to_cstring(row->name)),
			 errhint("Drop it with asynx.unsubscribe(), or choose another name.")));
}

/* A text as a parameter. */
static void
SetText(Datum *value, char *null, const text *given)
{
	*value = PointerGetDatum(given);
	*null = given == NULL ? 'n' : ' ';
}

/* Inserts the row; false if there is one of that name. */
static bool
Insert(const AsynxSubscriptionRow *row)
{
	Datum		values[ASYNX_SUBSCRIPTION_NATTS];
	char		nulls[ASYNX_SUBSCRIPTION_NATTS];

	memset(nulls, ' ', sizeof(nulls));
	SetText(&values[0], &nulls[0], row->name);
	SetText(&values[1], &nulls[1], row->pattern);
	SetText(&values[2], &nulls[2], row->mode);
	SetText(&values[3], &nulls[3], row->handler);
	SetText(&values[4], &nulls[4], row->fallback);
	values[5] = IntervalPGetDatum(row->timeout);
	nulls[5] = row->timeout == NULL ? 'n' : ' ';
	SetText(&values[6], &nulls[6], row->channel);
	values[7] = Int64GetDatum(row->start_at);
	values[8] = Int32GetDatum(row->partitions);
	values[9] = Int32GetDatum(row->max_attempts);
	values[10] = IntervalPGetDatum(row->retry_delay);
	SetText(&values[11], &nulls[11], row->on_failure);
	SetText(&values[12], &nulls[12], row->owner);
	return asynx_query_write(&InsertSubscription, values, nulls, NULL, NULL) > 0;
}

/* Is the same subscription there already?  Raises 42710 if it is another one. */
static bool
IsThere(const AsynxSubscriptionRow *row)
{
	Datum		values[] = {PointerGetDatum(row->name)};
	AsynxSubscriptionRow there;
	bool		found;

	PushActiveSnapshot(GetTransactionSnapshot());
	found = asynx_query_read(&SelectByName, values, NULL, GetRow, &there) > 0;
	PopActiveSnapshot();
	if (found)
		CheckSame(row, &there);
	return found;
}

/* Has a subscription of that mode checkpoints?  The others are run by whoever writes. */
static bool
HasCheckpoints(const text *mode)
{
	return asynx_text_is(mode, asynx_subscription_mode_name(ASYNX_ASYNC)) ||
		asynx_text_is(mode, asynx_subscription_mode_name(ASYNX_CHANNEL)) ||
		asynx_text_is(mode, asynx_subscription_mode_name(ASYNX_PULL));
}

/* Begins at the position that was asked for, or now. */
static void
MakeCheckpoints(const AsynxSubscriptionRow *row)
{
	Datum		values[] = {
		PointerGetDatum(row->name), Int32GetDatum(row->partitions), Int64GetDatum(row->start_at)
	};

	(void) asynx_query_write(&InsertCheckpoints, values, NULL, NULL, NULL);
}

/* Stores the subscription, unless it is there already. */
static void
Store(AsynxSubscriptionRow *row)
{
	AsynxQueryScope scope;
	bool		checkpoints = HasCheckpoints(row->mode);

	asynx_query_begin(&scope);
	asynx_lifecycle_check_bus();
	while (!IsThere(row))
	{
		CHECK_FOR_INTERRUPTS();
		if (!checkpoints)
			(void) asynx_query_write(&LockEvents, NULL, NULL, NULL, NULL);
		else if (row->start_at < 0)
			row->start_at = asynx_feed_safe_position();
		(void) asynx_query_write(&InsertLifecycle, NULL, NULL, NULL, NULL);
		if (!Insert(row))
			continue;
		if (checkpoints)
			MakeCheckpoints(row);
		asynx_slots_wake_bus_at_commit();
		break;
	}
	asynx_query_end(&scope);
}

/* Raises handler_missing if there is no function. */
static void
CheckGiven(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_HANDLER_MISSING),
				 errmsg("a subscription has no handler"),
				 errdetail("\"%s\" must not be null.", name)));
}

/* Raises 22023 for a parameter that means nothing to a subscription of that mode. */
void
asynx_subscription_refuse_parameter(const text *mode, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a subscription of mode \"%s\" cannot have \"%s\"", text_to_cstring(mode),
					name)));
}

/* The timeout of a subscription, NULL for none. */
Interval *
asynx_arg_timeout(FunctionCallInfo fcinfo, int arg, const char *name)
{
	Interval   *timeout;
	int64		milliseconds;

	if (PG_ARGISNULL(arg))
		return NULL;
	timeout = PG_GETARG_INTERVAL_P(arg);
	milliseconds = asynx_milliseconds(timeout);
	if (milliseconds < 1 || milliseconds > LONGEST_TIMEOUT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be between 1 millisecond and 24 days", name)));
	return timeout;
}

/* The pattern of a subscription; raises pattern_empty, or what is wrong with it. */
static text *
PatternArgument(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_PATTERN_EMPTY),
				 errmsg("a subscription has no pattern"),
				 errdetail("\"pattern\" must not be null.")));
	(void) asynx_pattern_compile(text_to_cstring(PG_GETARG_TEXT_PP(arg)));
	return PG_GETARG_TEXT_PP(arg);
}

/* The mode of a subscription; raises 22023 for one that is none. */
static AsynxMode
ModeArgument(FunctionCallInfo fcinfo, int arg)
{
	const text *name = asynx_arg_text(fcinfo, arg, "mode");
	int			mode;

	for (mode = ASYNX_ASYNC; mode <= ASYNX_INLINE; mode++)
	{
		if (asynx_text_is(name, asynx_subscription_mode_name(mode)))
			return mode;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a mode of subscriptions", text_to_cstring(name)),
			 errhint("Use \"async\", \"inline\", \"channel\" or \"pull\".")));
}

/* Raises 22023 for what cannot happen on failure. */
void
asynx_subscription_check_policy(const text *policy, bool is_inline)
{
	if (!asynx_text_is(policy, "stop") && !asynx_text_is(policy, "continue") &&
		(is_inline || !asynx_text_is(policy, "park")))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"on_failure\" cannot be \"%s\"", text_to_cstring(policy)),
				 is_inline ? errhint("Use \"stop\" or \"continue\".") :
				 errhint("Use \"continue\", \"park\" or \"stop\".")));
}

/* What happens on failure: given, or what is usual for the mode. */
static text *
OnFailureArgument(FunctionCallInfo fcinfo, int arg, AsynxMode mode)
{
	if (PG_ARGISNULL(arg))
		return cstring_to_text(mode == ASYNX_INLINE ? "stop" : "continue");
	asynx_subscription_check_policy(PG_GETARG_TEXT_PP(arg), mode == ASYNX_INLINE);
	return PG_GETARG_TEXT_PP(arg);
}

/* The name given, or a new one. */
static text *
NameArgument(FunctionCallInfo fcinfo, int arg)
{
	pg_uuid_t	id;

	if (!PG_ARGISNULL(arg))
	{
		text	   *name = PG_GETARG_TEXT_PP(arg);

		asynx_check_name("subscription name", VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		return name;
	}
	id = asynx_uuid_random();
	return cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&id))));
}

/* Looks the functions of a subscription up and puts them into its row. */
static void
SetFunctions(FunctionCallInfo fcinfo, int handler_arg, int fallback_arg, AsynxSubscriptionRow *row)
{
	const AsynxSignature *const forms[] = {
		asynx_subscription_signature(ASYNX_TAKES_EVENT),
		asynx_subscription_signature(ASYNX_TAKES_EVENTS),
		asynx_subscription_signature(ASYNX_TAKES_STORED),
		asynx_subscription_signature(ASYNX_TAKES_STOREDS), NULL
	};
	AsynxFunction handler;
	AsynxFunction fallback;

	(void) asynx_handler_find(text_to_cstring(PG_GETARG_TEXT_PP(handler_arg)), forms, &handler);
	row->handler = cstring_to_text(handler.name);
	row->owner = cstring_to_text(handler.owner);
	if (PG_ARGISNULL(fallback_arg))
		return;

	(void) asynx_handler_find(text_to_cstring(PG_GETARG_TEXT_PP(fallback_arg)), forms, &fallback);
	asynx_handler_check_owner(&handler, &fallback);
	row->fallback = cstring_to_text(fallback.name);
}

/* How long between attempts, if there were any. */
static Interval *
DefaultDelay(void)
{
	Interval   *delay = palloc0(sizeof(Interval));

	delay->time = USECS_PER_SEC;
	return delay;
}

/* How long between attempts; raises 22023 for a time that none can be. */
void
asynx_subscription_check_delay(const Interval *delay)
{
	int64		milliseconds = asynx_milliseconds(delay);

	if (milliseconds < 0 || milliseconds > LONGEST_TIMEOUT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"retry_delay\" must be between 0 and 24 days")));
}

/* The same as an argument, with a default. */
static Interval *
DelayArgument(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		return DefaultDelay();
	asynx_subscription_check_delay(PG_GETARG_INTERVAL_P(arg));
	return PG_GETARG_INTERVAL_P(arg);
}

/* Registers a hook and returns its name. */
static Datum
Hook(FunctionCallInfo fcinfo, AsynxMode mode)
{
	const AsynxSignature *const forms[] = {asynx_subscription_signature(HookForms[mode]), NULL};
	AsynxFunction handler;
	AsynxSubscriptionRow row = {
		.mode = cstring_to_text(asynx_subscription_mode_name(mode)),
		.partitions = 1,
		.max_attempts = 1,
		.retry_delay = DefaultDelay(),
		.on_failure = cstring_to_text("continue"),
	};

	CheckGiven(fcinfo, 0, "handler");
	(void) asynx_handler_find(text_to_cstring(PG_GETARG_TEXT_PP(0)), forms, &handler);
	row.name = cstring_to_text(psprintf("%s: %s", asynx_subscription_mode_name(mode),
										handler.name));
	row.handler = cstring_to_text(handler.name);
	row.owner = cstring_to_text(handler.owner);
	Store(&row);
	PG_RETURN_TEXT_P(row.name);
}

PG_FUNCTION_INFO_V1(asynx_subscribe);
PG_FUNCTION_INFO_V1(asynx_unsubscribe);
PG_FUNCTION_INFO_V1(asynx_on_forget);
PG_FUNCTION_INFO_V1(asynx_on_panic);
PG_FUNCTION_INFO_V1(asynx_on_timeout);
PG_FUNCTION_INFO_V1(asynx_on_publish_error);
PG_FUNCTION_INFO_V1(asynx_on_corruption);

/* Raises 22023 for parameters that mean nothing to the mode. */
static void
CheckParameters(FunctionCallInfo fcinfo, AsynxMode mode, const AsynxSubscriptionRow *row)
{
	bool		handles = mode == ASYNX_ASYNC || mode == ASYNX_INLINE;

	if (!handles && !PG_ARGISNULL(1))
		asynx_subscription_refuse_parameter(row->mode, "handler");
	if (!handles && !PG_ARGISNULL(3))
		asynx_subscription_refuse_parameter(row->mode, "fallback");
	if (!handles && row->timeout != NULL)
		asynx_subscription_refuse_parameter(row->mode, "timeout");
	if (mode != ASYNX_CHANNEL && !PG_ARGISNULL(6))
		asynx_subscription_refuse_parameter(row->mode, "channel");
	if (mode == ASYNX_INLINE && !PG_ARGISNULL(7))
		asynx_subscription_refuse_parameter(row->mode, "start_at");
	if (mode != ASYNX_ASYNC && row->partitions != 1)
		asynx_subscription_refuse_parameter(row->mode, "partitions");
	if (mode != ASYNX_ASYNC && row->max_attempts != 1)
		asynx_subscription_refuse_parameter(row->mode, "max_attempts");
}

/* The channel of NOTIFY; raises 22023 for what cannot be one. */
static text *
ChannelArgument(FunctionCallInfo fcinfo, int arg)
{
	text	   *channel = asynx_arg_text(fcinfo, arg, "channel");

	if (VARSIZE_ANY_EXHDR(channel) == 0 || VARSIZE_ANY_EXHDR(channel) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"channel\" must have 1 to %d bytes", NAMEDATALEN - 1)));
	return channel;
}

/*
 * asynx.subscribe(pattern, handler, name, fallback, timeout, mode, channel, start_at,
 * partitions, max_attempts, retry_delay, on_failure) returns text: the name
 */
Datum
asynx_subscribe(PG_FUNCTION_ARGS)
{
	AsynxMode	mode = ModeArgument(fcinfo, 5);
	AsynxSubscriptionRow row = {
		.pattern = PatternArgument(fcinfo, 0),
		.name = NameArgument(fcinfo, 2),
		.timeout = asynx_arg_timeout(fcinfo, 4, "timeout"),
		.mode = PG_GETARG_TEXT_PP(5),
		.start_at = PG_ARGISNULL(7) ? -1 : asynx_arg_bigint(fcinfo, 7, "start_at", 0),
		.partitions = asynx_arg_int(fcinfo, 8, "partitions", 1),
		.max_attempts = asynx_arg_int(fcinfo, 9, "max_attempts", 1),
		.retry_delay = DelayArgument(fcinfo, 10),
		.on_failure = OnFailureArgument(fcinfo, 11, mode),
	};

	CheckParameters(fcinfo, mode, &row);
	if (mode == ASYNX_ASYNC || mode == ASYNX_INLINE)
	{
		CheckGiven(fcinfo, 1, "handler");
		SetFunctions(fcinfo, 1, 3, &row);
	}
	else
		row.owner = cstring_to_text(GetUserNameFromId(GetUserId(), false));
	if (mode == ASYNX_CHANNEL)
		row.channel = ChannelArgument(fcinfo, 6);
	if (mode == ASYNX_INLINE)
		row.start_at = 0;
	if (row.partitions > MOST_PARTITIONS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"partitions\" is %d, it must be at most %d", row.partitions,
						MOST_PARTITIONS)));

	Store(&row);
	PG_RETURN_TEXT_P(row.name);
}

/* asynx.unsubscribe(id text) returns boolean: was there one? */
Datum
asynx_unsubscribe(PG_FUNCTION_ARGS)
{
	Datum		values[] = {PointerGetDatum(asynx_arg_text(fcinfo, 0, "id"))};
	AsynxQueryScope scope;
	bool		found;

	asynx_query_begin(&scope);
	(void) asynx_query_write(&LockCheckpoints, values, NULL, NULL, NULL);
	found = asynx_query_write(&DeleteSubscription, values, NULL, NULL, NULL) > 0;
	if (found)
	{
		(void) asynx_query_write(&DeleteCheckpoints, values, NULL, NULL, NULL);
		(void) asynx_query_write(&DeleteFailures, values, NULL, NULL, NULL);
		(void) asynx_query_write(&DeleteRebuild, values, NULL, NULL, NULL);
		asynx_slots_wake_bus_at_commit();
	}
	asynx_query_end(&scope);

	PG_RETURN_BOOL(found);
}

/* asynx.on_forget(handler text) returns text; the handler takes the last event of the aggregate */
Datum
asynx_on_forget(PG_FUNCTION_ARGS)
{
	return Hook(fcinfo, ASYNX_ON_FORGET);
}

/* asynx.on_panic(handler text) returns text; the handler takes an event and an error */
Datum
asynx_on_panic(PG_FUNCTION_ARGS)
{
	return Hook(fcinfo, ASYNX_ON_PANIC);
}

/* asynx.on_timeout(handler text) returns text; the handler takes an event and the timeout */
Datum
asynx_on_timeout(PG_FUNCTION_ARGS)
{
	return Hook(fcinfo, ASYNX_ON_TIMEOUT);
}

/* asynx.on_publish_error(handler text) returns text; the handler takes an event and an error */
Datum
asynx_on_publish_error(PG_FUNCTION_ARGS)
{
	return Hook(fcinfo, ASYNX_ON_PUBLISH_ERROR);
}

/* asynx.on_corruption(handler text) returns text; the handler takes an id and an error */
Datum
asynx_on_corruption(PG_FUNCTION_ARGS)
{
	return Hook(fcinfo, ASYNX_ON_CORRUPTION);
}
