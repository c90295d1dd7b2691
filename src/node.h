/*
 * node.h
 *	  The nodes of a document's tree: json-c, behind the few calls we need.
 *
 * A node is NULL (JSON null), a leaf (an unchanged value somewhere in a jsonb,
 * which must outlive the node) or an expanded container, whose children are
 * nodes, at least those that were touched.  A "slot" is where a node hangs: the
 * document's root, an array's cell, a member's value.  It is valid until its
 * container changes.  A container is opened each time before it is changed, and
 * once opened takes one change.
 */
#ifndef ASYNX_NODE_H
#define ASYNX_NODE_H

#include "keeper.h"
#include "pointer.h"

extern AsynxNode *asynx_node_leaf(const AsynxValue *value);
extern void asynx_node_free(AsynxNode *node);
extern bool asynx_node_is_expanded(const AsynxNode *node);
extern bool asynx_node_is_object(const AsynxNode *node);
extern AsynxValue asynx_node_value(const AsynxNode *leaf);

extern void asynx_node_open(AsynxNode **slot, const AsynxKeeper *keeper);
extern AsynxOutcome asynx_node_look(const AsynxNode *container, const char *token,
									AsynxNode **node, AsynxValue *value);
extern AsynxOutcome asynx_node_child(AsynxNode *container, const char *token,
									 const AsynxKeeper *keeper, AsynxNode ***slot);
extern AsynxOutcome asynx_node_place(AsynxNode *array, const char *token, uint32 *index);
extern void asynx_node_add_member(AsynxNode *object, const char *token,
								  const AsynxKeeper *keeper, AsynxNode *child);
extern void asynx_node_insert_element(AsynxNode *array, uint32 index, AsynxNode *child);
extern AsynxOutcome asynx_node_take(AsynxNode *container, const char *token, AsynxNode **child);

#endif							/* ASYNX_NODE_H */
