/*
 * diff.h
 *	  The patch that turns one document into another.
 */
#ifndef ASYNX_DIFF_H
#define ASYNX_DIFF_H

#include "asynx.h"

#include "utils/jsonb.h"

/* An RFC 6902 patch in the current memory context; [] for identical documents. */
extern Jsonb *asynx_diff(const Jsonb *source, const Jsonb *target);

#endif							/* ASYNX_DIFF_H */
