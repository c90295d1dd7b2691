/*
 * value.c
 *	  Rooms value and jsonbwriter: a jsonb read in place is the tree it was made from,
 *	  and writing what was read gives the same bytes.
 *
 * The first byte lowers the limits, and says whether the rest is text or chance.
 */
#include "fuzz.h"

#include "guc.h"
#include "jsonbwriter.h"

/* Elements beyond which not every pair of neighbours is compared. */
#define PAIRS 50

/* What the limits are asked about, as shim_run() wants it. */
static void
check_body(void *argument)
{
	asynx_document_check(argument);
}

/* A tree's child as a document of its own, so that it can be compared. */
static AsynxValue
separate(const Tree *tree)
{
	return asynx_value_root(tree_to_jsonb(tree));
}

/* Does a scalar say what the tree says? */
static void
check_scalar(const AsynxValue *value, const Tree *tree)
{
	MUST((int) value->tag == (int) tree->type);
	if (tree->type >= TREE_STRING)
	{
		MUST((int) value->len == tree->bytes.len);
		MUST(memcmp(value->data, tree->bytes.data, value->len) == 0);
	}
}

/* Neighbours are equal, and identical, exactly if the trees are. */
static void
check_neighbours(const AsynxValue *a, const AsynxValue *b, const Tree *x, const Tree *y)
{
	AsynxValue	copy = separate(y);

	MUST(asynx_value_equal(a, b) == tree_equal(x, y));
	MUST(asynx_value_equal(a, &copy) == tree_equal(x, y));
	MUST(asynx_value_identical(b, &copy));
	MUST(!asynx_value_identical(a, b) || tree_equal(x, y));
}

static void check_value(const AsynxValue *value, const Tree *tree);

/* Do an array's elements come in order, and are they found by index? */
static void
check_elements(const AsynxValue *array, const Tree *tree)
{
	AsynxCursor cursor;
	AsynxValue	child;
	AsynxValue	found;
	AsynxValue	before = {NULL, 0, ASYNX_NULL};
	int			i = 0;

	asynx_elements_begin(&cursor, array);
	for (; asynx_cursor_next(&cursor, &child); i++)
	{
		MUST(i < tree->count);
		MUST(asynx_value_element(array, i, &found));
		MUST(found.data == child.data && found.len == child.len && found.tag == child.tag);
		check_value(&child, tree->children[i]);
		if (i > 0 && i < PAIRS)
			check_neighbours(&before, &child, tree->children[i - 1], tree->children[i]);
		before = child;
	}
	MUST(i == tree->count);
	MUST(!asynx_value_element(array, i, &found));
	MUST(!asynx_value_element(array, PG_UINT32_MAX, &found));
}

/* Are a member's name and those like it found, or not, as in the tree? */
static void
check_lookup(const AsynxValue *object, const Tree *tree, const Bytes *key)
{
	AsynxValue	found;
	char	   *longer = palloc(key->len + 1);

	MUST(asynx_value_member(object, key->data, key->len, &found));
	memcpy(longer, key->data, key->len);
	longer[key->len] = 'a';
	MUST(asynx_value_member(object, longer, key->len + 1, &found) ==
		 (tree_find(tree, longer, key->len + 1) >= 0));
	if (key->len > 0)
	{
		MUST(asynx_value_member(object, key->data, key->len - 1, &found) ==
			 (tree_find(tree, key->data, key->len - 1) >= 0));
		longer[0] ^= 1;
		MUST(asynx_value_member(object, longer, key->len, &found) ==
			 (tree_find(tree, longer, key->len) >= 0));
	}
}

