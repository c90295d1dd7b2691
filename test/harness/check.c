/*
 * check.c
 *	  What must hold of the rooms under test, whatever they are given.
 *
 * The yardstick is apply.c.  It knows no limits, so where the rooms refuse a
 * document as too large or too deep, the patch is gone through once more, one
 * operation after the other, in search of a reason.
 */
#include "check.h"
#include "random.h"

#include "guc.h"
#include "patch.h"
#include "utils/builtins.h"

#define INVALID_PATCH "SX014"
#define DOCUMENT_LIMIT "SX018"

extern Datum asynx_json_patch(PG_FUNCTION_ARGS);
extern Datum asynx_json_diff(PG_FUNCTION_ARGS);

/* Levels that a patch wraps around a value: the array, and the operation. */
#define PATCH_LEVELS 2

/* Most bytes of a member besides its name and its value: two entries, and padding behind both. */
#define MEMBER_BYTES (2 * sizeof(JEntry) + 2 * 3)

/* Calls a function of two arguments as the server would. */
static void
call_body(void *argument)
{
	Call	   *call = argument;
	LOCAL_FCINFO(fcinfo, 2);

	InitFunctionCallInfoData(*fcinfo, NULL, 2, InvalidOid, NULL, NULL);
	for (int i = 0; i < 2; i++)
	{
		fcinfo->args[i].value = PointerGetDatum(call->arguments[i]);
		fcinfo->args[i].isnull = false;
	}
	call->result = DatumGetPointer(call->function(fcinfo));
	if (fcinfo->isnull)
		call->result = NULL;
}

/* Calls an SQL function; what it raises is in call.error. */
Call
call_function(PGFunction function, void *first, void *second)
{
	Call		call = {function, {first, second}, NULL, {"", ""}};

	shim_run(call_body, &call, &call.error);
	return call;
}

