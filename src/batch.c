/*
 * batch.c
 *	  append_many(): many events at once, all or nothing.
 *
 * 1. The array is read into requests as append() knows them.
 *
 * 2. The events are grouped by aggregate.  One statement reads the tip of each
 *	  stream: its last version, that event's position, its type.  Events that
 *	  repeat what is stored (only they can who carry an id, at a version that is
 *	  taken) are set aside.  Everything that is wrong with a stream is found here,
 *	  where it can be explained: a conflict, a gap, another type.
 *
 * 3. The batch is inserted in the order of the array, in chunks that bound the
 *	  memory, and so draws its positions in that order, after the tips were seen.
 *	  If a row lost a race for its version, as when the same batch was sent twice at
 *	  once, all of it is undone and step 2 is repeated: then it is explained, or was
 *	  a repetition.
 *
 * 4. As in append(), if anything was erased since before step 2, the tips must
 *	  still be the same under a snapshot newer than the INSERT (store.c, 3 and 4).
 *
 * 5. Then the subscriptions that are part of the write are run (inline.c).
 *
 * The order in which rows are inserted is the array's: two batches that touch
 * the same aggregates in another order can deadlock, and one is then aborted.
 */
#include "asynx.h"

#include "access/xact.h"
#include "aggtype.h"
#include "args.h"
#include "batch.h"
#include "catalog/pg_type.h"
#include "erasures.h"
#include "errors.h"
#include "inline.h"
#include "jsonbwriter.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "patch.h"
#include "query.h"
#include "store.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "value.h"
#include "uuid.h"

/* One element of the array. */
typedef struct BatchItem
{
	AsynxAppend append;			/* the request; its pointers may point into this struct */
	TimestampTz occurred_at;	/* given or, at the INSERT, now */
	pg_uuid_t	id;				/* given or random */
	text	   *type;			/* that of its stream */
	int32		schema_version; /* given or the type's */
	bool		repeated;		/* is stored already */
} BatchItem;

/* The items of one aggregate. */
typedef struct BatchStream
{
	BatchItem **items;			/* in the order of the array */
	int			count;
	int64		head;			/* current version, 0 if the aggregate does not exist */
	int64		tip;			/* position of the event at head */
	text	   *type;			/* its type, or that of its first item */
} BatchStream;

/* A batch under way. */
typedef struct Batch
{
	BatchItem  *items;			/* all elements of the array */
	int			count;
	BatchItem **sorted;			/* those to be stored, by aggregate, then by place in the array */
	int			pending;		/* how many these are */
	BatchStream *streams;		/* groups of sorted */
	int			nstreams;
	AsynxErasuresMark mark;		/* from before the tips were read */
	int			current;		/* element being looked at, for the error context; -1 = none */
} Batch;

/* How often a batch is tried that somebody was ahead of and nothing speaks against. */
#define ATTEMPTS 3

/* More is neither a timestamp nor a UUID, and too much for a message. */
#define LITERAL_BYTES 128

/* How many columns append_many() fills, and which of them may be NULL. */
#define BATCH_COLUMNS 9
#define METADATA_COLUMN 8

/* Rows that go through one INSERT; their arrays stay small, whatever the batch is. */
#define CHUNK_ROWS 500

/* Rows of the batch, by columns. */
typedef struct Chunk
{
	Datum		values[BATCH_COLUMNS][CHUNK_ROWS];
	bool		no_metadata[CHUNK_ROWS];
	int			rows;
} Chunk;

/*
 * The columns of a chunk as arrays.  The functions stand in the select list, where
 * they go through no tuplestore, and there is no ON CONFLICT, which costs each row.
 */
static AsynxQuery InsertBatch = {
	.sql = ASYNX_SQL("INSERT INTO asynx.events "
					 "(aggregate_id, version, id, aggregate_type, event_name, schema_version, "
					 " occurred_at, patch, metadata) "
					 "SELECT pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), "
					 " pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), "
					 " pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9)"),
	.nargs = BATCH_COLUMNS,
	.argtypes = {TEXTARRAYOID, INT8ARRAYOID, UUIDARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	INT4ARRAYOID, TIMESTAMPTZARRAYOID, JSONBARRAYOID, JSONBARRAYOID},
};

