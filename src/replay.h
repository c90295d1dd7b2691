/*
 * replay.h
 *	  Folding events into states.
 */
#ifndef ASYNX_REPLAY_H
#define ASYNX_REPLAY_H

#include "event.h"
#include "upcast.h"
#include "utils/jsonb.h"

/* An aggregate at a version, and what its type says. */
typedef struct AsynxAggregate
{
	bool		exists;			/* has it any event? */
	text	   *type;			/* NULL if it does not exist */
	int32		schema_version; /* the type's */
	int32		snapshot_every; /* the type's */
	Jsonb	   *seed;			/* NULL without one */
	int64		version;		/* the version of state, 0 before the first event */
	int64		position;		/* of the event at that version */
	Jsonb	   *state;			/* NULL before the first event */
	int64		snapshot_version;	/* the snapshot that the fold began with, 0 for none */
	bool		damaged;		/* was there a snapshot that could not be read? */
	bool		upcast;			/* did the fold meet events of older schema versions? */
	AsynxUpcasters upcasters;	/* what they were brought up with */
} AsynxAggregate;

/* Folds to the end of the stream. */
#define ASYNX_REPLAY_ALL PG_INT64_MAX

/* These run within a query scope, under the active snapshot. */
extern void asynx_replay_aggregate(const text *aggregate_id, int64 to_version,
								   AsynxAggregate *aggregate);
extern void asynx_replay_onward(const text *aggregate_id, int64 to_version,
								AsynxAggregate *aggregate);
extern void asynx_replay_beginning(const AsynxStoredEvent *event, AsynxAggregate *aggregate);
extern void asynx_replay_event(const AsynxStoredEvent *event, AsynxAggregate *aggregate);
extern void asynx_replay_aggregate_at(const text *aggregate_id, int64 version,
									  AsynxAggregate *aggregate);
pg_noreturn extern void asynx_replay_refuse_unknown(const text *aggregate_id);

#endif							/* ASYNX_REPLAY_H */
