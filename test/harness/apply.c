/*
 * apply.c
 *	  RFC 6902 on trees, as plainly as it can be written.
 *
 * The yardstick for the rooms under test: every value is copied, every pointer
 * followed from the root.  It knows no limits.
 */
#include "apply.h"

#include <ctype.h>

#define INVALID_PATCH "SX014"
#define PATCH_FAILED "SX015"
#define PATCH_TEST_FAILED "SX016"

/* A pointer's tokens, unescaped. */
typedef struct Path
{
	Bytes	   *tokens;
	int			count;
} Path;

/* Unescapes one token in place; false if it is malformed. */
static bool
unescape(Bytes *token)
{
	int			len = 0;

	for (int i = 0; i < token->len; i++)
	{
		char		c = token->data[i];

		if (c == '~')
		{
			char		code = i + 1 < token->len ? token->data[++i] : 'x';

			if (code != '0' && code != '1')
				return false;
			c = code == '0' ? '~' : '/';
		}
		token->data[len++] = c;
	}
	token->len = len;
	token->data[len] = '\0';
	return true;
}

/* Parses the pointer in a member of an operation; false if there is none. */
static bool
parse_path(Path *path, const Tree *operation, const char *member)
{
	Tree	   *text = tree_get(operation, member);
	const char *at;
	const char *end;

	path->count = 0;
	if (text == NULL || text->type != TREE_STRING)
		return false;
	if (text->bytes.len > 0 && text->bytes.data[0] != '/')
		return false;
	path->tokens = palloc(sizeof(Bytes) * (text->bytes.len + 1));
	end = text->bytes.data + text->bytes.len;
	for (at = text->bytes.data; at < end;)
	{
		const char *stop = memchr(at + 1, '/', end - at - 1);

		if (stop == NULL)
			stop = end;
		path->tokens[path->count] = tree_string(at + 1, stop - at - 1)->bytes;
		if (!unescape(&path->tokens[path->count++]))
			return false;
		at = stop;
	}
	return true;
}

/* The index that a token spells, at most `max`; -1 if none. */
static int
parse_index(const Bytes *token, int max)
{
	long		index = 0;

	if (token->len == 0 || (token->len > 1 && token->data[0] == '0'))
		return -1;
	for (int i = 0; i < token->len; i++)
	{
		if (!isdigit((unsigned char) token->data[i]))
			return -1;
		index = Min(index * 10 + token->data[i] - '0', 1000000000L);
	}
	return index <= max ? (int) index : -1;
}

/* The number of an existing child; negative if there is none. */
static int
child_index(const Tree *parent, const Bytes *token)
{
	if (parent->type == TREE_OBJECT)
		return tree_find(parent, token->data, token->len);
	if (parent->type == TREE_ARRAY)
		return parse_index(token, parent->count - 1);
	return -1;
}

/* Follows the first `count` tokens; NULL if they lead nowhere. */
static Tree *
follow(Tree *tree, const Path *path, int count)
{
	for (int i = 0; i < count; i++)
	{
		int			index = child_index(tree, &path->tokens[i]);

		if (index < 0)
			return NULL;
		tree = tree->children[index];
	}
	return tree;
}

/* Adds a value; false if there is no place for it. */
static bool
add(Tree **document, const Path *path, Tree *value)
{
	const Bytes *last;
	Tree	   *parent;
	int			index;

	if (path->count == 0)
	{
		*document = value;
		return true;
	}

	last = &path->tokens[path->count - 1];
	parent = follow(*document, path, path->count - 1);
	if (parent != NULL && parent->type == TREE_OBJECT)
	{
		tree_set(parent, last->data, last->len, value);
		return true;
	}
	if (parent == NULL || parent->type != TREE_ARRAY)
		return false;
	index = last->len == 1 && last->data[0] == '-' ? parent->count :
		parse_index(last, parent->count);
	if (index >= 0)
		tree_insert(parent, index, value);
	return index >= 0;
}

