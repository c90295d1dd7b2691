/*
 * store.c
 *	  Writes to the log: how an event is appended.
 *
 * 1. An append takes no lock but the event table's, as any INSERT does; the
 *	  primary key (aggregate_id, version) decides who wins.  The INSERT selects
 *	  from version - 1, so the position is drawn in the statement whose snapshot
 *	  saw the predecessor.
 *
 *	  Where this session stored the predecessor itself, it knows that (tips.c).
 *
 * 2. If the INSERT stored nothing, a new snapshot tells why: the same event is
 *	  there already (a safe retry), the version is taken, there is a gap, or the
 *	  type is another.  If nothing of that is so any more, it is tried again.
 *
 * 3. An INSERT may have waited for a transaction that erased the aggregate, and
 *	  perhaps began it again (erase.c).  So if there was an erasure anywhere
 *	  (erasures.c), the append looks once more, with a snapshot newer than its
 *	  INSERT, whether the stream still leads up to it.  Thus no event ever stands
 *	  without its predecessors, and within a stream positions ascend as versions
 *	  do.
 *
 * 4. Under REPEATABLE READ and SERIALIZABLE the INSERT sees the transaction's
 *	  snapshot.  A stream or a type that changed after it is a serialization
 *	  failure, 40001, and not the conflict or gap it looks like: the caller must
 *	  begin again.  What 2 and 3 look at is the newest there is, and every append
 *	  compares the predecessor with it.
 *
 * 5. Whoever writes locks the event table first (asynx_query_begin_write) and
 *	  looks afterwards; dropping a type locks it against writers (aggtype.c).
 */
#include "asynx.h"

#include "access/xact.h"
#include "aggtype.h"
#include "args.h"
#include "catalog/pg_type.h"
#include "erasures.h"
#include "errors.h"
#include "miscadmin.h"
#include "patch.h"
#include "query.h"
#include "store.h"
#include "tips.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "uuid.h"

/* Parameters of both INSERTs, in this order. */
#define INSERT_NARGS 9
#define INSERT_ARGTYPES \
	{TEXTOID, INT8OID, UUIDOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, JSONBOID, JSONBOID}

/* An event whose predecessor is known to be there, or that needs none. */
static AsynxQuery InsertKnown = {
	.sql = ASYNX_SQL("INSERT INTO asynx.events AS n "
					 "(aggregate_id, version, id, aggregate_type, event_name, schema_version, "
					 " occurred_at, patch, metadata) "
					 "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
					 "ON CONFLICT (aggregate_id, version) DO NOTHING "
					 "RETURNING n.position, n.aggregate_type, n.schema_version"),
	.nargs = INSERT_NARGS,
	.argtypes = INSERT_ARGTYPES,
};

/* Any other event: it inherits the type of its predecessor. */
static AsynxQuery InsertNext = {
	.sql = ASYNX_SQL("INSERT INTO asynx.events AS n "
					 "(aggregate_id, version, id, aggregate_type, event_name, schema_version, "
					 " occurred_at, patch, metadata) "
					 "SELECT $1, $2, $3, p.aggregate_type, $5, "
					 " COALESCE($6, asynx.schema_version(p.aggregate_type)), $7, $8, $9 "
					 "FROM asynx.events p "
					 "WHERE p.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND p.version OPERATOR(pg_catalog.=) ($2 OPERATOR(pg_catalog.-) 1) "
					 "AND ($4 IS NULL OR p.aggregate_type OPERATOR(pg_catalog.=) $4) "
					 "ON CONFLICT (aggregate_id, version) DO NOTHING "
					 "RETURNING n.position, n.aggregate_type, n.schema_version"),
	.nargs = INSERT_NARGS,
	.argtypes = INSERT_ARGTYPES,
};

