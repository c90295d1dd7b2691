/*
 * inflight.c
 *	  The safe position: how far a reader of the feed may go so that no event
 *	  ever appears behind it.
 *
 * Positions come from a sequence, and transactions commit in another order than
 * they drew them.  A reader that simply remembers the highest position it saw
 * loses the events of slower transactions.  Here nobody waits for anybody:
 *
 * 1. Each backend has a slot in shared memory.  Before its transaction draws
 *	  its first position, a writer publishes a lower bound of what it may draw:
 *	  the sequence's last value + 1.  Then it draws, and raises the bound to the
 *	  position it got.  Between publishing and drawing lies a full barrier.
 *
 * 2. The slot is cleared when the transaction has ended: after a commit has
 *	  become visible (XACT_EVENT_COMMIT comes after ProcArrayEndTransaction), or
 *	  after an abort.  The abort of a subtransaction clears it only if that
 *	  subtransaction published it.
 *
 * 3. A reader reads the sequence's last value, then all slots, and only then
 *	  takes its snapshot.  Safe is what is not above the last value and below
 *	  every bound.  If a slot was not seen, it was published after the last value
 *	  was read, so what its owner draws is higher.  If it was seen cleared, its
 *	  transaction had ended before the snapshot, which therefore shows its events.
 *
 * 4. The safe position may step back for a moment, between publishing and
 *	  drawing; readers keep their maximum.
 *
 * 5. A commit also leaves the end of its WAL here before its slot is cleared.
 *	  Whoever asks for the safe position first flushes to there, so that nobody
 *	  acts on an event that a crash could take back (synchronous_commit = off),
 *	  and to where the sequence was logged, so that no position below a mark that
 *	  somebody remembers is ever drawn again.
 *
 * The sequence is itself the "highest position taken": its page is read and
 * written under the buffer's lock, it survives a crash (then up to 32 above what
 * was used), setval() after a restore and DROP EXTENSION, so there is no copy
 * of it that could be wrong.  It must have CACHE 1; NextPosition() sees to it.
 *
 * No lock is needed: a slot is written by its owner alone, with atomics, and
 * what a reader may conclude follows from the order of the steps.
 * docs/model/ holds a Promela model of this protocol.
 */
#include "asynx.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "commands/sequence.h"
#include "errors.h"
#include "fmgr.h"
#include "funcapi.h"
#include "inflight.h"
#include "slots.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* One backend's positions in flight; written by that backend alone. */
typedef struct InflightSlot
{
	pg_atomic_uint64 bound;		/* no position below it will be drawn; 0 = none in flight */
	pg_atomic_uint64 since;		/* start of the transaction, a TimestampTz */
	pg_atomic_uint32 database;	/* whose sequence the bound belongs to */
	pg_atomic_uint32 pid;		/* the backend */
	char		padding[PG_CACHE_LINE_SIZE - 24];	/* no two writers share a cache line */
} InflightSlot;

/* The shared memory of this room. */
typedef struct InflightShared
{
	pg_atomic_uint64 commit_end;	/* end of the newest append's WAL, an XLogRecPtr */
	int			nslots;			/* fixed when the server starts */
	InflightSlot slots[FLEXIBLE_ARRAY_MEMBER];	/* by process number */
} InflightShared;

/* NULL when the library was not preloaded. */
static InflightShared *Shared = NULL;

/* This backend's slot while a bound is published in it, else NULL. */
static InflightSlot *MySlot = NULL;

/* The subtransaction that published it. */
static SubTransactionId Publisher = InvalidSubTransactionId;

