/*
 * shim.c
 *	  As much of a PostgreSQL backend as the pure JSON rooms need.
 *
 * A chunk is one malloc: a header that links it into its context, then what the
 * caller sees.  AddressSanitizer is told that the header is not to be touched, so
 * writing before a chunk is caught as writing behind it is.
 */
#include "shim.h"

#include <setjmp.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "number.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "guc.h"

#ifdef __SANITIZE_ADDRESS__
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void) (address))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void) (address))
#endif

/* Sanitizers need larger frames than a server's max_stack_depth allows. */
#define STACK_BYTES (6 * 1024 * 1024)

/* Precedes each chunk. */
typedef struct Chunk
{
	struct Chunk *previous;
	struct Chunk *next;
	struct ShimContext *context;
	Size		size;
} Chunk;

/* What a MemoryContext points to here. */
typedef struct ShimContext
{
	struct ShimContext *parent;
	struct ShimContext *first_child;
	struct ShimContext *next_sibling;
	Chunk	   *chunks;
	MemoryContextCallback *callbacks;
} ShimContext;

/* Functions whose declarations differ from one version of the server to the next. */
extern void shim_assertion_failed(const char *condition) __asm__("ExceptionalCondition");
extern void shim_append_bytes(StringInfo str, const void *data, int datalen)
			__asm__("appendBinaryStringInfo");

/* Where an error goes. */
static sigjmp_buf *handler = NULL;
static ShimError *handler_error = NULL;

static char *stack_base;
static long allocations_left = 0;
static long checks_left = 0;
static Size bytes = 0;
static Size peak_bytes = 0;

MemoryContext TopMemoryContext = NULL;
MemoryContext CurrentMemoryContext = NULL;
volatile sig_atomic_t InterruptPending = false;

/* The settings that the rooms read. */
int			asynx_max_document_depth = ASYNX_DEFAULT_DOCUMENT_DEPTH;
int			asynx_max_document_size = ASYNX_DEFAULT_DOCUMENT_SIZE;

/* Prepares the shim; the stack is measured from here. */
void
shim_init(void)
{
	stack_base = __builtin_frame_address(0);
	TopMemoryContext = shim_context_create();
	CurrentMemoryContext = TopMemoryContext;
}

/* Runs `body` until it returns or raises. */
bool
shim_run(void (*body) (void *arg), void *arg, ShimError *error)
{
	sigjmp_buf *outer = handler;
	ShimError  *outer_error = handler_error;
	MemoryContext context = CurrentMemoryContext;
	sigjmp_buf	here;
	bool		raised = true;

	if (sigsetjmp(here, 0) == 0)
	{
		handler = &here;
		handler_error = error;
		body(arg);
		raised = false;
	}
	handler = outer;
	handler_error = outer_error;
	CurrentMemoryContext = context;
	return !raised;
}

/* Announces which allocation will fail. */
long
shim_fail_allocation(long n)
{
	long		left = allocations_left;

	allocations_left = n;
	return left;
}

/* Announces which interrupt check will find the query cancelled. */
long
shim_cancel_check(long n)
{
	long		left = checks_left;

	checks_left = n;
	InterruptPending = n > 0;
	return left;
}

/* The peak so far; a new one starts from what is allocated now. */
Size
shim_peak(void)
{
	Size		peak = peak_bytes;

	peak_bytes = bytes;
	return peak;
}

/* The context behind the server's type. */
static ShimContext *
shim_context(MemoryContext context)
{
	return (ShimContext *) context;
}

/* The header of a chunk, made accessible. */
static Chunk *
open_chunk(void *pointer)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;

	ASAN_UNPOISON_MEMORY_REGION(chunk, sizeof(Chunk));
	return chunk;
}

/* What the caller sees of a chunk; the header becomes inaccessible. */
static void *
close_chunk(Chunk *chunk)
{
	ASAN_POISON_MEMORY_REGION(chunk, sizeof(Chunk));
	return chunk + 1;
}

/* Makes a neighbour point to `chunk`, or to what follows it. */
static void
relink(ShimContext *context, Chunk *previous, Chunk *next)
{
	if (previous == NULL)
		context->chunks = next;
	else
	{
		open_chunk(previous + 1)->next = next;
		close_chunk(previous);
	}
	if (next != NULL)
	{
		open_chunk(next + 1)->previous = previous;
		close_chunk(next);
	}
}

/* Counts an allocation: is it the one that fails? */
bool
shim_allocation_fails(void)
{
	return allocations_left > 0 && --allocations_left == 0;
}

