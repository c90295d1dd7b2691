/*
 * fence.c
 *	  Keeps a function of the user's away from what the caller's session holds.
 *
 * A function that runs as another role than the caller must not reach what the
 * caller's session found by name or by number, whoever asks.
 *
 * 1. Cursors.  OPEN, FETCH, MOVE and CLOSE find a portal by its name, in PL/pgSQL
 *	  through any refcursor.  A function could close the caller's cursor and open
 *	  its own query under that name, which would then run with the caller's
 *	  rights.  While the fence is up, every portal that was there is marked as
 *	  active: the server neither runs nor drops an active portal.  Each gets its
 *	  status back when the fence comes down, also after an error.  A portal that
 *	  the function opened and left open is dropped while its maker still is the
 *	  current user; after an error the abort of the (sub)transaction drops it.
 *
 *	  An active portal is left alone by the abort of a subtransaction, unless that
 *	  made or ran it; both cannot be said of a portal behind the fence while a
 *	  subtransaction of the function's aborts, and when a caller's aborts the fence
 *	  is down.  The server has no list of portals, but a memory context for each, a
 *	  child of "TopPortalContext" that has the portal's name as its identifier.
 *
 * 2. Advisory locks of the session, which would outlive the call, or could be
 *	  released though they are the caller's; large-object descriptors, small numbers
 *	  that carry the rights of who opened them; the lists of cursors, prepared
 *	  statements and channels, and a cursor's columns, which are the caller's.  The
 *	  functions for these are refused through the server's hook, which it calls
 *	  whenever an expression with a function is made ready to run.  Locks of the
 *	  transaction and functions that take a large object by its OID are free.
 *
 *	  The planner runs the function of an operator without asking the hook, to see
 *	  what share of a column's common values it holds for.  So no operator can be
 *	  made of such a function, by anybody.
 *
 * 3. EXECUTE, because behind the fence nothing can be prepared: the plan is the
 *	  caller's, with the results of functions that he may call in it.  SET
 *	  CONSTRAINTS, because it runs triggers that the caller's statements have put
 *	  off, as the wrong user and with his search_path.  Both are refused as utility
 *	  statements.
 *
 * What remains within reach: lastval() and the seed of random(); on which row of a
 * table that he may change the caller's cursor stands (WHERE CURRENT OF); whatever
 * extensions keep for a session, such as named connections.
 */
#include "asynx.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "fence.h"
#include "tcop/cmdtag.h"
#include "tcop/utility.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* How the server names the memory contexts of portals. */
#define TOP_CONTEXT "TopPortalContext"
#define PORTAL_CONTEXT "PortalContext"

/* What functions behind a fence may not call. */
static const Oid Refused[] = {
	F_PG_ADVISORY_LOCK_INT8,
	F_PG_ADVISORY_LOCK_SHARED_INT8,
	F_PG_TRY_ADVISORY_LOCK_INT8,
	F_PG_TRY_ADVISORY_LOCK_SHARED_INT8,
	F_PG_ADVISORY_UNLOCK_INT8,
	F_PG_ADVISORY_UNLOCK_SHARED_INT8,
	F_PG_ADVISORY_LOCK_INT4_INT4,
	F_PG_ADVISORY_LOCK_SHARED_INT4_INT4,
	F_PG_TRY_ADVISORY_LOCK_INT4_INT4,
	F_PG_TRY_ADVISORY_LOCK_SHARED_INT4_INT4,
	F_PG_ADVISORY_UNLOCK_INT4_INT4,
	F_PG_ADVISORY_UNLOCK_SHARED_INT4_INT4,
	F_PG_ADVISORY_UNLOCK_ALL,
	F_LO_OPEN,
	F_LO_CLOSE,
	F_LOREAD,
	F_LOWRITE,
	F_LO_LSEEK,
	F_LO_LSEEK64,
	F_LO_TELL,
	F_LO_TELL64,
	F_LO_TRUNCATE,
	F_LO_TRUNCATE64,
	F_PG_CURSOR,
	F_PG_PREPARED_STATEMENT,
	F_PG_LISTENING_CHANNELS,
	F_CURSOR_TO_XMLSCHEMA,
};

