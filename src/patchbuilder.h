/*
 * patchbuilder.h
 *	  Collects the operations of a patch, and knows how long it has become.
 *
 * The builder stands at a place in the document.  Operations are added for that
 * place; entering a member or an element goes one level down, leaving goes back.
 */
#ifndef ASYNX_PATCHBUILDER_H
#define ASYNX_PATCHBUILDER_H

#include "lib/stringinfo.h"
#include "value.h"

typedef struct AsynxOperation AsynxOperation;
typedef struct AsynxMark AsynxMark;

typedef struct AsynxPatchBuilder
{
	StringInfoData place;		/* pointer to where it stands */
	StringInfoData pointers;	/* the pointers of all operations, one after the other */
	AsynxOperation *operations;
	Size		count;
	Size		capacity;		/* operations allocated */
	Size		cost;			/* estimated length of the operations as compact text */
	AsynxMark  *mark;			/* of the innermost container begun, or NULL */
} AsynxPatchBuilder;

/* A pointer that an operation names: a piece of the builder's pointers. */
typedef struct AsynxPlace
{
	int			start;
	int			len;
} AsynxPlace;

/* What is known about the length of a container as text. */
typedef struct AsynxLength
{
	const char *data;			/* where the container is, NULL for none */
	uint32		len;			/* its bytes */
	Size		cost;			/* its length as text; at least so much unless exact */
	bool		exact;
} AsynxLength;

/* What a builder looked like when a container was begun. */
struct AsynxMark
{
	AsynxMark  *outer;			/* of the container around */
	Size		count;
	Size		cost;
	int			pointers;
	Size		limit;			/* a larger cost is certainly more than a replacement's */
	Size		bound;			/* the smallest limit of all containers begun */
	AsynxLength child;			/* the largest child with a length that has been looked for */
};

extern void asynx_builder_init(AsynxPatchBuilder *builder);
extern Jsonb *asynx_builder_write(const AsynxPatchBuilder *builder);

/* Each returns what asynx_builder_leave() needs to come back. */
extern int	asynx_builder_enter_member(AsynxPatchBuilder *builder, const AsynxValue *key);
extern int	asynx_builder_enter_element(AsynxPatchBuilder *builder, int index);
extern AsynxPlace asynx_builder_place(AsynxPatchBuilder *builder);

/* Operations on the place where the builder stands. */
extern void asynx_builder_add(AsynxPatchBuilder *builder, const AsynxValue *value);
extern void asynx_builder_remove(AsynxPatchBuilder *builder);
extern void asynx_builder_replace(AsynxPatchBuilder *builder, const AsynxValue *value);
extern void asynx_builder_move(AsynxPatchBuilder *builder, AsynxPlace from);

/* A container's operations, against replacing it by the target as a whole. */
extern void asynx_builder_begin(AsynxPatchBuilder *builder, AsynxMark *mark,
								const AsynxValue *target);
extern void asynx_builder_settle(AsynxPatchBuilder *builder, const AsynxValue *target);

/*
 * Is it certain that one of the containers begun will be replaced?  Then no more
 * operations need to be added: those since that container was begun will be dropped.
 */
static inline bool
asynx_builder_exhausted(const AsynxPatchBuilder *builder)
{
	return builder->cost > builder->mark->bound;
}

/* Goes back to the place around a child. */
static inline void
asynx_builder_leave(AsynxPatchBuilder *builder, int before)
{
	builder->place.len = before;
}

#endif							/* ASYNX_PATCHBUILDER_H */
