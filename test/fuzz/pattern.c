/*
 * pattern.c
 *	  Room pattern: which names a pattern or a topic selects.
 *
 * The input's first lines are a pattern and names; each line is tried as a pattern, as
 * a topic, and as a name.  Patterns that the room compares without the regex engine
 * must select what the engine (engine.c) would; topics what the plain rule here does.
 */
#include "fuzz.h"

#include "mb/pg_wchar.h"
#include "pattern.h"
#include "utils/builtins.h"

/* Longest line, and most of them. */
#define MOST_BYTES 48
#define MOST_LINES 6

#define BLANKS " \t\n\r\v\f"
#define NAME_CHARACTERS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-:/."

extern Datum asynx_topic(PG_FUNCTION_ARGS);
extern int	pg_regcomp(void *regex, const pg_wchar *pattern, size_t len, int flags, Oid collation);
extern int	pg_regexec(void *regex, const pg_wchar *string, size_t len, size_t start,
					   void *details, size_t nmatch, void *match, int flags);
extern void pg_regfree(void *regex);

/* A pattern on its way through shim_run(). */
typedef struct Attempt
{
	const char *source;
	AsynxPattern *pattern;
} Attempt;

/* Compiles a pattern. */
static void
compile_body(void *argument)
{
	Attempt    *attempt = argument;

	attempt->pattern = asynx_pattern_compile(attempt->source);
}

/* What the engine makes of an expression that must match a whole name; -1 if it refuses it. */
static int
engine_match(const char *expression, const char *name)
{
	char		anchored[MOST_BYTES * 4];
	pg_wchar	wide[MOST_BYTES * 4];
	void	   *regex;
	int			len = pg_mb2wchar_with_len(expression, wide, strlen(expression));
	int			code;

	if (pg_regcomp(&regex, wide, len, 0, InvalidOid) != 0)
		return -1;
	pg_regfree(&regex);
	snprintf(anchored, sizeof(anchored), "^(?:%s)$", expression);
	len = pg_mb2wchar_with_len(anchored, wide, strlen(anchored));
	if (pg_regcomp(&regex, wide, len, 0, InvalidOid) != 0)
		return -1;
	len = pg_mb2wchar_with_len(name, wide, strlen(name));
	code = pg_regexec(&regex, wide, len, 0, NULL, 0, NULL, 0);
	pg_regfree(&regex);
	return code == 0;
}

/* Does a topic select a name?  `segment` counts from 1; the third keeps its dots. */
static bool
topic_selects(const char *topic, const char *name, int segment)
{
	const char *dot = segment < 3 ? strchr(topic, '.') : NULL;
	size_t		len = dot == NULL ? strlen(topic) : (size_t) (dot - topic);
	const char *rest;

	if (dot == NULL)
		return strcmp(topic, "*") == 0 || strcmp(topic, name) == 0;
	if (len == 1 && *topic == '*')
	{
		rest = name + strcspn(name, ".");
		return rest > name && *rest == '.' && topic_selects(dot + 1, rest + 1, segment + 1);
	}
	return strncmp(topic, name, len + 1) == 0 &&
		topic_selects(dot + 1, name + len + 1, segment + 1);
}

/* Compiles a pattern; NULL if it is refused, which it must be for one of two reasons. */
static AsynxPattern *
compile(const char *source)
{
	Attempt		attempt = {source, NULL};
	ShimError	error = {"", ""};
	bool		blank = source[strspn(source, BLANKS)] == '\0';

	if (shim_run(compile_body, &attempt, &error))
	{
		MUST(!blank);
		return attempt.pattern;
	}
	MUST(strcmp(error.sqlstate, blank ? "SX010" : "2201B") == 0);
	return NULL;
}

/* Does a pattern select what it should? */
static void
check_pattern(const char *source, const char *name)
{
	AsynxPattern *pattern = compile(source);
	bool		is_name = source[strspn(source, NAME_CHARACTERS)] == '\0';
	const char *exact;
	int			expected;

	if (pattern == NULL)
		return;
	expected = is_name ? strcmp(source, name) == 0 : engine_match(source, name);
	if (expected >= 0)
		MUST(asynx_pattern_match(pattern, name, strlen(name)) == (expected == 1));
	exact = asynx_pattern_exact(pattern);
	if (exact != NULL)
	{
		MUST(asynx_pattern_match(pattern, exact, strlen(exact)));
		MUST(asynx_pattern_match(pattern, name, strlen(name)) == (strcmp(exact, name) == 0));
	}
}

/* Does a topic select what it should? */
static void
check_topic(Tree *line, const char *name)
{
	const char *topic = line->bytes.data;
	Call		call = call_function(asynx_topic, make_text(line), NULL);
	AsynxPattern *pattern;

	if (topic[strspn(topic, BLANKS)] == '\0')
	{
		MUST(strcmp(call.error.sqlstate, "SX010") == 0);
		return;
	}
	MUST(call.result != NULL);
	pattern = compile(text_to_cstring(call.result));
	MUST(pattern != NULL);
	MUST(asynx_pattern_match(pattern, name, strlen(name)) == topic_selects(topic, name, 1));
}

/* The next line, short and without NUL. */
static Tree *
input_line(Input *input)
{
	char		line[MOST_BYTES];
	int			len = 0;
	int			c = input->len > 0 ? input_byte(input) : '\n';

	while (c != '\n' && c != '\0' && len < MOST_BYTES)
	{
		line[len++] = c;
		c = input->len > 0 ? input_byte(input) : '\n';
	}
	return tree_string(line, len);
}

/* Tries every line on every other. */
void
fuzz_one(Input input)
{
	Tree	   *lines[MOST_LINES];
	int			count = 0;

	while (count < MOST_LINES && (count == 0 || input.len > 0))
		lines[count++] = input_line(&input);
	for (int i = 0; i < count; i++)
	{
		for (int j = 0; j < count; j++)
		{
			check_pattern(lines[i]->bytes.data, lines[j]->bytes.data);
			check_topic(lines[i], lines[j]->bytes.data);
		}
	}
}
