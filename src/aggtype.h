/*
 * aggtype.h
 *	  Aggregate types: what a group of aggregates has in common.
 */
#ifndef ASYNX_AGGTYPE_H
#define ASYNX_AGGTYPE_H

#include "utils/jsonb.h"

/* The type of aggregates that were given none; it exists without having been created. */
#define ASYNX_DEFAULT_TYPE "default"

/* What a type says. */
typedef struct AsynxType
{
	int32		schema_version; /* of events stored from now on */
	int32		snapshot_every; /* versions between snapshots, 0 for none */
	Jsonb	   *seed;			/* what version 1's patch is applied to; NULL for JSON null */
} AsynxType;

/* These run within a query scope; read under the active snapshot, find under its own. */
extern bool asynx_type_read(const text *name, AsynxType *type);
extern bool asynx_type_find(const text *name, AsynxType *type);
pg_noreturn extern void asynx_type_refuse_unknown(const text *name);

#endif							/* ASYNX_AGGTYPE_H */