/* How many processes can have a transaction: process numbers are below it. */
static int
SlotCount(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

/* Size of this room's shared memory. */
Size
asynx_inflight_shmem_size(void)
{
	return add_size(offsetof(InflightShared, slots),
					mul_size(SlotCount(), sizeof(InflightSlot)));
}

/* Sets up this room's shared memory, with nothing in flight. */
void
asynx_inflight_shmem_init(void)
{
	bool		found;
	int			i;

	Shared = ShmemInitStruct("asynx in flight", asynx_inflight_shmem_size(), &found);
	if (found)
		return;

	pg_atomic_init_u64(&Shared->commit_end, InvalidXLogRecPtr);
	Shared->nslots = SlotCount();
	for (i = 0; i < Shared->nslots; i++)
	{
		InflightSlot *slot = &Shared->slots[i];

		pg_atomic_init_u64(&slot->bound, 0);
		pg_atomic_init_u64(&slot->since, 0);
		pg_atomic_init_u32(&slot->database, InvalidOid);
		pg_atomic_init_u32(&slot->pid, 0);
	}
}

/* Raises not_loaded unless the shared memory is there. */
static void
CheckLoaded(void)
{
	if (Shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_NOT_LOADED),
				 errmsg("asynx is not loaded"),
				 errhint("Add asynx to shared_preload_libraries and restart the server.")));
}

/*
 * The last value of the sequence that was taken, 0 if none was; "logged", unless
 * NULL, gets the end of the WAL that a crash needs to know of it.
 *
 * Reads the page itself, as nextval() does (PostgreSQL, commands/sequence.c),
 * because no function of the server's tells the page's LSN.
 */
static int64
LastValue(Oid sequence, XLogRecPtr *logged)
{
	Relation	relation = relation_open(sequence, AccessShareLock);
	Buffer		buffer;
	Page		page;
	HeapTupleData tuple;
	Form_pg_sequence_data data;
	int64		last;

	buffer = ReadBuffer(relation, 0);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	tuple.t_data = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	data = (Form_pg_sequence_data) GETSTRUCT(&tuple);
	last = data->is_called ? data->last_value : data->last_value - 1;
	if (logged != NULL)
		*logged = PageGetLSN(page);
	UnlockReleaseBuffer(buffer);

	relation_close(relation, AccessShareLock);
	return last;
}

/* Clears this backend's slot; what it drew is visible or gone. */
static void
ClearSlot(void)
{
	pg_write_barrier();
	pg_atomic_write_u64(&MySlot->bound, 0);
	MySlot = NULL;
	Publisher = InvalidSubTransactionId;

	/* there may be something to read now, also if this was an abort */
	asynx_slots_wake_bus();
}

/* Exit callback: a backend that dies leaves nothing behind. */
static void
ClearSlotAtExit(int code, Datum arg)
{
	(void) code;
	(void) arg;
	if (MySlot != NULL)
		ClearSlot();
}

/* Publishes "bound" as the lowest position that this transaction may draw. */
static void
PublishBound(int64 bound)
{
	static bool registered = false;
	InflightSlot *slot = &Shared->slots[asynx_my_proc_number()];

	if (!registered)
	{
		before_shmem_exit(ClearSlotAtExit, (Datum) 0);
		registered = true;
	}

	pg_atomic_write_u32(&slot->database, MyDatabaseId);
	pg_atomic_write_u32(&slot->pid, MyProcPid);
	pg_atomic_write_u64(&slot->since, (uint64) GetCurrentTransactionStartTimestamp());
	pg_write_barrier();
	pg_atomic_write_u64(&slot->bound, (uint64) bound);
	MySlot = slot;
	Publisher = GetCurrentSubTransactionId();

	/* nobody may see us draw who cannot see the bound */
	pg_memory_barrier();
}

/*
 * Draws the next position for the current transaction.
 *
 * The caller must be about to insert the event in the statement whose snapshot
 * saw the version before it.
 */
static int64
NextPosition(Oid sequence)
{
	bool		first = (MySlot == NULL);
	int64		bound;
	int64		position;

	if (!first)
		return nextval_internal(sequence, false);

	bound = LastValue(sequence, NULL) + 1;
	PublishBound(bound);

	position = nextval_internal(sequence, false);
	if (position < bound)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("position %lld was taken before", (long long) position),
				 errdetail("The position sequence must have CACHE 1 and never step back.")));

	pg_atomic_write_u64(&MySlot->bound, (uint64) position);
	return position;
}