static AsynxQuery SelectTips = {
	.sql = ASYNX_SQL("SELECT f.n, h.version, h.position, h.aggregate_type "
					 "FROM pg_catalog.unnest($1) WITH ORDINALITY AS f (aggregate_id, n), "
					 "LATERAL (SELECT e.version, e.position, e.aggregate_type "
					 " FROM asynx.events e "
					 " WHERE e.aggregate_id OPERATOR(pg_catalog.=) f.aggregate_id "
					 " ORDER BY e.version DESC LIMIT 1) h"),
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
};

/*
 * A stream whose tip is another event by now; for a new one, an id that was
 * forgotten after the position of its version 1 was drawn.
 */
static AsynxQuery SelectOrphan = {
	.sql = ASYNX_SQL("SELECT f.n FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), "
					 " pg_catalog.unnest($3)) WITH ORDINALITY AS f (aggregate_id, head, tip, n) "
					 "LEFT JOIN asynx.events p "
					 " ON p.aggregate_id OPERATOR(pg_catalog.=) f.aggregate_id "
					 " AND p.version OPERATOR(pg_catalog.=) GREATEST(f.head, 1) "
					 "WHERE CASE WHEN f.head OPERATOR(pg_catalog.=) 0 "
					 "THEN EXISTS (SELECT FROM asynx.tombstones t "
					 " WHERE t.aggregate_id OPERATOR(pg_catalog.=) f.aggregate_id "
					 " AND t.position OPERATOR(pg_catalog.>) p.position) "
					 "ELSE COALESCE(p.position, 0) OPERATOR(pg_catalog.<>) f.tip END LIMIT 1"),
	.nargs = 3,
	.argtypes = {TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID},
};

/* Raises 22023 for a member that is not what it should be. */
pg_noreturn static void
RefuseMember(const char *name, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" must be %s", name, expected)));
}

/* A member that must be a string. */
static text *
MemberText(const AsynxValue *value, const char *name)
{
	if (value->tag != ASYNX_STRING)
		RefuseMember(name, "a string");
	return cstring_to_text_with_len(value->data, value->len);
}

/* Is one numeric below the other? */
static bool
IsBelow(Datum a, Datum b)
{
	return DatumGetBool(DirectFunctionCall2(numeric_lt, a, b));
}

/* Is a numeric this integer? */
static bool
IsEqual(Datum number, int64 integer)
{
	return DatumGetBool(DirectFunctionCall2(numeric_eq, number,
											NumericGetDatum(int64_to_numeric(integer))));
}

/* A member that must be an integer in a range. */
static int64
MemberInteger(const AsynxValue *value, const char *name, int64 least, int64 most)
{
	Datum		number = PointerGetDatum(value->data);
	int64		integer;
	bool		large;

	if (value->tag != ASYNX_NUMERIC)
		RefuseMember(name, "a number");

	/* most are small */
	integer = numeric_int4_opt_error(DatumGetNumeric(number), &large);
	if (!large && integer >= least && IsEqual(number, integer))
		return integer;

	if (IsBelow(number, NumericGetDatum(int64_to_numeric(least))) ||
		IsBelow(NumericGetDatum(int64_to_numeric(most)), number))
		RefuseMember(name, psprintf("between %lld and %lld", (long long) least, (long long) most));

	integer = DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
	if (!IsEqual(number, integer))
		RefuseMember(name, "an integer");
	return integer;
}

/* Any member as a jsonb of its own. */
static Jsonb *
MemberJsonb(const AsynxValue *value)
{
	AsynxWriter writer;

	asynx_writer_init(&writer, value->len + 64, ASYNX_JSONB_LIMIT);
	asynx_writer_root(&writer, value);
	return asynx_writer_finish(&writer);
}

