/*
 * checkpoint.h
 *	  How far subscriptions have got, and what they could not handle.
 */
#ifndef ASYNX_CHECKPOINT_H
#define ASYNX_CHECKPOINT_H

#include "deliver.h"
#include "executor/tuptable.h"
#include "slots.h"

/* An event that a subscription could not handle, or has to wait with. */
typedef struct AsynxFailure
{
	int64		position;
	text	   *aggregate_id;
	int64		version;
	int			attempts;
	int			begun;			/* how many attempts have not ended */
	bool		requested;		/* did somebody ask for it? */
} AsynxFailure;

/* These run within a query scope; the first keeps the partition to the end of the transaction. */
extern bool asynx_checkpoint_lock(const AsynxPartition *partition, int64 *position);
extern void asynx_checkpoint_move(const AsynxPartition *partition, int64 position);
extern bool asynx_checkpoint_in_rebuild(const AsynxPartition *partition, int64 position);
extern int	asynx_partition_of(const text *aggregate_id, int partitions);

/* Whose later events have to wait; the next of a line, or of all, waits no more. */
extern bool asynx_failures_any(const char *subscription);
extern bool asynx_failures_hold_up(const char *subscription, const text *aggregate_id);
extern void asynx_failures_release(const char *subscription, const text *aggregate_id);
extern void asynx_failures_release_all(const AsynxPartition *partition, int partitions,
									   int64 checkpoint);

/* What is due, the first of each aggregate; and when to look for the next. */
extern List *asynx_failures_due(const AsynxPartition *partition, int partitions,
								TimestampTz *next);

extern void asynx_failures_forget(const char *subscription, int64 position);
extern void asynx_failures_begin(const char *subscription, const AsynxStoredEvent *event);
extern void asynx_failures_begin_again(const char *subscription, int64 position);
extern bool asynx_failures_lock_due(const char *subscription, int64 position);
extern List *asynx_failures_begun(const char *subscription);
extern void asynx_failures_wait(const char *subscription, const AsynxStoredEvent *event);
extern bool asynx_failures_record(const AsynxSubscription *subscription,
								  const AsynxStoredEvent *event, int attempts,
								  const ErrorData *error);
extern void asynx_subscription_stop(const char *subscription, const char *reason);

#endif							/* ASYNX_CHECKPOINT_H */