static object_access_hook_type PreviousAccess = NULL;
static ProcessUtility_hook_type PreviousUtility = NULL;

/* Is there a fence? */
static bool Raised = false;

/* Is the function one of those refused? */
static bool
IsRefused(Oid function)
{
	size_t		i;

	for (i = 0; i < lengthof(Refused); i++)
	{
		if (Refused[i] == function)
			return true;
	}
	return false;
}

/* Raises 42501 if the function is one of those refused. */
static void
CheckFunction(Oid function)
{
	if (IsRefused(function))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function \"%s\" cannot be used in a function that asynx runs",
						get_func_name(function)),
				 errdetail("It works on what belongs to the session of the caller.")));
}

/* The function of an operator that was just made, and is in no cache yet. */
static Oid
FunctionOf(Oid operator)
{
	Relation	operators = table_open(OperatorRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			function = InvalidOid;

	ScanKeyInit(&key, Anum_pg_operator_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(operator));
	scan = systable_beginscan(operators, OperatorOidIndexId, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		function = ((Form_pg_operator) GETSTRUCT(tuple))->oprcode;
	systable_endscan(scan);
	table_close(operators, AccessShareLock);
	return function;
}

/* Raises 42501 if the operator is made of a function of those refused. */
static void
CheckOperator(Oid operator)
{
	Oid			function = FunctionOf(operator);

	if (IsRefused(function))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function \"%s\" cannot be the function of an operator",
						get_func_name(function)),
				 errdetail("The planner would run it, out of sight of asynx.")));
}

/* The object access hook. */
static void
Access(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg)
{
	if (PreviousAccess != NULL)
		PreviousAccess(access, classId, objectId, subId, arg);

	if (Raised && access == OAT_FUNCTION_EXECUTE && classId == ProcedureRelationId)
		CheckFunction(objectId);
	if (access == OAT_POST_CREATE && classId == OperatorRelationId)
		CheckOperator(objectId);
}

/* The statement that EXPLAIN or CREATE TABLE AS would run; any other one is itself. */
static Node *
StatementWithin(Node *statement)
{
	if (IsA(statement, ExplainStmt))
		return StatementWithin(((ExplainStmt *) statement)->query);
	if (IsA(statement, CreateTableAsStmt))
		return StatementWithin(((CreateTableAsStmt *) statement)->query);
	if (IsA(statement, Query) && ((Query *) statement)->commandType == CMD_UTILITY)
		return StatementWithin(((Query *) statement)->utilityStmt);
	return statement;
}

/* Raises 42501 for a statement that works on what is the caller's. */
static void
CheckStatement(Node *statement)
{
	if (IsA(statement, ExecuteStmt) || IsA(statement, ConstraintsSetStmt))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s cannot be used in a function that asynx runs",
						GetCommandTagName(CreateCommandTag(statement))),
				 errdetail("It works on what belongs to the session of the caller.")));
}

/* The hook for utility statements. */
static void
Utility(PlannedStmt *statement, const char *query_string, bool read_only_tree,
		ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
		DestReceiver *receiver, QueryCompletion *completion)
{
	if (Raised)
		CheckStatement(StatementWithin(statement->utilityStmt));

	if (PreviousUtility != NULL)
		PreviousUtility(statement, query_string, read_only_tree, context, params, environment,
						receiver, completion);
	else
		standard_ProcessUtility(statement, query_string, read_only_tree, context, params,
								environment, receiver, completion);
}

/* Installs the hooks; called once, when the library is loaded. */
void
asynx_fence_init(void)
{
	PreviousAccess = object_access_hook;
	object_access_hook = Access;
	PreviousUtility = ProcessUtility_hook;
	ProcessUtility_hook = Utility;
}