/* Sets occurred_at from a string. */
static void
SetOccurredAt(BatchItem *item, const AsynxValue *value)
{
	char	   *when = text_to_cstring(MemberText(value, "occurred_at"));

	if (value->len > LITERAL_BYTES)
		RefuseMember("occurred_at", "a timestamp");
	item->occurred_at =
		DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(when),
												ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	asynx_check_occurred_at(item->occurred_at);
	item->append.occurred_at = &item->occurred_at;
}

/* Sets the id from a string. */
static void
SetId(BatchItem *item, const AsynxValue *value)
{
	char	   *id = text_to_cstring(MemberText(value, "id"));

	if (value->len > LITERAL_BYTES)
		RefuseMember("id", "a UUID");
	item->id = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(id)));
	item->append.id = &item->id;
}

/* Raises 22023 for a member that append() has no parameter for. */
pg_noreturn static void
RefuseUnknownMember(const AsynxValue *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown member \"%.*s\"",
					pg_mbcliplen(key->data, key->len, 60), key->data),
			 errhint("The members are those of asynx.append().")));
}

/* Takes one member of an element over into the request. */
static void
SetMember(BatchItem *item, const AsynxValue *key, const AsynxValue *value)
{
	AsynxAppend *append = &item->append;
	char		name[32];

	snprintf(name, sizeof(name), "%.*s", (int) key->len, key->data);
	if (strcmp(name, "patch") == 0)
		append->patch = MemberJsonb(value);
	else if (strcmp(name, "metadata") == 0)
		append->metadata = value->tag == ASYNX_NULL ? NULL : MemberJsonb(value);
	else if (strcmp(name, "aggregate_id") == 0)
		append->aggregate_id = MemberText(value, name);
	else if (strcmp(name, "event_name") == 0)
		append->event_name = MemberText(value, name);
	else if (strcmp(name, "version") == 0)
		append->version = MemberInteger(value, name, 1, PG_INT64_MAX);
	else if (strcmp(name, "aggregate_type") == 0)
		append->aggregate_type = value->tag == ASYNX_NULL ? NULL : MemberText(value, name);
	else if (strcmp(name, "schema_version") == 0)
		append->schema_version = value->tag == ASYNX_NULL ? 0 :
			MemberInteger(value, name, 1, PG_INT32_MAX);
	else if (strcmp(name, "occurred_at") == 0 && value->tag != ASYNX_NULL)
		SetOccurredAt(item, value);
	else if (strcmp(name, "id") == 0 && value->tag != ASYNX_NULL)
		SetId(item, value);
	else if (strcmp(name, "occurred_at") != 0 && strcmp(name, "id") != 0)
		RefuseUnknownMember(key);
}

/* Raises an error unless the request is complete and every value may be stored. */
static void
CheckRequest(const AsynxAppend *append)
{
	if (append->aggregate_id == NULL)
		RefuseMember("aggregate_id", "given");
	if (append->event_name == NULL)
		RefuseMember("event_name", "given");
	if (append->version == 0)
		RefuseMember("version", "given");
	if (append->patch == NULL)
		RefuseMember("patch", "given");

	asynx_check_aggregate_id(VARDATA_ANY(append->aggregate_id),
							 VARSIZE_ANY_EXHDR(append->aggregate_id));
	asynx_check_event_name(VARDATA_ANY(append->event_name), VARSIZE_ANY_EXHDR(append->event_name));
	if (append->aggregate_type != NULL)
		asynx_check_type_name(VARDATA_ANY(append->aggregate_type),
							  VARSIZE_ANY_EXHDR(append->aggregate_type));
	asynx_patch_check(append->patch);
}

