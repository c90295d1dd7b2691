/*
 * slots.c
 *	  Which workers there are, what they do, and how they are woken.
 *
 * 1. Every worker has a slot, which whoever starts it reserves before and the worker
 *	  attaches to.  A slot that changes hands gets a new generation, so a worker that
 *	  comes too late finds that it is not meant any more.  An exit callback frees the
 *	  slot; a crash makes the memory anew.
 *
 * 2. A bus gives its projection workers tasks through their slots: it assigns one to
 *	  an idle worker and wakes it; the worker puts the result there and wakes the bus.
 *
 * 3. Each database that has had a bus has an entry, which stays as long as the database
 *	  does.  Its bus announces that it is about to sleep, looks at its work once more
 *	  and then sleeps; who commits events wakes it only if it announced that, with
 *	  two reads of shared memory otherwise.  Waking takes no lock and raises nothing:
 *	  it happens in commit callbacks.
 *
 * 4. Workers that run handlers are few, and shared by all databases.  Where there is
 *	  none left, one is asked to leave: an idle one of another database, or else, after
 *	  its task, one of a database that has more than the asking one, or any if that has
 *	  none.  Its place is promised to who asked.  Workers whose bus has gone leave too.
 *
 * 5. A database that is to be dropped, renamed, moved or copied is barred: its
 *	  workers are told to go, and none comes until the command has ended.
 *
 * The lock protects the slots, the bars and the handing out of entries.  It is held
 * for a few loads and stores, never while anything else is waited for.
 */
#include "asynx.h"

#include <signal.h>

#include "guc.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "slots.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"

/* Marks an entry whose database was dropped; no database has that number. */
#define FREE_AGAIN PG_UINT32_MAX

/* How many databases may have a bus, and how many may be barred at a time. */
#define MAX_DATABASES 128
#define MAX_BARS 16

/* How long a place is kept for who it was promised to, in milliseconds. */
#define PROMISE_TIME 10000

/* Where a task is. */
typedef enum TaskState
{
	NO_TASK,
	ASSIGNED,					/* the worker has not taken it yet */
	UNDER_WAY,
	ENDED						/* the bus has not seen the result yet */
} TaskState;

/* A worker's slot; all of it protected by the lock. */
typedef struct Slot
{
	bool		in_use;
	bool		attached;		/* has its worker come? */
	uint64		generation;		/* grows when the slot changes hands */
	AsynxWorkerStatus status;
	int			proc;			/* number of the worker's PGPROC, if attached */
	TaskState	state;			/* of status.task */
	AsynxVerdict verdict;		/* kept when the slot is free again */
	bool		leaving;		/* has its worker been asked to leave? */
	Oid			promised;		/* to which database it goes then; InvalidOid: to any */
	TimestampTz promised_at;
} Slot;

/* A database that has had a bus. */
typedef struct Entry
{
	pg_atomic_uint32 database;	/* InvalidOid: not handed out yet; or FREE_AGAIN */
	pg_atomic_uint32 proc;		/* number of the bus's PGPROC + 1; 0 for none */
	pg_atomic_uint32 sleeping;	/* is the bus to be woken? */
	pg_atomic_uint32 lacking;	/* does work wait for a worker? */
	ConditionVariable progress; /* broadcast when its workers got on */
} Entry;

/* A database that is to be left alone. */
typedef struct Bar
{
	Oid			database;		/* InvalidOid: free */
	int			pid;			/* who put it up */
} Bar;

/* The shared memory of this room. */
typedef struct SlotsShared
{
	LWLock	   *lock;
	pg_atomic_uint32 launcher;	/* number of its PGPROC + 1; 0 for none */
	pg_atomic_uint32 asked;		/* is the launcher to look at all databases again? */
	Entry		entries[MAX_DATABASES];
	Bar			bars[MAX_BARS];
	int			nslots;
	Slot		slots[FLEXIBLE_ARRAY_MEMBER];
} SlotsShared;

/* NULL when the library was not preloaded. */
static SlotsShared *Shared = NULL;

/* Is the bus to be woken when the current transaction has been committed? */
static bool WakeAtCommit = false;

/* This worker's slot; NULL in other processes. */
static Slot *Mine = NULL;

