/*
 * diff.c
 *	  Finds a short patch that turns one document into another.
 *
 * Both documents are walked at once, as they stand in their jsonb.  What is the
 * same has the same bytes, so equal subtrees are skipped by one memcmp; 1.0 and 1
 * are different, because applying the patch must give the target byte for byte.
 *
 * Objects are merged member by member: jsonb keeps keys sorted.  A removed and an
 * added member with identical values are a renamed one, which is a move.  Arrays
 * lose their common head and tail; align.c decides what becomes of the elements
 * between.  Operations are executed one after the other, so each index is the one
 * that holds when its operation is reached (see EditedArray).
 *
 * patchbuilder.c collects the operations, and puts a single replacement in their
 * place where that is shorter.  As soon as it is exhausted, which is to say that one
 * of the containers around will surely be replaced, all walks end.
 *
 * Each level looks at the bytes below it again, to see whether they are the same: the
 * time is bounded by the size of the documents times their depth.
 */
#include "asynx.h"

#include "align.h"
#include "diff.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "patchbuilder.h"
#include "utils/memutils.h"
#include "value.h"

/*
 * The most elements, of all arrays being edited and on both sides, that are spread
 * out at a time; an array beyond that is only compared place by place.
 */
#define MAX_SPREAD_ELEMENTS (2 * 1024 * 1024)

/* How many pairs of removed and added members of one object are compared for renames. */
#define MAX_RENAME_COMPARISONS 100000

/* A member that only one of two objects has. */
typedef struct SingleMember
{
	AsynxValue	key;
	AsynxValue	value;
	bool		added;			/* the target has it */
	bool		done;			/* part of a rename */
} SingleMember;

/* The state of a comparison. */
typedef struct Diff
{
	AsynxPatchBuilder patch;
	SingleMember *members;		/* a stack: those of the outer objects come first */
	Size		nmembers;
	Size		max_members;	/* allocated */
	int			depth;			/* containers around what is being compared */
	int			spread;			/* elements of arrays that are spread out */
} Diff;

/* One of two objects that are merged. */
typedef struct Side
{
	AsynxMembers rest;
	AsynxValue	key;
	AsynxValue	value;
	bool		more;			/* key and value are there */
} Side;

/*
 * An array in the middle of being edited.  It reads, after `head` common elements:
 * the first `target` elements of the target; then what is left of the source from
 * `source` on.  Moved elements interfere with that.  One that has to go further back
 * is moved when the source gets to it (early): it then waits right before its anchor,
 * the next element that stays, until the target gets there.  One that has to come
 * forward is fetched when the target gets to it (late), and missing behind.
 */
typedef struct EditedArray
{
	const AsynxValue *elements;	/* of the source */
	const AsynxValue *wanted;	/* of the target */
	AsynxAlignment plan;
	int			head;
	int			source;
	int			target;
} EditedArray;

static void diff_value(Diff *diff, const AsynxValue *a, const AsynxValue *b);

PG_FUNCTION_INFO_V1(asynx_json_diff);

/* Puts a member that only one object has on the stack. */
static void
push_member(Diff *diff, const Side *side, bool added)
{
	SingleMember *member;

	if (diff->nmembers == diff->max_members)
	{
		diff->max_members = Max(diff->max_members * 2, 8);
		diff->members = diff->members == NULL ?
			palloc(sizeof(SingleMember) * diff->max_members) :
			repalloc_huge(diff->members, sizeof(SingleMember) * diff->max_members);
	}
	member = &diff->members[diff->nmembers++];
	member->key = side->key;
	member->value = side->value;
	member->added = added;
	member->done = false;
}

/* Adds the move for a renamed member. */
static void
rename_member(Diff *diff, SingleMember *removed, SingleMember *added)
{
	AsynxPlace	from;
	int			before = asynx_builder_enter_member(&diff->patch, &removed->key);

	from = asynx_builder_place(&diff->patch);
	asynx_builder_leave(&diff->patch, before);

	before = asynx_builder_enter_member(&diff->patch, &added->key);
	asynx_builder_move(&diff->patch, from);
	asynx_builder_leave(&diff->patch, before);

	removed->done = true;
	added->done = true;
}