/* Reads one element of the array. */
static void
ReadItem(const AsynxValue *element, BatchItem *item)
{
	AsynxMembers members;
	AsynxValue	key;
	AsynxValue	value;

	if (element->tag != ASYNX_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an event must be an object")));

	asynx_members_begin(&members, element);
	while (asynx_members_next(&members, &key, &value))
		SetMember(item, &key, &value);
	CheckRequest(&item->append);
}

/* Error context: which element of the array. */
static void
DescribeItem(void *arg)
{
	const Batch *batch = (const Batch *) arg;

	if (batch->current >= 0)
		errcontext("event %d of the batch, counted from 0", batch->current);
}

/* Reads the array. */
static void
ReadItems(const Jsonb *events, Batch *batch)
{
	AsynxValue	root = asynx_value_root(events);
	AsynxCursor cursor;
	AsynxValue	element;

	if (root.tag != ASYNX_ARRAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"events\" must be an array of objects")));

	batch->count = asynx_value_count(&root);
	batch->items = MemoryContextAllocHuge(CurrentMemoryContext,
										  Max(batch->count, 1) * sizeof(BatchItem));
	memset(batch->items, 0, batch->count * sizeof(BatchItem));
	batch->sorted = palloc_extended((batch->count + 1) * sizeof(BatchItem *), MCXT_ALLOC_HUGE);
	batch->streams = palloc_extended((batch->count + 1) * sizeof(BatchStream), MCXT_ALLOC_HUGE);

	asynx_elements_begin(&cursor, &root);
	for (batch->current = 0; asynx_cursor_next(&cursor, &element); batch->current++)
	{
		CHECK_FOR_INTERRUPTS();
		ReadItem(&element, &batch->items[batch->current]);
	}
}

/* Order of items: by aggregate id, then by place in the array. */
static int
CompareItems(const void *a, const void *b)
{
	const BatchItem *left = *(BatchItem *const *) a;
	const BatchItem *right = *(BatchItem *const *) b;
	const text *lid = left->append.aggregate_id;
	const text *rid = right->append.aggregate_id;
	int			order = asynx_key_compare(VARDATA_ANY(lid), VARSIZE_ANY_EXHDR(lid),
										  VARDATA_ANY(rid), VARSIZE_ANY_EXHDR(rid));

	if (order != 0)
		return order;
	return left < right ? -1 : (left > right);
}

/* Do the two items belong to one aggregate? */
static bool
SameAggregate(const BatchItem *a, const BatchItem *b)
{
	return asynx_same_bytes(a->append.aggregate_id, b->append.aggregate_id);
}

/* Groups what is to be stored into streams. */
static void
GroupStreams(Batch *batch)
{
	int			i;

	batch->pending = 0;
	batch->nstreams = 0;
	for (i = 0; i < batch->count; i++)
	{
		if (!batch->items[i].repeated)
			batch->sorted[batch->pending++] = &batch->items[i];
	}
	qsort(batch->sorted, batch->pending, sizeof(BatchItem *), CompareItems);

	for (i = 0; i < batch->pending; i++)
	{
		BatchStream *stream;

		if (i == 0 || !SameAggregate(batch->sorted[i - 1], batch->sorted[i]))
		{
			stream = &batch->streams[batch->nstreams++];
			memset(stream, 0, sizeof(*stream));
			stream->items = &batch->sorted[i];
		}
		batch->streams[batch->nstreams - 1].count++;
	}
}

/* An array of the type whose elements are of type "element"; "nulls" NULL for none. */
static Datum
MakeArray(Datum *values, bool *nulls, int count, Oid element)
{
	int			lower = 1;
	int16		length;
	bool		by_value;
	char		alignment;

	get_typlenbyvalalign(element, &length, &by_value, &alignment);
	return PointerGetDatum(construct_md_array(values, nulls, 1, &count, &lower, element,
											  length, by_value, alignment));
}

/* The streams' ids, as an array. */
static Datum
StreamIds(const Batch *batch)
{
	Datum	   *ids = palloc(Max(batch->nstreams, 1) * sizeof(Datum));
	int			i;

	for (i = 0; i < batch->nstreams; i++)
		ids[i] = PointerGetDatum(batch->streams[i].items[0]->append.aggregate_id);
	return MakeArray(ids, NULL, batch->nstreams, TEXTOID);
}