/* Size of this room's shared memory. */
Size
asynx_slots_shmem_size(void)
{
	return add_size(offsetof(SlotsShared, slots),
					mul_size(MAX_DATABASES + asynx_max_workers, sizeof(Slot)));
}

/* Sets up this room's shared memory, with no workers. */
void
asynx_slots_shmem_init(void)
{
	bool		found;
	int			i;

	Shared = ShmemInitStruct("asynx slots", asynx_slots_shmem_size(), &found);
	if (found)
		return;

	memset(Shared, 0, asynx_slots_shmem_size());
	Shared->lock = &GetNamedLWLockTranche("asynx slots")->lock;
	Shared->nslots = MAX_DATABASES + asynx_max_workers;
	pg_atomic_init_u32(&Shared->launcher, 0);
	pg_atomic_init_u32(&Shared->asked, 1);
	for (i = 0; i < MAX_DATABASES; i++)
	{
		pg_atomic_init_u32(&Shared->entries[i].database, InvalidOid);
		pg_atomic_init_u32(&Shared->entries[i].proc, 0);
		pg_atomic_init_u32(&Shared->entries[i].sleeping, 0);
		pg_atomic_init_u32(&Shared->entries[i].lacking, 0);
		ConditionVariableInit(&Shared->entries[i].progress);
	}
}

/* Sets the latch of a process; "proc" is the number of its PGPROC + 1, 0 for none. */
static void
Wake(uint32 proc)
{
	if (proc > 0)
		SetLatch(&GetPGProcByNumber(proc - 1)->procLatch);
}

/* Is the database barred?  The lock is held. */
static bool
IsBarred(Oid database)
{
	int			i;

	for (i = 0; i < MAX_BARS; i++)
	{
		if (Shared->bars[i].database == database)
			return true;
	}
	return false;
}

/* Is the database barred? */
bool
asynx_slots_barred(Oid database)
{
	bool		barred;

	LWLockAcquire(Shared->lock, LW_SHARED);
	barred = IsBarred(database);
	LWLockRelease(Shared->lock);
	return barred;
}

/* Is the slot kept for another database than this one?  The lock is held. */
static bool
IsPromised(const Slot *slot, Oid database)
{
	return OidIsValid(slot->promised) && slot->promised != database &&
		!TimestampDifferenceExceeds(slot->promised_at, GetCurrentTimestamp(), PROMISE_TIME);
}

/* May the database have one more worker of that kind?  The lock is held. */
static bool
HasRoom(AsynxWorkerKind kind, Oid database)
{
	int			limit = kind == ASYNX_BUS ? MAX_DATABASES : asynx_max_workers;
	int			count = 0;
	int			i;

	for (i = 0; i < Shared->nslots; i++)
	{
		const Slot *slot = &Shared->slots[i];

		if (slot->in_use ? slot->status.kind == kind :
			kind == ASYNX_PROJECTION && IsPromised(slot, database))
			count++;
	}
	return count < limit;
}

/* How many projection workers a database has that will stay.  The lock is held. */
static int
CountWorkers(Oid database)
{
	int			count = 0;
	int			i;

	for (i = 0; i < Shared->nslots; i++)
	{
		const Slot *slot = &Shared->slots[i];

		if (slot->in_use && !slot->leaving && slot->status.kind == ASYNX_PROJECTION &&
			slot->status.database == database)
			count++;
	}
	return count;
}

/* Asks one of the workers of other databases to leave.  The lock is held. */
static void
AskToLeave(Oid database)
{
	Slot	   *chosen = NULL;
	int			mine = CountWorkers(database);
	int			i;

	for (i = 0; i < Shared->nslots; i++)
	{
		Slot	   *slot = &Shared->slots[i];
		bool		idle = slot->state == NO_TASK || slot->state == ENDED;

		if (!slot->in_use || !slot->attached || slot->status.kind != ASYNX_PROJECTION ||
			slot->status.database == database)
			continue;
		if (slot->promised == database && IsPromised(slot, InvalidOid))
			return;
		if (!slot->leaving && (chosen == NULL || idle) &&
			(idle || mine == 0 || CountWorkers(slot->status.database) > mine + 1))
			chosen = slot;
	}
	if (chosen == NULL)
		return;
	chosen->leaving = true;
	chosen->promised = database;
	chosen->promised_at = GetCurrentTimestamp();
	Wake((uint32) chosen->proc + 1);
}

