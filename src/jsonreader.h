/*
 * jsonreader.h
 *	  Reads JSON text into jsonb.
 */
#ifndef ASYNX_JSONREADER_H
#define ASYNX_JSONREADER_H

#include "asynx.h"

#include "utils/jsonb.h"

/*
 * The same jsonb, or the same error, as the server's cast.  It is allocated in the
 * current memory context, and so is a multiple of its size that is not freed.
 */
extern Jsonb *asynx_json_read(const text *json);

#endif							/* ASYNX_JSONREADER_H */
