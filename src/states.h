/*
 * states.h
 *	  The states that this session's commands left, or that it has folded.
 */
#ifndef ASYNX_STATES_H
#define ASYNX_STATES_H

#include "access/xact.h"
#include "erasures.h"
#include "replay.h"

/* What there was before a stream was looked at. */
typedef struct AsynxStatesMark
{
	AsynxErasuresMark erasures;
	uint64		changes;		/* of tables, as far as this session knows */
} AsynxStatesMark;

extern void asynx_states_enlarge(void);
extern void asynx_states_set_reader(uint32 reader);

/* These run after the event table and the aggregate were locked. */
extern AsynxStatesMark asynx_states_mark(void);
extern bool asynx_states_find(const text *aggregate_id, AsynxAggregate *aggregate);
extern void asynx_states_remember(const text *aggregate_id, const AsynxAggregate *aggregate,
								  const AsynxStatesMark *mark);

/* Ends of transactions and subtransactions, for asynx.c; they raise nothing. */
extern void asynx_states_at_xact_end(XactEvent event);
extern void asynx_states_at_subxact_end(SubXactEvent event);

#endif							/* ASYNX_STATES_H */
