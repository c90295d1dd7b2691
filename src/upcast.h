/*
 * upcast.h
 *	  Bringing events of older schema versions up to date.
 */
#ifndef ASYNX_UPCAST_H
#define ASYNX_UPCAST_H

#include "handler.h"
#include "utils/jsonb.h"

/* One step: from this schema version to the next. */
typedef struct AsynxUpcaster
{
	int32		from_version;
	AsynxFunction function;
} AsynxUpcaster;

/* The steps of an aggregate type, by version. */
typedef struct AsynxUpcasters
{
	int32		schema_version; /* the type's, where they end */
	int			count;
	int			room;			/* size of steps */
	AsynxUpcaster *steps;
} AsynxUpcasters;

/* An event of an older schema version. */
typedef struct AsynxOldEvent
{
	const text *aggregate_id;
	int64		version;
	int32		schema_version;
	text	   *event_name;
	Jsonb	   *patch;			/* brought up to date by asynx_upcast() */
} AsynxOldEvent;

/* These run within a query scope, under the active snapshot. */
extern void asynx_upcasters_read(const text *type, int32 schema_version,
								 AsynxUpcasters *upcasters);
extern const AsynxUpcaster *asynx_upcast(const AsynxUpcasters *upcasters, AsynxOldEvent *event);
extern void asynx_upcast_use(const AsynxUpcaster *upcaster, const AsynxOldEvent *event,
							 AsynxHandlerWork work, void *arg);
extern bool asynx_upcasters_still(const text *type, const AsynxUpcasters *upcasters);

#endif							/* ASYNX_UPCAST_H */
