/*
 * worker.h
 *	  What all background workers have in common.
 */
#ifndef ASYNX_WORKER_H
#define ASYNX_WORKER_H

#include "postmaster/bgworker.h"
#include "slots.h"

/* What a worker does again and again; may raise. */
typedef void (*AsynxTurn) (void *arg);

/* Starting one. */
extern void asynx_worker_describe(BackgroundWorker *worker, const char *name,
								  const char *function);
extern bool asynx_worker_start(AsynxWorkerKind kind, Oid database, int *slot, uint64 *generation,
							   BackgroundWorkerHandle **handle);

/* In the worker. */
extern void asynx_worker_begin(Datum slot);
extern bool asynx_worker_try(AsynxTurn turn, void *arg);
extern void asynx_worker_begin_transaction(const char *activity);
extern void asynx_worker_check_extension(void);
extern void asynx_worker_commit(void);
extern void asynx_worker_check_interrupts(void);
extern void asynx_worker_sleep(long milliseconds, uint32 wait_event);

#endif							/* ASYNX_WORKER_H */
