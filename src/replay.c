/*
 * replay.c
 *	  Rebuilds states: time travel, get_at(), replay().
 *
 * A fold begins with the newest usable snapshot that is not above the version
 * asked for, or with the type's seed, or JSON null, and applies the patches of
 * the events after it in order.  All its statements run under one snapshot of
 * the database, so a stream that is erased and begun again in between cannot
 * mix.  The document is a lazily expanded tree (doc.c) in constant memory; rows
 * come straight from the executor and are let go after each event.
 *
 * Events of an older schema version are brought up to the type's on the way
 * (upcast.c).
 *
 * A snapshot is usable if the very event it was taken at, known by its
 * position, is still stored, if its schema version is the type's, and if it can
 * be read: what is damaged on disk is told to the hooks (hook.c), and the fold
 * begins without it.
 *
 * Folding never writes; who leaves snapshots is told in snapshot.c.
 */
#include "asynx.h"

#include "access/xact.h"
#include "aggtype.h"
#include "args.h"
#include "catalog/pg_type.h"
#include "doc.h"
#include "errors.h"
#include "event.h"
#include "funcapi.h"
#include "hook.h"
#include "patch.h"
#include "query.h"
#include "replay.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

/*
 * How a fold begins: one row if the aggregate exists, with its snapshot if it
 * is usable.  "version < 2" rather than "= 1", because the latter would allow the
 * index on first events, which is of no use without the type.
 */
