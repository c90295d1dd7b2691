/*
 * patchbuilder.c
 *	  Collects the operations of a patch, and knows how long it has become.
 *
 * Operations are kept as they will be written: kind, pointers, and a value that
 * stays in the document it comes from.  Their pointers share one buffer, so that
 * forgetting all operations since a mark is setting three numbers back.
 *
 * Whenever a container is done, the operations collected for it are weighed
 * against replacing it as a whole, by the length of the patch as compact text.
 * Lengths are estimated (characters to escape are not counted, a number counts by
 * its digits in base 10000).  The walk over the replacement stops when it is known
 * to be longer.  A container that is weighed again as a part of the one around it is
 * not walked again if it is the largest child, as far as its length is known, so a
 * long chain of containers does not cost its length times its depth.
 *
 * Containers that have been begun form a chain, and each of them has a limit: by our
 * estimate no value is more than twice as long as its jsonb, so operations that are
 * longer are certainly more than the replacement.  Beyond the limit of any container
 * in the chain the builder is exhausted.  Nothing needs to be added then, and the
 * containers inside are given up without being weighed: the one beyond its limit will
 * be replaced.  The limit of the whole document thus bounds what all operations and
 * their pointers take, by a small multiple of the target, wherever they are.
 *
 * Everything is allocated in the memory context that asynx_builder_init() found,
 * but for the patch.
 */
#include "asynx.h"

#include "guc.h"
#include "jsonbwriter.h"
#include "miscadmin.h"
#include "patchbuilder.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* Length of a literal without its terminating NUL. */
#define LITERAL_LENGTH(literal) (sizeof(literal) - 1)

/* Operations allocated at first. */
#define INITIAL_OPERATIONS 8

/* Bytes by which the jsonb of an operation is longer than its text, roughly. */
#define JSONB_OVERHEAD 32

typedef enum EditKind
{
	EDIT_ADD,
	EDIT_REMOVE,
	EDIT_REPLACE,
	EDIT_MOVE
} EditKind;

struct AsynxOperation
{
	EditKind	kind;
	AsynxPlace	path;
	AsynxPlace	from;			/* EDIT_MOVE only */
	AsynxValue	value;			/* EDIT_ADD and EDIT_REPLACE only */
};

/* What each kind of operation is called, and its length as text without pointers and value. */
static const struct
{
	const char *name;
	uint32		len;
	Size		cost;
}			edits[] = {
	[EDIT_ADD] = {"add", 3, LITERAL_LENGTH("{'op':'add','path':'','value':},")},
	[EDIT_REMOVE] = {"remove", 6, LITERAL_LENGTH("{'op':'remove','path':''},")},
	[EDIT_REPLACE] = {"replace", 7, LITERAL_LENGTH("{'op':'replace','path':'','value':},")},
	[EDIT_MOVE] = {"move", 4, LITERAL_LENGTH("{'op':'move','from':'','path':''},")},
};

static const AsynxLength nothing_known = {NULL, 0, 0, false};

static Size value_cost(const AsynxValue *value, Size limit, const AsynxLength *known);

/* Begins a patch in the current memory context. */
void
asynx_builder_init(AsynxPatchBuilder *builder)
{
	initStringInfo(&builder->place);
	initStringInfo(&builder->pointers);
	builder->capacity = INITIAL_OPERATIONS;
	builder->operations = palloc(sizeof(AsynxOperation) * builder->capacity);
	builder->count = 0;
	builder->cost = 0;
	builder->mark = NULL;
}

