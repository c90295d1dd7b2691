/*
 * nodewriter.h
 *	  Nodes of a document's tree as jsonb: how large, how deep, and written.
 */
#ifndef ASYNX_NODEWRITER_H
#define ASYNX_NODEWRITER_H

#include "jsonbwriter.h"
#include "keeper.h"

extern Size asynx_node_measure(AsynxNode *node, Size *uncertain);
extern bool asynx_node_deeper(AsynxNode *node, int levels);
extern void asynx_node_write(AsynxWriter *writer, AsynxNode *node, const AsynxKeeper *keeper);

#endif							/* ASYNX_NODEWRITER_H */
