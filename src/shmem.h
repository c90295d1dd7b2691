/*
 * shmem.h
 *	  Shared memory: the sum of what the rooms need.
 */
#ifndef ASYNX_SHMEM_H
#define ASYNX_SHMEM_H

extern void asynx_shmem_init(void);

#endif							/* ASYNX_SHMEM_H */
