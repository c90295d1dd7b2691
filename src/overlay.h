/*
 * overlay.h
 *	  A container that is expanded only where it was touched.
 *
 * Functions for objects and for arrays want an expanded container of that type;
 * some do with any, most want an overlay.
 */
#ifndef ASYNX_OVERLAY_H
#define ASYNX_OVERLAY_H

#include "jsonc.h"

/* What an overlay has besides its nodes. */
typedef struct AsynxOverlay AsynxOverlay;

/* The tag of a cell that is a run, which no value's tag is. */
#define ASYNX_RUN_TAG (ASYNX_OBJECT + 1)

/* Untouched neighbours: children `first` and following of an overlay's source. */
typedef struct AsynxRun
{
	uint32		first;
	uint32		count;
} AsynxRun;

/* What an overlay of an object consists of, in jsonb's order: members that are nodes, and runs. */
typedef struct AsynxPiece
{
	AsynxEntry *entry;			/* NULL: it is a run */
	AsynxRun	run;
} AsynxPiece;

/* Where an element of an array is. */
typedef struct AsynxSpot
{
	size_t		cell;
	uint32		skip;			/* if the cell is a run: elements in it before this one */
} AsynxSpot;

extern bool asynx_overlay_suits(const AsynxValue *container);
extern AsynxNode *asynx_overlay_create(const AsynxValue *container, const AsynxKeeper *keeper);
extern void asynx_overlay_settle(AsynxNode **slot, const AsynxKeeper *keeper);

/* Any container. */
extern uint32 asynx_overlay_count(const AsynxNode *container);

/* Any object; one that is no overlay has nothing in its source. */
extern bool asynx_overlay_look(const AsynxNode *object, const char *token, AsynxValue *value);
extern bool asynx_overlay_hide(AsynxNode *object, const char *token, AsynxValue *value);
extern bool asynx_overlay_next_run(const AsynxNode *object, AsynxRun *run);

/* Overlays of objects. */
extern void asynx_overlay_members(const AsynxNode *object, AsynxRun run, AsynxMembers *members);
extern AsynxPiece *asynx_overlay_pieces(const AsynxNode *object, int *count);

/* Overlays of arrays. */
extern bool asynx_overlay_find(const AsynxNode *array, uint32 index, AsynxSpot *spot);
extern AsynxValue asynx_overlay_element(const AsynxNode *array, const AsynxSpot *spot);
extern void asynx_overlay_elements(const AsynxNode *array, const AsynxNode *cell,
								   AsynxCursor *cursor);
extern size_t asynx_overlay_isolate(AsynxNode *array, const AsynxSpot *spot);

/* Any array; only an overlay can have a spot with elements to skip. */
extern size_t asynx_overlay_part(AsynxNode *array, const AsynxSpot *spot);

/* What an expanded container has if it is an overlay, NULL if it is not. */
static inline AsynxOverlay *
asynx_overlay_of(const AsynxNode *container)
{
	return json_object_get_userdata((AsynxNode *) container);
}

/* Is the node in an array's cell a run? */
static inline bool
asynx_overlay_is_run(const AsynxNode *cell)
{
	return json_object_get_type(cell) == json_type_int &&
		((uintptr_t) json_object_get_userdata((AsynxNode *) cell) &
		 ASYNX_LEAF_TAG_MASK) == ASYNX_RUN_TAG;
}

#endif							/* ASYNX_OVERLAY_H */
