/*
 * patch.c
 *	  RFC 6902: JSON patches, and asynx.json_patch and asynx.json_patch_agg.
 *
 * A patch is read operation by operation, straight from its jsonb.  Reading one
 * checks everything that can be known without a document (invalid_patch), so
 * asynx_patch_check() is the same walk without an application.  What then does
 * not fit the document is patch_failed, a "test" that finds another value
 * patch_test_failed.
 *
 * A patch applies as a whole or not at all because nobody sees the document in
 * between: an error takes it away with the memory context that it lives in.
 *
 * Messages name the operation by its number from 0, and where it points to, but
 * never carry a value: values may be personal, messages end up in logs.
 */
#include "asynx.h"

#include "errors.h"
#include "fmgr.h"
#include "guc.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "patch.h"

PG_FUNCTION_INFO_V1(asynx_json_patch);
PG_FUNCTION_INFO_V1(asynx_json_patch_agg_transition);
PG_FUNCTION_INFO_V1(asynx_json_patch_agg_final);

/* Bytes of a pointer or name that a message shows. */
#define MESSAGE_BYTES 128

typedef enum OperationType
{
	OP_ADD,
	OP_REMOVE,
	OP_REPLACE,
	OP_MOVE,
	OP_COPY,
	OP_TEST
} OperationType;

/* What an operation is called, and what it needs besides a path. */
typedef struct OperationKind
{
	const char *name;
	uint32		len;
	OperationType type;
	bool		has_from;
	bool		has_value;
} OperationKind;

static const OperationKind kinds[] = {
	{"add", 3, OP_ADD, false, true},
	{"remove", 6, OP_REMOVE, false, false},
	{"replace", 7, OP_REPLACE, false, true},
	{"move", 4, OP_MOVE, true, false},
	{"copy", 4, OP_COPY, true, false},
	{"test", 4, OP_TEST, false, true}
};

/* Members of an operation that RFC 6902 knows, by their place in OperationMembers. */
typedef enum MemberIndex
{
	MEMBER_OP,
	MEMBER_FROM,
	MEMBER_PATH,
	MEMBER_VALUE,
	MEMBER_COUNT
} MemberIndex;

static const char *const member_names[MEMBER_COUNT] = {"op", "from", "path", "value"};

/* The known members of an operation, as they stand there. */
typedef struct OperationMembers
{
	AsynxValue	values[MEMBER_COUNT];
	bool		present[MEMBER_COUNT];
} OperationMembers;

/* An operation that is known to be well formed. */
typedef struct Operation
{
	uint32		index;			/* its number in the patch, from 0 */
	const OperationKind *kind;
	AsynxPointer path;
	AsynxPointer from;			/* empty unless the kind has one */
	AsynxValue	value;			/* null unless the kind has one */
} Operation;

/* Walks the operations of a patch; reuses what one operation has allocated for the next. */
typedef struct PatchReader
{
	AsynxCursor cursor;
	Operation	operation;
	uint32		next;			/* number of the next operation */
} PatchReader;

/* Bytes of a text that a message shows, whole characters. */
static int
shown_len(const char *data, uint32 len)
{
	return pg_mbcliplen(data, (int) len, MESSAGE_BYTES);
}

/* Which of the known members is this key?  MEMBER_COUNT if none. */
static MemberIndex
identify_member(const AsynxValue *key)
{
	switch (key->len)
	{
		case 2:
			return memcmp(key->data, "op", 2) == 0 ? MEMBER_OP : MEMBER_COUNT;
		case 4:
			if (memcmp(key->data, "path", 4) == 0)
				return MEMBER_PATH;
			return memcmp(key->data, "from", 4) == 0 ? MEMBER_FROM : MEMBER_COUNT;
		case 5:
			return memcmp(key->data, "value", 5) == 0 ? MEMBER_VALUE : MEMBER_COUNT;
		default:
			return MEMBER_COUNT;
	}
}

/* Finds the known members of an operation in one pass; others are ignored. */
static void
collect_members(OperationMembers *members, const AsynxValue *object)
{
	AsynxMembers walk;
	AsynxValue	key;
	AsynxValue	value;

	memset(members->present, 0, sizeof(members->present));
	asynx_members_begin(&walk, object);
	while (asynx_members_next(&walk, &key, &value))
	{
		MemberIndex member = identify_member(&key);

		if (member != MEMBER_COUNT)
		{
			members->values[member] = value;
			members->present[member] = true;
		}
	}
}

/* A member that the operation must have. */
static const AsynxValue *
required_member(const OperationMembers *members, MemberIndex member, uint32 index)
{
	if (!members->present[member])
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_INVALID_PATCH),
				 errmsg("patch operation %u has no member \"%s\"", index, member_names[member])));
	return &members->values[member];
}

