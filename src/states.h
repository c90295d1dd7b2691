/*
 * states.h
 *	  The states that this session's commands left.
 */
#ifndef ASYNX_STATES_H
#define ASYNX_STATES_H

#include "access/xact.h"
#include "erasures.h"
#include "replay.h"

/* These run after the event table and the aggregate were locked. */
extern bool asynx_states_find(const text *aggregate_id, AsynxAggregate *aggregate);
extern void asynx_states_remember(const text *aggregate_id, const AsynxAggregate *aggregate,
								  const AsynxErasuresMark *mark);

/* Ends of transactions and subtransactions, for asynx.c; they raise nothing. */
extern void asynx_states_at_xact_end(XactEvent event);
extern void asynx_states_at_subxact_end(SubXactEvent event);

#endif							/* ASYNX_STATES_H */
