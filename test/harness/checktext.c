/*
 * checktext.c
 *	  What must hold of the way from text to text, whatever the text.
 *
 * The yardstick is the parser of text.c.  The server's cast, to which jsonreader.c
 * hands what it does not like, goes through it too; so it must not be asked for a
 * text that is JSON, or it would hide what the reader gets wrong.
 */
#include "check.h"

#include "cast.h"
#include "jsonprinter.h"
#include "jsonreader.h"

extern Datum asynx_json_patch(PG_FUNCTION_ARGS);
extern Datum asynx_json_patch_text(PG_FUNCTION_ARGS);
extern Datum asynx_json_diff(PG_FUNCTION_ARGS);
extern Datum asynx_json_diff_text(PG_FUNCTION_ARGS);

/* A text that is read, and a jsonb that is printed. */
typedef struct Passage
{
	const text *in;
	Jsonb	   *read;
	text	   *printed;
} Passage;

/* Reads a text and prints it. */
static void
pass_body(void *argument)
{
	Passage    *passage = argument;

	passage->read = asynx_json_read(passage->in);
	passage->printed = asynx_json_print(passage->read);
}

/* Reads a text and prints it; `error` says why it could not. */
static bool
pass(Passage *passage, const char *data, Size len, ShimError *error)
{
	passage->in = make_text(tree_string(data, (int) len));
	cast_calls();
	return shim_run(pass_body, passage, error);
}

/* The server's layout: one blank behind each comma and colon, which tree_print() leaves out. */
static char *
lay_out(const char *compact)
{
	char	   *text = palloc(strlen(compact) * 2 + 1);
	char	   *out = text;
	bool		quoted = false;

	for (; *compact != '\0'; compact++)
	{
		*out++ = *compact;
		if (quoted && *compact == '\\')
			*out++ = *++compact;
		else if (*compact == '"')
			quoted = !quoted;
		else if (!quoted && (*compact == ',' || *compact == ':'))
			*out++ = ' ';
	}
	*out = '\0';
	return text;
}

/* Is it that text? */
static bool
same_text(const text *value, const char *string)
{
	return VARSIZE_ANY_EXHDR(value) == strlen(string) &&
		memcmp(VARDATA_ANY(value), string, strlen(string)) == 0;
}

/* A text is read as the tree is, and printed as the server prints it; or refused. */
bool
check_text(const char *data, Size len)
{
	const char *reason;
	Tree	   *tree = tree_parse(data, len, &reason);
	Passage		passage;
	ShimError	error = {"", ""};
	bool		accepted = pass(&passage, data, len, &error);

	if (accepted != (tree != NULL))
		check_failed("text: %s, not %s: %.*s", accepted ? "accepted" : error.message,
					 tree == NULL ? reason : "accepted", (int) len, data);
	else if (!accepted)
		return true;
	else if (cast_calls() != 0)
		check_failed("text: left to the server: %.*s", (int) len, data);
	else if (!same_jsonb(passage.read, tree_to_jsonb(tree)))
		check_failed("text: %.*s is read as %s", (int) len, data, print_jsonb(passage.read));
	else if (!same_text(passage.printed, lay_out(tree_print(tree))))
		check_failed("text: %s is printed as %.*s", tree_print(tree),
					 (int) VARSIZE_ANY_EXHDR(passage.printed), VARDATA_ANY(passage.printed));
	else
		return true;
	return false;
}

/* A function from text to text gives what the one from jsonb to jsonb gives. */
static bool
check_route(PGFunction short_way, PGFunction long_way, const Tree *first, const Tree *second)
{
	char	   *texts[] = {tree_print(first), tree_print(second)};
	Call		direct = call_function(long_way, tree_to_jsonb(first), tree_to_jsonb(second));
	text	   *first_text = make_text(tree_string(texts[0], strlen(texts[0])));
	text	   *second_text = make_text(tree_string(texts[1], strlen(texts[1])));
	Call		routed = call_function(short_way, first_text, second_text);

	if (strcmp(direct.error.sqlstate, routed.error.sqlstate) != 0)
		check_failed("text: %s instead of %s: %s and %s", routed.error.sqlstate,
					 direct.error.sqlstate, texts[0], texts[1]);
	else if (direct.result != NULL &&
			 !same_text(routed.result, lay_out(print_jsonb(direct.result))))
		check_failed("text: not as jsonb: %s and %s", texts[0], texts[1]);
	else
		return true;
	return false;
}

/* The functions from text to text, on a document and a patch. */
bool
check_text_patch(const Tree *document, const Tree *patch)
{
	return check_route(asynx_json_patch_text, asynx_json_patch, document, patch);
}

/* The same on two documents. */
bool
check_text_diff(const Tree *a, const Tree *b)
{
	return check_route(asynx_json_diff_text, asynx_json_diff, a, b);
}
