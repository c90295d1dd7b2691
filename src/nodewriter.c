/*
 * nodewriter.c
 *	  Nodes of a document's tree as jsonb: how large, how deep, and written.
 *
 * All three walk the tree down to its leaves.  A container has children that are
 * nodes, and, if it is an overlay, runs of children that nobody has touched; these
 * are read in the overlay's source, and written in large pieces.
 *
 * Who writes a document again and again passes a keeper: a small container that was
 * expanded is then a leaf again as soon as it is written, with a copy of the bytes
 * just written.  It has few children, which are soon expanded once more; a larger one
 * is better kept for the next patch to walk.
 */
#include "asynx.h"

#include "jsonc.h"
#include "miscadmin.h"
#include "nodewriter.h"
#include "overlay.h"

/* A container of so many bytes is small. */
#define SMALL_BYTES 512

/* Bytes of padding that a child may have. */
#define MAX_PADDING 3

static void write_container(AsynxWriter *writer, AsynxFrame *parent, AsynxNode *container,
							const AsynxKeeper *keeper);

/* Bytes of the children of a cursor, entries included. */
static Size
measure_run(AsynxCursor *cursor)
{
	AsynxValue	value;
	Size		size = 0;

	while (asynx_cursor_next(cursor, &value))
		size += sizeof(JEntry) + value.len;
	return size;
}

/* Bytes of an expanded array's elements, entries included. */
static Size
measure_array(AsynxNode *array, Size *uncertain)
{
	array_list *cells = json_object_get_array(array);
	AsynxCursor cursor;
	Size		size = 0;

	for (size_t i = 0; i < cells->length; i++)
	{
		if (!asynx_overlay_is_run(cells->array[i]))
			size += sizeof(JEntry) + asynx_node_measure(cells->array[i], uncertain);
		else
		{
			asynx_overlay_elements(array, cells->array[i], &cursor);
			size += measure_run(&cursor);
		}
	}
	return size;
}

/* Bytes of an expanded object's members, entries included. */
static Size
measure_object(AsynxNode *object, Size *uncertain)
{
	AsynxRun	run = {0, 0};
	AsynxMembers members;
	AsynxEntry *entry;
	Size		size = 0;

	lh_foreach(json_object_get_object(object), entry)
	{
		size += 2 * sizeof(JEntry) + asynx_jsonc_name_len(lh_entry_k(entry));
		size += asynx_node_measure(lh_entry_v(entry), uncertain);
	}
	while (asynx_overlay_next_run(object, &run))
	{
		asynx_overlay_members(object, run, &members);
		size += measure_run(&members.keys) + measure_run(&members.values);
	}
	return size;
}

/* Bytes of a node in a jsonb, but for padding; what that may be is added to `uncertain`. */
Size
asynx_node_measure(AsynxNode *node, Size *uncertain)
{
	if (!asynx_jsonc_is_expanded(node))
		return asynx_jsonc_value(node).len;

	check_stack_depth();
	*uncertain += MAX_PADDING * (Size) asynx_overlay_count(node);
	return sizeof(uint32) + (asynx_jsonc_is_object(node) ?
							 measure_object(node, uncertain) : measure_array(node, uncertain));
}

/* Is one of the children of a cursor nested deeper than that? */
static bool
run_deeper(AsynxCursor *cursor, int levels)
{
	AsynxValue	value;

	while (asynx_cursor_next(cursor, &value))
	{
		if (asynx_value_deeper(&value, levels))
			return true;
	}
	return false;
}

/* Is an element of an expanded array nested deeper than that? */
static bool
elements_deeper(AsynxNode *array, int levels)
{
	array_list *cells = json_object_get_array(array);
	AsynxCursor cursor;
	bool		deeper = false;

	for (size_t i = 0; i < cells->length && !deeper; i++)
	{
		if (!asynx_overlay_is_run(cells->array[i]))
			deeper = asynx_node_deeper(cells->array[i], levels);
		else
		{
			asynx_overlay_elements(array, cells->array[i], &cursor);
			deeper = run_deeper(&cursor, levels);
		}
	}
	return deeper;
}

/* Is a member of an expanded object nested deeper than that? */
static bool
members_deeper(AsynxNode *object, int levels)
{
	AsynxEntry *entry = json_object_get_object(object)->head;
	AsynxRun	run = {0, 0};
	AsynxMembers members;
	bool		deeper = false;

	for (; entry != NULL && !deeper; entry = lh_entry_next(entry))
		deeper = asynx_node_deeper(lh_entry_v(entry), levels);
	while (!deeper && asynx_overlay_next_run(object, &run))
	{
		asynx_overlay_members(object, run, &members);
		deeper = run_deeper(&members.values, levels);
	}
	return deeper;
}

/* Is a node nested deeper than that? */
bool
asynx_node_deeper(AsynxNode *node, int levels)
{
	if (!asynx_jsonc_is_expanded(node))
	{
		AsynxValue	value = asynx_jsonc_value(node);

		return asynx_value_deeper(&value, levels);
	}
	if (levels < 1)
		return true;

	check_stack_depth();
	return asynx_jsonc_is_object(node) ?
		members_deeper(node, levels - 1) : elements_deeper(node, levels - 1);
}

/*
 * Turns an expanded container back into a leaf, whose bytes are the last ones in the
 * writer, from `start` on.
 */
