/*
 * node.c
 *	  The nodes of a document's tree, and the only room of it that sees json-c.
 *
 * json-c holds the structure: its objects hash members by name, its arrays hold
 * pointers to elements.  It holds no values.  A value that no patch has walked
 * into is a leaf: a json-c integer whose number is the address of the value's
 * bytes in some jsonb, and whose user data is (length << 3 | tag).  So numbers
 * keep every digit, strings are not copied, and a container costs one node, no
 * matter how large it is, until asynx_node_open() replaces the leaf by a
 * json-c container of leaves.  JSON null is no node at all, as json-c wants it.
 * All true values of the process share one node, all false ones another: json-c
 * counts references, and nobody here changes a node that is not a container.
 *
 * A container of many children becomes an overlay: the json-c container holds
 * nodes of those children that were touched, its user data tells where the others
 * stand (Overlay).  In an object, names that the table does not know are looked up
 * in the source, unless the member there is hidden, because a node took its place
 * or it was removed.  In an array, runs stand for untouched neighbours: a cell with
 * an integer whose number is (first element << 32 | count), and whose user data is
 * RUN_TAG, which no value's tag is; to touch an element splits its run.  Both write
 * what is untouched in large pieces.  An overlay with many touched children would
 * be slow to search: the next one who opens it makes it an ordinary container.
 *
 * json-c aborts the server when a function gets a node of another type, so every
 * call here has the type checked right before it.  It allocates with malloc, and
 * a node that nobody points to leaks: a new node is handed to its owner, or put
 * back, before anything can raise.
 *
 * Names of members are kept in the document's memory (the keeper's) as length,
 * bytes, NUL; json-c gets the bytes and the promise that they stay.
 */
#include "asynx.h"

#include <json-c/arraylist.h>
#include <json-c/json_object.h>
#include <json-c/linkhash.h>

#include "miscadmin.h"
#include "node.h"

/* A leaf's user data: the tag below, the length above. */
#define TAG_BITS 3
#define TAG_MASK ((1 << TAG_BITS) - 1)

/* The tag of a run, and how its number is made. */
#define RUN_TAG (ASYNX_OBJECT + 1)
#define RUN_COUNT_BITS 32

/* A container of at least so many children becomes an overlay. */
#define WIDE_CHILDREN 64

/* An overlay is made an ordinary container when so many members or cells were touched. */
#define OVERLAY_MEMBERS 32
#define OVERLAY_CELLS 64

/* Bytes that a name needs besides its own: the length before it, the NUL behind it. */
#define NAME_OVERHEAD (sizeof(uint32) + 1)

/* A name that is in no object yet and stays where it is. */
#define NEW_NAME (JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_KEY_IS_CONSTANT)

/* Members that an empty json-c object takes before its table grows. */
#define TABLE_MEMBERS 10

/* Slots of a table that takes so many members and a few more without growing: it fills to 66 %. */
#define TABLE_SLOTS(members) ((members) + (members) / 8 * 5 + 7)

/* Cells of an expanded array that stay free for insertions. */
#define SPARE_CELLS 4

/* Among so few members a name is found sooner by comparing all than by its hash. */
#define SCANNED_MEMBERS 12

/*
 * Containers of up to so many bytes are folded back into leaves.  They have few children,
 * which are soon expanded again; larger ones are better kept for the next patch to walk.
 */
#define FOLD_BYTES 512

/* A member of a json-c object. */
typedef struct lh_entry Member;

/* What an overlay has besides its nodes; kept in the document's memory. */
typedef struct Overlay
{
	AsynxValue	source;			/* the container before it was touched */
	uint32		hidden_count;
	uint32		hidden[OVERLAY_MEMBERS];	/* numbers of members in it that no longer hold */
} Overlay;

/* Neighbours in an overlay's source. */
typedef struct Run
{
	uint32		first;
	uint32		count;
} Run;

/* Where an element of an array is. */
typedef struct Spot
{
	size_t		cell;
	bool		in_run;			/* the cell is a run */
	uint32		skip;			/* elements of the run before it */
} Spot;

/* Walks the members of an overlay's source that still hold. */
typedef struct ShownMembers
{
	const Overlay *overlay;
	AsynxMembers members;
	uint32		index;			/* of the next member */
	uint32		hidden;			/* hidden ones passed */
} ShownMembers;

/* What an overlay of an object is written from, in order: a member of its own or a run. */
typedef struct Piece
{
	Member	   *entry;			/* NULL: it is a run */
	Run			run;
} Piece;

/* The nodes of false and true; created at first use, kept by a reference that nobody gives back. */
static AsynxNode *booleans[2] = {NULL, NULL};

static void write_container(AsynxWriter *writer, AsynxFrame *parent, AsynxNode *container,
							const AsynxKeeper *keeper);

/* Raises out_of_memory for what malloc refused. */
static void
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("The tree of a JSON document could not be extended.")));
}

/* Another reference to the node of a boolean, NULL if there is no memory. */
static AsynxNode *
try_boolean(bool value)
{
	AsynxNode **shared = &booleans[value ? 1 : 0];

	if (*shared == NULL)
		*shared = json_object_new_boolean(value);
	return json_object_get(*shared);
}

/* A leaf for a value that is not null, NULL if there is no memory. */
static AsynxNode *
try_leaf(const AsynxValue *value)
{
	AsynxNode  *leaf;

	if (value->tag == ASYNX_FALSE || value->tag == ASYNX_TRUE)
		return try_boolean(value->tag == ASYNX_TRUE);

	leaf = json_object_new_int64((int64) (intptr_t) value->data);
	if (leaf != NULL)
		json_object_set_userdata(leaf,
								 (void *) ((uintptr_t) value->len << TAG_BITS | value->tag),
								 NULL);
	return leaf;
}

