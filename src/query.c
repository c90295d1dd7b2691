/*
 * query.c
 *	  Runs asynx's statements: the only room that knows SPI.
 *
 * 1. A statement is planned once per session and kept.  The plan is generic and
 *	  made for growth (PlanOwn): a plan chosen while the log was small must
 *	  still be right a million events later in the same session, and statistics
 *	  come later than events do.
 *
 * 2. Statements act as the owner of the tables, between asynx_query_begin() and
 *	  asynx_query_end().  What of the user's runs in between, functions of commands
 *	  and upcasters, does so as their owner and behind the fence (handler.c); the
 *	  triggers and index expressions that somebody put on the tables run as the
 *	  tables' owner, who let him.
 *
 * 3. Rows go from the executor straight to a function of the caller, without a
 *	  tuple table, so that reading a long stream takes constant memory.
 *
 * 4. asynx_query_read() uses the active snapshot.  A STABLE function thus sees
 *	  what its caller sees; a VOLATILE one pushes a snapshot of its own first, and
 *	  several statements that must agree run under the same one.
 *	  asynx_query_write() takes a new snapshot for its statement, as every
 *	  statement of a client does.
 *
 * 5. asynx_query_attempt() runs something in a subtransaction, so that a version
 *	  that somebody else took first, or a function that fails, does not cost the
 *	  transaction; with asynx_query_rehearse() it leaves nothing behind.
 */
#include "asynx.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "errors.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "optimizer/planner.h"
#include "query.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

/* A DestReceiver that hands rows to an AsynxRowFunction. */
typedef struct RowReceiver
{
	DestReceiver pub;			/* must be first */
	AsynxRowFunction row;		/* NULL: rows are counted, not looked at */
	void	   *arg;			/* for row */
	MemoryContext context;		/* where row runs */
	uint64		count;			/* rows received */
} RowReceiver;

/* Planner settings that take away every plan whose cost grows with the log, and keep the others. */
static const struct
{
	const char *name;
	const char *value;
}			GrowthSettings[] =
{
	{"enable_seqscan", "off"},
	{"enable_bitmapscan", "off"},
	{"enable_sort", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"enable_indexscan", "on"},
	{"enable_indexonlyscan", "on"},
	{"enable_nestloop", "on"},
	{"jit", "off"},
};

static planner_hook_type PreviousPlanner = NULL;

/* The event table and its owner, InvalidOid when they must be looked up (again). */
static Oid	EventTable = InvalidOid;
static Oid	StoreOwner = InvalidOid;

/* Plans a statement as it would be without us. */
static PlannedStmt *
PlanAsUsual(Query *parse, const char *query_string, int cursorOptions, ParamListInfo params)
{
	if (PreviousPlanner != NULL)
		return PreviousPlanner(parse, query_string, cursorOptions, params);
	return standard_planner(parse, query_string, cursorOptions, params);
}

/*
 * Plans a statement of asynx's without the plans that are only good while the
 * tables are small.
 *
 * Settings changed within a GUC nest level go back at its end, and with the
 * transaction after an error.
 */
static PlannedStmt *
PlanOwn(Query *parse, const char *query_string, int cursorOptions, ParamListInfo params)
{
	int			level = NewGUCNestLevel();
	PlannedStmt *plan;
	size_t		i;

	for (i = 0; i < lengthof(GrowthSettings); i++)
		(void) set_config_option(GrowthSettings[i].name, GrowthSettings[i].value,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);

	plan = PlanAsUsual(parse, query_string, cursorOptions, params);

	AtEOXact_GUC(true, level);
	return plan;
}

/* The planner hook: asynx's own statements are told by their mark. */
static PlannedStmt *
PlanStatement(Query *parse, const char *query_string, int cursorOptions, ParamListInfo params)
{
	bool		own = query_string != NULL &&
		strncmp(query_string, ASYNX_SQL_MARK, strlen(ASYNX_SQL_MARK)) == 0;

	return own ? PlanOwn(parse, query_string, cursorOptions, params) :
		PlanAsUsual(parse, query_string, cursorOptions, params);
}

/* Forgets the table and its owner: something in pg_class has changed. */
static void
ForgetTable(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	EventTable = InvalidOid;
}

/* Looks up the event table and who owns it; raises not_loaded if there is none. */
static void
LookupTable(void)
{
	Oid			schema = get_namespace_oid(ASYNX_SCHEMA, true);
	Oid			events = OidIsValid(schema) ? get_relname_relid("events", schema) : InvalidOid;
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(events));

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_NOT_LOADED),
				 errmsg("table \"%s.events\" is missing", ASYNX_SCHEMA),
				 errhint("Run CREATE EXTENSION asynx in this database.")));

	StoreOwner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	EventTable = events;
	ReleaseSysCache(tuple);
}