/* Makes the slot that of a worker to come.  The lock is held. */
static void
Reserve(Slot *slot, AsynxWorkerKind kind, Oid database)
{
	slot->generation++;
	slot->in_use = true;
	slot->attached = slot->leaving = false;
	slot->promised = InvalidOid;
	memset(&slot->status, 0, sizeof(slot->status));
	slot->status.kind = kind;
	slot->status.database = database;
	slot->status.since = GetCurrentTimestamp();
	slot->state = NO_TASK;
	slot->verdict = ASYNX_DIED;
}

/* A free slot for the database, the one that was promised to it if there is one; -1 for none. */
static int
FreeSlot(Oid database)
{
	int			found = -1;
	int			i;

	for (i = 0; i < Shared->nslots; i++)
	{
		const Slot *slot = &Shared->slots[i];

		if (slot->in_use || IsPromised(slot, database))
			continue;
		if (slot->promised == database)
			return i;
		if (found < 0)
			found = i;
	}
	return found;
}

/*
 * Reserves a slot for a worker that is about to be started; false if there is none,
 * or the database is barred.
 */
bool
asynx_slots_reserve(AsynxWorkerKind kind, Oid database, int *slot, uint64 *generation)
{
	bool		room;
	int			found = -1;

	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	room = HasRoom(kind, database);
	if (room && !IsBarred(database))
		found = FreeSlot(database);
	if (found >= 0)
	{
		Reserve(&Shared->slots[found], kind, database);
		*slot = found;
		*generation = Shared->slots[found].generation;
	}
	if (!room && kind == ASYNX_PROJECTION)
		AskToLeave(database);
	LWLockRelease(Shared->lock);
	return found >= 0;
}

/* Is the slot still held by the worker it was reserved for? */
bool
asynx_slots_in_use(int slot, uint64 generation)
{
	const Slot *held = &Shared->slots[slot];
	bool		in_use;

	LWLockAcquire(Shared->lock, LW_SHARED);
	in_use = held->in_use && held->generation == generation;
	LWLockRelease(Shared->lock);
	return in_use;
}

/* Has the database a bus that has come? */
bool
asynx_slots_served(Oid database)
{
	bool		served = false;
	int			i;

	LWLockAcquire(Shared->lock, LW_SHARED);
	for (i = 0; i < Shared->nslots && !served; i++)
	{
		const Slot *slot = &Shared->slots[i];

		served = slot->in_use && slot->attached && slot->status.kind == ASYNX_BUS &&
			slot->status.database == database;
	}
	LWLockRelease(Shared->lock);
	return served;
}

/* Gives a slot up whose worker has not come. */
void
asynx_slots_give_up(int slot, uint64 generation)
{
	Slot	   *held = &Shared->slots[slot];

	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	if (held->in_use && held->generation == generation && !held->attached)
		held->in_use = false;
	LWLockRelease(Shared->lock);
}

/* How the last worker that had the slot ended. */
AsynxVerdict
asynx_slots_verdict(int slot)
{
	AsynxVerdict verdict;

	LWLockAcquire(Shared->lock, LW_SHARED);
	verdict = Shared->slots[slot].verdict;
	LWLockRelease(Shared->lock);
	return verdict;
}

/* The entry of a database; NULL if it never had a bus. */
static Entry *
EntryOf(Oid wanted)
{
	int			i;

	for (i = 0; i < MAX_DATABASES; i++)
	{
		uint32		database = pg_atomic_read_u32(&Shared->entries[i].database);

		if (database == wanted)
			return &Shared->entries[i];
		if (database == InvalidOid)
			break;
	}
	return NULL;
}

/* This database's entry; NULL if it never had a bus. */
static Entry *
FindEntry(void)
{
	static Entry *mine = NULL;

	if (Shared != NULL && mine == NULL)
		mine = EntryOf(MyDatabaseId);
	return mine;
}

