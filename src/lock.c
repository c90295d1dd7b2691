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
 * append() does not take it: the primary key decides its races.
 */
#include "asynx.h"

#include "common/hashfn.h"
#include "lock.h"
#include "miscadmin.h"
#include "storage/lock.h"

#define ASYNX_LOCK_CLASS 0xA5

/* The tag of an aggregate's lock. */
static void
SetTag(LOCKTAG *tag, const text *aggregate_id)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(aggregate_id),
										   VARSIZE_ANY_EXHDR(aggregate_id), 0);

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
