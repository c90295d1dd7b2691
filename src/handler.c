/*
 * handler.c
 *	  Runs one function of the user's, as its owner.
 *
 * 1. A function is stored as text, its fully qualified signature, with the name
 *	  of the role that owned it when it was registered.  Who registers it must
 *	  have that role's privileges: nobody can lend himself the rights of another.
 *	  At each use it is resolved again: a function that is missing, or belongs to
 *	  somebody else by now, is handler_missing.  What was resolved is kept until
 *	  a function, a schema, a type or a role changes.
 *
 * 2. The function runs as that owner, whoever calls, superusers too: in a
 *	  security-restricted context, which neither can be left (SET ROLE) nor leave
 *	  anything behind that runs later with the caller's rights (deferred triggers,
 *	  WITH HOLD cursors, temporary objects), and behind a fence, which keeps it from
 *	  the caller's cursors and other things of the session (fence.c).  Its
 *	  search_path is its own schema, then pg_temp, unless its definition sets
 *	  another.  All settings that it changes go back when it ends.
 *
 * 3. A function that decides must be IMMUTABLE, because it may run again at any time:
 *	  when a command is repeated, when a stream is folded.  PostgreSQL refuses the
 *	  writes of such a function.  It must not be STRICT: no state is a case it has
 *	  to know.  A function that handles events may write.
 *
 * 4. An error of the function is caught, rewritten by the caller of this room and
 *	  thrown on; as nothing is swallowed, no subtransaction is needed.  An attempt
 *	  takes one, and returns the error instead.  Errors
 *	  that are not the function's pass as they are: serialization and deadlock
 *	  (class 40), lack of resources (53), cancel and shutdown (57), a lock that was
 *	  waited for too long (55P03), and a missing function of a command that the
 *	  function sent (handler_missing).
 *
 * 5. What a language keeps of a function between calls lives in a memory context of
 *	  the function's.  A call that failed leaves something there that is of no use;
 *	  the next call begins with an empty context, when the aborted transaction has
 *	  let go of all that lived in it.
 */
#include "asynx.h"

#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "common/hashfn.h"
#include "deadline.h"
#include "errors.h"
#include "fence.h"
#include "handler.h"
#include "identity.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "query.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"


/* A function that this session has resolved. */
typedef struct Resolved
{
	const char *name;			/* the key: fully qualified signature */
	char	   *owner;			/* name of the role it was found to belong to */
	uint64		generation;		/* of the catalogs when what follows was found */
	Oid			function;
	Oid			role;			/* the owner */
	Oid			result_type;	/* without domains */
	char	   *search_path;	/* while it runs */
	const AsynxSignature *checked;	/* what it was checked against, NULL for nothing yet */
	MemoryContext context;		/* of owner and search_path */
	FmgrInfo	flinfo;			/* how to call it, if ready */
	bool		ready;
	bool		busy;			/* is flinfo in use by a call? */
	MemoryContext calls;		/* of flinfo and what the language keeps there */
} Resolved;

/* By name; NULL before the first use. */
static HTAB *Cache = NULL;

/* Grows when something in the catalogs changes; what was resolved before must be so again. */
static uint64 Generation = 1;

/* Hash function of the cache. */
static uint32
HashName(const void *key, Size size)
{
	const char *name = *(const char *const *) key;

	(void) size;
	return string_hash(name, strlen(name) + 1);
}