static AsynxQuery SelectStart = {
	.sql = ASYNX_SQL("SELECT e.aggregate_type, COALESCE(t.schema_version, 1), "
					 " COALESCE(t.snapshot_every, 0), t.seed, s.version, s.position, s.state "
					 "FROM asynx.events e "
					 "LEFT JOIN asynx.aggregate_types t "
					 " ON t.name OPERATOR(pg_catalog.=) e.aggregate_type "
					 "LEFT JOIN asynx.snapshots s "
					 " ON s.aggregate_id OPERATOR(pg_catalog.=) e.aggregate_id "
					 " AND s.version OPERATOR(pg_catalog.<=) $2 "
					 " AND s.schema_version OPERATOR(pg_catalog.=) "
					 "  COALESCE(t.schema_version, 1) "
					 " AND EXISTS (SELECT FROM asynx.events x "
					 "  WHERE x.aggregate_id OPERATOR(pg_catalog.=) s.aggregate_id "
					 "  AND x.version OPERATOR(pg_catalog.=) s.version "
					 "  AND x.position OPERATOR(pg_catalog.=) s.position) "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.version OPERATOR(pg_catalog.<) 2"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

/* The events after a version; whoever gets the rows says where they end. */
static AsynxQuery SelectPatches = {
	.sql = ASYNX_SQL("SELECT e.version, e.position, e.patch, e.schema_version, "
					 " e.event_name FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.version OPERATOR(pg_catalog.>) $2 "
					 "ORDER BY e.version"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery SelectEvents = {
	.sql = ASYNX_SQL("SELECT " ASYNX_STORED_EVENT_COLUMNS " FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.version OPERATOR(pg_catalog.>) $2 "
					 "ORDER BY e.version"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery SelectVersionAt = {
	.sql = ASYNX_SQL("SELECT e.version FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.occurred_at OPERATOR(pg_catalog.<=) $2 "
					 "ORDER BY e.version DESC LIMIT 1"),
	.nargs = 2,
	.argtypes = {TEXTOID, TIMESTAMPTZOID},
};

/* A fold under way. */
typedef struct Fold
{
	const text *aggregate_id;
	AsynxAggregate *aggregate;	/* what is being rebuilt */
	AsynxDoc   *doc;			/* the state at version */
	int64		version;		/* the last event that was applied */
	int64		position;		/* its position */
	int64		to_version;		/* the last event to apply */
	AsynxOldEvent old;			/* the event to apply, as it was brought up to date */
	const AsynxUpcaster *upcaster;	/* which had the last word on it; NULL if none had */
	MemoryContext scratch;		/* reset after each event */
	Tuplestorestate *rows;		/* replay(): the result */
	TupleDesc	desc;			/* replay(): its row type */
	Jsonb	   *previous;		/* replay(): the state at version; NULL before the first event */
} Fold;

/* Raises aggregate_not_found. */
void
asynx_replay_refuse_unknown(const text *aggregate_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_AGGREGATE_NOT_FOUND),
			 errmsg("aggregate \"%s\" does not exist", text_to_cstring(aggregate_id))));
}

/* Error context: which event the fold was at. */
static void
DescribeFold(void *arg)
{
	Fold	   *fold = (Fold *) arg;

	errcontext("folding version %lld of aggregate \"%s\"",
			   (long long) (fold->version + 1), text_to_cstring(fold->aggregate_id));
}

/* What asynx_upcast_use() has to do: applies the patch to the document. */
static void
ApplyUpcastPatch(void *arg)
{
	Fold	   *fold = (Fold *) arg;

	asynx_doc_apply(fold->doc, fold->old.patch);
}

/* Applies the next event's patch to the document. */
static void
ApplyEvent(Fold *fold, int64 version, int64 position, const Jsonb *patch)
{
	if (version != fold->version + 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("version %lld of aggregate \"%s\" is missing",
						(long long) (fold->version + 1), text_to_cstring(fold->aggregate_id))));

	if (fold->upcaster != NULL)
		asynx_upcast_use(fold->upcaster, &fold->old, ApplyUpcastPatch, fold);
	else
		asynx_doc_apply(fold->doc, patch);
	fold->version = version;
	fold->position = position;
	fold->upcaster = NULL;
}

/* The event's patch as the type's schema version has it; "event" is an older one. */
static Jsonb *
Upcast(Fold *fold, AsynxOldEvent event)
{
	fold->old = event;
	fold->old.aggregate_id = fold->aggregate_id;
	fold->aggregate->upcast = true;
	fold->upcaster = asynx_upcast(&fold->aggregate->upcasters, &fold->old);
	return fold->old.patch;
}

/* The patch in a row of SelectPatches, brought up to date. */
static Jsonb *
CurrentPatch(Fold *fold, TupleTableSlot *slot)
{
	bool		isnull;
	AsynxOldEvent event;

	event.patch = DatumGetJsonbP(slot_getattr(slot, 3, &isnull));
	event.schema_version = DatumGetInt32(slot_getattr(slot, 4, &isnull));
	if (event.schema_version >= fold->aggregate->schema_version)
		return event.patch;

	event.version = DatumGetInt64(slot_getattr(slot, 1, &isnull));
	event.event_name = DatumGetTextPP(slot_getattr(slot, 5, &isnull));
	return Upcast(fold, event);
}

/* Row function of SelectPatches: folds one event. */
static bool
FoldPatch(TupleTableSlot *slot, void *arg)
{
	Fold	   *fold = (Fold *) arg;
	MemoryContext caller = MemoryContextSwitchTo(fold->scratch);
	bool		isnull;

	ApplyEvent(fold,
			   DatumGetInt64(slot_getattr(slot, 1, &isnull)),
			   DatumGetInt64(slot_getattr(slot, 2, &isnull)),
			   CurrentPatch(fold, slot));

	MemoryContextSwitchTo(caller);
	MemoryContextReset(fold->scratch);
	return fold->version < fold->to_version;
}

/* Brings a whole event up to date: its patch, and the schema version it is of then. */
static void
UpcastEvent(Fold *fold, AsynxStoredEvent *event)
{
	AsynxOldEvent old = {
		.version = event->version,
		.schema_version = event->schema_version,
		.event_name = event->event_name,
		.patch = event->patch,
	};

	if (event->schema_version >= fold->aggregate->schema_version)
		return;
	event->patch = Upcast(fold, old);
	event->schema_version = fold->aggregate->schema_version;
}

/* Row function of SelectEvents: folds one event and adds its envelope to the result. */
static bool
ReplayEvent(TupleTableSlot *slot, void *arg)
{
	Fold	   *fold = (Fold *) arg;
	MemoryContext caller = MemoryContextSwitchTo(fold->scratch);
	AsynxStoredEvent event;
	Datum		values[ASYNX_EVENT_NATTS];
	bool		nulls[ASYNX_EVENT_NATTS];
	Jsonb	   *state;

	asynx_event_from_slot(slot, &event);
	UpcastEvent(fold, &event);
	ApplyEvent(fold, event.version, event.position, event.patch);

	MemoryContextSwitchTo(caller);
	state = asynx_doc_state(fold->doc);
	asynx_event_values(&event, state, fold->previous, values, nulls);
	tuplestore_putvalues(fold->rows, fold->desc, values, nulls);

	if (fold->previous != NULL)
		pfree(fold->previous);
	fold->previous = state;
	MemoryContextReset(fold->scratch);
	return fold->version < fold->to_version;
}

/* Prepares a fold from the aggregate's state on, of events that need no upcaster. */
static void
BeginCurrentFold(Fold *fold, const text *aggregate_id, AsynxAggregate *aggregate)
{
	const Jsonb *base = aggregate->version > 0 ? aggregate->state : aggregate->seed;

	memset(fold, 0, sizeof(*fold));
	fold->aggregate_id = aggregate_id;
	fold->aggregate = aggregate;
	fold->version = aggregate->version;
	fold->position = aggregate->position;
	fold->doc = asynx_doc_borrow(CurrentMemoryContext, base);
	fold->scratch = AllocSetContextCreate(CurrentMemoryContext, "asynx fold",
										  ALLOCSET_DEFAULT_SIZES);
}

/* The same for any events. */
static void
BeginFold(Fold *fold, const text *aggregate_id, AsynxAggregate *aggregate)
{
	asynx_upcasters_read(aggregate->type, aggregate->schema_version, &aggregate->upcasters);
	BeginCurrentFold(fold, aggregate_id, aggregate);
}

/* Runs the fold over the versions above where it stands, up to "to_version". */
static void
RunFold(Fold *fold, AsynxQuery *query, AsynxRowFunction row, int64 to_version)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = DescribeFold,
		.arg = fold,
	};
	Datum		values[] = {PointerGetDatum(fold->aggregate_id), Int64GetDatum(fold->version)};

	if (fold->version >= to_version)
		return;

	fold->to_version = to_version;
	error_context_stack = &callback;
	(void) asynx_query_read(query, values, NULL, row, fold);
	error_context_stack = callback.previous;
}