/* Asks the workers of a bus that goes to leave.  The lock is held. */
static void
DismissWorkers(Oid database)
{
	int			i;

	for (i = 0; i < Shared->nslots; i++)
	{
		Slot	   *slot = &Shared->slots[i];

		if (!slot->in_use || slot->status.kind != ASYNX_PROJECTION ||
			slot->status.database != database)
			continue;
		slot->leaving = true;
		if (slot->attached)
			Wake((uint32) slot->proc + 1);
		else
			slot->in_use = false;
	}
}

/* Exit callback: the worker leaves its slot, and tells who may care. */
static void
Detach(int code, Datum arg)
{
	Entry	   *entry = FindEntry();
	Entry	   *next = NULL;

	(void) code;
	(void) arg;
	if (Mine == NULL)
		return;

	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	if (Mine->status.kind == ASYNX_BUS)
	{
		if (entry != NULL && pg_atomic_read_u32(&entry->proc) == (uint32) Mine->proc + 1)
			pg_atomic_write_u32(&entry->proc, 0);
		DismissWorkers(Mine->status.database);
	}
	if (OidIsValid(Mine->promised))
		next = EntryOf(Mine->promised);
	Mine->in_use = false;
	LWLockRelease(Shared->lock);
	Mine = NULL;
	asynx_slots_wake_bus();
	if (next != NULL)
		Wake(pg_atomic_read_u32(&next->proc));
	Wake(pg_atomic_read_u32(&Shared->launcher));
}

/* Takes the slot that was reserved for this worker; false if it is not meant any more. */
bool
asynx_slots_attach(int slot, uint64 generation, Oid *database)
{
	Slot	   *reserved = &Shared->slots[slot];
	bool		meant;

	before_shmem_exit(Detach, (Datum) 0);

	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	meant = reserved->in_use && reserved->generation == generation && !reserved->attached;
	if (meant && IsBarred(reserved->status.database))
		reserved->in_use = false;
	else if (meant)
	{
		reserved->attached = true;
		reserved->status.pid = MyProcPid;
		reserved->proc = asynx_my_proc_number();
		*database = reserved->status.database;
		Mine = reserved;
	}
	LWLockRelease(Shared->lock);
	return Mine != NULL;
}

/* Says how this worker is about to end. */
void
asynx_slots_set_verdict(AsynxVerdict verdict)
{
	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	Mine->verdict = verdict;
	LWLockRelease(Shared->lock);
}

/* Has this worker been asked to leave, and no task to finish? */
bool
asynx_slots_leaving(void)
{
	bool		leaving;

	LWLockAcquire(Shared->lock, LW_SHARED);
	leaving = Mine->leaving && Mine->state != ASSIGNED;
	LWLockRelease(Shared->lock);
	return leaving;
}

/* The task of this worker; false if it has none. */
bool
asynx_slots_get_task(AsynxTask *task)
{
	bool		found;

	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	found = Mine->state == ASSIGNED;
	if (found)
	{
		Mine->state = UNDER_WAY;
		*task = Mine->status.task;
	}
	LWLockRelease(Shared->lock);
	return found;
}

/* Tells the bus what came of this worker's task, and those who wait that it got on. */
void
asynx_slots_end_task(const AsynxTask *task)
{
	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	Mine->status.task = *task;
	Mine->status.busy = false;
	Mine->state = ENDED;
	LWLockRelease(Shared->lock);

	/* else the bus takes note of it when it wakes for something else */
	pg_memory_barrier();
	if (task->more || task->due != DT_NOEND || pg_atomic_read_u32(&FindEntry()->lacking) != 0)
		asynx_slots_wake_bus();
	ConditionVariableBroadcast(asynx_slots_progress());
}

/* Gives a worker a task; false if it has gone, has not come yet or has one. */
bool
asynx_slots_assign(int slot, uint64 generation, const AsynxTask *task)
{
	Slot	   *worker = &Shared->slots[slot];
	bool		assigned;
	int			proc;

	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	assigned = worker->in_use && worker->generation == generation && worker->attached &&
		worker->state == NO_TASK && !worker->leaving;
	if (assigned)
	{
		worker->status.task = *task;
		worker->status.busy = true;
		worker->state = ASSIGNED;
	}
	proc = worker->proc;
	LWLockRelease(Shared->lock);

	if (assigned)
		Wake((uint32) proc + 1);
	return assigned;
}