/* Comparison of the cache's keys. */
static int
CompareNames(const void *a, const void *b, Size size)
{
	(void) size;
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Something in the catalogs has changed: everything must be resolved again. */
static void
ForgetAll(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	Generation++;
}

/* Makes the cache. */
static void
InitCache(void)
{
	HASHCTL		control = {
		.keysize = sizeof(const char *),
		.entrysize = sizeof(Resolved),
		.hash = HashName,
		.match = CompareNames,
	};

	Cache = hash_create("asynx handlers", 32, &control, HASH_ELEM | HASH_FUNCTION | HASH_COMPARE);
	CacheRegisterSyscacheCallback(PROCOID, ForgetAll, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, ForgetAll, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, ForgetAll, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, ForgetAll, (Datum) 0);
}

/* The function's place in the cache. */
static Resolved *
Enter(const char *name)
{
	Resolved   *resolved;
	MemoryContext context;
	MemoryContext calls;
	bool		found;

	if (Cache == NULL)
		InitCache();

	resolved = hash_search(Cache, &name, HASH_FIND, NULL);
	if (resolved != NULL)
		return resolved;

	/* the entry comes last: it must not be found without its contexts */
	name = MemoryContextStrdup(TopMemoryContext, name);
	context = AllocSetContextCreate(TopMemoryContext, "asynx handler", ALLOCSET_SMALL_SIZES);
	calls = AllocSetContextCreate(TopMemoryContext, "asynx handler calls",
								  ALLOCSET_SMALL_SIZES);
	resolved = hash_search(Cache, &name, HASH_ENTER, &found);
	memset((char *) resolved + sizeof(name), 0, sizeof(*resolved) - sizeof(name));
	resolved->context = context;
	resolved->calls = calls;
	return resolved;
}

/* The argument types as text, for messages. */
static char *
DescribeArguments(const AsynxSignature *signature)
{
	StringInfoData types;
	int			i;

	initStringInfo(&types);
	for (i = 0; i < signature->nargs; i++)
		appendStringInfo(&types, "%s%s", i > 0 ? ", " : "",
						 format_type_be(signature->argtypes[i]));
	return types.data;
}

/* The same for several signatures, of which the list ends with NULL. */
static char *
DescribeAlternatives(const AsynxSignature *const *signatures)
{
	StringInfoData types;
	int			i;

	initStringInfo(&types);
	for (i = 0; signatures[i] != NULL; i++)
		appendStringInfo(&types, "%s(%s)",
						 i == 0 ? "" : signatures[i + 1] != NULL ? ", " : " or ",
						 DescribeArguments(signatures[i]));
	return types.data;
}

/* Raises handler_missing for a function that does not exist. */
pg_noreturn static void
RefuseMissing(const AsynxSignature *const *signatures, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_HANDLER_MISSING),
			 errmsg("%s \"%s\" does not exist", signatures[0]->purpose, name),
			 errdetail("Its arguments must be %s.", DescribeAlternatives(signatures))));
}

/* Raises 22023 for a text that is no function's name. */
pg_noreturn static void
RefuseName(const AsynxSignature *signature, const char *name, const ErrorData *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not the name of a function", name),
			 errdetail("The server says: %s.", why->message),
			 errhint("Give a name like app.f or a signature like app.f(%s).",
					 DescribeArguments(signature))));
}

/* Throws what looking a function up raised, as what it means here. */
pg_noreturn static void
RethrowLookup(const AsynxSignature *const *signatures, const char *name)
{
	ErrorData  *error = CopyErrorData();

	FlushErrorState();
	switch (error->sqlerrcode)
	{
		case ERRCODE_UNDEFINED_FUNCTION:
		case ERRCODE_UNDEFINED_OBJECT:
		case ERRCODE_UNDEFINED_SCHEMA:
			RefuseMissing(signatures, name);
			break;
		case ERRCODE_INVALID_NAME:
		case ERRCODE_SYNTAX_ERROR:
		case ERRCODE_INVALID_TEXT_REPRESENTATION:
		case ERRCODE_FEATURE_NOT_SUPPORTED: /* another database's */
			RefuseName(signatures[0], name, error);
			break;
	}
	ReThrowError(error);
}

/* The function with that signature; raises undefined_function and more. */
static Oid
FindBySignature(const char *signature)
{
	return DatumGetObjectId(OidFunctionCall1(F_REGPROCEDUREIN, CStringGetDatum(signature)));
}

/* The function with that name and the arguments of one of the signatures; InvalidOid if none is. */
static Oid
FindByPlainName(const char *name, const AsynxSignature *const *signatures)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(name));
	Oid			function = InvalidOid;
	int			i;

	for (i = 0; signatures[i] != NULL && !OidIsValid(function); i++)
		function = LookupFuncName(names, signatures[i]->nargs, signatures[i]->argtypes, true);
	return function;
}

/*
 * The function that the name, with or without argument types, means to the current
 * user.  Raises handler_missing, or 22023 for what cannot be a name.
 */
static Oid
FindFunction(const char *name, const AsynxSignature *const *signatures)
{
	MemoryContext caller = CurrentMemoryContext;
	size_t		len = strlen(name);
	volatile Oid function = InvalidOid;

	PG_TRY();
	{
		function = len > 0 && name[len - 1] == ')' ?
			FindBySignature(name) : FindByPlainName(name, signatures);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		RethrowLookup(signatures, name);
	}
	PG_END_TRY();

	if (!OidIsValid(function))
		RefuseMissing(signatures, name);
	return function;
}

/* Raises 42P17 with what is wrong with the function. */
static void
Refuse(const AsynxSignature *signature, const char *name, const char *must)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("%s \"%s\" must %s", signature->purpose, name, must)));
}

