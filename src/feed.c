/*
 * feed.c
 *	  Reads the log: one aggregate's events, the feed of all, the list of
 *	  aggregates.
 *
 * The feed is read up to the safe position (inflight.c).  The mark comes first,
 * the snapshot after it, in two steps: a snapshot older than the mark would
 * miss events below it.  So feed functions are VOLATILE, take their own
 * snapshot, and are refused under REPEATABLE READ and SERIALIZABLE, where none
 * can be taken.
 *
 * A standby has no registry of positions in flight; there the mark is what the
 * primary last wrote into asynx.feed_mark.  Commits replay in WAL order, so a
 * mark that is visible has its events visible.
 */
#include "asynx.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "args.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "errors.h"
#include "event.h"
#include "feed.h"
#include "funcapi.h"
#include "inflight.h"
#include "pattern.h"
#include "query.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

/* Also serves read_from(), with the largest count there is. */
static AsynxQuery SelectRange = {
	.sql = ASYNX_SQL("SELECT " ASYNX_STORED_EVENT_COLUMNS " FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.version OPERATOR(pg_catalog.>=) $2 "
					 "ORDER BY e.version LIMIT $3"),
	.nargs = 3,
	.argtypes = {TEXTOID, INT8OID, INT8OID},
};

static AsynxQuery SelectCount = {
	.sql = ASYNX_SQL("SELECT pg_catalog.count(*) FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.version OPERATOR(pg_catalog.>=) $2"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

/*
 * Forgotten aggregates have a place in the feed, as an event without content.  The
 * conditions stand outside of the union: only then does the planner merge the two
 * indexes instead of sorting all that is left of the feed.
 */
static AsynxQuery SelectFeed = {
	.sql = ASYNX_SQL("SELECT f.* FROM ("
					 "SELECT " ASYNX_STORED_EVENT_COLUMNS " FROM asynx.events e "
					 "UNION ALL "
					 "SELECT t.id, t.aggregate_id, "
					 " '" ASYNX_FORGET_EVENT "'::pg_catalog.text COLLATE pg_catalog.\"C\", "
					 " t.version, t.schema_version, t.forgotten_at, t.position, "
					 " t.aggregate_type, NULL::pg_catalog.jsonb, '[]'::pg_catalog.jsonb "
					 "FROM asynx.tombstones t) AS f "
					 "WHERE f.position OPERATOR(pg_catalog.>) $1 "
					 "AND f.position OPERATOR(pg_catalog.<=) $2 "
					 "ORDER BY f.position"),
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID},
};

/* One event of the feed. */
static AsynxQuery SelectOne = {
	.sql = ASYNX_SQL("SELECT " ASYNX_STORED_EVENT_COLUMNS " FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.version OPERATOR(pg_catalog.=) $2 "
					 "AND e.position OPERATOR(pg_catalog.=) $3 "
					 "UNION ALL "
					 "SELECT t.id, t.aggregate_id, "
					 " '" ASYNX_FORGET_EVENT "'::pg_catalog.text COLLATE pg_catalog.\"C\", "
					 " t.version, t.schema_version, t.forgotten_at, t.position, "
					 " t.aggregate_type, NULL::pg_catalog.jsonb, '[]'::pg_catalog.jsonb "
					 "FROM asynx.tombstones t "
					 "WHERE t.position OPERATOR(pg_catalog.=) $3"),
	.nargs = 3,
	.argtypes = {TEXTOID, INT8OID, INT8OID},
};

static AsynxQuery SelectMark = {
	.sql = ASYNX_SQL("SELECT m.position FROM asynx.feed_mark m"),
	.nargs = 0,
};

/*
 * All aggregates: one descent of the primary key for each, however long its
 * stream is.
 */
static AsynxQuery SelectAggregates = {
	.sql = ASYNX_SQL("WITH RECURSIVE ids AS ("
					 "(SELECT e.aggregate_id FROM asynx.events e "
					 " WHERE e.aggregate_id OPERATOR(pg_catalog.>) $1 "
					 " ORDER BY e.aggregate_id LIMIT 1) "
					 "UNION ALL "
					 "SELECT n.aggregate_id FROM ids, LATERAL "
					 "(SELECT e.aggregate_id FROM asynx.events e "
					 " WHERE e.aggregate_id OPERATOR(pg_catalog.>) ids.aggregate_id "
					 " ORDER BY e.aggregate_id LIMIT 1) n) "
					 "SELECT h.aggregate_id, h.aggregate_type, h.version, h.occurred_at "
					 "FROM ids, LATERAL "
					 "(SELECT e.aggregate_id, e.aggregate_type, e.version, e.occurred_at "
					 " FROM asynx.events e "
					 " WHERE e.aggregate_id OPERATOR(pg_catalog.=) ids.aggregate_id "
					 " ORDER BY e.version DESC LIMIT 1) h "
					 "LIMIT $2"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT4OID},
};

/* The aggregates of one type, found by the index on first events. */
static AsynxQuery SelectAggregatesOfType = {
	.sql = ASYNX_SQL("SELECT h.aggregate_id, h.aggregate_type, h.version, h.occurred_at "
					 "FROM (SELECT e.aggregate_id FROM asynx.events e "
					 " WHERE e.version OPERATOR(pg_catalog.=) 1 "
					 " AND e.aggregate_type OPERATOR(pg_catalog.=) $3 "
					 " AND e.aggregate_id OPERATOR(pg_catalog.>) $1 "
					 " ORDER BY e.aggregate_id LIMIT $2) ids, LATERAL "
					 "(SELECT e.aggregate_id, e.aggregate_type, e.version, e.occurred_at "
					 " FROM asynx.events e "
					 " WHERE e.aggregate_id OPERATOR(pg_catalog.=) ids.aggregate_id "
					 " ORDER BY e.version DESC LIMIT 1) h"),
	.nargs = 3,
	.argtypes = {TEXTOID, INT4OID, TEXTOID},
};

/* A page of the feed being filled. */
typedef struct FeedPage
{
	Tuplestorestate *rows;		/* the result */
	AsynxPattern *pattern;		/* NULL: every event */
	int64		wanted;			/* rows that still fit */
} FeedPage;

/* Raises 0A000 where no snapshot newer than the safe position can be taken. */
void
asynx_feed_check_isolation(const char *function)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"%s\" cannot run in a REPEATABLE READ or SERIALIZABLE transaction",
						function),
				 errdetail("It needs a snapshot newer than the safe position."),
				 errhint("Call it in a READ COMMITTED transaction.")));
}