static AsynxQuery SelectHead = {
	.sql = ASYNX_SQL("SELECT e.version FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "ORDER BY e.version DESC LIMIT 1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery SelectVersion = {
	.sql = ASYNX_SQL("SELECT " ASYNX_STORED_EVENT_COLUMNS " FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.version OPERATOR(pg_catalog.=) $2"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery SelectPosition = {
	.sql = ASYNX_SQL("SELECT e.position FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.version OPERATOR(pg_catalog.=) $2"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static AsynxQuery SelectId = {
	.sql = ASYNX_SQL("SELECT " ASYNX_STORED_EVENT_COLUMNS " FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.id OPERATOR(pg_catalog.=) $2 LIMIT 1"),
	.nargs = 2,
	.argtypes = {TEXTOID, UUIDOID},
};

/* A version 1 whose position was drawn before its id was forgotten comes too late. */
static AsynxQuery SelectLaterTombstone = {
	.sql = ASYNX_SQL("SELECT t.position FROM asynx.tombstones t "
					 "WHERE t.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND t.position OPERATOR(pg_catalog.>) $2 LIMIT 1"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

/* Raises version_conflict or version_gap unless the request continues a stream at "head". */
void
asynx_store_check_next(const AsynxAppend *request, int64 head)
{
	if (request->version <= head)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_VERSION_CONFLICT),
				 errmsg("version %lld of aggregate \"%s\" is taken",
						(long long) request->version, text_to_cstring(request->aggregate_id)),
				 errdetail("The current version is %lld.", (long long) head),
				 errhint("Read the aggregate again and append to its current version.")));
	if (request->version > head + 1)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_VERSION_GAP),
				 errmsg("version %lld of aggregate \"%s\" would leave a gap",
						(long long) request->version, text_to_cstring(request->aggregate_id)),
				 errdetail("The current version is %lld.", (long long) head)));
}

/* Raises 40001: the stream moved after the transaction's snapshot. */
void
asynx_store_refuse_moved(const text *aggregate_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access to aggregate \"%s\"",
					text_to_cstring(aggregate_id)),
			 errdetail("It, or its type, changed after this transaction began."),
			 errhint("The transaction might succeed if retried.")));
}

/* Raises version_conflict: the event could not be stored, and nothing tells why. */
void
asynx_store_refuse_attempts(const text *aggregate_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_VERSION_CONFLICT),
			 errmsg("could not append to aggregate \"%s\"", text_to_cstring(aggregate_id)),
			 errdetail("Other transactions, or a trigger, were in the way %d times.",
					   ASYNX_APPEND_ATTEMPTS)));
}

/* Row function: a whole stored event. */
static bool
GetEvent(TupleTableSlot *slot, void *arg)
{
	asynx_event_from_slot(slot, (AsynxStoredEvent *) arg);
	return false;
}

/* Row function: what the INSERT decided. */
static bool
GetInserted(TupleTableSlot *slot, void *arg)
{
	AsynxStoredEvent *stored = (AsynxStoredEvent *) arg;
	bool		isnull;

	stored->position = DatumGetInt64(slot_getattr(slot, 1, &isnull));
	stored->aggregate_type = DatumGetTextPCopy(slot_getattr(slot, 2, &isnull));
	stored->schema_version = DatumGetInt32(slot_getattr(slot, 3, &isnull));
	return true;
}

/* The last version of an aggregate under the active snapshot, 0 if it has none. */
int64
asynx_store_head(const text *aggregate_id)
{
	Datum		values[] = {PointerGetDatum(aggregate_id)};
	int64		head = 0;

	(void) asynx_query_read(&SelectHead, values, NULL, asynx_query_get_int64, &head);
	return head;
}

/* Reads one version under the active snapshot; false if it is not there. */
bool
asynx_store_read(const text *aggregate_id, int64 version, AsynxStoredEvent *event)
{
	Datum		values[] = {PointerGetDatum(aggregate_id), Int64GetDatum(version)};

	return asynx_query_read(&SelectVersion, values, NULL, GetEvent, event) > 0;
}

