/*
 * hook.h
 *	  Tells the user's hooks what befell others.
 */
#ifndef ASYNX_HOOK_H
#define ASYNX_HOOK_H

#include "event.h"
#include "subscription.h"

/* These run within a query scope. */
extern void asynx_hooks_tell_failure(const AsynxSubscription *subscription,
									 const AsynxEnvelope *envelope, const ErrorData *error);
extern void asynx_hooks_tell_timeout(const AsynxSubscription *subscription,
									 const AsynxEnvelope *envelope);
extern void asynx_hooks_tell_corruption(const text *aggregate_id, const ErrorData *error);
extern void asynx_hooks_ask_forget(const AsynxEnvelope *envelope);

/* Fills in the arguments of a call for an event. */
extern void asynx_hooks_set_event(AsynxCall *call, AsynxForm form, const AsynxEnvelope *envelope);

#endif							/* ASYNX_HOOK_H */