static void
fold_back(const AsynxWriter *writer, uint32 start, AsynxNode **slot, const AsynxKeeper *keeper)
{
	uint32		len = writer->len - start;
	char	   *bytes = keeper->keep(keeper->owner, len);
	AsynxValue	value = {bytes, len, ASYNX_ARRAY};
	AsynxNode  *leaf;

	memcpy(bytes, writer->data + start, len);
	if (asynx_jsonc_is_object(*slot))
		value.tag = ASYNX_OBJECT;
	if (!asynx_jsonc_leaf(&value, &leaf))
		asynx_jsonc_out_of_memory();
	asynx_jsonc_free(*slot);
	*slot = leaf;
}

/* Writes a child of an expanded container. */
static void
write_child(AsynxWriter *writer, AsynxFrame *frame, AsynxNode **slot, const AsynxKeeper *keeper)
{
	uint32		start = (uint32) INTALIGN(writer->len);

	if (!asynx_jsonc_is_expanded(*slot))
	{
		AsynxValue	value = asynx_jsonc_value(*slot);

		asynx_writer_value(writer, frame, &value);
		return;
	}
	write_container(writer, frame, *slot, keeper);
	if (keeper != NULL && writer->len - start <= SMALL_BYTES)
		fold_back(writer, start, slot, keeper);
}

/* Writes an expanded array. */
static void
write_array(AsynxWriter *writer, AsynxFrame *parent, AsynxNode *array,
			const AsynxKeeper *keeper)
{
	array_list *cells = json_object_get_array(array);
	AsynxFrame	frame;
	AsynxCursor cursor;

	asynx_writer_open(writer, parent, &frame, ASYNX_ARRAY, asynx_overlay_count(array));
	for (size_t i = 0; i < cells->length; i++)
	{
		if (!asynx_overlay_is_run(cells->array[i]))
			write_child(writer, &frame, (AsynxNode **) &cells->array[i], keeper);
		else
		{
			asynx_overlay_elements(array, cells->array[i], &cursor);
			asynx_writer_run(writer, &frame, &cursor);
		}
	}
	asynx_writer_close(writer, &frame);
}

/* Writes a member's name as a key. */
static void
write_name(AsynxWriter *writer, AsynxFrame *frame, const AsynxEntry *entry)
{
	const char *name = lh_entry_k(entry);

	asynx_writer_string(writer, frame, name, asynx_jsonc_name_len(name));
}

/* Writes an ordinary object: all keys, then all values. */
static void
write_object(AsynxWriter *writer, AsynxFrame *parent, AsynxNode *object,
			 const AsynxKeeper *keeper)
{
	int			count;
	AsynxEntry **entries = asynx_jsonc_sorted(object, &count);
	AsynxFrame	frame;

	asynx_writer_open(writer, parent, &frame, ASYNX_OBJECT, (uint32) count);
	for (int i = 0; i < count; i++)
		write_name(writer, &frame, entries[i]);
	for (int i = 0; i < count; i++)
		write_child(writer, &frame, (AsynxNode **) &entries[i]->v, keeper);
	asynx_writer_close(writer, &frame);
	pfree(entries);
}

/* Writes an overlay of an object: the same by pieces. */
static void
write_pieces(AsynxWriter *writer, AsynxFrame *parent, AsynxNode *object,
			 const AsynxKeeper *keeper)
{
	int			count;
	AsynxPiece *pieces = asynx_overlay_pieces(object, &count);
	AsynxFrame	frame;
	AsynxMembers members;

	asynx_writer_open(writer, parent, &frame, ASYNX_OBJECT, asynx_overlay_count(object));
	for (const AsynxPiece *piece = pieces; piece < pieces + count; piece++)
	{
		if (piece->entry != NULL)
			write_name(writer, &frame, piece->entry);
		else
		{
			asynx_overlay_members(object, piece->run, &members);
			asynx_writer_run(writer, &frame, &members.keys);
		}
	}
	for (const AsynxPiece *piece = pieces; piece < pieces + count; piece++)
	{
		if (piece->entry != NULL)
			write_child(writer, &frame, (AsynxNode **) &piece->entry->v, keeper);
		else
		{
			asynx_overlay_members(object, piece->run, &members);
			asynx_writer_run(writer, &frame, &members.values);
		}
	}
	asynx_writer_close(writer, &frame);
	pfree(pieces);
}

/* Writes an expanded container, as the next child of `parent` or as the root. */
static void
write_container(AsynxWriter *writer, AsynxFrame *parent, AsynxNode *container,
				const AsynxKeeper *keeper)
{
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (asynx_jsonc_is_array(container))
		write_array(writer, parent, container, keeper);
	else if (asynx_overlay_of(container) == NULL)
		write_object(writer, parent, container, keeper);
	else
		write_pieces(writer, parent, container, keeper);
}

/*
 * Writes a node as a document.  With a keeper, small containers in it that were
 * expanded are leaves afterwards, with bytes of the keeper's.
 */
void
asynx_node_write(AsynxWriter *writer, AsynxNode *node, const AsynxKeeper *keeper)
{
	AsynxValue	value;

	if (asynx_jsonc_is_expanded(node))
	{
		write_container(writer, NULL, node, keeper);
		return;
	}
	value = asynx_jsonc_value(node);
	asynx_writer_root(writer, &value);
}
