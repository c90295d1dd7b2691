/*
 * batch.h
 *	  Many events in one statement.
 */
#ifndef ASYNX_BATCH_H
#define ASYNX_BATCH_H

#include "utils/jsonb.h"

/* Runs within a query scope. */
extern int64 asynx_batch_append(const Jsonb *events);

#endif							/* ASYNX_BATCH_H */
