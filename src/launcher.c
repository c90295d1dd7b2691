/*
 * launcher.c
 *	  Starts a bus in each database that has the extension.
 *
 * 1. The launcher, one for the cluster, is connected to no database.  It lists them
 *	  and starts a bus in each; a bus that does not find the extension says so and
 *	  ends (bus.c), and the launcher lets the database be until it is asked to look
 *	  again: after CREATE EXTENSION, CREATE DATABASE and commands that had a
 *	  database's workers sent away.  A bus that died is started again, after a
 *	  second, then after twice as long each time, unless it had lived for long.
 *
 * 2. DROP DATABASE, ALTER DATABASE ... RENAME or SET TABLESPACE, and CREATE DATABASE
 *	  ... TEMPLATE need a database without connections: a hook sends its workers away
 *	  before, and lets them come again when the command has ended (slots.c, 5).  It does
 *	  so only for who may do that to the database: others could disturb it else.
 */
#include "asynx.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "launcher.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "slots.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "worker.h"

/* Waiting times before a bus that died is started again, in milliseconds. */
#define FIRST_DELAY 1000
#define LAST_DELAY 60000

/* The limit of connections to a database whose DROP was interrupted (catalog/pg_database.h). */
#define INVALID_DATABASE -2

/* A database, as the launcher knows it. */
typedef struct Database
{
	Oid			oid;			/* hash key */
	bool		there;			/* was it there when they were listed last? */
	bool		listed;			/* and could it be connected to? */
	bool		absent;			/* is the extension not there? */
	bool		again;			/* is it to be looked at again when its bus has ended? */
	BackgroundWorkerHandle *handle; /* of its bus; NULL if there is none */
	int			slot;			/* of its bus */
	uint64		generation;		/* of the slot */
	int			delay;			/* before the next start, in milliseconds; 0: none is needed */
	TimestampTz next;			/* when that is */
	TimestampTz started;		/* when its bus was */
} Database;

/* All databases, in the launcher. */
static HTAB *Databases = NULL;

static ProcessUtility_hook_type PreviousUtility = NULL;
static object_access_hook_type PreviousAccess = NULL;

/* Is the launcher to look at all databases when this transaction has been committed? */
static bool AskAtCommit = false;

pg_noreturn PGDLLEXPORT void asynx_launcher_main(Datum arg);

/* Lists the databases; new ones are added, vanished ones forgotten. */
static void
ListDatabases(void)
{
	HASH_SEQ_STATUS status;
	Database   *database;
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	hash_seq_init(&status, Databases);
	while ((database = hash_seq_search(&status)) != NULL)
	{
		database->there = database->listed = database->absent = false;
		database->again = database->handle != NULL;
	}

	asynx_worker_begin_transaction("listing databases");
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);
		bool		found;

		database = hash_search(Databases, &row->oid, HASH_ENTER, &found);
		if (!found)
			memset((char *) database + sizeof(Oid), 0, sizeof(Database) - sizeof(Oid));
		database->there = true;
		database->listed = row->datallowconn && row->datconnlimit != INVALID_DATABASE;
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	asynx_worker_commit();

	hash_seq_init(&status, Databases);
	while ((database = hash_seq_search(&status)) != NULL)
	{
		if (database->there || database->handle != NULL)
			continue;
		asynx_slots_forget(database->oid);
		(void) hash_search(Databases, &database->oid, HASH_REMOVE, NULL);
	}
}

/* Puts the next start of a database's bus off. */
static void
Postpone(Database *database)
{
	database->delay = Min(Max(database->delay * 2, FIRST_DELAY), LAST_DELAY);
	database->next = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), database->delay);
}

/* Looks what became of a database's bus. */
static void
CheckBus(Database *database)
{
	pid_t		pid;

	if (database->handle == NULL ||
		GetBackgroundWorkerPid(database->handle, &pid) != BGWH_STOPPED)
		return;

	asynx_slots_give_up(database->slot, database->generation);
	pfree(database->handle);
	database->handle = NULL;
	if (asynx_slots_verdict(database->slot) == ASYNX_ABSENT)
	{
		/* it may have looked before the extension came */
		database->absent = !database->again;
		database->again = false;
		database->delay = 0;
		return;
	}
	if (asynx_slots_verdict(database->slot) == ASYNX_RENEWED)
	{
		database->delay = 0;
		return;
	}
	if (TimestampDifferenceExceeds(database->started, GetCurrentTimestamp(), LAST_DELAY))
		database->delay = 0;
	Postpone(database);
}

/* Starts a database's bus if it should have one and has none, not even from an earlier launcher. */
static void
StartBus(Database *database)
{
	MemoryContext caller;

	if (database->handle != NULL || database->absent || !database->listed ||
		asynx_slots_barred(database->oid) || asynx_slots_served(database->oid) ||
		(database->delay > 0 && GetCurrentTimestamp() < database->next))
		return;

	caller = MemoryContextSwitchTo(TopMemoryContext);
	if (!asynx_worker_start(ASYNX_BUS, database->oid, &database->slot, &database->generation,
							&database->handle))
	{
		database->handle = NULL;
		Postpone(database);
	}
	database->started = GetCurrentTimestamp();
	MemoryContextSwitchTo(caller);
}

/* One look at all databases; "arg" gets how long to sleep, in milliseconds, -1 for no limit. */
static void
Look(void *arg)
{
	long	   *sleep = (long *) arg;
	HASH_SEQ_STATUS status;
	Database   *database;

	*sleep = -1;
	if (asynx_slots_launcher_asked())
		ListDatabases();

	hash_seq_init(&status, Databases);
	while ((database = hash_seq_search(&status)) != NULL)
	{
		long		left;

		CheckBus(database);
		StartBus(database);
		if (database->handle != NULL || database->absent || database->delay == 0)
			continue;
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), database->next) + 1;
		*sleep = *sleep < 0 ? left : Min(*sleep, left);
	}
}