/* The position of a version under the active snapshot, 0 if it is not there. */
int64
asynx_store_position(const text *aggregate_id, int64 version)
{
	Datum		values[] = {PointerGetDatum(aggregate_id), Int64GetDatum(version)};
	int64		position = 0;

	(void) asynx_query_read(&SelectPosition, values, NULL, asynx_query_get_int64, &position);
	return position;
}

/* Finds an event of an aggregate that has this id; false if there is none. */
bool
asynx_store_find(const text *aggregate_id, const pg_uuid_t *id, AsynxStoredEvent *event)
{
	Datum		values[] = {PointerGetDatum(aggregate_id), UUIDPGetDatum(id)};

	return asynx_query_read(&SelectId, values, NULL, GetEvent, event) > 0;
}

/*
 * Is the request a repetition of what is stored?
 *
 * Only a caller who gave an id can repeat.  What the caller left to asynx
 * cannot differ.
 */
bool
asynx_store_is_repeat(const AsynxAppend *request, const AsynxStoredEvent *stored)
{
	return request->id != NULL &&
		memcmp(request->id, &stored->id, UUID_LEN) == 0 &&
		request->version == stored->version &&
		asynx_same_bytes(request->event_name, stored->event_name) &&
		asynx_same_bytes(request->patch, stored->patch) &&
		asynx_same_bytes(request->metadata, stored->metadata) &&
		(request->aggregate_type == NULL ||
		 asynx_same_bytes(request->aggregate_type, stored->aggregate_type)) &&
		(request->occurred_at == NULL || *request->occurred_at == stored->occurred_at) &&
		(request->schema_version == 0 || request->schema_version == stored->schema_version);
}

/* Copies what the caller decides; the INSERT fills in the rest. */
static void
FillStored(const AsynxAppend *request, AsynxStoredEvent *stored)
{
	memset(stored, 0, sizeof(*stored));
	stored->id = request->id != NULL ? *request->id : asynx_uuid_random();
	stored->aggregate_id = request->aggregate_id;
	stored->version = request->version;
	stored->aggregate_type = request->aggregate_type;
	stored->event_name = request->event_name;
	stored->schema_version = request->schema_version;
	stored->occurred_at = request->occurred_at != NULL ?
		*request->occurred_at : GetCurrentTimestamp();
	stored->patch = request->patch;
	stored->metadata = request->metadata;
}

/* Gives the event its type and schema version; false if there is no such type. */
static bool
SettleType(AsynxStoredEvent *stored, text *aggregate_type)
{
	AsynxType	type;

	bool		found = asynx_type_find(aggregate_type, &type);

	stored->aggregate_type = aggregate_type;
	if (stored->schema_version == 0)
		stored->schema_version = type.schema_version;
	return found;
}

/* Inserts the event; false if the statement stored nothing. */
static bool
Insert(AsynxQuery *query, AsynxStoredEvent *stored)
{
	Datum		values[INSERT_NARGS];
	char		nulls[INSERT_NARGS];

	memset(nulls, ' ', sizeof(nulls));
	values[0] = PointerGetDatum(stored->aggregate_id);
	values[1] = Int64GetDatum(stored->version);
	values[2] = UUIDPGetDatum(&stored->id);
	values[3] = PointerGetDatum(stored->aggregate_type);
	nulls[3] = stored->aggregate_type == NULL ? 'n' : ' ';
	values[4] = PointerGetDatum(stored->event_name);
	values[5] = Int32GetDatum(stored->schema_version);
	nulls[5] = stored->schema_version == 0 ? 'n' : ' ';
	values[6] = TimestampTzGetDatum(stored->occurred_at);
	values[7] = PointerGetDatum(stored->patch);
	values[8] = PointerGetDatum(stored->metadata);
	nulls[8] = stored->metadata == NULL ? 'n' : ' ';

	return asynx_query_write(query, values, nulls, GetInserted, stored) > 0;
}

/*
 * Under REPEATABLE READ: does the transaction see the aggregate?  If it was erased
 * meanwhile, the primary key lets a first event in that does not fit what the
 * transaction sees.
 */
