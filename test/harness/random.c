/*
 * random.c
 *	  Random documents, changes and patches, the same for the same seed.
 *
 * Names and scalars come from small pools, so that equal values meet often; the
 * pools hold what is easily got wrong: escapes, look-alikes of indexes, numbers
 * that differ in nothing but their scale, numbers beyond any machine type.
 */
#include "random.h"

#include "lib/stringinfo.h"

static const char *const names[] = {
	"a", "b", "c", "id", "name", "", "-", "0", "1", "01", "a/b", "m~n", "~1", "\"", "\xC3\xA9",
	"a rather long name, longer than any local buffer would like names to be, with a / and a ~"
};

static const char *const numbers[] = {
	"0", "1", "1.0", "-1", "10", "9999", "10000", "1e4", "0.1000", "0.0", "-0.0", "12.50",
	"123456789012345678901234567890", "9007199254740993", "1e400", "1e-400", "-1.5e-7",
	"0.00001", "100000000", "99999999.99990000"
};

/* Longer than a move of it. */
#define LONG_STRING \
	"a string of a hundred and more bytes, long enough that nobody would rather repeat it than " \
	"move it around"

static const char *const strings[] = {
	"", "x", "y", "1", "null", "\xF0\x9F\x99\x82", "some text", "tab\tquote\"backslash\\",
	LONG_STRING
};

/* What made-up strings and names are made of; all of them ask for care somewhere. */
static const char *const pieces[] = {
	"a", "b", "z", "0", "9", "/", "~", "~0", "~1", "\"", "\\", "\n", "\x01", "\x7F", " ", "-",
	"\xC3\xA4", "\xE6\xBC\xA2", "\xF0\x9F\x98\x80"
};

static uint64 state;
static const uint8 *source = NULL;
static Size source_left = 0;

/* Begins a sequence; neighbouring seeds give unrelated ones. */
void
random_seed(uint64 seed)
{
	state = seed * UINT64CONST(0x9E3779B97F4A7C15) + 1;
	source = NULL;
}

/* Lets a fuzzer decide. */
void
random_source(const uint8 *data, Size len)
{
	source = data;
	source_left = len;
}

/* The next one or two bytes of the source; zeros behind its end. */
static int
source_below(int n)
{
	int			value = 0;

	for (int bytes = n > 256 ? 2 : 1; bytes > 0 && source_left > 0; bytes--)
	{
		value = value << 8 | *source++;
		source_left--;
	}
	return value % n;
}

/* xorshift64*, good enough and the same everywhere; or what the source says. */
int
random_below(int n)
{
	if (source != NULL)
		return source_below(n);
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (int) ((state * UINT64CONST(0x2545F4914F6CDD1D) >> 33) % (uint64) n);
}

/* Made-up text, most often short. */
static const char *
random_text(void)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int count = random_below(random_below(16) == 0 ? 300 : 8); count > 0; count--)
	{
		const char *piece = pieces[random_below(lengthof(pieces))];

		appendBinaryStringInfo(&out, piece, strlen(piece));
	}
	return out.data;
}

/* A name of a member. */
static const char *
random_name(void)
{
	return random_below(8) == 0 ? random_text() : names[random_below(lengthof(names))];
}

/* Appends up to `most` digits, the first of which is no zero unless it is the only one. */
static void
append_digits(StringInfo out, int most)
{
	int			count = random_below(most);
	char		digit = '0' + random_below(10);

	appendBinaryStringInfo(out, &digit, 1);
	for (; count > 0 && digit != '0'; count--)
	{
		char		next = '0' + random_below(10);

		appendBinaryStringInfo(out, &next, 1);
	}
}

/* A made-up number: of any length, scale and size that JSON can spell. */
static const char *
random_number(void)
{
	StringInfoData out;

	initStringInfo(&out);
	if (random_below(3) == 0)
		appendBinaryStringInfo(&out, "-", 1);
	append_digits(&out, random_below(4) == 0 ? 40 : 6);
	if (random_below(3) == 0)
	{
		appendBinaryStringInfo(&out, ".0", random_below(4) == 0 ? 2 : 1);
		append_digits(&out, random_below(4) == 0 ? 40 : 4);
	}
	if (random_below(8) == 0)
	{
		appendBinaryStringInfo(&out, "e-", random_below(2) + 1);
		append_digits(&out, 3);
	}
	return out.data;
}

