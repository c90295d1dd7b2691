/*
 * aggtype.c
 *	  Aggregate types: schema version, seed, snapshot policy.
 *
 * The type "default" exists without a row, so that a dump can carry every row
 * of the table; altering or creating it makes one.
 *
 * A type's seed decides what its events mean, so it must be fixed before the
 * first of them.  Dropping a type locks the event table against writers and is
 * refused if it has events: an append under way has then committed and is seen,
 * and a later one finds the type gone.  So no events are without their type, and
 * a new type has none.  The default type exists always, so making its row, which
 * may bring a seed, needs the same look.
 *
 * Raising a schema version locks the event table against writers, too: a command
 * that read a state of the old version must not store its patch as one of the new.
 *
 * Writers need their type at each call, so a session keeps those it has read.  A
 * trigger tells all sessions of a change, through an invalidation of the table's
 * relcache entry, which arrives when the change commits; writers take note of it
 * after they have locked the event table, so a type that was dropped is gone.
 */
#include "asynx.h"

#include "access/xact.h"
#include "aggtype.h"
#include "args.h"
#include "catalog/pg_type.h"
#include "changes.h"
#include "commands/trigger.h"
#include "errors.h"
#include "lock.h"
#include "query.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "value.h"

static AsynxQuery SelectType = {
	.sql = ASYNX_SQL("SELECT t.schema_version, t.snapshot_every, t.seed "
					 "FROM asynx.aggregate_types t WHERE t.name OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery SelectEventOfType = {
	.sql = ASYNX_SQL("SELECT FROM asynx.events e WHERE e.version OPERATOR(pg_catalog.=) 1 "
					 "AND e.aggregate_type OPERATOR(pg_catalog.=) $1 LIMIT 1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery LockEvents = {
	.sql = ASYNX_SQL("LOCK TABLE asynx.events IN SHARE ROW EXCLUSIVE MODE"),
	.nargs = 0,
};

static AsynxQuery InsertType = {
	.sql = ASYNX_SQL("INSERT INTO asynx.aggregate_types "
					 "(name, schema_version, seed, snapshot_every) VALUES ($1, $2, $3, $4) "
					 "ON CONFLICT (name) DO NOTHING"),
	.nargs = 4,
	.argtypes = {TEXTOID, INT4OID, JSONBOID, INT4OID},
};

static AsynxQuery UpdateType = {
	.sql = ASYNX_SQL("UPDATE asynx.aggregate_types t SET "
					 "schema_version = COALESCE($2, t.schema_version), "
					 "snapshot_every = COALESCE($3, t.snapshot_every) "
					 "WHERE t.name OPERATOR(pg_catalog.=) $1 "
					 "AND ($2 IS NULL OR $2 OPERATOR(pg_catalog.>=) t.schema_version)"),
	.nargs = 3,
	.argtypes = {TEXTOID, INT4OID, INT4OID},
};

static AsynxQuery DeleteType = {
	.sql = ASYNX_SQL("DELETE FROM asynx.aggregate_types t "
					 "WHERE t.name OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Upcasters are part of their type: one of the same name that is created later has none. */
static AsynxQuery DeleteUpcasters = {
	.sql = ASYNX_SQL("DELETE FROM asynx.upcasters u "
					 "WHERE u.aggregate_type OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* A type that this session has read. */
typedef struct KnownType
{
	char		name[ASYNX_MAX_NAME_BYTES + 1];	/* hash key */
	AsynxType	type;
} KnownType;

/* The types that this session has read, and the memory they live in. */
static HTAB *KnownTypes = NULL;
static MemoryContext KnownTypesContext = NULL;

/* Has one been changed since? */
static bool KnownTypesStale = true;

/* Is it the name of the default type? */
static bool
IsDefault(const text *name)
{
	Size		len = strlen(ASYNX_DEFAULT_TYPE);

	return VARSIZE_ANY_EXHDR(name) == len &&
		memcmp(VARDATA_ANY(name), ASYNX_DEFAULT_TYPE, len) == 0;
}

/* Raises 22023 for a type that does not exist. */
void
asynx_type_refuse_unknown(const text *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("aggregate type \"%s\" does not exist", text_to_cstring(name)),
			 errhint("Create it with asynx.create_aggregate_type().")));
}

/* Row function of SelectType. */
static bool
GetType(TupleTableSlot *slot, void *arg)
{
	AsynxType  *type = (AsynxType *) arg;
	bool		isnull;
	Datum		seed;

	type->schema_version = DatumGetInt32(slot_getattr(slot, 1, &isnull));
	type->snapshot_every = DatumGetInt32(slot_getattr(slot, 2, &isnull));
	seed = slot_getattr(slot, 3, &isnull);
	type->seed = isnull ? NULL : DatumGetJsonbPCopy(seed);
	return false;
}

/* Reads a type; false if it does not exist. */
bool
asynx_type_read(const text *name, AsynxType *type)
{
	Datum		values[] = {PointerGetDatum(name)};

	type->schema_version = 1;
	type->snapshot_every = 0;
	type->seed = NULL;
	return asynx_query_read(&SelectType, values, NULL, GetType, type) > 0 || IsDefault(name);
}

/* Relcache callback: some table was changed; only that of the types is ever told so on purpose. */
static void
ForgetKnownTypes(Datum arg, Oid relation)
{
	(void) arg;
	(void) relation;
	KnownTypesStale = true;
}

/* Begins with no known types. */
static void
ResetKnownTypes(void)
{
	HASHCTL		control = {
		.keysize = sizeof(((KnownType *) NULL)->name),
		.entrysize = sizeof(KnownType),
	};

	if (KnownTypesContext == NULL)
	{
		KnownTypesContext = AllocSetContextCreate(CacheMemoryContext, "asynx aggregate types",
												  ALLOCSET_SMALL_SIZES);
		asynx_changes_register(ForgetKnownTypes);
	}

	KnownTypes = NULL;
	MemoryContextReset(KnownTypesContext);
	control.hcxt = KnownTypesContext;
	KnownTypes = hash_create("asynx aggregate types", 16, &control,
							 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	KnownTypesStale = false;
}

/* Reads a type as it is by now; false if it does not exist. */
static bool
ReadLatest(const text *name, AsynxType *type)
{
	bool		found;

	PushActiveSnapshot(IsolationUsesXactSnapshot() ?
					   GetTransactionSnapshot() : GetLatestSnapshot());
	found = asynx_type_read(name, type);
	PopActiveSnapshot();
	return found;
}

/* Remembers a type under its name. */
static void
Remember(const char *name, const AsynxType *type)
{
	Jsonb	   *seed = NULL;
	KnownType  *known;

	if (type->seed != NULL)
	{
		seed = MemoryContextAlloc(KnownTypesContext, VARSIZE(type->seed));
		memcpy(seed, type->seed, VARSIZE(type->seed));
	}
	known = hash_search(KnownTypes, name, HASH_ENTER, NULL);
	known->type = *type;
	known->type.seed = seed;
}

/* Is the type known, and not out of date?  Under REPEATABLE READ none is. */
static bool
FindKnown(const char *name, AsynxType *type)
{
	const KnownType *known;

	if (IsolationUsesXactSnapshot())
		return false;

	AcceptInvalidationMessages();
	if (KnownTypesStale)
		ResetKnownTypes();
	known = hash_search(KnownTypes, name, HASH_FIND, NULL);
	if (known != NULL)
		*type = known->type;
	return known != NULL;
}

/*
 * Finds a type for a writer, who has locked the event table; false if it does not
 * exist.  The seed is good until the next call.  Needs no active snapshot: it sees
 * what is committed, under REPEATABLE READ what the transaction sees.
 */
bool
asynx_type_find(const text *name, AsynxType *type)
{
	char		key[ASYNX_MAX_NAME_BYTES + 1];

	text_to_cstring_buffer(name, key, sizeof(key));
	if (FindKnown(key, type))
		return true;
	if (!ReadLatest(name, type))
		return false;
	if (!IsolationUsesXactSnapshot())
		Remember(key, type);
	return true;
}

/* Keeps writers out of the event table; nobody must be deciding on a state in this session. */
static void
LockOutWriters(void)
{
	asynx_lock_check_no_decision();
	(void) asynx_query_write(&LockEvents, NULL, NULL, NULL, NULL);
}

/* Keeps writers out, then raises 55006 if the type has events. */
static void
CheckNoEvents(const text *name)
{
	Datum		values[] = {PointerGetDatum(name)};
	bool		found;

	LockOutWriters();
	PushActiveSnapshot(GetLatestSnapshot());
	found = asynx_query_read(&SelectEventOfType, values, NULL, NULL, NULL) > 0;
	PopActiveSnapshot();

	if (found)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("aggregate type \"%s\" has events", text_to_cstring(name))));
}

/* Inserts the type; false if it is there. */
static bool
Insert(const text *name, const AsynxType *type)
{
	Datum		values[4];
	char		nulls[4] = {' ', ' ', type->seed == NULL ? 'n' : ' ', ' '};

	values[0] = PointerGetDatum(name);
	values[1] = Int32GetDatum(type->schema_version);
	values[2] = PointerGetDatum(type->seed);
	values[3] = Int32GetDatum(type->snapshot_every);
	return asynx_query_write(&InsertType, values, nulls, NULL, NULL) > 0;
}

/*
 * Tells why an UPDATE found no row: the type is unknown, or newer than the
 * transaction's snapshot, or its version would shrink.
 */
static void
RefuseUpdate(const text *name, int32 schema_version)
{
	AsynxType	type;
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = asynx_type_read(name, &type);
	PopActiveSnapshot();

	if (!found)
		asynx_type_refuse_unknown(name);
	if (schema_version >= type.schema_version || schema_version == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access to aggregate type \"%s\"",
						text_to_cstring(name)),
				 errhint("The transaction might succeed if retried.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("schema version of aggregate type \"%s\" cannot become %d",
					text_to_cstring(name), schema_version),
			 errdetail("It is %d, and only grows.", type.schema_version)));
}

PG_FUNCTION_INFO_V1(asynx_create_aggregate_type);
PG_FUNCTION_INFO_V1(asynx_alter_aggregate_type);
PG_FUNCTION_INFO_V1(asynx_drop_aggregate_type);
PG_FUNCTION_INFO_V1(asynx_schema_version);
PG_FUNCTION_INFO_V1(asynx_type_changed);

/* asynx.create_aggregate_type(name, schema_version, seed, snapshot_every) returns void */
Datum
asynx_create_aggregate_type(PG_FUNCTION_ARGS)
{
	text	   *name = asynx_arg_type_name(fcinfo, 0);
	AsynxQueryScope scope;
	AsynxType	type = {
		.schema_version = asynx_arg_int(fcinfo, 1, "schema_version", 1),
		.seed = asynx_arg_jsonb_or_null(fcinfo, 2),
		.snapshot_every = asynx_arg_int(fcinfo, 3, "snapshot_every", 0),
	};

	if (type.seed != NULL)
		asynx_document_check(type.seed);

	asynx_query_begin(&scope);
	if (IsDefault(name))
		CheckNoEvents(name);
	if (!Insert(name, &type))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("aggregate type \"%s\" already exists", text_to_cstring(name))));
	asynx_query_end(&scope);

	PG_RETURN_VOID();
}