/* Are two documents the same, byte for byte? */
bool
same_jsonb(const Jsonb *a, const Jsonb *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/* A document as text. */
char *
print_jsonb(const Jsonb *jsonb)
{
	return jsonb == NULL ? "NULL" : tree_print(tree_from_jsonb(jsonb));
}

/* A string as the text that SQL functions take. */
text *
make_text(const Tree *string)
{
	text	   *result = palloc(VARHDRSZ + string->bytes.len);

	SET_VARSIZE(result, VARHDRSZ + string->bytes.len);
	memcpy(VARDATA(result), string->bytes.data, string->bytes.len);
	return result;
}

/* Bytes of a document. */
static Size
size_of(const Tree *tree)
{
	Jsonb	   *jsonb = tree_to_jsonb(tree);
	Size		size = VARSIZE(jsonb);

	pfree(jsonb);
	return size;
}

/* Tokens of the pointer in a member of an operation; 0 if there is none. */
static int
tokens(const Tree *operation, const char *member)
{
	const Tree *text = operation->type == TREE_OBJECT ? tree_get(operation, member) : NULL;
	int			count = 0;

	for (int i = 0; text != NULL && i < text->bytes.len; i++)
		count += text->bytes.data[i] == '/';
	return count;
}

/* Most bytes of the name in a member of an operation, which is a pointer. */
static Size
name_size(const Tree *operation, const char *member)
{
	const Tree *text = operation->type == TREE_OBJECT ? tree_get(operation, member) : NULL;

	return text == NULL ? 0 : (Size) text->bytes.len;
}

/* What an operation puts somewhere: its value, or what "from" leads to; NULL if nothing. */
static Tree *
cargo(const Tree *document, const Tree *operation)
{
	Tree	   *value = operation->type == TREE_OBJECT ? tree_get(operation, "value") : NULL;
	Tree	   *from = operation->type == TREE_OBJECT ? tree_get(operation, "from") : NULL;
	Tree	   *copy = tree_create(TREE_OBJECT);
	Tree	   *found = tree_copy(document);

	if (value != NULL || from == NULL)
		return value;
	tree_set(copy, "op", 2, tree_string("copy", 4));
	tree_set(copy, "from", 4, from);
	tree_set(copy, "path", 4, tree_string("", 0));
	return apply_operation(&found, copy) == NULL ? found : NULL;
}

/* Does one operation on a document reach beyond a limit? */
static bool
operation_exceeds(const Tree *document, const Tree *operation)
{
	Tree	   *value = cargo(document, operation);
	int			path = tokens(operation, "path");
	int			from = tokens(operation, "from");
	Size		size = size_of(document) +
		(value == NULL ? 0 : size_of(value) + name_size(operation, "path") + MEMBER_BYTES);

	return Max(path, from) > asynx_max_document_depth ||
		(value != NULL && path + tree_levels(value) > asynx_max_document_depth) ||
		size > (Size) asynx_max_document_size * 1024;
}

/* Does a patch, applied to a document, reach beyond a limit anywhere? */
static bool
patch_exceeds(const Tree *document, const Tree *patch)
{
	Tree	   *copy = tree_copy(document);

	if (size_of(copy) > (Size) asynx_max_document_size * 1024)
		return true;
	for (int i = 0; patch->type == TREE_ARRAY && i < patch->count; i++)
	{
		if (operation_exceeds(copy, patch->children[i]))
			return true;
		if (apply_operation(&copy, patch->children[i]) != NULL)
			break;
	}
	return false;
}

/* Checks a patch that json_diff made. */
static bool
check_difference(const Tree *a, const Tree *b, Jsonb *source, Jsonb *target, Jsonb *difference)
{
	Tree	   *patch = tree_from_jsonb(difference);
	Tree	   *copy = tree_copy(a);
	Call		apply = call_function(asynx_json_patch, source, difference);

	if (!same_jsonb(difference, tree_to_jsonb(patch)))
		check_failed("diff: the patch is not as the server would write it: %s", tree_print(patch));
	else if (apply.result == NULL && strcmp(apply.error.sqlstate, DOCUMENT_LIMIT) == 0 &&
			 patch_exceeds(a, patch))
		return true;
	else if (apply.result == NULL)
		check_failed("diff: %s: %s: %s to %s by %s", apply.error.sqlstate, apply.error.message,
					 tree_print(a), tree_print(b), tree_print(patch));
	else if (!same_jsonb(apply.result, target))
		check_failed("diff: %s to %s by %s", tree_print(a), tree_print(b), tree_print(patch));
	else if (apply_patch(&copy, patch) != NULL || !same_jsonb(tree_to_jsonb(copy), target))
		check_failed("diff: not an RFC 6902 patch: %s", tree_print(patch));
	else if (same_jsonb(source, target) != (patch->count == 0))
		check_failed("diff: %s for %s and %s", tree_print(patch), tree_print(a), tree_print(b));
	else
		return true;
	return false;
}

/* apply(diff(a, b), a) must be b, by our hand and by the plain one. */
bool
check_diff(const Tree *a, const Tree *b)
{
	Jsonb	   *source = tree_to_jsonb(a);
	Jsonb	   *target = tree_to_jsonb(b);
	Call		diff = call_function(asynx_json_diff, source, target);
	int			alevels = tree_levels(a);
	int			blevels = tree_levels(b);

	if (diff.result != NULL)
		return check_difference(a, b, source, target, diff.result);
	if (strcmp(diff.error.sqlstate, DOCUMENT_LIMIT) == 0 &&
		Max(alevels, blevels) + PATCH_LEVELS > asynx_max_document_depth)
		return true;
	check_failed("diff: %s: %s: %s to %s", diff.error.sqlstate, diff.error.message,
				 tree_print(a), tree_print(b));
	return false;
}

/* Applies a patch and reads the document, as a replay does. */
static void
fold_body(void *argument)
{
	Fold	   *fold = argument;

	asynx_doc_apply(fold->doc, fold->patch);
	fold->result = random_below(4) == 0 ? asynx_doc_jsonb(fold->doc) : asynx_doc_state(fold->doc);
}

/* Does a patch check pass exactly if the patch is well formed? */
static void
check_body(void *argument)
{
	asynx_patch_check(argument);
}

/* asynx_patch_check() must have the opinion of whoever has applied the patch. */
static bool
check_opinion(const Jsonb *patch, const char *sqlstate, const char *shown)
{
	ShimError	error = {"", ""};
	bool		accepted = shim_run(check_body, (void *) patch, &error);

	if (sqlstate[0] == '\0' && !accepted && strcmp(error.sqlstate, DOCUMENT_LIMIT) != 0)
		check_failed("applied but refused: %s: %s", error.message, shown);
	else if (strcmp(sqlstate, INVALID_PATCH) == 0 && accepted)
		check_failed("refused but accepted: %s", shown);
	else
		return true;
	return false;
}

/* json_patch() must have the opinion of a fold, unless a limit is near. */
static bool
check_single(const Tree *document, const Fold *fold, const char *sqlstate, const char *shown)
{
	Call		single = call_function(asynx_json_patch, tree_to_jsonb(document),
									   (void *) fold->patch);

	if (strcmp(single.error.sqlstate, DOCUMENT_LIMIT) == 0 ||
		strcmp(sqlstate, DOCUMENT_LIMIT) == 0)
		return true;
	if (strcmp(single.error.sqlstate, sqlstate) == 0 &&
		(single.result == NULL || same_jsonb(single.result, fold->result)))
		return true;
	check_failed("json_patch, %s, and fold, %s, disagree: %s on %s", single.error.sqlstate,
				 sqlstate, shown, tree_print(document));
	return false;
}

/* Checks what a patch has done to a fold. */
static bool
check_result(Fold *fold, const Tree *patch, const char *sqlstate)
{
	char	   *shown = tree_print(patch);
	Tree	   *copy = tree_copy(fold->document);
	const char *expected;

	/* Only what the rooms went through is bounded: the yardstick may not go ahead. */
	if (strcmp(sqlstate, DOCUMENT_LIMIT) == 0 && patch_exceeds(fold->document, patch))
		return true;

	expected = apply_patch(&copy, patch);
	if (strcmp(sqlstate, expected == NULL ? "" : expected) != 0)
		check_failed("%s instead of %s: %s on %s", sqlstate,
					 expected == NULL ? "success" : expected, shown, tree_print(fold->document));
	else if (expected == NULL && !same_jsonb(fold->result, tree_to_jsonb(copy)))
		check_failed("%s on %s gives %s", shown, tree_print(fold->document),
					 print_jsonb(fold->result));
	else if (expected == NULL && VARSIZE(fold->result) > (Size) asynx_max_document_size * 1024)
		check_failed("too large, but not refused: %u bytes", VARSIZE(fold->result));
	else if (check_opinion(fold->patch, sqlstate, shown) &&
			 check_single(fold->document, fold, sqlstate, shown))
	{
		if (expected == NULL)
			fold->document = copy;
		return true;
	}
	return false;
}

/* One patch onto a fold and onto a tree. */
bool
check_event(Fold *fold, const Tree *patch)
{
	ShimError	error = {"", ""};

	if (fold->doc == NULL)
		fold->doc = asynx_doc_create(CurrentMemoryContext, tree_to_jsonb(fold->document));
	fold->patch = tree_to_jsonb(patch);
	if (!shim_run(fold_body, fold, &error))
		check_fold_end(fold);	/* after an error a document must not be used again */
	return check_result(fold, patch, error.sqlstate);
}

/* Frees the document. */
void
check_fold_end(Fold *fold)
{
	if (fold->doc != NULL)
		asynx_doc_free(fold->doc);
	fold->doc = NULL;
}
