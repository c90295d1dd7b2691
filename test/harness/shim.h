/*
 * shim.h
 *	  As much of a PostgreSQL backend as the pure JSON rooms need.
 *
 * Rooms compiled against it run without a server, under sanitizers: palloc is
 * malloc, so every chunk has its own red zones; contexts free what they own and
 * call reset callbacks; ereport(ERROR) returns to shim_run().
 */
#ifndef SHIM_H
#define SHIM_H

#include "asynx.h"

#include "fmgr.h"
#include "utils/memutils.h"

/* What ereport() was given. */
typedef struct ShimError
{
	char		sqlstate[6];
	char		message[1024];
} ShimError;

/* Must be called first. */
extern void shim_init(void);

/* Runs `body`; false, with `error` filled in, if it raised an error. */
extern bool shim_run(void (*body) (void *arg), void *arg, ShimError *error);

/* Most bytes that were allocated at once since the last call. */
extern Size shim_peak(void);

/* A context with nothing around it. */
extern MemoryContext shim_context_create(void);

/*
 * Faults to come: the n-th allocation or interrupt check from now on raises an
 * error, once.  0: never.  Returns what is left of the count before.
 */
extern long shim_fail_allocation(long n);
extern long shim_cancel_check(long n);

/* Counts an allocation that is not palloc's: is it the one that fails? */
extern bool shim_allocation_fails(void);

#endif							/* SHIM_H */