/* A member that the operation must have and that must be a string. */
static const AsynxValue *
required_string(const OperationMembers *members, MemberIndex member, uint32 index)
{
	const AsynxValue *value = required_member(members, member, index);

	if (value->tag != ASYNX_STRING)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_INVALID_PATCH),
				 errmsg("member \"%s\" of patch operation %u is not a string",
						member_names[member], index)));
	return value;
}

/* The kind that an operation names. */
static const OperationKind *
identify_kind(const AsynxValue *name, uint32 index)
{
	for (int i = 0; i < (int) lengthof(kinds); i++)
	{
		if (kinds[i].len == name->len && memcmp(kinds[i].name, name->data, name->len) == 0)
			return &kinds[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_INVALID_PATCH),
			 errmsg("patch operation %u is unknown: \"%.*s\"",
					index, shown_len(name->data, name->len), name->data),
			 errhint("The operations are add, remove, replace, move, copy and test.")));
}

/* Parses a pointer that an operation must have. */
static void
parse_pointer(AsynxPointer *pointer, const OperationMembers *members, MemberIndex member,
			  uint32 index)
{
	const AsynxValue *text = required_string(members, member, index);
	const char *complaint = asynx_pointer_parse(pointer, text->data, text->len);

	if (complaint != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_INVALID_PATCH),
				 errmsg("member \"%s\" of patch operation %u is not a JSON pointer: \"%.*s\"",
						member_names[member], index,
						shown_len(text->data, text->len), text->data),
				 errdetail_internal("%s", complaint)));
	if (pointer->count > (uint32) asynx_max_document_depth)
		asynx_document_too_deep(asynx_max_document_depth);
}

/* Refuses operations that fit no document at all. */
static void
check_sense(const Operation *operation)
{
	if (operation->kind->type == OP_REMOVE && operation->path.count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_INVALID_PATCH),
				 errmsg("patch operation %u removes the whole document", operation->index),
				 errhint("Replace the document by null instead.")));

	if (operation->kind->type == OP_MOVE &&
		asynx_pointer_inside(&operation->path, &operation->from))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_INVALID_PATCH),
				 errmsg("patch operation %u moves \"%.*s\" into itself", operation->index,
						shown_len(operation->from.text, operation->from.text_len),
						operation->from.text)));
}

/* Reads one operation; what is wrong with it in itself is invalid_patch. */
static void
parse_operation(Operation *operation, const AsynxValue *object)
{
	uint32		index = operation->index;
	OperationMembers members;

	if (object->tag != ASYNX_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_INVALID_PATCH),
				 errmsg("patch operation %u is not an object", index)));

	collect_members(&members, object);
	operation->kind = identify_kind(required_string(&members, MEMBER_OP, index), index);
	parse_pointer(&operation->path, &members, MEMBER_PATH, index);
	if (operation->kind->has_from)
		parse_pointer(&operation->from, &members, MEMBER_FROM, index);
	if (operation->kind->has_value)
		operation->value = *required_member(&members, MEMBER_VALUE, index);
	check_sense(operation);
}

/* Begins to read a patch, which must be an array. */
static void
reader_begin(PatchReader *reader, const Jsonb *patch)
{
	AsynxValue	root = asynx_value_root(patch);

	if (root.tag != ASYNX_ARRAY)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_INVALID_PATCH),
				 errmsg("JSON patch is not an array")));

	asynx_elements_begin(&reader->cursor, &root);
	asynx_pointer_init(&reader->operation.path);
	asynx_pointer_init(&reader->operation.from);
	reader->next = 0;
}

/* The next operation; NULL after the last one. */
static const Operation *
reader_next(PatchReader *reader)
{
	AsynxValue	object;

	CHECK_FOR_INTERRUPTS();
	if (!asynx_cursor_next(&reader->cursor, &object))
		return NULL;

	reader->operation.index = reader->next++;
	parse_operation(&reader->operation, &object);
	return &reader->operation;
}

/* Ends the reading of a patch. */
static void
reader_end(PatchReader *reader)
{
	asynx_pointer_free(&reader->operation.path);
	asynx_pointer_free(&reader->operation.from);
}

