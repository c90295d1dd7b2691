/*
 * keeper.h
 *	  What a document's tree is made of, for those who need not see json-c.
 */
#ifndef ASYNX_KEEPER_H
#define ASYNX_KEEPER_H

#include "asynx.h"

/* A node of the tree; NULL is JSON null. */
typedef struct json_object AsynxNode;

/* Where bytes that nodes point into can be kept. */
typedef struct AsynxKeeper
{
	char	   *(*keep) (void *owner, Size size);
	void	   *owner;
} AsynxKeeper;

#endif							/* ASYNX_KEEPER_H */
