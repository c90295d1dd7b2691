/*
 * jsonc.c
 *	  json-c as the rooms of a document's tree use it: leaves, containers, names.
 *
 * json-c holds the structure: its objects hash members by name, its arrays hold
 * pointers to elements.  It holds no values.  A value that no patch has walked
 * into is a leaf: a json-c integer whose number is the address of the value's
 * bytes in some jsonb, and whose user data is (length << 3 | tag).  So numbers
 * keep every digit, strings are not copied, and a container costs one node, no
 * matter how large it is.  JSON null is no node at all, as json-c wants it.  All
 * true values of the process share one node, all false ones another: json-c counts
 * references, and nobody changes a node that is not a container.
 *
 * json-c aborts the server when a function gets a node of another type, so every
 * call has the type checked right before it.  It allocates with malloc, and a node
 * that nobody points to leaks: a new node is handed to its owner, or put back,
 * before anything can raise.  Hence nothing here raises that has a node in hand;
 * it says that there is no memory, and its caller raises when all is put back.
 *
 * Names of members are kept in the document's memory (the keeper's) as length,
 * bytes, NUL; json-c gets the bytes and the promise that they stay.
 */
#include "asynx.h"

#include "jsonc.h"

/* Bytes that a name needs besides its own: the length before it, the NUL behind it. */
#define NAME_OVERHEAD (sizeof(uint32) + 1)

/* A name that is in no object yet and stays where it is. */
#define NEW_NAME (JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_KEY_IS_CONSTANT)

/* Members that an empty json-c object takes before its table grows. */
#define TABLE_MEMBERS 10

/* Among so few members a name is found sooner by comparing all than by its hash. */
#define SCANNED_MEMBERS 12

/* The nodes of false and true; created at first use, kept by a reference that nobody gives back. */
static AsynxNode *booleans[2] = {NULL, NULL};

/* Raises out_of_memory for what malloc refused. */
void
asynx_jsonc_out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("The tree of a JSON document could not be extended.")));
}

/*
 * Frees a node and what is below it.  A container must not have user data then: json-c 0.19
 * keeps the way back to a container's parent there, and would go on from the first one by
 * what it finds.
 */
void
asynx_jsonc_free(AsynxNode *node)
{
	if (json_object_is_type(node, json_type_object) || json_object_is_type(node, json_type_array))
		json_object_set_userdata(node, NULL, NULL);
	json_object_put(node);
}

/* Another reference to the node of a boolean, NULL if there is no memory. */
static AsynxNode *
share_boolean(bool value)
{
	AsynxNode **shared = &booleans[value ? 1 : 0];

	if (*shared == NULL)
		*shared = json_object_new_boolean(value);
	return json_object_get(*shared);
}

/* A leaf that points to a value. */
static AsynxNode *
point_to(const AsynxValue *value)
{
	AsynxNode  *leaf = json_object_new_int64((int64) (intptr_t) value->data);
	uintptr_t	packed = (uintptr_t) value->len << ASYNX_LEAF_TAG_BITS | value->tag;

	if (leaf != NULL)
		json_object_set_userdata(leaf, (void *) packed, NULL);
	return leaf;
}