/* Goes down to a member. */
int
asynx_builder_enter_member(AsynxPatchBuilder *builder, const AsynxValue *key)
{
	StringInfo	place = &builder->place;
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

/* Goes down to an element. */
int
asynx_builder_enter_element(AsynxPatchBuilder *builder, int index)
{
	StringInfo	place = &builder->place;
	int			before = place->len;

	enlargeStringInfo(place, MAXINT8LEN + 1);
	place->data[place->len++] = '/';
	place->len += pg_ultoa_n((uint32) index, place->data + place->len);
	return before;
}

/* Keeps a copy of the pointer to where the builder stands. */
AsynxPlace
asynx_builder_place(AsynxPatchBuilder *builder)
{
	AsynxPlace	place = {builder->pointers.len, builder->place.len};

	appendBinaryStringInfo(&builder->pointers, builder->place.data, builder->place.len);
	return place;
}

/* An array's length as text. */
static Size
array_cost(const AsynxValue *array, Size limit, const AsynxLength *known)
{
	Size		cost = LITERAL_LENGTH("[]");
	AsynxCursor cursor;
	AsynxValue	element;

	check_stack_depth();
	asynx_elements_begin(&cursor, array);
	while (cost <= limit && asynx_cursor_next(&cursor, &element))
		cost += value_cost(&element, limit - cost, known) + LITERAL_LENGTH(",");
	return cost;
}

/* An object's length as text. */
static Size
object_cost(const AsynxValue *object, Size limit, const AsynxLength *known)
{
	Size		cost = LITERAL_LENGTH("{}");
	AsynxMembers members;
	AsynxValue	key;
	AsynxValue	value;

	check_stack_depth();
	asynx_members_begin(&members, object);
	while (cost <= limit && asynx_members_next(&members, &key, &value))
		cost += key.len + value_cost(&value, limit - cost, known) + LITERAL_LENGTH("'':,");
	return cost;
}

/* A number's length as text; its sign, weight and scale stay unread. */
static Size
numeric_cost(const AsynxValue *number)
{
	Size		header = VARHDRSZ + sizeof(uint16);

	return number->len <= header ? 1 : (number->len - header) * 2 - 2;
}

/* Is what is known about a length enough to go on with? */
static inline bool
length_suffices(const AsynxLength *known, const AsynxValue *value, Size limit)
{
	return known->data == value->data && (known->exact || known->cost > limit);
}

/*
 * Estimates a value's length as compact text; stops counting beyond `limit`.  The
 * length of one container inside may be known.
 */
static Size
value_cost(const AsynxValue *value, Size limit, const AsynxLength *known)
{
	if (asynx_value_is_container(value) && length_suffices(known, value, limit))
		return known->cost;
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
			return array_cost(value, limit, known);
		case ASYNX_OBJECT:
			return object_cost(value, limit, known);
	}
	return 0;
}

/* Adds an operation on the place where the builder stands. */
static AsynxOperation *
append_operation(AsynxPatchBuilder *builder, EditKind kind)
{
	AsynxOperation *operation;

	if (builder->count == builder->capacity)
	{
		builder->capacity *= 2;
		builder->operations = repalloc_huge(builder->operations,
											sizeof(AsynxOperation) * builder->capacity);
	}
	operation = &builder->operations[builder->count++];
	operation->kind = kind;
	operation->path = asynx_builder_place(builder);
	builder->cost += edits[kind].cost + operation->path.len;
	return operation;
}

/* Remembers what is known about a child's length, for when the container is weighed. */
static void
remember_length(AsynxPatchBuilder *builder, const AsynxValue *child, Size cost, bool exact)
{
	AsynxMark  *mark = builder->mark;

	if (mark != NULL && asynx_value_is_container(child) && child->len > mark->child.len)
		mark->child = (AsynxLength) {child->data, child->len, cost, exact};
}

/* Adds an operation with a value, of which the length of one child may be known. */
static void
append_value(AsynxPatchBuilder *builder, EditKind kind, const AsynxValue *value,
			 const AsynxLength *known)
{
	Size		cost = value_cost(value, SIZE_MAX, known);

	append_operation(builder, kind)->value = *value;
	builder->cost += cost;
	remember_length(builder, value, cost, true);
}

/* Adds a value that was not there. */
void
asynx_builder_add(AsynxPatchBuilder *builder, const AsynxValue *value)
{
	append_value(builder, EDIT_ADD, value, &nothing_known);
}

/* Removes what is there. */
void
asynx_builder_remove(AsynxPatchBuilder *builder)
{
	append_operation(builder, EDIT_REMOVE);
}

/* Replaces what is there. */
void
asynx_builder_replace(AsynxPatchBuilder *builder, const AsynxValue *value)
{
	append_value(builder, EDIT_REPLACE, value, &nothing_known);
}

/* Moves what was at `from`. */
void
asynx_builder_move(AsynxPatchBuilder *builder, AsynxPlace from)
{
	append_operation(builder, EDIT_MOVE)->from = from;
	builder->cost += from.len;
}

/* Length of the operation that replaces what is here, without the value. */
static Size
replacement_cost(const AsynxPatchBuilder *builder)
{
	return edits[EDIT_REPLACE].cost + builder->place.len;
}

/* Begins the operations of the container that is to become `target`. */
void
asynx_builder_begin(AsynxPatchBuilder *builder, AsynxMark *mark, const AsynxValue *target)
{
	mark->outer = builder->mark;
	mark->count = builder->count;
	mark->cost = builder->cost;
	mark->pointers = builder->pointers.len;
	mark->limit = builder->cost + replacement_cost(builder) + 2 * (Size) target->len + 2;
	mark->bound = mark->outer == NULL ? mark->limit : Min(mark->limit, mark->outer->bound);
	mark->child = nothing_known;
	builder->mark = mark;
}

