/*
 * overlay.c
 *	  A container that is expanded only where it was touched.
 *
 * Expanding a container costs a node for each of its children, no matter how few of
 * them a patch is about.  So a wide one becomes an overlay: a json-c container with
 * nodes for those children that were touched, whose user data (AsynxOverlay) is its
 * source, the value that it was before.  Together they show its content:
 *
 * 1. Object.  Its members are those in the json-c table, and those of the source
 *	  that are not hidden.  A member of the source is hidden when it gets a node in
 *	  the table or is removed, and stays so.  So no name is in both; a name that the
 *	  table does not know is looked up in the source.
 *
 * 2. Array.  A cell is a touched element, or a run: a json-c integer whose number is
 *	  (first element << 32 | count) and whose user data is ASYNX_RUN_TAG.  A run has
 *	  one element at least and stands for neighbours in the source; the cells, one
 *	  after the other, are the array.  To touch an element of a run, or to insert
 *	  before it, splits the run.  Nobody renumbers anything: an index is found by
 *	  counting from the first cell on.
 *
 * Both are written in jsonb's order without looking at what is untouched: an array's
 * cells are in order, and an object falls into pieces, members in the table and runs
 * of shown members of the source between them.
 *
 * Searching an overlay of many touched children would be slow.  When there are many
 * (SCATTERED...), whoever opens it next (asynx_overlay_settle) makes it an ordinary
 * container.  Since whoever opens a container hides one member of it at most, there
 * is a bound for `hidden`.
 *
 * The source and AsynxOverlay live in the document's memory, as the bytes of leaves
 * do: until the document starts over, and then no overlay is left.
 */
#include "asynx.h"

#include "overlay.h"

/* The harness tries smaller ones, so that small documents go through all of this. */
#ifndef WIDE_CHILDREN
/* A container of at least so many children becomes an overlay. */
#define WIDE_CHILDREN 64
/* An object is scattered when so many members are in its table, or hidden. */
#define SCATTERED_MEMBERS 16
/* An array is scattered when it has so many cells. */
#define SCATTERED_CELLS 32
#endif

/* A run's number: its first element above so many bits, its count in them. */
#define RUN_COUNT_BITS 32

StaticAssertDecl(ASYNX_RUN_TAG <= ASYNX_LEAF_TAG_MASK, "a run's tag does not fit");

struct AsynxOverlay
{
	AsynxValue	source;			/* the container before it was touched */
	uint32		hidden_count;
	uint32		hidden[SCATTERED_MEMBERS];	/* members of it that no longer hold, in order */
};

/* The neighbours that a run stands for. */
static inline AsynxRun
cell_run(const AsynxNode *cell)
{
	uint64		packed = (uint64) json_object_get_int64(cell);
	AsynxRun	run = {(uint32) (packed >> RUN_COUNT_BITS), (uint32) packed};

	return run;
}

/* A run as its node's number. */
static inline int64
pack_run(uint32 first, uint32 count)
{
	return (int64) ((uint64) first << RUN_COUNT_BITS | count);
}

/* A node of a run, NULL if there is no memory. */
static AsynxNode *
create_run(uint32 first, uint32 count)
{
	AsynxNode  *cell = json_object_new_int64(pack_run(first, count));

	if (cell != NULL)
		json_object_set_userdata(cell, (void *) (uintptr_t) ASYNX_RUN_TAG, NULL);
	return cell;
}

/* Number of elements in a cell. */
static inline uint32
cell_width(const AsynxNode *cell)
{
	return asynx_overlay_is_run(cell) ? cell_run(cell).count : 1;
}

/* A json-c array of one run, NULL if there is no memory. */
static AsynxNode *
array_of_run(uint32 count)
{
	AsynxNode  *array = asynx_jsonc_array(1);
	AsynxNode  *run = array == NULL ? NULL : create_run(0, count);

	if (run != NULL && json_object_array_add(array, run) == 0)
		return array;

	json_object_put(run);
	json_object_put(array);
	return NULL;
}

/* Is a container so wide that it should become an overlay? */
bool
asynx_overlay_suits(const AsynxValue *container)
{
	return asynx_value_count(container) >= WIDE_CHILDREN;
}

