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
 *	  commits "stopped".  Handlers of events that came meanwhile are waited for too;
 *	  none begins any more.  If time is up before, it raises an error and the store stays
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

/* "draining" ends, unless somebody let the store run again. */
static AsynxQuery FinishDraining = {
	.sql = ASYNX_SQL("UPDATE asynx.lifecycle l "
					 "SET state = 'stopped', changed_at = pg_catalog.clock_timestamp() "
					 "WHERE l.state OPERATOR(pg_catalog.=) 'draining'"),
	.nargs = 0,
};

/*
 * Who writes events now: their virtual transactions.  Who analyzes or vacuums the table
 * holds another lock.
 */
static AsynxQuery SelectWriters = {
	.sql = ASYNX_SQL("SELECT l.virtualtransaction FROM pg_catalog.pg_locks l "
					 "WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' "
					 "AND l.relation OPERATOR(pg_catalog.=) $1 "
					 "AND l.database OPERATOR(pg_catalog.=) $2 "
					 "AND l.mode OPERATOR(pg_catalog.=) 'RowExclusiveLock' AND l.granted "
					 "AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()"),
	.nargs = 2,
	.argtypes = {OIDOID, OIDOID},
};

/* The process of a virtual transaction that has not ended. */
static AsynxQuery SelectProcess = {
	.sql = ASYNX_SQL("SELECT l.pid::bigint FROM pg_catalog.pg_locks l "
					 "WHERE l.locktype OPERATOR(pg_catalog.=) 'virtualxid' "
					 "AND l.virtualxid OPERATOR(pg_catalog.=) $1 "
					 "AND l.mode OPERATOR(pg_catalog.=) 'ExclusiveLock'"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* What this session knows: has the store been shut down, and are commands refused? */
static bool Stopped = false;
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
	Stopped = asynx_text_is(state, "stopped");
	Closed = Stopped || (asynx_text_is(state, "draining") && MyBgworkerEntry == NULL);
	ChangesSeen = changes;
}

/* Has the store been shut down? */
bool
asynx_lifecycle_is_stopped(void)
{
	Refresh();
	return Stopped;
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

/* Row function of SelectWriters. */
static bool
AddWriter(TupleTableSlot *slot, void *arg)
{
	List	  **writers = (List **) arg;
	bool		isnull;

	*writers = lappend(*writers, DatumGetTextPCopy(slot_getattr(slot, 1, &isnull)));
	return true;
}

/* Row function of SelectProcess. */
static bool
GetProcess(TupleTableSlot *slot, void *arg)
{
	(void) asynx_query_get_int64(slot, arg);
	return true;
}

/* The process of a transaction; 0 if it has ended. */
static int64
ProcessOf(const text *transaction)
{
	Datum		values[] = {PointerGetDatum(transaction)};
	int64		process = 0;

	PushActiveSnapshot(GetLatestSnapshot());
	(void) asynx_query_read(&SelectProcess, values, NULL, GetProcess, &process);
	PopActiveSnapshot();
	return process;
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

/* Raises shutting_down: what has to end first has not; the writer's process may be 0. */
pg_noreturn static void
RefuseToStop(const char *state, int64 writer)
{
	StringInfoData description;

	initStringInfo(&description);
	if (writer != 0)
		appendStringInfo(&description, "  Process %d has written events and not ended its "
						 "transaction.", (int) writer);
	asynx_slots_each(DescribeWorker, &description);
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_SHUTTING_DOWN),
			 errmsg("commands or handlers are still at work"),
			 errdetail("The store %s.%s", state, description.data),
			 errhint("Call asynx.shutdown() again, or asynx.resume().")));
}

/* Waits for those who write events now, perhaps as commands that were sent before. */
static void
AwaitWriters(TimestampTz until)
{
	Datum		values[] = {
		ObjectIdGetDatum(asynx_query_event_table()), ObjectIdGetDatum(MyDatabaseId)
	};
	List	   *writers = NIL;
	const ListCell *cell;

	PushActiveSnapshot(GetLatestSnapshot());
	(void) asynx_query_read(&SelectWriters, values, NULL, AddWriter, &writers);
	PopActiveSnapshot();

	foreach(cell, writers)
	{
		int64		process;

		while ((process = ProcessOf(lfirst(cell))) != 0)
		{
			if (!asynx_wait_moment(until))
				RefuseToStop("stays draining", process);
		}
	}
}

/* Commits "draining", and "stopped" when there is nothing left to do. */
static void
Drain(AsynxQueryScope *scope, TimestampTz until)
{
	SetState("draining");
	asynx_query_commit(scope);

	LockShutdown();
	AwaitWriters(until);
	if (!asynx_wait_handled(NULL, asynx_feed_safe_position(), until))
		RefuseToStop("stays draining", 0);
	if (asynx_query_write(&FinishDraining, NULL, NULL, NULL, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the store was not shut down"),
				 errdetail("Somebody has called asynx.resume() meanwhile.")));
	asynx_slots_wake_bus_at_commit();
}

/* Counts the workers of this database that are at work. */
static void
CountBusy(const AsynxWorkerStatus *status, void *arg)
{
	if (status->database == MyDatabaseId && status->busy)
		++*(int *) arg;
}

/* Waits for handlers that began before the store was stopped. */
static void
AwaitHandlers(TimestampTz until)
{
	int			busy;

	for (;;)
	{
		busy = 0;
		asynx_slots_each(CountBusy, &busy);
		if (busy == 0)
			return;
		if (!asynx_wait_moment(until))
			RefuseToStop("is stopped", 0);
	}
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

	const text *state;

	asynx_query_begin_procedure(&scope, fcinfo, "asynx.shutdown");
	LockShutdown();
	state = ReadState();

	/* in a copy nothing has run, and nothing is to */
	if (asynx_text_is(state, "dormant"))
		SetState("stopped");
	else if (!asynx_text_is(state, "stopped"))
		Drain(&scope, until);
	asynx_query_commit(&scope);
	AwaitHandlers(until);
	asynx_query_end(&scope);
	PG_RETURN_VOID();
}
