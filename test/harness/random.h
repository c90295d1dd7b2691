/*
 * random.h
 *	  Random documents, changes and patches, the same for the same seed.
 *
 * Instead of a seed a fuzzer's bytes can decide: whatever they are, the documents
 * are well formed, and changing a byte changes a document somewhere.
 */
#ifndef RANDOM_H
#define RANDOM_H

#include "text.h"

extern void random_seed(uint64 seed);

/* From now on chance is what these bytes say, and when they are used up always the first choice. */
extern void random_source(const uint8 *data, Size len);

/* A number from 0 to n - 1. */
extern int	random_below(int n);

/* A document; `budget` bounds its number of values. */
extern Tree *random_tree(int budget);

/* A document with an array and an object of more than a hundred children. */
extern Tree *random_wide(void);

/* An array whose elements are mostly different and large enough to be moved. */
extern Tree *random_list(void);

/* Moves elements of an array around. */
extern void random_shuffle(Tree *array);

/* Changes a document a little, in place. */
extern void random_change(Tree *document);

/* JSON text written in another way: blanks, escapes, members that are overruled. */
extern char *random_layout(const char *json);

/* Damages a text: it may still be JSON, but need not. */
extern char *random_damage(const char *json);

/* A pointer that mostly leads somewhere. */
extern Tree *random_place(const Tree *document);

/* A patch that mostly fits the document. */
extern Tree *random_patch(const Tree *document);

#endif							/* RANDOM_H */