/* Row function of SelectTips. */
static bool
GetTip(TupleTableSlot *slot, void *arg)
{
	Batch	   *batch = (Batch *) arg;
	bool		isnull;
	BatchStream *stream = &batch->streams[DatumGetInt64(slot_getattr(slot, 1, &isnull)) - 1];

	stream->head = DatumGetInt64(slot_getattr(slot, 2, &isnull));
	stream->tip = DatumGetInt64(slot_getattr(slot, 3, &isnull));
	stream->type = DatumGetTextPCopy(slot_getattr(slot, 4, &isnull));
	return true;
}

/* Reads where each stream is; active snapshot needed. */
static void
ReadTips(Batch *batch)
{
	Datum		values[1];

	values[0] = StreamIds(batch);
	(void) asynx_query_read(&SelectTips, values, NULL, GetTip, batch);
}

/* Is the item stored already?  Active snapshot needed. */
static bool
IsStored(const BatchItem *item)
{
	AsynxStoredEvent stored;

	return asynx_store_read(item->append.aggregate_id, item->append.version, &stored) &&
		asynx_store_is_repeat(&item->append, &stored);
}

/* Sets aside what is stored already; true if there is anything.  Active snapshot needed. */
static bool
MarkRepeats(Batch *batch)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "asynx repeats",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	bool		any = false;
	int			i;

	for (i = 0; i < batch->nstreams; i++)
	{
		BatchStream *stream = &batch->streams[i];
		int			n;

		for (n = 0; n < stream->count; n++)
		{
			BatchItem  *item = stream->items[n];

			if (item->append.id == NULL || item->append.version > stream->head)
				continue;
			item->repeated = IsStored(item);
			any |= item->repeated;
			MemoryContextReset(scratch);
		}
	}

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return any;
}

/* The newest there is of a type, also under REPEATABLE READ; active snapshot needed. */
static bool
FindType(const text *name, AsynxType *type)
{
	return IsolationUsesXactSnapshot() ?
		asynx_type_read(name, type) : asynx_type_find(name, type);
}

/* Under REPEATABLE READ: raises 40001 if the stream is not what the transaction sees. */
static void
CheckNotMoved(const BatchStream *stream)
{
	const text *aggregate_id = stream->items[0]->append.aggregate_id;
	int64		seen;

	asynx_store_check_not_moved(aggregate_id, stream->head);
	if (!IsolationUsesXactSnapshot() || stream->head == 0)
		return;

	PushActiveSnapshot(GetTransactionSnapshot());
	seen = asynx_store_position(aggregate_id, stream->head);
	PopActiveSnapshot();
	if (seen != stream->tip)
		asynx_store_refuse_moved(aggregate_id);
}

/* Settles the type of a stream and the schema version of its items. */
static void
SettleTypes(Batch *batch, BatchStream *stream)
{
	AsynxType	type;
	int			i;

	if (stream->type == NULL)
		stream->type = stream->items[0]->append.aggregate_type;
	if (stream->type == NULL)
		stream->type = cstring_to_text(ASYNX_DEFAULT_TYPE);
	if (!FindType(stream->type, &type) && stream->head == 0)
		asynx_type_refuse_unknown(stream->type);

	for (i = 0; i < stream->count; i++)
	{
		BatchItem  *item = stream->items[i];

		batch->current = item - batch->items;
		asynx_store_check_type(&item->append, stream->type);
		item->type = stream->type;
		item->schema_version = item->append.schema_version != 0 ?
			item->append.schema_version : type.schema_version;
	}
}

/* Raises a conflict or a gap unless the items continue their stream. */
static void
CheckVersions(Batch *batch, const BatchStream *stream)
{
	int			i;

	for (i = 0; i < stream->count; i++)
	{
		batch->current = stream->items[i] - batch->items;
		asynx_store_check_next(&stream->items[i]->append, stream->head + i);
	}
}