/* Remembers the end of this transaction's WAL, unless a later one is known. */
static void
RememberCommitEnd(void)
{
	uint64		known = pg_atomic_read_u64(&Shared->commit_end);

	while (known < XactLastCommitEnd &&
		   !pg_atomic_compare_exchange_u64(&Shared->commit_end, &known, XactLastCommitEnd))
		;
}

/*
 * The end of a transaction: its slot is cleared.
 *
 * A prepared transaction would outlive its backend and with it the slot, so
 * PREPARE is refused after an append, as it is after NOTIFY.
 */
void
asynx_inflight_at_xact_end(XactEvent event)
{
	if (MySlot == NULL)
		return;

	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has appended events")));
			break;
		case XACT_EVENT_COMMIT:
			RememberCommitEnd();
			ClearSlot();
			break;
		case XACT_EVENT_ABORT:
			ClearSlot();
			break;
		default:
			break;
	}
}

/* The end of a subtransaction: an abort clears the slot that it published itself. */
void
asynx_inflight_at_subxact_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent)
{
	if (MySlot == NULL || Publisher != mine)
		return;

	if (event == SUBXACT_EVENT_ABORT_SUB)
		ClearSlot();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		Publisher = parent;
}

/* The lowest position that a transaction of this database may still draw or commit. */
static uint64
LowestBound(void)
{
	uint64		lowest = PG_UINT64_MAX;
	int			i;

	for (i = 0; i < Shared->nslots; i++)
	{
		InflightSlot *slot = &Shared->slots[i];
		uint64		bound = pg_atomic_read_u64(&slot->bound);

		if (bound == 0 || bound >= lowest)
			continue;
		pg_read_barrier();
		if (pg_atomic_read_u32(&slot->database) == MyDatabaseId)
			lowest = bound;
	}
	return lowest;
}

/*
 * The position at and below which no event can appear any more, 0 for none.
 *
 * All that it covers is on disk when this returns: the commits of its events,
 * and that the sequence got so far, or else a crash could hand a position below
 * the mark to another event.
 *
 * The caller takes its snapshot after this call, in a statement of its own; a
 * snapshot that is older than the mark misses events below it.  Primary only.
 */
int64
asynx_inflight_safe_position(Oid sequence)
{
	XLogRecPtr	logged;
	int64		last;
	uint64		lowest;

	CheckLoaded();
	last = LastValue(sequence, &logged);
	pg_memory_barrier();
	lowest = LowestBound();
	pg_memory_barrier();
	XLogFlush(Max(logged, (XLogRecPtr) pg_atomic_read_u64(&Shared->commit_end)));

	return (uint64) last < lowest ? last : (int64) (lowest - 1);
}

PG_FUNCTION_INFO_V1(asynx_next_position);
PG_FUNCTION_INFO_V1(asynx_feed_holders);

/*
 * asynx.next_position(regclass) returns bigint: the default of events.position.
 *
 * Raises not_loaded without shared memory.
 */
Datum
asynx_next_position(PG_FUNCTION_ARGS)
{
	Oid			sequence = PG_GETARG_OID(0);

	CheckLoaded();
	if (get_rel_relkind(sequence) != RELKIND_SEQUENCE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relation %u is not a sequence", sequence)));
	PG_RETURN_INT64(NextPosition(sequence));
}

/* asynx.feed_holders(): who holds the safe position back, a row (pid, since, position) each. */
Datum
asynx_feed_holders(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			i;

	CheckLoaded();
	InitMaterializedSRF(fcinfo, 0);
	for (i = 0; i < Shared->nslots; i++)
	{
		InflightSlot *slot = &Shared->slots[i];
		uint64		bound = pg_atomic_read_u64(&slot->bound);
		Datum		values[3];
		bool		nulls[3] = {false, false, false};

		pg_read_barrier();
		if (bound == 0 || pg_atomic_read_u32(&slot->database) != MyDatabaseId)
			continue;
		values[0] = Int32GetDatum((int32) pg_atomic_read_u32(&slot->pid));
		values[1] = TimestampTzGetDatum((TimestampTz) pg_atomic_read_u64(&slot->since));
		values[2] = Int64GetDatum((int64) bound);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
