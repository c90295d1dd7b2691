/*
 * ear.h
 *	  Notifications that reach a background worker.
 */
#ifndef ASYNX_EAR_H
#define ASYNX_EAR_H

/* Gets the payload of each. */
typedef void (*AsynxEarFunction) (const char *payload);

extern void asynx_ear_listen(const char *channel);
extern void asynx_ear_drain(AsynxEarFunction heard);

#endif							/* ASYNX_EAR_H */