/* Takes a value (not the root) out; NULL if it is not there. */
static Tree *
take(Tree *document, const Path *path)
{
	Tree	   *parent = follow(document, path, path->count - 1);
	Tree	   *child = follow(document, path, path->count);

	if (child != NULL)
		tree_delete(parent, child_index(parent, &path->tokens[path->count - 1]));
	return child;
}

/* Puts a value in place of another; false if there is no other. */
static bool
replace(Tree **document, const Path *path, Tree *value)
{
	Tree	   *parent;

	if (follow(*document, path, path->count) == NULL)
		return false;
	if (path->count == 0)
	{
		*document = value;
		return true;
	}
	parent = follow(*document, path, path->count - 1);
	parent->children[child_index(parent, &path->tokens[path->count - 1])] = value;
	return true;
}

/* How many tokens two paths have in common from the start. */
static int
common_tokens(const Path *a, const Path *b)
{
	int			i = 0;

	while (i < a->count && i < b->count && a->tokens[i].len == b->tokens[i].len &&
		   memcmp(a->tokens[i].data, b->tokens[i].data, a->tokens[i].len) == 0)
		i++;
	return i;
}

/* Applies a move or a copy. */
static const char *
apply_transfer(Tree **document, const Path *from, const Path *path, bool move)
{
	int			common = common_tokens(from, path);
	Tree	   *value;

	if (move && common == from->count && path->count > common)
		return INVALID_PATCH;
	value = follow(*document, from, from->count);
	if (value == NULL)
		return PATCH_FAILED;
	if (move && common == from->count)
		return NULL;
	value = move ? take(*document, from) : tree_copy(value);
	return add(document, path, value) ? NULL : PATCH_FAILED;
}

/* Applies an operation that has a value. */
static const char *
apply_value(Tree **document, const char *op, const Path *path, const Tree *value)
{
	if (strcmp(op, "test") == 0)
	{
		Tree	   *found = follow(*document, path, path->count);

		if (found == NULL)
			return PATCH_FAILED;
		return tree_equal(found, value) ? NULL : PATCH_TEST_FAILED;
	}
	if (strcmp(op, "add") == 0)
		return add(document, path, tree_copy(value)) ? NULL : PATCH_FAILED;
	return replace(document, path, tree_copy(value)) ? NULL : PATCH_FAILED;
}

/* Applies one operation. */
const char *
apply_operation(Tree **document, const Tree *operation)
{
	Tree	   *op = operation->type == TREE_OBJECT ? tree_get(operation, "op") : NULL;
	Tree	   *value;
	const char *name;
	Path		path;
	Path		from;

	if (op == NULL || op->type != TREE_STRING || !parse_path(&path, operation, "path"))
		return INVALID_PATCH;

	name = op->bytes.data;
	value = tree_get(operation, "value");
	if (strcmp(name, "add") == 0 || strcmp(name, "replace") == 0 || strcmp(name, "test") == 0)
		return value == NULL ? INVALID_PATCH : apply_value(document, name, &path, value);
	if (strcmp(name, "move") == 0 || strcmp(name, "copy") == 0)
		return !parse_path(&from, operation, "from") ? INVALID_PATCH :
			apply_transfer(document, &from, &path, name[0] == 'm');
	if (strcmp(name, "remove") != 0 || path.count == 0)
		return INVALID_PATCH;
	return take(*document, &path) == NULL ? PATCH_FAILED : NULL;
}

/* Applies the operations one after the other; an error leaves the document half changed. */
const char *
apply_patch(Tree **document, const Tree *patch)
{
	if (patch->type != TREE_ARRAY)
		return INVALID_PATCH;
	for (int i = 0; i < patch->count; i++)
	{
		const char *sqlstate = apply_operation(document, patch->children[i]);

		if (sqlstate != NULL)
			return sqlstate;
	}
	return NULL;
}
