/*
 * command.h
 *	  From a wanted state, or a decision, to a stored event.
 */
#ifndef ASYNX_COMMAND_H
#define ASYNX_COMMAND_H

#include "event.h"

/* How the new state follows from the current one, NULL before the first event. */
typedef struct AsynxDecision
{
	void		(*validate) (Jsonb *current, void *arg);	/* raises what speaks against it */
	Jsonb	   *(*emit) (Jsonb *current, void *arg);	/* the new state */
	void	   *arg;			/* for both */
} AsynxDecision;

/* What is to be stored. */
typedef struct AsynxWrite
{
	text	   *aggregate_id;
	text	   *event_name;
	Jsonb	   *state;			/* the whole new state; NULL: it must be decided */
	const AsynxDecision *decision;	/* if state is NULL */
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
	bool		repeated;		/* was it there already? */
} AsynxWritten;

/* Runs within a query scope. */
extern void asynx_command_run(const AsynxWrite *request, AsynxWritten *written);

#endif							/* ASYNX_COMMAND_H */