/* Lets go of what the fold holds. */
static void
EndFold(Fold *fold)
{
	asynx_doc_free(fold->doc);
	MemoryContextDelete(fold->scratch);
}

/* A copy of a value as it is stored: compressed, or a pointer to where it is. */
static void *
CopyStored(Datum value)
{
	Size		size = VARSIZE_ANY(DatumGetPointer(value));

	return memcpy(palloc(size), DatumGetPointer(value), size);
}

/* Row function of SelectStart. */
static bool
GetStart(TupleTableSlot *slot, void *arg)
{
	AsynxAggregate *aggregate = (AsynxAggregate *) arg;
	bool		isnull;
	Datum		value;

	aggregate->exists = true;
	aggregate->type = DatumGetTextPCopy(slot_getattr(slot, 1, &isnull));
	aggregate->schema_version = DatumGetInt32(slot_getattr(slot, 2, &isnull));
	aggregate->snapshot_every = DatumGetInt32(slot_getattr(slot, 3, &isnull));
	value = slot_getattr(slot, 4, &isnull);
	if (!isnull)
		aggregate->seed = DatumGetJsonbPCopy(value);

	value = slot_getattr(slot, 5, &isnull);
	if (isnull)
		return false;
	aggregate->version = aggregate->snapshot_version = DatumGetInt64(value);
	aggregate->position = DatumGetInt64(slot_getattr(slot, 6, &isnull));
	aggregate->state = CopyStored(slot_getattr(slot, 7, &isnull));
	return false;
}

/* Unit of work: reads the snapshot's state from where it is stored. */
static void
ReadState(void *arg)
{
	AsynxAggregate *aggregate = (AsynxAggregate *) arg;

	aggregate->state = DatumGetJsonbP(PointerGetDatum(aggregate->state));
}

/* Error filter: is what is stored damaged, or cannot be had from the disk? */
static bool
IsDamage(const ErrorData *error, void *arg)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	(void) arg;
	return category == ERRCODE_INTERNAL_ERROR || category == ERRCODE_SYSTEM_ERROR;
}

/* Goes on without the snapshot, and tells it. */
static void
IgnoreSnapshot(const text *aggregate_id, AsynxAggregate *aggregate, const ErrorData *error)
{
	aggregate->version = aggregate->position = aggregate->snapshot_version = 0;
	aggregate->state = NULL;
	aggregate->damaged = true;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("the snapshot of aggregate \"%s\" cannot be read",
					text_to_cstring(aggregate_id)),
			 errdetail("The server says: %s.", error->message)));
	asynx_hooks_tell_corruption(aggregate_id, error);
}

