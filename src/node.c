/*
 * node.c
 *	  The nodes of a document's tree, and the only room of it that sees json-c.
 *
 * json-c holds the structure: its objects hash members by name, its arrays hold
 * pointers to elements.  It holds no values.  A value that no patch has walked
 * into is a leaf: a json-c integer whose number is the address of the value's
 * bytes in some jsonb, and whose user data is (length << 3 | tag).  So numbers
 * keep every digit, strings are not copied, and a container costs one node, no
 * matter how large it is, until asynx_node_expand() replaces the leaf by a
 * json-c container of leaves.  JSON null is no node at all, as json-c wants it.
 * All true values of the process share one node, all false ones another: json-c
 * counts references, and nobody here changes a node that is not a container.
 *
 * json-c aborts the server when a function gets a node of another type, so every
 * call here has the type checked right before it.  It allocates with malloc, and
 * a node that nobody points to leaks: a new node is handed to its owner, or put
 * back, before anything can raise.
 *
 * Names of members are kept in the document's memory (the caller provides it)
 * as length, bytes, NUL; json-c gets the bytes and the promise that they stay.
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
bool
asynx_node_is_expanded(const AsynxNode *node)
{
	json_type	type = json_object_get_type(node);

	return type == json_type_array || type == json_type_object;
}

/* Is the node an expanded object? */
bool
asynx_node_is_object(const AsynxNode *node)
{
	return json_object_get_type(node) == json_type_object;
}

/* The value of a node that is not expanded. */
AsynxValue
asynx_node_value(const AsynxNode *leaf)
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

/* Bytes that the name of a member needs in the document's memory. */
Size
asynx_node_key_size(uint32 len)
{
	return len + NAME_OVERHEAD;
}

/* Puts a name into memory of asynx_node_key_size() bytes; returns it as json-c wants it. */
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

/* Bytes that asynx_node_expand() needs for the names of a container's members. */
Size
asynx_node_expansion_size(const AsynxValue *container)
{
	if (container->tag != ASYNX_OBJECT)
		return 0;
	return asynx_value_keys_size(container) +
		NAME_OVERHEAD * (Size) asynx_value_count(container);
}

