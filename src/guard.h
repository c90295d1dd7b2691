/*
 * guard.h
 *	  Keeps the log append-only and the event table undropped.
 */
#ifndef ASYNX_GUARD_H
#define ASYNX_GUARD_H

extern void asynx_guard_init(void);

/* Around the one DELETE of a room that may. */
extern void asynx_guard_lift(void);
extern void asynx_guard_restore(void);

#endif							/* ASYNX_GUARD_H */
