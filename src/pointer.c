/*
 * pointer.c
 *	  RFC 6901: syntax of JSON pointers, and asynx.json_pointer.
 *
 * A pointer is parsed once into its unescaped tokens, each ended by a NUL (which
 * no jsonb string and no text can contain).  "/a~1b/c" becomes "a/b\0c\0": one
 * buffer, never longer than the text, and tokens that json-c can look up.  Two
 * pointers that spell the same tokens differently have the same bytes there,
 * and one is inside the other exactly if the other's bytes are its prefix.
 */
#include "asynx.h"

#include "fmgr.h"
#include "jsonbwriter.h"
#include "mb/pg_wchar.h"
#include "pointer.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(asynx_json_pointer);

/* Digits of the longest index that can exist in a jsonb. */
#define MAX_INDEX_DIGITS 9

/* Prepares a pointer for parsing. */
void
asynx_pointer_init(AsynxPointer *pointer)
{
	pointer->text = NULL;
	pointer->text_len = 0;
	pointer->tokens = pointer->local;
	pointer->len = 0;
	pointer->count = 0;
	pointer->capacity = sizeof(pointer->local);
}

/* Frees what parsing long pointers has allocated. */
void
asynx_pointer_free(AsynxPointer *pointer)
{
	if (pointer->tokens != pointer->local)
		pfree(pointer->tokens);
	asynx_pointer_init(pointer);
}

/* Makes room for `len` bytes of tokens; what was there is lost. */
static void
pointer_reserve(AsynxPointer *pointer, uint32 len)
{
	if (len <= pointer->capacity)
		return;

	asynx_pointer_free(pointer);
	pointer->tokens = palloc(len);
	pointer->capacity = len;
}

/* The character that "~" and `code` stand for; NUL if they stand for nothing. */
static inline char
unescape(char code)
{
	return code == '0' ? '~' : code == '1' ? '/' : '\0';
}

/* Parses a pointer; NULL, or a sentence that says what is wrong with it. */
const char *
asynx_pointer_parse(AsynxPointer *pointer, const char *text, uint32 len)
{
	const char *end = text + len;
	char	   *out;

	pointer_reserve(pointer, len);
	pointer->text = text;
	pointer->text_len = len;
	pointer->count = 0;
	pointer->len = 0;
	if (len == 0)
		return NULL;
	if (*text++ != '/')
		return "A pointer is empty or starts with \"/\".";

	out = pointer->tokens;
	for (; text < end; text++)
	{
		char		c = *text;

		if (c == '/')
		{
			c = '\0';
			pointer->count++;
		}
		else if (c == '~')
		{
			if (++text == end || (c = unescape(*text)) == '\0')
				return "\"~\" must be followed by \"0\" or \"1\".";
		}
		*out++ = c;
	}
	*out++ = '\0';
	pointer->count++;
	pointer->len = (uint32) (out - pointer->tokens);
	return NULL;
}

/* Does `inner` point to something inside of what `outer` points to? */
bool
asynx_pointer_inside(const AsynxPointer *inner, const AsynxPointer *outer)
{
	return inner->len > outer->len && memcmp(inner->tokens, outer->tokens, outer->len) == 0;
}

/* Do both have the same tokens? */
bool
asynx_pointer_same(const AsynxPointer *a, const AsynxPointer *b)
{
	return a->len == b->len && memcmp(a->tokens, b->tokens, a->len) == 0;
}

/* Reads an array index: "0", or digits without a leading zero; one too large stays too large. */
bool
asynx_token_index(const char *token, uint32 *index)
{
	const char *digit = token;
	uint32		value = 0;

	for (; *digit >= '0' && *digit <= '9'; digit++)
	{
		if (digit - token < MAX_INDEX_DIGITS)
			value = value * 10 + (uint32) (*digit - '0');
	}
	if (*digit != '\0' || digit == token || (*token == '0' && digit > token + 1))
		return false;

	*index = digit - token > MAX_INDEX_DIGITS ? PG_UINT32_MAX : value;
	return true;
}

/* Goes from a value to its child `token`. */
static AsynxOutcome
step(AsynxValue *value, const char *token)
{
	AsynxValue	parent = *value;
	uint32		index;

	if (parent.tag == ASYNX_OBJECT)
		return asynx_value_member(&parent, token, (uint32) strlen(token), value) ?
			ASYNX_FOUND : ASYNX_NO_MEMBER;
	if (parent.tag != ASYNX_ARRAY)
		return ASYNX_NOT_A_CONTAINER;
	if (asynx_token_is_end(token))
		return ASYNX_NO_ELEMENT;
	if (!asynx_token_index(token, &index))
		return ASYNX_NOT_AN_INDEX;
	return asynx_value_element(&parent, index, value) ? ASYNX_FOUND : ASYNX_NO_ELEMENT;
}

/* Goes from a value to what `count` tokens, the first of which is `token`, lead to. */
AsynxOutcome
asynx_value_follow(AsynxValue *value, const char *token, uint32 count)
{
	AsynxOutcome outcome = ASYNX_FOUND;

	for (; count > 0 && outcome == ASYNX_FOUND; count--)
	{
		outcome = step(value, token);
		token = asynx_token_next(token);
	}
	return outcome;
}

/* Parses the argument of asynx.json_pointer. */
static void
parse_argument(AsynxPointer *pointer, const text *argument)
{
	const char *data = VARDATA_ANY(argument);
	int			len = (int) VARSIZE_ANY_EXHDR(argument);
	const char *complaint;

	asynx_pointer_init(pointer);
	complaint = asynx_pointer_parse(pointer, data, (uint32) len);
	if (complaint != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%.*s\" is not a JSON pointer",
						pg_mbcliplen(data, len, ASYNX_POINTER_LOCAL), data),
				 errdetail_internal("%s", complaint)));
}

/* asynx.json_pointer(document jsonb, pointer text): the value there, NULL if there is none. */
Datum
asynx_json_pointer(PG_FUNCTION_ARGS)
{
	Jsonb	   *document = PG_GETARG_JSONB_P(0);
	AsynxValue	value = asynx_value_root(document);
	AsynxPointer pointer;
	AsynxOutcome outcome;
	AsynxWriter writer;

	parse_argument(&pointer, PG_GETARG_TEXT_PP(1));
	outcome = asynx_value_follow(&value, pointer.tokens, pointer.count);
	asynx_pointer_free(&pointer);
	if (outcome != ASYNX_FOUND)
		PG_RETURN_NULL();

	asynx_writer_init(&writer, VARHDRSZ + 2 * sizeof(uint32) + value.len, ASYNX_JSONB_LIMIT);
	asynx_writer_root(&writer, &value);
	PG_RETURN_JSONB_P(asynx_writer_finish(&writer));
}
