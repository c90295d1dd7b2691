/*
 * asynx.c
 *	  Where the server enters the library: the list of room inits, and the one
 *	  pair of transaction callbacks.
 *
 * Loaded through shared_preload_libraries, asynx has its shared memory and
 * serves everything.  Loaded on demand, it serves the JSON functions and reads
 * of single aggregates, and says not_loaded where positions are asked for.
 */
#include "asynx.h"

#include "access/xact.h"
#include "fmgr.h"
#include "erasures.h"
#include "fence.h"
#include "guard.h"
#include "guc.h"
#include "inflight.h"
#include "launcher.h"
#include "query.h"
#include "queue.h"
#include "shmem.h"
#include "slots.h"
#include "states.h"
#include "tips.h"
#include "utils/resowner.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/* Tells the rooms that keep something for a transaction that it ends. */
static void
AtXactEnd(XactEvent event, void *arg)
{
	(void) arg;
	asynx_inflight_at_xact_end(event);
	asynx_erasures_at_xact_end(event);
	asynx_tips_at_xact_end(event);
	asynx_states_at_xact_end(event);
	asynx_guard_restore();
	asynx_queue_leave();
}

/* The same for a subtransaction. */
static void
AtSubXactEnd(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	(void) arg;
	asynx_inflight_at_subxact_end(event, mine, parent);
	asynx_tips_at_subxact_end(event);
	asynx_states_at_subxact_end(event);
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	asynx_guard_restore();
	asynx_queue_leave();
}

/*
 * The same when the transaction has let go of everything, and others have been told
 * what changed: who is woken now sees it.
 */
static void
AtRelease(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	(void) arg;
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level)
		return;
	asynx_launcher_at_release(is_commit);
	asynx_slots_at_release(is_commit);
}

/* Called once when the library is loaded; every child of the postmaster inherits the result. */
void
_PG_init(void)
{
	asynx_guc_init();
	asynx_shmem_init();
	asynx_query_init();
	asynx_guard_init();
	asynx_fence_init();
	asynx_launcher_init();

	RegisterXactCallback(AtXactEnd, NULL);
	RegisterSubXactCallback(AtSubXactEnd, NULL);
	RegisterResourceReleaseCallback(AtRelease, NULL);
}
