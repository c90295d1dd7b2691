/*
 * value.h
 *	  An immutable JSON value inside some jsonb, seen without copying it.
 *
 * An AsynxValue borrows: it is valid as long as the jsonb that it points into.
 * Nothing here allocates.
 */
#ifndef ASYNX_VALUE_H
#define ASYNX_VALUE_H

#include "asynx.h"

#include "utils/jsonb.h"

/* What a value is; fits into three bits. */
typedef enum AsynxTag
{
	ASYNX_NULL,
	ASYNX_FALSE,
	ASYNX_TRUE,
	ASYNX_STRING,
	ASYNX_NUMERIC,
	ASYNX_ARRAY,
	ASYNX_OBJECT
} AsynxTag;

/* One value: its bytes without the alignment padding that may precede them. */
typedef struct AsynxValue
{
	const char *data;			/* string bytes, a Numeric or a JsonbContainer */
	uint32		len;			/* bytes at data; 0 for null and booleans */
	AsynxTag	tag;
} AsynxValue;

/* Walks the children of a container in order, O(1) each. */
typedef struct AsynxCursor
{
	const char *base;			/* where the children's data begins */
	const JEntry *entry;		/* the entry of the next child */
	uint32		left;			/* children not yet returned */
	uint32		offset;			/* where the next child begins, relative to base */
} AsynxCursor;

/* Walks the members of an object in jsonb's order (length of the key, then bytes). */
typedef struct AsynxMembers
{
	AsynxCursor keys;
	AsynxCursor values;
} AsynxMembers;

extern AsynxValue asynx_value_root(const Jsonb *document);

extern void asynx_elements_begin(AsynxCursor *cursor, const AsynxValue *array);
extern void asynx_elements_range(AsynxCursor *cursor, const AsynxValue *array,
								 uint32 first, uint32 count);
extern void asynx_members_begin(AsynxMembers *members, const AsynxValue *object);
extern void asynx_members_range(AsynxMembers *members, const AsynxValue *object,
								uint32 first, uint32 count);

extern bool asynx_value_element(const AsynxValue *array, uint32 index, AsynxValue *element);
extern bool asynx_value_place(const AsynxValue *object, const char *key, uint32 len,
							  uint32 *index);
extern bool asynx_value_member(const AsynxValue *object, const char *key, uint32 len,
							   AsynxValue *member);

extern uint32 asynx_value_keys_size(const AsynxValue *object);

extern bool asynx_value_equal(const AsynxValue *a, const AsynxValue *b);
extern bool asynx_value_deeper(const AsynxValue *value, int levels);

extern void asynx_value_check(const AsynxValue *value);
extern void asynx_document_check(const Jsonb *document);
extern void asynx_document_too_large(Size limit);
extern void asynx_document_too_deep(int limit);

/* Is it an array or an object? */
static inline bool
asynx_value_is_container(const AsynxValue *value)
{
	return value->tag >= ASYNX_ARRAY;
}

/* Number of elements or members of a container. */
static inline uint32
asynx_value_count(const AsynxValue *value)
{
	Assert(asynx_value_is_container(value));
	return ((const JsonbContainer *) value->data)->header & JB_CMASK;
}

/* Same type and same bytes?  jsonb is canonical, so the same tree has the same bytes. */
static inline bool
asynx_value_identical(const AsynxValue *a, const AsynxValue *b)
{
	return a->tag == b->tag && a->len == b->len &&
		(a->len == 0 || a->data == b->data || memcmp(a->data, b->data, a->len) == 0);
}

/* jsonb's order of keys: shorter first, then by bytes; the sign is the answer. */
static inline int
asynx_key_compare(const char *a, uint32 alen, const char *b, uint32 blen)
{
	if (alen != blen)
		return alen < blen ? -1 : 1;
	return alen == 0 ? 0 : memcmp(a, b, alen);
}

/* The value that an entry describes, when its data (with any padding) begins at `start`. */
static inline AsynxValue
asynx_value_at(JEntry entry, const char *start, uint32 len)
{
	AsynxValue	value = {start, len, ASYNX_STRING};
	uint32		padding;

	switch (entry & JENTRY_TYPEMASK)
	{
		case JENTRY_ISSTRING:
			return value;
		case JENTRY_ISNULL:
			value.tag = ASYNX_NULL;
			return value;
		case JENTRY_ISBOOL_FALSE:
			value.tag = ASYNX_FALSE;
			return value;
		case JENTRY_ISBOOL_TRUE:
			value.tag = ASYNX_TRUE;
			return value;
	}

	/* Only numbers and containers are aligned. */
	padding = (uint32) (INTALIGN((uintptr_t) start) - (uintptr_t) start);
	value.data += padding;
	value.len -= padding;
	if ((entry & JENTRY_TYPEMASK) == JENTRY_ISNUMERIC)
		value.tag = ASYNX_NUMERIC;
	else if (JsonContainerIsObject((const JsonbContainer *) value.data))
		value.tag = ASYNX_OBJECT;
	else
		value.tag = ASYNX_ARRAY;
	return value;
}

/* The next child; false after the last one. */
static inline bool
asynx_cursor_next(AsynxCursor *cursor, AsynxValue *child)
{
	JEntry		entry;
	uint32		start = cursor->offset;

	if (cursor->left == 0)
		return false;

	entry = *cursor->entry++;
	JBE_ADVANCE_OFFSET(cursor->offset, entry);
	*child = asynx_value_at(entry, cursor->base + start, cursor->offset - start);
	cursor->left--;
	return true;
}

/* The next member; false after the last one. */
static inline bool
asynx_members_next(AsynxMembers *members, AsynxValue *key, AsynxValue *value)
{
	return asynx_cursor_next(&members->keys, key) &&
		asynx_cursor_next(&members->values, value);
}

#endif							/* ASYNX_VALUE_H */
