/*
 * fuzz.h
 *	  What the fuzz targets share.
 *
 * A target is one file that defines fuzz_one().  Its first bytes choose limits and
 * the way to read the rest: as text, or as the source of chance for the harness's
 * generators, so that any bytes make a well-formed document.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "check.h"
#include "random.h"

/* What the fuzzer thought of, from front to back. */
typedef struct Input
{
	const uint8 *data;
	Size		len;
} Input;

/* One run of the target; everything it allocates is freed behind it. */
extern void fuzz_one(Input input);

/* The next byte, 0 behind the end. */
extern int	input_byte(Input *input);

/* The bytes up to a line feed (or the end) as a document; NULL if they are none. */
extern Tree *input_document(Input *input);

/* What is left, as the source of chance. */
extern void input_is_chance(const Input *input);

/* Stops, and names what does not hold. */
#define MUST(condition) \
	do { \
		if (!(condition)) \
			check_failed("%s:%d: not so: %s", __FILE__, __LINE__, #condition); \
	} while (0)

#endif							/* FUZZ_H */
