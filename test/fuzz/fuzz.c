/*
 * fuzz.c
 *	  Runs a fuzz target: under libFuzzer, or (REPLAY) on the files it is given.
 */
#include "fuzz.h"

#include "guc.h"
#include "text.h"

extern int	LLVMFuzzerInitialize(int *argc, char ***argv);
extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t len);

static MemoryContext scratch;

/* A run of the target, as shim_run() wants it. */
static void
run_body(void *input)
{
	fuzz_one(*(Input *) input);
}

/* Whatever does not hold is a crash, which is what fuzzers look for. */
void
check_failed(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

/* The next byte, 0 behind the end. */
int
input_byte(Input *input)
{
	if (input->len == 0)
		return 0;
	input->len--;
	return *input->data++;
}

/* The bytes up to a line feed (or the end) as a document; NULL if they are none. */
Tree *
input_document(Input *input)
{
	const uint8 *start = input->data;
	const uint8 *stop = input->len == 0 ? NULL : memchr(start, '\n', input->len);
	Size		len = stop == NULL ? input->len : (Size) (stop - start);
	const char *error;

	input->data += stop == NULL ? len : len + 1;
	input->len -= stop == NULL ? len : len + 1;
	return tree_parse((const char *) start, len, &error);
}

/* What is left, as the source of chance. */
void
input_is_chance(const Input *input)
{
	random_source(input->data, input->len);
}

/* libFuzzer calls it first. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	shim_init();
	scratch = shim_context_create();
	return 0;
}

/* libFuzzer calls it for each input; an error nobody expected is a finding. */
int
LLVMFuzzerTestOneInput(const uint8 *data, size_t len)
{
	Input		input = {data, len};
	ShimError	error = {"", ""};

	random_source(data, 0);
	asynx_max_document_depth = ASYNX_DEFAULT_DOCUMENT_DEPTH;
	asynx_max_document_size = ASYNX_DEFAULT_DOCUMENT_SIZE;
	CurrentMemoryContext = scratch;
	if (!shim_run(run_body, &input, &error))
		check_failed("%s: %s", error.sqlstate, error.message);
	CurrentMemoryContext = TopMemoryContext;
	MemoryContextReset(scratch);
	MemoryContextReset(TopMemoryContext);
	return 0;
}

#ifdef REPLAY

/* Reads a file and runs the target on it. */
static void
replay(const char *name)
{
	FILE	   *file = fopen(name, "rb");
	uint8	   *data;
	long		len;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (len = ftell(file)) < 0)
	{
		perror(name);
		exit(2);
	}
	rewind(file);

	/* A chunk of exactly its size, so that reading beyond it is noticed. */
	data = malloc(Max(len, 1));
	if (data == NULL || fread(data, 1, len, file) != (size_t) len)
		exit(2);
	fclose(file);
	fprintf(stderr, "%s\n", name);
	LLVMFuzzerTestOneInput(data, len);
	free(data);
}

/* Runs the target on each file; a finding aborts right below the file's name. */
int
main(int argc, char **argv)
{
	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	MemoryContextDelete(scratch);
	MemoryContextDelete(TopMemoryContext);
	printf("%d inputs\n", argc - 1);
	return 0;
}

#endif							/* REPLAY */