/* Takes over the result of a worker's task, also of one that has left; false if there is none. */
bool
asynx_slots_collect(int slot, uint64 generation, AsynxTask *task)
{
	Slot	   *worker = &Shared->slots[slot];
	bool		ended;

	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	ended = worker->generation == generation && worker->state == ENDED;
	if (ended)
	{
		worker->state = NO_TASK;
		*task = worker->status.task;
	}
	LWLockRelease(Shared->lock);
	return ended;
}

/* Calls the function for each worker that there is or that is being started. */
void
asynx_slots_each(void (*look) (const AsynxWorkerStatus *status, void *arg), void *arg)
{
	int			i;

	for (i = 0; Shared != NULL && i < Shared->nslots; i++)
	{
		AsynxWorkerStatus status;
		bool		in_use;

		LWLockAcquire(Shared->lock, LW_SHARED);
		in_use = Shared->slots[i].in_use;
		status = Shared->slots[i].status;
		LWLockRelease(Shared->lock);
		if (in_use)
			look(&status, arg);
	}
}

/* Tells the workers of a database to go; returns how many there are.  The lock is held. */
static int
TellToGo(Oid database)
{
	int			count = 0;
	int			i;

	for (i = 0; i < Shared->nslots; i++)
	{
		Slot	   *slot = &Shared->slots[i];

		if (!slot->in_use || slot->status.database != database)
			continue;
		count++;
		slot->verdict = ASYNX_RENEWED;
		if (slot->attached)
			(void) kill(slot->status.pid, SIGTERM);
	}
	return count;
}

/* Exit callback: a process that dies takes its bars down. */
static void
UnbarAtExit(int code, Datum arg)
{
	(void) code;
	(void) arg;
	asynx_slots_unbar();
}

/* Puts a bar up; false if there are too many.  The lock is held. */
static bool
PutBar(Oid database)
{
	int			i;

	for (i = 0; i < MAX_BARS; i++)
	{
		if (OidIsValid(Shared->bars[i].database))
			continue;
		Shared->bars[i].database = database;
		Shared->bars[i].pid = MyProcPid;
		return true;
	}
	return false;
}

/*
 * Keeps workers away from a database, and waits until those that are there have gone;
 * false if they have not after 10 seconds.
 */
bool
asynx_slots_bar(Oid database)
{
	static bool registered = false;
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 10000);
	int			left;
	bool		barred;

	if (Shared == NULL)
		return true;
	if (!registered)
	{
		before_shmem_exit(UnbarAtExit, (Datum) 0);
		registered = true;
	}

	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	barred = PutBar(database);
	left = TellToGo(database);
	LWLockRelease(Shared->lock);

	while (barred && left > 0 && GetCurrentTimestamp() < until)
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
		left = TellToGo(database);
		LWLockRelease(Shared->lock);
	}
	return barred && left == 0;
}

/* Takes all bars of this process down; the launcher then looks again. */
void
asynx_slots_unbar(void)
{
	bool		had = false;
	int			i;

	if (Shared == NULL)
		return;

	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < MAX_BARS; i++)
	{
		if (!OidIsValid(Shared->bars[i].database) || Shared->bars[i].pid != MyProcPid)
			continue;
		Shared->bars[i].database = InvalidOid;
		had = true;
	}
	LWLockRelease(Shared->lock);
	if (had)
		asynx_slots_ask_launcher();
}

/* Exit callback of the launcher. */
static void
LeaveLauncher(int code, Datum arg)
{
	(void) code;
	(void) arg;
	pg_atomic_write_u32(&Shared->launcher, 0);
}

/* This process is the launcher. */
void
asynx_slots_set_launcher(void)
{
	before_shmem_exit(LeaveLauncher, (Datum) 0);
	pg_atomic_write_u32(&Shared->launcher, (uint32) asynx_my_proc_number() + 1);
}

/* Asks the launcher to look at all databases again; raises nothing. */
void
asynx_slots_ask_launcher(void)
{
	if (Shared == NULL)
		return;
	pg_atomic_write_u32(&Shared->asked, 1);
	pg_memory_barrier();
	Wake(pg_atomic_read_u32(&Shared->launcher));
}

