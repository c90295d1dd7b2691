/*
 * slots.h
 *	  Which workers there are, what they do, and how they are woken.
 */
#ifndef ASYNX_SLOTS_H
#define ASYNX_SLOTS_H

#include "storage/condition_variable.h"
#include "utils/timestamp.h"

/* What a worker is for. */
typedef enum AsynxWorkerKind
{
	ASYNX_BUS,					/* one for each database with the extension */
	ASYNX_PROJECTION			/* runs handlers */
} AsynxWorkerKind;

/* How a bus ended. */
typedef enum AsynxVerdict
{
	ASYNX_DIED,					/* it did not say */
	ASYNX_RENEWED,				/* it was told to, and another one is to begin */
	ASYNX_ABSENT				/* the extension is not in the database */
} AsynxVerdict;

/* A partition of a subscription. */
typedef struct AsynxPartition
{
	char		subscription[ASYNX_MAX_NAME_BYTES + 1];
	int32		number;			/* from 0 */
} AsynxPartition;

/*
 * After how many events of a partition its worker has a commit flushed.  A crash loses the
 * handling of so many at most, and of one batch: among these is the event that caused it.
 */
#define ASYNX_FLUSH_EVENTS 1000

/* What a projection worker is asked to do, and what came of it. */
typedef struct AsynxTask
{
	AsynxPartition partition;
	int			careful;		/* how many events have yet to survive a crash */
	int			unflushed;		/* how many were handled since a commit was flushed */
	bool		release;		/* is it to look for events that wait for nothing? */
	int64		reached;		/* nothing at or below is left to be done */
	int64		checkpoint;		/* as it is stored then */
	bool		more;			/* is there more to do at once? */
	bool		held;			/* is nothing to be tried before it is due? */
	bool		gone;			/* does the subscription not run any more? */
	TimestampTz due;			/* when a retry is; DT_NOEND for none */
} AsynxTask;

/* A worker as others see it. */
typedef struct AsynxWorkerStatus
{
	AsynxWorkerKind kind;
	Oid			database;
	int			pid;			/* 0: it is being started */
	TimestampTz since;
	bool		busy;			/* has it a task? */
	AsynxTask	task;
} AsynxWorkerStatus;

/* Shared memory, for shmem.c. */
extern Size asynx_slots_shmem_size(void);
extern void asynx_slots_shmem_init(void);

/* For who starts workers. */
extern bool asynx_slots_reserve(AsynxWorkerKind kind, Oid database, int *slot,
								uint64 *generation);
extern void asynx_slots_give_up(int slot, uint64 generation);
extern AsynxVerdict asynx_slots_verdict(int slot);
extern bool asynx_slots_served(Oid database);
extern bool asynx_slots_in_use(int slot, uint64 generation);

/* For the worker itself. */
extern bool asynx_slots_attach(int slot, uint64 generation, Oid *database);
extern void asynx_slots_set_verdict(AsynxVerdict verdict);
extern bool asynx_slots_leaving(void);
extern bool asynx_slots_get_task(AsynxTask *task);
extern void asynx_slots_end_task(const AsynxTask *task);

/* For the bus: the projection workers of its database. */
extern bool asynx_slots_assign(int slot, uint64 generation, const AsynxTask *task);
extern bool asynx_slots_collect(int slot, uint64 generation, AsynxTask *task);

/* For those who look: calls the function for each. */
extern void asynx_slots_each(void (*look) (const AsynxWorkerStatus *status, void *arg), void *arg);

/* Keeps workers away from a database, and waits until they have gone; ended by its release. */
extern bool asynx_slots_bar(Oid database);
extern void asynx_slots_unbar(void);
extern bool asynx_slots_barred(Oid database);

/* The launcher, and what it is asked to do. */
extern void asynx_slots_set_launcher(void);
extern void asynx_slots_ask_launcher(void);
extern bool asynx_slots_launcher_asked(void);

/* The bus: who it is, sleeping and being woken; waking raises nothing. */
extern bool asynx_slots_set_bus(void);
extern void asynx_slots_forget(Oid database);
extern void asynx_slots_bus_sleeps(void);
extern bool asynx_slots_bus_woken(void);
extern void asynx_slots_set_lacking(bool lacking);
extern void asynx_slots_wake_bus(void);
extern bool asynx_slots_has_bus(void);
extern bool asynx_slots_can_work(void);

/* The same when the current transaction has been committed; the second is for asynx.c. */
extern void asynx_slots_wake_bus_at_commit(void);
extern void asynx_slots_at_release(bool is_commit);

/* Those who wait for the progress of this database's workers; NULL if it never had a bus. */
extern ConditionVariable *asynx_slots_progress(void);

#endif							/* ASYNX_SLOTS_H */