/* Makes sure that the event table and its owner are known; remembered until pg_class changes. */
static void
FindTable(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(RELOID, ForgetTable, (Datum) 0);
		registered = true;
	}
	if (!OidIsValid(EventTable))
		LookupTable();
}

/* Installs the planner hook; called once, when the library is loaded. */
void
asynx_query_init(void)
{
	PreviousPlanner = planner_hook;
	planner_hook = PlanStatement;
}

/*
 * Opens a scope: from here to asynx_query_end() the current user is the owner
 * of the tables and statements may run.  Scopes may nest.  After an error
 * there is nothing to close.
 */
void
asynx_query_begin(AsynxQueryScope *scope)
{
	FindTable();

	scope->caller = CurrentMemoryContext;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	asynx_identity_become(StoreOwner, SECURITY_LOCAL_USERID_CHANGE, &scope->identity);
	MemoryContextSwitchTo(scope->caller);
}

/*
 * Locks the event table as an INSERT would: whatever is looked up from here on
 * holds against those who lock it against writers.  Raises 25006 where writing is
 * not allowed.
 */
void
asynx_query_lock_events(const char *function)
{
	Oid			locked;

	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);

	do
	{
		FindTable();
		locked = EventTable;
		LockRelationOid(locked, RowExclusiveLock);
		FindTable();
	} while (locked != EventTable);
}

/* Opens a scope for a function that writes events, with the event table locked. */
void
asynx_query_begin_write(AsynxQueryScope *scope, const char *function)
{
	asynx_query_lock_events(function);
	asynx_query_begin(scope);
}

/* Opens a scope for a procedure; raises 2D000 where it cannot commit. */
void
asynx_query_begin_procedure(AsynxQueryScope *scope, FunctionCallInfo fcinfo,
							const char *procedure)
{
	const CallContext *context = (const CallContext *) fcinfo->context;

	if (context == NULL || !IsA(context, CallContext) || context->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("\"%s\" cannot run within a transaction block or a function", procedure),
				 errdetail("It commits.")));

	FindTable();
	scope->caller = CurrentMemoryContext;
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect_ext failed");
	asynx_identity_become(StoreOwner, SECURITY_LOCAL_USERID_CHANGE, &scope->identity);
	MemoryContextSwitchTo(scope->caller);
}

/* Commits within a procedure; the scope goes on in a new transaction. */
void
asynx_query_commit(AsynxQueryScope *scope)
{
	asynx_identity_restore(&scope->identity);
	SPI_commit();
	FindTable();
	asynx_identity_become(StoreOwner, SECURITY_LOCAL_USERID_CHANGE, &scope->identity);
	MemoryContextSwitchTo(scope->caller);
}

/* Closes the scope. */
void
asynx_query_end(AsynxQueryScope *scope)
{
	asynx_identity_restore(&scope->identity);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	MemoryContextSwitchTo(scope->caller);
}

/* The event table, InvalidOid if this session does not know it (any more). */
Oid
asynx_query_event_table(void)
{
	return EventTable;
}

/* Plans the statement if this session has not yet. */
static void
Prepare(AsynxQuery *query)
{
	if (query->plan != NULL)
		return;

	query->plan = SPI_prepare_cursor(query->sql, query->nargs, query->argtypes,
									 CURSOR_OPT_GENERIC_PLAN);
	if (query->plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s",
			 query->sql, SPI_result_code_string(SPI_result));
	if (SPI_keepplan(query->plan) != 0)
		elog(ERROR, "could not keep the plan of \"%s\"", query->sql);
}

/* The values as the executor wants them; "nulls" as for SPI_execute_plan(), NULL for none. */
static ParamListInfo
Parameters(const AsynxQuery *query, const Datum *values, const char *nulls)
{
	ParamListInfo params = makeParamList(query->nargs);
	int			i;

	for (i = 0; i < query->nargs; i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = (nulls != NULL && nulls[i] == 'n');
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = query->argtypes[i];
	}
	return params;
}

/* DestReceiver callback: rows need no preparation. */
static void
StartRows(DestReceiver *self, int operation, TupleDesc typeinfo)
{
	(void) self;
	(void) operation;
	(void) typeinfo;
}