static bool
IsSeen(const text *aggregate_id)
{
	bool		seen;

	if (!IsolationUsesXactSnapshot())
		return false;

	PushActiveSnapshot(GetTransactionSnapshot());
	seen = asynx_store_position(aggregate_id, 1) > 0;
	PopActiveSnapshot();
	return seen;
}

/* Tries to insert the first event of an aggregate. */
static bool
TryInsertFirst(AsynxStoredEvent *stored)
{
	text	   *type = stored->aggregate_type;

	if (type == NULL)
		type = cstring_to_text(ASYNX_DEFAULT_TYPE);
	return !IsSeen(stored->aggregate_id) && SettleType(stored, type) &&
		Insert(&InsertKnown, stored);
}

/* Tries to insert an event that continues a stream. */
static bool
TryInsertNext(AsynxStoredEvent *stored)
{
	text	   *type = NULL;

	if (!IsolationUsesXactSnapshot())
		type = asynx_tips_find(stored->aggregate_id, stored->version - 1);
	if (type == NULL)
		return Insert(&InsertNext, stored);

	if (stored->aggregate_type != NULL && !asynx_same_bytes(stored->aggregate_type, type))
		return false;
	(void) SettleType(stored, type);
	return Insert(&InsertKnown, stored);
}

/* Under REPEATABLE READ: raises 40001 if the stream's head is not what the transaction sees. */
void
asynx_store_check_not_moved(const text *aggregate_id, int64 head)
{
	int64		seen;

	if (!IsolationUsesXactSnapshot())
		return;

	PushActiveSnapshot(GetTransactionSnapshot());
	seen = asynx_store_head(aggregate_id);
	PopActiveSnapshot();
	if (seen != head)
		asynx_store_refuse_moved(aggregate_id);
}

/* Raises 22023 if the type of a first event is unknown; active snapshot needed. */
static void
CheckTypeKnown(const text *name)
{
	AsynxType	type;

	if (name != NULL && !asynx_type_read(name, &type))
		asynx_type_refuse_unknown(name);
}

/* Raises 22023 if the request asks for another type than its stream's. */
void
asynx_store_check_type(const AsynxAppend *request, const text *type)
{
	if (request->aggregate_type == NULL || asynx_same_bytes(request->aggregate_type, type))
		return;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("aggregate \"%s\" is of type \"%s\", not \"%s\"",
					text_to_cstring(request->aggregate_id), text_to_cstring(type),
					text_to_cstring(request->aggregate_type))));
}

/* Raises 22023 if the type of the request does not fit its stream; active snapshot needed. */
static void
CheckStreamType(const AsynxAppend *request)
{
	AsynxStoredEvent predecessor;

	if (request->version == 1)
		CheckTypeKnown(request->aggregate_type);
	else if (asynx_store_read(request->aggregate_id, request->version - 1, &predecessor))
		asynx_store_check_type(request, predecessor.aggregate_type);
}

/*
 * Tells why the INSERT stored nothing: raises the reason, or returns true with
 * the event that is there already if the request repeats it.  False: nothing
 * speaks against the event any more.
 */
static bool
ExplainRefusal(const AsynxAppend *request, AsynxStoredEvent *stored)
{
	bool		repeated;
	int64		head;

	PushActiveSnapshot(GetLatestSnapshot());
	repeated = request->id != NULL &&
		asynx_store_read(request->aggregate_id, request->version, stored) &&
		asynx_store_is_repeat(request, stored);
	if (!repeated)
	{
		head = asynx_store_head(request->aggregate_id);
		asynx_store_check_not_moved(request->aggregate_id, head);
		asynx_store_check_next(request, head);
		CheckStreamType(request);
	}
	PopActiveSnapshot();

	/* the INSERT saw something older than this, and would see it again */
	if (!repeated && IsolationUsesXactSnapshot())
		asynx_store_refuse_moved(request->aggregate_id);
	return repeated;
}

