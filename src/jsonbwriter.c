/*
 * jsonbwriter.c
 *	  Writes jsonb straight into one buffer, byte for byte as PostgreSQL would.
 *
 * PostgreSQL builds a tree of JsonbValues and converts it at the end.  Here the
 * bytes go where they will stay: opening a container reserves its entries, each
 * child appends its data and fills in its entry, closing it fills in the entry
 * that the container has in its parent.  The rules are those of convertJsonbValue()
 * in the server's jsonb_util.c:
 *
 * 1. Numbers and containers are preceded by zeros up to a multiple of four,
 *	  counted as theirs in the length.
 * 2. Every JB_OFFSET_STRIDE'th entry of a container holds the offset at which
 *	  its child ends, the others the length of the child.
 * 3. A scalar document is an array of one element, marked JB_FSCALAR.
 *
 * A container's bytes do not depend on where it stands (it is always aligned),
 * so one that exists already, in any jsonb, is copied as a whole.  Neighbours of one
 * container are copied together where their padding is the same in both places.
 */
#include "asynx.h"

#include "errors.h"
#include "jsonbwriter.h"

/* Where the root begins: behind the varlena header. */
#define ROOT_OFFSET VARHDRSZ

/* Raises document_limit: the setting's, or that of the format. */
static void
refuse_size(const AsynxWriter *writer)
{
	if (writer->limit < ASYNX_JSONB_LIMIT)
		asynx_document_too_large(writer->limit);
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_DOCUMENT_LIMIT),
			 errmsg("JSON value is larger than %u bytes", writer->limit),
			 errdetail("The type jsonb holds no larger values.")));
}

/* Lets the buffer grow to hold `needed` bytes; beyond the limit is an error. */
static void
writer_grow(AsynxWriter *writer, Size needed)
{
	if (needed > writer->limit)
		refuse_size(writer);

	writer->capacity = (uint32) Min(Max((Size) writer->capacity * 2, needed),
									(Size) writer->limit);
	writer->data = repalloc(writer->data, writer->capacity);
}

/* Appends `len` bytes for the caller to fill; returns where. */
static inline char *
writer_reserve(AsynxWriter *writer, Size len)
{
	Size		needed = writer->len + len;
	char	   *place;

	if (unlikely(needed > writer->capacity))
		writer_grow(writer, needed);
	place = writer->data + writer->len;
	writer->len = (uint32) needed;
	return place;
}

/* Appends zeros up to a multiple of four. */
static inline void
writer_align(AsynxWriter *writer)
{
	uint32		padding = (uint32) INTALIGN(writer->len) - writer->len;

	if (padding > 0)
		memset(writer_reserve(writer, padding), 0, padding);
}

/* Fills in the entry of the child whose data, padding included, is at `start` to `end`. */
static inline void
put_entry(AsynxWriter *writer, AsynxFrame *frame, uint32 type, uint32 start, uint32 end)
{
	JEntry		entry;

	Assert(frame->index < frame->count);
	if (frame->index % JB_OFFSET_STRIDE == 0)
		entry = type | JENTRY_HAS_OFF | (end - frame->children);
	else
		entry = type | (end - start);

	memcpy(writer->data + frame->entry, &entry, sizeof(JEntry));
	frame->entry += sizeof(JEntry);
	frame->index++;
}

/* Fills in the entry of the child whose data began at `start` and is the last written. */
static inline void
writer_entry(AsynxWriter *writer, AsynxFrame *frame, uint32 type, uint32 start)
{
	put_entry(writer, frame, type, start, writer->len);
}

/* Begins a jsonb of roughly `hint` bytes, at most `limit`, in the current memory context. */
void
asynx_writer_init(AsynxWriter *writer, Size hint, Size limit)
{
	writer->limit = (uint32) Min(limit, ASYNX_JSONB_LIMIT);
	writer->capacity = (uint32) Min(Max(hint, 64), (Size) writer->limit);
	writer->data = palloc(writer->capacity);
	writer->len = 0;
	writer_reserve(writer, ROOT_OFFSET);
}

/* Opens a container of `count` elements or members, inside `parent` or as the root. */
void
asynx_writer_open(AsynxWriter *writer, AsynxFrame *parent, AsynxFrame *frame,
				  AsynxTag tag, uint32 count)
{
	uint32		header = count | (tag == ASYNX_OBJECT ? JB_FOBJECT : JB_FARRAY);

	frame->parent = parent;
	frame->start = writer->len;
	frame->index = 0;
	frame->count = tag == ASYNX_OBJECT ? count * 2 : count;

	writer_align(writer);
	memcpy(writer_reserve(writer, sizeof(header)), &header, sizeof(header));
	frame->entry = writer->len;
	writer_reserve(writer, sizeof(JEntry) * (Size) frame->count);
	frame->children = writer->len;
}

