/*
 * lifecycle.c
 *	  Is the store running?  shutdown(), resume().
 *
 * 1. The row of asynx.lifecycle says so.  Dumps do not carry it, so a restored copy
 *	  has none; with subscriptions it is then dormant, because handlers must not run
 *	  again in a copy, least of all in one that is half restored.  A fresh store has
 *	  neither a row nor subscriptions, and is running.
 *
 * 2. shutdown() commits the state "draining", in which new commands are refused but
 *	  for those of handlers, waits until those under way have ended and the handlers
 *	  have handled what there is, and
 *	  commits "stopped".  If time is up before, it raises an error and the store stays
 *	  draining; calling it again goes on.  Only one session at a time waits.  Both
 *	  states survive a restart, until resume().
 *
 * 3. Sessions keep the state that they have read.  A trigger tells them of a change;
 *	  who was committing a command meanwhile, commits it.
 *
 * src/README.md draws the states.
 */
#include "asynx.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "changes.h"
#include "errors.h"
#include "feed.h"
#include "fmgr.h"
#include "lifecycle.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "postmaster/bgworker.h"
#include "query.h"
#include "slots.h"
#include "storage/lock.h"
#include "subscription.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "wait.h"

/* The lock of who shuts the store down; see lock.c for the class of aggregates' locks. */
#define SHUTDOWN_LOCK_CLASS 0xA6

static AsynxQuery SelectState = {
	.sql = ASYNX_SQL("SELECT COALESCE("
					 "(SELECT l.state FROM asynx.lifecycle l), "
					 "CASE WHEN EXISTS (SELECT FROM asynx.subscriptions) "
					 "THEN 'dormant' ELSE 'running' END)"),
	.nargs = 0,
};

static AsynxQuery UpsertState = {
	.sql = ASYNX_SQL("INSERT INTO asynx.lifecycle (state, changed_at) "
					 "VALUES ($1, pg_catalog.clock_timestamp()) "
					 "ON CONFLICT (singleton) DO UPDATE "
					 "SET state = excluded.state, changed_at = excluded.changed_at"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* What this session knows: are commands refused? */
static bool Closed = false;
static Oid	Table = InvalidOid;
static uint64 Changes = 1;
static uint64 ChangesSeen = 0;

/* Row function: copies the state. */
static bool
GetState(TupleTableSlot *slot, void *arg)
{
	bool		isnull;

	*(text **) arg = DatumGetTextPCopy(slot_getattr(slot, 1, &isnull));
	return false;
}

/* The state, as it is now. */
static text *
ReadState(void)
{
	text	   *state = NULL;

	PushActiveSnapshot(GetLatestSnapshot());
	(void) asynx_query_read(&SelectState, NULL, NULL, GetState, &state);
	PopActiveSnapshot();
	return state;
}

/* Sets the state. */
static void
SetState(const char *state)
{
	Datum		values[] = {CStringGetTextDatum(state)};

	(void) asynx_query_write(&UpsertState, values, NULL, NULL, NULL);
	asynx_slots_wake_bus_at_commit();
}

/* May handlers run?  They may while the store is draining. */
bool
asynx_lifecycle_runs(void)
{
	const text *state = ReadState();

	return asynx_text_is(state, "running") || asynx_text_is(state, "draining");
}

/* Relcache callback: was it the table of the state that changed? */
static void
NoteChange(Datum arg, Oid relation)
{
	(void) arg;
	if (relation == Table || !OidIsValid(relation))
		Changes++;
}

/* Reads the state again if it has changed. */
static void
Refresh(void)
{
	static bool registered = false;
	const text *state;
	uint64		changes;

	if (!registered)
	{
		asynx_changes_register(NoteChange);
		registered = true;
	}
	if (ChangesSeen == Changes)
		return;

	/* after an error, or a change that comes meanwhile, it is read again */
	changes = Changes;
	Table = get_relname_relid("lifecycle", get_namespace_oid(ASYNX_SCHEMA, false));
	state = ReadState();
	Closed = asynx_text_is(state, "stopped") ||
		(asynx_text_is(state, "draining") && MyBgworkerEntry == NULL);
	ChangesSeen = changes;
}

/* Raises shutting_down if the store takes no commands any more. */
void
asynx_lifecycle_check_open(void)
{
	Refresh();
	if (Closed)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_SHUTTING_DOWN),
				 errmsg("the store has been shut down"),
				 errhint("asynx.resume() lets it run again.")));
}

/* Raises bus_closed if the store has been shut down. */
void
asynx_lifecycle_check_bus(void)
{
	if (asynx_text_is(ReadState(), "stopped"))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_BUS_CLOSED),
				 errmsg("the store has been shut down"),
				 errhint("asynx.resume() lets it run again.")));
}

/* Takes the lock of who shuts the store down, to the end of the transaction. */
static void
LockShutdown(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, SHUTDOWN_LOCK_CLASS);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_ALREADY_SHUTTING_DOWN),
				 errmsg("another session shuts the store down already")));
}

/* Waits for those who write events now, perhaps as commands that were sent before. */
static bool
AwaitWriters(TimestampTz until)
{
	const VirtualTransactionId *writer;
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, asynx_query_event_table());
	for (writer = GetLockConflicts(&tag, ShareLock, NULL); VirtualTransactionIdIsValid(*writer);
		 writer++)
	{
		while (!VirtualXactLock(*writer, false))
		{
			if (!asynx_wait_sleep(until))
				return false;
		}
	}
	return true;
}

/* Adds a worker that is at work to the description of what is. */
static void
DescribeWorker(const AsynxWorkerStatus *status, void *arg)
{
	StringInfo	description = (StringInfo) arg;

	if (status->database == MyDatabaseId && status->busy)
		appendStringInfo(description, "  Process %d handles events for \"%s\".", status->pid,
						 status->task.partition.subscription);
}

/* Raises shutting_down: what has to end first has not. */
pg_noreturn static void
RefuseToStop(void)
{
	StringInfoData description;

	initStringInfo(&description);
	asynx_slots_each(DescribeWorker, &description);
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_SHUTTING_DOWN),
			 errmsg("commands or handlers are still at work"),
			 errdetail("The store stays draining.%s", description.data),
			 errhint("Call asynx.shutdown() again, or asynx.resume().")));
}

PG_FUNCTION_INFO_V1(asynx_lifecycle_state);
PG_FUNCTION_INFO_V1(asynx_resume);
PG_FUNCTION_INFO_V1(asynx_shutdown);

/* asynx.lifecycle_state() returns text */
Datum
asynx_lifecycle_state(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	text	   *state;

	(void) fcinfo;
	asynx_query_begin(&scope);
	state = ReadState();
	asynx_query_end(&scope);
	PG_RETURN_TEXT_P(state);
}

/* asynx.resume() returns void */
Datum
asynx_resume(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;

	(void) fcinfo;
	asynx_query_begin(&scope);
	SetState("running");
	asynx_query_end(&scope);
	PG_RETURN_VOID();
}

/* asynx.shutdown(timeout interval), a procedure */
Datum
asynx_shutdown(PG_FUNCTION_ARGS)
{
	TimestampTz until = asynx_wait_until(fcinfo, 0);
	AsynxQueryScope scope;

	asynx_query_begin_procedure(&scope, fcinfo, "asynx.shutdown");
	LockShutdown();
	SetState("draining");
	asynx_query_commit(&scope);

	LockShutdown();
	if (!AwaitWriters(until) ||
		!asynx_wait_handled(NULL, asynx_feed_safe_position(), until))
		RefuseToStop();
	SetState("stopped");
	asynx_query_end(&scope);
	PG_RETURN_VOID();
}