/* May a function that returns this type serve? */
static bool
IsResult(const AsynxSignature *signature, Oid type)
{
	int			i;

	for (i = 0; i < ASYNX_HANDLER_MAX_RESULTS && OidIsValid(signature->results[i]); i++)
	{
		if (signature->results[i] == type)
			return true;
	}
	return false;
}

/* Raises 42P17 unless the function is declared as its purpose needs it. */
static void
CheckDeclaration(Oid function, const char *name, const AsynxSignature *signature)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	FormData_pg_proc declared;

	if (!HeapTupleIsValid(tuple))
		RefuseMissing((const AsynxSignature *const[]) {signature, NULL}, name);
	declared = *(Form_pg_proc) GETSTRUCT(tuple);
	ReleaseSysCache(tuple);

	if (declared.prokind != PROKIND_FUNCTION || declared.proretset)
		Refuse(signature, name, "be a plain function that returns one value");
	if (signature->result != NULL && !IsResult(signature, getBaseType(declared.prorettype)))
		Refuse(signature, name, psprintf("return %s", signature->result));
	if (signature->pure && declared.provolatile != PROVOLATILE_IMMUTABLE)
		Refuse(signature, name, "be declared IMMUTABLE");
	if (signature->pure && declared.proisstrict)
		Refuse(signature, name, "not be declared STRICT");
	if (isAnyTempNamespace(declared.pronamespace))
		Refuse(signature, name, "not be temporary");
}

/* Has the function the arguments of the signature? */
static bool
HasArguments(Oid function, const AsynxSignature *signature)
{
	Oid		   *types;
	int			nargs;

	(void) get_func_signature(function, &types, &nargs);
	return nargs == signature->nargs &&
		memcmp(types, signature->argtypes, nargs * sizeof(Oid)) == 0;
}

/* Which of the signatures the function has; raises handler_missing if it has none of them. */
static int
FindSignature(Oid function, const char *given, const AsynxSignature *const *signatures)
{
	int			i;

	for (i = 0; signatures[i] != NULL; i++)
	{
		if (HasArguments(function, signatures[i]))
			return i;
	}
	RefuseMissing(signatures, given);
}

/* The role that owns the function. */
static Oid
OwnerOf(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * Finds a function for the one who registers it, by a name ("app.f") or a
 * signature ("app.f(jsonb, jsonb)"); "found" gets what is to be stored.  The
 * function may have one of several signatures, of which the list ends with NULL;
 * returns which one it has.
 *
 * Raises handler_missing, 22023 for what cannot be a name, 42P17 if it is not
 * declared as needed, or 42501 unless the current user has the privileges of its owner.
 */
int
asynx_handler_find(const char *given, const AsynxSignature *const *signatures,
				   AsynxFunction *found)
{
	Oid			function = FindFunction(given, signatures);
	int			which = FindSignature(function, given, signatures);
	Oid			owner;

	owner = OwnerOf(function);
	if (!has_privs_of_role(GetUserId(), owner))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_FUNCTION, given);
	CheckDeclaration(function, given, signatures[which]);

	found->name = format_procedure_qualified(function);
	found->owner = GetUserNameFromId(owner, false);
	return which;
}

/* Raises 22023 if two functions that belong together belong to different roles. */
void
asynx_handler_check_owner(const AsynxFunction *function, const AsynxFunction *other)
{
	if (strcmp(function->owner, other->owner) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("functions \"%s\" and \"%s\" belong to different roles",
						function->name, other->name),
				 errdetail("The first belongs to \"%s\", the second to \"%s\".",
						   function->owner, other->owner)));
}

/* Looks the function and its owner up; raises handler_missing. */
static void
Resolve(Resolved *resolved, const AsynxFunction *function, const AsynxSignature *signature)
{
	resolved->function = FindFunction(function->name,
									  (const AsynxSignature *const[]) {signature, NULL});
	resolved->role = get_role_oid(function->owner, true);
	if (!OidIsValid(resolved->role))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_HANDLER_MISSING),
				 errmsg("%s \"%s\" has lost its owner", signature->purpose, function->name),
				 errdetail("Role \"%s\" does not exist.", function->owner)));
	if (OwnerOf(resolved->function) != resolved->role)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_HANDLER_MISSING),
				 errmsg("%s \"%s\" has changed its owner", signature->purpose, function->name),
				 errdetail("It was registered when it belonged to \"%s\".", function->owner),
				 errhint("Register it again as its new owner.")));
}