/* A json-c array of leaves, NULL if there is no memory. */
static AsynxNode *
array_of_leaves(const AsynxValue *value)
{
	AsynxNode  *array = json_object_new_array_ext((int) asynx_value_count(value) + SPARE_CELLS);
	array_list *cells = array == NULL ? NULL : json_object_get_array(array);
	AsynxCursor cursor;
	AsynxValue	element;

	if (array == NULL)
		return NULL;

	asynx_elements_begin(&cursor, value);
	while (asynx_cursor_next(&cursor, &element))
	{
		AsynxNode  *leaf = element.tag == ASYNX_NULL ? NULL : try_leaf(&element);

		if (leaf == NULL && element.tag != ASYNX_NULL)
		{
			json_object_put(array);
			return NULL;
		}
		cells->array[cells->length++] = leaf;
	}
	return array;
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

/* A json-c object of leaves, its table large enough from the start; NULL if there is no memory. */
static AsynxNode *
object_of_leaves(const AsynxValue *value, char *memory)
{
	AsynxNode  *object = json_object_new_object();
	uint32		count = asynx_value_count(value);
	bool		done = object != NULL;
	AsynxMembers members;
	AsynxValue	key;
	AsynxValue	child;

	if (done && count > TABLE_MEMBERS)
		done = lh_table_resize(json_object_get_object(object), (int) TABLE_SLOTS(count)) == 0;

	asynx_members_begin(&members, value);
	while (done && asynx_members_next(&members, &key, &child))
	{
		done = add_leaf(object, store_name(memory, key.data, key.len), &child);
		memory += asynx_node_key_size(key.len);
	}
	if (done)
		return object;

	json_object_put(object);
	return NULL;
}

/* Replaces a leaf that is a container by an expanded one; `memory` is for the members' names. */
void
asynx_node_expand(AsynxNode **slot, char *memory)
{
	AsynxValue	value = asynx_node_value(*slot);
	AsynxNode  *expanded = value.tag == ASYNX_ARRAY ?
		array_of_leaves(&value) : object_of_leaves(&value, memory);

	if (expanded == NULL)
		out_of_memory();
	json_object_put(*slot);
	*slot = expanded;
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

/* The slot of the child `token` of an expanded container. */
AsynxOutcome
asynx_node_child(AsynxNode *container, const char *token, AsynxNode ***slot)
{
	array_list *cells;
	uint32		index;

	if (json_object_get_type(container) == json_type_object)
	{
		Member	   *entry = find_entry(container, token);

		if (entry == NULL)
			return ASYNX_NO_MEMBER;
		*slot = (AsynxNode **) &entry->v;
		return ASYNX_FOUND;
	}
	if (json_object_get_type(container) != json_type_array)
		return ASYNX_NOT_A_CONTAINER;
	if (asynx_token_is_end(token))
		return ASYNX_NO_ELEMENT;
	if (!asynx_token_index(token, &index))
		return ASYNX_NOT_AN_INDEX;

	cells = json_object_get_array(container);
	if (index >= cells->length)
		return ASYNX_NO_ELEMENT;
	*slot = (AsynxNode **) &cells->array[index];
	return ASYNX_FOUND;
}

/* Where in an expanded array `token` would insert an element: at most behind the last one. */
AsynxOutcome
asynx_node_place(AsynxNode *array, const char *token, uint32 *index)
{
	uint32		length;

	if (json_object_get_type(array) != json_type_array)
		return ASYNX_NOT_A_CONTAINER;

	length = (uint32) json_object_array_length(array);
	*index = length;
	if (asynx_token_is_end(token))
		return ASYNX_FOUND;
	if (!asynx_token_index(token, index))
		return ASYNX_NOT_AN_INDEX;
	return *index <= length ? ASYNX_FOUND : ASYNX_NO_ELEMENT;
}

/* Adds a member that an expanded object does not have yet; takes the child over if it returns. */
void
asynx_node_add_member(AsynxNode *object, const char *token, char *memory, AsynxNode *child)
{
	char	   *name = store_name(memory, token, (uint32) strlen(token));

	if (!asynx_node_is_object(object))
		elog(ERROR, "node is not an object");
	if (json_object_object_add_ex(object, name, child, NEW_NAME) != 0)
		out_of_memory();
}

/* Inserts an element before cell `index`; takes the child over if it returns. */
void
asynx_node_insert_element(AsynxNode *array, uint32 index, AsynxNode *child)
{
	array_list *cells;

	if (json_object_get_type(array) != json_type_array)
		elog(ERROR, "node is not an array");
	if (json_object_array_add(array, child) != 0)
		out_of_memory();

	/* json-c appends only: let the others make room. */
	cells = json_object_get_array(array);
	memmove(&cells->array[index + 1], &cells->array[index],
			(cells->length - 1 - index) * sizeof(void *));
	cells->array[index] = child;
}

/* Takes a member out of an expanded object. */
static AsynxOutcome
take_member(AsynxNode *object, const char *token, AsynxNode **child)
{
	Member	   *entry = find_entry(object, token);

	if (entry == NULL)
		return ASYNX_NO_MEMBER;

	/* What json-c frees with the entry is then nothing. */
	*child = lh_entry_v(entry);
	lh_entry_set_val(entry, NULL);
	lh_table_delete_entry(json_object_get_object(object), entry);
	return ASYNX_FOUND;
}

/* Takes the child `token` out of an expanded container; it is the caller's from then on. */
AsynxOutcome
asynx_node_take(AsynxNode *container, const char *token, AsynxNode **child)
{
	AsynxNode **slot;
	AsynxOutcome outcome;
	size_t		index;

	if (json_object_get_type(container) == json_type_object)
		return take_member(container, token, child);

	outcome = asynx_node_child(container, token, &slot);
	if (outcome != ASYNX_FOUND)
		return outcome;

	index = (size_t) ((void **) slot - json_object_get_array(container)->array);
	*child = *slot;
	*slot = NULL;
	json_object_array_del_idx(container, index, 1);
	return ASYNX_FOUND;
}

/*
 * Bytes of a node in a jsonb, but for padding: each child has up to three bytes
 * of that, which are added to `uncertain`.
 */
Size
asynx_node_measure(AsynxNode *node, Size *uncertain)
{
	json_type	type = json_object_get_type(node);
	Size		size = sizeof(uint32);

	if (type != json_type_array && type != json_type_object)
		return asynx_node_value(node).len;

	check_stack_depth();
	if (type == json_type_array)
	{
		array_list *cells = json_object_get_array(node);

		for (size_t i = 0; i < cells->length; i++)
			size += sizeof(JEntry) + asynx_node_measure(cells->array[i], uncertain);
		*uncertain += 3 * cells->length;
	}
	else
	{
		lh_table   *table = json_object_get_object(node);
		Member	   *entry;

		lh_foreach(table, entry)
			size += 2 * sizeof(JEntry) + name_len(lh_entry_k(entry)) +
			asynx_node_measure(lh_entry_v(entry), uncertain);
		*uncertain += 3 * (Size) table->count;
	}
	return size;
}

/* Is a node nested deeper than that? */
bool
asynx_node_deeper(AsynxNode *node, int levels)
{
	json_type	type = json_object_get_type(node);
	bool		deeper = levels < 1;

	if (type != json_type_array && type != json_type_object)
	{
		AsynxValue	value = asynx_node_value(node);

		return asynx_value_deeper(&value, levels);
	}

	check_stack_depth();
	if (type == json_type_array)
	{
		array_list *cells = json_object_get_array(node);

		for (size_t i = 0; i < cells->length && !deeper; i++)
			deeper = asynx_node_deeper(cells->array[i], levels - 1);
	}
	else
	{
		Member	   *entry;

		for (entry = json_object_get_object(node)->head; entry != NULL && !deeper;
			 entry = lh_entry_next(entry))
			deeper = asynx_node_deeper(lh_entry_v(entry), levels - 1);
	}
	return deeper;
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
		AsynxValue	value = asynx_node_value(*slot);

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
	array_list *cells = json_object_get_array(array);
	AsynxFrame	frame;

	asynx_writer_open(writer, parent, &frame, ASYNX_ARRAY, (uint32) cells->length);
	for (size_t i = 0; i < cells->length; i++)
		write_child(writer, &frame, (AsynxNode **) &cells->array[i], keeper);
	asynx_writer_close(writer, &frame);
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
	if (asynx_node_is_object(container))
		write_object(writer, parent, container, keeper);
	else
		write_array(writer, parent, container, keeper);
}

/*
 * Writes a node as a document.  With a keeper, small containers in it that were
 * expanded are leaves afterwards, with bytes of the keeper's.
 */
void
asynx_node_write(AsynxWriter *writer, AsynxNode *node, const AsynxKeeper *keeper)
{
	AsynxValue	value;

	if (asynx_node_is_expanded(node))
	{
		write_container(writer, NULL, node, keeper);
		return;
	}
	value = asynx_node_value(node);
	asynx_writer_root(writer, &value);
}