/* A scalar, most often a number. */
static Tree *
random_scalar(void)
{
	const char *text;

	switch (random_below(5))
	{
		case 0:
			return tree_create((TreeType) (TREE_NULL + random_below(3)));
		case 1:
			text = random_below(3) == 0 ? random_text() : strings[random_below(lengthof(strings))];
			return tree_string(text, strlen(text));
		default:
			text = random_below(3) == 0 ? random_number() : numbers[random_below(lengthof(numbers))];
			return tree_number(text, strlen(text));
	}
}

/* A value in so many containers. */
static Tree *
wrap(Tree *tree, int levels)
{
	for (; levels > 0; levels--)
	{
		Tree	   *outer = tree_create(random_below(2) == 0 ? TREE_ARRAY : TREE_OBJECT);

		if (outer->type == TREE_ARRAY)
			tree_insert(outer, 0, tree);
		else
			tree_set(outer, names[0], strlen(names[0]), tree);
		tree = outer;
	}
	return tree;
}

/* A document of any shape. */
Tree *
random_tree(int budget)
{
	Tree	   *tree;
	int			count;

	if (budget < 2 || random_below(6) == 0)
		return random_scalar();

	/* Now and then a deep one, or a flat container that needs several offsets. */
	if (random_below(60) == 0)
		return wrap(random_tree(budget / 2), random_below(60));
	count = random_below(20) == 0 ? random_below(Min(budget, 100)) : random_below(6);
	tree = tree_create(random_below(2) == 0 ? TREE_ARRAY : TREE_OBJECT);
	for (int i = 0; i < count; i++)
	{
		Tree	   *child = random_tree(budget / Max(count, 1));
		const char *name = random_name();

		if (tree->type == TREE_ARRAY)
			tree_insert(tree, tree->count, child);
		else
			tree_set(tree, name, strlen(name), child);
	}
	return tree;
}

/* A container of 60 to 200 children, small trees. */
static Tree *
random_wide_container(TreeType type)
{
	int			count = 60 + random_below(140);
	Tree	   *tree = tree_create(type);
	char		name[16];

	for (int i = 0; i < count; i++)
	{
		Tree	   *child = random_tree(random_below(4) == 0 ? 12 : 1);

		snprintf(name, sizeof(name), "%d", random_below(20000));
		if (type == TREE_ARRAY)
			tree_insert(tree, i, child);
		else
			tree_set(tree, name, strlen(name), child);
	}
	return tree;
}

/* A document with a wide array and a wide object, one of which may be all of it. */
Tree *
random_wide(void)
{
	Tree	   *document;

	switch (random_below(4))
	{
		case 0:
			return random_wide_container(TREE_ARRAY);
		case 1:
			return random_wide_container(TREE_OBJECT);
		default:
			document = tree_create(TREE_OBJECT);
			tree_set(document, "list", 4, random_wide_container(TREE_ARRAY));
			tree_set(document, "map", 3, random_wide_container(TREE_OBJECT));
			return document;
	}
}

/* An array of strings, a few of them equal. */
Tree *
random_list(void)
{
	int			count = random_below(30) == 0 ? 700 : random_below(20);
	Tree	   *list = tree_create(TREE_ARRAY);
	char		text[64];

	for (int i = 0; i < count; i++)
	{
		snprintf(text, sizeof(text), "element %d of a list, large enough", random_below(count + 3));
		tree_insert(list, i, tree_string(text, strlen(text)));
	}
	return list;
}

/* Takes elements out and puts them in elsewhere. */
void
random_shuffle(Tree *array)
{
	int			moves = array->count == 0 ? 0 : random_below(array->count + 2);

	for (; moves > 0; moves--)
	{
		int			from = random_below(array->count);
		Tree	   *child = array->children[from];

		tree_delete(array, from);
		tree_insert(array, random_below(array->count + 1), child);
	}
}

