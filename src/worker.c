/*
 * worker.c
 *	  What all background workers have in common: how they begin, the boundary that
 *	  errors do not pass, transactions, sleep.
 *
 * A worker is ended by SIGTERM at its next interrupt check, also within a handler:
 * its transaction is rolled back, and whoever takes its work over repeats it.
 */
#include "asynx.h"

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "worker.h"

/* How long a warning that is still true is not repeated, in milliseconds. */
#define WARNING_INTERVAL 60000

/* Fills in what is the same for all workers. */
void
asynx_worker_describe(BackgroundWorker *worker, const char *name, const char *function)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker->bgw_library_name, sizeof(worker->bgw_library_name), "asynx");
	snprintf(worker->bgw_function_name, sizeof(worker->bgw_function_name), "%s", function);
	snprintf(worker->bgw_name, sizeof(worker->bgw_name), "%s", name);
	snprintf(worker->bgw_type, sizeof(worker->bgw_type), "%s", name);
}

/* Warns that the server has no place for a worker, not more often than once in a while. */
static void
WarnOfNoSlot(const char *type)
{
	static TimestampTz warned = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(warned, now, WARNING_INTERVAL))
		return;
	warned = now;
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("could not start %s: out of background worker slots", type),
			 errhint("You might need to increase max_worker_processes.")));
}

/*
 * Starts a worker for a database; false, with nothing reserved, if there is no slot for
 * it.  The caller is told when it has started and when it has ended.
 */
bool
asynx_worker_start(AsynxWorkerKind kind, Oid database, int *slot, uint64 *generation,
				   BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	if (!asynx_slots_reserve(kind, database, slot, generation))
		return false;

	asynx_worker_describe(&worker, kind == ASYNX_BUS ? "asynx bus" : "asynx projection",
						  kind == ASYNX_BUS ? "asynx_bus_main" : "asynx_projection_main");
	worker.bgw_main_arg = Int32GetDatum(*slot);
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, generation, sizeof(*generation));
	if (RegisterDynamicBackgroundWorker(&worker, handle))
		return true;

	asynx_slots_give_up(*slot, *generation);
	WarnOfNoSlot(worker.bgw_type);
	return false;
}

/*
 * Makes a worker independent of what a database or a role sets for clients.  Its
 * commits are not flushed: what they are based on is.
 */
static void
OverrideSettings(void)
{
	static const char *const settings[][2] = {
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"transaction_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"session_replication_role", "origin"},
		{"row_security", "on"},
		{"synchronous_commit", "off"},
	};
	size_t		i;

	for (i = 0; i < lengthof(settings); i++)
	{
		/* not every major has all of them */
		if (GetConfigOption(settings[i][0], true, false) != NULL)
			SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	}
}

/* Begins a worker: signals, its slot, its database. */
void
asynx_worker_begin(Datum slot)
{
	uint64		generation;
	Oid			database;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	memcpy(&generation, MyBgworkerEntry->bgw_extra, sizeof(generation));
	if (!asynx_slots_attach(DatumGetInt32(slot), generation, &database))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	OverrideSettings();
}

/* Cleans up after an error, as the main loop of a backend does. */
static void
Recover(void)
{
	HOLD_INTERRUPTS();
	EmitErrorReport();
	AbortOutOfAnyTransaction();
	LWLockReleaseAll();
	FlushErrorState();
	MemoryContextSwitchTo(TopMemoryContext);
	pgstat_report_activity(STATE_IDLE, NULL);
	RESUME_INTERRUPTS();
}

/* Does a turn; false if it raised an error, which is reported and goes no further. */
bool
asynx_worker_try(AsynxTurn turn, void *arg)
{
	volatile bool good = false;

	PG_TRY();
	{
		turn(arg);
		good = true;
	}
	PG_CATCH();
	{
		Recover();
	}
	PG_END_TRY();
	return good;
}

/* Begins a transaction; "activity" is what pg_stat_activity shows. */
void
asynx_worker_begin_transaction(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

/*
 * Ends the worker if the extension is not in its database any more, or is another
 * one.  Else it stays until the end of the transaction: DROP EXTENSION takes this lock
 * first, and so cannot deadlock with a worker.
 */
void
asynx_worker_check_extension(void)
{
	static Oid	mine = InvalidOid;
	Oid			extension = get_extension_oid("asynx", true);

	if (OidIsValid(extension))
	{
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
		extension = get_extension_oid("asynx", true);
	}
	if (OidIsValid(extension) && (extension == mine || !OidIsValid(mine)))
	{
		mine = extension;
		return;
	}
	asynx_slots_set_verdict(OidIsValid(extension) ? ASYNX_RENEWED : ASYNX_ABSENT);
	proc_exit(0);
}

/* Commits it. */
void
asynx_worker_commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Looks whether the worker is to end; there is nothing that could be cancelled. */
void
asynx_worker_check_interrupts(void)
{
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
}

/* Sleeps until woken, or for so long; negative for no limit.  Then reads changed settings. */
void
asynx_worker_sleep(long milliseconds, uint32 wait_event)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	if (milliseconds >= 0)
		events |= WL_TIMEOUT;
	(void) WaitLatch(MyLatch, events, milliseconds, wait_event);
	ResetLatch(MyLatch);
	asynx_worker_check_interrupts();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}
