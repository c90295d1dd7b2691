/*
 * pointer.c
 *	  Room pointer: syntax, comparing, indexes, and asynx.json_pointer.
 *
 * A pointer's tokens can be spelled in one way only, so comparing tokens must come
 * to the same as comparing the texts.
 */
#include "fuzz.h"

#include "pointer.h"

extern Datum asynx_json_pointer(PG_FUNCTION_ARGS);

/* Most bytes of a pointer that the fuzzer spells out. */
#define MOST_BYTES 400

/* Is a text what RFC 6901's grammar describes? */
static bool
is_pointer(const Bytes *text)
{
	if (text->len > 0 && text->data[0] != '/')
		return false;
	for (int i = 0; i < text->len; i++)
	{
		if (text->data[i] == '~' &&
			(i + 1 == text->len || (text->data[i + 1] != '0' && text->data[i + 1] != '1')))
			return false;
	}
	return true;
}

/* Bytes that the fuzzer spells out, as many as it likes; no NUL, which no text has. */
static Tree *
spelled_text(Input *input)
{
	int			len = input_byte(input) * 2;
	char		bytes[MOST_BYTES];

	len = (int) Min((Size) Min(len, MOST_BYTES), input->len);
	for (int i = 0; i < len; i++)
	{
		bytes[i] = input_byte(input);
		if (bytes[i] == '\0')
			bytes[i] = '/';
	}
	return tree_string(bytes, len);
}

/* Does the text begin with what the other is, and a slash behind it? */
static bool
is_inside(const Bytes *inner, const Bytes *outer)
{
	return inner->len > outer->len && memcmp(inner->data, outer->data, outer->len) == 0 &&
		inner->data[outer->len] == '/';
}

/* Two pointers compare as their texts do. */
static void
check_pair(const Bytes *a, const Bytes *b)
{
	AsynxPointer x;
	AsynxPointer y;

	asynx_pointer_init(&x);
	asynx_pointer_init(&y);
	MUST((asynx_pointer_parse(&x, a->data, a->len) == NULL) == is_pointer(a));
	MUST((asynx_pointer_parse(&y, b->data, b->len) == NULL) == is_pointer(b));
	if (is_pointer(a) && is_pointer(b))
	{
		MUST(asynx_pointer_same(&x, &y) ==
			 (a->len == b->len && memcmp(a->data, b->data, a->len) == 0));
		MUST(asynx_pointer_inside(&x, &y) == is_inside(a, b));
		MUST(asynx_pointer_inside(&y, &x) == is_inside(b, a));
	}

	/* A pointer is parsed again and again. */
	MUST((asynx_pointer_parse(&x, b->data, b->len) == NULL) == is_pointer(b));
	MUST(!is_pointer(b) || asynx_pointer_same(&x, &y));
	asynx_pointer_free(&x);
	asynx_pointer_free(&y);
}

/* A text is an index exactly if printing the number gives it back. */
static void
check_index(const Bytes *text)
{
	uint32		index = 0;
	bool		is_index = asynx_token_index(text->data, &index);
	int			digits = strspn(text->data, "0123456789");
	char		printed[16];

	MUST(is_index == (digits > 0 && digits == text->len && (digits == 1 || *text->data != '0')));
	if (is_index && digits < 10)
	{
		snprintf(printed, sizeof(printed), "%u", index);
		MUST(strcmp(printed, text->data) == 0);
	}
	else if (is_index)
		MUST(index == PG_UINT32_MAX);
}

/* json_pointer() finds what "copy" finds. */
static void
check_lookup(const Tree *document, Tree *pointer)
{
	Tree	   *copy = tree_create(TREE_OBJECT);
	Tree	   *found = tree_copy(document);
	Call		call = call_function(asynx_json_pointer, tree_to_jsonb(document),
									 make_text(pointer));
	const char *sqlstate;

	tree_set(copy, "op", 2, tree_string("copy", 4));
	tree_set(copy, "from", 4, pointer);
	tree_set(copy, "path", 4, tree_string("", 0));
	sqlstate = apply_operation(&found, copy);
	if (!is_pointer(&pointer->bytes))
		MUST(strcmp(call.error.sqlstate, "22023") == 0);
	else if (sqlstate == NULL)
		MUST(call.result != NULL && same_jsonb(call.result, tree_to_jsonb(found)));
	else
		MUST(call.result == NULL && call.error.sqlstate[0] == '\0');
}

/* Two pointers and a document. */
void
fuzz_one(Input input)
{
	Tree	   *a = spelled_text(&input);
	Tree	   *b = spelled_text(&input);
	Tree	   *document;

	input_is_chance(&input);
	document = random_tree(60);
	check_pair(&a->bytes, &b->bytes);
	check_index(&a->bytes);
	check_lookup(document, a);
	check_lookup(document, b);
	check_lookup(document, random_place(document));
}