/* A node for a value, for the caller to free; the value's bytes must outlive it. */
AsynxNode *
asynx_node_leaf(const AsynxValue *value)
{
	AsynxNode  *leaf;

	if (value->tag == ASYNX_NULL)
		return NULL;
	leaf = try_leaf(value);
	if (leaf == NULL)
		out_of_memory();
	return leaf;
}

/* Frees a node and what is below it. */
void
asynx_node_free(AsynxNode *node)
{
	json_object_put(node);
}

/* Is the node a container whose children are nodes? */
static inline bool
is_expanded(const AsynxNode *node)
{
	json_type	type = json_object_get_type(node);

	return type == json_type_array || type == json_type_object;
}

/* The same for others. */
bool
asynx_node_is_expanded(const AsynxNode *node)
{
	return is_expanded(node);
}

/* Is the node an expanded object? */
bool
asynx_node_is_object(const AsynxNode *node)
{
	return json_object_get_type(node) == json_type_object;
}

/* The value of a node that is not expanded. */
static inline AsynxValue
leaf_value(const AsynxNode *leaf)
{
	AsynxValue	value = {NULL, 0, ASYNX_NULL};
	uintptr_t	packed;

	switch (json_object_get_type(leaf))
	{
		case json_type_null:
			break;
		case json_type_boolean:
			value.tag = json_object_get_boolean(leaf) ? ASYNX_TRUE : ASYNX_FALSE;
			break;
		case json_type_int:
			packed = (uintptr_t) json_object_get_userdata((AsynxNode *) leaf);
			value.data = (const char *) (intptr_t) json_object_get_int64(leaf);
			value.len = (uint32) (packed >> TAG_BITS);
			value.tag = (AsynxTag) (packed & TAG_MASK);
			break;
		default:
			elog(ERROR, "unexpected type of a leaf: %d", (int) json_object_get_type(leaf));
	}
	return value;
}

/* The same for others. */
AsynxValue
asynx_node_value(const AsynxNode *leaf)
{
	return leaf_value(leaf);
}

/* Puts a name into memory, with NAME_OVERHEAD; returns it as json-c wants it. */
static char *
store_name(char *memory, const char *data, uint32 len)
{
	char	   *name = memory + sizeof(len);

	memcpy(memory, &len, sizeof(len));
	memcpy(name, data, len);
	name[len] = '\0';
	return name;
}

/* The length of a name that store_name() has put. */
static inline uint32
name_len(const char *name)
{
	uint32		len;

	memcpy(&len, name - sizeof(len), sizeof(len));
	return len;
}

/* Keeps a name. */
static char *
keep_name(const AsynxKeeper *keeper, const char *token)
{
	uint32		len = (uint32) strlen(token);

	return store_name(keeper->keep(keeper->owner, len + NAME_OVERHEAD), token, len);
}

/* Memory for the names of all members of an object. */
static char *
keep_names(const AsynxKeeper *keeper, const AsynxValue *object)
{
	return keeper->keep(keeper->owner, asynx_value_keys_size(object) +
						NAME_OVERHEAD * (Size) asynx_value_count(object));
}

/* What an expanded container has if it is an overlay, NULL if it is not. */
static inline Overlay *
node_overlay(const AsynxNode *container)
{
	return json_object_get_userdata((AsynxNode *) container);
}

/* Is the node in an overlay's cell a run? */
static inline bool
is_run(const AsynxNode *node)
{
	return json_object_get_type(node) == json_type_int &&
		((uintptr_t) json_object_get_userdata((AsynxNode *) node) & TAG_MASK) == RUN_TAG;
}

