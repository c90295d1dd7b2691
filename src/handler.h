/*
 * handler.h
 *	  Running a function of the user's.
 */
#ifndef ASYNX_HANDLER_H
#define ASYNX_HANDLER_H

#include "fmgr.h"
#include "utils/elog.h"

#define ASYNX_HANDLER_MAX_ARGS 2
#define ASYNX_HANDLER_MAX_RESULTS 4

/* What is asked of a function that serves a purpose. */
typedef struct AsynxSignature
{
	const char *purpose;		/* for messages: "emit function" */
	int			nargs;			/* how many of argtypes count */
	Oid			argtypes[ASYNX_HANDLER_MAX_ARGS];
	Oid			results[ASYNX_HANDLER_MAX_RESULTS]; /* may return one of them; then InvalidOid */
	const char *result;			/* the same for messages: "jsonb"; NULL: any result will do */
	bool		pure;			/* must it be IMMUTABLE, and not STRICT? */
} AsynxSignature;

/* A function as it is stored. */
typedef struct AsynxFunction
{
	const char *name;			/* fully qualified signature; NULL for none */
	const char *owner;			/* name of the role that must own it, and as which it runs */
} AsynxFunction;

/* A call of a function, and what came of it. */
typedef struct AsynxCall
{
	const AsynxFunction *function;
	const AsynxSignature *signature;
	NullableDatum args[ASYNX_HANDLER_MAX_ARGS];

	/* Rewrites what the function raised into what the caller gets to see; NULL: as it is. */
	void		(*explain) (const struct AsynxCall *call, ErrorData *error);
	void	   *arg;			/* for explain */

	int64		timeout;		/* in milliseconds, 0 for none; not for asynx_handler_run() */
	bool		timed_out;		/* did it run longer? */

	NullableDatum result;
	Oid			result_type;	/* one of the signature's results */
} AsynxCall;

/* What uses the result of a call. */
typedef void (*AsynxHandlerWork) (void *arg);

/* Runs as the caller, outside of a query scope. */
extern int	asynx_handler_find(const char *given, const AsynxSignature *const *signatures,
							   AsynxFunction *found);
extern void asynx_handler_check_owner(const AsynxFunction *function, const AsynxFunction *other);

/* Runs within a query scope, under an active snapshot. */
extern void asynx_handler_run(AsynxCall *call);
extern void asynx_handler_run_in_time(AsynxCall *call);
extern ErrorData *asynx_handler_attempt(AsynxCall *call);
extern void asynx_handler_blame(const AsynxCall *call, AsynxHandlerWork work, void *arg);

/* Between transactions of a worker. */
extern void asynx_handler_stay(void);

extern bool asynx_handler_is_interruption(const ErrorData *error);
extern char *asynx_handler_cause(const ErrorData *error);

#endif							/* ASYNX_HANDLER_H */