/* Raises a conflict, or 40001: the aggregate was erased while its event was inserted. */
void
asynx_store_refuse_erased(const AsynxAppend *request)
{
	if (IsolationUsesXactSnapshot())
		asynx_store_refuse_moved(request->aggregate_id);
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_VERSION_CONFLICT),
			 errmsg("aggregate \"%s\" was erased while version %lld was appended",
					text_to_cstring(request->aggregate_id), (long long) request->version),
			 errhint("Read the aggregate again; it may have begun anew.")));
}

/* Has the id been forgotten since the position of this version 1 was drawn? */
static bool
IsForgotten(const AsynxStoredEvent *stored)
{
	Datum		values[] = {
		PointerGetDatum(stored->aggregate_id), Int64GetDatum(stored->position)
	};

	return asynx_query_read(&SelectLaterTombstone, values, NULL, NULL, NULL) > 0;
}

/*
 * Does the stream still have what the new event continues?  An event of the same
 * version that came later is another one: the stream was erased and begun anew.
 */
static bool
ContinuesStream(const AsynxStoredEvent *stored)
{
	AsynxStoredEvent predecessor;

	return asynx_store_read(stored->aggregate_id, stored->version - 1, &predecessor) &&
		predecessor.position < stored->position &&
		asynx_same_bytes(predecessor.aggregate_type, stored->aggregate_type);
}

/* Raises an error if what the new event continues was erased meanwhile. */
static void
CheckNotErased(const AsynxAppend *request, const AsynxStoredEvent *stored)
{
	bool		good;

	PushActiveSnapshot(GetLatestSnapshot());
	good = stored->version > 1 ? ContinuesStream(stored) : !IsForgotten(stored);
	PopActiveSnapshot();

	if (!good)
		asynx_store_refuse_erased(request);
}

/*
 * Under REPEATABLE READ: raises 40001 if what the transaction sees of the
 * predecessor, or of the type of a first event, is not so any more.
 */
static void
CheckNotMoved(const AsynxStoredEvent *stored)
{
	AsynxType	type;
	int64		seen;
	bool		good;

	PushActiveSnapshot(GetTransactionSnapshot());
	seen = asynx_store_position(stored->aggregate_id, stored->version - 1);
	PopActiveSnapshot();

	PushActiveSnapshot(GetLatestSnapshot());
	good = asynx_store_position(stored->aggregate_id, stored->version - 1) == seen &&
		(stored->version > 1 || asynx_type_read(stored->aggregate_type, &type));
	PopActiveSnapshot();

	if (!good)
		asynx_store_refuse_moved(stored->aggregate_id);
}

/*
 * Appends the event if its version is free; false if it is not, or if its
 * predecessor or its type is not there.  Raises only what cannot be mended by
 * looking again.
 */
bool
asynx_store_try_append(const AsynxAppend *request, AsynxStoredEvent *stored)
{
	AsynxErasuresMark mark = asynx_erasures_mark();

	FillStored(request, stored);
	if (!(stored->version == 1 ? TryInsertFirst(stored) : TryInsertNext(stored)))
		return false;

	if (asynx_erasures_since(&mark))
		CheckNotErased(request, stored);
	if (IsolationUsesXactSnapshot())
		CheckNotMoved(stored);
	asynx_tips_remember(stored->aggregate_id, stored->version, stored->aggregate_type, &mark);
	return true;
}

/*
 * Appends an event and returns true, or finds the one that the request repeats;
 * "stored" gets it.  Raises version_conflict, version_gap, 22023 or 40001.  The
 * caller has checked the patch.
 */
bool
asynx_store_append(const AsynxAppend *request, AsynxStoredEvent *stored)
{
	int			attempt;

	for (attempt = 0; attempt < ASYNX_APPEND_ATTEMPTS; attempt++)
	{
		if (asynx_store_try_append(request, stored))
			return true;
		if (ExplainRefusal(request, stored))
			return false;
		CHECK_FOR_INTERRUPTS();
	}
	asynx_store_refuse_attempts(request->aggregate_id);
}