/* Raises what is wrong with the batch; active snapshot needed. */
static void
CheckStreams(Batch *batch)
{
	int			i;

	for (i = 0; i < batch->nstreams; i++)
	{
		BatchStream *stream = &batch->streams[i];

		CHECK_FOR_INTERRUPTS();
		batch->current = stream->items[0] - batch->items;
		CheckNotMoved(stream);
		CheckVersions(batch, stream);
		SettleTypes(batch, stream);
	}
}

/* The streams' ids, heads and tips, as three arrays. */
static void
StreamColumns(const Batch *batch, Datum *arrays)
{
	Datum	   *heads = palloc(batch->nstreams * sizeof(Datum));
	Datum	   *tips = palloc(batch->nstreams * sizeof(Datum));
	int			i;

	for (i = 0; i < batch->nstreams; i++)
	{
		heads[i] = Int64GetDatum(batch->streams[i].head);
		tips[i] = Int64GetDatum(batch->streams[i].tip);
	}
	arrays[0] = StreamIds(batch);
	arrays[1] = MakeArray(heads, NULL, batch->nstreams, INT8OID);
	arrays[2] = MakeArray(tips, NULL, batch->nstreams, INT8OID);
}

/* The values of an item's columns, in the order of the INSERT. */
static void
ItemColumns(BatchItem *item, Datum *columns)
{
	AsynxAppend *append = &item->append;

	if (append->id == NULL)
		item->id = asynx_uuid_random();
	if (append->occurred_at == NULL)
		item->occurred_at = GetCurrentTimestamp();

	columns[0] = PointerGetDatum(append->aggregate_id);
	columns[1] = Int64GetDatum(append->version);
	columns[2] = UUIDPGetDatum(&item->id);
	columns[3] = PointerGetDatum(item->type);
	columns[4] = PointerGetDatum(append->event_name);
	columns[5] = Int32GetDatum(item->schema_version);
	columns[6] = TimestampTzGetDatum(item->occurred_at);
	columns[7] = PointerGetDatum(append->patch);
	columns[8] = PointerGetDatum(append->metadata);
}

/* Puts the next items that are to be stored into the chunk; false if there are none. */
static bool
FillChunk(Batch *batch, int *next, Chunk *chunk)
{
	chunk->rows = 0;
	for (; *next < batch->count && chunk->rows < CHUNK_ROWS; (*next)++)
	{
		BatchItem  *item = &batch->items[*next];
		Datum		columns[BATCH_COLUMNS];
		int			c;

		if (item->repeated)
			continue;
		ItemColumns(item, columns);
		for (c = 0; c < BATCH_COLUMNS; c++)
			chunk->values[c][chunk->rows] = columns[c];
		chunk->no_metadata[chunk->rows++] = (item->append.metadata == NULL);
	}
	return chunk->rows > 0;
}

/* Inserts the rows of a chunk. */
static void
InsertChunk(Chunk *chunk)
{
	static const Oid types[BATCH_COLUMNS] = {
		TEXTOID, INT8OID, UUIDOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, JSONBOID, JSONBOID
	};
	Datum		arrays[BATCH_COLUMNS];
	uint64		stored;
	int			c;

	for (c = 0; c < BATCH_COLUMNS; c++)
		arrays[c] = MakeArray(chunk->values[c], c == METADATA_COLUMN ? chunk->no_metadata : NULL,
							  chunk->rows, types[c]);
	stored = asynx_query_write(&InsertBatch, arrays, NULL, NULL, NULL);
	if (stored != (uint64) chunk->rows)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_VERSION_CONFLICT),
				 errmsg("only %llu of %d events could be stored",
						(unsigned long long) stored, chunk->rows),
				 errdetail("A trigger of the event table was in the way.")));
}

/* Inserts what is pending, a chunk after the other; a unit of work. */
static void
InsertItems(void *arg)
{
	Batch	   *batch = (Batch *) arg;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "asynx batch chunk",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = CurrentMemoryContext;
	Chunk	   *chunk = palloc(sizeof(Chunk));
	int			next = 0;

	while (FillChunk(batch, &next, chunk))
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(scratch);
		InsertChunk(chunk);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(scratch);
	}

	MemoryContextDelete(scratch);
	pfree(chunk);
}