/* The first of the memory contexts of portals. */
static MemoryContext
FirstContext(void)
{
	static MemoryContext top = NULL;
	MemoryContext child = TopMemoryContext->firstchild;

	while (top == NULL && child != NULL)
	{
		if (strcmp(child->name, TOP_CONTEXT) == 0)
			top = child;
		child = child->nextchild;
	}
	if (top == NULL)
		elog(ERROR, "no memory context \"%s\"", TOP_CONTEXT);
	return top->firstchild;
}

/*
 * The portal that the context belongs to; NULL if it is a context of another kind, or
 * of a portal that was never finished, for lack of memory, and has no name.
 */
static Portal
PortalOf(MemoryContext context)
{
	Portal		portal;

	if (strcmp(context->name, PORTAL_CONTEXT) != 0 || context->ident == NULL)
		return NULL;

	portal = GetPortalByName(context->ident);
	if (portal == NULL || portal->portalContext != context)
		portal = GetPortalByName("");
	if (portal == NULL || portal->portalContext != context)
		elog(ERROR, "no portal has memory context \"%s\"", context->ident);
	return portal;
}

/*
 * The portal of the context as the fence knows it; NULL if it was opened since.  "next"
 * is where to look first, and is moved on: the contexts come in the order of the list.
 */
static const AsynxFencedPortal *
FindFenced(const AsynxFence *fence, MemoryContext context, int *next)
{
	int			i;

	for (i = 0; i < fence->count; i++)
	{
		const AsynxFencedPortal *fenced = &fence->portals[(*next + i) % fence->count];

		if (fenced->context == context)
		{
			*next = (*next + i + 1) % fence->count;
			return fenced;
		}
	}
	return NULL;
}

/* Lists the portals that there are. */
static void
ListPortals(AsynxFence *fence)
{
	MemoryContext context;
	int			room = 0;

	for (context = FirstContext(); context != NULL; context = context->nextchild)
		room++;
	fence->portals = palloc(Max(room, 1) * sizeof(AsynxFencedPortal));

	fence->count = 0;
	for (context = FirstContext(); context != NULL; context = context->nextchild)
	{
		Portal		portal = PortalOf(context);

		if (portal == NULL)
			continue;
		fence->portals[fence->count].portal = portal;
		fence->portals[fence->count].context = context;
		fence->portals[fence->count].status = portal->status;
		fence->count++;
	}
}

/* Puts the session's portals out of reach, and the functions for the rest. */
void
asynx_fence_raise(AsynxFence *fence)
{
	int			i;

	/* what may fail comes first */
	ListPortals(fence);

	for (i = 0; i < fence->count; i++)
		fence->portals[i].portal->status = PORTAL_ACTIVE;
	fence->outer = Raised;
	Raised = true;
}

/* A portal that was opened since the fence was raised; NULL if there is none. */
static Portal
FindStray(const AsynxFence *fence)
{
	MemoryContext context;
	int			next = 0;

	for (context = FirstContext(); context != NULL; context = context->nextchild)
	{
		Portal		portal = PortalOf(context);

		if (portal != NULL && FindFenced(fence, context, &next) == NULL)
			return portal;
	}
	return NULL;
}

/* Drops the portals that were opened since the fence was raised. */
void
asynx_fence_drop_strays(const AsynxFence *fence)
{
	Portal		stray;

	while ((stray = FindStray(fence)) != NULL)
	{
		if (stray->portalPinned)
			UnpinPortal(stray);
		PortalDrop(stray, false);
	}
}

/* Gives the portals their status back; raises nothing, and is safe after an error. */
void
asynx_fence_lower(const AsynxFence *fence)
{
	MemoryContext context;
	int			next = 0;

	for (context = FirstContext(); context != NULL; context = context->nextchild)
	{
		const AsynxFencedPortal *fenced = FindFenced(fence, context, &next);

		if (fenced != NULL)
			fenced->portal->status = fenced->status;
	}
	Raised = fence->outer;
}
