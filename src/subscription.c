/*
 * subscription.c
 *	  Knows which subscriptions and hooks an event concerns.
 *
 * A session keeps the list that it has read, with the patterns compiled.  Those that
 * are exact names are found by a hash, so that many of them cost nothing; for the
 * others it remembers, for each event name that it met, who wants it.  A trigger tells
 * all sessions of a change through the table's relcache entry.  A list that went out
 * of date is still good for those who use it in the current transaction: its memory
 * goes with that.
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
	List	   *subscriptions[ASYNX_MODES];
	bool		found[ASYNX_MODES]; /* is the list of that mode made? */
} KnownName;

/* The subscriptions whose pattern is one name. */
typedef struct ExactName
{
	char		name[ASYNX_MAX_NAME_BYTES + 1]; /* hash key: of the event */
	List	   *subscriptions[ASYNX_MODES];
} ExactName;

/* A subscription or hook by its own name. */
typedef struct OwnName
{
	char		name[ASYNX_MAX_NAME_BYTES + 1]; /* hash key */
	const AsynxSubscription *subscription;
} OwnName;

/* What this session knows; all of it in the context. */
typedef struct Known
{
	MemoryContext context;		/* NULL: nothing is known */
	Oid			table;			/* asynx.subscriptions */
	uint64		generation;		/* how often it was read */
	List	   *modes[ASYNX_MODES]; /* the subscriptions of each, by name */
	List	   *patterned[ASYNX_MODES]; /* those whose pattern is not one name */
	HTAB	   *exact;			/* the others: ExactName */
	HTAB	   *own;			/* all: OwnName */
	HTAB	   *names;			/* who wants which events: KnownName */
} Known;

static Known Current = {.context = NULL};

/* Counts changes of the table, and those that what is known takes into account. */
static uint64 Changes = 1;
static uint64 ChangesSeen = 0;

