/*
 * pointer.h
 *	  RFC 6901: JSON pointers, one step at a time.
 */
#ifndef ASYNX_POINTER_H
#define ASYNX_POINTER_H

#include "value.h"

/* Pointers up to this length need no allocation. */
#define ASYNX_POINTER_LOCAL 128

/* A parsed pointer; reusable, must not be copied (tokens may point into it). */
typedef struct AsynxPointer
{
	const char *text;			/* as given, borrowed, not NUL-terminated */
	uint32		text_len;
	char	   *tokens;			/* unescaped, each ended by a NUL */
	uint32		len;			/* bytes at tokens, NULs included */
	uint32		count;			/* number of tokens */
	uint32		capacity;		/* bytes allocated at tokens */
	char		local[ASYNX_POINTER_LOCAL];
} AsynxPointer;

/* What came of following a pointer. */
typedef enum AsynxOutcome
{
	ASYNX_FOUND,
	ASYNX_NO_MEMBER,			/* the object has no such member */
	ASYNX_NO_ELEMENT,			/* the index is beyond the array's end */
	ASYNX_NOT_AN_INDEX,			/* an array was asked for a name */
	ASYNX_NOT_A_CONTAINER,		/* a scalar has nothing in it */
	ASYNX_UNEQUAL				/* found, but with another value ("test") */
} AsynxOutcome;

extern void asynx_pointer_init(AsynxPointer *pointer);
extern void asynx_pointer_free(AsynxPointer *pointer);
extern const char *asynx_pointer_parse(AsynxPointer *pointer, const char *text, uint32 len);

extern bool asynx_pointer_inside(const AsynxPointer *inner, const AsynxPointer *outer);
extern bool asynx_pointer_same(const AsynxPointer *a, const AsynxPointer *b);

extern bool asynx_token_index(const char *token, uint32 *index);
extern AsynxOutcome asynx_value_follow(AsynxValue *value, const char *token, uint32 count);

/* The token after this one. */
static inline const char *
asynx_token_next(const char *token)
{
	return token + strlen(token) + 1;
}

/* "-" stands for the place behind an array's last element. */
static inline bool
asynx_token_is_end(const char *token)
{
	return token[0] == '-' && token[1] == '\0';
}

#endif							/* ASYNX_POINTER_H */
