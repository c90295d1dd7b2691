/*
 * value.c
 *	  Reads jsonb in place: children, lookups, depth, equality, limits.
 *
 * A jsonb container is a header, one entry per child and the children's data.
 * An entry holds the child's type and either the length of its data or, in
 * every 32nd entry, the offset where the data ends.  Whoever walks in order
 * carries the running offset along (AsynxCursor); whoever jumps to a child
 * looks back to the last entry with an offset, which is at most 31 entries.
 * An object has the entries of all its keys first, then those of the values.
 *
 * Numbers and containers begin at a multiple of four; the padding before them
 * counts as their data, so it is skipped here once and nobody else needs to
 * know.  What is left of a container depends on its content alone, wherever it
 * stands: the same tree has the same bytes, and equal bytes mean equal trees.
 * The converse does not hold for numbers (1.0 and 1), hence two comparisons:
 * asynx_value_identical() for bytes, asynx_value_equal() for RFC 6902's "test".
 */
#include "asynx.h"

#include "errors.h"
#include "guc.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "value.h"

/* Fewest bytes that one more level of nesting costs: a header and an entry. */
#define BYTES_PER_LEVEL (sizeof(uint32) + sizeof(JEntry))

/* The container at a value's data. */
static inline const JsonbContainer *
value_container(const AsynxValue *value)
{
	Assert(asynx_value_is_container(value));
	return (const JsonbContainer *) value->data;
}

/* Entries of a container: one per element, two per member. */
static inline uint32
entry_count(const JsonbContainer *container)
{
	uint32		count = container->header & JB_CMASK;

	return JsonContainerIsObject(container) ? count * 2 : count;
}

/* Where the data of child `index` begins: the sum of the lengths since the last known offset. */
static uint32
child_offset(const JsonbContainer *container, uint32 index)
{
	uint32		offset = 0;

	while (index-- > 0)
	{
		JEntry		entry = container->children[index];

		offset += JBE_OFFLENFLD(entry);
		if (JBE_HAS_OFF(entry))
			break;
	}
	return offset;
}

/* Child `index` of a container; in an object the values follow the keys. */
static AsynxValue
child_value(const JsonbContainer *container, uint32 index)
{
	const char *base = (const char *) &container->children[entry_count(container)];
	JEntry		entry = container->children[index];
	uint32		start = child_offset(container, index);
	uint32		len = JBE_OFFLENFLD(entry);

	if (JBE_HAS_OFF(entry))
		len -= start;
	return asynx_value_at(entry, base + start, len);
}

/* The document as a value; jsonb keeps a scalar in an array that is marked so. */
AsynxValue
asynx_value_root(const Jsonb *document)
{
	const JsonbContainer *container = &document->root;
	AsynxValue	value;

	if (JsonContainerIsScalar(container))
		return child_value(container, 0);

	value.data = (const char *) container;
	value.len = VARSIZE(document) - VARHDRSZ;
	value.tag = JsonContainerIsObject(container) ? ASYNX_OBJECT : ASYNX_ARRAY;
	return value;
}

/* Places a cursor before `left` children, the first of which is child `index`. */
static void
cursor_begin(AsynxCursor *cursor, const JsonbContainer *container, uint32 index, uint32 left)
{
	cursor->base = (const char *) &container->children[entry_count(container)];
	cursor->entry = &container->children[index];
	cursor->left = left;
	cursor->offset = child_offset(container, index);
}

/* Places a cursor before the first element of an array. */
void
asynx_elements_begin(AsynxCursor *cursor, const AsynxValue *array)
{
	Assert(array->tag == ASYNX_ARRAY);
	cursor_begin(cursor, value_container(array), 0, asynx_value_count(array));
}

/* Places a cursor before element `first` of an array, to walk `count` elements. */
void
asynx_elements_range(AsynxCursor *cursor, const AsynxValue *array, uint32 first, uint32 count)
{
	Assert(array->tag == ASYNX_ARRAY);
	Assert(first + count <= asynx_value_count(array));
	cursor_begin(cursor, value_container(array), first, count);
}

/* Places two cursors before the first member of an object. */
void
asynx_members_begin(AsynxMembers *members, const AsynxValue *object)
{
	uint32		count = asynx_value_count(object);

	Assert(object->tag == ASYNX_OBJECT);
	cursor_begin(&members->keys, value_container(object), 0, count);
	cursor_begin(&members->values, value_container(object), count, count);
}

/* Places two cursors before member `first` of an object, to walk `count` members. */
void
asynx_members_range(AsynxMembers *members, const AsynxValue *object, uint32 first, uint32 count)
{
	uint32		total = asynx_value_count(object);

	Assert(object->tag == ASYNX_OBJECT);
	Assert(first + count <= total);
	cursor_begin(&members->keys, value_container(object), first, count);
	cursor_begin(&members->values, value_container(object), total + first, count);
}

/* Bytes of all keys of an object. */
uint32
asynx_value_keys_size(const AsynxValue *object)
{
	Assert(object->tag == ASYNX_OBJECT);
	return child_offset(value_container(object), asynx_value_count(object));
}

/* Element `index` of an array; false beyond its end. */
bool
asynx_value_element(const AsynxValue *array, uint32 index, AsynxValue *element)
{
	Assert(array->tag == ASYNX_ARRAY);
	if (index >= asynx_value_count(array))
		return false;

	*element = child_value(value_container(array), index);
	return true;
}

