/*
 * erasures.h
 *	  Is an aggregate being erased somewhere just now?
 */
#ifndef ASYNX_ERASURES_H
#define ASYNX_ERASURES_H

#include "access/xact.h"

/* A moment, as asynx_erasures_mark() found it. */
typedef struct AsynxErasuresMark
{
	uint64		begun;			/* erasures begun so far */
	bool		under_way;		/* one was under way */
} AsynxErasuresMark;

/* Shared memory, for shmem.c. */
extern Size asynx_erasures_shmem_size(void);
extern void asynx_erasures_shmem_init(void);

/* The end of a transaction, for asynx.c; raises nothing, but for a PREPARE. */
extern void asynx_erasures_at_xact_end(XactEvent event);

/* The eraser's side, and the writer's. */
extern void asynx_erasures_begin(void);
extern AsynxErasuresMark asynx_erasures_mark(void);
extern bool asynx_erasures_since(const AsynxErasuresMark *mark);

#endif							/* ASYNX_ERASURES_H */
