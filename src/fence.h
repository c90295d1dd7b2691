/*
 * fence.h
 *	  Keeps a function of the user's away from what the caller's session holds.
 */
#ifndef ASYNX_FENCE_H
#define ASYNX_FENCE_H

#include "utils/portal.h"

/* A portal behind the fence. */
typedef struct AsynxFencedPortal
{
	Portal		portal;
	MemoryContext context;		/* its own; tells that it still exists */
	PortalStatus status;		/* which it gets back */
} AsynxFencedPortal;

/* A fence around one call; kept by the caller. */
typedef struct AsynxFence
{
	bool		outer;			/* was there one already? */
	int			count;
	AsynxFencedPortal *portals; /* in the memory context that was current */
} AsynxFence;

extern void asynx_fence_init(void);

/* Whoever raises a fence lowers it, also after an error. */
extern void asynx_fence_raise(AsynxFence *fence);
extern void asynx_fence_lower(const AsynxFence *fence);

/* Before it is lowered, and not after an error: as the user who made them. */
extern void asynx_fence_drop_strays(const AsynxFence *fence);

#endif							/* ASYNX_FENCE_H */
