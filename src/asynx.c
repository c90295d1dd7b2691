/*
 * asynx.c
 *	  Where the server enters the library: the list of room inits.
 *
 * Loaded through shared_preload_libraries, asynx has its shared memory and
 * serves everything.  Loaded on demand, it serves the JSON functions and reads
 * alone, and says so (not_loaded) where the store is asked for.
 */
#include "asynx.h"

#include "fmgr.h"
#include "guc.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/* Called once when the library is loaded; every child of the postmaster inherits the result. */
void
_PG_init(void)
{
	asynx_guc_init();
}
