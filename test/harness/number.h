/*
 * number.h
 *	  Numbers between JSON text and the bytes of PostgreSQL's numeric.
 */
#ifndef NUMBER_H
#define NUMBER_H

#include "asynx.h"

/* Writes a JSON number as numeric to `out` (NULL: only counts); returns the bytes. */
extern uint32 number_from_text(const char *text, int len, char *out);

/* The numeric as text, palloc'd: every digit, trailing zeros of the fraction included. */
extern char *number_to_text(const char *numeric);

/* Equal by value: 1 = 1.0. */
extern bool number_equal(const char *a, const char *b);

#endif							/* NUMBER_H */
