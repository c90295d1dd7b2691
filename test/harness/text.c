/*
 * text.c
 *	  JSON documents as trees: from and to text, from and to jsonb.
 *
 * The parser is strict (RFC 8259), keeps the last of several equal members, as
 * jsonb does, and refuses \u0000, which jsonb cannot hold.  The jsonb is built
 * bottom-up, each container in a buffer of its own, straight from the rules in
 * the server's jsonb.h: as unlike our own writer as possible.
 */
#include "text.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "number.h"

/* Largest exponent of a number, either way; numeric can hold a little more. */
#define MAX_EXPONENT 9999

/* A text being parsed; `error` ends everything. */
typedef struct Parser
{
	const char *at;
	const char *end;
	const char *error;
} Parser;

static Tree *parse_value(Parser *parser);
static void print_value(StringInfo out, const Tree *tree);
static void encode_value(StringInfo out, const Tree *tree);
static Tree *decode_container(const JsonbContainer *container);

/* A value without bytes or children. */
Tree *
tree_create(TreeType type)
{
	Tree	   *tree = palloc0(sizeof(Tree));

	tree->type = type;
	return tree;
}

/* A scalar with bytes. */
static Tree *
create_scalar(TreeType type, const char *data, int len)
{
	Tree	   *tree = tree_create(type);

	tree->bytes.data = palloc(len + 1);
	memcpy(tree->bytes.data, data, len);
	tree->bytes.data[len] = '\0';
	tree->bytes.len = len;
	return tree;
}

/* A string. */
Tree *
tree_string(const char *data, int len)
{
	return create_scalar(TREE_STRING, data, len);
}

/* A number, from its text. */
Tree *
tree_number(const char *text, int len)
{
	Tree	   *tree = tree_create(TREE_NUMBER);

	tree->bytes.len = number_from_text(text, len, NULL);
	tree->bytes.data = palloc(tree->bytes.len);
	number_from_text(text, len, tree->bytes.data);
	return tree;
}

/* Makes room for one more child. */
static void
reserve_child(Tree *tree)
{
	if (tree->count < tree->capacity)
		return;
	if (tree->capacity == 0)
	{
		tree->capacity = 4;
		tree->children = palloc(sizeof(Tree *) * tree->capacity);
		tree->keys = palloc(sizeof(Bytes) * tree->capacity);
		return;
	}
	tree->capacity *= 2;
	tree->children = repalloc(tree->children, sizeof(Tree *) * tree->capacity);
	tree->keys = repalloc(tree->keys, sizeof(Bytes) * tree->capacity);
}

/* Inserts an element; the key of a member is for the caller to set. */
void
tree_insert(Tree *array, int index, Tree *child)
{
	reserve_child(array);
	memmove(array->children + index + 1, array->children + index,
			sizeof(Tree *) * (array->count - index));
	memmove(array->keys + index + 1, array->keys + index,
			sizeof(Bytes) * (array->count - index));
	array->children[index] = child;
	array->count++;
}

/* Takes a child out. */
void
tree_delete(Tree *container, int index)
{
	container->count--;
	memmove(container->children + index, container->children + index + 1,
			sizeof(Tree *) * (container->count - index));
	memmove(container->keys + index, container->keys + index + 1,
			sizeof(Bytes) * (container->count - index));
}

/* jsonb's order of keys. */
static int
compare_keys(const Bytes *key, const char *data, int len)
{
	return key->len != len ? key->len - len : memcmp(key->data, data, len);
}

/* The number of a member; that of the one it would precede, as -1 - number, if there is none. */
int
tree_find(const Tree *object, const char *key, int len)
{
	for (int i = 0; i < object->count; i++)
	{
		int			order = compare_keys(&object->keys[i], key, len);

		if (order >= 0)
			return order == 0 ? i : -1 - i;
	}
	return -1 - object->count;
}

/* A member by name, NULL if there is none. */
Tree *
tree_get(const Tree *object, const char *key)
{
	int			index = tree_find(object, key, strlen(key));

	return index < 0 ? NULL : object->children[index];
}

/* Adds or replaces a member. */
void
tree_set(Tree *object, const char *key, int len, Tree *child)
{
	int			index = tree_find(object, key, len);

	if (index < 0)
	{
		index = -1 - index;
		tree_insert(object, index, child);
		object->keys[index] = tree_string(key, len)->bytes;
	}
	object->children[index] = child;
}