/* malloc() that does not return NULL, and fails when told so. */
static void *
checked_malloc(Size size)
{
	void	   *memory;

	if (shim_allocation_fails())
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	memory = malloc(size);
	if (memory == NULL)
		abort();
	return memory;
}

/* Allocates a chunk in a context. */
void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	ShimContext *owner = shim_context(context);
	Chunk	   *chunk = checked_malloc(sizeof(Chunk) + size);

	chunk->previous = NULL;
	chunk->next = owner->chunks;
	chunk->context = owner;
	chunk->size = size;
	bytes += size;
	peak_bytes = Max(peak_bytes, bytes);
	if (owner->chunks != NULL)
	{
		open_chunk(owner->chunks + 1)->previous = chunk;
		close_chunk(owner->chunks);
	}
	owner->chunks = chunk;
	return close_chunk(chunk);
}

/* Allocates zeros. */
void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return memset(MemoryContextAlloc(context, size), 0, size);
}

/* Allocates in the current context. */
void *
palloc(Size size)
{
	return MemoryContextAlloc(CurrentMemoryContext, size);
}

/* Allocates zeros in the current context. */
void *
palloc0(Size size)
{
	return MemoryContextAllocZero(CurrentMemoryContext, size);
}

/* Frees a chunk at once. */
void
pfree(void *pointer)
{
	Chunk	   *chunk = open_chunk(pointer);

	bytes -= chunk->size;
	relink(chunk->context, chunk->previous, chunk->next);
	free(chunk);
}

/* Always moves, so that pointers into the old chunk are found out. */
void *
repalloc(void *pointer, Size size)
{
	Chunk	   *chunk = open_chunk(pointer);
	Size		old_size = chunk->size;
	MemoryContext context = (MemoryContext) chunk->context;
	void	   *moved;

	close_chunk(chunk);
	moved = MemoryContextAlloc(context, size);
	memcpy(moved, pointer, Min(old_size, size));
	pfree(pointer);
	return moved;
}

/* The same; there is no limit on sizes here. */
void *
repalloc_huge(void *pointer, Size size)
{
	return repalloc(pointer, size);
}

/* Copies a string. */
char *
pstrdup(const char *in)
{
	return strcpy(palloc(strlen(in) + 1), in);
}

/* Creates a context that nobody else will delete. */
MemoryContext
shim_context_create(void)
{
	ShimContext *context = calloc(1, sizeof(ShimContext));

	if (context == NULL)
		abort();
	return (MemoryContext) context;
}

/* Creates a context; its sizes do not matter here. */
MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name,
							  Size minContextSize, Size initBlockSize, Size maxBlockSize)
{
	ShimContext *owner = shim_context(parent);
	ShimContext *context;

	free(checked_malloc(1));
	context = shim_context(shim_context_create());
	context->parent = owner;
	context->next_sibling = owner->first_child;
	owner->first_child = context;
	return (MemoryContext) context;
}

/* Puts a callback before those that are there. */
void
MemoryContextRegisterResetCallback(MemoryContext context, MemoryContextCallback *callback)
{
	callback->next = shim_context(context)->callbacks;
	shim_context(context)->callbacks = callback;
}

/* Deletes the children, calls the callbacks, frees the chunks. */
void
MemoryContextReset(MemoryContext context)
{
	ShimContext *owner = shim_context(context);

	while (owner->first_child != NULL)
		MemoryContextDelete((MemoryContext) owner->first_child);
	while (owner->callbacks != NULL)
	{
		MemoryContextCallback *callback = owner->callbacks;

		owner->callbacks = callback->next;
		callback->func(callback->arg);
	}
	while (owner->chunks != NULL)
		pfree(owner->chunks + 1);
}

/* Resets a context, unlinks it from its parent and frees it. */
void
MemoryContextDelete(MemoryContext context)
{
	ShimContext *owner = shim_context(context);

	MemoryContextReset(context);
	if (owner->parent != NULL)
	{
		ShimContext **link = &owner->parent->first_child;

		while (*link != owner)
			link = &(*link)->next_sibling;
		*link = owner->next_sibling;
	}
	free(owner);
}

/* Begins a message; what is less than an error is not wanted. */
bool
errstart(int elevel, const char *domain)
{
	if (elevel < ERROR)
		return false;
	if (handler == NULL)
		abort();
	strcpy(handler_error->sqlstate, "XX000");
	handler_error->message[0] = '\0';
	return true;
}

/* What ereport(ERROR) calls instead of errstart(). */
bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

/* Raises the error: returns to shim_run(). */
void
errfinish(const char *filename, int lineno, const char *funcname)
{
	siglongjmp(*handler, 1);
}