/* An overlay in which nothing is touched yet, NULL if there is no memory. */
AsynxNode *
asynx_overlay_create(const AsynxValue *container, const AsynxKeeper *keeper)
{
	AsynxOverlay *overlay = (AsynxOverlay *) keeper->keep(keeper->owner, sizeof(AsynxOverlay));
	AsynxNode  *node = container->tag == ASYNX_ARRAY ?
		array_of_run(asynx_value_count(container)) : json_object_new_object();

	overlay->source = *container;
	overlay->hidden_count = 0;
	if (node != NULL)
		json_object_set_userdata(node, overlay, NULL);
	return node;
}

/* Number of elements or members of any expanded container. */
uint32
asynx_overlay_count(const AsynxNode *container)
{
	const AsynxOverlay *overlay = asynx_overlay_of(container);
	const array_list *cells;
	uint32		count = 0;

	if (asynx_jsonc_is_object(container))
	{
		count = (uint32) json_object_object_length(container);
		if (overlay != NULL)
			count += asynx_value_count(&overlay->source) - overlay->hidden_count;
		return count;
	}

	cells = json_object_get_array(container);
	if (overlay == NULL)
		return (uint32) cells->length;
	for (size_t i = 0; i < cells->length; i++)
		count += cell_width(cells->array[i]);
	return count;
}

/* Hidden members before member `index`. */
static uint32
hidden_before(const AsynxOverlay *overlay, uint32 index)
{
	uint32		before = 0;

	while (before < overlay->hidden_count && overlay->hidden[before] < index)
		before++;
	return before;
}

/* Finds a name in the source, among the members that hold; `before` is hidden_before(). */
static bool
find_shown(const AsynxOverlay *overlay, const char *token, uint32 *index, uint32 *before)
{
	if (!asynx_value_place(&overlay->source, token, (uint32) strlen(token), index))
		return false;
	*before = hidden_before(overlay, *index);
	return *before == overlay->hidden_count || overlay->hidden[*before] != *index;
}

/* The value of member `index` of the source. */
static AsynxValue
source_member(const AsynxOverlay *overlay, uint32 index)
{
	AsynxMembers members;
	AsynxValue	key;
	AsynxValue	value;

	asynx_members_range(&members, &overlay->source, index, 1);
	asynx_members_next(&members, &key, &value);
	return value;
}

/* The value of a member that is not in the table; false if there is none. */
bool
asynx_overlay_look(const AsynxNode *object, const char *token, AsynxValue *value)
{
	const AsynxOverlay *overlay = asynx_overlay_of(object);
	uint32		index;
	uint32		before;

	if (overlay == NULL || !find_shown(overlay, token, &index, &before))
		return false;
	*value = source_member(overlay, index);
	return true;
}

/* The same; from now on the member is hidden. */
bool
asynx_overlay_hide(AsynxNode *object, const char *token, AsynxValue *value)
{
	AsynxOverlay *overlay = asynx_overlay_of(object);
	uint32		index;
	uint32		before;

	if (overlay == NULL || !find_shown(overlay, token, &index, &before))
		return false;
	if (overlay->hidden_count >= SCATTERED_MEMBERS)
		elog(ERROR, "overlay was changed without being opened");

	memmove(&overlay->hidden[before + 1], &overlay->hidden[before],
			(overlay->hidden_count - before) * sizeof(uint32));
	overlay->hidden[before] = index;
	overlay->hidden_count++;
	*value = source_member(overlay, index);
	return true;
}

/* The first run that an overlay shows of its source from one member on, up to another. */
static bool
shown_run(const AsynxOverlay *overlay, uint32 from, uint32 upto, AsynxRun *run)
{
	uint32		next = hidden_before(overlay, from);

	for (; next < overlay->hidden_count && overlay->hidden[next] == from; next++)
		from++;
	if (from >= upto)
		return false;

	if (next < overlay->hidden_count)
		upto = Min(upto, overlay->hidden[next]);
	run->first = from;
	run->count = upto - from;
	return true;
}