/*
 * Is a replacement shorter than a container's operations?  The walk goes on to twice
 * what decides that, so that what it finds out serves the containers around as well.
 */
static bool
replacement_shorter(AsynxPatchBuilder *builder, const AsynxMark *mark, const AsynxValue *target)
{
	Size		spent = builder->cost - mark->cost;
	Size		fixed = replacement_cost(builder);
	Size		enough = 2 * spent;
	Size		cost;

	if (spent <= fixed)
		return false;
	cost = value_cost(target, enough, &mark->child);
	remember_length(builder, target, cost, cost <= enough);
	return cost < spent - fixed;
}

/*
 * Ends the innermost container's operations: puts one replacement in their place if
 * it is shorter, and leaves all to the container around that will be replaced anyway.
 */
void
asynx_builder_settle(AsynxPatchBuilder *builder, const AsynxValue *target)
{
	const AsynxMark *mark = builder->mark;
	const AsynxMark *outer = mark->outer;
	bool		certain = builder->cost > mark->limit;
	Size		least = certain ? mark->cost + replacement_cost(builder) : builder->cost;

	builder->mark = mark->outer;
	if (outer != NULL && least > outer->bound)
		return;
	if (!certain && !replacement_shorter(builder, mark, target))
		return;

	builder->count = mark->count;
	builder->cost = mark->cost;
	builder->pointers.len = mark->pointers;
	append_value(builder, EDIT_REPLACE, target, &mark->child);
}

/* Writes a pointer that an operation names. */
static void
write_place(AsynxWriter *writer, AsynxFrame *frame, const AsynxPatchBuilder *builder,
			const AsynxPlace *place)
{
	asynx_writer_string(writer, frame, builder->pointers.data + place->start, place->len);
}

/* The number of a pointer's tokens. */
static int
place_depth(const AsynxPatchBuilder *builder, const AsynxPlace *place)
{
	int			depth = 0;

	for (int i = 0; i < place->len; i++)
	{
		if (builder->pointers.data[place->start + i] == '/')
			depth++;
	}
	return depth;
}

/* Refuses an operation that would nest the document deeper than it may be. */
static void
check_operation(const AsynxPatchBuilder *builder, const AsynxOperation *operation)
{
	const AsynxValue *value = &operation->value;

	if (asynx_value_is_container(value) &&
		asynx_value_deeper(value, asynx_max_document_depth -
						   place_depth(builder, &operation->path)))
		asynx_document_too_deep(asynx_max_document_depth);
}

/* Writes one operation; jsonb's order of its members is op, from, path, value. */
static void
write_operation(AsynxWriter *writer, AsynxFrame *patch, const AsynxPatchBuilder *builder,
				const AsynxOperation *operation)
{
	bool		has_from = operation->kind == EDIT_MOVE;
	bool		has_value = operation->kind == EDIT_ADD || operation->kind == EDIT_REPLACE;
	AsynxFrame	frame;

	if (has_value)
		check_operation(builder, operation);
	asynx_writer_open(writer, patch, &frame, ASYNX_OBJECT, 2 + has_from + has_value);
	asynx_writer_string(writer, &frame, "op", 2);
	if (has_from)
		asynx_writer_string(writer, &frame, "from", 4);
	asynx_writer_string(writer, &frame, "path", 4);
	if (has_value)
		asynx_writer_string(writer, &frame, "value", 5);

	asynx_writer_string(writer, &frame, edits[operation->kind].name, edits[operation->kind].len);
	if (has_from)
		write_place(writer, &frame, builder, &operation->from);
	write_place(writer, &frame, builder, &operation->path);
	if (has_value)
		asynx_writer_value(writer, &frame, &operation->value);
	asynx_writer_close(writer, &frame);
}

/*
 * Writes the patch in the current memory context.  The limit on size is not
 * applied: a document as large as it may be can still be replaced by another.  The
 * limit on depth is: nobody could apply the patch.
 */
Jsonb *
asynx_builder_write(const AsynxPatchBuilder *builder)
{
	AsynxWriter writer;
	AsynxFrame	patch;

	asynx_writer_init(&writer, builder->cost + JSONB_OVERHEAD * (builder->count + 1),
					  ASYNX_JSONB_LIMIT);
	asynx_writer_open(&writer, NULL, &patch, ASYNX_ARRAY, (uint32) builder->count);
	for (Size i = 0; i < builder->count; i++)
		write_operation(&writer, &patch, builder, &builder->operations[i]);
	asynx_writer_close(&writer, &patch);
	return asynx_writer_finish(&writer);
}
