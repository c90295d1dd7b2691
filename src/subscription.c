/*
 * subscription.c
 *	  Knows which subscriptions and hooks an event concerns.
 *
 * A session keeps the list that it has read, with the patterns compiled, and for
 * each event name that it met, who wants it.  A trigger tells all sessions of a
 * change through the table's relcache entry.  A list that went out of date is still
 * good for those who use it in the current transaction: its memory goes with that.
 *
 * Who registers them, and why no writer misses one, is told in subscribe.c.
 */
#include "asynx.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "changes.h"
#include "pattern.h"
#include "query.h"
#include "subscription.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* For how many event names a session remembers who wants them. */
#define KNOWN_NAMES 1000

/* Who wants events of a name. */
typedef struct KnownName
{
	char		name[ASYNX_MAX_NAME_BYTES + 1]; /* hash key */
	List	   *subscriptions;
} KnownName;

/* What this session knows; all of it in the context. */
typedef struct Known
{
	MemoryContext context;		/* NULL: nothing is known */
	Oid			table;			/* asynx.subscriptions */
	List	   *modes[ASYNX_MODES]; /* the subscriptions of each, by name */
	HTAB	   *names;			/* who wants which events */
} Known;

static Known Current = {.context = NULL};

/* Counts changes of the table, and those that what is known takes into account. */
static uint64 Changes = 1;
static uint64 ChangesSeen = 0;

/* How the modes are called in the table. */
static const char *const ModeNames[ASYNX_MODES] = {
	[ASYNX_INLINE] = "inline",
	[ASYNX_ON_FORGET] = "on_forget",
	[ASYNX_ON_PANIC] = "on_panic",
	[ASYNX_ON_TIMEOUT] = "on_timeout",
	[ASYNX_ON_PUBLISH_ERROR] = "on_publish_error",
	[ASYNX_ON_CORRUPTION] = "on_corruption",
};

/* The argument of each form that a handler may have, as it stands in a signature. */
static const char *const HandlerArguments[] = {
	[ASYNX_TAKES_EVENT] = "(asynx.event)",
	[ASYNX_TAKES_EVENTS] = "(asynx.event[])",
	[ASYNX_TAKES_STORED] = "(asynx.stored_event)",
	[ASYNX_TAKES_STOREDS] = "(asynx.stored_event[])",
};

/* What a function of each form must look like; the types of events are filled in at use. */
static AsynxSignature Signatures[ASYNX_FORMS] = {
	[ASYNX_TAKES_EVENT] = {.purpose = "handler", .nargs = 1},
	[ASYNX_TAKES_EVENTS] = {.purpose = "handler", .nargs = 1},
	[ASYNX_TAKES_STORED] = {.purpose = "handler", .nargs = 1},
	[ASYNX_TAKES_STOREDS] = {.purpose = "handler", .nargs = 1},
	[ASYNX_TAKES_ERROR] = {.purpose = "hook", .nargs = 2, .argtypes = {0, JSONBOID}},
	[ASYNX_TAKES_TIMEOUT] = {.purpose = "hook", .nargs = 2, .argtypes = {0, INTERVALOID}},
	[ASYNX_TAKES_ID] = {.purpose = "hook", .nargs = 2, .argtypes = {TEXTOID, JSONBOID}},
};

static AsynxQuery SelectRunning = {
	.sql = ASYNX_SQL("SELECT " ASYNX_SUBSCRIPTION_COLUMNS " FROM asynx.subscriptions s "
					 "WHERE s.state OPERATOR(pg_catalog.=) 'running' ORDER BY s.name"),
	.nargs = 0,
};

/* Fills the types of events into the signatures. */
static void
FillSignatures(void)
{
	Oid			schema = get_namespace_oid(ASYNX_SCHEMA, false);
	Oid			event = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("event"),
										ObjectIdGetDatum(schema));
	Oid			stored = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
										 CStringGetDatum("stored_event"),
										 ObjectIdGetDatum(schema));

	Signatures[ASYNX_TAKES_EVENT].argtypes[0] = event;
	Signatures[ASYNX_TAKES_ERROR].argtypes[0] = event;
	Signatures[ASYNX_TAKES_TIMEOUT].argtypes[0] = event;
	Signatures[ASYNX_TAKES_EVENTS].argtypes[0] = get_array_type(event);
	Signatures[ASYNX_TAKES_STORED].argtypes[0] = stored;
	Signatures[ASYNX_TAKES_STOREDS].argtypes[0] = get_array_type(stored);
}

