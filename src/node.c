/*
 * node.c
 *	  The nodes of a document's tree: looks at children, changes them.
 *
 * A node is a leaf until asynx_node_open() expands it: a narrow container into
 * json-c's array or object of leaves (jsonc.c), a wide one into an overlay, which
 * has nodes for those children only that were touched (overlay.c).  Here a child is
 * found in either.  Looking leaves an overlay as it is; who asks for a slot, to
 * change what is there, gives the child a node of its own.
 *
 * The invariant that keeps an overlay small is the caller's part: a container is
 * opened before each change among its children.  An overlay with many touched
 * children then becomes an ordinary container.
 */
#include "asynx.h"

#include "jsonc.h"
#include "node.h"
#include "overlay.h"

/* A node for a value, for the caller to free; the value's bytes must outlive it. */
AsynxNode *
asynx_node_leaf(const AsynxValue *value)
{
	AsynxNode  *leaf;

	if (!asynx_jsonc_leaf(value, &leaf))
		asynx_jsonc_out_of_memory();
	return leaf;
}

/* Frees a node and what is below it. */
void
asynx_node_free(AsynxNode *node)
{
	asynx_jsonc_free(node);
}

/* Is the node a container whose children are nodes? */
bool
asynx_node_is_expanded(const AsynxNode *node)
{
	return asynx_jsonc_is_expanded(node);
}

/* Is the node an expanded object? */
bool
asynx_node_is_object(const AsynxNode *node)
{
	return asynx_jsonc_is_object(node);
}

/* The value of a node that is not expanded. */
AsynxValue
asynx_node_value(const AsynxNode *leaf)
{
	return asynx_jsonc_value(leaf);
}

/* Replaces a leaf that is a container by an expanded one. */
static void
expand(AsynxNode **slot, const AsynxValue *value, const AsynxKeeper *keeper)
{
	AsynxNode  *expanded = asynx_overlay_suits(value) ?
		asynx_overlay_create(value, keeper) : asynx_jsonc_expand(value, keeper);

	if (expanded == NULL)
		asynx_jsonc_out_of_memory();
	asynx_jsonc_free(*slot);
	*slot = expanded;
}

/* Makes a node ready for one change among its children, if it has any. */
void
asynx_node_open(AsynxNode **slot, const AsynxKeeper *keeper)
{
	AsynxValue	value;

	if (asynx_jsonc_is_expanded(*slot))
	{
		if (unlikely(asynx_overlay_of(*slot) != NULL))
			asynx_overlay_settle(slot, keeper);
		return;
	}
	value = asynx_jsonc_value(*slot);
	if (asynx_value_is_container(&value))
		expand(slot, &value, keeper);
}

/* Finds element `index`.  False beyond the end: its cell is then the one behind the last. */
static inline bool
find_spot(const AsynxNode *array, uint32 index, AsynxSpot *spot)
{
	if (unlikely(asynx_overlay_of(array) != NULL))
		return asynx_overlay_find(array, index, spot);
	spot->cell = index;
	spot->skip = 0;
	return index < json_object_array_length(array);
}

/* Finds the element `token` of what should be an expanded array. */
static inline AsynxOutcome
find_element(const AsynxNode *array, const char *token, AsynxSpot *spot)
{
	uint32		index;

	if (!asynx_jsonc_is_array(array))
		return ASYNX_NOT_A_CONTAINER;
	if (asynx_token_is_end(token))
		return ASYNX_NO_ELEMENT;
	if (!asynx_token_index(token, &index))
		return ASYNX_NOT_AN_INDEX;
	return find_spot(array, index, spot) ? ASYNX_FOUND : ASYNX_NO_ELEMENT;
}

/* The same for who wants to change it: it has a cell and a node of its own. */
static AsynxOutcome
touch_element(AsynxNode *array, const char *token, size_t *cell)
{
	AsynxSpot	spot;
	AsynxOutcome outcome = find_element(array, token, &spot);

	if (outcome != ASYNX_FOUND)
		return outcome;

	*cell = spot.cell;
	if (asynx_overlay_is_run(json_object_array_get_idx(array, spot.cell)))
		*cell = asynx_overlay_isolate(array, &spot);
	return ASYNX_FOUND;
}

/* The slot of a member of an expanded object, NULL if there is none. */
static AsynxNode **
touch_member(AsynxNode *object, const char *token, const AsynxKeeper *keeper)
{
	AsynxEntry *entry = asynx_jsonc_find(object, token);
	AsynxValue	value;

	if (entry == NULL && asynx_overlay_hide(object, token, &value))
	{
		if (!asynx_jsonc_add_leaf(object, asynx_jsonc_keep_name(keeper, token), &value))
			asynx_jsonc_out_of_memory();
		entry = json_object_get_object(object)->tail;
	}
	return entry == NULL ? NULL : (AsynxNode **) &entry->v;
}

/* The slot of the child `token` of a container that is open. */
AsynxOutcome
asynx_node_child(AsynxNode *container, const char *token, const AsynxKeeper *keeper,
				 AsynxNode ***slot)
{
	AsynxOutcome outcome;
	size_t		cell;

	if (asynx_jsonc_is_object(container))
	{
		*slot = touch_member(container, token, keeper);
		return *slot == NULL ? ASYNX_NO_MEMBER : ASYNX_FOUND;
	}

	outcome = touch_element(container, token, &cell);
	if (outcome == ASYNX_FOUND)
		*slot = (AsynxNode **) &json_object_get_array(container)->array[cell];
	return outcome;
}

