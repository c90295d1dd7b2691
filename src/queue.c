/*
 * queue.c
 *	  Bounds how many commands wait for their aggregates.
 *
 * Who finds the lock of an aggregate taken enters the queue of its shard before
 * waiting, and leaves it afterwards; the lock itself, and the order of those who
 * wait, is the server's (lock.c).  With asynx.queue_depth above 0, who would be
 * one too many is not let in.  Aggregates are spread over asynx.shards shards by
 * the hash of their lock; the databases of a cluster share the shards.
 *
 * A queue is an atomic counter, which never shows more than are let in: who is
 * refused leaves it untouched, so nobody is refused because of somebody refused.
 * A backend waits in one queue at a time and
 * remembers which, so a place is given back also by an error (the end of the
 * transaction or subtransaction), by termination (which aborts the transaction,
 * and before_shmem_exit) and by a crash (the memory is made anew).
 */
#include "asynx.h"

#include "guc.h"
#include "port/atomics.h"
#include "queue.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

/* How many wait in each shard; NULL when the library was not preloaded. */
static pg_atomic_uint32 *Waiting = NULL;

/* The queue in which this backend waits; NULL for none. */
static pg_atomic_uint32 *Mine = NULL;

/* Size of this room's shared memory. */
Size
asynx_queue_shmem_size(void)
{
	return mul_size(ASYNX_MAX_SHARDS, sizeof(pg_atomic_uint32));
}

/* Sets up this room's shared memory, with nobody waiting. */
void
asynx_queue_shmem_init(void)
{
	bool		found;
	int			i;

	Waiting = ShmemInitStruct("asynx queues", asynx_queue_shmem_size(), &found);
	if (found)
		return;
	for (i = 0; i < ASYNX_MAX_SHARDS; i++)
		pg_atomic_init_u32(&Waiting[i], 0);
}

/* Exit callback: a backend that dies leaves its place. */
static void
LeaveAtExit(int code, Datum arg)
{
	(void) code;
	(void) arg;
	asynx_queue_leave();
}

/* Raises the counter by 1 unless that would be more than the bound; 0 is no bound. */
static bool
TakePlace(pg_atomic_uint32 *queue, uint32 bound)
{
	uint32		waiting = pg_atomic_read_u32(queue);

	do
	{
		if (bound > 0 && waiting >= bound)
			return false;
	} while (!pg_atomic_compare_exchange_u32(queue, &waiting, waiting + 1));
	return true;
}

/* Takes a place in the queue for this hash; false if it is full. */
bool
asynx_queue_enter(uint64 hash)
{
	static bool registered = false;
	pg_atomic_uint32 *queue;

	if (Waiting == NULL)
		return true;

	if (!registered)
	{
		before_shmem_exit(LeaveAtExit, (Datum) 0);
		registered = true;
	}

	queue = &Waiting[hash % asynx_shards];
	if (!TakePlace(queue, (uint32) asynx_queue_depth))
		return false;
	Mine = queue;
	return true;
}

/* Gives the place back, if this backend has one; called at every abort. */
void
asynx_queue_leave(void)
{
	if (Mine == NULL)
		return;
	(void) pg_atomic_fetch_sub_u32(Mine, 1);
	Mine = NULL;
}
