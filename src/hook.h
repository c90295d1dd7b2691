/*
 * hook.h
 *	  Tells the user's hooks what befell others.
 */
#ifndef ASYNX_HOOK_H
#define ASYNX_HOOK_H

#include "event.h"
#include "subscription.h"
#include "utils/array.h"

/* Events, or stored events, as an array that grows. */
typedef struct AsynxEventArray
{
	AsynxForm	form;			/* of the function that takes them */
	Oid			type;			/* of an element */
	MemoryContext context;		/* of the array */
	MemoryContext scratch;		/* for what is needed until the event is in the array */
	ArrayType  *array;
	int			count;
	Size		bytes;			/* of the array so far */
	Size		room;			/* and what there is room for */
} AsynxEventArray;

/* These run within a query scope. */
extern void asynx_hooks_tell_failure(const AsynxSubscription *subscription,
									 const AsynxEnvelope *envelope, const ErrorData *error);
extern void asynx_hooks_tell_publish_error(const AsynxSubscription *subscription,
										   const AsynxEnvelope *envelope,
										   const ErrorData *error);
extern void asynx_hooks_tell_timeout(const AsynxSubscription *subscription,
									 const AsynxEnvelope *envelope);
extern void asynx_hooks_tell_corruption(const text *aggregate_id, const ErrorData *error);
extern void asynx_hooks_ask_forget(const AsynxEnvelope *envelope);

/* Fills in the arguments of a call for an event. */
extern void asynx_hooks_set_event(AsynxCall *call, AsynxForm form, const AsynxEnvelope *envelope);
extern void asynx_hooks_begin_array(AsynxEventArray *array, AsynxForm form);
extern void asynx_hooks_add_event(AsynxEventArray *array, const AsynxEnvelope *envelope);
extern void asynx_hooks_set_array(AsynxCall *call, AsynxEventArray *array);

#endif							/* ASYNX_HOOK_H */
