/*
 * inline.h
 *	  Inline subscriptions: handlers in the writer's transaction.
 */
#ifndef ASYNX_INLINE_H
#define ASYNX_INLINE_H

#include "event.h"

/* One of many events that were stored together. */
typedef struct AsynxInlineItem
{
	const text *aggregate_id;
	int64		version;
	const text *event_name;
} AsynxInlineItem;

/* These run within a query scope that writes, after the events were stored. */
extern void asynx_inline_run(const AsynxEnvelope *envelope);
extern void asynx_inline_run_stored(const AsynxStoredEvent *event);
extern void asynx_inline_run_many(const AsynxInlineItem *items, int count);
extern void asynx_inline_run_forget(const AsynxEnvelope *envelope);

#endif							/* ASYNX_INLINE_H */
