/*
 * guc.h
 *	  The settings of asynx, with their bounds.
 */
#ifndef ASYNX_GUC_H
#define ASYNX_GUC_H

/* Levels of nesting; json-c frees a tree recursively, which the bound keeps within the stack. */
#define ASYNX_MIN_DOCUMENT_DEPTH 1
#define ASYNX_MAX_DOCUMENT_DEPTH 5000
#define ASYNX_DEFAULT_DOCUMENT_DEPTH 1000

/*
 * Kilobytes.  A patch may take a document to twice the limit before it shrinks it
 * again, and jsonb has 28 bits for a length: hence the upper bound.
 */
#define ASYNX_MIN_DOCUMENT_SIZE 1
#define ASYNX_MAX_DOCUMENT_SIZE (128 * 1024 - 1)
#define ASYNX_DEFAULT_DOCUMENT_SIZE (64 * 1024)

/* Waiting commands that a shard holds, 0 = as many as come; how many shards there are. */
#define ASYNX_MAX_QUEUE_DEPTH 1000000
#define ASYNX_DEFAULT_SHARDS 64
#define ASYNX_MAX_SHARDS 4096

extern bool asynx_allow_drop;
extern int	asynx_max_document_depth;
extern int	asynx_max_document_size;
extern int	asynx_queue_depth;
extern int	asynx_shards;

extern void asynx_guc_init(void);

#endif							/* ASYNX_GUC_H */