/* The run behind a run; the first one behind an empty one.  False if there is none. */
bool
asynx_overlay_next_run(const AsynxNode *object, AsynxRun *run)
{
	const AsynxOverlay *overlay = asynx_overlay_of(object);

	return overlay != NULL &&
		shown_run(overlay, run->first + run->count, asynx_value_count(&overlay->source), run);
}

/* Places a walk before the first member of a run. */
void
asynx_overlay_members(const AsynxNode *object, AsynxRun run, AsynxMembers *members)
{
	asynx_members_range(members, &asynx_overlay_of(object)->source, run.first, run.count);
}

/* Adds runs for what is shown from one member on, up to another; returns the count then. */
static int
add_runs(AsynxPiece *pieces, int count, const AsynxOverlay *overlay, uint32 from, uint32 upto)
{
	AsynxRun	run;

	for (; shown_run(overlay, from, upto, &run); from = run.first + run.count)
		pieces[count++] = (AsynxPiece) {NULL, run};
	return count;
}

/* What an overlay is written from; `count` says how many pieces. */
AsynxPiece *
asynx_overlay_pieces(const AsynxNode *object, int *count)
{
	const AsynxOverlay *overlay = asynx_overlay_of(object);
	int			members;
	AsynxEntry **entries = asynx_jsonc_sorted(object, &members);

	/* Behind each member, and behind each hidden one, a run may begin. */
	AsynxPiece *pieces = palloc(sizeof(AsynxPiece) *
								((Size) members * 2 + overlay->hidden_count + 1));
	uint32		from = 0;
	int			n = 0;

	for (int i = 0; i < members; i++)
	{
		const char *name = lh_entry_k(entries[i]);
		uint32		place;

		asynx_value_place(&overlay->source, name, asynx_jsonc_name_len(name), &place);
		n = add_runs(pieces, n, overlay, from, place);
		pieces[n++] = (AsynxPiece) {entries[i], {0, 0}};
		from = place;
	}
	*count = add_runs(pieces, n, overlay, from, asynx_value_count(&overlay->source));
	pfree(entries);
	return pieces;
}

/* Finds element `index`.  False beyond the end: its cell is then the one behind the last. */
bool
asynx_overlay_find(const AsynxNode *array, uint32 index, AsynxSpot *spot)
{
	const array_list *cells = json_object_get_array(array);

	for (spot->cell = 0; spot->cell < cells->length; spot->cell++)
	{
		uint32		width = cell_width(cells->array[spot->cell]);

		if (index < width)
		{
			spot->skip = index;
			return true;
		}
		index -= width;
	}
	spot->skip = 0;
	return false;
}

/* The value of an element whose cell is a run. */
AsynxValue
asynx_overlay_element(const AsynxNode *array, const AsynxSpot *spot)
{
	AsynxRun	run = cell_run(json_object_array_get_idx(array, spot->cell));
	AsynxValue	value = {NULL, 0, ASYNX_NULL};

	asynx_value_element(&asynx_overlay_of(array)->source, run.first + spot->skip, &value);
	return value;
}

/* Places a cursor before the first element of a run. */
void
asynx_overlay_elements(const AsynxNode *array, const AsynxNode *cell, AsynxCursor *cursor)
{
	AsynxRun	run = cell_run(cell);

	asynx_elements_range(cursor, &asynx_overlay_of(array)->source, run.first, run.count);
}

/* Makes two runs of one, the first of `count` elements; fewer than it has, but one at least. */
static void
split_run(AsynxNode *array, size_t cell, uint32 count)
{
	AsynxNode  *node = json_object_array_get_idx(array, cell);
	AsynxRun	run = cell_run(node);
	AsynxNode  *rest = create_run(run.first + count, run.count - count);

	Assert(count > 0 && count < run.count);
	if (rest == NULL || !asynx_jsonc_insert_cell(array, cell + 1, rest))
	{
		json_object_put(rest);
		asynx_jsonc_out_of_memory();
	}
	json_object_set_int64(node, pack_run(run.first, count));
}