/* Keeps the SQLSTATE as text. */
int
errcode(int sqlerrcode)
{
	for (int i = 0; i < 5; i++)
		handler_error->sqlstate[i] = PGUNSIXBIT(sqlerrcode >> (6 * i));
	return 0;
}

/* Keeps the message, formatted. */
int
errmsg(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vsnprintf(handler_error->message, sizeof(handler_error->message), format, args);
	va_end(args);
	return 0;
}

/* Keeps the message; none of ours has arguments that matter. */
int
errmsg_internal(const char *format,...)
{
	strlcpy(handler_error->message, format, sizeof(handler_error->message));
	return 0;
}

/* Details are not looked at. */
int
errdetail(const char *format,...)
{
	return 0;
}

/* Details are not looked at. */
int
errdetail_internal(const char *format,...)
{
	return 0;
}

/* Hints are not looked at. */
int
errhint(const char *format,...)
{
	return 0;
}

/* A failed Assert(). */
void
shim_assertion_failed(const char *condition)
{
	fprintf(stderr, "assertion failed: %s\n", condition);
	abort();
}

/* Refuses to go deeper than STACK_BYTES. */
void
check_stack_depth(void)
{
	if (stack_base - (char *) __builtin_frame_address(0) > STACK_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("stack depth limit exceeded")));
}

/* Called by CHECK_FOR_INTERRUPTS() while a cancel is announced. */
void
ProcessInterrupts(void)
{
	if (checks_left > 0 && --checks_left == 0)
	{
		InterruptPending = false;
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement")));
	}
}

/* Not random at all: rounds are to be repeatable. */
bool
pg_strong_random(void *buf, size_t len)
{
	memset(buf, 0xA5, len);
	return true;
}

/* Begins small, so that growing is exercised. */
void
initStringInfo(StringInfo str)
{
	str->maxlen = 16;
	str->data = palloc(str->maxlen);
	str->data[0] = '\0';
	str->len = 0;
	str->cursor = 0;
}

/* Makes room for more bytes and a NUL. */
void
enlargeStringInfo(StringInfo str, int needed)
{
	if (needed < str->maxlen - str->len)
		return;
	str->maxlen = Max(str->maxlen * 2, str->len + needed + 1);
	str->data = repalloc(str->data, str->maxlen);
}

/* Appends bytes and a NUL. */
void
shim_append_bytes(StringInfo str, const void *data, int datalen)
{
	enlargeStringInfo(str, datalen);
	memcpy(str->data + str->len, data, datalen);
	str->len += datalen;
	str->data[str->len] = '\0';
}

/* Decimal digits of a number, without a terminating NUL. */
int
pg_ultoa_n(uint32 value, char *a)
{
	char		digits[MAXINT8LEN + 1];
	int			len = snprintf(digits, sizeof(digits), "%u", value);

	memcpy(a, digits, len);
	return len;
}

/* Sorts with the C library. */
void
pg_qsort(void *base, size_t nel, size_t elsize, int (*cmp) (const void *, const void *))
{
	(qsort) (base, nel, elsize, cmp);
}

/* Clips UTF-8 to whole characters. */
int
pg_mbcliplen(const char *mbstr, int len, int limit)
{
	if (len <= limit)
		return len;
	while (limit > 0 && ((unsigned char) mbstr[limit] & 0xC0) == 0x80)
		limit--;
	return limit;
}

/* Nothing is compressed or out of line here. */
struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	return datum;
}

/* The same, for those that would live with a short header. */
struct varlena *
pg_detoast_datum_packed(struct varlena *datum)
{
	return datum;
}

/* Equality of two numerics. */
Datum
numeric_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(number_equal((const char *) PG_GETARG_POINTER(0),
								(const char *) PG_GETARG_POINTER(1)));
}

/* Calls a function of two arguments. */
Datum
DirectFunctionCall2Coll(PGFunction func, Oid collation, Datum arg1, Datum arg2)
{
	LOCAL_FCINFO(fcinfo, 2);

	InitFunctionCallInfoData(*fcinfo, NULL, 2, collation, NULL, NULL);
	fcinfo->args[0].value = arg1;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = arg2;
	fcinfo->args[1].isnull = false;
	return func(fcinfo);
}

/* The caller passes the aggregate's context as fcinfo->context. */
int
AggCheckCallContext(FunctionCallInfo fcinfo, MemoryContext *aggcontext)
{
	*aggcontext = (MemoryContext) fcinfo->context;
	return fcinfo->context == NULL ? 0 : AGG_CONTEXT_AGGREGATE;
}
