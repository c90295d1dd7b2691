/*
 * main.c
 *	  Runs the pure JSON rooms without a server: case files, random rounds, faults.
 *
 *		harness [-s seed] [-r rounds] [-f] file...
 *
 * A case file is an array of objects in the manner of json-patch-test-suite:
 * "doc", "patch" and "expected" or "error"; "disabled" and a lonely "comment"
 * are skipped.  Our own files also use
 *		an "error" that is a SQLSTATE, which must be the one raised;
 *		"pointer" instead of "patch", where no "expected" means NULL;
 *		"depth" and "size" (kilobytes), to lower the limits.
 * A result must be the expected document's jsonb, byte for byte.
 *
 * -f runs every case, also as a replay does and from text to text, and a few long patches
 * of wide documents, again and again, with each allocation and each interrupt check in turn
 * failing; what leaks is reported by the sanitizer at the end.
 */
#include "shim.h"

#include <unistd.h>

#include "check.h"
#include "guc.h"
#include "patch.h"
#include "random.h"
#include "text.h"
#include "utils/builtins.h"

/* Patches that one random document lives through; a wide one changes its shape after many. */
#define FOLD_EVENTS 12
#define WIDE_EVENTS 60

/* Wide documents that faults are tried on, and the operations of their patches. */
#define WIDE_FAULTS 6
#define WIDE_OPERATIONS 50

/* A fold of so many events must do with so much memory, and give this. */
#define LONG_FOLD_EVENTS 40000
#define LONG_FOLD_BYTES (2 * 1024 * 1024)
#define LONG_FOLD_RESULT "{\"n\":39996,\"map\":{\"a\":\"b\"},\"list\":[1.0,{\"x\":null}]}"

/* Whoever has seen so many has seen enough. */
#define MAX_FAILURES 20

/* The test suite's documents fit easily; larger faults would take for ever. */
#define MAX_FAULTS 100000

extern Datum asynx_json_patch(PG_FUNCTION_ARGS);
extern Datum asynx_json_patch_text(PG_FUNCTION_ARGS);
extern Datum asynx_json_pointer(PG_FUNCTION_ARGS);

static int	passed = 0;
static int	failed = 0;
static int	skipped = 0;
static long pairs = 0;
static MemoryContext scratch;

/* Reports a failure. */
void
check_failed(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vfprintf(stdout, format, args);
	va_end(args);
	fputc('\n', stdout);
	failed++;
}

/* Reads a file whole. */
static char *
read_file(const char *name, Size *len)
{
	FILE	   *file = fopen(name, "rb");
	char	   *data;

	if (file == NULL)
	{
		perror(name);
		exit(2);
	}
	fseek(file, 0, SEEK_END);
	*len = ftell(file);
	rewind(file);
	data = palloc(*len + 1);
	if (fread(data, 1, *len, file) != *len)
		exit(2);
	fclose(file);
	return data;
}

/* An integer member of a case, or `otherwise`. */
static int
case_setting(const Tree *item, const char *name, int otherwise)
{
	const Tree *value = tree_get(item, name);

	return value == NULL ? otherwise : atoi(tree_print(value));
}

/* Sets the limits that a case asks for. */
static void
set_limits(const Tree *item)
{
	asynx_max_document_depth = case_setting(item, "depth", ASYNX_DEFAULT_DOCUMENT_DEPTH);
	asynx_max_document_size = case_setting(item, "size", ASYNX_DEFAULT_DOCUMENT_SIZE);
}

/* Is a text an SQLSTATE of ours or of class 22? */
static bool
is_sqlstate(const Bytes *bytes)
{
	return bytes->len == 5 && (strncmp(bytes->data, "SX", 2) == 0 ||
							   strncmp(bytes->data, "22", 2) == 0);
}

/* Checks what a case's call gave against what the case expects. */
static void
check_outcome(const char *label, const Tree *item, const Call *call)
{
	const Tree *error = tree_get(item, "error");
	const Tree *expected = tree_get(item, "expected");
	Jsonb	   *wanted = expected == NULL ? NULL : tree_to_jsonb(expected);
	int			before = failed;

	if (error != NULL && call->error.sqlstate[0] == '\0')
		check_failed("%s: no error but %s", label, print_jsonb(call->result));
	else if (error != NULL && is_sqlstate(&error->bytes) &&
			 strcmp(call->error.sqlstate, error->bytes.data) != 0)
		check_failed("%s: %s: %s", label, call->error.sqlstate, call->error.message);
	else if (error == NULL && call->error.sqlstate[0] != '\0')
		check_failed("%s: %s: %s", label, call->error.sqlstate, call->error.message);
	else if (wanted != NULL && (call->result == NULL || !same_jsonb(call->result, wanted)))
		check_failed("%s: got %s", label, print_jsonb(call->result));
	else if (wanted == NULL && error == NULL && tree_get(item, "pointer") != NULL &&
			 call->result != NULL)
		check_failed("%s: not NULL but %s", label, print_jsonb(call->result));
	if (failed == before)
		passed++;
}

