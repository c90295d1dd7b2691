/*
 * upcast.c
 *	  Upcasters: functions that bring patches of an older schema version one
 *	  version up.
 *
 * 1. An event keeps the schema version that its type had when it was stored.  A
 *	  fold passes the patch of an older one through the upcasters registered from
 *	  that version to the type's, in order; a missing step changes nothing, and a
 *	  stored version above the type's is left alone.  The log is never rewritten.
 *
 * 2. They run as command functions do (handler.c).  An error stops the fold as
 *	  pipeline_failed and names the upcaster, the aggregate and the version, also
 *	  if what came out is no patch, or does not fit the state; for a patch that went
 *	  through several, it is the last of them that is named.
 *
 * 3. Registering or dropping an upcaster below the type's schema version changes
 *	  what stored events mean: the event table is locked against writers, and the
 *	  snapshots of the type go.  A reader that upcast and wants to leave a snapshot
 *	  makes sure that the upcasters still are those it used (snapshot.c).  They are
 *	  known by their names: a function that is replaced under its name breaks the
 *	  promise it made by being IMMUTABLE, and the snapshots that it made stay.
 */
#include "asynx.h"

#include "aggtype.h"
#include "args.h"
#include "catalog/pg_type.h"
#include "errors.h"
#include "lock.h"
#include "patch.h"
#include "query.h"
#include "upcast.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

/* A step under way, for error texts. */
typedef struct Step
{
	const AsynxOldEvent *event;
	const char *fault;			/* what is wrong, a sentence that the cause ends */
} Step;

static const AsynxSignature UpcasterSignature = {
	.purpose = "upcaster",
	.nargs = 2,
	.argtypes = {TEXTOID, JSONBOID},
	.results = {JSONBOID},
	.result = "jsonb",
	.pure = true,
};

