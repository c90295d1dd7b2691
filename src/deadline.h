/*
 * deadline.h
 *	  Functions of the user's that have to end in time.
 */
#ifndef ASYNX_DEADLINE_H
#define ASYNX_DEADLINE_H

#include "datatype/timestamp.h"

/* When a call has to end; kept by who makes it. */
typedef struct AsynxDeadline
{
	TimestampTz at;
	volatile int kicks;			/* how often the call was told to end since */
	volatile bool others;		/* was a cancel that is not ours pending then? */
	struct AsynxDeadline *outer;	/* of the call in which this one is made */
} AsynxDeadline;

/* Whoever sets a deadline clears it, also after an error. */
extern void asynx_deadline_set(AsynxDeadline *deadline, int64 milliseconds);
extern bool asynx_deadline_clear(AsynxDeadline *deadline);

#endif							/* ASYNX_DEADLINE_H */