/* Fills in what a call needs, in memory of its own; raises handler_missing. */
static void
Remember(Resolved *resolved, const AsynxFunction *function, const AsynxSignature *signature)
{
	Oid			type = get_func_rettype(resolved->function);
	char	   *schema = get_namespace_name(get_func_namespace(resolved->function));
	MemoryContext caller;

	/* somebody may have dropped it since it was found */
	if (schema == NULL)
		RefuseMissing((const AsynxSignature *const[]) {signature, NULL}, function->name);

	MemoryContextReset(resolved->context);
	resolved->ready = false;

	caller = MemoryContextSwitchTo(resolved->context);
	resolved->owner = pstrdup(function->owner);
	resolved->search_path = psprintf("%s, pg_temp", quote_identifier(schema));
	MemoryContextSwitchTo(caller);

	resolved->result_type = getBaseType(type);
	resolved->checked = NULL;
}

/* The function, resolved now or before; raises handler_missing. */
static Resolved *
Find(const AsynxFunction *function, const AsynxSignature *signature)
{
	Resolved   *resolved = Enter(function->name);
	uint64		generation = Generation;

	if (resolved->generation == generation && strcmp(resolved->owner, function->owner) == 0)
		return resolved;

	/* a change that comes meanwhile makes the next use resolve it again */
	resolved->generation = 0;
	Resolve(resolved, function, signature);
	Remember(resolved, function, signature);
	resolved->generation = generation;
	return resolved;
}

/* Calls the function as the current user. */
static void
Invoke(FmgrInfo *flinfo, AsynxCall *call)
{
	LOCAL_FCINFO(fcinfo, ASYNX_HANDLER_MAX_ARGS);
	PgStat_FunctionCallUsage usage;
	int			nargs = call->signature->nargs;

	InitFunctionCallInfoData(*fcinfo, flinfo, nargs, DEFAULT_COLLATION_OID, NULL, NULL);
	memcpy(fcinfo->args, call->args, nargs * sizeof(NullableDatum));

	InvokeFunctionExecuteHook(flinfo->fn_oid);
	pgstat_init_function_usage(fcinfo, &usage);
	call->result.value = FunctionCallInvoke(fcinfo);
	call->result.isnull = fcinfo->isnull;
	pgstat_end_function_usage(&usage, true);
}

/*
 * Calls the function with its kept FmgrInfo.  A call within a call gets one of
 * its own, because some languages keep the state of a running call there.
 */
static void
InvokeKept(Resolved *resolved, AsynxCall *call)
{
	FmgrInfo	own;

	if (resolved->busy)
	{
		fmgr_info(resolved->function, &own);
		Invoke(&own, call);
		return;
	}

	if (!resolved->ready)
	{
		MemoryContextReset(resolved->calls);
		fmgr_info_cxt(resolved->function, &resolved->flinfo, resolved->calls);
		resolved->ready = true;
	}
	resolved->busy = true;
	Invoke(&resolved->flinfo, call);
	resolved->busy = false;
}

/* The search_path of the last function that ran; NULL before the first. */
static char *LastPath = NULL;

/*
 * Sets search_path to the end of the nest level of settings, unless it is that already:
 * setting it and putting it back costs more than many a handler.
 */
static void
SetPath(const char *path)
{
	if (strcmp(namespace_search_path, path) == 0)
		return;
	(void) set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);

	if (LastPath == NULL || strcmp(LastPath, path) != 0)
	{
		char	   *last = MemoryContextStrdup(TopMemoryContext, path);

		if (LastPath != NULL)
			pfree(LastPath);
		LastPath = last;
	}
}

/*
 * For a process of ours, between transactions: what the last function had as search_path
 * is the session's, since the next will be the same one, or of the same schema.
 */
void
asynx_handler_stay(void)
{
	if (LastPath != NULL && strcmp(namespace_search_path, LastPath) != 0)
		SetConfigOption("search_path", LastPath, PGC_USERSET, PGC_S_SESSION);
}

/* Becomes the owner, calls the function and puts everything back. */
static void
RunAsOwner(Resolved *resolved, AsynxCall *call, const AsynxFence *fence)
{
	AsynxIdentity before;
	int			level;

	asynx_identity_become(resolved->role,
						  SECURITY_RESTRICTED_OPERATION | SECURITY_LOCAL_USERID_CHANGE, &before);
	level = NewGUCNestLevel();
	SetPath(resolved->search_path);

	InvokeKept(resolved, call);

	/* closing a cursor may run more of the function's code */
	asynx_fence_drop_strays(fence);
	AtEOXact_GUC(false, level);
	asynx_identity_restore(&before);
}

/* Is it an error that says nothing about the function? */
static bool
PassesUnchanged(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_TRANSACTION_ROLLBACK ||
		category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_OPERATOR_INTERVENTION ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_ASYNX_HANDLER_MISSING;
}