/* A leaf for a value, whose bytes must outlive it. */
bool
asynx_jsonc_leaf(const AsynxValue *value, AsynxNode **leaf)
{
	switch (value->tag)
	{
		case ASYNX_NULL:
			*leaf = NULL;
			return true;
		case ASYNX_FALSE:
		case ASYNX_TRUE:
			*leaf = share_boolean(value->tag == ASYNX_TRUE);
			break;
		default:
			*leaf = point_to(value);
			break;
	}
	return *leaf != NULL;
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

/* Keeps a name. */
char *
asynx_jsonc_keep_name(const AsynxKeeper *keeper, const char *token)
{
	uint32		len = (uint32) strlen(token);

	return store_name(keeper->keep(keeper->owner, len + NAME_OVERHEAD), token, len);
}

/* Memory for the names of all members of an object. */
char *
asynx_jsonc_keep_names(const AsynxKeeper *keeper, const AsynxValue *object)
{
	return keeper->keep(keeper->owner, asynx_value_keys_size(object) +
						NAME_OVERHEAD * (Size) asynx_value_count(object));
}

/* Adds a member of a name that is kept and not in the object yet. */
bool
asynx_jsonc_add_node(AsynxNode *object, const char *name, AsynxNode *child)
{
	return json_object_object_add_ex(object, name, child, NEW_NAME) == 0;
}

/* The same for a value. */
bool
asynx_jsonc_add_leaf(AsynxNode *object, const char *name, const AsynxValue *value)
{
	AsynxNode  *leaf;

	if (!asynx_jsonc_leaf(value, &leaf))
		return false;
	if (asynx_jsonc_add_node(object, name, leaf))
		return true;

	json_object_put(leaf);
	return false;
}

/* Adds the members of a walk; their names go to `names`, which moves on. */
bool
asynx_jsonc_append_members(AsynxNode *object, AsynxMembers *members, char **names)
{
	AsynxValue	key;
	AsynxValue	value;

	while (asynx_members_next(members, &key, &value))
	{
		if (!asynx_jsonc_add_leaf(object, store_name(*names, key.data, key.len), &value))
			return false;
		*names += key.len + NAME_OVERHEAD;
	}
	return true;
}

/* Adds the elements of a walk behind the cells of an array that has room for them. */
bool
asynx_jsonc_append_elements(AsynxNode *array, AsynxCursor *cursor)
{
	array_list *cells = json_object_get_array(array);
	AsynxValue	element;

	while (asynx_cursor_next(cursor, &element))
	{
		AsynxNode  *leaf;

		Assert(cells->length < cells->size);
		if (!asynx_jsonc_leaf(&element, &leaf))
			return false;
		cells->array[cells->length++] = leaf;
	}
	return true;
}

/* Inserts a cell before cell `index`. */
bool
asynx_jsonc_insert_cell(AsynxNode *array, size_t index, AsynxNode *node)
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

/* Slots of a table that takes so many members and a few more without growing: it fills to 66 %. */
static int
table_slots(uint32 members)
{
	return (int) (members + members / 8 * 5 + 7);
}

/* An empty object whose table is large enough for so many. */
AsynxNode *
asynx_jsonc_object(uint32 members)
{
	AsynxNode  *object = json_object_new_object();

	if (object == NULL || members <= TABLE_MEMBERS ||
		lh_table_resize(json_object_get_object(object), table_slots(members)) == 0)
		return object;

	json_object_put(object);
	return NULL;
}

/* An empty array with room for so many cells and a few more. */
AsynxNode *
asynx_jsonc_array(uint32 cells)
{
	return json_object_new_array_ext((int) cells + ASYNX_SPARE_CELLS);
}

/* An array of leaves. */
static AsynxNode *
array_of_leaves(const AsynxValue *value)
{
	AsynxNode  *array = asynx_jsonc_array(asynx_value_count(value));
	AsynxCursor cursor;

	asynx_elements_begin(&cursor, value);
	if (array == NULL || asynx_jsonc_append_elements(array, &cursor))
		return array;

	json_object_put(array);
	return NULL;
}

/* An object of leaves. */
static AsynxNode *
object_of_leaves(const AsynxValue *value, const AsynxKeeper *keeper)
{
	char	   *names = asynx_jsonc_keep_names(keeper, value);
	AsynxNode  *object = asynx_jsonc_object(asynx_value_count(value));
	AsynxMembers members;

	asynx_members_begin(&members, value);
	if (object == NULL || asynx_jsonc_append_members(object, &members, &names))
		return object;

	json_object_put(object);
	return NULL;
}

/* A container of leaves. */
AsynxNode *
asynx_jsonc_expand(const AsynxValue *value, const AsynxKeeper *keeper)
{
	return value->tag == ASYNX_ARRAY ? array_of_leaves(value) : object_of_leaves(value, keeper);
}

/* The entry of a member, NULL if there is none. */
AsynxEntry *
asynx_jsonc_find(const AsynxNode *object, const char *token)
{
	lh_table   *table = json_object_get_object(object);
	uint32		len = (uint32) strlen(token);
	AsynxEntry *entry;

	if (table->count > SCANNED_MEMBERS)
		return lh_table_lookup_entry(table, token);

	lh_foreach(table, entry)
	{
		const char *name = lh_entry_k(entry);

		if (asynx_jsonc_name_len(name) == len && memcmp(name, token, len) == 0)
			return entry;
	}
	return NULL;
}

/* qsort comparator: members in jsonb's order of keys. */
static int
compare_entries(const void *a, const void *b)
{
	const char *aname = lh_entry_k(*(AsynxEntry *const *) a);
	const char *bname = lh_entry_k(*(AsynxEntry *const *) b);

	return asynx_key_compare(aname, asynx_jsonc_name_len(aname),
							 bname, asynx_jsonc_name_len(bname));
}

/* The members of an object in jsonb's order; most often they are in it already. */
AsynxEntry **
asynx_jsonc_sorted(const AsynxNode *object, int *count)
{
	const lh_table *table = json_object_get_object(object);
	AsynxEntry **entries = palloc(sizeof(AsynxEntry *) * (Size) Max(table->count, 1));
	AsynxEntry *entry;
	bool		sorted = true;

	*count = 0;
	lh_foreach(table, entry)
	{
		entries[(*count)++] = entry;
		if (*count > 1 && sorted)
			sorted = compare_entries(&entries[*count - 2], &entries[*count - 1]) < 0;
	}
	if (!sorted)
		qsort(entries, (size_t) *count, sizeof(AsynxEntry *), compare_entries);
	return entries;
}