/* Writes a string, or a key of an object. */
void
asynx_writer_string(AsynxWriter *writer, AsynxFrame *frame, const char *data, uint32 len)
{
	uint32		start = writer->len;

	if (len > 0)
		memcpy(writer_reserve(writer, len), data, len);
	writer_entry(writer, frame, JENTRY_ISSTRING, start);
}

/* Writes any value; a container is copied as a whole. */
void
asynx_writer_value(AsynxWriter *writer, AsynxFrame *frame, const AsynxValue *value)
{
	static const uint32 types[] = {
		[ASYNX_NULL] = JENTRY_ISNULL,
		[ASYNX_FALSE] = JENTRY_ISBOOL_FALSE,
		[ASYNX_TRUE] = JENTRY_ISBOOL_TRUE,
		[ASYNX_STRING] = JENTRY_ISSTRING,
		[ASYNX_NUMERIC] = JENTRY_ISNUMERIC,
		[ASYNX_ARRAY] = JENTRY_ISCONTAINER,
		[ASYNX_OBJECT] = JENTRY_ISCONTAINER
	};
	uint32		start = writer->len;

	if (value->tag >= ASYNX_NUMERIC)
		writer_align(writer);
	if (value->len > 0)
		memcpy(writer_reserve(writer, value->len), value->data, value->len);
	writer_entry(writer, frame, types[value->tag], start);
}

/* Is the data of a child aligned? */
static inline bool
entry_is_aligned(JEntry entry)
{
	return JBE_ISNUMERIC(entry) || JBE_ISCONTAINER(entry);
}

/*
 * Copies the next children of a cursor in one piece, up to the first one whose padding
 * would change.
 */
static void
copy_stretch(AsynxWriter *writer, AsynxFrame *frame, AsynxCursor *cursor)
{
	const char *from = cursor->base + cursor->offset;
	uint32		begin = cursor->offset;
	uint32		shift = writer->len - begin;
	bool		same_padding = ((uintptr_t) from - writer->len) % ALIGNOF_INT == 0;

	while (cursor->left > 0 && (same_padding || !entry_is_aligned(*cursor->entry)))
	{
		uint32		start = cursor->offset;
		JEntry		entry = *cursor->entry++;

		JBE_ADVANCE_OFFSET(cursor->offset, entry);
		cursor->left--;
		put_entry(writer, frame, entry & JENTRY_TYPEMASK, start + shift, cursor->offset + shift);
	}
	if (cursor->offset > begin)
		memcpy(writer_reserve(writer, cursor->offset - begin), from, cursor->offset - begin);
}

/* Writes all the children that a cursor has left: elements, names or members' values. */
void
asynx_writer_run(AsynxWriter *writer, AsynxFrame *frame, AsynxCursor *cursor)
{
	AsynxValue	child;

	copy_stretch(writer, frame, cursor);
	while (asynx_cursor_next(cursor, &child))
	{
		/* What stopped us is aligned here as it is there; so is all behind it. */
		asynx_writer_value(writer, frame, &child);
		copy_stretch(writer, frame, cursor);
	}
}

/* Closes a container, all of whose children have been written. */
void
asynx_writer_close(AsynxWriter *writer, AsynxFrame *frame)
{
	Assert(frame->index == frame->count);
	if (frame->parent != NULL)
		writer_entry(writer, frame->parent, JENTRY_ISCONTAINER, frame->start);
}

/* Writes a document that is one existing value. */
void
asynx_writer_root(AsynxWriter *writer, const AsynxValue *value)
{
	AsynxFrame	frame;
	uint32		header = 1 | JB_FARRAY | JB_FSCALAR;

	if (asynx_value_is_container(value))
	{
		memcpy(writer_reserve(writer, value->len), value->data, value->len);
		return;
	}

	asynx_writer_open(writer, NULL, &frame, ASYNX_ARRAY, 1);
	memcpy(writer->data + ROOT_OFFSET, &header, sizeof(header));
	asynx_writer_value(writer, &frame, value);
	asynx_writer_close(writer, &frame);
}

/* The finished jsonb. */
Jsonb *
asynx_writer_finish(AsynxWriter *writer)
{
	SET_VARSIZE(writer->data, writer->len);
	return (Jsonb *) writer->data;
}