/* Raises an error if a stream is not what the INSERT continued any more. */
static void
CheckPredecessors(const Batch *batch)
{
	Datum		values[3];
	int64		n = 0;

	StreamColumns(batch, values);
	PushActiveSnapshot(GetLatestSnapshot());
	(void) asynx_query_read(&SelectOrphan, values, NULL, asynx_query_get_int64, &n);
	PopActiveSnapshot();
	if (n > 0)
		asynx_store_refuse_erased(&batch->streams[n - 1].items[0]->append);
}

/* Every item is to be stored, as far as is known. */
static void
ForgetRepeats(Batch *batch)
{
	int			i;

	for (i = 0; i < batch->count; i++)
		batch->items[i].repeated = false;
}

/* Looks at the newest there is: sets repetitions aside and checks the rest. */
static void
Look(Batch *batch)
{
	batch->mark = asynx_erasures_mark();
	PushActiveSnapshot(GetLatestSnapshot());
	ForgetRepeats(batch);
	GroupStreams(batch);
	ReadTips(batch);
	if (MarkRepeats(batch))
	{
		GroupStreams(batch);
		ReadTips(batch);
	}
	CheckStreams(batch);
	PopActiveSnapshot();
	batch->current = -1;
}

/* Raises an error if something was erased while the batch was stored. */
static void
CheckNotErased(const Batch *batch)
{
	if (IsolationUsesXactSnapshot() || asynx_erasures_since(&batch->mark))
		CheckPredecessors(batch);
}

/*
 * Looks and stores until it is done; returns how many events were stored.
 *
 * If a version was taken meanwhile, the next look explains it.  If nothing does, it
 * is not our key that is violated.
 */
static int64
LookAndStore(Batch *batch)
{
	ErrorData  *error = NULL;
	int			attempt;

	for (attempt = 0; attempt < ATTEMPTS; attempt++)
	{
		CHECK_FOR_INTERRUPTS();
		Look(batch);
		if (batch->pending == 0)
			return 0;
		error = asynx_query_attempt(InsertItems, asynx_query_is_taken, batch);
		if (error == NULL)
		{
			CheckNotErased(batch);
			return batch->pending;
		}
	}
	ReThrowError(error);
}

/* Runs the subscriptions that are part of the write, for what was stored. */
static void
RunInline(const Batch *batch)
{
	AsynxInlineItem *items = MemoryContextAllocHuge(CurrentMemoryContext,
													batch->pending * sizeof(AsynxInlineItem));
	int			count = 0;
	int			i;

	for (i = 0; i < batch->count; i++)
	{
		const BatchItem *item = &batch->items[i];

		if (item->repeated)
			continue;
		items[count].aggregate_id = item->append.aggregate_id;
		items[count].version = item->append.version;
		items[count].event_name = item->append.event_name;
		count++;
	}
	asynx_inline_run_many(items, count);
	pfree(items);
}

/*
 * Appends the events of a jsonb array, all or nothing, and returns how many it
 * stored; repetitions are not among them.  Raises what append() raises.
 */
int64
asynx_batch_append(const Jsonb *events)
{
	Batch		batch = {.current = -1};
	int64		stored;
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = DescribeItem,
		.arg = &batch,
	};

	error_context_stack = &callback;
	ReadItems(events, &batch);
	stored = LookAndStore(&batch);
	if (stored > 0)
		RunInline(&batch);
	error_context_stack = callback.previous;
	return stored;
}

PG_FUNCTION_INFO_V1(asynx_append_many);

/* asynx.append_many(events jsonb) returns bigint */
Datum
asynx_append_many(PG_FUNCTION_ARGS)
{
	Jsonb	   *events = asynx_arg_jsonb(fcinfo, 0, "events");
	AsynxQueryScope scope;
	int64		stored;

	asynx_query_begin_write(&scope, "asynx.append_many()");
	stored = asynx_batch_append(events);
	asynx_query_end(&scope);

	PG_RETURN_INT64(stored);
}
