/*
 * check.h
 *	  What must hold of the rooms under test, whatever they are given.
 *
 * The harness asks these questions of random documents, the fuzz targets of those
 * that the fuzzer thinks of.
 */
#ifndef CHECK_H
#define CHECK_H

#include "apply.h"
#include "doc.h"
#include "shim.h"

/* Arguments and result of what runs under shim_run(). */
typedef struct Call
{
	PGFunction	function;
	void	   *arguments[2];
	void	   *result;			/* NULL for SQL NULL */
	ShimError	error;			/* sqlstate is empty if there was none */
} Call;

/* A document that lives through patches, in the rooms and as a tree. */
typedef struct Fold
{
	AsynxDoc   *doc;			/* NULL before the first patch and after an error */
	Tree	   *document;
	const Jsonb *patch;
	Jsonb	   *result;
} Fold;

/* Whoever checks defines it: says what does not hold. */
extern void check_failed(const char *format,...) __attribute__((format(printf, 1, 2)));

extern Call call_function(PGFunction function, void *first, void *second);
extern bool same_jsonb(const Jsonb *a, const Jsonb *b);
extern char *print_jsonb(const Jsonb *jsonb);
extern text *make_text(const Tree *string);

/* apply(diff(a, b), a) must be b; true if it is. */
extern bool check_diff(const Tree *a, const Tree *b);

/* A patch must do the same to a fold and to a tree; true if it does. */
extern bool check_event(Fold *fold, const Tree *patch);

/* A text must be read, and printed, as the server would; true if it is. */
extern bool check_text(const char *data, Size len);

/* From text to text must be as from jsonb to jsonb; true if it is. */
extern bool check_text_patch(const Tree *document, const Tree *patch);
extern bool check_text_diff(const Tree *a, const Tree *b);

/* Ends a fold. */
extern void check_fold_end(Fold *fold);

#endif							/* CHECK_H */
