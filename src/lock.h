/*
 * lock.h
 *	  The lock of an aggregate.
 */
#ifndef ASYNX_LOCK_H
#define ASYNX_LOCK_H

/* A decision on an aggregate, kept by who makes it. */
typedef struct AsynxDecisionUnderWay
{
	uint64		rank;			/* of the aggregate's lock */
	const struct AsynxDecisionUnderWay *outer;	/* the one in which it was begun */
} AsynxDecisionUnderWay;

extern void asynx_lock_aggregate(const text *aggregate_id);
extern void asynx_lock_aggregate_queued(const text *aggregate_id);
extern bool asynx_lock_aggregate_if_free(const text *aggregate_id);
extern uint64 asynx_lock_rank(const text *aggregate_id);

extern void asynx_lock_begin_decision(AsynxDecisionUnderWay *decision, const text *aggregate_id);
extern void asynx_lock_end_decision(const AsynxDecisionUnderWay *decision);
extern void asynx_lock_check_no_decision(void);
pg_noreturn extern void asynx_lock_refuse_change(const text *aggregate_id);

#endif							/* ASYNX_LOCK_H */
