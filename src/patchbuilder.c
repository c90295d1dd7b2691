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
 * its digits in base 10000); the walk over the replacement stops as soon as it is
 * known to be longer, so this costs no more than the operations did.  Operations
 * that are certainly longer than the replacement need not be collected to the
 * end: see asynx_builder_exhausted().
 *
 * Everything is allocated in the memory context that asynx_builder_init() found,
 * but for the patch.
 */
#include "asynx.h"

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

typedef enum OperationKind
{
	OP_ADD,
	OP_REMOVE,
	OP_REPLACE,
	OP_MOVE
} OperationKind;

struct AsynxOperation
{
	OperationKind kind;
	AsynxPlace	path;
	AsynxPlace	from;			/* OP_MOVE only */
	AsynxValue	value;			/* OP_ADD and OP_REPLACE only */
};

/* What each kind of operation is called, and its length as text without pointers and value. */
static const struct
{
	const char *name;
	uint32		len;
	Size		cost;
}			kinds[] = {
	[OP_ADD] = {"add", 3, LITERAL_LENGTH("{'op':'add','path':'','value':},")},
	[OP_REMOVE] = {"remove", 6, LITERAL_LENGTH("{'op':'remove','path':''},")},
	[OP_REPLACE] = {"replace", 7, LITERAL_LENGTH("{'op':'replace','path':'','value':},")},
	[OP_MOVE] = {"move", 4, LITERAL_LENGTH("{'op':'move','from':'','path':''},")},
};

static Size value_cost(const AsynxValue *value, Size limit);

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

/* An object's length as text. */
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

/* A number's length as text; its sign, weight and scale stay unread. */
static Size
numeric_cost(const AsynxValue *number)
{
	Size		header = VARHDRSZ + sizeof(uint16);

	return number->len <= header ? 1 : (number->len - header) * 2 - 2;
}

/* Estimates a value's length as compact text; stops counting beyond `limit`. */
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

/* Adds an operation on the place where the builder stands. */
static AsynxOperation *
append_operation(AsynxPatchBuilder *builder, OperationKind kind)
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
	builder->cost += kinds[kind].cost + operation->path.len;
	return operation;
}

/* Adds a value that was not there. */
void
asynx_builder_add(AsynxPatchBuilder *builder, const AsynxValue *value)
{
	append_operation(builder, OP_ADD)->value = *value;
	builder->cost += value_cost(value, SIZE_MAX);
}

/* Removes what is there. */
void
asynx_builder_remove(AsynxPatchBuilder *builder)
{
	append_operation(builder, OP_REMOVE);
}

/* Replaces what is there. */
void
asynx_builder_replace(AsynxPatchBuilder *builder, const AsynxValue *value)
{
	append_operation(builder, OP_REPLACE)->value = *value;
	builder->cost += value_cost(value, SIZE_MAX);
}

/* Moves what was at `from`. */
void
asynx_builder_move(AsynxPatchBuilder *builder, AsynxPlace from)
{
	append_operation(builder, OP_MOVE)->from = from;
	builder->cost += from.len;
}

/* Remembers where the operations of a container begin. */
AsynxMark
asynx_builder_mark(const AsynxPatchBuilder *builder)
{
	AsynxMark	mark = {builder->count, builder->cost, builder->pointers.len};

	return mark;
}

/* Length of the operation that replaces what is here, without the value. */
static Size
replacement_cost(const AsynxPatchBuilder *builder)
{
	return kinds[OP_REPLACE].cost + builder->place.len;
}

/*
 * Are the operations since the mark certainly longer than a replacement?  By our
 * estimate no value is more than twice as long as its jsonb, and two.
 */
bool
asynx_builder_exhausted(const AsynxPatchBuilder *builder, const AsynxMark *mark,
						const AsynxValue *target)
{
	return builder->cost - mark->cost >
		replacement_cost(builder) + 2 * (Size) target->len + 2;
}

/* Puts one replacement in place of the operations since the mark if it is shorter. */
void
asynx_builder_settle(AsynxPatchBuilder *builder, const AsynxMark *mark, const AsynxValue *target)
{
	Size		spent = builder->cost - mark->cost;
	Size		fixed = replacement_cost(builder);

	if (!asynx_builder_exhausted(builder, mark, target) &&
		(spent <= fixed || value_cost(target, spent - fixed) >= spent - fixed))
		return;

	builder->count = mark->count;
	builder->cost = mark->cost;
	builder->pointers.len = mark->pointers;
	asynx_builder_replace(builder, target);
}

/* Writes a pointer that an operation names. */
static void
write_place(AsynxWriter *writer, AsynxFrame *frame, const AsynxPatchBuilder *builder,
			const AsynxPlace *place)
{
	asynx_writer_string(writer, frame, builder->pointers.data + place->start, place->len);
}

/* Writes one operation; jsonb's order of its members is op, from, path, value. */
static void
write_operation(AsynxWriter *writer, AsynxFrame *patch, const AsynxPatchBuilder *builder,
				const AsynxOperation *operation)
{
	bool		has_from = operation->kind == OP_MOVE;
	bool		has_value = operation->kind == OP_ADD || operation->kind == OP_REPLACE;
	AsynxFrame	frame;

	asynx_writer_open(writer, patch, &frame, ASYNX_OBJECT, 2 + has_from + has_value);
	asynx_writer_string(writer, &frame, "op", 2);
	if (has_from)
		asynx_writer_string(writer, &frame, "from", 4);
	asynx_writer_string(writer, &frame, "path", 4);
	if (has_value)
		asynx_writer_string(writer, &frame, "value", 5);

	asynx_writer_string(writer, &frame, kinds[operation->kind].name, kinds[operation->kind].len);
	if (has_from)
		write_place(writer, &frame, builder, &operation->from);
	write_place(writer, &frame, builder, &operation->path);
	if (has_value)
		asynx_writer_value(writer, &frame, &operation->value);
	asynx_writer_close(writer, &frame);
}

/*
 * Writes the patch in the current memory context.  The limit on documents is not
 * applied: a document as large as it may be can still be replaced by another.
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
