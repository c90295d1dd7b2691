/*
 * snapshot.h
 *	  States kept so that a fold need not begin at version 1.
 */
#ifndef ASYNX_SNAPSHOT_H
#define ASYNX_SNAPSHOT_H

#include "replay.h"

/* These run within a query scope. */
extern void asynx_snapshot_save(const text *aggregate_id, const AsynxAggregate *aggregate);
extern void asynx_snapshot_offer(const text *aggregate_id, const AsynxAggregate *aggregate);
extern bool asynx_snapshot_exists(const text *aggregate_id);
extern bool asynx_snapshot_delete(const text *aggregate_id);

#endif							/* ASYNX_SNAPSHOT_H */