/* asynx.alter_aggregate_type(name, schema_version, snapshot_every) returns void; NULL = as it is */
Datum
asynx_alter_aggregate_type(PG_FUNCTION_ARGS)
{
	static const AsynxType initial = {.schema_version = 1};
	text	   *name = asynx_arg_type_name(fcinfo, 0);
	AsynxQueryScope scope;
	Datum		values[3];
	char		nulls[3] = {' ', 'n', 'n'};

	values[0] = PointerGetDatum(name);
	values[1] = values[2] = (Datum) 0;
	if (!PG_ARGISNULL(1))
	{
		values[1] = Int32GetDatum(asynx_arg_int(fcinfo, 1, "schema_version", 1));
		nulls[1] = ' ';
	}
	if (!PG_ARGISNULL(2))
	{
		values[2] = Int32GetDatum(asynx_arg_int(fcinfo, 2, "snapshot_every", 0));
		nulls[2] = ' ';
	}

	asynx_query_begin(&scope);
	if (!PG_ARGISNULL(1))
		LockOutWriters();
	if (IsDefault(name))
		(void) Insert(name, &initial);
	if (asynx_query_write(&UpdateType, values, nulls, NULL, NULL) == 0)
		RefuseUpdate(name, DatumGetInt32(values[1]));
	asynx_query_end(&scope);

	PG_RETURN_VOID();
}

