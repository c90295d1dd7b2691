/*
 * tips.h
 *	  Where the streams are that this session appended to.
 */
#ifndef ASYNX_TIPS_H
#define ASYNX_TIPS_H

#include "erasures.h"

extern text *asynx_tips_find(const text *aggregate_id, int64 version);
extern void asynx_tips_remember(const text *aggregate_id, int64 version, const text *type,
								const AsynxErasuresMark *mark);

/* Ends of transactions and subtransactions, for asynx.c; they raise nothing. */
extern void asynx_tips_at_xact_end(XactEvent event);
extern void asynx_tips_at_subxact_end(SubXactEvent event);

#endif							/* ASYNX_TIPS_H */
