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
 * Whenever a container is done, the operations collected for it are weighed
 * against replacing it as a whole, by the length of the patch as compact text.
 * Lengths are estimated (characters to escape are not counted, a number counts by
 * its digits in base 10000); the walk over the replacement stops as soon as it is
 * known to be longer, so this costs no more than the operations did.  Operations
 * that are certainly longer than the replacement are not collected to the end.
 *
 * All scratch data lives in one memory context, the patch is written at the end.
 */
#include "asynx.h"

#include "align.h"
#include "diff.h"
#include "fmgr.h"
#include "guc.h"
#include "jsonbwriter.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "value.h"

/* Arrays of more elements are only compared place by place. */
#define MAX_ALIGNED_ELEMENTS (1024 * 1024)

/* How many pairs of removed and added members of one object are compared for renames. */
#define MAX_RENAME_COMPARISONS 100000

/* Length of a literal without its terminating NUL. */
#define LITERAL_LENGTH(literal) (sizeof(literal) - 1)

typedef enum OpKind
{
	OP_ADD,
	OP_REMOVE,
	OP_REPLACE,
	OP_MOVE
} OpKind;

/* What each kind of operation is called, and its length as text without pointers and value. */
static const struct
{
	const char *name;
	Size		cost;
	bool		has_value;
}			op_kinds[] = {
	[OP_ADD] = {"add", LITERAL_LENGTH("{'op':'add','path':'','value':},"), true},
	[OP_REMOVE] = {"remove", LITERAL_LENGTH("{'op':'remove','path':''},"), false},
	[OP_REPLACE] = {"replace", LITERAL_LENGTH("{'op':'replace','path':'','value':},"), true},
	[OP_MOVE] = {"move", LITERAL_LENGTH("{'op':'move','from':'','path':''},"), false},
};

/* A pointer that an operation names: a piece of Diff.pointers. */
typedef struct SavedPlace
{
	int			start;
	int			len;
} SavedPlace;

/* One operation of the patch. */
typedef struct Op
{
	OpKind		kind;
	SavedPlace	path;
	SavedPlace	from;			/* OP_MOVE only */
	AsynxValue	value;			/* OP_ADD and OP_REPLACE only */
} Op;

/* A member that only one of two objects has. */
typedef struct Member
{
	AsynxValue	key;
	AsynxValue	value;
	bool		added;			/* the target has it */
	bool		done;			/* part of a rename */
} Member;

/* The state of a comparison. */
typedef struct Diff
{
	StringInfoData place;		/* pointer to what is being compared */
	StringInfoData pointers;	/* the pointers of all operations */
	Op		   *ops;
	Size		nops;
	Size		max_ops;		/* allocated */
	Size		cost;			/* length of the operations as text */
	Member	   *members;		/* a stack: those of the outer objects come first */
	Size		nmembers;
	Size		max_members;	/* allocated */
	int			depth;			/* containers around what is being compared */
} Diff;

/* What a diff looked like when a container was begun. */
typedef struct Mark
{
	Size		nops;
	Size		cost;
	int			pointers;
} Mark;

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
 * `source` on, without those moved ahead of time (late moves), and with those
 * moved backwards ahead of time (early moves) right before their anchors.
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

static Size value_cost(const AsynxValue *value, Size limit);
static void diff_value(Diff *diff, const AsynxValue *a, const AsynxValue *b);

PG_FUNCTION_INFO_V1(asynx_json_diff);

/* Estimates the length of a number as text; its sign, weight and scale stay unread. */
static Size
numeric_cost(const AsynxValue *number)
{
	Size		header = VARHDRSZ + sizeof(uint16);

	if (number->len <= header)
		return 1;
	return (number->len - header) * 2 - 2;
}

/* The same for an array. */
static Size
array_cost(const AsynxValue *array, Size limit)
{
	Size		cost = LITERAL_LENGTH("[]");
	AsynxCursor cursor;
	AsynxValue	element;

	check_stack_depth();
	asynx_elements_begin(&cursor, array);
	while (cost <= limit && asynx_cursor_next(&cursor, &element))
		cost += value_cost(&element, limit - cost) + LITERAL_LENGTH(",");
	return cost;
}