/* A copy that shares nothing. */
Tree *
tree_copy(const Tree *tree)
{
	Tree	   *copy;

	if (tree->type == TREE_STRING || tree->type == TREE_NUMBER)
		return create_scalar(tree->type, tree->bytes.data, tree->bytes.len);

	copy = tree_create(tree->type);
	for (int i = 0; i < tree->count; i++)
	{
		tree_insert(copy, i, tree_copy(tree->children[i]));
		if (tree->type == TREE_OBJECT)
			copy->keys[i] = tree_string(tree->keys[i].data, tree->keys[i].len)->bytes;
	}
	return copy;
}

/* RFC 6902's equality. */
bool
tree_equal(const Tree *a, const Tree *b)
{
	if (a->type != b->type || a->count != b->count)
		return false;
	if (a->type == TREE_STRING)
		return a->bytes.len == b->bytes.len &&
			memcmp(a->bytes.data, b->bytes.data, a->bytes.len) == 0;
	if (a->type == TREE_NUMBER)
		return number_equal(a->bytes.data, b->bytes.data);
	for (int i = 0; i < a->count; i++)
	{
		if (a->type == TREE_OBJECT &&
			compare_keys(&a->keys[i], b->keys[i].data, b->keys[i].len) != 0)
			return false;
		if (!tree_equal(a->children[i], b->children[i]))
			return false;
	}
	return true;
}

/* Levels of nesting; a scalar has none. */
int
tree_levels(const Tree *tree)
{
	int			deepest = 0;

	if (tree->type < TREE_ARRAY)
		return 0;
	for (int i = 0; i < tree->count; i++)
	{
		int			below = tree_levels(tree->children[i]);

		deepest = Max(deepest, below);
	}
	return deepest + 1;
}

/* Notes the first error and ends the text. */
static void
parse_error(Parser *parser, const char *error)
{
	if (parser->error == NULL)
		parser->error = error;
	parser->at = parser->end;
}

/* The next character, NUL at the end. */
static char
peek(const Parser *parser)
{
	return parser->at < parser->end ? *parser->at : '\0';
}

/* Skips what may stand between tokens. */
static void
skip_blanks(Parser *parser)
{
	while (peek(parser) != '\0' && strchr(" \t\n\r", peek(parser)) != NULL)
		parser->at++;
}

/* Takes a character if it comes next, after blanks. */
static bool
accept(Parser *parser, char c)
{
	skip_blanks(parser);
	if (peek(parser) != c)
		return false;
	parser->at++;
	return true;
}

/* Takes a character that must come next. */
static void
expect(Parser *parser, char c)
{
	if (!accept(parser, c))
		parse_error(parser, "unexpected character");
}

/* Reads the four hexadecimal digits after \u. */
static unsigned
parse_hex(Parser *parser)
{
	unsigned	value = 0;

	for (int i = 0; i < 4; i++, parser->at++)
	{
		char		c = peek(parser);

		if (!isxdigit((unsigned char) c))
		{
			parse_error(parser, "invalid \\u escape");
			return 0xFFFD;
		}
		value = value * 16 + (isdigit((unsigned char) c) ? c - '0' : (c | 32) - 'a' + 10);
	}
	return value;
}

/* Appends a character. */
static void
append_utf8(StringInfo out, unsigned c)
{
	char		bytes[4];
	int			len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};

	for (int i = len - 1; i > 0; i--, c >>= 6)
		bytes[i] = 0x80 | (c & 0x3F);
	bytes[0] = lead[len] | c;
	appendBinaryStringInfo(out, bytes, len);
}

/* Reads what follows \u: one escape, or two that form a pair. */
static void
parse_unicode(Parser *parser, StringInfo out)
{
	unsigned	c = parse_hex(parser);

	if (c >= 0xD800 && c < 0xDC00 && parser->end - parser->at >= 6 &&
		parser->at[0] == '\\' && parser->at[1] == 'u')
	{
		unsigned	low;

		parser->at += 2;
		low = parse_hex(parser);
		c = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00) : 0;
	}
	if (c == 0 || (c >= 0xD800 && c < 0xE000))
		parse_error(parser, "character that jsonb cannot hold");
	else
		append_utf8(out, c);
}

