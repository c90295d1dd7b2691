/*
 * lock.h
 *	  The lock of an aggregate.
 */
#ifndef ASYNX_LOCK_H
#define ASYNX_LOCK_H

extern void asynx_lock_aggregate(const text *aggregate_id);
extern void asynx_lock_aggregate_queued(const text *aggregate_id);
extern bool asynx_lock_aggregate_if_free(const text *aggregate_id);
extern uint64 asynx_lock_rank(const text *aggregate_id);

#endif							/* ASYNX_LOCK_H */
