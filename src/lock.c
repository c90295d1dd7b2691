/*
 * lock.c
 *	  Makes commands on one aggregate serial.
 *
 * The lock is the server's own, an advisory lock of a class (field 4) that no
 * SQL function can produce: pg_advisory_lock() uses 1 and 2.  So it waits
 * fairly, obeys lock_timeout and cancel, takes part in deadlock detection, is
 * seen in pg_locks, and is held to the end of the transaction.  Two ids with the
 * same 64-bit hash share a lock, which costs them a wait and nothing else.
 *
 * Commands that find it taken wait in a queue that may be bounded (queue.c).
 * Who needs the locks of several aggregates takes them in the order of their
 * ranks, so that two of them never wait for each other.
 *
 * append() does not take it: the primary key decides its races.
 */
#include "asynx.h"

#include "common/hashfn.h"
#include "errors.h"
#include "guc.h"
#include "lock.h"
#include "miscadmin.h"
#include "queue.h"
#include "storage/lock.h"
#include "utils/builtins.h"

#define ASYNX_LOCK_CLASS 0xA5

/* What the lock of an aggregate is known by; the order in which several are to be taken. */
uint64
asynx_lock_rank(const text *aggregate_id)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(aggregate_id),
							   VARSIZE_ANY_EXHDR(aggregate_id), 0);
}

/* The tag of an aggregate's lock. */
static void
SetTag(LOCKTAG *tag, const text *aggregate_id)
{
	uint64		hash = asynx_lock_rank(aggregate_id);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 ASYNX_LOCK_CLASS);
}

/* Waits for the aggregate's lock and keeps it to the end of the transaction. */
void
asynx_lock_aggregate(const text *aggregate_id)
{
	LOCKTAG		tag;

	SetTag(&tag, aggregate_id);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* Takes the aggregate's lock if nobody has it; false if somebody does. */
bool
asynx_lock_aggregate_if_free(const text *aggregate_id)
{
	LOCKTAG		tag;

	SetTag(&tag, aggregate_id);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Waits for the aggregate's lock in a queue; raises queue_full at once if there
 * is no place in it.
 */
void
asynx_lock_aggregate_queued(const text *aggregate_id)
{
	if (asynx_lock_aggregate_if_free(aggregate_id))
		return;

	if (!asynx_queue_enter(asynx_lock_rank(aggregate_id)))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_QUEUE_FULL),
				 errmsg("too many commands wait for aggregate \"%s\"",
						text_to_cstring(aggregate_id)),
				 errdetail("At most %d may wait in its shard.", asynx_queue_depth),
				 errhint("Try again later, or raise asynx.queue_depth.")));
	asynx_lock_aggregate(aggregate_id);
	asynx_queue_leave();
}
