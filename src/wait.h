/*
 * wait.h
 *	  Waiting for handlers.
 */
#ifndef ASYNX_WAIT_H
#define ASYNX_WAIT_H

#include "fmgr.h"
#include "utils/timestamp.h"

extern TimestampTz asynx_wait_until(FunctionCallInfo fcinfo, int arg);

/* Runs within a query scope. */
extern bool asynx_wait_sleep(TimestampTz until);
extern bool asynx_wait_moment(TimestampTz until);
extern bool asynx_wait_handled(const text *subscription, int64 position, TimestampTz until);

#endif							/* ASYNX_WAIT_H */