/* Why a case cannot be run; NULL if it can. */
static const char *
reason_to_skip(const Tree *item)
{
	const Tree *comment = tree_get(item, "comment");

	if (tree_get(item, "disabled") != NULL && tree_get(item, "disabled")->type == TREE_TRUE)
		return comment == NULL ? "disabled" : comment->bytes.data;
	if (tree_get(item, "doc") == NULL ||
		(tree_get(item, "patch") == NULL && tree_get(item, "pointer") == NULL))
		return "no document or no patch";
	return NULL;
}

/* What a case is about. */
static Call
prepare_case(const Tree *item)
{
	const Tree *pointer = tree_get(item, "pointer");
	Jsonb	   *document = tree_to_jsonb(tree_get(item, "doc"));
	Call		call = {asynx_json_patch, {document, NULL}, NULL, {"", ""}};

	if (pointer == NULL)
		call.arguments[1] = tree_to_jsonb(tree_get(item, "patch"));
	else
	{
		call.function = asynx_json_pointer;
		call.arguments[1] = make_text(pointer);
	}
	return call;
}

/* A document as the text that SQL functions take. */
static text *
print_as_text(const Tree *tree)
{
	char	   *printed = tree_print(tree);

	return make_text(tree_string(printed, strlen(printed)));
}

/* The same from text to text. */
static Call
prepare_text(const Tree *item)
{
	Call		call = {asynx_json_patch_text, {NULL, NULL}, NULL, {"", ""}};

	call.arguments[0] = print_as_text(tree_get(item, "doc"));
	call.arguments[1] = print_as_text(tree_get(item, "patch"));
	return call;
}

/* Applies a patch as a replay does, which wants the state and then goes on. */
static Datum
replay_patch(PG_FUNCTION_ARGS)
{
	AsynxDoc   *doc = asynx_doc_borrow(CurrentMemoryContext, PG_GETARG_JSONB_P(0));

	asynx_doc_apply(doc, PG_GETARG_JSONB_P(1));
	asynx_doc_state(doc);
	PG_RETURN_JSONB_P(asynx_doc_state(doc));
}

/* The same as a replay. */
static Call
prepare_replay(const Tree *item)
{
	Call		call = prepare_case(item);

	call.function = replay_patch;
	return call;
}

/* A case's name for messages. */
static const char *
case_label(const char *file, int number, const Tree *item)
{
	const char *base = strrchr(file, '/');
	const Tree *comment = tree_get(item, "comment");
	char	   *label = palloc(1024);

	snprintf(label, 1024, "%s[%d] %s", base == NULL ? file : base + 1, number,
			 comment == NULL ? "" : comment->bytes.data);
	return label;
}

