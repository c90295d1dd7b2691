/*
 * queue.h
 *	  Bounds how many commands wait.
 */
#ifndef ASYNX_QUEUE_H
#define ASYNX_QUEUE_H

extern Size asynx_queue_shmem_size(void);
extern void asynx_queue_shmem_init(void);

extern bool asynx_queue_enter(uint64 hash);
extern void asynx_queue_leave(void);

#endif							/* ASYNX_QUEUE_H */