/* DestReceiver callback: nothing to close or free. */
static void
IgnoreReceiver(DestReceiver *self)
{
	(void) self;
}

/* DestReceiver callback: hands one row to the caller's function. */
static bool
ReceiveRow(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;
	MemoryContext executor;
	bool		more;

	receiver->count++;
	if (receiver->row == NULL)
		return true;

	executor = MemoryContextSwitchTo(receiver->context);
	more = receiver->row(slot, receiver->arg);
	MemoryContextSwitchTo(executor);
	return more;
}

/* Runs the statement, handing its rows to the receiver. */
static void
Run(AsynxQuery *query, const Datum *values, const char *nulls, bool read_only,
	RowReceiver *receiver)
{
	MemoryContext caller = CurrentMemoryContext;
	SPIExecuteOptions options = {
		.read_only = read_only,
		.dest = &receiver->pub,
	};
	int			result;

	Prepare(query);
	options.params = Parameters(query, values, nulls);

	result = SPI_execute_plan_extended(query->plan, &options);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", query->sql, SPI_result_code_string(result));

	MemoryContextSwitchTo(caller);
	if (options.params != NULL)
		pfree(options.params);
}

/* A receiver for the caller's function, which runs in the current memory context. */
static RowReceiver
MakeReceiver(AsynxRowFunction row, void *arg)
{
	RowReceiver receiver = {
		.pub = {ReceiveRow, StartRows, IgnoreReceiver, IgnoreReceiver, DestNone},
		.row = row,
		.arg = arg,
		.context = CurrentMemoryContext,
	};

	return receiver;
}

/*
 * Runs a SELECT under the active snapshot and returns how many rows were looked at.
 * "values" and "nulls" are as for SPI_execute_plan(); "row" may be NULL.
 */
uint64
asynx_query_read(AsynxQuery *query, const Datum *values, const char *nulls,
				 AsynxRowFunction row, void *arg)
{
	RowReceiver receiver = MakeReceiver(row, arg);

	Run(query, values, nulls, true, &receiver);
	return receiver.count;
}

/*
 * Runs a statement that writes or locks, under a snapshot of its own, and
 * returns how many rows it wrote; "row" gets what RETURNING says, and wants it all.
 */
uint64
asynx_query_write(AsynxQuery *query, const Datum *values, const char *nulls,
				  AsynxRowFunction row, void *arg)
{
	RowReceiver receiver = MakeReceiver(row, arg);

	Run(query, values, nulls, false, &receiver);
	return SPI_processed;
}

/* Error filter: is it the violation of a unique index of the event table? */
bool
asynx_query_is_taken(const ErrorData *error, void *arg)
{
	(void) arg;
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION &&
		error->schema_name != NULL && strcmp(error->schema_name, ASYNX_SCHEMA) == 0 &&
		error->table_name != NULL && strcmp(error->table_name, "events") == 0;
}

/*
 * Runs "work", which may write, in a subtransaction.  If it raises an error that is
 * wanted, it is undone, and the error is the result; else NULL.
 */
ErrorData *
asynx_query_attempt(AsynxWork work, AsynxErrorFilter wanted, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		work(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;

		if (!wanted(error, arg))
			ReThrowError(error);
	}
	PG_END_TRY();

	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return error;
}

/* Runs "work" in a subtransaction that is undone, whatever it does; its errors are raised. */
void
asynx_query_rehearse(AsynxWork work, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		work(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();

	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	if (error != NULL)
		ReThrowError(error);
}

/* Row function: puts the row into the tuplestore that is the argument. */
static bool
StoreRow(TupleTableSlot *slot, void *arg)
{
	tuplestore_puttupleslot((Tuplestorestate *) arg, slot);
	return true;
}

/*
 * Makes the rows of a SELECT the result of a set-returning function.  The
 * columns must be those of the function's result; large results spill to disk.
 */
void
asynx_query_read_into(AsynxQuery *query, const Datum *values, const char *nulls,
					  FunctionCallInfo fcinfo)
{
	AsynxQueryScope scope;

	InitMaterializedSRF(fcinfo, 0);
	asynx_query_begin(&scope);
	(void) asynx_query_read(query, values, nulls, StoreRow,
							((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	asynx_query_end(&scope);
}

/* Row function: the first column, a bigint that is not NULL, goes to the int64 argument. */
bool
asynx_query_get_int64(TupleTableSlot *slot, void *arg)
{
	bool		isnull;

	*(int64 *) arg = DatumGetInt64(slot_getattr(slot, 1, &isnull));
	Assert(!isnull);
	return false;
}