static AsynxQuery SelectUpcasters = {
	.sql = ASYNX_SQL("SELECT u.from_version, u.function, u.owner FROM asynx.upcasters u "
					 "WHERE u.aggregate_type OPERATOR(pg_catalog.=) $1 "
					 "ORDER BY u.from_version"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery InsertUpcaster = {
	.sql = ASYNX_SQL("INSERT INTO asynx.upcasters (aggregate_type, from_version, function, owner) "
					 "VALUES ($1, $2, $3, $4) ON CONFLICT (aggregate_type, from_version) "
					 "DO NOTHING"),
	.nargs = 4,
	.argtypes = {TEXTOID, INT4OID, TEXTOID, TEXTOID},
};

static AsynxQuery DeleteUpcaster = {
	.sql = ASYNX_SQL("DELETE FROM asynx.upcasters u "
					 "WHERE u.aggregate_type OPERATOR(pg_catalog.=) $1 "
					 "AND u.from_version OPERATOR(pg_catalog.=) $2"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT4OID},
};

static AsynxQuery LockEvents = {
	.sql = ASYNX_SQL("LOCK TABLE asynx.events IN SHARE ROW EXCLUSIVE MODE"),
	.nargs = 0,
};

static AsynxQuery DeleteSnapshots = {
	.sql = ASYNX_SQL("DELETE FROM asynx.snapshots s USING asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) s.aggregate_id "
					 "AND e.version OPERATOR(pg_catalog.=) 1 "
					 "AND e.aggregate_type OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Row function of SelectUpcasters: one more step. */
static bool
GetUpcaster(TupleTableSlot *slot, void *arg)
{
	AsynxUpcasters *upcasters = (AsynxUpcasters *) arg;
	AsynxUpcaster *step;
	bool		isnull;

	if (upcasters->count == upcasters->room)
	{
		upcasters->room = Max(8, upcasters->room * 2);
		upcasters->steps = upcasters->steps == NULL ?
			palloc(upcasters->room * sizeof(AsynxUpcaster)) :
			repalloc(upcasters->steps, upcasters->room * sizeof(AsynxUpcaster));
	}
	step = &upcasters->steps[upcasters->count++];
	step->from_version = DatumGetInt32(slot_getattr(slot, 1, &isnull));
	step->function.name = TextDatumGetCString(slot_getattr(slot, 2, &isnull));
	step->function.owner = TextDatumGetCString(slot_getattr(slot, 3, &isnull));
	return true;
}

/* Reads the upcasters of a type; there can be none to use at schema version 1. */
void
asynx_upcasters_read(const text *type, int32 schema_version, AsynxUpcasters *upcasters)
{
	Datum		values[] = {PointerGetDatum(type)};

	memset(upcasters, 0, sizeof(*upcasters));
	upcasters->schema_version = schema_version;
	if (schema_version > 1)
		(void) asynx_query_read(&SelectUpcasters, values, NULL, GetUpcaster, upcasters);
}

/* Are the type's upcasters, under the active snapshot, still these? */
bool
asynx_upcasters_still(const text *type, const AsynxUpcasters *upcasters)
{
	AsynxUpcasters now;
	int			i;

	asynx_upcasters_read(type, upcasters->schema_version, &now);
	if (now.count != upcasters->count)
		return false;
	for (i = 0; i < now.count; i++)
	{
		if (now.steps[i].from_version != upcasters->steps[i].from_version ||
			strcmp(now.steps[i].function.name, upcasters->steps[i].function.name) != 0)
			return false;
	}
	return true;
}

/* Makes of an error the failure of the upcaster. */
static void
ExplainFailure(const AsynxCall *call, ErrorData *error)
{
	const Step *step = (const Step *) call->arg;

	error->detail = psprintf("%s %s", step->fault, asynx_handler_cause(error));
	error->message = psprintf("upcaster \"%s\" failed at version %lld of aggregate \"%s\"",
							  call->function->name, (long long) step->event->version,
							  text_to_cstring(step->event->aggregate_id));
	error->hint = NULL;
	error->sqlerrcode = ERRCODE_ASYNX_PIPELINE_FAILED;
}

/* A call of the upcaster for an event; "step" is for what may have to be told. */
static AsynxCall
MakeCall(const AsynxUpcaster *upcaster, Step *step)
{
	AsynxCall	call = {
		.function = &upcaster->function,
		.signature = &UpcasterSignature,
		.args = {
			{PointerGetDatum(step->event->event_name), false},
			{PointerGetDatum(step->event->patch), false}
		},
		.explain = ExplainFailure,
		.arg = step,
	};

	return call;
}

/* Raises an error unless the upcaster returned a patch. */
static void
CheckPatch(void *arg)
{
	const AsynxCall *call = (const AsynxCall *) arg;

	if (call->result.isnull)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_INVALID_PATCH),
				 errmsg("NULL is not a patch")));
	asynx_patch_check(DatumGetJsonbP(call->result.value));
}

/* Brings an event's patch one schema version up. */
static void
RunStep(const AsynxUpcaster *upcaster, AsynxOldEvent *event)
{
	Step		step = {event, "It raised"};
	AsynxCall	call = MakeCall(upcaster, &step);

	asynx_handler_run(&call);
	asynx_upcast_use(upcaster, event, CheckPatch, &call);
	event->patch = DatumGetJsonbP(call.result.value);
}

/*
 * Brings the patch of an older event to the type's schema version.  Returns the
 * upcaster that had the last word, NULL if there was none.
 */
const AsynxUpcaster *
asynx_upcast(const AsynxUpcasters *upcasters, AsynxOldEvent *event)
{
	const AsynxUpcaster *last = NULL;
	int			i;

	for (i = 0; i < upcasters->count; i++)
	{
		const AsynxUpcaster *upcaster = &upcasters->steps[i];

		if (upcaster->from_version < event->schema_version ||
			upcaster->from_version >= upcasters->schema_version)
			continue;
		RunStep(upcaster, event);
		last = upcaster;
	}
	return last;
}

/* Does something with what an upcaster made of an event; an error in it is the upcaster's. */
void
asynx_upcast_use(const AsynxUpcaster *upcaster, const AsynxOldEvent *event,
				 AsynxHandlerWork work, void *arg)
{
	Step		step = {event, "What it returned cannot be used:"};
	AsynxCall	call = MakeCall(upcaster, &step);

	asynx_handler_blame(&call, work, arg);
}

/* Raises 22023 for a type that does not exist; its schema version otherwise. */
static int32
SchemaVersion(const text *name)
{
	AsynxType	type;
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = asynx_type_read(name, &type);
	PopActiveSnapshot();
	if (!found)
		asynx_type_refuse_unknown(name);
	return type.schema_version;
}

/* Keeps writers out of the event table; nobody must be deciding on a state in this session. */
static void
LockOutWriters(void)
{
	asynx_lock_check_no_decision();
	(void) asynx_query_write(&LockEvents, NULL, NULL, NULL, NULL);
}

/* Lets the snapshots go that were made with other upcasters; no writer is at work. */
static void
ForgetSnapshots(const text *type, int32 from_version)
{
	Datum		values[] = {PointerGetDatum(type)};

	if (from_version < SchemaVersion(type))
		(void) asynx_query_write(&DeleteSnapshots, values, NULL, NULL, NULL);
}

/* The aggregate type in a required argument. */
static text *
TypeArgument(FunctionCallInfo fcinfo, int arg)
{
	text	   *type = asynx_arg_text(fcinfo, arg, "aggregate_type");

	asynx_check_type_name(VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type));
	return type;
}

