/*
 * pattern.h
 *	  Which events a reader wants, by name: exact names, topics, expressions.
 */
#ifndef ASYNX_PATTERN_H
#define ASYNX_PATTERN_H

/* A compiled pattern; lives and dies with the memory context that was current. */
typedef struct AsynxPattern AsynxPattern;

extern AsynxPattern *asynx_pattern_compile(const char *source);
extern bool asynx_pattern_match(AsynxPattern *pattern, const char *name, int len);

/* The one name a pattern can match, or NULL: such patterns can be found by hash. */
extern const char *asynx_pattern_exact(const AsynxPattern *pattern);

#endif							/* ASYNX_PATTERN_H */
