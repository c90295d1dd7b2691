/*
 * pattern.c
 *	  Compiles and matches the patterns that select events by name.
 *
 * A pattern of ASCII letters, digits and "_-:/." is the name itself.  Anything
 * else is an advanced regular expression that must match the whole name, under
 * collation C so that the answer does not depend on a database's locale.
 *
 * To anchor an expression we compile ^(?:expression)$.  Text such as "a)|(b"
 * would become two half-anchored branches that way, so the expression must
 * compile on its own first.  Prefixes that change what the rest means ("***=",
 * "(?i)") only work at the very start, which is no longer theirs: they are
 * refused by name rather than left to a puzzling syntax error.
 *
 * Most expressions come from topic(): ^order\.created$ or ^order\..*$.  An
 * expression that is a literal, or a literal followed by .*, is recognized and
 * matched by comparing bytes, some hundred times faster than the regex engine.
 * Comparing bytes is right in every server encoding: none of them lets an ASCII
 * byte be a part of another character.
 *
 * Before PostgreSQL 16 a compiled expression lives in malloc'd memory.  A reset
 * callback of the memory context owns it, so that an error cannot leak it.
 */
#include "asynx.h"

#include "catalog/pg_collation.h"
#include "errors.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pattern.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* What stands for itself in an exact name, besides letters and digits. */
#define NAME_PUNCTUATION "_-:/."

/* What does not stand for itself in an expression; a backslash makes it literal. */
#define SPECIAL_CHARACTERS "\\.+*?()|[]{}^$"

#define BLANK_CHARACTERS " \t\n\r\v\f"

/* A topic has at most so many segments; the last one keeps its dots. */
#define TOPIC_SEGMENTS 3

/* Longest piece of a pattern quoted in a message, in bytes. */
#define QUOTED_BYTES 200

/* How a pattern is matched, cheapest first. */
typedef enum PatternKind
{
	PATTERN_EXACT,				/* the name equals the literal */
	PATTERN_PREFIX,				/* the name starts with the literal */
	PATTERN_REGEX				/* the regex engine decides */
} PatternKind;

struct AsynxPattern
{
	PatternKind kind;
	const char *source;			/* REGEX: what the user wrote, for messages */
	char	   *literal;		/* EXACT, PREFIX: the bytes to compare, NUL-terminated */
	int			literal_len;	/* EXACT, PREFIX: their number */
	regex_t		regex;			/* REGEX: the anchored expression, if compiled */
	bool		compiled;		/* regex holds memory to be freed */
	MemoryContextCallback release;	/* frees regex when the context goes */
};

PG_FUNCTION_INFO_V1(asynx_topic);

/* Reset callback: gives a compiled expression's memory back. */
static void
release_regex(void *arg)
{
	AsynxPattern *pattern = (AsynxPattern *) arg;

	if (pattern->compiled)
		pg_regfree(&pattern->regex);
	pattern->compiled = false;
}

/* The bytes of a pattern that a message quotes. */
static int
quoted_len(const char *source)
{
	return pg_mbcliplen(source, strlen(source), QUOTED_BYTES);
}

/* Raises 2201B for a pattern, with a detail that is a full sentence. */
static void
raise_invalid(const char *source, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
			 errmsg("invalid pattern \"%.*s\"", quoted_len(source), source),
			 errdetail("%s", detail),
			 errhint("asynx.topic() turns a dotted topic into a pattern.")));
}

/* What the regex engine has to say about a failure, as a full sentence. */
static const char *
explain_failure(const regex_t *regex, int code)
{
	char		reason[100];

	/* Older servers report a pending cancel as a code of its own. */
	CHECK_FOR_INTERRUPTS();

	pg_regerror(code, regex, reason, sizeof(reason));
	return psprintf("The regular expression engine says: %s.", reason);
}

/* Raises 2201B for a pattern that the regex engine took, but gave up on at a name. */
static void
raise_unmatchable(const AsynxPattern *pattern, int code)
{
	const char *detail = explain_failure(&pattern->regex, code);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
			 errmsg("could not match pattern \"%.*s\"", quoted_len(pattern->source),
					pattern->source),
			 errdetail("%s", detail)));
}

/* Refuses a pattern or topic without a visible character. */
static void
check_not_blank(const char *source, const char *what)
{
	if (source[strspn(source, BLANK_CHARACTERS)] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_PATTERN_EMPTY),
				 errmsg("%s must not be empty", what),
				 errhint("asynx.topic('*') is the pattern that matches every event.")));
}

/* Refuses prefixes that would change the meaning of the whole expression. */
static void
check_no_metasyntax(const char *source)
{
	bool		director = strncmp(source, "***", 3) == 0;
	bool		options = strncmp(source, "(?", 2) == 0 && pg_ascii_tolower(source[2]) >= 'a' &&
		pg_ascii_tolower(source[2]) <= 'z';

	if (director || options)
		raise_invalid(source, "Prefixes such as \"***=\" and \"(?i)\" are not accepted.");
}

/* Is a character what it looks like in every pattern? */
static bool
is_name_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		(c != '\0' && strchr(NAME_PUNCTUATION, c) != NULL);
}

/* Does a character need a backslash to stand for itself in an expression? */
static bool
is_special(char c)
{
	return c != '\0' && strchr(SPECIAL_CHARACTERS, c) != NULL;
}

/* Is a pattern an exact name? */
static bool
is_name(const char *source)
{
	while (is_name_character(*source))
		source++;
	return *source == '\0';
}

/*
 * Recognizes an expression that is a literal, or a literal and then anything,
 * with or without anchors of its own.  Returns false for any other.
 */
