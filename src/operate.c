/*
 * operate.c
 *	  Operating subscriptions: pause, resume, alter, retry, discard, rebuild.
 *
 * All of these change rows; the trigger of asynx.subscriptions, or a message of
 * ours, makes the bus look at them again when the transaction has been committed.
 */
#include "asynx.h"

#include "args.h"
#include "catalog/pg_type.h"
#include "checkpoint.h"
#include "errors.h"
#include "feed.h"
#include "miscadmin.h"
#include "operate.h"
#include "query.h"
#include "slots.h"
#include "subscription.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

static AsynxQuery SetState = {
	.sql = ASYNX_SQL("UPDATE asynx.subscriptions s SET state = $2, state_reason = NULL "
					 "WHERE s.name OPERATOR(pg_catalog.=) $1 AND s.pattern IS NOT NULL"),
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

static AsynxQuery AlterSubscription = {
	.sql = ASYNX_SQL("UPDATE asynx.subscriptions s SET "
					 " timeout = COALESCE($2, s.timeout), "
					 " max_attempts = COALESCE($3, s.max_attempts), "
					 " retry_delay = COALESCE($4, s.retry_delay), "
					 " on_failure = COALESCE($5, s.on_failure) "
					 "WHERE s.name OPERATOR(pg_catalog.=) $1 AND s.pattern IS NOT NULL "
					 "RETURNING s.mode"),
	.nargs = 5,
	.argtypes = {TEXTOID, INTERVALOID, INT4OID, INTERVALOID, TEXTOID},
};

static AsynxQuery SelectMode = {
	.sql = ASYNX_SQL("SELECT s.mode FROM asynx.subscriptions s "
					 "WHERE s.name OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* What was given up, or waits to be asked for, is asked for; what waits behind it follows. */
static AsynxQuery RequestFailure = {
	.sql = ASYNX_SQL("UPDATE asynx.failures f SET state = 'requested', attempts = 0, "
					 " begun = 0, next_at = NULL "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.position OPERATOR(pg_catalog.=) $2 "
					 "AND (f.state OPERATOR(pg_catalog.<>) 'parked' "
					 " OR f.attempts OPERATOR(pg_catalog.>) 0)"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery DiscardFailure = {
	.sql = ASYNX_SQL("DELETE FROM asynx.failures f "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1 "
					 "AND f.position OPERATOR(pg_catalog.=) $2 RETURNING f.aggregate_id"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery LockCheckpoints = {
	.sql = ASYNX_SQL("SELECT c.partition FROM asynx.checkpoints c "
					 "WHERE c.subscription OPERATOR(pg_catalog.=) $1 "
					 "ORDER BY c.partition FOR UPDATE"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery MoveCheckpoints = {
	.sql = ASYNX_SQL("UPDATE asynx.checkpoints c SET position = $2, fetched = NULL "
					 "WHERE c.subscription OPERATOR(pg_catalog.=) $1"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery DeleteFailures = {
	.sql = ASYNX_SQL("DELETE FROM asynx.failures f "
					 "WHERE f.subscription OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery UpsertRebuild = {
	.sql = ASYNX_SQL("INSERT INTO asynx.rebuilds AS r (subscription, start_at, goal, begun_at) "
					 "VALUES ($1, $2, $3, pg_catalog.clock_timestamp()) "
					 "ON CONFLICT (subscription) DO UPDATE SET start_at = excluded.start_at, "
					 " goal = excluded.goal, begun_at = excluded.begun_at"),
	.nargs = 3,
	.argtypes = {TEXTOID, INT8OID, INT8OID},
};

/* Raises 22023 for a subscription that does not exist. */
void
asynx_refuse_unknown_subscription(const text *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("subscription \"%s\" does not exist", text_to_cstring(name))));
}

/* Makes the bus look at the subscriptions again when this transaction has been committed. */
void
asynx_announce_subscriptions(void)
{
	CacheInvalidateRelcacheByRelid(asynx_subscriptions_table());
	asynx_slots_wake_bus_at_commit();
}

/* Sets the state of a subscription. */
static void
ChangeState(const text *name, const char *state)
{
	Datum		values[] = {PointerGetDatum(name), CStringGetTextDatum(state)};
	AsynxQueryScope scope;

	asynx_query_begin(&scope);
	if (asynx_query_write(&SetState, values, NULL, NULL, NULL) == 0)
		asynx_refuse_unknown_subscription(name);
	asynx_slots_wake_bus_at_commit();
	asynx_query_end(&scope);
}

/* Row function of AlterSubscription and of statements about a failure: a text. */
static bool
GetText(TupleTableSlot *slot, void *arg)
{
	bool		isnull;

	*(text **) arg = DatumGetTextPCopy(slot_getattr(slot, 1, &isnull));
	return true;
}

/* The mode of a subscription; raises 22023 for one that does not exist. */
static const text *
ModeOf(const text *name)
{
	Datum		values[] = {PointerGetDatum(name)};
	text	   *mode = NULL;

	PushActiveSnapshot(GetLatestSnapshot());
	(void) asynx_query_read(&SelectMode, values, NULL, GetText, &mode);
	PopActiveSnapshot();
	if (mode == NULL)
		asynx_refuse_unknown_subscription(name);
	return mode;
}

/* Raises 22023 unless workers handle the events of the subscription. */
static void
CheckRetries(const text *name)
{
	const text *mode = ModeOf(name);

	if (asynx_text_is(mode, "async"))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a subscription of mode \"%s\" cannot handle an event again",
					text_to_cstring(mode)),
			 errhint("asynx.publish_sync() hands an event to its subscriptions, and "
					 "asynx.discard() removes a failure.")));
}

/*
 * Runs a statement about one failure, and releases who waits for it if it is gone;
 * raises 22023 if there is none.
 */
static void
ChangeFailure(FunctionCallInfo fcinfo, AsynxQuery *query)
{
	text	   *subscription = asynx_arg_text(fcinfo, 0, "subscription");
	int64		position = asynx_arg_bigint(fcinfo, 1, "event_position", 0);
	Datum		values[] = {PointerGetDatum(subscription), Int64GetDatum(position)};
	text	   *deleted = NULL;
	AsynxQueryScope scope;

	asynx_query_begin(&scope);
	if (asynx_query_write(query, values, NULL, GetText, &deleted) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("subscription \"%s\" has no failure at position %lld",
						text_to_cstring(subscription), (long long) position),
				 query == &RequestFailure ?
				 errhint("An event that waits for an earlier one of its aggregate follows "
						 "when that one has been handled or discarded.") : 0));
	if (deleted != NULL)
		asynx_failures_release(text_to_cstring(subscription), deleted);
	else
		CheckRetries(subscription);
	asynx_announce_subscriptions();
	asynx_query_end(&scope);
}

/* Row function: every row counts. */
static bool
CountRow(TupleTableSlot *slot, void *arg)
{
	(void) slot;
	(void) arg;
	return true;
}

PG_FUNCTION_INFO_V1(asynx_pause);
PG_FUNCTION_INFO_V1(asynx_resume_subscription);
PG_FUNCTION_INFO_V1(asynx_alter_subscription);
PG_FUNCTION_INFO_V1(asynx_retry);
PG_FUNCTION_INFO_V1(asynx_discard);
PG_FUNCTION_INFO_V1(asynx_rebuild);

/* asynx.pause(name text) returns void: what is under way is finished */
Datum
asynx_pause(PG_FUNCTION_ARGS)
{
	ChangeState(asynx_arg_text(fcinfo, 0, "name"), "paused");
	PG_RETURN_VOID();
}

/* asynx.resume(name text) returns void */
Datum
asynx_resume_subscription(PG_FUNCTION_ARGS)
{
	ChangeState(asynx_arg_text(fcinfo, 0, "name"), "running");
	PG_RETURN_VOID();
}

/* asynx.alter_subscription(name, timeout, max_attempts, retry_delay, on_failure) returns void */
Datum
asynx_alter_subscription(PG_FUNCTION_ARGS)
{
	text	   *name = asynx_arg_text(fcinfo, 0, "name");
	text	   *mode = NULL;
	char		nulls[] = "     ";
	Datum		values[5];
	AsynxQueryScope scope;
	int			i;

	for (i = 0; i < 5; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	if (!PG_ARGISNULL(1))
		(void) asynx_arg_timeout(fcinfo, 1, "timeout");
	if (!PG_ARGISNULL(2))
		(void) asynx_arg_int(fcinfo, 2, "max_attempts", 1);
	if (!PG_ARGISNULL(3))
		asynx_subscription_check_delay(PG_GETARG_INTERVAL_P(3));
	if (!PG_ARGISNULL(4))
		asynx_subscription_check_policy(PG_GETARG_TEXT_PP(4), false);

	asynx_query_begin(&scope);
	if (asynx_query_write(&AlterSubscription, values, nulls, GetText, &mode) == 0)
		asynx_refuse_unknown_subscription(name);
	asynx_query_end(&scope);

	if (!PG_ARGISNULL(4))
		asynx_subscription_check_policy(PG_GETARG_TEXT_PP(4),
										asynx_text_is(mode, "inline"));
	if (!asynx_text_is(mode, "async") && !PG_ARGISNULL(2) && PG_GETARG_INT32(2) != 1)
		asynx_subscription_refuse_parameter(mode, "max_attempts");
	if (!asynx_text_is(mode, "async") && !asynx_text_is(mode, "inline") && !PG_ARGISNULL(1))
		asynx_subscription_refuse_parameter(mode, "timeout");
	PG_RETURN_VOID();
}

/* asynx.retry(subscription text, event_position bigint) returns void */
Datum
asynx_retry(PG_FUNCTION_ARGS)
{
	ChangeFailure(fcinfo, &RequestFailure);
	PG_RETURN_VOID();
}

/* asynx.discard(subscription text, event_position bigint) returns void */
Datum
asynx_discard(PG_FUNCTION_ARGS)
{
	ChangeFailure(fcinfo, &DiscardFailure);
	PG_RETURN_VOID();
}

/* asynx.rebuild(subscription text, start_at bigint) returns void */
Datum
asynx_rebuild(PG_FUNCTION_ARGS)
{
	text	   *name = asynx_arg_text(fcinfo, 0, "subscription");
	int64		start_at = asynx_arg_bigint(fcinfo, 1, "start_at", 0);
	Datum		values[] = {PointerGetDatum(name), Int64GetDatum(start_at), 0};
	AsynxQueryScope scope;

	asynx_query_begin(&scope);
	if (asynx_query_write(&LockCheckpoints, values, NULL, CountRow, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a subscription of mode \"%s\" cannot be rebuilt",
						text_to_cstring(ModeOf(name)))));
	values[2] = Int64GetDatum(Max(start_at, asynx_feed_safe_position()));
	(void) asynx_query_write(&MoveCheckpoints, values, NULL, NULL, NULL);
	(void) asynx_query_write(&DeleteFailures, values, NULL, NULL, NULL);
	(void) asynx_query_write(&UpsertRebuild, values, NULL, NULL, NULL);
	asynx_announce_subscriptions();
	asynx_query_end(&scope);
	PG_RETURN_VOID();
}
