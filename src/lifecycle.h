/*
 * lifecycle.h
 *	  Is the store running?
 */
#ifndef ASYNX_LIFECYCLE_H
#define ASYNX_LIFECYCLE_H

/* Runs within a query scope. */
extern bool asynx_lifecycle_runs(void);

#endif							/* ASYNX_LIFECYCLE_H */