/* Do an object's members come in order, and are they found by name? */
static void
check_members(const AsynxValue *object, const Tree *tree)
{
	AsynxMembers members;
	AsynxValue	key;
	AsynxValue	child;
	AsynxValue	found;
	uint32		bytes = 0;
	int			i = 0;

	asynx_members_begin(&members, object);
	for (; asynx_members_next(&members, &key, &child); i++)
	{
		MUST(i < tree->count);
		MUST(asynx_key_compare(key.data, key.len, tree->keys[i].data, tree->keys[i].len) == 0);
		MUST(asynx_value_member(object, key.data, key.len, &found));
		MUST(found.data == child.data && found.len == child.len && found.tag == child.tag);
		check_lookup(object, tree, &tree->keys[i]);
		check_value(&child, tree->children[i]);
		bytes += key.len;
	}
	MUST(i == tree->count);
	MUST(asynx_value_keys_size(object) == bytes);
}

/* Is a value what the tree is? */
static void
check_value(const AsynxValue *value, const Tree *tree)
{
	MUST((int) value->tag == (int) tree->type);
	if (!asynx_value_is_container(value))
		check_scalar(value, tree);
	else
	{
		MUST((int) asynx_value_count(value) == tree->count);
		if (value->tag == ASYNX_ARRAY)
			check_elements(value, tree);
		else
			check_members(value, tree);
	}
}

/* Writes a value child by child; every other container is copied as a whole. */
static void
rewrite(AsynxWriter *writer, AsynxFrame *parent, const AsynxValue *value, bool whole)
{
	AsynxFrame	frame;
	AsynxMembers members;
	AsynxCursor cursor;
	AsynxValue	key;
	AsynxValue	child;

	if (whole || !asynx_value_is_container(value))
	{
		asynx_writer_value(writer, parent, value);
		return;
	}

	asynx_writer_open(writer, parent, &frame, value->tag, asynx_value_count(value));
	if (value->tag == ASYNX_OBJECT)
	{
		asynx_members_begin(&members, value);
		cursor = members.values;
		while (asynx_members_next(&members, &key, &child))
			asynx_writer_string(writer, &frame, key.data, key.len);
	}
	else
		asynx_elements_begin(&cursor, value);
	for (bool copy = false; asynx_cursor_next(&cursor, &child); copy = !copy)
		rewrite(writer, &frame, &child, copy);
	asynx_writer_close(writer, &frame);
}

/* Writing what was read gives the same bytes. */
static void
check_rewrite(const Jsonb *jsonb)
{
	AsynxValue	root = asynx_value_root(jsonb);
	AsynxWriter writer;

	asynx_writer_init(&writer, 0, ASYNX_JSONB_LIMIT);
	if (asynx_value_is_container(&root))
		rewrite(&writer, NULL, &root, false);
	else
		asynx_writer_root(&writer, &root);
	MUST(same_jsonb(asynx_writer_finish(&writer), jsonb));
}

/* The limits refuse what is beyond them and nothing else. */
static void
check_limits(Jsonb *jsonb, int depth)
{
	AsynxValue	root = asynx_value_root(jsonb);
	ShimError	error = {"", ""};
	bool		fits = VARSIZE(jsonb) <= (Size) asynx_max_document_size * 1024 &&
		depth <= asynx_max_document_depth;

	MUST(shim_run(check_body, jsonb, &error) == fits);
	MUST(fits || strcmp(error.sqlstate, "SX018") == 0);
	MUST(asynx_value_deeper(&root, depth - 1));
	MUST(!asynx_value_deeper(&root, depth));
}

/* Reads a document, and writes it again. */
void
fuzz_one(Input input)
{
	int			choice = input_byte(&input);
	Tree	   *tree;
	Jsonb	   *jsonb;
	AsynxValue	root;

	asynx_max_document_depth = (choice & 2) ? 4 : ASYNX_DEFAULT_DOCUMENT_DEPTH;
	asynx_max_document_size = (choice & 4) ? 1 : ASYNX_DEFAULT_DOCUMENT_SIZE;
	if (choice & 1)
		tree = input_document(&input);
	else
	{
		input_is_chance(&input);
		tree = random_tree(500);
	}
	if (tree == NULL)
		return;

	jsonb = tree_to_jsonb(tree);
	root = asynx_value_root(jsonb);
	check_value(&root, tree);
	check_rewrite(jsonb);
	check_limits(jsonb, tree_levels(tree));
}
