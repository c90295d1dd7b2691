/*
 * erase.h
 *	  Erasing an aggregate.
 */
#ifndef ASYNX_ERASE_H
#define ASYNX_ERASE_H

#include "query.h"

/* These run within a query scope that writes; the second with the result of the first. */
extern int64 asynx_erase_begin(const text *aggregate_id, AsynxQuery *insert,
							   AsynxRowFunction row, void *arg);
extern void asynx_erase_finish(const text *aggregate_id, int64 head);

#endif							/* ASYNX_ERASE_H */