/* Finds the removed and added members with identical values. */
static void
rename_members(Diff *diff, Size first)
{
	int			budget = MAX_RENAME_COMPARISONS;

	for (Size i = first; i < diff->nmembers; i++)
	{
		SingleMember *added = &diff->members[i];

		if (asynx_builder_exhausted(&diff->patch))
			break;
		if (!added->added)
			continue;
		for (Size j = first; j < diff->nmembers && budget > 0; j++, budget--)
		{
			SingleMember *removed = &diff->members[j];

			if (!removed->added && !removed->done &&
				asynx_value_identical(&removed->value, &added->value))
			{
				rename_member(diff, removed, added);
				break;
			}
		}
	}
}

/* Adds the operations for the members on the stack from `first` on, and takes them off. */
static void
flush_members(Diff *diff, Size first)
{
	rename_members(diff, first);
	for (Size i = first; i < diff->nmembers && !asynx_builder_exhausted(&diff->patch); i++)
	{
		const SingleMember *member = &diff->members[i];
		int			before;

		if (member->done)
			continue;
		before = asynx_builder_enter_member(&diff->patch, &member->key);
		if (member->added)
			asynx_builder_add(&diff->patch, &member->value);
		else
			asynx_builder_remove(&diff->patch);
		asynx_builder_leave(&diff->patch, before);
	}
	diff->nmembers = first;
}

/* Advances to the next member of one object. */
static void
side_next(Side *side)
{
	side->more = asynx_members_next(&side->rest, &side->key, &side->value);
}

/* Which side has the smaller key?  The sign says; 0 means both have the member. */
static int
sides_compare(const Side *a, const Side *b)
{
	if (!a->more || !b->more)
		return a->more ? -1 : 1;
	return asynx_key_compare(a->key.data, a->key.len, b->key.data, b->key.len);
}

/* Compares two objects: merges their sorted members. */
static void
diff_object(Diff *diff, const AsynxValue *source, const AsynxValue *target)
{
	Size		first = diff->nmembers;
	Side		a;
	Side		b;

	asynx_members_begin(&a.rest, source);
	asynx_members_begin(&b.rest, target);
	side_next(&a);
	side_next(&b);
	while ((a.more || b.more) && !asynx_builder_exhausted(&diff->patch))
	{
		int			order = sides_compare(&a, &b);

		if (order != 0)
			push_member(diff, order < 0 ? &a : &b, order > 0);
		else if (!asynx_value_identical(&a.value, &b.value))
		{
			int			before = asynx_builder_enter_member(&diff->patch, &a.key);

			diff_value(diff, &a.value, &b.value);
			asynx_builder_leave(&diff->patch, before);
		}
		if (order <= 0)
			side_next(&a);
		if (order >= 0)
			side_next(&b);
	}
	flush_members(diff, first);
}

/* Adds the operation that removes an element. */
static void
remove_element(Diff *diff, int index)
{
	int			before = asynx_builder_enter_element(&diff->patch, index);

	asynx_builder_remove(&diff->patch);
	asynx_builder_leave(&diff->patch, before);
}

/* Adds the operation that inserts an element. */
static void
insert_element(Diff *diff, int index, const AsynxValue *value)
{
	int			before = asynx_builder_enter_element(&diff->patch, index);

	asynx_builder_add(&diff->patch, value);
	asynx_builder_leave(&diff->patch, before);
}

/* Compares two elements that stand at the same place when their turn comes. */
static void
diff_element(Diff *diff, int index, const AsynxValue *a, const AsynxValue *b)
{
	int			before;

	if (asynx_value_identical(a, b))
		return;
	before = asynx_builder_enter_element(&diff->patch, index);
	diff_value(diff, a, b);
	asynx_builder_leave(&diff->patch, before);
}

/* Adds the move of an element, unless it is there already. */
static void
move_element(Diff *diff, int from_index, int index)
{
	AsynxPlace	from;
	int			before;

	if (from_index == index)
		return;
	before = asynx_builder_enter_element(&diff->patch, from_index);
	from = asynx_builder_place(&diff->patch);
	asynx_builder_leave(&diff->patch, before);

	before = asynx_builder_enter_element(&diff->patch, index);
	asynx_builder_move(&diff->patch, from);
	asynx_builder_leave(&diff->patch, before);
}