/* The position sequence; raises not_loaded if the extension is not there. */
static Oid
PositionSequence(void)
{
	Oid			sequence = get_relname_relid("positions", get_namespace_oid(ASYNX_SCHEMA, false));

	if (!OidIsValid(sequence))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_NOT_LOADED),
				 errmsg("sequence \"%s.positions\" is missing", ASYNX_SCHEMA)));
	return sequence;
}

/* The mark that the primary left for its standbys. */
static int64
StandbyMark(void)
{
	int64		mark = 0;

	PushActiveSnapshot(GetTransactionSnapshot());
	(void) asynx_query_read(&SelectMark, NULL, NULL, asynx_query_get_int64, &mark);
	PopActiveSnapshot();
	return mark;
}

/*
 * The position at and below which no event can appear any more; the caller
 * takes its snapshot afterwards.  Runs within a query scope.
 */
int64
asynx_feed_safe_position(void)
{
	if (RecoveryInProgress())
		return StandbyMark();
	return asynx_inflight_safe_position(PositionSequence());
}

/* Row function: keeps the event if it matches, until the page is full. */
static bool
FillPage(TupleTableSlot *slot, void *arg)
{
	FeedPage   *page = (FeedPage *) arg;
	bool		isnull;

	if (page->pattern != NULL)
	{
		text	   *name = DatumGetTextPP(slot_getattr(slot, 3, &isnull));

		if (!asynx_pattern_match(page->pattern, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)))
			return true;
	}
	tuplestore_puttupleslot(page->rows, slot);
	return --page->wanted > 0;
}

/* Row function: a whole event. */
static bool
GetEvent(TupleTableSlot *slot, void *arg)
{
	asynx_event_from_slot(slot, (AsynxStoredEvent *) arg);
	return false;
}

/*
 * Hands the events after one position and up to another, which is not above the safe
 * position, to a row function, with the columns of a stored event.  The active
 * snapshot must have been taken after the safe position.
 */
void
asynx_feed_scan(int64 after, int64 upto, AsynxRowFunction row, void *arg)
{
	Datum		values[] = {Int64GetDatum(after), Int64GetDatum(upto)};

	(void) asynx_query_read(&SelectFeed, values, NULL, row, arg);
}

/* Reads an event of the feed under the active snapshot; false if it is not there any more. */
bool
asynx_feed_find(const text *aggregate_id, int64 version, int64 position,
				AsynxStoredEvent *event)
{
	Datum		values[] = {
		PointerGetDatum(aggregate_id), Int64GetDatum(version), Int64GetDatum(position)
	};

	return asynx_query_read(&SelectOne, values, NULL, GetEvent, event) > 0;
}

/* Fills the page with events after "after". */
static void
ReadFeed(int64 after, FeedPage *page)
{
	AsynxQueryScope scope;
	int64		safe;

	asynx_query_begin(&scope);
	safe = asynx_feed_safe_position();
	PushActiveSnapshot(GetLatestSnapshot());
	asynx_feed_scan(after, safe, FillPage, page);
	PopActiveSnapshot();
	asynx_query_end(&scope);
}

