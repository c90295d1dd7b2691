/*
 * jsonc.h
 *	  json-c as the rooms of a document's tree use it: leaves, containers, names.
 *
 * Only those rooms include this file, and nobody else includes json-c: its
 * json_object is also the name of a function of the server's.
 */
#ifndef ASYNX_JSONC_H
#define ASYNX_JSONC_H

#include "keeper.h"
#include "value.h"

#include <json-c/arraylist.h>
#include <json-c/json_object.h>
#include <json-c/linkhash.h>

/* A leaf's user data: the tag below, the length above. */
#define ASYNX_LEAF_TAG_BITS 3
#define ASYNX_LEAF_TAG_MASK ((1 << ASYNX_LEAF_TAG_BITS) - 1)

/* Cells of an expanded array that stay free for insertions. */
#define ASYNX_SPARE_CELLS 4

/* A member of a json-c object. */
typedef struct lh_entry AsynxEntry;

extern void asynx_jsonc_out_of_memory(void);

extern void asynx_jsonc_free(AsynxNode *node);

/* False from any of these: there is no memory, and what it was given is the caller's. */
extern bool asynx_jsonc_leaf(const AsynxValue *value, AsynxNode **leaf);
extern bool asynx_jsonc_add_leaf(AsynxNode *object, const char *name, const AsynxValue *value);
extern bool asynx_jsonc_add_node(AsynxNode *object, const char *name, AsynxNode *child);
extern bool asynx_jsonc_append_members(AsynxNode *object, AsynxMembers *members, char **names);
extern bool asynx_jsonc_append_elements(AsynxNode *array, AsynxCursor *cursor);
extern bool asynx_jsonc_insert_cell(AsynxNode *array, size_t index, AsynxNode *node);

/* NULL from these: there is no memory. */
extern AsynxNode *asynx_jsonc_object(uint32 members);
extern AsynxNode *asynx_jsonc_array(uint32 cells);
extern AsynxNode *asynx_jsonc_expand(const AsynxValue *value, const AsynxKeeper *keeper);

extern char *asynx_jsonc_keep_name(const AsynxKeeper *keeper, const char *token);
extern char *asynx_jsonc_keep_names(const AsynxKeeper *keeper, const AsynxValue *object);

extern AsynxEntry *asynx_jsonc_find(const AsynxNode *object, const char *token);
extern AsynxEntry **asynx_jsonc_sorted(const AsynxNode *object, int *count);

/* Is the node an expanded array? */
static inline bool
asynx_jsonc_is_array(const AsynxNode *node)
{
	return json_object_get_type(node) == json_type_array;
}

/* Is the node an expanded object? */
static inline bool
asynx_jsonc_is_object(const AsynxNode *node)
{
	return json_object_get_type(node) == json_type_object;
}

/* Is the node a container whose children are nodes? */
static inline bool
asynx_jsonc_is_expanded(const AsynxNode *node)
{
	json_type	type = json_object_get_type(node);

	return type == json_type_array || type == json_type_object;
}

/* The length of a member's name. */
static inline uint32
asynx_jsonc_name_len(const char *name)
{
	uint32		len;

	memcpy(&len, name - sizeof(len), sizeof(len));
	return len;
}

/* The value of a node that is not expanded. */
static inline AsynxValue
asynx_jsonc_value(const AsynxNode *leaf)
{
	AsynxValue	value = {NULL, 0, ASYNX_NULL};
	uintptr_t	packed;

	switch (json_object_get_type(leaf))
	{
		case json_type_null:
			break;
		case json_type_boolean:
			value.tag = json_object_get_boolean(leaf) ? ASYNX_TRUE : ASYNX_FALSE;
			break;
		case json_type_int:
			packed = (uintptr_t) json_object_get_userdata((AsynxNode *) leaf);
			value.data = (const char *) (intptr_t) json_object_get_int64(leaf);
			value.len = (uint32) (packed >> ASYNX_LEAF_TAG_BITS);
			value.tag = (AsynxTag) (packed & ASYNX_LEAF_TAG_MASK);
			break;
		default:
			elog(ERROR, "unexpected type of a leaf: %d", (int) json_object_get_type(leaf));
	}
	return value;
}

#endif							/* ASYNX_JSONC_H */