PG_FUNCTION_INFO_V1(asynx_create_upcaster);
PG_FUNCTION_INFO_V1(asynx_drop_upcaster);

/* asynx.create_upcaster(aggregate_type text, from_version integer, function text) returns void */
Datum
asynx_create_upcaster(PG_FUNCTION_ARGS)
{
	text	   *type = TypeArgument(fcinfo, 0);
	int32		from_version = asynx_arg_int(fcinfo, 1, "from_version", 1);
	AsynxFunction function;
	AsynxQueryScope scope;
	Datum		values[4];

	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_HANDLER_MISSING),
				 errmsg("upcaster of aggregate type \"%s\" has no function",
						text_to_cstring(type)),
				 errdetail("\"function\" must not be null.")));
	(void) asynx_handler_find(text_to_cstring(PG_GETARG_TEXT_PP(2)),
							  (const AsynxSignature *const[]) {&UpcasterSignature, NULL},
							  &function);

	values[0] = PointerGetDatum(type);
	values[1] = Int32GetDatum(from_version);
	values[2] = CStringGetTextDatum(function.name);
	values[3] = CStringGetTextDatum(function.owner);
	asynx_query_begin(&scope);
	LockOutWriters();
	(void) SchemaVersion(type);
	if (asynx_query_write(&InsertUpcaster, values, NULL, NULL, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("aggregate type \"%s\" already has an upcaster from schema version %d",
						text_to_cstring(type), from_version)));
	ForgetSnapshots(type, from_version);
	asynx_query_end(&scope);

	PG_RETURN_VOID();
}

/* asynx.drop_upcaster(aggregate_type text, from_version integer) returns void */
Datum
asynx_drop_upcaster(PG_FUNCTION_ARGS)
{
	text	   *type = TypeArgument(fcinfo, 0);
	int32		from_version = asynx_arg_int(fcinfo, 1, "from_version", 1);
	Datum		values[] = {PointerGetDatum(type), Int32GetDatum(from_version)};
	AsynxQueryScope scope;

	asynx_query_begin(&scope);
	LockOutWriters();
	if (asynx_query_write(&DeleteUpcaster, values, NULL, NULL, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("aggregate type \"%s\" has no upcaster from schema version %d",
						text_to_cstring(type), from_version)));
	ForgetSnapshots(type, from_version);
	asynx_query_end(&scope);

	PG_RETURN_VOID();
}