/* Raises what came of an operation that could not be applied. */
static void
operation_failed(const Operation *operation, const AsynxPointer *pointer, AsynxOutcome outcome)
{
	static const char *const details[] = {
		[ASYNX_NO_MEMBER] = "An object has no such member.",
		[ASYNX_NO_ELEMENT] = "An array has no such element.",
		[ASYNX_NOT_AN_INDEX] = "An array has no named members.",
		[ASYNX_NOT_A_CONTAINER] = "A value on the way is neither an object nor an array.",
	};
	int			len = shown_len(pointer->text, pointer->text_len);

	if (outcome == ASYNX_UNEQUAL)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_PATCH_TEST_FAILED),
				 errmsg("patch operation %u (test) finds another value at \"%.*s\"",
						operation->index, len, pointer->text)));

	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_PATCH_FAILED),
			 errmsg("patch operation %u (%s) cannot follow \"%.*s\"",
					operation->index, operation->kind->name, len, pointer->text),
			 errdetail_internal("%s", details[outcome])));
}

/* Raises unless a pointer of an operation was followed. */
static inline void
expect_found(const Operation *operation, const AsynxPointer *pointer, AsynxOutcome outcome)
{
	if (unlikely(outcome != ASYNX_FOUND))
		operation_failed(operation, pointer, outcome);
}

/* Moves something; to where it is already is no change, but it must be there. */
static void
apply_move(AsynxDoc *doc, const Operation *operation)
{
	if (asynx_pointer_same(&operation->from, &operation->path))
	{
		expect_found(operation, &operation->from, asynx_doc_find(doc, &operation->from));
		return;
	}
	expect_found(operation, &operation->from, asynx_doc_take(doc, &operation->from));
	expect_found(operation, &operation->path, asynx_doc_put(doc, &operation->path));
}

/* Applies one operation. */
static void
apply_operation(AsynxDoc *doc, const Operation *operation)
{
	const AsynxPointer *path = &operation->path;

	switch (operation->kind->type)
	{
		case OP_ADD:
			asynx_doc_hold(doc, &operation->value);
			expect_found(operation, path, asynx_doc_put(doc, path));
			break;
		case OP_REMOVE:
			expect_found(operation, path, asynx_doc_take(doc, path));
			asynx_doc_drop(doc);
			break;
		case OP_REPLACE:
			asynx_doc_hold(doc, &operation->value);
			expect_found(operation, path, asynx_doc_replace(doc, path));
			break;
		case OP_MOVE:
			apply_move(doc, operation);
			break;
		case OP_COPY:
			expect_found(operation, &operation->from, asynx_doc_pick(doc, &operation->from));
			expect_found(operation, path, asynx_doc_put(doc, path));
			break;
		case OP_TEST:
			expect_found(operation, path, asynx_doc_test(doc, path, &operation->value));
			break;
	}
}

/* Applies a patch to a document. */
void
asynx_doc_apply(AsynxDoc *doc, const Jsonb *patch)
{
	PatchReader reader;
	const Operation *operation;

	reader_begin(&reader, patch);
	while ((operation = reader_next(&reader)) != NULL)
		apply_operation(doc, operation);
	reader_end(&reader);
}

/*
 * Checks that a patch is well formed, and that it holds no value above the
 * limits of documents, which no document could take up.
 */
void
asynx_patch_check(const Jsonb *patch)
{
	PatchReader reader;
	const Operation *operation;

	reader_begin(&reader, patch);
	while ((operation = reader_next(&reader)) != NULL)
	{
		if (operation->kind->has_value)
			asynx_value_check(&operation->value);
	}
	reader_end(&reader);
}

/* asynx.json_patch(document jsonb, patch jsonb): the patched document. */
Datum
asynx_json_patch(PG_FUNCTION_ARGS)
{
	const Jsonb *document = PG_GETARG_JSONB_P(0);
	const Jsonb *patch = PG_GETARG_JSONB_P(1);
	AsynxDoc   *doc = asynx_doc_borrow(CurrentMemoryContext, document);
	Jsonb	   *result;

	asynx_doc_apply(doc, patch);
	result = asynx_doc_jsonb(doc);
	asynx_doc_free(doc);
	PG_RETURN_JSONB_P(result);
}

/* Transition of asynx.json_patch_agg: the state is a document, created by the first patch. */
Datum
asynx_json_patch_agg_transition(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	AsynxDoc   *doc = PG_ARGISNULL(0) ? NULL : (AsynxDoc *) PG_GETARG_POINTER(0);
	Jsonb	   *patch;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");

	if (!PG_ARGISNULL(1))
	{
		if (doc == NULL)
			doc = asynx_doc_create(context, NULL);
		patch = PG_GETARG_JSONB_P(1);
		asynx_doc_apply(doc, patch);
		PG_FREE_IF_COPY(patch, 1);
	}

	if (doc == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(doc);
}

/* Result of asynx.json_patch_agg; the state can go on, as in a window. */
Datum
asynx_json_patch_agg_final(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(asynx_doc_jsonb((AsynxDoc *) PG_GETARG_POINTER(0)));
}
