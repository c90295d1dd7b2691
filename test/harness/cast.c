/*
 * cast.c
 *	  As much of a backend as reading and printing JSON text needs besides the shim.
 *
 * The lexer is the server's own, from libpgcommon.  The casts go through the plain
 * parser of text.c, which also makes the numbers.
 */
#include "shim.h"

#include "cast.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "number.h"
#include "text.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

static long calls = 0;

/* Calls of jsonb_in() since the last question. */
long
cast_calls(void)
{
	long		before = calls;

	calls = 0;
	return before;
}

/* A text that must be JSON as a tree. */
static Tree *
parse_strictly(const char *string, int sqlstate)
{
	const char *error;
	Tree	   *tree = tree_parse(string, strlen(string), &error);

	if (tree == NULL)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("%s", error)));
	return tree;
}

/* The cast of text to jsonb. */
Datum
jsonb_in(PG_FUNCTION_ARGS)
{
	calls++;
	PG_RETURN_POINTER(tree_to_jsonb(parse_strictly(PG_GETARG_CSTRING(0),
												   ERRCODE_INVALID_TEXT_REPRESENTATION)));
}

/* The cast of text to numeric. */
Datum
numeric_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(parse_strictly(PG_GETARG_CSTRING(0),
									 ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE)->bytes.data);
}

/* The cast of numeric to text. */
Datum
numeric_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(number_to_text(PG_GETARG_POINTER(0)));
}

/* A number without a point. */
Numeric
int64_to_numeric(int64 value)
{
	return int64_div_fast_to_numeric(value, 0);
}

/* A number with so many digits behind the point. */
Numeric
int64_div_fast_to_numeric(int64 value, int scale)
{
	char		text[64];
	int			len = snprintf(text, sizeof(text), "%s%0*lld", value < 0 ? "-" : "", scale + 1,
							   (long long) (value < 0 ? -value : value));

	if (scale > 0)
	{
		memmove(text + len - scale + 1, text + len - scale, scale);
		text[len - scale] = '.';
		len++;
	}
	return (Numeric) tree_number(text, len)->bytes.data;
}

/* Everything is UTF-8. */
int
GetDatabaseEncoding(void)
{
	return PG_UTF8;
}

/* Copies bytes, and ends them. */
char *
pnstrdup(const char *in, Size len)
{
	char	   *copy = memcpy(palloc(len + 1), in, len);

	copy[len] = '\0';
	return copy;
}

/* A text as a C string. */
char *
text_to_cstring(const text *value)
{
	return pnstrdup(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* A string in memory of its own. */
StringInfo
makeStringInfo(void)
{
	StringInfo	str = palloc(sizeof(StringInfoData));

	initStringInfo(str);
	return str;
}

/* Empties a string. */
void
resetStringInfo(StringInfo str)
{
	str->data[0] = '\0';
	str->len = 0;
}

/* Appends a character. */
void
appendStringInfoChar(StringInfo str, char c)
{
	appendBinaryStringInfo(str, &c, 1);
}

/* Appends what is short. */
void
appendStringInfo(StringInfo str, const char *format,...)
{
	char		buffer[64];
	va_list		args;

	va_start(args, format);
	vsnprintf(buffer, sizeof(buffer), format, args);
	va_end(args);
	appendBinaryStringInfo(str, buffer, strlen(buffer));
}

/* Calls a function of one argument. */
Datum
DirectFunctionCall1Coll(PGFunction func, Oid collation, Datum arg1)
{
	return DirectFunctionCall2Coll(func, collation, arg1, (Datum) 0);
}

/* Calls a function of three, the first of which is all that matters. */
Datum
DirectFunctionCall3Coll(PGFunction func, Oid collation, Datum arg1, Datum arg2, Datum arg3)
{
	return DirectFunctionCall2Coll(func, collation, arg1, arg2);
}