/*
 * An error as the cause of another: its SQLSTATE and its message, and for a failure
 * that already was explained in its turn, what that was caused by.
 */
char *
asynx_handler_cause(const ErrorData *error)
{
	if (error->sqlerrcode == ERRCODE_ASYNX_PIPELINE_FAILED && error->detail != NULL)
		return psprintf("%s: %s (%s)", unpack_sql_state(error->sqlerrcode), error->message,
						error->detail);
	return psprintf("%s: %s", unpack_sql_state(error->sqlerrcode), error->message);
}

/* Throws what the function raised, as the caller wants it told. */
pg_noreturn static void
Rethrow(const AsynxCall *call)
{
	ErrorData  *error = CopyErrorData();

	FlushErrorState();
	if (call->explain != NULL && !PassesUnchanged(error))
		call->explain(call, error);
	ReThrowError(error);
}

/* Runs the resolved function behind the fence, if it still is what it must be. */
static void
CheckAndRun(Resolved *resolved, AsynxCall *call, const AsynxFence *fence)
{
	if (resolved->checked != call->signature)
		CheckDeclaration(resolved->function, call->function->name, call->signature);
	resolved->checked = call->signature;
	call->result_type = resolved->result_type;

	RunAsOwner(resolved, call, fence);
}

/* The same, with errors explained. */
static void
RunGuarded(Resolved *resolved, AsynxCall *call)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		outermost = !resolved->busy;
	AsynxFence	fence;

	asynx_fence_raise(&fence);
	PG_TRY();
	{
		CheckAndRun(resolved, call, &fence);
	}
	PG_CATCH();
	{
		asynx_fence_lower(&fence);
		if (outermost)
			resolved->busy = resolved->ready = false;
		MemoryContextSwitchTo(caller);
		Rethrow(call);
	}
	PG_END_TRY();
	asynx_fence_lower(&fence);
}

/*
 * Runs the function.  Raises handler_missing; what the function raises is explained
 * by the caller.
 */
void
asynx_handler_run(AsynxCall *call)
{
	RunGuarded(Find(call->function, call->signature), call);
}

/* Raises an error if the function ended by itself, but late, or although it was cancelled. */
static void
CheckInTime(const AsynxCall *call)
{
	if (call->timed_out)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("function \"%s\" ran longer than its timeout", call->function->name)));
}

/* Runs the function, and raises an error if it takes longer than its timeout. */
void
asynx_handler_run_in_time(AsynxCall *call)
{
	AsynxDeadline deadline;

	if (call->timeout == 0)
	{
		asynx_handler_run(call);
		return;
	}

	asynx_deadline_set(&deadline, call->timeout);
	PG_TRY();
	{
		asynx_handler_run(call);
	}
	PG_FINALLY();
	{
		call->timed_out = asynx_deadline_clear(&deadline);
	}
	PG_END_TRY();
	CheckInTime(call);
}

/* A unit of work: runs the function under a snapshot of its own. */
static void
RunOnce(void *arg)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	asynx_handler_run_in_time((AsynxCall *) arg);
	PopActiveSnapshot();
}

/*
 * Is the error one that the end of the statement or of the session brings?  A background
 * worker is ended otherwise; there it was the function that raised it, or its call was
 * cancelled.
 */
bool
asynx_handler_is_interruption(const ErrorData *error)
{
	return MyBgworkerEntry == NULL &&
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION;
}

/* Error filter: is it the function's, and not a cancel, or the end of the session? */
static bool
IsItsOwn(const ErrorData *error, void *arg)
{
	return ((AsynxCall *) arg)->timed_out || !asynx_handler_is_interruption(error);
}

/*
 * Runs the function in a subtransaction, and no longer than its timeout.  Returns
 * what it raised, with its effects undone, or NULL; raises nothing but what ends the
 * statement or the session.
 */
ErrorData *
asynx_handler_attempt(AsynxCall *call)
{
	ErrorData  *error;

	call->timed_out = false;
	error = asynx_query_attempt(RunOnce, IsItsOwn, call);
	if (error != NULL && call->timed_out)
	{
		error->sqlerrcode = ERRCODE_QUERY_CANCELED;
		error->message = psprintf("function \"%s\" ran longer than its timeout",
								  call->function->name);
		error->detail = error->hint = NULL;
	}
	return error;
}

/* Does something with the result of a call; what that raises is explained as the function's. */
void
asynx_handler_blame(const AsynxCall *call, AsynxHandlerWork work, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		work(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		Rethrow(call);
	}
	PG_END_TRY();
}
