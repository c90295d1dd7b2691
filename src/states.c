/*
 * states.c
 *	  Remembers the states that this session's commands left, or that it has folded.
 *
 * Who commands an aggregate often commands it again, and a worker that has folded a
 * state for one event will need it for the next.  Such a state need not be folded
 * anew: a fold that begins with it finds only what others have appended since, like
 * one that begins with a snapshot.  It is true
 *
 * 1. unless the transaction that stored the event was rolled back: all that was
 *	  remembered in it is then dropped;
 *
 * 2. until an event may have been erased: the log is append-only, and whoever
 *	  changes or deletes its rows is counted (erasures.c).  A mark from before the
 *	  stream was looked at tells whether there was any.  So a stream that was erased
 *	  and begun again is never met with an old state;
 *
 * 3. until a type or an upcaster changes, or the event table is dropped or altered:
 *	  triggers and the server tell it by a relcache message, and one about any table
 *	  makes everything be forgotten.  What was found before such a message is not
 *	  remembered after it, because a function that ran in between may have caused it.
 *
 * Not for REPEATABLE READ, where it matters what the transaction sees.
 *
 * The memory is bounded: a table of fixed size, an aggregate's few places in it given
 * by the hash of its id, where a later one takes the place of an earlier one; a limit
 * for one state, and one for all, above which others have to go.  A worker has more
 * of it than a session.  What is found is copied, because a function that a command
 * runs may send others.
 */
#include "asynx.h"

#include "changes.h"
#include "common/hashfn.h"
#include "event.h"
#include "states.h"
#include "utils/inval.h"
#include "utils/memutils.h"

/* How many are remembered, by a session and by a worker; powers of two. */
#define PLACES 1024
#define WORKER_PLACES 65536

/* In how many of them an aggregate may be; a power of two. */
#define WAYS 4

/* The largest state that is remembered, and how much all may take, in bytes. */
#define STATE_LIMIT (1024 * 1024)
#define TOTAL_LIMIT (8 * 1024 * 1024)
#define WORKER_TOTAL_LIMIT (64 * 1024 * 1024)

/* An aggregate as a command left it. */
typedef struct State
{
	text	   *aggregate_id;	/* NULL: nothing is remembered here; begins the memory of all */
	text	   *type;
	Jsonb	   *state;
	Size		bytes;			/* of the three */
	int64		version;
	int64		position;		/* of the event at that version */
	int32		schema_version; /* the type's */
	int32		snapshot_every; /* the type's */
	uint32		reader;			/* for whom it is remembered */
	AsynxErasuresMark mark;		/* from before the stream was looked at */
	uint64		transaction;	/* which stored the event, see Transaction */
} State;

/* What is remembered, and the memory that it lives in; NULL before the first. */
static State *States = NULL;
static MemoryContext StatesContext = NULL;

/* How many there may be, and how much they may take. */
static uint32 Places = PLACES;
static Size TotalLimit = TOTAL_LIMIT;

/* How much they take, and whose turn it is to go. */
static Size Total = 0;
static uint32 Hand = 0;

/* Who remembers and looks: subscriptions of a worker are at different versions. */
static uint32 Reader = 0;

/* Counts this session's transactions. */
static uint64 Transaction = 1;

/* Has the current transaction remembered anything? */
static bool Remembered = false;

/* Counts relcache messages, and those that were there when all was last looked through. */
static uint64 Changes = 0;
static uint64 ChangesSeen = 0;

/* Forgets what is remembered in one place. */
static void
Forget(State *place)
{
	if (place->aggregate_id == NULL)
		return;

	pfree(place->aggregate_id);
	place->aggregate_id = NULL;
	Total -= place->bytes;
}

/* Relcache callback: a table was changed, or somebody wants us to think so. */
static void
NoteChange(Datum arg, Oid relation)
{
	(void) arg;
	(void) relation;
	Changes++;
}

/* Forgets everything if a table was changed. */
static void
ForgetStale(void)
{
	uint32		i;

	if (ChangesSeen == Changes)
		return;
	for (i = 0; i < Places; i++)
		Forget(&States[i]);
	ChangesSeen = Changes;
}

/* Forgets what the current transaction remembered; it, or a part of it, is rolled back. */
static void
ForgetCurrent(void)
{
	uint32		i;

	if (!Remembered)
		return;
	for (i = 0; i < Places; i++)
		if (States[i].transaction == Transaction)
			Forget(&States[i]);
}

/* Sets up the memory. */
static void
MakeStates(void)
{
	if (StatesContext == NULL)
		StatesContext = AllocSetContextCreate(TopMemoryContext, "asynx states",
											  ALLOCSET_DEFAULT_SIZES);
	States = MemoryContextAllocZero(StatesContext, Places * sizeof(State));
	asynx_changes_register(NoteChange);
}

/* Lets this process, a worker that has not folded anything yet, remember more. */
void
asynx_states_enlarge(void)
{
	Places = WORKER_PLACES;
	TotalLimit = WORKER_TOTAL_LIMIT;
}