/* What a function of that form must look like. */
const AsynxSignature *
asynx_subscription_signature(AsynxForm form)
{
	FillSignatures();
	return &Signatures[form];
}

/* How the mode is called in the table. */
const char *
asynx_subscription_mode_name(AsynxMode mode)
{
	return ModeNames[mode];
}

/* A column of a variable-length type; NULL for NULL. */
static void *
VarlenaColumn(TupleTableSlot *slot, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	return isnull ? NULL : PG_DETOAST_DATUM_COPY(value);
}

/* An interval column; NULL for NULL. */
static Interval *
IntervalColumn(TupleTableSlot *slot, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);
	Interval   *copy;

	if (isnull)
		return NULL;
	copy = palloc(sizeof(Interval));
	*copy = *DatumGetIntervalP(value);
	return copy;
}

/* Reads a row with ASYNX_SUBSCRIPTION_COLUMNS into the current memory context. */
void
asynx_subscription_from_slot(TupleTableSlot *slot, AsynxSubscriptionRow *row)
{
	bool		isnull;

	row->name = VarlenaColumn(slot, 1);
	row->pattern = VarlenaColumn(slot, 2);
	row->mode = VarlenaColumn(slot, 3);
	row->handler = VarlenaColumn(slot, 4);
	row->fallback = VarlenaColumn(slot, 5);
	row->timeout = IntervalColumn(slot, 6);
	row->channel = VarlenaColumn(slot, 7);
	row->start_at = DatumGetInt64(slot_getattr(slot, 8, &isnull));
	row->partitions = DatumGetInt32(slot_getattr(slot, 9, &isnull));
	row->max_attempts = DatumGetInt32(slot_getattr(slot, 10, &isnull));
	row->retry_delay = IntervalColumn(slot, 11);
	row->on_failure = VarlenaColumn(slot, 12);
	row->owner = VarlenaColumn(slot, 13);
}

/* Is the text this string? */
bool
asynx_text_is(const text *value, const char *string)
{
	return value != NULL && VARSIZE_ANY_EXHDR(value) == strlen(string) &&
		memcmp(VARDATA_ANY(value), string, strlen(string)) == 0;
}

/* An interval in milliseconds, months counted as 30 days. */
int64
asynx_milliseconds(const Interval *interval)
{
	int64		days = (int64) interval->month * DAYS_PER_MONTH + interval->day;

	return days * (USECS_PER_DAY / 1000) + interval->time / 1000;
}

/* A function as a taker; the argument at the end of a handler's name tells its form. */
static void
SetTaker(AsynxTaker *taker, const text *function, const text *owner)
{
	const char *arguments;
	size_t		form;

	if (function == NULL)
		return;
	taker->function.name = text_to_cstring(function);
	taker->function.owner = text_to_cstring(owner);
	arguments = strrchr(taker->function.name, '(');
	for (form = 0; form < lengthof(HandlerArguments); form++)
	{
		if (arguments != NULL && strcmp(arguments, HandlerArguments[form]) == 0)
			taker->form = (AsynxForm) form;
	}
}

/* The mode of that name; ASYNX_MODES for one that does not run here. */
static AsynxMode
ModeOf(const text *name)
{
	int			mode;

	for (mode = 0; mode < ASYNX_MODES; mode++)
	{
		if (asynx_text_is(name, ModeNames[mode]))
			break;
	}
	return mode;
}

/* Row function of SelectRunning: one more subscription, in the context of what is read. */
static bool
AddSubscription(TupleTableSlot *slot, void *arg)
{
	Known	   *known = (Known *) arg;
	MemoryContext caller = MemoryContextSwitchTo(known->context);
	AsynxSubscription *subscription = palloc0(sizeof(AsynxSubscription));
	AsynxSubscriptionRow row;
	AsynxMode	mode;

	asynx_subscription_from_slot(slot, &row);
	mode = ModeOf(row.mode);
	if (mode < ASYNX_MODES)
	{
		subscription->name = text_to_cstring(row.name);
		subscription->mode = mode;
		if (row.pattern != NULL)
			subscription->pattern = asynx_pattern_compile(text_to_cstring(row.pattern));
		SetTaker(&subscription->handler, row.handler, row.owner);
		SetTaker(&subscription->fallback, row.fallback, row.owner);
		subscription->timeout = row.timeout;
		subscription->milliseconds = row.timeout != NULL ? asynx_milliseconds(row.timeout) : 0;
		subscription->stops = asynx_text_is(row.on_failure, "stop");
		known->modes[mode] = lappend(known->modes[mode], subscription);
	}

	MemoryContextSwitchTo(caller);
	return true;
}

