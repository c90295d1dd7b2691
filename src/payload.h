/*
 * payload.h
 *	  What a notification says of an event.
 */
#ifndef ASYNX_PAYLOAD_H
#define ASYNX_PAYLOAD_H

#include "event.h"

extern char *asynx_payload(const AsynxStoredEvent *event);

#endif							/* ASYNX_PAYLOAD_H */
