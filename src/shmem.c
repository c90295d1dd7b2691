/*
 * shmem.c
 *	  Asks for the shared memory of all rooms and has them set it up.
 *
 * Each room owns its size and its initialisation; this file only sums them.
 *
 * Lock order: AddinShmemInitLock, while the server starts, is the only LWLock
 * that is taken here.  The in-flight registry (inflight.c), the queues (queue.c)
 * and the counters of erasures (erasures.c) need none.
 * Heavyweight locks: first the event table's (query.c), then an aggregate's
 * (lock.c), then those of rows.
 */
#include "asynx.h"

#include "erasures.h"
#include "inflight.h"
#include "miscadmin.h"
#include "queue.h"
#include "shmem.h"
#include "slots.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

static shmem_request_hook_type PreviousRequest = NULL;
static shmem_startup_hook_type PreviousStartup = NULL;

/* Hook: asks for the memory, before the segment is made. */
static void
RequestShmem(void)
{
	if (PreviousRequest != NULL)
		PreviousRequest();
	RequestAddinShmemSpace(asynx_inflight_shmem_size());
	RequestAddinShmemSpace(asynx_queue_shmem_size());
	RequestAddinShmemSpace(asynx_erasures_shmem_size());
	RequestAddinShmemSpace(asynx_slots_shmem_size());
	RequestNamedLWLockTranche("asynx slots", 1);
}

/* Hook: sets the memory up; also after a crash restart, then from nothing again. */
static void
StartShmem(void)
{
	if (PreviousStartup != NULL)
		PreviousStartup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	asynx_inflight_shmem_init();
	asynx_queue_shmem_init();
	asynx_erasures_shmem_init();
	asynx_slots_shmem_init();
	LWLockRelease(AddinShmemInitLock);
}

/* Installs the hooks; without shared_preload_libraries there is nothing to install. */
void
asynx_shmem_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;

	PreviousRequest = shmem_request_hook;
	shmem_request_hook = RequestShmem;
	PreviousStartup = shmem_startup_hook;
	shmem_startup_hook = StartShmem;
}