/*
 * Which member of an object has the name `key`, found by halving?  If none has,
 * the answer is false, and `index` the member that it would stand before.
 */
bool
asynx_value_place(const AsynxValue *object, const char *key, uint32 len, uint32 *index)
{
	const JsonbContainer *container = value_container(object);
	uint32		low = 0;
	uint32		high = asynx_value_count(object);

	Assert(object->tag == ASYNX_OBJECT);
	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;
		AsynxValue	found = child_value(container, middle);
		int			order = asynx_key_compare(key, len, found.data, found.len);

		if (order == 0)
		{
			*index = middle;
			return true;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	*index = low;
	return false;
}

/* Member `key` of an object; false if there is none. */
bool
asynx_value_member(const AsynxValue *object, const char *key, uint32 len, AsynxValue *member)
{
	uint32		index;

	if (!asynx_value_place(object, key, len, &index))
		return false;

	*member = child_value(value_container(object), asynx_value_count(object) + index);
	return true;
}

/* Levels of nesting: 0 for a scalar, 1 for a container without containers in it. */
static int
value_depth(const AsynxValue *value)
{
	const JsonbContainer *container;
	AsynxCursor cursor;
	AsynxValue	child;
	int			deepest = 0;

	if (!asynx_value_is_container(value))
		return 0;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	container = value_container(value);
	cursor_begin(&cursor, container, 0, entry_count(container));
	while (asynx_cursor_next(&cursor, &child))
	{
		int			depth = value_depth(&child);

		if (depth > deepest)
			deepest = depth;
	}
	return deepest + 1;
}

/* Is the value nested deeper than that?  Most are too small to be, which needs no walk. */
bool
asynx_value_deeper(const AsynxValue *value, int levels)
{
	if (levels >= 0 && value->len / BYTES_PER_LEVEL < (uint32) levels)
		return false;
	return value_depth(value) > levels;
}

/* Are two arrays equal, element by element? */
static bool
arrays_equal(const AsynxValue *a, const AsynxValue *b)
{
	AsynxCursor acursor;
	AsynxCursor bcursor;
	AsynxValue	achild;
	AsynxValue	bchild;

	asynx_elements_begin(&acursor, a);
	asynx_elements_begin(&bcursor, b);
	while (asynx_cursor_next(&acursor, &achild) && asynx_cursor_next(&bcursor, &bchild))
	{
		if (!asynx_value_equal(&achild, &bchild))
			return false;
	}
	return true;
}

/* Are two objects equal?  Their members stand in the same order. */
static bool
objects_equal(const AsynxValue *a, const AsynxValue *b)
{
	AsynxMembers amembers;
	AsynxMembers bmembers;
	AsynxValue	akey;
	AsynxValue	bkey;
	AsynxValue	avalue;
	AsynxValue	bvalue;

	asynx_members_begin(&amembers, a);
	asynx_members_begin(&bmembers, b);
	while (asynx_members_next(&amembers, &akey, &avalue) &&
		   asynx_members_next(&bmembers, &bkey, &bvalue))
	{
		if (!asynx_value_identical(&akey, &bkey) || !asynx_value_equal(&avalue, &bvalue))
			return false;
	}
	return true;
}

/* RFC 6902's equality: same type, numbers by value (1 = 1.0), objects without order. */
bool
asynx_value_equal(const AsynxValue *a, const AsynxValue *b)
{
	if (asynx_value_identical(a, b))
		return true;
	if (a->tag != b->tag)
		return false;
	if (a->tag == ASYNX_NUMERIC)
		return DatumGetBool(DirectFunctionCall2(numeric_eq,
												PointerGetDatum(a->data),
												PointerGetDatum(b->data)));
	if (!asynx_value_is_container(a) || asynx_value_count(a) != asynx_value_count(b))
		return false;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	return a->tag == ASYNX_ARRAY ? arrays_equal(a, b) : objects_equal(a, b);
}

/* Raises document_limit for a document of more than `limit` bytes. */
void
asynx_document_too_large(Size limit)
{
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_DOCUMENT_LIMIT),
			 errmsg("document is larger than %zu bytes", limit),
			 errhint("The setting \"asynx.max_document_size\" bounds the size of documents.")));
}

/* Raises document_limit for a document, or a pointer into one, of more than `limit` levels. */
void
asynx_document_too_deep(int limit)
{
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_DOCUMENT_LIMIT),
			 errmsg("document is nested deeper than %d levels", limit),
			 errhint("The setting \"asynx.max_document_depth\" bounds the nesting of documents.")));
}

/* Refuses a value that no document within the settings' limits could take up. */
void
asynx_value_check(const AsynxValue *value)
{
	Size		limit = (Size) asynx_max_document_size * 1024;

	if (value->len > limit)
		asynx_document_too_large(limit);
	if (asynx_value_deeper(value, asynx_max_document_depth))
		asynx_document_too_deep(asynx_max_document_depth);
}

/* Refuses a document that is larger or nested deeper than the settings allow. */
void
asynx_document_check(const Jsonb *document)
{
	Size		limit = (Size) asynx_max_document_size * 1024;
	AsynxValue	root = asynx_value_root(document);

	if (VARSIZE(document) > limit)
		asynx_document_too_large(limit);
	asynx_value_check(&root);
}