/* The same for an object. */
static Size
object_cost(const AsynxValue *object, Size limit)
{
	Size		cost = LITERAL_LENGTH("{}");
	AsynxMembers members;
	AsynxValue	key;
	AsynxValue	value;

	check_stack_depth();
	asynx_members_begin(&members, object);
	while (cost <= limit && asynx_members_next(&members, &key, &value))
		cost += key.len + value_cost(&value, limit - cost) + LITERAL_LENGTH("'':,");
	return cost;
}

/* Estimates the length of a value as compact text; stops counting beyond `limit`. */
static Size
value_cost(const AsynxValue *value, Size limit)
{
	switch (value->tag)
	{
		case ASYNX_NULL:
		case ASYNX_TRUE:
			return LITERAL_LENGTH("true");
		case ASYNX_FALSE:
			return LITERAL_LENGTH("false");
		case ASYNX_STRING:
			return value->len + LITERAL_LENGTH("''");
		case ASYNX_NUMERIC:
			return numeric_cost(value);
		case ASYNX_ARRAY:
			return array_cost(value, limit);
		case ASYNX_OBJECT:
			return object_cost(value, limit);
	}
	return 0;
}

/* Remembers where the operations of a container begin. */
static Mark
mark_begin(const Diff *diff)
{
	Mark		mark = {diff->nops, diff->cost, diff->pointers.len};

	return mark;
}

/* Forgets all operations since the mark. */
static void
mark_rewind(Diff *diff, const Mark *mark)
{
	diff->nops = mark->nops;
	diff->cost = mark->cost;
	diff->pointers.len = mark->pointers;
}

/* Is replacing the target certainly shorter?  No text is twice as long as its jsonb. */
static bool
mark_exhausted(const Diff *diff, const Mark *mark, const AsynxValue *target)
{
	return diff->cost - mark->cost >
		op_kinds[OP_REPLACE].cost + diff->place.len + 2 * (Size) target->len + 2;
}

/* Keeps a copy of the current place as a pointer of an operation. */
static SavedPlace
save_place(Diff *diff)
{
	SavedPlace	pointer = {diff->pointers.len, diff->place.len};

	appendBinaryStringInfo(&diff->pointers, diff->place.data, diff->place.len);
	return pointer;
}

/* Adds an operation on the current place. */
static Op *
add_op(Diff *diff, OpKind kind)
{
	Op		   *op;

	if (diff->nops == diff->max_ops)
	{
		diff->max_ops *= 2;
		diff->ops = repalloc_huge(diff->ops, sizeof(Op) * diff->max_ops);
	}
	op = &diff->ops[diff->nops++];
	op->kind = kind;
	op->path = save_place(diff);
	diff->cost += op_kinds[kind].cost + op->path.len;
	return op;
}

/* Adds the operation that puts a value at the current place. */
static void
add_value_op(Diff *diff, OpKind kind, const AsynxValue *value)
{
	Op		   *op = add_op(diff, kind);

	op->value = *value;
	diff->cost += value_cost(value, SIZE_MAX);
}

/* Adds the operation that moves what was at `from` to the current place. */
static void
add_move_op(Diff *diff, SavedPlace from)
{
	Op		   *op = add_op(diff, OP_MOVE);

	op->from = from;
	diff->cost += from.len;
}

/* Enters a member; returns the length to which leave() cuts the place back. */
static int
enter_member(Diff *diff, const AsynxValue *key)
{
	StringInfo	place = &diff->place;
	int			before = place->len;

	enlargeStringInfo(place, 2 * key->len + 1);
	place->data[place->len++] = '/';
	for (uint32 i = 0; i < key->len; i++)
	{
		char		c = key->data[i];

		if (c == '~' || c == '/')
		{
			place->data[place->len++] = '~';
			c = c == '~' ? '0' : '1';
		}
		place->data[place->len++] = c;
	}
	return before;
}

