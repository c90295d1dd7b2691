/*
 * erasures.c
 *	  Tells writers whether an aggregate may have been erased under their hands.
 *
 * An append that waited for an erasure must look again at what it continues
 * (store.c, 3), but erasures are rare.  Two counters tell whether there was any:
 * those under way, and those ever begun.
 *
 * 1. An eraser raises both, with full barriers, before it touches a row.  It is
 *	  no longer under way when its transaction has ended and that is visible
 *	  (XACT_EVENT_COMMIT comes after ProcArrayEndTransaction), or was aborted.
 *
 * 2. A writer takes a mark, and only then the snapshot under which it looks at
 *	  the stream.  When its event is in the table and its indexes, it compares.
 *
 * If nothing was under way at the mark and none has begun since, then every
 * erasure had either ended before the snapshot, which shows the stream without
 * what it erased, or begins after the event was inserted, and waits for it.
 *
 * The counters are the cluster's: an erasure in another database, or of another
 * aggregate, makes a writer look once more in vain.  They need no lock.
 */
#include "asynx.h"

#include "commands/trigger.h"
#include "erasures.h"
#include "fmgr.h"
#include "port/atomics.h"
#include "storage/shmem.h"

/* The shared memory of this room. */
typedef struct ErasuresShared
{
	pg_atomic_uint64 begun;		/* erasures ever begun */
	pg_atomic_uint32 under_way; /* transactions that have begun one and not ended */
} ErasuresShared;

/* NULL when the library was not preloaded; then nobody can append either. */
static ErasuresShared *Shared = NULL;

/* Has this backend's transaction begun one? */
static bool Erasing = false;

/* Size of this room's shared memory. */
Size
asynx_erasures_shmem_size(void)
{
	return sizeof(ErasuresShared);
}

/* Sets up this room's shared memory, with nothing under way. */
void
asynx_erasures_shmem_init(void)
{
	bool		found;

	Shared = ShmemInitStruct("asynx erasures", asynx_erasures_shmem_size(), &found);
	if (found)
		return;

	pg_atomic_init_u64(&Shared->begun, 0);
	pg_atomic_init_u32(&Shared->under_way, 0);
}

/* Announces an erasure; called before it looks at the stream. */
void
asynx_erasures_begin(void)
{
	if (Shared == NULL)
		return;

	if (!Erasing)
	{
		Erasing = true;
		pg_atomic_fetch_add_u32(&Shared->under_way, 1);
	}
	pg_atomic_fetch_add_u64(&Shared->begun, 1);
}

/* A mark to compare with later; taken before the snapshot that sees the stream. */
AsynxErasuresMark
asynx_erasures_mark(void)
{
	AsynxErasuresMark mark = {.under_way = true};

	if (Shared == NULL)
		return mark;

	mark.begun = pg_atomic_read_u64(&Shared->begun);
	pg_memory_barrier();
	mark.under_way = pg_atomic_read_u32(&Shared->under_way) > 0;
	pg_memory_barrier();
	return mark;
}

/* Can an erasure have ended between the mark and now? */
bool
asynx_erasures_since(const AsynxErasuresMark *mark)
{
	if (mark->under_way)
		return true;

	pg_memory_barrier();
	return pg_atomic_read_u64(&Shared->begun) != mark->begun;
}

/*
 * The end of a transaction: its erasures are over.
 *
 * A prepared transaction would go on without being counted, so PREPARE is
 * refused after an erasure, as it is after an append.
 */
void
asynx_erasures_at_xact_end(XactEvent event)
{
	if (!Erasing)
		return;

	if (event == XACT_EVENT_PRE_PREPARE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has erased an aggregate")));

	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
	{
		Erasing = false;
		pg_atomic_fetch_sub_u32(&Shared->under_way, 1);
	}
}

PG_FUNCTION_INFO_V1(asynx_events_changed);

/*
 * asynx.events_changed() returns trigger: who changes events in any way counts as an
 * eraser.  For each row, because only row triggers are run for what replication brings.
 */
Datum
asynx_events_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("\"asynx.events_changed\" can only be called as a trigger")));

	asynx_erasures_begin();
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
						   trigger->tg_newtuple : trigger->tg_trigtuple);
}
