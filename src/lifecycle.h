/*
 * lifecycle.h
 *	  Is the store running?
 */
#ifndef ASYNX_LIFECYCLE_H
#define ASYNX_LIFECYCLE_H

/* These run within a query scope; each check raises its error. */
extern bool asynx_lifecycle_runs(void);
extern bool asynx_lifecycle_is_stopped(void);
extern void asynx_lifecycle_check_open(void);
extern void asynx_lifecycle_check_bus(void);

#endif							/* ASYNX_LIFECYCLE_H */
