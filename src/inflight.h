/*
 * inflight.h
 *	  Which positions are still in flight, and how far a reader may go.
 */
#ifndef ASYNX_INFLIGHT_H
#define ASYNX_INFLIGHT_H

#include "access/xact.h"

/* Shared memory, for shmem.c. */
extern Size asynx_inflight_shmem_size(void);
extern void asynx_inflight_shmem_init(void);

/* Ends of transactions, for asynx.c; they never raise, but for a PREPARE. */
extern void asynx_inflight_at_xact_end(XactEvent event);
extern void asynx_inflight_at_subxact_end(SubXactEvent event, SubTransactionId mine,
										  SubTransactionId parent);

/* The reader's side. */
extern int64 asynx_inflight_safe_position(Oid sequence);

#endif							/* ASYNX_INFLIGHT_H */
