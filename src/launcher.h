/*
 * launcher.h
 *	  Starts a bus in each database that has the extension.
 */
#ifndef ASYNX_LAUNCHER_H
#define ASYNX_LAUNCHER_H

extern void asynx_launcher_init(void);

/* The end of a transaction, for asynx.c; raises nothing. */
extern void asynx_launcher_at_release(bool is_commit);

#endif							/* ASYNX_LAUNCHER_H */
