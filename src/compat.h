/*
 * compat.h
 *	  The one place that knows how the server's majors differ.
 *
 * asynx supports PostgreSQL 15 and newer.  No other file tests PG_VERSION_NUM.
 */
#ifndef ASYNX_COMPAT_H
#define ASYNX_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "asynx needs PostgreSQL 15 or newer"
#endif

#include "catalog/pg_database.h"
#include "common/jsonapi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/acl.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
#include "utils/wait_event.h"

/* 18 has it, in front of the declaration; the older ones know the attribute by another name. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* Number of this backend's PGPROC, from 0; 17 made it a variable of its own. */
static inline int
asynx_my_proc_number(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber;
#else
	return MyProc->pgprocno;
#endif
}

/* Is the current user an owner of the database? */
static inline bool
asynx_owns_database(Oid database)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, GetUserId());
#else
	return pg_database_ownercheck(database, GetUserId());
#endif
}

/* A wait event of our own, made once for each process; before 17 all extensions share one. */
static inline uint32
asynx_wait_event(uint32 *event, const char *name)
{
#if PG_VERSION_NUM >= 170000
	if (*event == 0)
		*event = WaitEventExtensionNew(name);
#else
	(void) name;
	*event = PG_WAIT_EXTENSION;
#endif
	return *event;
}

/* A lexer for JSON text, in the current memory context; 17 can also do with the caller's struct. */
static inline JsonLexContext *
asynx_json_lexer(char *json, int len, int encoding, bool need_escapes)
{
#if PG_VERSION_NUM >= 170000
	return makeJsonLexContextCstringLen(NULL, json, len, encoding, need_escapes);
#else
	return makeJsonLexContextCstringLen(json, len, encoding, need_escapes);
#endif
}

#endif							/* ASYNX_COMPAT_H */