/* asynx.drop_aggregate_type(name text) returns void; raises 55006 while it has events */
Datum
asynx_drop_aggregate_type(PG_FUNCTION_ARGS)
{
	text	   *name = asynx_arg_type_name(fcinfo, 0);
	Datum		values[] = {PointerGetDatum(name)};
	AsynxQueryScope scope;

	asynx_query_begin(&scope);
	CheckNoEvents(name);
	if (asynx_query_write(&DeleteType, values, NULL, NULL, NULL) == 0)
		asynx_type_refuse_unknown(name);
	(void) asynx_query_write(&DeleteUpcasters, values, NULL, NULL, NULL);
	asynx_query_end(&scope);

	PG_RETURN_VOID();
}

/*
 * asynx.schema_version(aggregate_type text) returns integer: the version of what
 * is stored now, 1 for a type that does not exist.  For append()'s INSERT.
 */
Datum
asynx_schema_version(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	char		key[ASYNX_MAX_NAME_BYTES + 1];
	AsynxQueryScope scope;
	AsynxType	type;

	text_to_cstring_buffer(name, key, sizeof(key));
	if (!FindKnown(key, &type))
	{
		asynx_query_begin(&scope);
		(void) asynx_type_find(name, &type);
		asynx_query_end(&scope);
	}
	PG_RETURN_INT32(type.schema_version);
}

/* asynx.type_changed() returns trigger: tells all sessions to read their types again. */
Datum
asynx_type_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("\"asynx.type_changed\" can only be called as a trigger")));

	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}