/* From here on states are those of this reader; 0 is who sends commands. */
void
asynx_states_set_reader(uint32 reader)
{
	Reader = reader;
}

/* The first of an aggregate's places. */
static State *
FirstPlace(const text *aggregate_id)
{
	uint32		hash = hash_bytes((const unsigned char *) VARDATA_ANY(aggregate_id),
								  VARSIZE_ANY_EXHDR(aggregate_id));

	return &States[hash_combine(hash, Reader) % Places / WAYS * WAYS];
}

/* The place where an aggregate is; NULL if it is in none. */
static State *
Place(const text *aggregate_id)
{
	State	   *place = FirstPlace(aggregate_id);
	int			i;

	for (i = 0; i < WAYS; i++, place++)
	{
		if (place->aggregate_id != NULL && place->reader == Reader &&
			asynx_same_bytes(place->aggregate_id, aggregate_id))
			return place;
	}
	return NULL;
}

/* A place for an aggregate that is in none: a free one, or one that is made free. */
static State *
FreePlace(const text *aggregate_id)
{
	State	   *first = FirstPlace(aggregate_id);
	State	   *place = &first[Hand++ % WAYS];
	int			i;

	for (i = 0; i < WAYS; i++)
	{
		if (first[i].aggregate_id == NULL)
			return &first[i];
	}
	Forget(place);
	return place;
}

/* Size of a copy, aligned for what follows it. */
static Size
CopySize(const void *value)
{
	return MAXALIGN(VARHDRSZ + VARSIZE_ANY_EXHDR(value));
}

/* Copies a value, with a full header, to "*free" and moves that on. */
static void *
CopyTo(char **free, const void *value)
{
	char	   *copy = *free;
	Size		len = VARSIZE_ANY_EXHDR(value);

	SET_VARSIZE(copy, VARHDRSZ + len);
	memcpy(VARDATA(copy), VARDATA_ANY(value), len);
	*free += CopySize(value);
	return copy;
}

/* A copy in the caller's memory. */
static void *
Copy(const void *value)
{
	char	   *free = palloc(CopySize(value));

	return CopyTo(&free, value);
}

/* A mark to remember a state by; taken before the snapshot that sees the stream. */
AsynxStatesMark
asynx_states_mark(void)
{
	AsynxStatesMark mark = {.erasures = asynx_erasures_mark()};

	if (States == NULL)
		MakeStates();
	mark.changes = Changes;
	return mark;
}

/*
 * Finds the aggregate as this session's last command left it; false if it does not
 * know.  There may be later events.
 */
bool
asynx_states_find(const text *aggregate_id, AsynxAggregate *aggregate)
{
	const State *place;

	if (States == NULL || IsolationUsesXactSnapshot())
		return false;

	ForgetStale();
	place = Place(aggregate_id);
	if (place == NULL || asynx_erasures_since(&place->mark))
		return false;

	memset(aggregate, 0, sizeof(*aggregate));
	aggregate->exists = true;
	aggregate->type = Copy(place->type);
	aggregate->schema_version = place->schema_version;
	aggregate->snapshot_every = place->snapshot_every;
	aggregate->version = place->version;
	aggregate->position = place->position;
	aggregate->state = Copy(place->state);
	return true;
}

/* Lets others go until there is room for so many bytes. */
static void
MakeRoom(Size bytes)
{
	while (Total + bytes > TotalLimit)
		Forget(&States[Hand++ % Places]);
}

/* Remembers an aggregate at an event that the current transaction sees. */
void
asynx_states_remember(const text *aggregate_id, const AsynxAggregate *aggregate,
					  const AsynxStatesMark *mark)
{
	Size		bytes = CopySize(aggregate_id) + CopySize(aggregate->type) +
		CopySize(aggregate->state);
	State	   *place;
	char	   *free;

	if (IsolationUsesXactSnapshot())
		return;

	ForgetStale();
	place = Place(aggregate_id);
	if (place != NULL)
		Forget(place);
	if (bytes > STATE_LIMIT || mark->changes != Changes)
		return;

	MakeRoom(bytes);
	place = FreePlace(aggregate_id);
	free = MemoryContextAlloc(StatesContext, bytes);
	place->aggregate_id = CopyTo(&free, aggregate_id);
	place->type = CopyTo(&free, aggregate->type);
	place->state = CopyTo(&free, aggregate->state);
	place->bytes = bytes;
	Total += bytes;
	place->version = aggregate->version;
	place->position = aggregate->position;
	place->schema_version = aggregate->schema_version;
	place->snapshot_every = aggregate->snapshot_every;
	place->reader = Reader;
	place->mark = mark->erasures;
	place->transaction = Transaction;
	Remembered = true;
}

/* The end of a transaction: if it was rolled back, what it stored is gone. */
void
asynx_states_at_xact_end(XactEvent event)
{
	if (event == XACT_EVENT_ABORT)
		ForgetCurrent();
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT)
	{
		Transaction++;
		Remembered = false;
	}
}

/* The end of a subtransaction: the same, and perhaps more than need be is forgotten. */
void
asynx_states_at_subxact_end(SubXactEvent event)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		ForgetCurrent();
}