/* For the launcher: was it asked since it last asked this? */
bool
asynx_slots_launcher_asked(void)
{
	return pg_atomic_exchange_u32(&Shared->asked, 0) != 0;
}

/* Finds or makes this database's entry; NULL if there are too many.  The lock is held. */
static Entry *
MakeEntry(void)
{
	Entry	   *entry = EntryOf(MyDatabaseId);
	int			i;

	for (i = 0; i < MAX_DATABASES && entry == NULL; i++)
	{
		uint32		database = pg_atomic_read_u32(&Shared->entries[i].database);

		if (database == InvalidOid || database == FREE_AGAIN)
			entry = &Shared->entries[i];
	}
	if (entry != NULL)
		pg_atomic_write_u32(&entry->database, MyDatabaseId);
	return entry;
}

/* A database was dropped: its entry can be another's. */
void
asynx_slots_forget(Oid database)
{
	Entry	   *entry;

	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	entry = EntryOf(database);
	if (entry != NULL && pg_atomic_read_u32(&entry->proc) == 0)
		pg_atomic_write_u32(&entry->database, FREE_AGAIN);
	LWLockRelease(Shared->lock);
}

/* This process is the bus of its database; false if there are too many databases. */
bool
asynx_slots_set_bus(void)
{
	Entry	   *entry;

	LWLockAcquire(Shared->lock, LW_EXCLUSIVE);
	entry = MakeEntry();
	if (entry != NULL)
	{
		pg_atomic_write_u32(&entry->lacking, 0);
		pg_atomic_write_u32(&entry->proc, (uint32) asynx_my_proc_number() + 1);
	}
	LWLockRelease(Shared->lock);
	return entry != NULL;
}

/* The bus will sleep, unless it finds something to do after this. */
void
asynx_slots_bus_sleeps(void)
{
	pg_atomic_write_u32(&FindEntry()->sleeping, 1);
	pg_memory_barrier();
}

/*
 * Has somebody woken the bus since it announced that it will sleep?  The latch does not
 * always tell: who waits for a lock resets it.
 */
bool
asynx_slots_bus_woken(void)
{
	return pg_atomic_read_u32(&FindEntry()->sleeping) == 0;
}

/* Says whether work waits for a worker: then the bus wants to know when one has ended its task. */
void
asynx_slots_set_lacking(bool lacking)
{
	pg_atomic_write_u32(&FindEntry()->lacking, lacking ? 1 : 0);
	pg_memory_barrier();
}

/* Wakes this database's bus if it sleeps; raises nothing. */
void
asynx_slots_wake_bus(void)
{
	Entry	   *entry = FindEntry();

	if (entry == NULL)
		return;
	pg_memory_barrier();
	if (pg_atomic_read_u32(&entry->sleeping) != 0 &&
		pg_atomic_exchange_u32(&entry->sleeping, 0) != 0)
		Wake(pg_atomic_read_u32(&entry->proc));
}

/* Wakes the bus when the current transaction has been committed. */
void
asynx_slots_wake_bus_at_commit(void)
{
	WakeAtCommit = true;
}

/* The end of a transaction, when others have been told what it changed. */
void
asynx_slots_at_release(bool is_commit)
{
	if (WakeAtCommit && is_commit)
		asynx_slots_wake_bus();
	WakeAtCommit = false;
}

/* Has this database a bus? */
bool
asynx_slots_has_bus(void)
{
	Entry	   *entry = FindEntry();

	return entry != NULL && pg_atomic_read_u32(&entry->proc) != 0;
}

/* Has this database a bus, and a worker for each or none of its tasks waiting for one? */
bool
asynx_slots_can_work(void)
{
	Entry	   *entry = FindEntry();
	bool		served;

	if (!asynx_slots_has_bus())
		return false;
	LWLockAcquire(Shared->lock, LW_SHARED);
	served = CountWorkers(MyDatabaseId) > 0;
	LWLockRelease(Shared->lock);
	return served || pg_atomic_read_u32(&entry->lacking) == 0;
}

/* What to wait on for the progress of this database's workers; NULL if it never had a bus. */
ConditionVariable *
asynx_slots_progress(void)
{
	Entry	   *entry = FindEntry();

	return entry != NULL ? &entry->progress : NULL;
}
