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

#endif							/* ASYNX_SNAPSHOT_H */