/* What a reader sees of a node: itself if it is expanded, else (`node` is NULL) its value. */
static AsynxOutcome
show_node(AsynxNode *found, AsynxNode **node, AsynxValue *value)
{
	*node = asynx_jsonc_is_expanded(found) ? found : NULL;
	if (*node == NULL)
		*value = asynx_jsonc_value(found);
	return ASYNX_FOUND;
}

/* Looks at a member. */
static AsynxOutcome
look_at_member(const AsynxNode *object, const char *token, AsynxNode **node, AsynxValue *value)
{
	AsynxEntry *entry = asynx_jsonc_find(object, token);

	if (entry != NULL)
		return show_node(lh_entry_v(entry), node, value);
	*node = NULL;
	return asynx_overlay_look(object, token, value) ? ASYNX_FOUND : ASYNX_NO_MEMBER;
}

/* Looks at an element. */
static AsynxOutcome
look_at_element(const AsynxNode *array, const char *token, AsynxNode **node, AsynxValue *value)
{
	AsynxSpot	spot;
	AsynxOutcome outcome = find_element(array, token, &spot);
	AsynxNode  *cell;

	if (outcome != ASYNX_FOUND)
		return outcome;

	cell = json_object_array_get_idx(array, spot.cell);
	if (!asynx_overlay_is_run(cell))
		return show_node(cell, node, value);
	*node = NULL;
	*value = asynx_overlay_element(array, &spot);
	return ASYNX_FOUND;
}

/* Looks at the child `token` of an expanded container, which stays as it is. */
AsynxOutcome
asynx_node_look(const AsynxNode *container, const char *token, AsynxNode **node,
				AsynxValue *value)
{
	return asynx_jsonc_is_object(container) ?
		look_at_member(container, token, node, value) :
		look_at_element(container, token, node, value);
}

/* Where in an expanded array `token` would insert an element: at most behind the last one. */
AsynxOutcome
asynx_node_place(AsynxNode *array, const char *token, uint32 *index)
{
	uint32		length;

	if (!asynx_jsonc_is_array(array))
		return ASYNX_NOT_A_CONTAINER;

	length = asynx_overlay_count(array);
	*index = length;
	if (asynx_token_is_end(token))
		return ASYNX_FOUND;
	if (!asynx_token_index(token, index))
		return ASYNX_NOT_AN_INDEX;
	return *index <= length ? ASYNX_FOUND : ASYNX_NO_ELEMENT;
}

/* Adds a member that an open object does not have yet; takes the child over if it returns. */
void
asynx_node_add_member(AsynxNode *object, const char *token, const AsynxKeeper *keeper,
					  AsynxNode *child)
{
	char	   *name = asynx_jsonc_keep_name(keeper, token);

	if (!asynx_jsonc_is_object(object))
		elog(ERROR, "node is not an object");
	if (!asynx_jsonc_add_node(object, name, child))
		asynx_jsonc_out_of_memory();
}

/* Inserts an element before element `index`; takes the child over if it returns. */
void
asynx_node_insert_element(AsynxNode *array, uint32 index, AsynxNode *child)
{
	AsynxSpot	spot;

	if (!asynx_jsonc_is_array(array))
		elog(ERROR, "node is not an array");
	find_spot(array, index, &spot);
	if (!asynx_jsonc_insert_cell(array, asynx_overlay_part(array, &spot), child))
		asynx_jsonc_out_of_memory();
}

/* Takes a member out. */
static AsynxOutcome
take_member(AsynxNode *object, const char *token, AsynxNode **child)
{
	AsynxEntry *entry = asynx_jsonc_find(object, token);
	AsynxValue	value;

	if (entry != NULL)
	{
		/* What json-c frees with the entry is then nothing. */
		*child = lh_entry_v(entry);
		lh_entry_set_val(entry, NULL);
		lh_table_delete_entry(json_object_get_object(object), entry);
		return ASYNX_FOUND;
	}
	if (!asynx_overlay_hide(object, token, &value))
		return ASYNX_NO_MEMBER;

	*child = asynx_node_leaf(&value);
	return ASYNX_FOUND;
}

/* Takes an element out. */
static AsynxOutcome
take_element(AsynxNode *array, const char *token, AsynxNode **child)
{
	array_list *cells;
	size_t		cell;
	AsynxOutcome outcome = touch_element(array, token, &cell);

	if (outcome != ASYNX_FOUND)
		return outcome;

	cells = json_object_get_array(array);
	*child = cells->array[cell];
	cells->array[cell] = NULL;
	json_object_array_del_idx(array, cell, 1);
	return ASYNX_FOUND;
}

/* Takes the child `token` out of an open container; it is the caller's from then on. */
AsynxOutcome
asynx_node_take(AsynxNode *container, const char *token, AsynxNode **child)
{
	return asynx_jsonc_is_object(container) ?
		take_member(container, token, child) : take_element(container, token, child);
}