/*
 * Reads the snapshot's state, if it is not in the row itself.  In a parallel query
 * there are no subtransactions, and damage is an error.
 */
static void
FetchState(const text *aggregate_id, AsynxAggregate *aggregate)
{
	ErrorData  *error = NULL;

	if (VARATT_IS_EXTERNAL(aggregate->state) || VARATT_IS_COMPRESSED(aggregate->state))
	{
		if (IsInParallelMode())
			ReadState(aggregate);
		else
			error = asynx_query_attempt(ReadState, IsDamage, aggregate);
	}
	else
		ReadState(aggregate);

	if (error != NULL)
		IgnoreSnapshot(aggregate_id, aggregate, error);
}

/* Finds where the fold up to "to_version" begins; false if the aggregate does not exist. */
static bool
FindStart(const text *aggregate_id, int64 to_version, AsynxAggregate *aggregate)
{
	Datum		values[] = {PointerGetDatum(aggregate_id), Int64GetDatum(to_version)};

	memset(aggregate, 0, sizeof(*aggregate));
	(void) asynx_query_read(&SelectStart, values, NULL, GetStart, aggregate);
	if (aggregate->state != NULL)
		FetchState(aggregate_id, aggregate);
	return aggregate->exists;
}

/* Brings an aggregate from where it is to "to_version", or to its last version. */
static void
FoldOn(const text *aggregate_id, int64 to_version, AsynxAggregate *aggregate)
{
	Fold		fold;

	BeginFold(&fold, aggregate_id, aggregate);
	RunFold(&fold, &SelectPatches, FoldPatch, to_version);
	if (fold.version > aggregate->version)
	{
		aggregate->version = fold.version;
		aggregate->position = fold.position;
		aggregate->state = asynx_doc_jsonb(fold.doc);
	}
	EndFold(&fold);
}

/*
 * Rebuilds an aggregate at "to_version", or at its last version if that is
 * lower; the caller looks at "exists" and "version".  Raises what the patches
 * raise, with the event in the context.
 */
void
asynx_replay_aggregate(const text *aggregate_id, int64 to_version, AsynxAggregate *aggregate)
{
	if (FindStart(aggregate_id, to_version, aggregate) && aggregate->version < to_version)
		FoldOn(aggregate_id, to_version, aggregate);
}

/*
 * Brings an aggregate that somebody knew at a version on to "to_version", or to its
 * last version if that is lower.
 */
void
asynx_replay_onward(const text *aggregate_id, int64 to_version, AsynxAggregate *aggregate)
{
	FoldOn(aggregate_id, to_version, aggregate);
}

/* An aggregate before the first event, which the caller has read; needs no statement. */
void
asynx_replay_beginning(const AsynxStoredEvent *event, AsynxAggregate *aggregate)
{
	AsynxType	type;

	if (!asynx_type_find(event->aggregate_type, &type))
		asynx_type_refuse_unknown(event->aggregate_type);
	memset(aggregate, 0, sizeof(*aggregate));
	aggregate->exists = true;
	aggregate->type = event->aggregate_type;
	aggregate->schema_version = type.schema_version;
	aggregate->snapshot_every = type.snapshot_every;
	if (type.seed != NULL)
		aggregate->seed = (Jsonb *) PG_DETOAST_DATUM_COPY(PointerGetDatum(type.seed));
}

/*
 * Brings an aggregate on by its next event, which the caller has read; needs no
 * statement unless the event is of an older schema version.
 */
void
asynx_replay_event(const AsynxStoredEvent *event, AsynxAggregate *aggregate)
{
	AsynxStoredEvent current = *event;
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = DescribeFold,
	};
	Fold		fold;

	if (event->schema_version < aggregate->schema_version)
		BeginFold(&fold, event->aggregate_id, aggregate);
	else
		BeginCurrentFold(&fold, event->aggregate_id, aggregate);
	callback.arg = &fold;
	error_context_stack = &callback;
	UpcastEvent(&fold, &current);
	ApplyEvent(&fold, current.version, current.position, current.patch);
	error_context_stack = callback.previous;
	aggregate->version = fold.version;
	aggregate->position = fold.position;
	aggregate->state = asynx_doc_jsonb(fold.doc);
	EndFold(&fold);
}

