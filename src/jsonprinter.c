/*
 * jsonprinter.c
 *	  Prints jsonb as text, faster than the server's cast and with its result.
 *
 * The layout is that of JsonbToCString(): a space behind each comma and colon, keys
 * in jsonb's order.  The text grows behind a place for its own header, so nothing is
 * copied in the end.
 */
#include "asynx.h"

#include "fmgr.h"
#include "jsonprinter.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "value.h"

static void print_value(StringInfo out, const AsynxValue *value);

/* Makes room for `len` bytes and returns the place; the caller adds what he has written. */
static inline char *
reserve(StringInfo out, uint32 len)
{
	if (unlikely((Size) out->maxlen - out->len <= len))
		enlargeStringInfo(out, (int) len);
	return out->data + out->len;
}

/* Appends bytes. */
static inline void
append(StringInfo out, const char *data, uint32 len)
{
	memcpy(reserve(out, len), data, len);
	out->len += (int) len;
}

/* Appends a character that may not stand in a string as it is. */
static void
append_escaped(StringInfo out, unsigned char c)
{
	static const char *const short_forms[] = {
		['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r",
		['"'] = "\\\"", ['\\'] = "\\\\"
	};

	if (short_forms[c] != NULL)
		append(out, short_forms[c], 2);
	else
		appendStringInfo(out, "\\u%04x", c);
}

/* Must a character be escaped? */
static inline bool
is_special(unsigned char c)
{
	return c < ' ' || c == '"' || c == '\\';
}

/* A word of eight times the same byte; a word with a bit set if a byte of the other is zero. */
#define EIGHT(byte) (UINT64CONST(0x0101010101010101) * (byte))
#define ZEROS(word) (((word) - EIGHT(1)) & ~(word) & EIGHT(0x80))

/* Must any of eight characters be escaped? */
static inline bool
has_special(uint64 word)
{
	uint64		controls = (word - EIGHT(' ')) & ~word & EIGHT(0x80);

	return (controls | ZEROS(word ^ EIGHT('"')) | ZEROS(word ^ EIGHT('\\'))) != 0;
}

/* Copies ordinary characters, eight at a time as far as there are as many; returns how many. */
static inline uint32
copy_ordinary(char *place, const char *data, uint32 len)
{
	uint32		done = 0;
	uint64		word;

	for (; len - done >= sizeof(word); done += sizeof(word))
	{
		memcpy(&word, data + done, sizeof(word));
		if (has_special(word))
			break;
		memcpy(place + done, &word, sizeof(word));
	}
	for (; done < len && !is_special((unsigned char) data[done]); done++)
		place[done] = data[done];
	return done;
}

/* Prints a string: runs of ordinary characters as they are. */
static void
print_string(StringInfo out, const AsynxValue *string)
{
	const char *data = string->data;
	uint32		left = string->len;

	*reserve(out, left + 2) = '"';
	out->len++;
	for (;;)
	{
		uint32		run = copy_ordinary(reserve(out, left + 1), data, left);

		out->len += (int) run;
		if (run == left)
			break;
		append_escaped(out, (unsigned char) data[run]);
		data += run + 1;
		left -= run + 1;
	}
	out->data[out->len++] = '"';
}

/* Prints a number with all the digits it was given. */
static void
print_number(StringInfo out, const AsynxValue *number)
{
	char	   *digits = DatumGetCString(DirectFunctionCall1(numeric_out,
															 PointerGetDatum(number->data)));

	append(out, digits, (uint32) strlen(digits));
	pfree(digits);
}

/* Prints an array. */
static void
print_array(StringInfo out, const AsynxValue *array)
{
	AsynxCursor cursor;
	AsynxValue	element;

	append(out, "[", 1);
	asynx_elements_begin(&cursor, array);
	while (asynx_cursor_next(&cursor, &element))
	{
		print_value(out, &element);
		if (cursor.left > 0)
			append(out, ", ", 2);
	}
	append(out, "]", 1);
}

/* Prints an object. */
static void
print_object(StringInfo out, const AsynxValue *object)
{
	AsynxMembers members;
	AsynxValue	key;
	AsynxValue	value;

	append(out, "{", 1);
	asynx_members_begin(&members, object);
	while (asynx_members_next(&members, &key, &value))
	{
		print_string(out, &key);
		append(out, ": ", 2);
		print_value(out, &value);
		if (members.keys.left > 0)
			append(out, ", ", 2);
	}
	append(out, "}", 1);
}

/* Prints a value. */
static void
print_value(StringInfo out, const AsynxValue *value)
{
	switch (value->tag)
	{
		case ASYNX_NULL:
			append(out, "null", 4);
			break;
		case ASYNX_FALSE:
			append(out, "false", 5);
			break;
		case ASYNX_TRUE:
			append(out, "true", 4);
			break;
		case ASYNX_STRING:
			print_string(out, value);
			break;
		case ASYNX_NUMERIC:
			print_number(out, value);
			break;
		case ASYNX_ARRAY:
		case ASYNX_OBJECT:
			check_stack_depth();
			CHECK_FOR_INTERRUPTS();
			if (value->tag == ASYNX_ARRAY)
				print_array(out, value);
			else
				print_object(out, value);
			break;
	}
}

/* Prints a document as the server's cast does. */
text *
asynx_json_print(const Jsonb *json)
{
	AsynxValue	root = asynx_value_root(json);
	StringInfoData out;

	initStringInfo(&out);
	enlargeStringInfo(&out, (int) VARSIZE(json));
	out.len = VARHDRSZ;
	print_value(&out, &root);
	SET_VARSIZE(out.data, out.len);
	return (text *) out.data;
}