/* The neighbours that a run stands for. */
static inline Run
node_run(const AsynxNode *node)
{
	uint64		packed = (uint64) json_object_get_int64(node);
	Run			run = {(uint32) (packed >> RUN_COUNT_BITS), (uint32) packed};

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
try_run(uint32 first, uint32 count)
{
	AsynxNode  *run = json_object_new_int64(pack_run(first, count));

	if (run != NULL)
		json_object_set_userdata(run, (void *) (uintptr_t) RUN_TAG, NULL);
	return run;
}

/* Adds leaves behind the cells of a json-c array that has room; false if there is no memory. */
static bool
append_leaves(array_list *cells, AsynxCursor *cursor)
{
	AsynxValue	element;

	while (asynx_cursor_next(cursor, &element))
	{
		AsynxNode  *leaf = element.tag == ASYNX_NULL ? NULL : try_leaf(&element);

		if (leaf == NULL && element.tag != ASYNX_NULL)
			return false;
		cells->array[cells->length++] = leaf;
	}
	return true;
}

/* A json-c array of leaves, NULL if there is no memory. */
static AsynxNode *
array_of_leaves(const AsynxValue *value)
{
	AsynxNode  *array = json_object_new_array_ext((int) asynx_value_count(value) + SPARE_CELLS);
	AsynxCursor cursor;

	asynx_elements_begin(&cursor, value);
	if (array == NULL || append_leaves(json_object_get_array(array), &cursor))
		return array;

	json_object_put(array);
	return NULL;
}

/* A json-c array of one run, NULL if there is no memory. */
static AsynxNode *
array_of_run(uint32 count)
{
	AsynxNode  *array = json_object_new_array_ext(1 + SPARE_CELLS);
	AsynxNode  *run = array == NULL ? NULL : try_run(0, count);

	if (run != NULL && json_object_array_add(array, run) == 0)
		return array;

	json_object_put(run);
	json_object_put(array);
	return NULL;
}

/* Adds a member that is not there yet; false, with the child freed, if there is no memory. */
static bool
add_leaf(AsynxNode *object, const char *name, const AsynxValue *value)
{
	AsynxNode  *leaf = value->tag == ASYNX_NULL ? NULL : try_leaf(value);

	if (leaf == NULL && value->tag != ASYNX_NULL)
		return false;
	if (json_object_object_add_ex(object, name, leaf, NEW_NAME) == 0)
		return true;

	json_object_put(leaf);
	return false;
}

/* An empty json-c object whose table is large enough for so many; NULL if there is no memory. */
static AsynxNode *
object_of_size(uint32 count)
{
	AsynxNode  *object = json_object_new_object();

	if (object == NULL || count <= TABLE_MEMBERS ||
		lh_table_resize(json_object_get_object(object), (int) TABLE_SLOTS(count)) == 0)
		return object;

	json_object_put(object);
	return NULL;
}

/* A json-c object of leaves, NULL if there is no memory; `names` is for its names. */
static AsynxNode *
object_of_leaves(const AsynxValue *value, char *names)
{
	AsynxNode  *object = object_of_size(asynx_value_count(value));
	bool		done = object != NULL;
	AsynxMembers members;
	AsynxValue	key;
	AsynxValue	child;

	asynx_members_begin(&members, value);
	while (done && asynx_members_next(&members, &key, &child))
	{
		done = add_leaf(object, store_name(names, key.data, key.len), &child);
		names += key.len + NAME_OVERHEAD;
	}
	if (done)
		return object;

	json_object_put(object);
	return NULL;
}

/* A container in which nothing is touched yet, NULL if there is no memory. */
static AsynxNode *
create_overlay(const AsynxValue *value, const AsynxKeeper *keeper)
{
	Overlay    *overlay = (Overlay *) keeper->keep(keeper->owner, sizeof(Overlay));
	AsynxNode  *container = value->tag == ASYNX_ARRAY ?
		array_of_run(asynx_value_count(value)) : json_object_new_object();

	overlay->source = *value;
	overlay->hidden_count = 0;
	if (container != NULL)
		json_object_set_userdata(container, overlay, NULL);
	return container;
}

/* Replaces a leaf that is a container by an expanded one. */
static void
expand(AsynxNode **slot, const AsynxValue *value, const AsynxKeeper *keeper)
{
	AsynxNode  *expanded;

	if (asynx_value_count(value) >= WIDE_CHILDREN)
		expanded = create_overlay(value, keeper);
	else if (value->tag == ASYNX_ARRAY)
		expanded = array_of_leaves(value);
	else
		expanded = object_of_leaves(value, keep_names(keeper, value));

	if (expanded == NULL)
		out_of_memory();
	json_object_put(*slot);
	*slot = expanded;
}

/* Hidden members of an overlay before member `index`. */
static uint32
hidden_before(const Overlay *overlay, uint32 index)
{
	uint32		before = 0;

	while (before < overlay->hidden_count && overlay->hidden[before] < index)
		before++;
	return before;
}

/* From now on member `index` of an overlay's source does not hold. */
static void
hide_member(Overlay *overlay, uint32 index)
{
	uint32		before = hidden_before(overlay, index);

	if (overlay->hidden_count >= OVERLAY_MEMBERS)
		elog(ERROR, "overlay was changed without being opened");
	memmove(&overlay->hidden[before + 1], &overlay->hidden[before],
			(overlay->hidden_count - before) * sizeof(uint32));
	overlay->hidden[before] = index;
	overlay->hidden_count++;
}

/* Finds a name in an overlay's source, among the members that hold; false if `overlay` is NULL. */
static bool
find_shown(const Overlay *overlay, const char *token, uint32 *index)
{
	uint32		before;

	if (overlay == NULL ||
		!asynx_value_place(&overlay->source, token, (uint32) strlen(token), index))
		return false;
	before = hidden_before(overlay, *index);
	return before == overlay->hidden_count || overlay->hidden[before] != *index;
}

/* Places a walk before the first member of an overlay's source. */
static void
shown_begin(ShownMembers *walk, const Overlay *overlay)
{
	walk->overlay = overlay;
	walk->index = 0;
	walk->hidden = 0;
	asynx_members_begin(&walk->members, &overlay->source);
}

/* The next member that holds; false after the last one. */
static bool
shown_next(ShownMembers *walk, AsynxValue *key, AsynxValue *value)
{
	const Overlay *overlay = walk->overlay;

	while (asynx_members_next(&walk->members, key, value))
	{
		uint32		index = walk->index++;

		if (walk->hidden == overlay->hidden_count || overlay->hidden[walk->hidden] != index)
			return true;
		walk->hidden++;
	}
	return false;
}

/* Value `index` of an overlay's source, an object. */
static AsynxValue
source_member(const Overlay *overlay, uint32 index)
{
	AsynxMembers members;
	AsynxValue	key;
	AsynxValue	value;

	asynx_members_range(&members, &overlay->source, index, 1);
	asynx_members_next(&members, &key, &value);
	return value;
}

/* Element `index` of an overlay's source, an array. */
static AsynxValue
source_element(const Overlay *overlay, uint32 index)
{
	AsynxValue	value = {NULL, 0, ASYNX_NULL};

	asynx_value_element(&overlay->source, index, &value);
	return value;
}

/* qsort comparator: members in jsonb's order of keys. */
static int
compare_entries(const void *a, const void *b)
{
	const char *aname = lh_entry_k(*(Member *const *) a);
	const char *bname = lh_entry_k(*(Member *const *) b);

	return asynx_key_compare(aname, name_len(aname), bname, name_len(bname));
}

/* The members of a table in jsonb's order; those that were never touched are in it already. */
static Member **
sorted_entries(const lh_table *table)
{
	Member	  **entries = palloc(sizeof(Member *) * (Size) Max(table->count, 1));
	Member	   *entry;
	int			count = 0;
	bool		sorted = true;

	lh_foreach(table, entry)
	{
		entries[count++] = entry;
		if (count > 1 && sorted)
			sorted = compare_entries(&entries[count - 2], &entries[count - 1]) < 0;
	}
	if (!sorted)
		qsort(entries, (size_t) count, sizeof(Member *), compare_entries);
	return entries;
}

/* Moves a member to another object; false, with the member where it was, if there is no memory. */
static bool
move_member(AsynxNode *object, Member *entry)
{
	if (json_object_object_add_ex(object, lh_entry_k(entry), lh_entry_v(entry), NEW_NAME) != 0)
		return false;
	lh_entry_set_val(entry, NULL);
	return true;
}

/* Does a member come before a key? */
static bool
entry_precedes(const Member *entry, const AsynxValue *key)
{
	const char *name = lh_entry_k(entry);

	return asynx_key_compare(name, name_len(name), key->data, key->len) < 0;
}

/*
 * Fills an object with what an overlay shows, in order: its own members, in `entries`, and
 * those of its source, whose names go to `names`.  False if there is no memory.
 */
static bool
merge_members(AsynxNode *object, const Overlay *overlay, Member **entries, int count, char *names)
{
	ShownMembers walk;
	AsynxValue	key;
	AsynxValue	value;
	bool		more;
	bool		done = true;
	int			i = 0;

	shown_begin(&walk, overlay);
	more = shown_next(&walk, &key, &value);
	while (done && (more || i < count))
	{
		if (i < count && (!more || entry_precedes(entries[i], &key)))
			done = move_member(object, entries[i++]);
		else
		{
			done = add_leaf(object, store_name(names, key.data, key.len), &value);
			names += key.len + NAME_OVERHEAD;
			more = shown_next(&walk, &key, &value);
		}
	}
	return done;
}

/* The ordinary object instead of an overlay, which loses its members; NULL if no memory. */
static AsynxNode *
merged_object(AsynxNode *node, const AsynxKeeper *keeper)
{
	const Overlay *overlay = node_overlay(node);
	lh_table   *table = json_object_get_object(node);
	Member	  **entries = sorted_entries(table);
	char	   *names = keep_names(keeper, &overlay->source);
	AsynxNode  *object = object_of_size(asynx_value_count(&overlay->source) -
										overlay->hidden_count + (uint32) table->count);

	if (object != NULL && !merge_members(object, overlay, entries, table->count, names))
	{
		json_object_put(object);
		object = NULL;
	}
	pfree(entries);
	return object;
}

/* Number of elements in a cell of an overlay. */
static inline uint32
cell_width(const AsynxNode *node)
{
	return is_run(node) ? node_run(node).count : 1;
}

/* Number of elements of an expanded array. */
static uint32
count_elements(const AsynxNode *array)
{
	const array_list *cells = json_object_get_array(array);
	uint32		count = 0;

	if (node_overlay(array) == NULL)
		return (uint32) cells->length;
	for (size_t i = 0; i < cells->length; i++)
		count += cell_width(cells->array[i]);
	return count;
}

/* Places a cursor before the first element of a run. */
static void
run_begin(AsynxCursor *cursor, const Overlay *overlay, const AsynxNode *node)
{
	Run			run = node_run(node);

	asynx_elements_range(cursor, &overlay->source, run.first, run.count);
}

/* The ordinary array instead of an overlay, which loses its elements; NULL if no memory. */
static AsynxNode *
merged_array(AsynxNode *node)
{
	const Overlay *overlay = node_overlay(node);
	array_list *from = json_object_get_array(node);
	AsynxNode  *array = json_object_new_array_ext((int) count_elements(node) + SPARE_CELLS);
	array_list *to = array == NULL ? NULL : json_object_get_array(array);
	bool		done = array != NULL;

	for (size_t i = 0; done && i < from->length; i++)
	{
		AsynxCursor cursor;

		if (is_run(from->array[i]))
		{
			run_begin(&cursor, overlay, from->array[i]);
			done = append_leaves(to, &cursor);
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
is_scattered(const AsynxNode *node, const Overlay *overlay)
{
	if (json_object_get_type(node) == json_type_array)
		return json_object_array_length(node) >= OVERLAY_CELLS;
	return overlay->hidden_count >= OVERLAY_MEMBERS ||
		json_object_object_length(node) >= OVERLAY_MEMBERS;
}

/* Makes an overlay an ordinary container. */
static void
give_up_overlay(AsynxNode **slot, const AsynxKeeper *keeper)
{
	AsynxNode  *merged = asynx_node_is_object(*slot) ?
		merged_object(*slot, keeper) : merged_array(*slot);

	if (merged == NULL)
		out_of_memory();
	json_object_put(*slot);
	*slot = merged;
}

/*
 * Makes a node ready for a change among its children: a leaf with children is
 * expanded, an overlay that had its fill of changes is made an ordinary container.
 */
void
asynx_node_open(AsynxNode **slot, const AsynxKeeper *keeper)
{
	if (is_expanded(*slot))
	{
		const Overlay *overlay = node_overlay(*slot);

		if (overlay != NULL && is_scattered(*slot, overlay))
			give_up_overlay(slot, keeper);
	}
	else
	{
		AsynxValue	value = leaf_value(*slot);

		if (asynx_value_is_container(&value))
			expand(slot, &value, keeper);
	}
}

/* The entry of a member of an expanded object, NULL if there is none. */
static Member *
find_entry(const AsynxNode *object, const char *token)
{
	lh_table   *table = json_object_get_object(object);
	uint32		len = (uint32) strlen(token);
	Member	   *entry;

	if (table->count > SCANNED_MEMBERS)
		return lh_table_lookup_entry(table, token);

	lh_foreach(table, entry)
	{
		const char *name = lh_entry_k(entry);

		if (name_len(name) == len && memcmp(name, token, len) == 0)
			return entry;
	}
	return NULL;
}

/* Inserts a cell before cell `index`; false, with the node the caller's, if there is no memory. */
static bool
insert_cell(AsynxNode *array, size_t index, AsynxNode *node)
{
	array_list *cells = json_object_get_array(array);

	if (json_object_array_add(array, node) != 0)
		return false;

	/* json-c appends only: let the others make room. */
	memmove(&cells->array[index + 1], &cells->array[index],
			(cells->length - 1 - index) * sizeof(void *));
	cells->array[index] = node;
	return true;
}

/* find_spot() in an overlay. */
static bool
find_spot_among_runs(const array_list *cells, uint32 index, Spot *spot)
{
	for (spot->cell = 0; spot->cell < cells->length; spot->cell++)
	{
		uint32		width = cell_width(cells->array[spot->cell]);

		if (index < width)
		{
			spot->in_run = is_run(cells->array[spot->cell]);
			spot->skip = index;
			return true;
		}
		index -= width;
	}
	return false;
}

/* Finds element `index`.  False beyond the end: its cell is then the one behind the last. */
static inline bool
find_spot(const AsynxNode *array, uint32 index, Spot *spot)
{
	const array_list *cells = json_object_get_array(array);

	spot->cell = index;
	spot->in_run = false;
	spot->skip = 0;
	if (unlikely(node_overlay(array) != NULL))
		return find_spot_among_runs(cells, index, spot);
	return index < cells->length;
}

/* Makes two runs of one, the first of `count` elements; fewer than it has, but one at least. */
static void
split_run(AsynxNode *array, size_t cell, uint32 count)
{
	AsynxNode  *node = json_object_array_get_idx(array, cell);
	Run			run = node_run(node);
	AsynxNode  *rest = try_run(run.first + count, run.count - count);

	Assert(count > 0 && count < run.count);
	if (rest == NULL || !insert_cell(array, cell + 1, rest))
	{
		json_object_put(rest);
		out_of_memory();
	}
	json_object_set_int64(node, pack_run(run.first, count));
}

/* Gives an element of a run a cell and a node of its own; returns the cell. */
static size_t
isolate_element(AsynxNode *array, const Spot *spot)
{
	array_list *cells = json_object_get_array(array);
	size_t		cell = spot->cell;
	AsynxValue	value;
	AsynxNode  *leaf;

	if (spot->skip > 0)
		split_run(array, cell++, spot->skip);
	if (cell_width(cells->array[cell]) > 1)
		split_run(array, cell, 1);

	value = source_element(node_overlay(array), node_run(cells->array[cell]).first);
	leaf = asynx_node_leaf(&value);
	json_object_put(cells->array[cell]);
	cells->array[cell] = leaf;
	return cell;
}

/* Finds the element `token` of what should be an expanded array. */
static inline AsynxOutcome
find_element(const AsynxNode *array, const char *token, Spot *spot)
{
	uint32		index;

	if (json_object_get_type(array) != json_type_array)
		return ASYNX_NOT_A_CONTAINER;
	if (asynx_token_is_end(token))
		return ASYNX_NO_ELEMENT;
	if (!asynx_token_index(token, &index))
		return ASYNX_NOT_AN_INDEX;
	return find_spot(array, index, spot) ? ASYNX_FOUND : ASYNX_NO_ELEMENT;
}

/* The same for who wants to change it: it has a cell and a node of its own. */
static AsynxOutcome
touch_element(AsynxNode *array, const char *token, size_t *cell)
{
	Spot		spot;
	AsynxOutcome outcome = find_element(array, token, &spot);

	if (outcome == ASYNX_FOUND)
		*cell = spot.in_run ? isolate_element(array, &spot) : spot.cell;
	return outcome;
}

/* The slot of a member of an expanded object, NULL if there is none. */
static AsynxNode **
touch_member(AsynxNode *object, const char *token, const AsynxKeeper *keeper)
{
	Member	   *entry = find_entry(object, token);
	Overlay    *overlay;
	AsynxValue	value;
	uint32		index;

	if (entry != NULL)
		return (AsynxNode **) &entry->v;
	overlay = node_overlay(object);
	if (!find_shown(overlay, token, &index))
		return NULL;

	value = source_member(overlay, index);
	hide_member(overlay, index);
	if (!add_leaf(object, keep_name(keeper, token), &value))
		out_of_memory();
	return (AsynxNode **) &json_object_get_object(object)->tail->v;
}

/* The slot of the child `token` of a container that is open. */
AsynxOutcome
asynx_node_child(AsynxNode *container, const char *token, const AsynxKeeper *keeper,
				 AsynxNode ***slot)
{
	AsynxOutcome outcome;
	size_t		cell;

	if (json_object_get_type(container) == json_type_object)
	{
		*slot = touch_member(container, token, keeper);
		return *slot == NULL ? ASYNX_NO_MEMBER : ASYNX_FOUND;
	}

	outcome = touch_element(container, token, &cell);
	if (outcome == ASYNX_FOUND)
		*slot = (AsynxNode **) &json_object_get_array(container)->array[cell];
	return outcome;
}

/* What a reader sees of a node: itself if it is expanded, else (`node` is NULL) its value. */
static AsynxOutcome
show_node(AsynxNode *found, AsynxNode **node, AsynxValue *value)
{
	*node = is_expanded(found) ? found : NULL;
	if (*node == NULL)
		*value = leaf_value(found);
	return ASYNX_FOUND;
}

/* What a reader sees of a value. */
static AsynxOutcome
show_value(AsynxValue found, AsynxNode **node, AsynxValue *value)
{
	*node = NULL;
	*value = found;
	return ASYNX_FOUND;
}

/* Looks at the child `token` of an expanded container, which stays as it is. */
AsynxOutcome
asynx_node_look(const AsynxNode *container, const char *token, AsynxNode **node,
				AsynxValue *value)
{
	const Overlay *overlay = node_overlay(container);
	AsynxOutcome outcome;
	AsynxNode  *found;
	uint32		index;
	Spot		spot;

	if (json_object_get_type(container) == json_type_object)
	{
		Member	   *entry = find_entry(container, token);

		if (entry != NULL)
			return show_node(lh_entry_v(entry), node, value);
		if (!find_shown(overlay, token, &index))
			return ASYNX_NO_MEMBER;
		return show_value(source_member(overlay, index), node, value);
	}

	outcome = find_element(container, token, &spot);
	if (outcome != ASYNX_FOUND)
		return outcome;
	found = json_object_array_get_idx(container, spot.cell);
	if (!spot.in_run)
		return show_node(found, node, value);
	return show_value(source_element(overlay, node_run(found).first + spot.skip), node, value);
}

/* Where in an expanded array `token` would insert an element: at most behind the last one. */
AsynxOutcome
asynx_node_place(AsynxNode *array, const char *token, uint32 *index)
{
	uint32		length;

	if (json_object_get_type(array) != json_type_array)
		return ASYNX_NOT_A_CONTAINER;

	length = count_elements(array);
	*index = length;
	if (asynx_token_is_end(token))
		return ASYNX_FOUND;
	if (!asynx_token_index(token, index))
		return ASYNX_NOT_AN_INDEX;
	return *index <= length ? ASYNX_FOUND : ASYNX_NO_ELEMENT;
}

/* Adds a member that an open object does not have yet; takes the child over if it returns. */
void
asynx_node_add_member(AsynxNode *object, const char *token, const AsynxKeeper *keeper,
					  AsynxNode *child)
{
	char	   *name = keep_name(keeper, token);

	if (!asynx_node_is_object(object))
		elog(ERROR, "node is not an object");
	if (json_object_object_add_ex(object, name, child, NEW_NAME) != 0)
		out_of_memory();
}

/* Inserts an element before element `index`; takes the child over if it returns. */
void
asynx_node_insert_element(AsynxNode *array, uint32 index, AsynxNode *child)
{
	Spot		spot;

	if (json_object_get_type(array) != json_type_array)
		elog(ERROR, "node is not an array");
	find_spot(array, index, &spot);
	if (spot.skip > 0)
		split_run(array, spot.cell++, spot.skip);
	if (!insert_cell(array, spot.cell, child))
		out_of_memory();
}

/* Takes a member out of an open object. */
static AsynxOutcome
take_member(AsynxNode *object, const char *token, AsynxNode **child)
{
	Member	   *entry = find_entry(object, token);
	Overlay    *overlay;
	AsynxValue	value;
	uint32		index;

	if (entry != NULL)
	{
		/* What json-c frees with the entry is then nothing. */
		*child = lh_entry_v(entry);
		lh_entry_set_val(entry, NULL);
		lh_table_delete_entry(json_object_get_object(object), entry);
		return ASYNX_FOUND;
	}
	overlay = node_overlay(object);
	if (!find_shown(overlay, token, &index))
		return ASYNX_NO_MEMBER;

	value = source_member(overlay, index);
	hide_member(overlay, index);
	*child = asynx_node_leaf(&value);
	return ASYNX_FOUND;
}

/* Takes the child `token` out of an open container; it is the caller's from then on. */
AsynxOutcome
asynx_node_take(AsynxNode *container, const char *token, AsynxNode **child)
{
	array_list *cells;
	AsynxOutcome outcome;
	size_t		cell;

	if (json_object_get_type(container) == json_type_object)
		return take_member(container, token, child);

	outcome = touch_element(container, token, &cell);
	if (outcome != ASYNX_FOUND)
		return outcome;

	cells = json_object_get_array(container);
	*child = cells->array[cell];
	cells->array[cell] = NULL;
	json_object_array_del_idx(container, cell, 1);
	return ASYNX_FOUND;
}

/* Bytes of the elements in a run, entries included. */
static Size
measure_run(const Overlay *overlay, const AsynxNode *run)
{
	AsynxCursor cursor;
	AsynxValue	value;
	Size		size = 0;

	run_begin(&cursor, overlay, run);
	while (asynx_cursor_next(&cursor, &value))
		size += sizeof(JEntry) + value.len;
	return size;
}

/* asynx_node_measure() of an expanded array. */
static Size
measure_array(AsynxNode *array, Size *uncertain)
{
	const Overlay *overlay = node_overlay(array);
	array_list *cells = json_object_get_array(array);
	Size		size = sizeof(uint32);

	for (size_t i = 0; i < cells->length; i++)
	{
		if (overlay != NULL && is_run(cells->array[i]))
			size += measure_run(overlay, cells->array[i]);
		else
			size += sizeof(JEntry) + asynx_node_measure(cells->array[i], uncertain);
	}
	*uncertain += 3 * (Size) count_elements(array);
	return size;
}

/* Bytes of the members that an overlay's source still shows, entries included. */
static Size
measure_shown(const Overlay *overlay, Size *uncertain)
{
	ShownMembers walk;
	AsynxValue	key;
	AsynxValue	value;
	Size		size = 0;

	shown_begin(&walk, overlay);
	while (shown_next(&walk, &key, &value))
	{
		size += 2 * sizeof(JEntry) + key.len + value.len;
		*uncertain += 3;
	}
	return size;
}

/* asynx_node_measure() of an expanded object. */
static Size
measure_object(AsynxNode *object, Size *uncertain)
{
	const Overlay *overlay = node_overlay(object);
	lh_table   *table = json_object_get_object(object);
	Size		size = sizeof(uint32);
	Member	   *entry;

	lh_foreach(table, entry)
		size += 2 * sizeof(JEntry) + name_len(lh_entry_k(entry)) +
		asynx_node_measure(lh_entry_v(entry), uncertain);
	*uncertain += 3 * (Size) table->count;
	if (overlay != NULL)
		size += measure_shown(overlay, uncertain);
	return size;
}

/*
 * Bytes of a node in a jsonb, but for padding: each child has up to three bytes
 * of that, which are added to `uncertain`.
 */
Size
asynx_node_measure(AsynxNode *node, Size *uncertain)
{
	if (!is_expanded(node))
		return leaf_value(node).len;

	check_stack_depth();
	return asynx_node_is_object(node) ?
		measure_object(node, uncertain) : measure_array(node, uncertain);
}

/* Is an expanded array nested deeper than that? */
static bool
array_deeper(AsynxNode *array, int levels)
{
	const Overlay *overlay = node_overlay(array);
	array_list *cells = json_object_get_array(array);
	bool		deeper = levels < 1;

	for (size_t i = 0; i < cells->length && !deeper; i++)
	{
		AsynxCursor cursor;
		AsynxValue	value;

		if (overlay == NULL || !is_run(cells->array[i]))
		{
			deeper = asynx_node_deeper(cells->array[i], levels - 1);
			continue;
		}
		run_begin(&cursor, overlay, cells->array[i]);
		while (!deeper && asynx_cursor_next(&cursor, &value))
			deeper = asynx_value_deeper(&value, levels - 1);
	}
	return deeper;
}

/* Is an expanded object nested deeper than that? */
static bool
object_deeper(AsynxNode *object, int levels)
{
	const Overlay *overlay = node_overlay(object);
	bool		deeper = levels < 1;
	ShownMembers walk;
	AsynxValue	key;
	AsynxValue	value;
	Member	   *entry;

	for (entry = json_object_get_object(object)->head; entry != NULL && !deeper;
		 entry = lh_entry_next(entry))
		deeper = asynx_node_deeper(lh_entry_v(entry), levels - 1);
	if (overlay != NULL)
	{
		shown_begin(&walk, overlay);
		while (!deeper && shown_next(&walk, &key, &value))
			deeper = asynx_value_deeper(&value, levels - 1);
	}
	return deeper;
}

/* Is a node nested deeper than that? */
bool
asynx_node_deeper(AsynxNode *node, int levels)
{
	if (!is_expanded(node))
	{
		AsynxValue	value = leaf_value(node);

		return asynx_value_deeper(&value, levels);
	}

	check_stack_depth();
	return asynx_node_is_object(node) ?
		object_deeper(node, levels) : array_deeper(node, levels);
}

/*
 * Turns an expanded container back into a leaf, whose bytes are the last ones in the
 * writer, from `start` on; `tag` is what it is.
 */
static void
fold_back(const AsynxWriter *writer, uint32 start, AsynxTag tag, AsynxNode **slot,
		  const AsynxKeeper *keeper)
{
	AsynxValue	value = {NULL, writer->len - start, tag};
	char	   *bytes = keeper->keep(keeper->owner, value.len);
	AsynxNode  *leaf;

	memcpy(bytes, writer->data + start, value.len);
	value.data = bytes;
	leaf = asynx_node_leaf(&value);
	asynx_node_free(*slot);
	*slot = leaf;
}

/* Writes a child of an open container. */
static void
write_child(AsynxWriter *writer, AsynxFrame *frame, AsynxNode **slot, const AsynxKeeper *keeper)
{
	json_type	type = json_object_get_type(*slot);
	uint32		start = (uint32) INTALIGN(writer->len);

	if (type != json_type_array && type != json_type_object)
	{
		AsynxValue	value = leaf_value(*slot);

		asynx_writer_value(writer, frame, &value);
		return;
	}
	write_container(writer, frame, *slot, keeper);
	if (keeper != NULL && writer->len - start <= FOLD_BYTES)
		fold_back(writer, start, type == json_type_array ? ASYNX_ARRAY : ASYNX_OBJECT,
				  slot, keeper);
}

/* Writes an expanded array. */
static void
write_array(AsynxWriter *writer, AsynxFrame *parent, AsynxNode *array,
			const AsynxKeeper *keeper)
{
	const Overlay *overlay = node_overlay(array);
	array_list *cells = json_object_get_array(array);
	AsynxFrame	frame;

	asynx_writer_open(writer, parent, &frame, ASYNX_ARRAY, count_elements(array));
	for (size_t i = 0; i < cells->length; i++)
	{
		AsynxCursor cursor;

		if (overlay != NULL && is_run(cells->array[i]))
		{
			run_begin(&cursor, overlay, cells->array[i]);
			asynx_writer_run(writer, &frame, &cursor);
		}
		else
			write_child(writer, &frame, (AsynxNode **) &cells->array[i], keeper);
	}
	asynx_writer_close(writer, &frame);
}

/* Adds runs for what an overlay shows of its source from one member on, up to another. */
static int
add_runs(Piece *pieces, int count, const Overlay *overlay, uint32 from, uint32 upto)
{
	uint32		next = hidden_before(overlay, from);

	while (from < upto)
	{
		uint32		stop = upto;

		if (next < overlay->hidden_count)
			stop = Min(overlay->hidden[next], upto);
		if (stop > from)
			pieces[count++] = (Piece) {NULL, {from, stop - from}};
		from = stop + 1;
		next++;
	}
	return count;
}

/* What an overlay is written from; `count` says how many pieces. */
static Piece *
overlay_pieces(const Overlay *overlay, const lh_table *table, int *count)
{
	Member	  **entries = sorted_entries(table);
	Piece	   *pieces = palloc(sizeof(Piece) *
								((Size) table->count * 2 + overlay->hidden_count + 1));
	uint32		from = 0;
	int			n = 0;

	for (int i = 0; i < table->count; i++)
	{
		const char *name = lh_entry_k(entries[i]);
		uint32		place;

		asynx_value_place(&overlay->source, name, name_len(name), &place);
		n = add_runs(pieces, n, overlay, from, place);
		pieces[n++] = (Piece) {entries[i], {0, 0}};
		from = place;
	}
	*count = add_runs(pieces, n, overlay, from, asynx_value_count(&overlay->source));
	pfree(entries);
	return pieces;
}

/* Writes the keys of an overlay. */
static void
write_keys(AsynxWriter *writer, AsynxFrame *frame, const Overlay *overlay,
		   const Piece *pieces, int count)
{
	for (const Piece *piece = pieces; piece < pieces + count; piece++)
	{
		AsynxMembers members;

		if (piece->entry != NULL)
		{
			const char *name = lh_entry_k(piece->entry);

			asynx_writer_string(writer, frame, name, name_len(name));
			continue;
		}
		asynx_members_range(&members, &overlay->source, piece->run.first, piece->run.count);
		asynx_writer_run(writer, frame, &members.keys);
	}
}

/* Writes the values of an overlay. */
static void
write_values(AsynxWriter *writer, AsynxFrame *frame, const Overlay *overlay,
			 const Piece *pieces, int count, const AsynxKeeper *keeper)
{
	for (const Piece *piece = pieces; piece < pieces + count; piece++)
	{
		AsynxMembers members;

		if (piece->entry != NULL)
		{
			write_child(writer, frame, (AsynxNode **) &piece->entry->v, keeper);
			continue;
		}
		asynx_members_range(&members, &overlay->source, piece->run.first, piece->run.count);
		asynx_writer_run(writer, frame, &members.values);
	}
}

/* Writes an overlay of an object. */
static void
write_overlay(AsynxWriter *writer, AsynxFrame *parent, AsynxNode *object,
			  const AsynxKeeper *keeper)
{
	const Overlay *overlay = node_overlay(object);
	const lh_table *table = json_object_get_object(object);
	AsynxFrame	frame;
	int			count;
	Piece	   *pieces = overlay_pieces(overlay, table, &count);

	asynx_writer_open(writer, parent, &frame, ASYNX_OBJECT,
					  asynx_value_count(&overlay->source) - overlay->hidden_count +
					  (uint32) table->count);
	write_keys(writer, &frame, overlay, pieces, count);
	write_values(writer, &frame, overlay, pieces, count, keeper);
	asynx_writer_close(writer, &frame);
	pfree(pieces);
}

/* Writes an expanded object: all keys, then all values. */
static void
write_object(AsynxWriter *writer, AsynxFrame *parent, AsynxNode *object,
			 const AsynxKeeper *keeper)
{
	lh_table   *table = json_object_get_object(object);
	Member	  **entries = sorted_entries(table);
	AsynxFrame	frame;

	asynx_writer_open(writer, parent, &frame, ASYNX_OBJECT, (uint32) table->count);
	for (int i = 0; i < table->count; i++)
	{
		const char *name = lh_entry_k(entries[i]);

		asynx_writer_string(writer, &frame, name, name_len(name));
	}
	for (int i = 0; i < table->count; i++)
		write_child(writer, &frame, (AsynxNode **) &entries[i]->v, keeper);
	asynx_writer_close(writer, &frame);
	pfree(entries);
}

/* Writes an expanded container, as the next child of `parent` or as the root. */
static void
write_container(AsynxWriter *writer, AsynxFrame *parent, AsynxNode *container,
				const AsynxKeeper *keeper)
{
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (!asynx_node_is_object(container))
		write_array(writer, parent, container, keeper);
	else if (node_overlay(container) != NULL)
		write_overlay(writer, parent, container, keeper);
	else
		write_object(writer, parent, container, keeper);
}

/*
 * Writes a node as a document.  With a keeper, small containers in it that were
 * expanded are leaves afterwards, with bytes of the keeper's.
 */
void
asynx_node_write(AsynxWriter *writer, AsynxNode *node, const AsynxKeeper *keeper)
{
	AsynxValue	value;

	if (is_expanded(node))
	{
		write_container(writer, NULL, node, keeper);
		return;
	}
	value = leaf_value(node);
	asynx_writer_root(writer, &value);
}
