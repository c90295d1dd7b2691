/*
 * text.h
 *	  JSON documents as trees: from and to text, from and to jsonb.
 *
 * Written apart from the rooms under test, so that they cannot share a mistake.
 * Everything is palloc'd in the current memory context.
 */
#ifndef TEXT_H
#define TEXT_H

#include "asynx.h"

#include "utils/jsonb.h"

typedef enum TreeType
{
	TREE_NULL,
	TREE_FALSE,
	TREE_TRUE,
	TREE_STRING,
	TREE_NUMBER,
	TREE_ARRAY,
	TREE_OBJECT
} TreeType;

/* A string that may contain anything but is ended by a NUL all the same. */
typedef struct Bytes
{
	char	   *data;
	int			len;
} Bytes;

typedef struct Tree
{
	TreeType	type;
	Bytes		bytes;			/* a string's bytes, or a number's as numeric */
	Bytes	   *keys;			/* of an object's members, in jsonb's order */
	struct Tree **children;
	int			count;
	int			capacity;		/* allocated in keys and children */
} Tree;

extern Tree *tree_create(TreeType type);
extern Tree *tree_string(const char *data, int len);
extern Tree *tree_number(const char *text, int len);
extern Tree *tree_copy(const Tree *tree);
extern bool tree_equal(const Tree *a, const Tree *b);

/* Levels of nesting; a scalar has none. */
extern int	tree_levels(const Tree *tree);

/* Members; setting replaces what was there. */
extern int	tree_find(const Tree *object, const char *key, int len);
extern Tree *tree_get(const Tree *object, const char *key);
extern void tree_set(Tree *object, const char *key, int len, Tree *child);

/* Elements, or members by number. */
extern void tree_insert(Tree *array, int index, Tree *child);
extern void tree_delete(Tree *container, int index);

/* NULL, with `error` set, if the text is not JSON. */
extern Tree *tree_parse(const char *text, Size len, const char **error);
extern char *tree_print(const Tree *tree);

extern Jsonb *tree_to_jsonb(const Tree *tree);
extern Tree *tree_from_jsonb(const Jsonb *jsonb);

#endif							/* TEXT_H */
