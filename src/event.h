/*
 * event.h
 *	  A stored event in C, and the composites asynx.stored_event and asynx.event.
 */
#ifndef ASYNX_EVENT_H
#define ASYNX_EVENT_H

#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Columns of a stored event, of table alias "e", in the order of asynx.stored_event. */
#define ASYNX_STORED_EVENT_COLUMNS \
	"e.id, e.aggregate_id, e.event_name, e.version, e.schema_version, e.occurred_at, " \
	"e.position, e.aggregate_type, e.metadata, e.patch"

/* A row of the log. */
typedef struct AsynxStoredEvent
{
	pg_uuid_t	id;				/* given by the caller or random */
	text	   *aggregate_id;
	text	   *event_name;
	int64		version;		/* 1, 2, 3 ... of the aggregate */
	int32		schema_version; /* of the type, when the event was stored */
	TimestampTz occurred_at;
	int64		position;		/* in the feed */
	text	   *aggregate_type;
	Jsonb	   *metadata;		/* NULL for none */
	Jsonb	   *patch;			/* RFC 6902, from version - 1 to version */
} AsynxStoredEvent;

/* An event as handlers get it. */
typedef struct AsynxEnvelope
{
	const AsynxStoredEvent *event;
	Jsonb	   *aggregate;		/* the state after it; NULL if it could not be rebuilt */
	Jsonb	   *previous;		/* the state before it; NULL if there was none */
} AsynxEnvelope;

#define ASYNX_EVENT_NATTS 12

/* What becomes of an aggregate that is forgotten, as the feed tells it. */
#define ASYNX_FORGET_EVENT "asynx.aggregate.forget"

/* Have two varlenas, text or jsonb, the same bytes?  NULL equals NULL alone. */
static inline bool
asynx_same_bytes(const void *a, const void *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

extern void asynx_event_from_slot(TupleTableSlot *slot, AsynxStoredEvent *event);
extern Datum asynx_stored_event_form(Oid type, const AsynxStoredEvent *event);
extern Datum asynx_event_form(Oid type, const AsynxStoredEvent *event, Jsonb *aggregate,
							  Jsonb *previous_aggregate);
extern Datum asynx_stored_event_datum(FunctionCallInfo fcinfo, const AsynxStoredEvent *event);
extern void asynx_event_values(const AsynxStoredEvent *event, Jsonb *aggregate,
							   Jsonb *previous_aggregate, Datum *values, bool *nulls);
extern Datum asynx_event_datum(FunctionCallInfo fcinfo, const AsynxStoredEvent *event,
							   Jsonb *aggregate, Jsonb *previous_aggregate);

#endif							/* ASYNX_EVENT_H */
