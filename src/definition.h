/*
 * definition.h
 *	  Commands as they are registered.
 */
#ifndef ASYNX_DEFINITION_H
#define ASYNX_DEFINITION_H

#include "handler.h"

/* What a command is. */
typedef struct AsynxDefinition
{
	const text *name;
	text	   *aggregate_type; /* of the aggregates it works on */
	text	   *event_name;		/* of the events it brings about */
	AsynxFunction validate;		/* its name is NULL if there is none */
	AsynxFunction emit;
	bool		snapshot;		/* leave a snapshot after each? */
} AsynxDefinition;

/* What validate and emit must look like. */
extern const AsynxSignature asynx_validate_signature;
extern const AsynxSignature asynx_emit_signature;

/* Runs within a query scope; needs no active snapshot. */
extern void asynx_definition_find(const text *name, AsynxDefinition *definition);

#endif							/* ASYNX_DEFINITION_H */
