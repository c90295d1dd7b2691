/*
 * relay.h
 *	  NOTIFY for those outside.
 */
#ifndef ASYNX_RELAY_H
#define ASYNX_RELAY_H

/* These run in the bus, within a query scope. */
extern void asynx_relay_begin(int64 position);
extern long asynx_relay(int64 safe);
extern void asynx_relay_done(void);

#endif							/* ASYNX_RELAY_H */
