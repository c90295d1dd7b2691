/*
 * tips.c
 *	  Remembers the last versions that this session appended.
 *
 * Who appends to an aggregate often appends to it again.  A session that stored
 * version - 1 itself needs not look for it.  What it remembers is true
 *
 * 1. unless the transaction that stored the event was rolled back: all that was
 *	  remembered in it is then dropped;
 *
 * 2. until an event may have been erased: the log is append-only, and whoever
 *	  changes or deletes its rows is counted, also who does so by hand or by
 *	  replication (erasures.c).  A mark from before the append tells whether there
 *	  was any;
 *
 * 3. until the event table is dropped or altered: a relcache message about any table
 *	  makes everything be forgotten, at the next question, since a callback must not
 *	  free what somebody reads.
 *
 * The memory is a table of fixed size, an aggregate's place in it given by the
 * hash of its id: a later one takes the place of an earlier one.
 */
#include "asynx.h"

#include "changes.h"
#include "common/hashfn.h"
#include "event.h"
#include "fmgr.h"
#include "tips.h"
#include "utils/inval.h"
#include "utils/memutils.h"

/* How many are remembered; a power of two. */
#define PLACES 256

/* An aggregate's last version, as far as this session knows. */
typedef struct Tip
{
	text	   *aggregate_id;	/* NULL: nothing is remembered here */
	text	   *type;			/* the stream's */
	int64		version;
	AsynxErasuresMark mark;		/* from before the event was stored */
	uint64		transaction;	/* which stored it, see Transaction */
} Tip;

/* What is remembered, and the memory that ids and types live in; NULL before the first. */
static Tip *Tips = NULL;
static MemoryContext TipsContext = NULL;

/* Counts this session's transactions. */
static uint64 Transaction = 1;

/* Has the current transaction remembered anything? */
static bool Remembered = false;

/* Is everything to be forgotten? */
static bool Stale = false;

/* Forgets what is remembered in one place. */
static void
Forget(Tip *tip)
{
	if (tip->aggregate_id == NULL)
		return;

	pfree(tip->aggregate_id);
	pfree(tip->type);
	tip->aggregate_id = NULL;
}

/* Relcache callback: a table was changed, perhaps the event table. */
static void
NoteChange(Datum arg, Oid relation)
{
	(void) arg;
	(void) relation;
	Stale = true;
}

/* Forgets everything if a table was changed. */
static void
ForgetStale(void)
{
	int			i;

	if (!Stale)
		return;
	for (i = 0; i < PLACES; i++)
		Forget(&Tips[i]);
	Stale = false;
}

/* Forgets what the current transaction remembered; it, or a part of it, is rolled back. */
static void
ForgetCurrent(void)
{
	int			i;

	if (!Remembered)
		return;
	for (i = 0; i < PLACES; i++)
		if (Tips[i].transaction == Transaction)
			Forget(&Tips[i]);
}

/* Sets up the memory. */
static void
MakeTips(void)
{
	if (TipsContext == NULL)
		TipsContext = AllocSetContextCreate(TopMemoryContext, "asynx tips",
											ALLOCSET_DEFAULT_SIZES);
	Tips = MemoryContextAllocZero(TipsContext, PLACES * sizeof(Tip));
	asynx_changes_register(NoteChange);
}

/* An aggregate's place. */
static Tip *
Place(const text *aggregate_id)
{
	uint32		hash = hash_bytes((const unsigned char *) VARDATA_ANY(aggregate_id),
								  VARSIZE_ANY_EXHDR(aggregate_id));

	return &Tips[hash % PLACES];
}

/* A copy that lives as long as the session; a plain one, not compressed and with a full header. */
static text *
Copy(const text *value)
{
	Size		len = VARSIZE_ANY_EXHDR(value);
	text	   *copy = MemoryContextAlloc(TipsContext, VARHDRSZ + len);

	SET_VARSIZE(copy, VARHDRSZ + len);
	memcpy(VARDATA(copy), VARDATA_ANY(value), len);
	return copy;
}

/*
 * The type of an aggregate of which this session knows that "version" is stored,
 * or NULL if it does not know.  The caller has locked the event table, and takes
 * a mark of erasures before it asks.  Not for REPEATABLE READ, where it matters
 * what the transaction sees.  The result is the caller's: a trigger of the table that
 * appends may take the place of what is remembered here.
 */
text *
asynx_tips_find(const text *aggregate_id, int64 version)
{
	const Tip  *tip;

	if (Tips == NULL)
		return NULL;

	ForgetStale();
	tip = Place(aggregate_id);
	if (tip->aggregate_id == NULL || tip->version != version ||
		!asynx_same_bytes(tip->aggregate_id, aggregate_id) ||
		asynx_erasures_since(&tip->mark))
		return NULL;
	return DatumGetTextPCopy(PointerGetDatum(tip->type));
}

/* Remembers an event that was stored; the mark is from before the stream was looked at. */
void
asynx_tips_remember(const text *aggregate_id, int64 version, const text *type,
					const AsynxErasuresMark *mark)
{
	Tip		   *tip;

	if (Tips == NULL)
		MakeTips();

	ForgetStale();
	tip = Place(aggregate_id);
	if (!asynx_same_bytes(tip->aggregate_id, aggregate_id) ||
		!asynx_same_bytes(tip->type, type))
	{
		Forget(tip);
		tip->type = Copy(type);
		tip->aggregate_id = Copy(aggregate_id);
	}
	tip->version = version;
	tip->mark = *mark;
	tip->transaction = Transaction;
	Remembered = true;
}

/* The end of a transaction: if it was rolled back, what it stored is gone. */
void
asynx_tips_at_xact_end(XactEvent event)
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
asynx_tips_at_subxact_end(SubXactEvent event)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		ForgetCurrent();
}
