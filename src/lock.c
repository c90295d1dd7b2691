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
 *
 * While a command's functions decide on an aggregate, what they call in the same
 * session must not change it under their hands, though the lock would let it: the
 * lock is then refused to the session that holds it.  Nor must they change how its
 * events are read, by their type and its upcasters.
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

/* The innermost decision under way in this session; NULL for none. */
static const AsynxDecisionUnderWay *UnderWay = NULL;

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

/* Begins a decision on an aggregate whose lock is held. */
void
asynx_lock_begin_decision(AsynxDecisionUnderWay *decision, const text *aggregate_id)
{
	decision->rank = asynx_lock_rank(aggregate_id);
	decision->outer = UnderWay;
	UnderWay = decision;
}

/* Ends it, also after an error. */
void
asynx_lock_end_decision(const AsynxDecisionUnderWay *decision)
{
	UnderWay = decision->outer;
}

/* Does this session decide on the aggregate? */
static bool
IsUnderWay(const text *aggregate_id)
{
	const AsynxDecisionUnderWay *decision;

	for (decision = UnderWay; decision != NULL; decision = decision->outer)
	{
		if (decision->rank == asynx_lock_rank(aggregate_id))
			return true;
	}
	return false;
}

/* Raises pipeline_failed if this session decides on the aggregate. */
static void
CheckNotUnderWay(const text *aggregate_id)
{
	if (IsUnderWay(aggregate_id))
		asynx_lock_refuse_change(aggregate_id);
}

/* Raises pipeline_failed: a function that decides on the aggregate changes it. */
void
asynx_lock_refuse_change(const text *aggregate_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_PIPELINE_FAILED),
			 errmsg("aggregate \"%s\" cannot be changed by a function that decides on it",
					text_to_cstring(aggregate_id)),
			 errhint("What the function returns is the change.")));
}

/* Raises pipeline_failed if this session decides on any aggregate. */
void
asynx_lock_check_no_decision(void)
{
	if (UnderWay != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_PIPELINE_FAILED),
				 errmsg("how events are read cannot be changed by a function that decides "
						"on an aggregate")));
}

/* Waits for the aggregate's lock and keeps it to the end of the transaction. */
void
asynx_lock_aggregate(const text *aggregate_id)
{
	LOCKTAG		tag;

	CheckNotUnderWay(aggregate_id);
	SetTag(&tag, aggregate_id);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* Takes the aggregate's lock if nobody has it; false if somebody does, or decides on it. */
bool
asynx_lock_aggregate_if_free(const text *aggregate_id)
{
	LOCKTAG		tag;

	if (IsUnderWay(aggregate_id))
		return false;
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
	CheckNotUnderWay(aggregate_id);
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