/* Makes a cell begin with the element at a spot; returns which. */
size_t
asynx_overlay_part(AsynxNode *array, const AsynxSpot *spot)
{
	if (spot->skip == 0)
		return spot->cell;
	split_run(array, spot->cell, spot->skip);
	return spot->cell + 1;
}

/* Gives an element whose cell is a run a cell and a node of its own; returns the cell. */
size_t
asynx_overlay_isolate(AsynxNode *array, const AsynxSpot *spot)
{
	AsynxSpot	start = {asynx_overlay_part(array, spot), 0};
	AsynxNode  *run = json_object_array_get_idx(array, start.cell);
	AsynxValue	value = asynx_overlay_element(array, &start);
	AsynxNode  *leaf;

	if (cell_width(run) > 1)
		split_run(array, start.cell, 1);
	if (!asynx_jsonc_leaf(&value, &leaf))
		asynx_jsonc_out_of_memory();

	json_object_get_array(array)->array[start.cell] = leaf;
	json_object_put(run);
	return start.cell;
}

/* Moves a member to another object; false, with the member where it was, if there is no memory. */
static bool
move_member(AsynxNode *object, AsynxEntry *entry)
{
	if (!asynx_jsonc_add_node(object, lh_entry_k(entry), lh_entry_v(entry)))
		return false;
	lh_entry_set_val(entry, NULL);
	return true;
}

/* The ordinary object instead of an overlay, which loses its members; NULL if no memory. */
static AsynxNode *
merge_object(AsynxNode *overlaid, const AsynxKeeper *keeper)
{
	int			count;
	AsynxPiece *pieces = asynx_overlay_pieces(overlaid, &count);
	char	   *names = asynx_jsonc_keep_names(keeper, &asynx_overlay_of(overlaid)->source);
	AsynxNode  *object = asynx_jsonc_object(asynx_overlay_count(overlaid));
	bool		done = object != NULL;
	AsynxMembers members;

	for (int i = 0; done && i < count; i++)
	{
		if (pieces[i].entry != NULL)
			done = move_member(object, pieces[i].entry);
		else
		{
			asynx_overlay_members(overlaid, pieces[i].run, &members);
			done = asynx_jsonc_append_members(object, &members, &names);
		}
	}
	pfree(pieces);
	if (done)
		return object;

	json_object_put(object);
	return NULL;
}

/* The ordinary array instead of an overlay, which loses its elements; NULL if no memory. */
static AsynxNode *
merge_array(AsynxNode *overlaid)
{
	array_list *from = json_object_get_array(overlaid);
	AsynxNode  *array = asynx_jsonc_array(asynx_overlay_count(overlaid));
	array_list *to = array == NULL ? NULL : json_object_get_array(array);
	bool		done = array != NULL;
	AsynxCursor cursor;

	for (size_t i = 0; done && i < from->length; i++)
	{
		if (asynx_overlay_is_run(from->array[i]))
		{
			asynx_overlay_elements(overlaid, from->array[i], &cursor);
			done = asynx_jsonc_append_elements(array, &cursor);
		}
		else
		{
			to->array[to->length++] = from->array[i];
			from->array[i] = NULL;
		}
	}
	if (done)
		return array;

	json_object_put(array);
	return NULL;
}

/* Has an overlay so many touched children that it should be none? */
static bool
is_scattered(const AsynxNode *container)
{
	if (asynx_jsonc_is_array(container))
		return json_object_array_length(container) >= SCATTERED_CELLS;
	return asynx_overlay_of(container)->hidden_count >= SCATTERED_MEMBERS ||
		json_object_object_length(container) >= SCATTERED_MEMBERS;
}

/* Makes an overlay ready for one change: one that is scattered becomes an ordinary container. */
void
asynx_overlay_settle(AsynxNode **slot, const AsynxKeeper *keeper)
{
	AsynxNode  *merged;

	if (!is_scattered(*slot))
		return;

	merged = asynx_jsonc_is_object(*slot) ? merge_object(*slot, keeper) : merge_array(*slot);
	if (merged == NULL)
		asynx_jsonc_out_of_memory();
	asynx_jsonc_free(*slot);
	*slot = merged;
}
