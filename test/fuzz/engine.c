/*
 * engine.c
 *	  What the room pattern needs of a server besides the shim: strings, and a regex engine.
 *
 * The server's engine cannot be linked without the server.  The C library's stands in
 * for it, on what both understand alike: no bounds, no back references, no escapes but
 * those of a special character, few quantifiers.  Anything else is refused as if memory
 * had run out, which the server's engine does too.  The real engine gets its hostile
 * patterns through SQL (t/011_hostile_calls.pl).
 *
 * The server's header redefines the names of the C library's, so it is not included; of
 * the server's regex_t only the first bytes are used, to keep a pointer.
 */
#include "shim.h"

#include <regex.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

/* Quantifiers in one expression; the C library's engine gets slow with many. */
#define MOST_QUANTIFIERS 6

/* The server's engine, with a pointer where its regex_t begins. */
extern int	pg_regcomp(regex_t **regex, const pg_wchar *pattern, size_t len, int flags,
					   Oid collation);
extern int	pg_regexec(regex_t **regex, const pg_wchar *string, size_t len, size_t start,
					   void *details, size_t nmatch, void *match, int flags);
extern void pg_regfree(regex_t **regex);
extern size_t pg_regerror(int code, regex_t *const *regex, char *buffer, size_t size);

/* Is there anything in an expression on which the two engines differ? */
static bool
is_beyond(const char *expression)
{
	int			quantifiers = 0;

	for (const char *at = expression; *at != '\0'; at++)
	{
		if (*at == '\\')
		{
			if (at[1] == '\0' || strchr("\\.+*?()|[]{}^$", at[1]) == NULL)
				return true;
			at++;
		}
		else if (*at == '{' || (*at == '(' && at[1] == '?') || strncmp(at, "[[", 2) == 0)
			return true;
		else if (strchr("*+?", *at) != NULL && ++quantifiers > MOST_QUANTIFIERS)
			return true;
	}
	return false;
}

/* Characters are bytes here. */
int
pg_mb2wchar_with_len(const char *from, pg_wchar *to, int len)
{
	for (int i = 0; i < len; i++)
		to[i] = (unsigned char) from[i];
	to[len] = 0;
	return len;
}

/* The bytes behind characters. */
static char *
narrow(const pg_wchar *wide, size_t len)
{
	char	   *bytes = palloc(len + 1);

	for (size_t i = 0; i < len; i++)
		bytes[i] = (char) wide[i];
	bytes[len] = '\0';
	return bytes;
}

/* Compiles an expression; the group around an anchored one must not capture, but may here. */
int
pg_regcomp(regex_t **regex, const pg_wchar *pattern, size_t len, int flags, Oid collation)
{
	char	   *expression = narrow(pattern, len);
	int			code;

	if (strncmp(expression, "^(?:", 4) == 0)
		memmove(expression + 2, expression + 4, len - 4 + 1);
	code = is_beyond(expression) ? REG_ESPACE : REG_NOERROR;
	if (code == REG_NOERROR)
	{
		*regex = malloc(sizeof(regex_t));
		code = regcomp(*regex, expression, REG_EXTENDED | REG_NOSUB);
		if (code != REG_NOERROR)
			free(*regex);
	}
	pfree(expression);
	return code;
}

/* Matches. */
int
pg_regexec(regex_t **regex, const pg_wchar *string, size_t len, size_t start,
		   void *details, size_t nmatch, void *match, int flags)
{
	char	   *bytes = narrow(string, len);
	int			code = regexec(*regex, bytes, 0, NULL, 0);

	pfree(bytes);
	return code;
}

/* Frees. */
void
pg_regfree(regex_t **regex)
{
	regfree(*regex);
	free(*regex);
}

/* Explains. */
size_t
pg_regerror(int code, regex_t *const *regex, char *buffer, size_t size)
{
	return snprintf(buffer, size, "error %d", code);
}

/* A formatted string. */
char *
psprintf(const char *format,...)
{
	va_list		args;
	char	   *text = palloc(8192);

	va_start(args, format);
	vsnprintf(text, 8192, format, args);
	va_end(args);
	return text;
}

/* Appends a C string. */
void
appendStringInfoString(StringInfo str, const char *text)
{
	appendBinaryStringInfo(str, text, strlen(text));
}

/* Bytes as a text. */
text *
cstring_to_text_with_len(const char *string, int len)
{
	text	   *value = palloc(VARHDRSZ + len);

	SET_VARSIZE(value, VARHDRSZ + len);
	memcpy(VARDATA(value), string, len);
	return value;
}