/* The launcher. */
void
asynx_launcher_main(Datum arg)
{
	uint32		wait_event = 0;
	HASHCTL		control = {
		.keysize = sizeof(Oid),
		.entrysize = sizeof(Database),
	};

	(void) arg;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	asynx_slots_set_launcher();
	asynx_slots_ask_launcher();
	Databases = hash_create("asynx databases", 32, &control, HASH_ELEM | HASH_BLOBS);

	for (;;)
	{
		long		sleep = FIRST_DELAY;

		if (!asynx_worker_try(Look, &sleep))
		{
			asynx_slots_ask_launcher();
			sleep = FIRST_DELAY;
		}
		asynx_worker_sleep(sleep, asynx_wait_event(&wait_event, "AsynxLauncherMain"));
	}
}

/* The object access hook: notices that an extension is created or dropped. */
static void
Access(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg)
{
	if (PreviousAccess != NULL)
		PreviousAccess(access, classId, objectId, subId, arg);

	if (classId != ExtensionRelationId)
		return;
	if (access == OAT_POST_CREATE)
		AskAtCommit = true;
	if (access == OAT_DROP)
		asynx_slots_wake_bus_at_commit();
}

/* The database of that name; InvalidOid for NULL and for one that does not exist. */
static Oid
DatabaseNamed(const char *name)
{
	return name != NULL ? get_database_oid(name, true) : InvalidOid;
}

/* May the caller create databases? */
static bool
MayCreate(void)
{
	HeapTuple	tuple;
	bool		may = superuser();

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		may = may || ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return may;
}

/* May everybody who creates databases copy this one? */
static bool
IsTemplate(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		is_template = false;

	if (HeapTupleIsValid(tuple))
	{
		is_template = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return is_template;
}

/* Will the server let the caller do that with the database (commands/dbcommands.c)? */
static bool
IsAllowed(const Node *statement, Oid database, ProcessUtilityContext context)
{
	bool		alone = context == PROCESS_UTILITY_TOPLEVEL && !IsTransactionBlock();

	if (!alone && (IsA(statement, CreatedbStmt) || IsA(statement, DropdbStmt)))
		return false;
	if (IsA(statement, CreatedbStmt))
		return MayCreate() && (IsTemplate(database) || asynx_owns_database(database));
	if (IsA(statement, RenameStmt) && !MayCreate())
		return false;
	return asynx_owns_database(database);
}

/* The template of CREATE DATABASE. */
static Oid
TemplateOf(const CreatedbStmt *statement)
{
	const ListCell *cell;

	foreach(cell, statement->options)
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			return DatabaseNamed(defGetString(option));
	}
	return DatabaseNamed("template1");
}

/* Does ALTER DATABASE move the database to another tablespace? */
static bool
IsMove(const AlterDatabaseStmt *statement)
{
	const ListCell *cell;

	foreach(cell, statement->options)
	{
		if (strcmp(((DefElem *) lfirst(cell))->defname, "tablespace") == 0)
			return true;
	}
	return false;
}

/* The database that must have no connections for the statement; InvalidOid for none. */
static Oid
DatabaseToLeave(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return DatabaseNamed(((DropdbStmt *) statement)->dbname);
		case T_CreatedbStmt:
			return TemplateOf((CreatedbStmt *) statement);
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType != OBJECT_DATABASE)
				return InvalidOid;
			return DatabaseNamed(((RenameStmt *) statement)->subname);
		case T_AlterDatabaseStmt:
			if (!IsMove((AlterDatabaseStmt *) statement))
				return InvalidOid;
			return DatabaseNamed(((AlterDatabaseStmt *) statement)->dbname);
		default:
			return InvalidOid;
	}
}

/* Runs a statement as it would be without us. */
static void
RunAsUsual(PlannedStmt *statement, const char *text, bool read_only,
		   ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
		   DestReceiver *dest, QueryCompletion *completion)
{
	if (PreviousUtility != NULL)
		PreviousUtility(statement, text, read_only, context, params, environment, dest,
						completion);
	else
		standard_ProcessUtility(statement, text, read_only, context, params, environment, dest,
								completion);
}

/* The hook for utility statements. */
static void
Utility(PlannedStmt *statement, const char *text, bool read_only,
		ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
		DestReceiver *dest, QueryCompletion *completion)
{
	Oid			database = DatabaseToLeave(statement->utilityStmt);

	if (!OidIsValid(database) || !IsAllowed(statement->utilityStmt, database, context))
	{
		RunAsUsual(statement, text, read_only, context, params, environment, dest, completion);
		return;
	}

	PG_TRY();
	{
		/* if they do not go, the statement itself says who is in its way */
		(void) asynx_slots_bar(database);
		RunAsUsual(statement, text, read_only, context, params, environment, dest, completion);
	}
	PG_FINALLY();
	{
		asynx_slots_unbar();
	}
	PG_END_TRY();
	AskAtCommit = true;
}

/* The end of a transaction: asks the launcher if there may be something new for it. */
void
asynx_launcher_at_release(bool is_commit)
{
	if (AskAtCommit && is_commit)
		asynx_slots_ask_launcher();
	AskAtCommit = false;
}

/* Registers the launcher and installs the hooks; called once, when the library is preloaded. */
void
asynx_launcher_init(void)
{
	BackgroundWorker worker;

	PreviousAccess = object_access_hook;
	object_access_hook = Access;
	PreviousUtility = ProcessUtility_hook;
	ProcessUtility_hook = Utility;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	asynx_worker_describe(&worker, "asynx launcher", "asynx_launcher_main");
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}