/* A container somewhere in the document that has children; NULL if none was met. */
static Tree *
random_container(Tree *tree)
{
	Tree	   *found = NULL;

	while (tree->count > 0)
	{
		found = tree;
		if (random_below(3) == 0)
			break;
		tree = tree->children[random_below(tree->count)];
	}
	return found;
}

/* Adds a random child to a container. */
static void
add_child(Tree *tree, Tree *child)
{
	const char *name = random_name();

	if (tree->type == TREE_ARRAY)
		tree_insert(tree, random_below(tree->count + 1), child);
	else
		tree_set(tree, name, strlen(name), child);
}

/* Does one of nine things to one container. */
void
random_change(Tree *document)
{
	Tree	   *tree = random_container(document);
	Tree	   *child;
	int			i;

	if (tree == NULL)
		return;
	i = random_below(tree->count);
	child = tree->children[i];
	switch (random_below(9))
	{
		case 0:					/* replace */
			tree->children[i] = random_tree(8);
			break;
		case 1:					/* remove */
			tree_delete(tree, i);
			break;
		case 2:					/* insert */
			add_child(tree, random_tree(8));
			break;
		case 3:					/* move, rename */
			tree_delete(tree, i);
			add_child(tree, child);
			break;
		case 4:					/* duplicate */
			add_child(tree, tree_copy(child));
			break;
		case 5:					/* swap */
			tree->children[i] = tree->children[0];
			tree->children[0] = child;
			break;
		case 6:					/* drop the first half */
			for (i = tree->count / 2; i > 0; i--)
				tree_delete(tree, 0);
			break;
		case 7:					/* nest */
			tree->children[i] = wrap(child, 1 + random_below(3));
			break;
		case 8:					/* unnest, or empty */
			if (child->count > 0)
				tree->children[i] = child->children[0];
			else
				tree->children[i] = tree_create(TREE_ARRAY + random_below(2));
			break;
	}
}

/* Appends blanks, most often none. */
static void
append_blanks(StringInfo out)
{
	static const char blanks[] = " \t\n\r";

	for (int count = random_below(8) == 0 ? random_below(4) : 0; count > 0; count--)
		appendBinaryStringInfo(out, &blanks[random_below(4)], 1);
}

/* Appends the quoted string that begins at `json`, some of it escaped; returns what follows. */
static const char *
append_quoted(StringInfo out, const char *json)
{
	char		escape[8];

	appendBinaryStringInfo(out, json++, 1);
	for (; *json != '"'; json++)
	{
		bool		escaped = *json == '\\';

		if (!escaped && (unsigned char) *json < 0x80 && random_below(16) == 0)
		{
			snprintf(escape, sizeof(escape), random_below(2) == 0 ? "\\u%04x" : "\\u%04X", *json);
			appendBinaryStringInfo(out, escape, 6);
			continue;
		}
		appendBinaryStringInfo(out, json, escaped ? 2 : 1);
		json += escaped;
	}
	appendBinaryStringInfo(out, json, 1);
	return json + 1;
}

/* JSON text written in another way; the first member of some objects stands there twice. */
char *
random_layout(const char *json)
{
	StringInfoData out;

	initStringInfo(&out);
	while (*json != '\0')
	{
		if (*json == '"')
			json = append_quoted(&out, json);
		else if (json[0] == '{' && json[1] == '"' && random_below(8) == 0)
		{
			appendBinaryStringInfo(&out, json, 1);
			append_quoted(&out, ++json);
			appendBinaryStringInfo(&out, ":[null],", 8);
		}
		else
		{
			bool		structural = strchr("{}[],:", *json) != NULL;

			if (structural)
				append_blanks(&out);
			appendBinaryStringInfo(&out, json++, 1);
			if (structural)
				append_blanks(&out);
		}
	}
	return out.data;
}

