/*
 * align.h
 *	  Which element of one array becomes which element of another.
 */
#ifndef ASYNX_ALIGN_H
#define ASYNX_ALIGN_H

#include "value.h"

/* No partner on the other side. */
#define ASYNX_NOWHERE (-1)

/* What becomes of an element of the source. */
typedef enum AsynxFate
{
	ASYNX_REMOVED,				/* it goes */
	ASYNX_SAME,					/* it stays, in order, byte for byte */
	ASYNX_CHANGED,				/* it stays, in order, and is edited */
	ASYNX_MOVED					/* it stays byte for byte, out of order */
} AsynxFate;

/* One element that is moved. */
typedef struct AsynxMove
{
	int			source;			/* its place in the source */
	int			target;			/* its place in the target */
	int			anchor;			/* next source element in the target's order that is not
								 * moved; the number of elements if there is none */
	bool		early;			/* executed when its source was reached, before its target */
	bool		late;			/* executed when its target was reached, before its source */
} AsynxMove;

/* The plan for two arrays. */
typedef struct AsynxAlignment
{
	int			nsource;
	int			ntarget;
	AsynxFate  *fate;			/* of each element of the source */
	int		   *target_of;		/* for each element of the source, or ASYNX_NOWHERE */
	int		   *source_of;		/* for each element of the target, or ASYNX_NOWHERE: added */
	AsynxMove  *moves;			/* in the order of their targets */
	int			nmoves;
} AsynxAlignment;

extern void asynx_align(AsynxAlignment *alignment, const AsynxValue *source, int nsource,
						const AsynxValue *target, int ntarget);
extern void asynx_alignment_free(AsynxAlignment *alignment);

#endif							/* ASYNX_ALIGN_H */