/* The move of a source element. */
static AsynxMove *
find_move(EditedArray *array, int source)
{
	AsynxMove  *move = array->plan.moves;

	while (move->source != source)
		move++;
	return move;
}

/* Source elements from `start` to before `end` that have not been moved ahead of time. */
static int
count_left(const EditedArray *array, int start, int end)
{
	int			left = end - start;

	for (int i = 0; i < array->plan.nmoves; i++)
	{
		const AsynxMove *move = &array->plan.moves[i];

		if (move->late && move->source >= start && move->source < end)
			left--;
	}
	return left;
}

/* Elements moved backwards that wait for their turn, with targets before `target`. */
static int
count_waiting(const EditedArray *array, int target)
{
	int			waiting = 0;

	for (int i = 0; i < array->plan.nmoves; i++)
	{
		const AsynxMove *move = &array->plan.moves[i];

		if (move->early && move->target >= array->target && move->target < target)
			waiting++;
	}
	return waiting;
}

/* The index at which the array goes on with the source. */
static inline int
front_index(const EditedArray *array)
{
	return array->head + array->target;
}

/* The source's next element belongs further back: puts it right before its anchor. */
static void
move_early(Diff *diff, EditedArray *array)
{
	AsynxMove  *move = find_move(array, array->source);
	int			from = front_index(array);
	int			to = from + count_left(array, array->source + 1, move->anchor) +
		count_waiting(array, move->target);

	move_element(diff, from, to);
	move->early = true;
}

/* The target's next element stands further back in the source: fetches it. */
static void
move_late(Diff *diff, EditedArray *array, AsynxMove *move)
{
	int			to = front_index(array);
	int			from = to + count_left(array, array->source, move->source);

	/* Those that wait for their turn stand before their anchors. */
	for (int i = 0; i < array->plan.nmoves; i++)
	{
		const AsynxMove *other = &array->plan.moves[i];

		if (other->early && other->target >= array->target && other->anchor < move->source)
			from++;
	}
	move_element(diff, from, to);
	move->late = true;
}

/* Deals with the source's elements up to the next one that stays in order. */
static void
clear_front(Diff *diff, EditedArray *array)
{
	for (; array->source < array->plan.nsource && !asynx_builder_exhausted(&diff->patch);
		 array->source++)
	{
		AsynxFate	fate = array->plan.fate[array->source];

		if (fate == ASYNX_SAME || fate == ASYNX_CHANGED)
			break;
		if (fate == ASYNX_REMOVED)
			remove_element(diff, front_index(array));
		else if (!find_move(array, array->source)->late)
			move_early(diff, array);
	}
}

/* Makes the target's next element stand at the front. */
static void
produce_element(Diff *diff, EditedArray *array)
{
	const AsynxValue *wanted = &array->wanted[array->target];
	int			source = array->plan.source_of[array->target];

	if (source == ASYNX_NOWHERE)
		insert_element(diff, front_index(array), wanted);
	else if (array->plan.fate[source] == ASYNX_MOVED)
	{
		AsynxMove  *move = find_move(array, source);

		if (!move->early)
			move_late(diff, array, move);
	}
	else
	{
		if (array->plan.fate[source] == ASYNX_CHANGED)
			diff_element(diff, front_index(array), &array->elements[source], wanted);
		array->source++;
	}
}

/* Executes the plan for the middle of an array, from left to right. */
static void
edit_array(Diff *diff, EditedArray *array)
{
	for (; array->target < array->plan.ntarget; array->target++)
	{
		clear_front(diff, array);
		if (asynx_builder_exhausted(&diff->patch))
			return;
		produce_element(diff, array);
	}
	clear_front(diff, array);
}

/* Compares the rest of two arrays place by place: those too large for anything better. */
static void
diff_places(Diff *diff, int index, AsynxCursor *a, AsynxCursor *b)
{
	AsynxValue	old;
	AsynxValue	new;

	for (; asynx_cursor_next(b, &new); index++)
	{
		if (asynx_builder_exhausted(&diff->patch))
			return;
		if (asynx_cursor_next(a, &old))
			diff_element(diff, index, &old, &new);
		else
			insert_element(diff, index, &new);
	}
	for (uint32 left = a->left; left > 0 && !asynx_builder_exhausted(&diff->patch); left--)
		remove_element(diff, index);
}

