/*
 * jsontext.c
 *	  asynx.json_patch_text and asynx.json_diff_text: the same as json_patch and json_diff
 *	  for who has text and wants text.
 *
 * Both read with jsonreader.c, do their work, and print with jsonprinter.c; what comes
 * in between lives in a memory context that ends with the call.
 */
#include "asynx.h"

#include "diff.h"
#include "fmgr.h"
#include "jsonprinter.h"
#include "jsonreader.h"
#include "patch.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(asynx_json_patch_text);
PG_FUNCTION_INFO_V1(asynx_json_diff_text);

/* Something that makes one jsonb of two. */
typedef Jsonb *(*Operation) (const Jsonb *first, const Jsonb *second);

/* Reads both arguments, makes one jsonb of them and prints it. */
static Datum
operate_on_text(FunctionCallInfo fcinfo, Operation operation)
{
	const text *first = PG_GETARG_TEXT_PP(0);
	const text *second = PG_GETARG_TEXT_PP(1);
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "asynx JSON text",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	const Jsonb *document = asynx_json_read(first);
	const Jsonb *result = operation(document, asynx_json_read(second));
	text	   *printed;

	MemoryContextSwitchTo(caller);
	printed = asynx_json_print(result);
	MemoryContextDelete(scratch);
	PG_RETURN_TEXT_P(printed);
}

/* The patched document. */
static Jsonb *
patched(const Jsonb *document, const Jsonb *patch)
{
	AsynxDoc   *doc = asynx_doc_borrow(CurrentMemoryContext, document);

	asynx_doc_apply(doc, patch);
	return asynx_doc_jsonb(doc);
}

/* asynx.json_patch_text(document text, patch text): the patched document. */
Datum
asynx_json_patch_text(PG_FUNCTION_ARGS)
{
	return operate_on_text(fcinfo, patched);
}

/* asynx.json_diff_text(source text, target text): the patch between them. */
Datum
asynx_json_diff_text(PG_FUNCTION_ARGS)
{
	return operate_on_text(fcinfo, asynx_diff);
}