/* Runs one case in a context of its own. */
static void
run_case(const char *file, int number, const Tree *item)
{
	const char *reason = reason_to_skip(item);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	const char *label = case_label(file, number, item);

	if (reason != NULL)
	{
		printf("skipped %s[%d]: %s\n", file, number, reason);
		skipped++;
	}
	else
	{
		Call		call;

		set_limits(item);
		call = prepare_case(item);
		call = call_function(call.function, call.arguments[0], call.arguments[1]);
		check_outcome(label, item, &call);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(scratch);
}

/*
 * Runs one call with fault after fault until none strikes any more.  Announcing
 * the next fault tells whether the last one has struck.
 */
static void
run_faults(const Tree *item, Call (*prepare) (const Tree *item), long (*announce) (long),
		   const char *sqlstate)
{
	for (long n = 1; n < MAX_FAULTS; n++)
	{
		MemoryContext caller = MemoryContextSwitchTo(scratch);
		Call		call = prepare(item);
		bool		struck;

		announce(n);
		call = call_function(call.function, call.arguments[0], call.arguments[1]);
		struck = announce(0) == 0;
		if (struck && strcmp(call.error.sqlstate, sqlstate) != 0)
			check_failed("fault %ld was swallowed: %s", n, call.error.message);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(scratch);
		if (!struck)
			break;
	}
}

/* Runs a case with each fault there is, in each way that there is to run it. */
static void
run_all_faults(const Tree *item)
{
	run_faults(item, prepare_case, shim_fail_allocation, "53200");
	run_faults(item, prepare_case, shim_cancel_check, "57014");
	if (tree_get(item, "pointer") != NULL)
		return;
	run_faults(item, prepare_replay, shim_fail_allocation, "53200");
	run_faults(item, prepare_text, shim_fail_allocation, "53200");
	run_faults(item, prepare_text, shim_cancel_check, "57014");
}

/* Runs the cases of one file. */
static void
run_file(const char *file, bool faults)
{
	MemoryContext context = shim_context_create();
	MemoryContext caller = MemoryContextSwitchTo(context);
	const char *error;
	Size		len;
	char	   *data = read_file(file, &len);
	Tree	   *items = tree_parse(data, len, &error);

	if (items == NULL || items->type != TREE_ARRAY)
	{
		fprintf(stderr, "%s: %s\n", file, error == NULL ? "not an array" : error);
		exit(2);
	}
	for (int i = 0; i < items->count; i++)
	{
		run_case(file, i, items->children[i]);
		if (faults && reason_to_skip(items->children[i]) == NULL)
			run_all_faults(items->children[i]);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

/* Two documents, mostly one made from the other. */
static void
diff_round(void)
{
	Tree	   *a = random_tree(random_below(20) == 0 ? 1000 : 60);
	Tree	   *b = tree_copy(a);

	for (int changes = random_below(6); changes > 0; changes--)
		random_change(b);
	if (random_below(20) == 0)
		b = random_tree(60);
	passed += check_diff(a, b);
	pairs++;
}

/* Two arrays with the elements in another order, some changed, some gone, some new. */
static void
list_round(void)
{
	Tree	   *a = random_list();
	Tree	   *b = tree_copy(a);

	random_shuffle(b);
	for (int changes = random_below(4); changes > 0; changes--)
		random_change(b);
	passed += check_diff(a, b);
	pairs++;
}

/* A document as text, in another layout, damaged; then from text to text. */
static void
text_round(void)
{
	Tree	   *document = random_tree(random_below(20) == 0 ? 1000 : 60);
	Tree	   *changed = tree_copy(document);
	char	   *json = random_layout(tree_print(document));
	char	   *damaged = random_damage(json);

	random_change(changed);
	passed += check_text(json, strlen(json));
	passed += check_text(damaged, strlen(damaged));
	passed += check_text_patch(document, random_patch(document));
	passed += check_text_diff(document, changed);
}

/* A document that lives through several patches. */
static void
fold_round(Tree *document, int events)
{
	Fold		fold = {NULL, document, NULL, NULL};

	/* Now and then so low limits that some patches reach them. */
	if (random_below(8) == 0)
	{
		asynx_max_document_depth = 3 + random_below(8);
		asynx_max_document_size = 1 + random_below(16);
	}
	for (int i = 0; i < events; i++)
		passed += check_event(&fold, random_patch(fold.document));
}

/* A patch of so many operations that fits the document. */
static Tree *
long_patch(const Tree *document, int count)
{
	Tree	   *patch = tree_create(TREE_ARRAY);
	Tree	   *current = tree_copy(document);

	while (patch->count < count)
	{
		Tree	   *next = random_patch(current);
		Tree	   *copy = tree_copy(current);

		if (apply_patch(&copy, next) != NULL)
			continue;
		for (int i = 0; i < next->count; i++)
			tree_insert(patch, patch->count, next->children[i]);
		current = copy;
	}
	return patch;
}

/* Wide documents, changed so much that their shape changes, with faults. */
static void
run_wide_faults(uint64 seed)
{
	MemoryContext context = shim_context_create();

	for (int i = 0; i < WIDE_FAULTS; i++)
	{
		MemoryContext caller = MemoryContextSwitchTo(context);
		Tree	   *item = tree_create(TREE_OBJECT);
		Tree	   *document;

		random_seed(seed + i);
		document = random_wide();
		tree_set(item, "doc", 3, document);
		tree_set(item, "patch", 5, long_patch(document, WIDE_OPERATIONS));
		set_limits(item);
		run_faults(item, prepare_replay, shim_fail_allocation, "53200");
		MemoryContextSwitchTo(caller);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
}

/* Event `i` of a long fold: a new value, an element more or less, a test, a copy. */
static Jsonb *
long_fold_patch(int i)
{
	static const char *const patches[] = {
		"[{\"op\":\"replace\",\"path\":\"/n\",\"value\":%d}]",
		"[{\"op\":\"add\",\"path\":\"/list/0\",\"value\":{\"id\":%d,\"text\":\"more bytes\"}}]",
		"[{\"op\":\"copy\",\"from\":\"/list\",\"path\":\"/map/copy %d\"}]",
		"[{\"op\":\"remove\",\"path\":\"/list/0\"},{\"op\":\"remove\",\"path\":\"/map/copy %d\"}]",
	};
	const char *error;
	char		text[256];

	snprintf(text, sizeof(text), patches[i % lengthof(patches)], i - (i % 4 == 3));
	return tree_to_jsonb(tree_parse(text, strlen(text), &error));
}

/* Folds many patches, each forgotten at once; the memory must not grow with their number. */
static void
long_fold_body(void *argument)
{
	static const char start[] = "{\"n\":0,\"list\":[1.0,{\"x\":null}],\"map\":{\"a\":\"b\"}}";
	const char *error;
	MemoryContext patches = shim_context_create();
	AsynxDoc   *doc = asynx_doc_create(CurrentMemoryContext,
									   tree_to_jsonb(tree_parse(start, strlen(start), &error)));

	for (int i = 0; i < LONG_FOLD_EVENTS; i++)
	{
		MemoryContext caller = MemoryContextSwitchTo(patches);
		Jsonb	   *patch = long_fold_patch(i);

		MemoryContextSwitchTo(caller);
		asynx_doc_apply(doc, patch);
		MemoryContextReset(patches);
	}
	MemoryContextDelete(patches);
	*(Jsonb **) argument = asynx_doc_jsonb(doc);
}

/* Runs a long fold and looks at its result and its memory. */
static void
run_long_fold(void)
{
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	ShimError	error = {"", ""};
	Jsonb	   *result = NULL;
	Size		peak;

	shim_peak();
	shim_run(long_fold_body, &result, &error);
	peak = shim_peak();
	if (result == NULL)
		check_failed("long fold: %s: %s", error.sqlstate, error.message);
	else if (strcmp(print_jsonb(result), LONG_FOLD_RESULT) != 0)
		check_failed("long fold: %s", print_jsonb(result));
	else if (peak > LONG_FOLD_BYTES)
		check_failed("long fold: took %zu bytes", peak);
	else
		passed++;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(scratch);
}

/* Runs the random rounds. */
static void
run_random(uint64 seed, long rounds)
{
	MemoryContext caller = MemoryContextSwitchTo(scratch);

	for (uint64 i = seed; i < seed + rounds && failed < MAX_FAILURES; i++)
	{
		int			before = failed;

		asynx_max_document_depth = ASYNX_DEFAULT_DOCUMENT_DEPTH;
		asynx_max_document_size = ASYNX_DEFAULT_DOCUMENT_SIZE;
		random_seed(i);
		if (i % 40 == 39)
			fold_round(random_wide(), WIDE_EVENTS);
		else if (i % 8 == 3)
			text_round();
		else if (i % 4 == 3)
			fold_round(random_tree(60), FOLD_EVENTS);
		else if (i % 4 == 2)
			list_round();
		else
			diff_round();
		if (failed > before)
			printf("to repeat this: SEED=%lu ROUNDS=1\n", (unsigned long) i);
		MemoryContextReset(scratch);
	}
	printf("%ld random rounds from seed %lu, %ld pairs of documents\n", rounds,
		   (unsigned long) seed, pairs);
	MemoryContextSwitchTo(caller);
}

/* Reads the options, runs what they ask for, sums up. */
int
main(int argc, char **argv)
{
	uint64		seed = 1;
	long		rounds = 0;
	bool		faults = false;
	int			option;

	while ((option = getopt(argc, argv, "s:r:f")) != -1)
	{
		if (option == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (option == 'r')
			rounds = atol(optarg);
		else if (option == 'f')
			faults = true;
		else
			return 2;
	}

	shim_init();
	scratch = shim_context_create();
	for (int i = optind; i < argc; i++)
		run_file(argv[i], faults);
	if (faults)
		run_wide_faults(seed);
	run_long_fold();
	run_random(seed, rounds);
	MemoryContextDelete(scratch);
	MemoryContextDelete(TopMemoryContext);

	printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	return failed == 0 ? 0 : 1;
}