/* Reads what follows a backslash. */
static void
parse_escape(Parser *parser, StringInfo out)
{
	static const char codes[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	char		c = peek(parser);
	const char *found = c == '\0' ? NULL : strchr(codes, c);

	parser->at++;
	if (c == 'u')
		parse_unicode(parser, out);
	else if (found != NULL)
		appendBinaryStringInfo(out, &meanings[found - codes], 1);
	else
		parse_error(parser, "invalid escape");
}

/* Reads a string. */
static Bytes
parse_string(Parser *parser)
{
	StringInfoData out;

	initStringInfo(&out);
	expect(parser, '"');
	while (parser->error == NULL && peek(parser) != '"')
	{
		const char *start = parser->at;

		if ((unsigned char) peek(parser) < 0x20)
			parse_error(parser, "unterminated string");
		else if (*parser->at++ == '\\')
			parse_escape(parser, &out);
		else
			appendBinaryStringInfo(&out, start, 1);
	}
	if (parser->error == NULL)
		parser->at++;
	return (Bytes) {out.data, out.len};
}

/* Skips digits, at least one. */
static void
skip_digits(Parser *parser)
{
	if (!isdigit((unsigned char) peek(parser)))
		parse_error(parser, "digit expected");
	while (isdigit((unsigned char) peek(parser)))
		parser->at++;
}

/* A number from its text; one with an exponent that numeric would refuse is an error. */
static Tree *
make_number(Parser *parser, const char *text, int len)
{
	char	   *copy = tree_string(text, len)->bytes.data;
	const char *exponent = strpbrk(copy, "eE");

	if (exponent != NULL && labs(strtol(exponent + 1, NULL, 10)) > MAX_EXPONENT)
		parse_error(parser, "number that jsonb cannot hold");
	return parser->error == NULL ? tree_number(copy, len) : NULL;
}

/* Reads a number; JSON's grammar is stricter than strtod(). */
static Tree *
parse_number(Parser *parser)
{
	const char *start = parser->at;

	if (peek(parser) == '-')
		parser->at++;
	if (peek(parser) == '0')
		parser->at++;
	else
		skip_digits(parser);
	if (peek(parser) == '.')
	{
		parser->at++;
		skip_digits(parser);
	}
	if ((peek(parser) | 32) == 'e')
	{
		parser->at++;
		if (peek(parser) == '+' || peek(parser) == '-')
			parser->at++;
		skip_digits(parser);
	}
	return parser->error == NULL ? make_number(parser, start, parser->at - start) : NULL;
}

/* Reads an array. */
static Tree *
parse_array(Parser *parser)
{
	Tree	   *array = tree_create(TREE_ARRAY);

	expect(parser, '[');
	if (accept(parser, ']'))
		return array;
	do
		tree_insert(array, array->count, parse_value(parser));
	while (accept(parser, ','));
	expect(parser, ']');
	return array;
}

/* Reads an object. */
static Tree *
parse_object(Parser *parser)
{
	Tree	   *object = tree_create(TREE_OBJECT);

	expect(parser, '{');
	if (accept(parser, '}'))
		return object;
	do
	{
		Bytes		key = parse_string(parser);

		expect(parser, ':');
		tree_set(object, key.data, key.len, parse_value(parser));
	} while (accept(parser, ','));
	expect(parser, '}');
	return object;
}

/* Reads null, true or false. */
static Tree *
parse_word(Parser *parser)
{
	static const char *const words[] = {"null", "false", "true"};

	for (int i = 0; i < (int) lengthof(words); i++)
	{
		int			len = strlen(words[i]);

		if (parser->end - parser->at >= len && memcmp(parser->at, words[i], len) == 0)
		{
			parser->at += len;
			return tree_create((TreeType) (TREE_NULL + i));
		}
	}
	parse_error(parser, "value expected");
	return tree_create(TREE_NULL);
}

/* Reads any value. */
static Tree *
parse_value(Parser *parser)
{
	Bytes		bytes;

	check_stack_depth();
	skip_blanks(parser);
	switch (peek(parser))
	{
		case '[':
			return parse_array(parser);
		case '{':
			return parse_object(parser);
		case '"':
			bytes = parse_string(parser);
			return tree_string(bytes.data, bytes.len);
		case '-':
		case '0' ... '9':
			return parse_number(parser);
		default:
			return parse_word(parser);
	}
}

/* Reads a text that must be one value. */
Tree *
tree_parse(const char *text, Size len, const char **error)
{
	Parser		parser = {text, text + len, NULL};
	Tree	   *tree = parse_value(&parser);

	skip_blanks(&parser);
	if (parser.error == NULL && parser.at != parser.end)
		parser.error = "more than one value";
	*error = parser.error;
	return parser.error == NULL ? tree : NULL;
}

/* Appends a C string. */
static void
append_text(StringInfo out, const char *text)
{
	appendBinaryStringInfo(out, text, strlen(text));
}

/* Prints a string, escaped where it must be. */
static void
print_string(StringInfo out, const Bytes *bytes)
{
	static const char special[] = "\"\\\b\f\n\r\t";
	static const char codes[] = "\"\\bfnrt";

	append_text(out, "\"");
	for (int i = 0; i < bytes->len; i++)
	{
		unsigned char c = bytes->data[i];
		const char *found = c == '\0' ? NULL : strchr(special, c);
		char		escape[8];

		if (found == NULL && c >= 0x20)
		{
			appendBinaryStringInfo(out, (char *) &c, 1);
			continue;
		}
		if (found != NULL)
			snprintf(escape, sizeof(escape), "\\%c", codes[found - special]);
		else
			snprintf(escape, sizeof(escape), "\\u%04x", c);
		append_text(out, escape);
	}
	append_text(out, "\"");
}

/* Prints an array or an object. */
static void
print_children(StringInfo out, const Tree *tree)
{
	append_text(out, tree->type == TREE_ARRAY ? "[" : "{");
	for (int i = 0; i < tree->count; i++)
	{
		if (i > 0)
			append_text(out, ",");
		if (tree->type == TREE_OBJECT)
		{
			print_string(out, &tree->keys[i]);
			append_text(out, ":");
		}
		print_value(out, tree->children[i]);
	}
	append_text(out, tree->type == TREE_ARRAY ? "]" : "}");
}

/* Prints any value. */
static void
print_value(StringInfo out, const Tree *tree)
{
	static const char *const words[] = {"null", "false", "true"};

	if (tree->type <= TREE_TRUE)
		append_text(out, words[tree->type]);
	else if (tree->type == TREE_STRING)
		print_string(out, &tree->bytes);
	else if (tree->type == TREE_NUMBER)
		append_text(out, number_to_text(tree->bytes.data));
	else
		print_children(out, tree);
}

/* Prints a document without blanks. */
char *
tree_print(const Tree *tree)
{
	StringInfoData out;

	initStringInfo(&out);
	print_value(&out, tree);
	return out.data;
}

/* Appends zeros up to a multiple of four. */
static void
encode_padding(StringInfo out)
{
	while (out->len % 4 != 0)
		appendBinaryStringInfo(out, "\0", 1);
}

/* Appends four bytes. */
static void
encode_word(StringInfo out, uint32 word)
{
	appendBinaryStringInfo(out, (char *) &word, sizeof(word));
}

/* The type bits of a value's entry. */
static uint32
entry_type(const Tree *tree)
{
	static const uint32 types[] = {
		[TREE_NULL] = JENTRY_ISNULL,
		[TREE_FALSE] = JENTRY_ISBOOL_FALSE,
		[TREE_TRUE] = JENTRY_ISBOOL_TRUE,
		[TREE_STRING] = JENTRY_ISSTRING,
		[TREE_NUMBER] = JENTRY_ISNUMERIC,
		[TREE_ARRAY] = JENTRY_ISCONTAINER,
		[TREE_OBJECT] = JENTRY_ISCONTAINER,
	};

	return types[tree->type];
}

/* Appends one child's data to `data` and its entry to `entries`. */
static void
encode_child(StringInfo entries, StringInfo data, const Tree *tree)
{
	int			start = data->len;
	int			number = entries->len / (int) sizeof(JEntry);

	encode_value(data, tree);
	if (number % JB_OFFSET_STRIDE == 0)
		encode_word(entries, entry_type(tree) | JENTRY_HAS_OFF | data->len);
	else
		encode_word(entries, entry_type(tree) | (data->len - start));
}

/* Appends a container: header, entries, data. */
static void
encode_container(StringInfo out, const Tree *tree, uint32 flags)
{
	StringInfoData entries;
	StringInfoData data;

	initStringInfo(&entries);
	initStringInfo(&data);
	for (int i = 0; tree->type == TREE_OBJECT && i < tree->count; i++)
		encode_child(&entries, &data, tree_string(tree->keys[i].data, tree->keys[i].len));
	for (int i = 0; i < tree->count; i++)
		encode_child(&entries, &data, tree->children[i]);

	encode_padding(out);
	encode_word(out, tree->count | flags);
	appendBinaryStringInfo(out, entries.data, entries.len);
	appendBinaryStringInfo(out, data.data, data.len);
	pfree(entries.data);
	pfree(data.data);
}

/* Appends a value's data. */
static void
encode_value(StringInfo out, const Tree *tree)
{
	if (tree->type == TREE_NUMBER)
		encode_padding(out);
	if (tree->type == TREE_STRING || tree->type == TREE_NUMBER)
		appendBinaryStringInfo(out, tree->bytes.data, tree->bytes.len);
	if (tree->type == TREE_ARRAY)
		encode_container(out, tree, JB_FARRAY);
	if (tree->type == TREE_OBJECT)
		encode_container(out, tree, JB_FOBJECT);
}

/* Builds a document's jsonb. */
Jsonb *
tree_to_jsonb(const Tree *tree)
{
	StringInfoData out;
	Jsonb	   *jsonb;

	initStringInfo(&out);
	if (tree->type < TREE_ARRAY)
	{
		Tree		array = {.type = TREE_ARRAY, .children = (Tree **) &tree, .count = 1};

		encode_container(&out, &array, JB_FARRAY | JB_FSCALAR);
	}
	else
		encode_value(&out, tree);

	/* A chunk of exactly its size, so that reading beyond it is noticed. */
	jsonb = palloc(VARHDRSZ + out.len);
	memcpy(&jsonb->root, out.data, out.len);
	SET_VARSIZE(jsonb, VARHDRSZ + out.len);
	pfree(out.data);
	return jsonb;
}

/* The value of one entry, whose data is at `start`. */
static Tree *
decode_value(JEntry entry, const char *base, uint32 start, uint32 end)
{
	uint32		aligned = INTALIGN(start);

	switch (entry & JENTRY_TYPEMASK)
	{
		case JENTRY_ISSTRING:
			return tree_string(base + start, end - start);
		case JENTRY_ISNUMERIC:
			return create_scalar(TREE_NUMBER, base + aligned, end - aligned);
		case JENTRY_ISBOOL_FALSE:
			return tree_create(TREE_FALSE);
		case JENTRY_ISBOOL_TRUE:
			return tree_create(TREE_TRUE);
		case JENTRY_ISNULL:
			return tree_create(TREE_NULL);
		default:
			return decode_container((const JsonbContainer *) (base + aligned));
	}
}

/* A container; its children's data begins at a multiple of four. */
static Tree *
decode_container(const JsonbContainer *container)
{
	bool		is_object = JsonContainerIsObject(container);
	int			count = JsonContainerSize(container);
	int			entries = is_object ? count * 2 : count;
	const char *base = (const char *) &container->children[entries];
	Tree	   *tree = tree_create(is_object ? TREE_OBJECT : TREE_ARRAY);
	Bytes	   *keys = palloc(sizeof(Bytes) * Max(count, 1));
	uint32		end = 0;

	for (int i = 0; i < entries; i++)
	{
		uint32		start = end;
		Tree	   *child;

		JBE_ADVANCE_OFFSET(end, container->children[i]);
		child = decode_value(container->children[i], base, start, end);
		if (is_object && i < count)
			keys[i] = child->bytes;
		else if (is_object)
			tree_set(tree, keys[i - count].data, keys[i - count].len, child);
		else
			tree_insert(tree, i, child);
	}
	return tree;
}

/* Reads a document's jsonb. */
Tree *
tree_from_jsonb(const Jsonb *jsonb)
{
	Tree	   *tree = decode_container(&jsonb->root);

	return JsonContainerIsScalar(&jsonb->root) ? tree->children[0] : tree;
}