static bool
recognize_literal(AsynxPattern *pattern, const char *source)
{
	char	   *literal = palloc(strlen(source) + 1);
	int			len = 0;

	if (*source == '^')
		source++;
	while (*source != '\0')
	{
		if (*source == '\\' && is_special(source[1]))
			source++;
		else if (is_special(*source))
			break;
		literal[len++] = *source++;
	}
	literal[len] = '\0';

	pattern->kind = PATTERN_EXACT;
	pattern->literal = literal;
	pattern->literal_len = len;

	if (strncmp(source, ".*", 2) == 0)
	{
		pattern->kind = PATTERN_PREFIX;
		source += 2;
	}
	if (*source == '$')
		source++;
	return *source == '\0';
}

/* Compiles an expression; "source" is what the user wrote, for the message. */
static void
compile_regex(regex_t *regex, const char *expression, const char *source)
{
	int			len = strlen(expression);
	pg_wchar   *wide = palloc((len + 1) * sizeof(pg_wchar));
	int			code;

	len = pg_mb2wchar_with_len(expression, wide, len);
	code = pg_regcomp(regex, wide, len, REG_ADVANCED | REG_NOSUB, C_COLLATION_OID);
	pfree(wide);

	if (code != REG_OKAY)
		raise_invalid(source, explain_failure(regex, code));
}

/* Compiles a pattern that is a real expression, alone and then anchored. */
static void
compile_anchored(AsynxPattern *pattern, const char *source)
{
	regex_t		alone;
	char	   *anchored;

	check_no_metasyntax(source);
	compile_regex(&alone, source, source);
	pg_regfree(&alone);

	pattern->kind = PATTERN_REGEX;
	pattern->source = pstrdup(source);
	pattern->release.func = release_regex;
	pattern->release.arg = pattern;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &pattern->release);

	anchored = psprintf("^(?:%s)$", source);
	compile_regex(&pattern->regex, anchored, source);
	pattern->compiled = true;
	pfree(anchored);
}

/* Compiles a pattern in the current memory context; an error says what is wrong with it. */
AsynxPattern *
asynx_pattern_compile(const char *source)
{
	AsynxPattern *pattern;

	check_not_blank(source, "pattern");

	pattern = palloc0(sizeof(AsynxPattern));
	if (is_name(source))
	{
		pattern->kind = PATTERN_EXACT;
		pattern->literal = pstrdup(source);
		pattern->literal_len = strlen(source);
	}
	else if (!recognize_literal(pattern, source))
		compile_anchored(pattern, source);
	return pattern;
}

/* Asks the regex engine about a name of any length. */
static bool
match_regex(AsynxPattern *pattern, const char *name, int len)
{
	pg_wchar	buffer[ASYNX_MAX_NAME_BYTES + 1];
	pg_wchar   *wide = buffer;
	int			code;

	if (len > ASYNX_MAX_NAME_BYTES)
		wide = palloc((len + 1) * sizeof(pg_wchar));
	len = pg_mb2wchar_with_len(name, wide, len);
	code = pg_regexec(&pattern->regex, wide, len, 0, NULL, 0, NULL, 0);
	if (wide != buffer)
		pfree(wide);

	if (code != REG_OKAY && code != REG_NOMATCH)
		raise_unmatchable(pattern, code);
	return code == REG_OKAY;
}

/* Does the pattern match the whole name? */
bool
asynx_pattern_match(AsynxPattern *pattern, const char *name, int len)
{
	switch (pattern->kind)
	{
		case PATTERN_EXACT:
			return len == pattern->literal_len && memcmp(name, pattern->literal, len) == 0;
		case PATTERN_PREFIX:
			return len >= pattern->literal_len &&
				memcmp(name, pattern->literal, pattern->literal_len) == 0;
		case PATTERN_REGEX:
			return match_regex(pattern, name, len);
	}
	return false;
}

/* Returns the only name that can match, or NULL if there may be several. */
const char *
asynx_pattern_exact(const AsynxPattern *pattern)
{
	return pattern->kind == PATTERN_EXACT ? pattern->literal : NULL;
}

/* Appends text so that an expression takes it literally. */
static void
append_quoted(StringInfo out, const char *text, int len)
{
	for (int i = 0; i < len; i++)
	{
		if (is_special(text[i]))
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, text[i]);
	}
}

/* Appends one segment of a topic; a lone star is a wildcard, wider in last place. */
static void
append_segment(StringInfo out, const char *segment, int len, bool last)
{
	if (len != 1 || *segment != '*')
		append_quoted(out, segment, len);
	else
		appendStringInfoString(out, last ? ".*" : "[^.]+");
}

/* Appends the anchored expression for a topic. */
static void
append_topic(StringInfo out, const char *topic)
{
	appendStringInfoChar(out, '^');
	for (int segment = 1;; segment++)
	{
		const char *dot = segment < TOPIC_SEGMENTS ? strchr(topic, '.') : NULL;
		int			len = dot ? (int) (dot - topic) : (int) strlen(topic);

		append_segment(out, topic, len, dot == NULL);
		if (dot == NULL)
			break;
		appendStringInfoString(out, "\\.");
		topic = dot + 1;
	}
	appendStringInfoChar(out, '$');
}

/* topic(pattern text) returns text: the expression that a dotted topic stands for. */
Datum
asynx_topic(PG_FUNCTION_ARGS)
{
	char	   *topic = text_to_cstring(PG_GETARG_TEXT_PP(0));
	StringInfoData out;

	check_not_blank(topic, "topic");

	initStringInfo(&out);
	append_topic(&out, topic);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