/* Damages a text in a few places. */
char *
random_damage(const char *json)
{
	static const char *const damages[] = {
		"{", "}", "[", "]", ",", ":", "\"", "\\", "\\u00", "\\ud83d", "\\u0000", "0", "-", ".", "e",
		"E+", "1e99999", "null", "tru", " ", "\x01", "\n", "//"
	};
	StringInfoData out;
	int			left = 1 + random_below(3);
	int			len = (int) strlen(json);

	initStringInfo(&out);
	for (int i = 0; i < len; i++)
	{
		const char *damage = damages[random_below(lengthof(damages))];
		bool		here = left > 0 && random_below(len / 2 + 1) == 0;

		left -= here;
		if (here && random_below(2) == 0)
			appendBinaryStringInfo(&out, damage, strlen(damage));
		if (here && random_below(20) == 0)
			break;
		if (!here || random_below(2) == 0)
			appendBinaryStringInfo(&out, json + i, 1);
	}
	return out.data;
}

/* Appends a token, escaped (sometimes badly). */
static void
append_token(StringInfo pointer, const char *token, int len)
{
	appendBinaryStringInfo(pointer, "/", 1);
	for (int i = 0; i < len; i++)
	{
		bool		special = token[i] == '~' || token[i] == '/';

		if (special && random_below(50) > 0)
			appendBinaryStringInfo(pointer, token[i] == '~' ? "~0" : "~1", 2);
		else
			appendBinaryStringInfo(pointer, token + i, 1);
	}
}

/* Appends a token that need not fit anything. */
static void
append_wild_token(StringInfo pointer)
{
	static const char *const wild[] = {"-", "0", "1", "2", "00", "-1", "18446744073709551616",
	"1e0", "2147483648", "4294967296"};
	const char *token = random_below(2) == 0 ? random_name() : wild[random_below(lengthof(wild))];

	append_token(pointer, token, strlen(token));
}

/* A pointer to somewhere in the document, or close by; `target` is what it should lead to. */
static Tree *
random_pointer(const Tree *tree, const Tree **target)
{
	StringInfoData pointer;
	char		index[16];

	initStringInfo(&pointer);
	while (tree->count > 0 && random_below(4) > 0)
	{
		int			i = random_below(tree->count);

		snprintf(index, sizeof(index), "%d", i);
		if (tree->type == TREE_ARRAY)
			append_token(&pointer, index, strlen(index));
		else
			append_token(&pointer, tree->keys[i].data, tree->keys[i].len);
		tree = tree->children[i];
	}
	*target = tree;
	if (random_below(3) == 0)
		append_wild_token(&pointer);
	if (random_below(200) == 199)
		appendBinaryStringInfo(&pointer, "~", 1);
	return tree_string(pointer.data, pointer.len);
}

/* A pointer, whatever it leads to. */
Tree *
random_place(const Tree *document)
{
	const Tree *target;

	return random_pointer(document, &target);
}

/* Sets a member of an operation; now and then forgets to. */
static void
set_member(Tree *operation, const char *name, Tree *value)
{
	if (random_below(200) < 199)
		tree_set(operation, name, strlen(name), value);
}

/* One operation on the document. */
static Tree *
random_operation(const Tree *document)
{
	static const char *const ops[] = {"add", "add", "add", "remove", "replace", "replace",
	"move", "move", "copy", "test", "nop"};
	const char *op = ops[random_below(random_below(50) == 0 ? lengthof(ops) : lengthof(ops) - 1)];
	Tree	   *operation = tree_create(TREE_OBJECT);
	const Tree *target;

	set_member(operation, "op", tree_string(op, strlen(op)));
	set_member(operation, "path", random_pointer(document, &target));
	if (op[0] == 'm' || op[0] == 'c' || random_below(10) == 0)
		set_member(operation, "from", random_pointer(document, &target));
	if (strcmp(op, "test") == 0 && random_below(3) > 0)
		set_member(operation, "value", tree_copy(target));
	else if (op[0] == 'a' || op[0] == 't' || strcmp(op, "replace") == 0)
		set_member(operation, "value", random_tree(8));
	return operation;
}

/* Up to three operations; now and then something that is no patch. */
Tree *
random_patch(const Tree *document)
{
	Tree	   *patch = tree_create(TREE_ARRAY);
	int			count = random_below(4);

	for (int i = 0; i < count; i++)
		tree_insert(patch, i, random_operation(document));
	return random_below(500) == 499 ? tree_create(TREE_OBJECT) : patch;
}
