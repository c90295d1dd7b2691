/*
 * jsonprinter.h
 *	  Prints jsonb as text.
 */
#ifndef ASYNX_JSONPRINTER_H
#define ASYNX_JSONPRINTER_H

#include "asynx.h"

#include "utils/jsonb.h"

/* The same text as the server's cast, in the current memory context. */
extern text *asynx_json_print(const Jsonb *json);

#endif							/* ASYNX_JSONPRINTER_H */
