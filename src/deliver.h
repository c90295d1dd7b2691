/*
 * deliver.h
 *	  Giving one event to a subscription.
 */
#ifndef ASYNX_DELIVER_H
#define ASYNX_DELIVER_H

#include "event.h"
#include "states.h"
#include "subscription.h"

/* An event on its way to a subscription. */
typedef struct AsynxDelivery
{
	AsynxEnvelope envelope;
	bool		folded;			/* are the states in the envelope? */
	AsynxStatesMark mark;		/* from before the event was looked at */
	bool		repeatable;		/* can the whole transaction be repeated after an error? */
} AsynxDelivery;

/* These run within a query scope. */
extern ErrorData *asynx_deliver(const AsynxSubscription *subscription, AsynxDelivery *delivery);
extern void asynx_deliver_fold(AsynxDelivery *delivery);

extern bool asynx_deliver_wants_states(AsynxForm form);
extern bool asynx_deliver_asks_for_repetition(const ErrorData *error);

#endif							/* ASYNX_DELIVER_H */