/*
 * Rebuilds an aggregate at exactly "version"; raises aggregate_not_found, or
 * 22023 if it has no such version.
 */
void
asynx_replay_aggregate_at(const text *aggregate_id, int64 version, AsynxAggregate *aggregate)
{
	asynx_replay_aggregate(aggregate_id, version, aggregate);

	if (!aggregate->exists)
		asynx_replay_refuse_unknown(aggregate_id);
	if (aggregate->version < version)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("aggregate \"%s\" has no version %lld",
						text_to_cstring(aggregate_id), (long long) version),
				 errdetail("The current version is %lld.", (long long) aggregate->version)));
}

/* The state as a SQL result, NULL before the first event. */
static Datum
ReturnState(FunctionCallInfo fcinfo, const AsynxAggregate *aggregate)
{
	if (aggregate->state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(aggregate->state);
}

/* The state before the first event that replay() returns: the fold's, or the seed. */
static Jsonb *
StateBefore(const AsynxAggregate *aggregate, Fold *fold)
{
	if (aggregate->version == 0 && aggregate->seed == NULL)
		return NULL;
	return asynx_doc_jsonb(fold->doc);
}

/* Adds the envelopes of versions from..to to the result of replay(). */
static void
Replay(const text *aggregate_id, int64 from_version, int64 to_version, ReturnSetInfo *result)
{
	AsynxAggregate aggregate;
	Fold		fold;

	asynx_replay_aggregate(aggregate_id, from_version - 1, &aggregate);
	if (!aggregate.exists || aggregate.version < from_version - 1)
		return;

	BeginFold(&fold, aggregate_id, &aggregate);
	fold.rows = result->setResult;
	fold.desc = result->setDesc;
	fold.previous = StateBefore(&aggregate, &fold);
	RunFold(&fold, &SelectEvents, ReplayEvent, to_version);
	EndFold(&fold);
}

PG_FUNCTION_INFO_V1(asynx_get_version);
PG_FUNCTION_INFO_V1(asynx_get_at);
PG_FUNCTION_INFO_V1(asynx_replay);

/* asynx.get(aggregate_id text, version bigint) returns jsonb; NULL at version 0 */
Datum
asynx_get_version(PG_FUNCTION_ARGS)
{
	text	   *aggregate_id = asynx_arg_aggregate_id(fcinfo, 0);
	int64		version = asynx_arg_bigint(fcinfo, 1, "version", 0);
	AsynxQueryScope scope;
	AsynxAggregate aggregate;

	asynx_query_begin(&scope);
	asynx_replay_aggregate_at(aggregate_id, version, &aggregate);
	asynx_query_end(&scope);

	return ReturnState(fcinfo, &aggregate);
}

/* asynx.get_at(aggregate_id text, at timestamptz) returns jsonb; NULL before the first event */
Datum
asynx_get_at(PG_FUNCTION_ARGS)
{
	text	   *aggregate_id = asynx_arg_aggregate_id(fcinfo, 0);
	TimestampTz at = asynx_arg_timestamp(fcinfo, 1, "at");
	Datum		values[] = {PointerGetDatum(aggregate_id), TimestampTzGetDatum(at)};
	AsynxQueryScope scope;
	AsynxAggregate aggregate;
	int64		version = 0;

	asynx_query_begin(&scope);
	(void) asynx_query_read(&SelectVersionAt, values, NULL, asynx_query_get_int64, &version);
	asynx_replay_aggregate_at(aggregate_id, version, &aggregate);
	asynx_query_end(&scope);

	return ReturnState(fcinfo, &aggregate);
}

/* asynx.replay(aggregate_id, from_version, to_version) returns setof asynx.event; 0 = the end */
Datum
asynx_replay(PG_FUNCTION_ARGS)
{
	text	   *aggregate_id = asynx_arg_aggregate_id(fcinfo, 0);
	int64		from_version = asynx_arg_bigint(fcinfo, 1, "from_version", 0);
	int64		to_version = asynx_arg_bigint(fcinfo, 2, "to_version", 0);
	AsynxQueryScope scope;

	InitMaterializedSRF(fcinfo, 0);
	asynx_query_begin(&scope);
	Replay(aggregate_id, Max(from_version, 1),
		   to_version == 0 ? ASYNX_REPLAY_ALL : to_version,
		   (ReturnSetInfo *) fcinfo->resultinfo);
	asynx_query_end(&scope);
	return (Datum) 0;
}
