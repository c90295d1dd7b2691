/*
 * jsonbwriter.h
 *	  Writes jsonb straight into one buffer, byte for byte as PostgreSQL would.
 *
 * A container is opened with the number of its children, then filled in order,
 * then closed; it lives in a frame that the caller provides (on his stack).
 * An object takes all its keys first, sorted as asynx_key_compare() sorts, then
 * the values in the same order.
 *
 *		AsynxWriter writer;
 *		AsynxFrame	array;
 *
 *		asynx_writer_init(&writer, 1024, ASYNX_JSONB_LIMIT);
 *		asynx_writer_open(&writer, NULL, &array, ASYNX_ARRAY, 2);
 *		asynx_writer_value(&writer, &array, &first);
 *		asynx_writer_string(&writer, &array, "second", 6);
 *		asynx_writer_close(&writer, &array);
 *		return asynx_writer_finish(&writer);
 */
#ifndef ASYNX_JSONBWRITER_H
#define ASYNX_JSONBWRITER_H

#include "value.h"

/* Nothing in a jsonb may be larger: an entry has 28 bits for a length. */
#define ASYNX_JSONB_LIMIT JENTRY_OFFLENMASK

typedef struct AsynxWriter
{
	char	   *data;			/* the growing jsonb, varlena header included */
	uint32		len;			/* bytes used */
	uint32		capacity;		/* bytes allocated */
	uint32		limit;			/* bytes allowed; more is document_limit */
} AsynxWriter;

/* An open container. */
typedef struct AsynxFrame
{
	struct AsynxFrame *parent;	/* the container around it, NULL for the root */
	uint32		start;			/* where its padding begins */
	uint32		entry;			/* offset of the entry of the next child */
	uint32		children;		/* where the children's data begins */
	uint32		index;			/* number of children written */
	uint32		count;			/* number of children announced; a member counts twice */
} AsynxFrame;

extern void asynx_writer_init(AsynxWriter *writer, Size hint, Size limit);
extern void asynx_writer_open(AsynxWriter *writer, AsynxFrame *parent, AsynxFrame *frame,
							  AsynxTag tag, uint32 count);
extern void asynx_writer_string(AsynxWriter *writer, AsynxFrame *frame,
								const char *data, uint32 len);
extern void asynx_writer_value(AsynxWriter *writer, AsynxFrame *frame, const AsynxValue *value);
extern void asynx_writer_run(AsynxWriter *writer, AsynxFrame *frame, AsynxCursor *cursor);
extern void asynx_writer_close(AsynxWriter *writer, AsynxFrame *frame);
extern void asynx_writer_root(AsynxWriter *writer, const AsynxValue *value);
extern Jsonb *asynx_writer_finish(AsynxWriter *writer);

#endif							/* ASYNX_JSONBWRITER_H */