/* Enters an element; returns the length to which leave() cuts the place back. */
static int
enter_element(Diff *diff, int index)
{
	StringInfo	place = &diff->place;
	int			before = place->len;

	enlargeStringInfo(place, MAXINT8LEN + 1);
	place->data[place->len++] = '/';
	place->len += pg_ultoa_n((uint32) index, place->data + place->len);
	return before;
}

/* Returns to the place around a child. */
static void
leave(Diff *diff, int before)
{
	diff->place.len = before;
}

/* Puts a member that only one object has on the stack. */
static void
push_member(Diff *diff, const Side *side, bool added)
{
	Member	   *member;

	if (diff->nmembers == diff->max_members)
	{
		diff->max_members = Max(diff->max_members * 2, 8);
		diff->members = diff->members == NULL ?
			palloc(sizeof(Member) * diff->max_members) :
			repalloc_huge(diff->members, sizeof(Member) * diff->max_members);
	}
	member = &diff->members[diff->nmembers++];
	member->key = side->key;
	member->value = side->value;
	member->added = added;
	member->done = false;
}

/* Adds the move for a renamed member. */
static void
rename_member(Diff *diff, Member *removed, Member *added)
{
	SavedPlace	from;
	int			before = enter_member(diff, &removed->key);

	from = save_place(diff);
	leave(diff, before);

	before = enter_member(diff, &added->key);
	add_move_op(diff, from);
	leave(diff, before);

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
		Member	   *added = &diff->members[i];

		if (!added->added)
			continue;
		for (Size j = first; j < diff->nmembers && budget > 0; j++, budget--)
		{
			Member	   *removed = &diff->members[j];

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
	for (Size i = first; i < diff->nmembers; i++)
	{
		const Member *member = &diff->members[i];
		int			before;

		if (member->done)
			continue;
		before = enter_member(diff, &member->key);
		if (member->added)
			add_value_op(diff, OP_ADD, &member->value);
		else
			add_op(diff, OP_REMOVE);
		leave(diff, before);
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
diff_object(Diff *diff, const Mark *mark, const AsynxValue *source, const AsynxValue *target)
{
	Size		first = diff->nmembers;
	Side		a;
	Side		b;

	asynx_members_begin(&a.rest, source);
	asynx_members_begin(&b.rest, target);
	side_next(&a);
	side_next(&b);
	while ((a.more || b.more) && !mark_exhausted(diff, mark, target))
	{
		int			order = sides_compare(&a, &b);

		if (order != 0)
			push_member(diff, order < 0 ? &a : &b, order > 0);
		else if (!asynx_value_identical(&a.value, &b.value))
		{
			int			before = enter_member(diff, &a.key);

			diff_value(diff, &a.value, &b.value);
			leave(diff, before);
		}
		if (order <= 0)
			side_next(&a);
		if (order >= 0)
			side_next(&b);
	}
	flush_members(diff, first);
}

/* Adds an operation without value on an element. */
static void
remove_element(Diff *diff, int index)
{
	int			before = enter_element(diff, index);

	add_op(diff, OP_REMOVE);
	leave(diff, before);
}

/* Adds the operation that inserts an element. */
static void
insert_element(Diff *diff, int index, const AsynxValue *value)
{
	int			before = enter_element(diff, index);

	add_value_op(diff, OP_ADD, value);
	leave(diff, before);
}

/* Compares two elements that stand at the same place when their turn comes. */
static void
diff_element(Diff *diff, int index, const AsynxValue *a, const AsynxValue *b)
{
	int			before;

	if (asynx_value_identical(a, b))
		return;
	before = enter_element(diff, index);
	diff_value(diff, a, b);
	leave(diff, before);
}

/* Adds the move of an element, unless it is there already. */
static void
move_element(Diff *diff, int from_index, int index)
{
	SavedPlace	from;
	int			before;

	if (from_index == index)
		return;
	before = enter_element(diff, from_index);
	from = save_place(diff);
	leave(diff, before);

	before = enter_element(diff, index);
	add_move_op(diff, from);
	leave(diff, before);
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

/* Source elements that stand before `end` but behind the ones already dealt with. */
static int
count_left(const EditedArray *array, int end)
{
	int			left = end - array->source;

	for (int i = 0; i < array->plan.nmoves; i++)
	{
		const AsynxMove *move = &array->plan.moves[i];

		if (move->late && move->source >= array->source && move->source < end)
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
	int			to;

	array->source++;
	to = from + count_left(array, move->anchor) + count_waiting(array, move->target);
	move_element(diff, from, to);
	move->early = true;
}

/* The target's next element stands further back in the source: fetches it. */
static void
move_late(Diff *diff, EditedArray *array, AsynxMove *move)
{
	int			waiting = 0;

	/* Those that wait for their turn stand before their anchors. */
	for (int i = 0; i < array->plan.nmoves; i++)
	{
		const AsynxMove *other = &array->plan.moves[i];

		if (other->early && other->target >= array->target && other->anchor < move->source)
			waiting++;
	}
	move_element(diff, front_index(array) + count_left(array, move->source) + waiting,
				 front_index(array));
	move->late = true;
}

/* Deals with the source's elements up to the next one that stays in order. */
static void
clear_front(Diff *diff, EditedArray *array)
{
	for (; array->source < array->plan.nsource; array->source++)
	{
		AsynxFate	fate = array->plan.fate[array->source];

		if (fate == ASYNX_REMOVED)
			remove_element(diff, front_index(array));
		else if (fate != ASYNX_MOVED)
			break;
		else if (!find_move(array, array->source)->late)
		{
			move_early(diff, array);
			array->source--;
		}
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
edit_array(Diff *diff, const Mark *mark, const AsynxValue *whole, EditedArray *array)
{
	while (array->target < array->plan.ntarget && !mark_exhausted(diff, mark, whole))
	{
		clear_front(diff, array);
		produce_element(diff, array);
		array->target++;
	}
	clear_front(diff, array);
}

/* Compares arrays place by place: those too large for anything better. */
static void
diff_places(Diff *diff, const Mark *mark, const AsynxValue *source, const AsynxValue *target)
{
	int			nsource = asynx_value_count(source);
	int			index = 0;
	AsynxCursor a;
	AsynxCursor b;
	AsynxValue	old;
	AsynxValue	new;

	asynx_elements_begin(&a, source);
	asynx_elements_begin(&b, target);
	for (; asynx_cursor_next(&b, &new) && !mark_exhausted(diff, mark, target); index++)
	{
		if (asynx_cursor_next(&a, &old))
			diff_element(diff, index, &old, &new);
		else
			insert_element(diff, index, &new);
	}
	for (int left = nsource; left > index && !mark_exhausted(diff, mark, target); left--)
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

/* Compares two arrays. */
static void
diff_array(Diff *diff, const Mark *mark, const AsynxValue *source, const AsynxValue *target)
{
	AsynxCursor a;
	AsynxCursor b;
	EditedArray array = {0};
	int			nsource;
	int			ntarget;

	if (Max(asynx_value_count(source), asynx_value_count(target)) > MAX_ALIGNED_ELEMENTS)
	{
		diff_places(diff, mark, source, target);
		return;
	}

	asynx_elements_begin(&a, source);
	asynx_elements_begin(&b, target);
	array.head = skip_head(&a, &b);
	nsource = a.left;
	ntarget = b.left;
	array.elements = spread(&a);
	array.wanted = spread(&b);
	while (nsource > 0 && ntarget > 0 &&
		   asynx_value_identical(&array.elements[nsource - 1], &array.wanted[ntarget - 1]))
		nsource--, ntarget--;

	asynx_align(&array.plan, array.elements, nsource, array.wanted, ntarget);
	edit_array(diff, mark, target, &array);
}

/* Replaces the operations since the mark by a single one if that is shorter. */
static void
settle(Diff *diff, const Mark *mark, const AsynxValue *target)
{
	Size		spent = diff->cost - mark->cost;
	Size		fixed = op_kinds[OP_REPLACE].cost + diff->place.len;

	if (mark_exhausted(diff, mark, target) ||
		(spent > fixed && value_cost(target, spent - fixed) < spent - fixed))
	{
		mark_rewind(diff, mark);
		add_value_op(diff, OP_REPLACE, target);
	}
}

/* Compares two values that are not identical. */
static void
diff_value(Diff *diff, const AsynxValue *a, const AsynxValue *b)
{
	Mark		mark = mark_begin(diff);

	if (a->tag != b->tag || !asynx_value_is_container(a))
	{
		add_value_op(diff, OP_REPLACE, b);
		return;
	}

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (++diff->depth > asynx_max_document_depth)
		asynx_document_too_deep(asynx_max_document_depth);
	if (a->tag == ASYNX_OBJECT)
		diff_object(diff, &mark, a, b);
	else
		diff_array(diff, &mark, a, b);
	diff->depth--;
	settle(diff, &mark, b);
}

/* Writes one operation; jsonb's order of its members is op, from, path, value. */
static void
write_op(AsynxWriter *writer, AsynxFrame *patch, const Diff *diff, const Op *op)
{
	bool		has_value = op_kinds[op->kind].has_value;
	bool		has_from = op->kind == OP_MOVE;
	const char *name = op_kinds[op->kind].name;
	AsynxFrame	frame;

	asynx_writer_open(writer, patch, &frame, ASYNX_OBJECT, 2 + has_from + has_value);
	asynx_writer_string(writer, &frame, "op", 2);
	if (has_from)
		asynx_writer_string(writer, &frame, "from", 4);
	asynx_writer_string(writer, &frame, "path", 4);
	if (has_value)
		asynx_writer_string(writer, &frame, "value", 5);

	asynx_writer_string(writer, &frame, name, strlen(name));
	if (has_from)
		asynx_writer_string(writer, &frame, diff->pointers.data + op->from.start, op->from.len);
	asynx_writer_string(writer, &frame, diff->pointers.data + op->path.start, op->path.len);
	if (has_value)
		asynx_writer_value(writer, &frame, &op->value);
	asynx_writer_close(writer, &frame);
}

/* Writes the patch; a document at its limit still has one, so only jsonb's own limit counts. */
static Jsonb *
write_patch(const Diff *diff)
{
	AsynxWriter writer;
	AsynxFrame	patch;

	/* An operation's jsonb is a little longer than its text. */
	asynx_writer_init(&writer, 64 + diff->cost + 32 * diff->nops, ASYNX_JSONB_LIMIT);
	asynx_writer_open(&writer, NULL, &patch, ASYNX_ARRAY, diff->nops);
	for (Size i = 0; i < diff->nops; i++)
		write_op(&writer, &patch, diff, &diff->ops[i]);
	asynx_writer_close(&writer, &patch);
	return asynx_writer_finish(&writer);
}

/* Begins a comparison in the current memory context. */
static void
diff_init(Diff *diff)
{
	memset(diff, 0, sizeof(Diff));
	initStringInfo(&diff->place);
	initStringInfo(&diff->pointers);
	diff->max_ops = 8;
	diff->ops = palloc(sizeof(Op) * diff->max_ops);
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

	diff_init(&diff);
	if (!asynx_value_identical(&a, &b))
		diff_value(&diff, &a, &b);

	MemoryContextSwitchTo(caller);
	patch = write_patch(&diff);
	MemoryContextDelete(scratch);
	return patch;
}

/* json_diff(source jsonb, target jsonb) returns jsonb */
Datum
asynx_json_diff(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(asynx_diff(PG_GETARG_JSONB_P(0), PG_GETARG_JSONB_P(1)));
}
