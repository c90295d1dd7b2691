/*
 * uuid.h
 *	  Random ids for events.
 */
#ifndef ASYNX_UUID_H
#define ASYNX_UUID_H

#include "utils/uuid.h"

extern pg_uuid_t asynx_uuid_random(void);

#endif							/* ASYNX_UUID_H */