/* Relcache callback: was it the table of subscriptions that changed? */
static void
NoteChange(Datum arg, Oid relation)
{
	(void) arg;
	if (relation == Current.table || !OidIsValid(relation))
		Changes++;
}

/* Begins to remember who wants events of which name. */
static void
MakeNames(Known *known)
{
	HASHCTL		control = {
		.keysize = sizeof(((KnownName *) NULL)->name),
		.entrysize = sizeof(KnownName),
		.hcxt = known->context,
	};

	known->names = hash_create("asynx event names", 32, &control,
							   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* Reads the subscriptions; what is not complete goes with the caller's memory. */
static void
ReadKnown(Known *known)
{
	memset(known, 0, sizeof(*known));
	known->context = AllocSetContextCreate(CurrentMemoryContext, "asynx subscriptions",
										   ALLOCSET_SMALL_SIZES);
	known->table = get_relname_relid("subscriptions", get_namespace_oid(ASYNX_SCHEMA, false));
	MakeNames(known);

	PushActiveSnapshot(GetLatestSnapshot());
	(void) asynx_query_read(&SelectRunning, NULL, NULL, AddSubscription, known);
	PopActiveSnapshot();
}

/* Makes sure that what is known is up to date. */
static void
Refresh(void)
{
	static bool registered = false;
	Known		fresh;
	uint64		changes;

	if (!registered)
	{
		asynx_changes_register(NoteChange);
		registered = true;
	}

	AcceptInvalidationMessages();
	if (ChangesSeen == Changes)
		return;

	/* after an error, or a change that comes meanwhile, it is read again */
	changes = Changes;
	ReadKnown(&fresh);
	ChangesSeen = changes;
	MemoryContextSetParent(fresh.context, CacheMemoryContext);
	if (Current.context != NULL)
		MemoryContextSetParent(Current.context, TopTransactionContext);
	Current = fresh;
}

/* The inline subscriptions whose patterns match. */
static List *
FindMatching(const text *event_name)
{
	List	   *matching = NIL;
	ListCell   *cell;

	foreach(cell, Current.modes[ASYNX_INLINE])
	{
		AsynxSubscription *subscription = lfirst(cell);

		if (asynx_pattern_match(subscription->pattern, VARDATA_ANY(event_name),
								VARSIZE_ANY_EXHDR(event_name)))
			matching = lappend(matching, subscription);
	}
	return matching;
}

/*
 * The inline subscriptions that want events of this name, by their names; NIL if none
 * does.  Looks at the list that is known already: for many events, all are told from
 * the same.
 */
const List *
asynx_subscriptions_known(const text *event_name)
{
	char		key[ASYNX_MAX_NAME_BYTES + 1];
	KnownName  *known;
	MemoryContext caller;
	bool		found;

	if (Current.modes[ASYNX_INLINE] == NIL)
		return NIL;

	text_to_cstring_buffer(event_name, key, sizeof(key));
	known = hash_search(Current.names, key, HASH_FIND, NULL);
	if (known != NULL)
		return known->subscriptions;
	if (hash_get_num_entries(Current.names) >= KNOWN_NAMES)
		return FindMatching(event_name);

	caller = MemoryContextSwitchTo(Current.context);
	known = hash_search(Current.names, key, HASH_ENTER, &found);
	known->subscriptions = NIL;
	known->subscriptions = FindMatching(event_name);
	MemoryContextSwitchTo(caller);
	return known->subscriptions;
}

/* The same, from what there is now. */
const List *
asynx_subscriptions_matching(const text *event_name)
{
	Refresh();
	return asynx_subscriptions_known(event_name);
}

/* The hooks of a kind, by their names. */
const List *
asynx_subscriptions_hooks(AsynxMode mode)
{
	Refresh();
	return Current.modes[mode];
}
