/*
 * query.h
 *	  The only way to the tables: plans prepared once and kept.
 *
 * A room declares its statements as static AsynxQuery and runs them between
 * asynx_query_begin() and asynx_query_end().
 */
#ifndef ASYNX_QUERY_H
#define ASYNX_QUERY_H

#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "identity.h"

#define ASYNX_QUERY_MAX_ARGS 13

/* Marks a statement as asynx's own, see PlanOwn() in query.c. */
#define ASYNX_SQL_MARK "/*asynx*/ "
#define ASYNX_SQL(text) ASYNX_SQL_MARK text

/* A statement, its argument types, and its plan once it was needed. */
typedef struct AsynxQuery
{
	const char *sql;			/* ASYNX_SQL("..."), all names and operators qualified */
	int			nargs;			/* how many of argtypes count */
	Oid			argtypes[ASYNX_QUERY_MAX_ARGS];
	SPIPlanPtr	plan;			/* NULL until first use, then kept for the session */
} AsynxQuery;

/* What asynx_query_end() has to restore. */
typedef struct AsynxQueryScope
{
	MemoryContext caller;		/* the caller's memory context */
	AsynxIdentity identity;		/* who called */
} AsynxQueryScope;

/*
 * Called for each row, in the memory context in which the statement was
 * called for; the slot is good for this call alone.  False: enough.
 */
typedef bool (*AsynxRowFunction) (TupleTableSlot *slot, void *arg);

/* What asynx_query_attempt() runs, and whether it is to return an error or throw it on. */
typedef void (*AsynxWork) (void *arg);
typedef bool (*AsynxErrorFilter) (const ErrorData *error, void *arg);

extern void asynx_query_init(void);
extern void asynx_query_begin(AsynxQueryScope *scope);
extern void asynx_query_begin_write(AsynxQueryScope *scope, const char *function);
extern void asynx_query_end(AsynxQueryScope *scope);

/* The same for procedures, which commit in between. */
extern void asynx_query_begin_procedure(AsynxQueryScope *scope, FunctionCallInfo fcinfo,
										const char *procedure);
extern void asynx_query_commit(AsynxQueryScope *scope);

/* For who is about to write events, before the scope. */
extern void asynx_query_lock_events(const char *function);

extern Oid	asynx_query_event_table(void);

extern uint64 asynx_query_read(AsynxQuery *query, const Datum *values, const char *nulls,
							   AsynxRowFunction row, void *arg);
extern uint64 asynx_query_write(AsynxQuery *query, const Datum *values, const char *nulls,
								AsynxRowFunction row, void *arg);

extern ErrorData *asynx_query_attempt(AsynxWork work, AsynxErrorFilter wanted, void *arg);
extern bool asynx_query_is_taken(const ErrorData *error, void *arg);
extern void asynx_query_rehearse(AsynxWork work, void *arg);
extern void asynx_query_read_into(AsynxQuery *query, const Datum *values, const char *nulls,
								  FunctionCallInfo fcinfo);

extern bool asynx_query_get_int64(TupleTableSlot *slot, void *arg);

#endif							/* ASYNX_QUERY_H */