PG_FUNCTION_INFO_V1(asynx_read_from);
PG_FUNCTION_INFO_V1(asynx_read_range);
PG_FUNCTION_INFO_V1(asynx_read_all);
PG_FUNCTION_INFO_V1(asynx_count);
PG_FUNCTION_INFO_V1(asynx_exists);
PG_FUNCTION_INFO_V1(asynx_aggregates);
PG_FUNCTION_INFO_V1(asynx_safe_position);

/* asynx.read_from(aggregate_id text, from_version bigint) returns setof asynx.stored_event */
Datum
asynx_read_from(PG_FUNCTION_ARGS)
{
	Datum		values[3];

	values[0] = PointerGetDatum(asynx_arg_aggregate_id(fcinfo, 0));
	values[1] = Int64GetDatum(asynx_arg_bigint(fcinfo, 1, "from_version", 0));
	values[2] = Int64GetDatum(PG_INT64_MAX);
	asynx_query_read_into(&SelectRange, values, NULL, fcinfo);
	return (Datum) 0;
}

/* asynx.read_range(aggregate_id, from_version, count) returns setof asynx.stored_event */
Datum
asynx_read_range(PG_FUNCTION_ARGS)
{
	Datum		values[3];

	values[0] = PointerGetDatum(asynx_arg_aggregate_id(fcinfo, 0));
	values[1] = Int64GetDatum(asynx_arg_bigint(fcinfo, 1, "from_version", 0));
	values[2] = Int64GetDatum(asynx_arg_bigint(fcinfo, 2, "count", 0));
	asynx_query_read_into(&SelectRange, values, NULL, fcinfo);
	return (Datum) 0;
}

/* asynx.read_all(after_position, count, pattern) returns setof asynx.stored_event */
Datum
asynx_read_all(PG_FUNCTION_ARGS)
{
	int64		after = asynx_arg_bigint(fcinfo, 0, "after_position", 0);
	FeedPage	page = {.wanted = asynx_arg_bigint(fcinfo, 1, "count", 0)};

	asynx_feed_check_isolation("asynx.read_all");
	if (!PG_ARGISNULL(2))
		page.pattern = asynx_pattern_compile(text_to_cstring(PG_GETARG_TEXT_PP(2)));

	InitMaterializedSRF(fcinfo, 0);
	page.rows = ((ReturnSetInfo *) fcinfo->resultinfo)->setResult;
	if (page.wanted > 0)
		ReadFeed(after, &page);
	return (Datum) 0;
}

/* asynx.count(aggregate_id text, from_version bigint) returns bigint */
Datum
asynx_count(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	int64		count = 0;
	Datum		values[2];

	values[0] = PointerGetDatum(asynx_arg_aggregate_id(fcinfo, 0));
	values[1] = Int64GetDatum(asynx_arg_bigint(fcinfo, 1, "from_version", 0));
	asynx_query_begin(&scope);
	(void) asynx_query_read(&SelectCount, values, NULL, asynx_query_get_int64, &count);
	asynx_query_end(&scope);
	PG_RETURN_INT64(count);
}

/* asynx.exists(aggregate_id text) returns boolean */
Datum
asynx_exists(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	bool		found;
	Datum		values[3];

	values[0] = PointerGetDatum(asynx_arg_aggregate_id(fcinfo, 0));
	values[1] = Int64GetDatum(1);
	values[2] = Int64GetDatum(1);
	asynx_query_begin(&scope);
	found = asynx_query_read(&SelectRange, values, NULL, NULL, NULL) > 0;
	asynx_query_end(&scope);
	PG_RETURN_BOOL(found);
}

/* asynx.aggregates(aggregate_type text, after text, count int) returns a page of aggregates */
Datum
asynx_aggregates(PG_FUNCTION_ARGS)
{
	text	   *type = asynx_arg_type_name_or_null(fcinfo, 0);
	Datum		values[3];

	values[0] = PG_ARGISNULL(1) ? CStringGetTextDatum("") : PG_GETARG_DATUM(1);
	values[1] = Int32GetDatum(asynx_arg_int(fcinfo, 2, "count", 0));
	values[2] = PointerGetDatum(type);
	asynx_query_read_into(type == NULL ? &SelectAggregates : &SelectAggregatesOfType,
						  values, NULL, fcinfo);
	return (Datum) 0;
}

/* asynx.safe_position() returns bigint */
Datum
asynx_safe_position(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	int64		safe;

	(void) fcinfo;
	asynx_query_begin(&scope);
	safe = asynx_feed_safe_position();
	asynx_query_end(&scope);
	PG_RETURN_INT64(safe);
}
