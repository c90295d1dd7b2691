/*
 * errors.h
 *	  The conditions of asynx, one SQLSTATE each.
 *
 * Class SX is private: classes that begin with 0-4 or A-H belong to the SQL
 * standard (PostgreSQL, src/backend/utils/errcodes.txt).  A message names the
 * offender, the detail the cause, the hint the way out.  What is wrong with an
 * argument itself (NULL, blank, negative) is 22023, invalid_parameter_value.
 */
#ifndef ASYNX_ERRORS_H
#define ASYNX_ERRORS_H

#include "utils/elog.h"

/* The aggregate never existed or was forgotten. */
#define ERRCODE_ASYNX_AGGREGATE_NOT_FOUND MAKE_SQLSTATE('S', 'X', '0', '0', '1')

/* A command, or a state that somebody claims, was rejected. */
#define ERRCODE_ASYNX_VALIDATION_FAILED MAKE_SQLSTATE('S', 'X', '0', '0', '2')

/* The version is taken, or is not the one that the caller expected. */
#define ERRCODE_ASYNX_VERSION_CONFLICT MAKE_SQLSTATE('S', 'X', '0', '0', '3')

/* A function of the user's failed, or gave what cannot be used. */
#define ERRCODE_ASYNX_PIPELINE_FAILED MAKE_SQLSTATE('S', 'X', '0', '0', '4')

/* Too many commands wait already. */
#define ERRCODE_ASYNX_QUEUE_FULL MAKE_SQLSTATE('S', 'X', '0', '0', '5')

/* The store takes no commands any more, or somebody else shuts it down already. */
#define ERRCODE_ASYNX_SHUTTING_DOWN MAKE_SQLSTATE('S', 'X', '0', '0', '6')
#define ERRCODE_ASYNX_ALREADY_SHUTTING_DOWN MAKE_SQLSTATE('S', 'X', '0', '0', '7')

/* The store has been shut down. */
#define ERRCODE_ASYNX_BUS_CLOSED MAKE_SQLSTATE('S', 'X', '0', '0', '8')

/* A function of the user's is not there, or is not its owner's any more. */
#define ERRCODE_ASYNX_HANDLER_MISSING MAKE_SQLSTATE('S', 'X', '0', '0', '9')

/* An empty topic or pattern. */
#define ERRCODE_ASYNX_PATTERN_EMPTY MAKE_SQLSTATE('S', 'X', '0', '1', '0')

/* The store cannot work here: library not preloaded, or a table is missing. */
#define ERRCODE_ASYNX_NOT_LOADED MAKE_SQLSTATE('S', 'X', '0', '1', '1')

/* A hook spoke against forgetting an aggregate. */
#define ERRCODE_ASYNX_FORGET_FAILED MAKE_SQLSTATE('S', 'X', '0', '1', '2')

/* No worker can run. */
#define ERRCODE_ASYNX_DISPATCHER_CLOSED MAKE_SQLSTATE('S', 'X', '0', '1', '3')

/* Not an RFC 6902 document. */
#define ERRCODE_ASYNX_INVALID_PATCH MAKE_SQLSTATE('S', 'X', '0', '1', '4')

/* A well-formed patch that does not fit the document it is applied to. */
#define ERRCODE_ASYNX_PATCH_FAILED MAKE_SQLSTATE('S', 'X', '0', '1', '5')

/* A "test" operation found another value. */
#define ERRCODE_ASYNX_PATCH_TEST_FAILED MAKE_SQLSTATE('S', 'X', '0', '1', '6')

/* The version is beyond the last one plus 1. */
#define ERRCODE_ASYNX_VERSION_GAP MAKE_SQLSTATE('S', 'X', '0', '1', '7')

/* A document nested deeper or larger than the settings, or jsonb itself, allow. */
#define ERRCODE_ASYNX_DOCUMENT_LIMIT MAKE_SQLSTATE('S', 'X', '0', '1', '8')

#endif							/* ASYNX_ERRORS_H */
