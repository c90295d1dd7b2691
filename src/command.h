/*
 * command.h
 *	  From a wanted state to a stored event.
 */
#ifndef ASYNX_COMMAND_H
#define ASYNX_COMMAND_H

#include "event.h"

/* What write() is asked to store. */
typedef struct AsynxWrite
{
	text	   *aggregate_id;
	text	   *event_name;
	Jsonb	   *state;			/* the whole new state */
	bool		expects;		/* is expected_version given? */
	int64		expected_version;	/* the current version as the caller knows it, 0 = none */
	text	   *aggregate_type; /* NULL: the stream's, "default" for a new one */
	Jsonb	   *metadata;		/* NULL for none */
	pg_uuid_t  *id;				/* makes the call repeatable; NULL: a random one */
	bool		snapshot;		/* leave a snapshot? */
} AsynxWrite;

/* What became of it: the stored event and the states around it. */
typedef struct AsynxWritten
{
	AsynxStoredEvent event;
	Jsonb	   *aggregate;		/* after the event */
	Jsonb	   *previous;		/* before it; the seed, or NULL, for version 1 */
} AsynxWritten;

/* Runs within a query scope. */
extern void asynx_command_write(const AsynxWrite *request, AsynxWritten *written);

#endif							/* ASYNX_COMMAND_H */