/* Spreads the rest of an array out. */
static AsynxValue *
spread(AsynxCursor *cursor)
{
	AsynxValue *elements = palloc(sizeof(AsynxValue) * Max(cursor->left, 1));
	AsynxValue *element = elements;

	while (asynx_cursor_next(cursor, element))
		element++;
	return elements;
}

/* Advances two cursors to the first elements that differ; returns how many were the same. */
static int
skip_head(AsynxCursor *a, AsynxCursor *b)
{
	int			head = 0;

	for (;;)
	{
		AsynxCursor before_a = *a;
		AsynxCursor before_b = *b;
		AsynxValue	old;
		AsynxValue	new;

		if (!asynx_cursor_next(a, &old) || !asynx_cursor_next(b, &new) ||
			!asynx_value_identical(&old, &new))
		{
			*a = before_a;
			*b = before_b;
			return head;
		}
		head++;
	}
}

/* Compares the rest of two arrays by aligning what is between their common head and tail. */
static void
diff_spread(Diff *diff, int head, AsynxCursor *a, AsynxCursor *b)
{
	int			nsource = a->left;
	int			ntarget = b->left;
	AsynxValue *elements = spread(a);
	AsynxValue *wanted = spread(b);
	EditedArray array = {.elements = elements, .wanted = wanted, .head = head};

	while (nsource > 0 && ntarget > 0 &&
		   asynx_value_identical(&elements[nsource - 1], &wanted[ntarget - 1]))
		nsource--, ntarget--;

	asynx_align(&array.plan, elements, nsource, wanted, ntarget);
	edit_array(diff, &array);

	asynx_alignment_free(&array.plan);
	pfree(elements);
	pfree(wanted);
}

/* Compares two arrays. */
static void
diff_array(Diff *diff, const AsynxValue *source, const AsynxValue *target)
{
	AsynxCursor a;
	AsynxCursor b;
	int			head;
	int			size;

	asynx_elements_begin(&a, source);
	asynx_elements_begin(&b, target);
	head = skip_head(&a, &b);
	size = a.left + b.left;
	if (diff->spread + size > MAX_SPREAD_ELEMENTS)
	{
		diff_places(diff, head, &a, &b);
		return;
	}

	diff->spread += size;
	diff_spread(diff, head, &a, &b);
	diff->spread -= size;
}

/* Compares two values that are not identical. */
static void
diff_value(Diff *diff, const AsynxValue *a, const AsynxValue *b)
{
	AsynxMark	mark;

	if (a->tag != b->tag || !asynx_value_is_container(a))
	{
		asynx_builder_replace(&diff->patch, b);
		return;
	}

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (++diff->depth > asynx_max_document_depth)
		asynx_document_too_deep(asynx_max_document_depth);
	asynx_builder_begin(&diff->patch, &mark, b);
	if (a->tag == ASYNX_OBJECT)
		diff_object(diff, a, b);
	else
		diff_array(diff, a, b);
	asynx_builder_settle(&diff->patch, b);
	diff->depth--;
}

/* Returns a patch that turns the source into the target byte for byte. */
Jsonb *
asynx_diff(const Jsonb *source, const Jsonb *target)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "asynx diff",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	AsynxValue	a = asynx_value_root(source);
	AsynxValue	b = asynx_value_root(target);
	Diff		diff;
	Jsonb	   *patch;

	memset(&diff, 0, sizeof(Diff));
	asynx_builder_init(&diff.patch);
	if (!asynx_value_identical(&a, &b))
		diff_value(&diff, &a, &b);

	MemoryContextSwitchTo(caller);
	patch = asynx_builder_write(&diff.patch);
	MemoryContextDelete(scratch);
	return patch;
}

/* json_diff(source jsonb, target jsonb) returns jsonb */
Datum
asynx_json_diff(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(asynx_diff(PG_GETARG_JSONB_P(0), PG_GETARG_JSONB_P(1)));
}
