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

/* Events that a worker handles in one transaction; workers of a cluster; milliseconds. */
#define ASYNX_DEFAULT_BATCH_SIZE 500
#define ASYNX_MAX_BATCH_SIZE 10000
#define ASYNX_DEFAULT_WORKERS 4
#define ASYNX_MAX_WORKERS 256
#define ASYNX_DEFAULT_POLL_INTERVAL 10000
#define ASYNX_MIN_POLL_INTERVAL 100
#define ASYNX_MAX_POLL_INTERVAL 3600000

/* What is sent on channel "asynx". */
typedef enum AsynxNotify
{
	ASYNX_NOTIFY_OFF,
	ASYNX_NOTIFY_POSITION,
	ASYNX_NOTIFY_FULL
} AsynxNotify;

extern bool asynx_allow_drop;
extern int	asynx_batch_size;
extern int	asynx_max_document_depth;
extern int	asynx_max_document_size;
extern int	asynx_max_workers;
extern int	asynx_notify;
extern int	asynx_poll_interval;
extern int	asynx_queue_depth;
extern int	asynx_shards;

extern void asynx_guc_init(void);

#endif							/* ASYNX_GUC_H */