/* How the modes are called in the table. */
static const char *const ModeNames[ASYNX_MODES] = {
	[ASYNX_ASYNC] = "async",
	[ASYNX_CHANNEL] = "channel",
	[ASYNX_PULL] = "pull",
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

/* Puts a subscription where it will be looked for. */
static void
Register(Known *known, AsynxSubscription *subscription)
{
	AsynxMode	mode = subscription->mode;
	const char *exact = subscription->pattern != NULL ?
		asynx_pattern_exact(subscription->pattern) : NULL;
	OwnName    *own = hash_search(known->own, subscription->name, HASH_ENTER, NULL);
	ExactName  *name;
	bool		found;

	own->subscription = subscription;
	known->modes[mode] = lappend(known->modes[mode], subscription);
	if (exact == NULL)
	{
		known->patterned[mode] = lappend(known->patterned[mode], subscription);
		return;
	}
	name = hash_search(known->exact, exact, HASH_ENTER, &found);
	if (!found)
		memset(name->subscriptions, 0, sizeof(name->subscriptions));
	name->subscriptions[mode] = lappend(name->subscriptions[mode], subscription);
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
		subscription->channel = row.channel != NULL ? text_to_cstring(row.channel) : NULL;
		subscription->partitions = row.partitions;
		subscription->max_attempts = row.max_attempts;
		subscription->retry_delay = asynx_milliseconds(row.retry_delay);
		subscription->policy = asynx_text_is(row.on_failure, "stop") ? ASYNX_STOP :
			asynx_text_is(row.on_failure, "park") ? ASYNX_PARK : ASYNX_CONTINUE;
		Register(known, subscription);
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

/* A table of what is found by a name. */
static HTAB *
MakeTable(const Known *known, const char *title, Size entry)
{
	HASHCTL		control = {
		.keysize = ASYNX_MAX_NAME_BYTES + 1,
		.entrysize = entry,
		.hcxt = known->context,
	};

	return hash_create(title, 32, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* Reads the subscriptions; what is not complete goes with the caller's memory. */
static void
ReadKnown(Known *known)
{
	memset(known, 0, sizeof(*known));
	known->context = AllocSetContextCreate(CurrentMemoryContext, "asynx subscriptions",
										   ALLOCSET_SMALL_SIZES);
	known->table = get_relname_relid("subscriptions", get_namespace_oid(ASYNX_SCHEMA, false));

	/* so that a change that comes while the first list is read is noticed */
	Current.table = known->table;
	known->exact = MakeTable(known, "asynx exact names", sizeof(ExactName));
	known->own = MakeTable(known, "asynx subscriptions", sizeof(OwnName));
	known->names = MakeTable(known, "asynx event names", sizeof(KnownName));

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
	fresh.generation = Current.generation + 1;
	ChangesSeen = changes;
	MemoryContextSetParent(fresh.context, CacheMemoryContext);
	if (Current.context != NULL)
		MemoryContextSetParent(Current.context, TopTransactionContext);
	Current = fresh;
}

/* For sorting subscriptions by name. */
static int
CompareNames(const ListCell *a, const ListCell *b)
{
	return strcmp(((const AsynxSubscription *) lfirst(a))->name,
				  ((const AsynxSubscription *) lfirst(b))->name);
}

/* The subscriptions of the mode that want events of this name. */
static List *
FindMatching(AsynxMode mode, const char *event_name)
{
	const ExactName *exact = hash_search(Current.exact, event_name, HASH_FIND, NULL);
	List	   *matching = exact != NULL ? list_copy(exact->subscriptions[mode]) : NIL;
	ListCell   *cell;

	foreach(cell, Current.patterned[mode])
	{
		AsynxSubscription *subscription = lfirst(cell);

		if (asynx_pattern_match(subscription->pattern, event_name, strlen(event_name)))
			matching = lappend(matching, subscription);
	}
	list_sort(matching, CompareNames);
	return matching;
}

/* What is known of an event name; NULL if that is too much to be remembered. */
static KnownName *
FindName(const char *event_name)
{
	KnownName  *known = hash_search(Current.names, event_name, HASH_FIND, NULL);
	bool		found;

	if (known != NULL || hash_get_num_entries(Current.names) >= KNOWN_NAMES)
		return known;

	known = hash_search(Current.names, event_name, HASH_ENTER, &found);
	memset(known->found, false, sizeof(known->found));
	return known;
}

/*
 * The subscriptions of a mode that want events of this name, by their names; NIL if
 * none does.  Looks at what is known already, and so may run within a row function.
 */
const List *
asynx_subscriptions_known(AsynxMode mode, const text *event_name)
{
	char		name[ASYNX_MAX_NAME_BYTES + 1];
	KnownName  *known;
	MemoryContext caller;

	if (Current.modes[mode] == NIL)
		return NIL;

	text_to_cstring_buffer(event_name, name, sizeof(name));
	known = FindName(name);
	if (known == NULL)
		return FindMatching(mode, name);
	if (!known->found[mode])
	{
		caller = MemoryContextSwitchTo(Current.context);
		known->subscriptions[mode] = FindMatching(mode, name);
		known->found[mode] = true;
		MemoryContextSwitchTo(caller);
	}
	return known->subscriptions[mode];
}

/* The same, of what there is now. */
const List *
asynx_subscriptions_matching(AsynxMode mode, const text *event_name)
{
	Refresh();
	return asynx_subscriptions_known(mode, event_name);
}

/* The subscriptions or hooks of a mode, by their names. */
const List *
asynx_subscriptions_of(AsynxMode mode)
{
	Refresh();
	return Current.modes[mode];
}

/* The subscription of that mode and name; NULL if it is not there, or does not run. */
const AsynxSubscription *
asynx_subscriptions_find(AsynxMode mode, const char *name)
{
	const OwnName *own;

	Refresh();
	own = hash_search(Current.own, name, HASH_FIND, NULL);
	return own != NULL && own->subscription->mode == mode ? own->subscription : NULL;
}

/* Grows when the list was read again. */
uint64
asynx_subscriptions_generation(void)
{
	Refresh();
	return Current.generation;
}

/* The table of subscriptions. */
Oid
asynx_subscriptions_table(void)
{
	Refresh();
	return Current.table;
}
