/*
 * store.h
 *	  Writing to the log.
 */
#ifndef ASYNX_STORE_H
#define ASYNX_STORE_H

#include "event.h"

/* What append() is asked to store. */
typedef struct AsynxAppend
{
	text	   *aggregate_id;
	int64		version;		/* must be the last one + 1 */
	text	   *event_name;
	Jsonb	   *patch;
	text	   *aggregate_type; /* NULL: the stream's, "default" for a new one */
	Jsonb	   *metadata;		/* NULL for none */
	pg_uuid_t  *id;				/* NULL: a random one, and the call cannot be repeated */
	const TimestampTz *occurred_at; /* NULL: now */
	int32		schema_version; /* 0: the type's */
} AsynxAppend;

/* How often a write is repeated that nothing speaks against; each time somebody else got ahead. */
#define ASYNX_APPEND_ATTEMPTS 100

/* These run within a query scope that writes. */
extern bool asynx_store_append(const AsynxAppend *request, AsynxStoredEvent *stored);
extern bool asynx_store_try_append(const AsynxAppend *request, AsynxStoredEvent *stored);

/* These read, within any query scope, under the active snapshot. */
extern int64 asynx_store_head(const text *aggregate_id);
extern int64 asynx_store_position(const text *aggregate_id, int64 version);
extern bool asynx_store_read(const text *aggregate_id, int64 version, AsynxStoredEvent *event);
extern bool asynx_store_find(const text *aggregate_id, const pg_uuid_t *id,
							 AsynxStoredEvent *event);

/* For the rooms that write in their own way; each check raises its error. */
extern bool asynx_store_is_repeat(const AsynxAppend *request, const AsynxStoredEvent *stored);
extern void asynx_store_check_next(const AsynxAppend *request, int64 head);
extern void asynx_store_check_type(const AsynxAppend *request, const text *type);
extern void asynx_store_check_not_moved(const text *aggregate_id, int64 head);
pg_noreturn extern void asynx_store_refuse_erased(const AsynxAppend *request);
pg_noreturn extern void asynx_store_refuse_moved(const text *aggregate_id);
pg_noreturn extern void asynx_store_refuse_attempts(const text *aggregate_id);

#endif							/* ASYNX_STORE_H */
