/*
 * bus.c
 *	  The bus of a database: looks at new events and gives the workers work.
 *
 * 1. It sleeps until a commit wakes it (slots.c, 3), reads the names of the events up
 *	  to the safe position, once for all subscriptions, and knows from that which
 *	  partitions have something to do.  These wait in line for a projection worker;
 *	  the bus starts as many as there is work for, within asynx.max_workers.
 *
 * 2. When it begins it does not know which partitions have something to do.  Those
 *	  that are far behind are given to the workers, for the others it reads the events
 *	  since the checkpoint of the last of them.  Checkpoints of partitions that had
 *	  nothing to do follow the feed at a distance, so that this stays little.
 *
 * 3. A worker that dies takes its task with it; the partition gets in line again, and
 *	  is to be careful (projection.c, 4), as all are that are there when the bus begins.
 *
 * 4. Where events keep coming, it looks at them some at a time: a few turns may follow
 *	  one another at once, as after a single commit, but not more than some hundred in
 *	  a second.  What it and the workers do for each turn would else slow the writers.
 *
 * 5. It keeps asynx.feed_mark for standbys.  It runs no handlers.
 */
#include "asynx.h"

#include "access/xact.h"
#include "checkpoint.h"
#include "catalog/pg_type.h"
#include "ear.h"
#include "feed.h"
#include "guc.h"
#include "lib/ilist.h"
#include "lifecycle.h"
#include "miscadmin.h"
#include "query.h"
#include "relay.h"
#include "slots.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "subscription.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "worker.h"

/* Which partitions are read up with, and how far an idle one's checkpoint may be behind. */
#define NEAR_POSITIONS 20000
#define LAZY_POSITIONS 10000

/*
 * How far turns are apart on average, in microseconds, also where one finds many events,
 * and how many need not be.
 */
#define TURN_TIME 3000
#define LOADED_TURN_TIME 8000
#define MANY_EVENTS 8
#define TURN_BURST 8

/* After how many positions it is looked at who is behind, and how many move then. */
#define FOLLOW_POSITIONS 1000
#define FOLLOW_PARTITIONS 100

/* How many events are looked at in one turn, and how often the mark is written, in ms. */
#define LOOK_EVENTS 10000
#define MARK_INTERVAL 100

/* A partition, as the bus knows it. */
typedef struct Partition
{
	AsynxPartition key;			/* hash key */
	dlist_node	node;			/* in the line, if queued */
	uint64		reading;		/* the last in which it was found */
	int64		wanted;			/* the newest event that it wants */
	int64		done;			/* nothing at or below is left to be done */
	int64		checkpoint;		/* as it is stored, unless somebody else moved it */
	TimestampTz due;			/* when it has a retry to do; DT_NOEND for never */
	bool		queued;			/* does it wait for a worker? */
	bool		running;		/* has a worker got it? */
	bool		again;			/* is it to be looked at again after that? */
	bool		held;			/* is nothing to be tried before it is due? */
	int			careful;		/* how many of its next events are to be handled with care */
	int			unflushed;		/* how many were handled since a commit was flushed */
	bool		release;		/* is its next task to look for events that wait for nothing? */
} Partition;

/* A projection worker, as the bus knows it. */
typedef struct Worker
{
	dlist_node	node;			/* in Workers */
	int			slot;
	uint64		generation;		/* of the slot */
	BackgroundWorkerHandle *handle;
	Partition  *partition;		/* that it works on; NULL: it is idle */
	bool		came;			/* has it had a task? */
} Worker;

static AsynxQuery SelectCheckpoints = {
	.sql = ASYNX_SQL("SELECT c.subscription, c.partition, c.position "
					 "FROM asynx.checkpoints c JOIN asynx.subscriptions s "
					 "ON s.name OPERATOR(pg_catalog.=) c.subscription "
					 "WHERE s.mode OPERATOR(pg_catalog.=) 'async' "
					 "AND s.state OPERATOR(pg_catalog.=) 'running'"),
	.nargs = 0,
};

/* Partitions with failures that are to be looked at. */
static AsynxQuery SelectFailing = {
	.sql = ASYNX_SQL("SELECT DISTINCT f.subscription FROM asynx.failures f "
					 "WHERE f.state OPERATOR(pg_catalog.<>) 'dead'"),
	.nargs = 0,
};

static AsynxQuery UpdateMark = {
	.sql = ASYNX_SQL("UPDATE asynx.feed_mark m SET position = $1, "
					 " noted_at = pg_catalog.clock_timestamp() "
					 "FROM (SELECT f.singleton FROM asynx.feed_mark f "
					 " WHERE f.position OPERATOR(pg_catalog.<) $1 FOR UPDATE SKIP LOCKED) AS l "
					 "WHERE l.singleton OPERATOR(pg_catalog.=) m.singleton"),
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* An idle partition follows the feed, unless somebody has moved it, or holds it. */
static AsynxQuery FollowFeed = {
	.sql = ASYNX_SQL("UPDATE asynx.checkpoints c SET position = $4 "
					 "FROM (SELECT l.subscription, l.partition FROM asynx.checkpoints l "
					 " JOIN asynx.subscriptions s "
					 " ON s.name OPERATOR(pg_catalog.=) l.subscription "
					 " WHERE l.subscription OPERATOR(pg_catalog.=) $1 "
					 " AND l.partition OPERATOR(pg_catalog.=) $2 "
					 " AND l.position OPERATOR(pg_catalog.=) $3 "
					 " AND s.mode OPERATOR(pg_catalog.=) 'async' "
					 " AND s.state OPERATOR(pg_catalog.=) 'running' "
					 " FOR UPDATE OF l SKIP LOCKED) AS k "
					 "WHERE c.subscription OPERATOR(pg_catalog.=) k.subscription "
					 "AND c.partition OPERATOR(pg_catalog.=) k.partition"),
	.nargs = 4,
	.argtypes = {TEXTOID, INT4OID, INT8OID, INT8OID},
};

/* The partitions, those of them that wait for a worker, and the workers. */
static HTAB *Partitions = NULL;
static dlist_head Line = DLIST_STATIC_INIT(Line);
static dlist_head Workers = DLIST_STATIC_INIT(Workers);

/* The list of subscriptions that the partitions were read from, 0: again; and how often. */
static uint64 Generation = 0;
static uint64 Reading = 0;

/* Up to where the events were looked at; negative before the first time. */
static int64 Seen = -1;

/* The mark as it was last written, and when. */
static int64 Marked = 0;
static TimestampTz MarkedAt = 0;

/* Is there more to look at, at once? */
static bool More = false;

/* Up to where idle partitions were last followed up, and before when nothing is due. */
static int64 Followed = 0;
static TimestampTz NextDue = DT_NOEND;

/* When a worker is to be started again after that could not be done. */
static TimestampTz NextStart = 0;

/* May handlers run, and is there anybody to be notified? */
static bool Running = false;
static bool Notifying = false;

/* How much time the next turn takes of what there is. */
static int64 TurnTime = TURN_TIME;

/* Have the workers been told that work waits for one of them? */
static bool Lacking = false;

/* Has somebody called it by a notification? */
static bool Called = false;

/* After how many milliseconds there is something to relay; -1 for nothing. */
static long RelayAgain = -1;

pg_noreturn PGDLLEXPORT void asynx_bus_main(Datum arg);

/* Puts a partition in line. */
static void
Enqueue(Partition *partition)
{
	if (partition->queued || partition->running || partition->held)
		return;
	dlist_push_tail(&Line, &partition->node);
	partition->queued = true;
}

/* How many events are handled with care after a crash: all that it may have undone. */
static int
CarefulEvents(void)
{
	return ASYNX_FLUSH_EVENTS + asynx_batch_size;
}

/* Row function of SelectCheckpoints. */
static bool
AddPartition(TupleTableSlot *slot, void *arg)
{
	AsynxPartition key;
	Partition  *partition;
	int64		position;
	bool		isnull;
	bool		found;

	(void) arg;
	memset(&key, 0, sizeof(key));
	text_to_cstring_buffer(DatumGetTextPP(slot_getattr(slot, 1, &isnull)), key.subscription,
						   sizeof(key.subscription));
	key.number = DatumGetInt32(slot_getattr(slot, 2, &isnull));
	position = DatumGetInt64(slot_getattr(slot, 3, &isnull));

	partition = hash_search(Partitions, &key, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) partition + sizeof(key), 0, sizeof(*partition) - sizeof(key));
		/* what comes while the bus is at work has not been at a crash */
		partition->careful = Seen < 0 ? CarefulEvents() : 0;
		partition->release = true;
		partition->due = DT_NOEND;
		partition->done = partition->checkpoint = position;
		if (Seen >= 0 && position < Seen)
			Enqueue(partition);
	}
	else if (partition->running)
	{
		/* what the worker does, and whom it lets wait, is not to be seen yet */
		partition->again = partition->release = true;
	}
	else if (position != partition->checkpoint)
	{
		/* it was rebuilt */
		partition->done = partition->checkpoint = position;
		Enqueue(partition);
	}
	partition->reading = Reading;
	return true;
}

/* Row function of SelectFailing: all partitions of the subscription are looked at. */
static bool
EnqueueFailing(TupleTableSlot *slot, void *arg)
{
	bool		isnull;
	AsynxPartition key;
	Partition  *partition;

	(void) arg;
	memset(&key, 0, sizeof(key));
	text_to_cstring_buffer(DatumGetTextPP(slot_getattr(slot, 1, &isnull)), key.subscription,
						   sizeof(key.subscription));
	for (key.number = 0;; key.number++)
	{
		partition = hash_search(Partitions, &key, HASH_FIND, NULL);
		if (partition == NULL)
			return true;
		partition->release = true;
		Enqueue(partition);
	}
}

/* Forgets the partitions that are not there any more. */
static void
DropPartitions(void)
{
	HASH_SEQ_STATUS status;
	Partition  *partition;

	hash_seq_init(&status, Partitions);
	while ((partition = hash_seq_search(&status)) != NULL)
	{
		if (partition->reading == Reading || partition->running)
			continue;
		if (partition->queued)
			dlist_delete(&partition->node);
		(void) hash_search(Partitions, &partition->key, HASH_REMOVE, NULL);
	}
}

/* Reads the partitions again if the subscriptions have changed. */
static void
RefreshPartitions(void)
{
	uint64		generation = asynx_subscriptions_generation();

	if (generation == Generation)
		return;

	Reading++;
	PushActiveSnapshot(GetLatestSnapshot());
	(void) asynx_query_read(&SelectCheckpoints, NULL, NULL, AddPartition, NULL);
	DropPartitions();
	(void) asynx_query_read(&SelectFailing, NULL, NULL, EnqueueFailing, NULL);
	PopActiveSnapshot();
	Generation = generation;
}

/* Row function of the feed: which partitions want the event? */
static bool
NoteEvent(TupleTableSlot *slot, void *arg)
{
	int		   *left = (int *) arg;
	bool		isnull;
	text	   *id = DatumGetTextPP(slot_getattr(slot, 2, &isnull));
	text	   *name = DatumGetTextPP(slot_getattr(slot, 3, &isnull));
	int64		position = DatumGetInt64(slot_getattr(slot, 7, &isnull));
	const ListCell *cell;

	foreach(cell, asynx_subscriptions_known(ASYNX_ASYNC, name))
	{
		const AsynxSubscription *subscription = lfirst(cell);
		AsynxPartition key;
		Partition  *partition;

		memset(&key, 0, sizeof(key));
		strlcpy(key.subscription, subscription->name, sizeof(key.subscription));
		key.number = asynx_partition_of(id, subscription->partitions);
		partition = hash_search(Partitions, &key, HASH_FIND, NULL);
		if (partition == NULL)
			continue;
		partition->wanted = position;
		if (partition->done < position)
			Enqueue(partition);
	}
	Seen = position;
	return --*left > 0;
}

/*
 * Where the bus begins to look: at the lowest checkpoint of the partitions that are
 * near; those that are far behind are for the workers to catch up with.
 */
static void
BeginLooking(int64 safe)
{
	HASH_SEQ_STATUS status;
	Partition  *partition;

	Seen = safe;
	hash_seq_init(&status, Partitions);
	while ((partition = hash_seq_search(&status)) != NULL)
	{
		if (partition->done < safe - NEAR_POSITIONS)
			Enqueue(partition);
		else
			Seen = Min(Seen, partition->done);
	}
}

/* Looks at the events up to the safe position. */
static void
LookAtEvents(int64 safe)
{
	int			left = LOOK_EVENTS;

	if (Seen < 0)
		BeginLooking(safe);
	if (Seen >= safe)
		return;

	PushActiveSnapshot(GetLatestSnapshot());
	asynx_feed_scan(Seen, safe, NoteEvent, &left);
	PopActiveSnapshot();
	More = left == 0;
	TurnTime = LOOK_EVENTS - left >= MANY_EVENTS && !More ? LOADED_TURN_TIME : TURN_TIME;
	if (!More)
		Seen = safe;
}

/* Writes the mark for standbys if it is time. */
static void
WriteMark(int64 safe)
{
	Datum		values[] = {Int64GetDatum(safe)};
	TimestampTz now = GetCurrentTimestamp();

	if (safe <= Marked || !TimestampDifferenceExceeds(MarkedAt, now, MARK_INTERVAL))
		return;
	(void) asynx_query_write(&UpdateMark, values, NULL, NULL, NULL);
	Marked = safe;
	MarkedAt = now;
}

/*
 * Lets the checkpoints of partitions that have nothing to do follow the feed; some at a
 * time, where there are many.
 */
static void
FollowIdle(void)
{
	HASH_SEQ_STATUS status;
	Partition  *partition;
	int			left = FOLLOW_PARTITIONS;

	if (Seen - Followed < FOLLOW_POSITIONS)
		return;
	Followed = Seen;
	hash_seq_init(&status, Partitions);
	while ((partition = hash_seq_search(&status)) != NULL)
	{
		Datum		values[4];

		if (left == 0)
		{
			hash_seq_term(&status);
			return;
		}
		if (partition->queued || partition->running || partition->wanted > partition->done ||
			Seen - partition->checkpoint < LAZY_POSITIONS || partition->due != DT_NOEND)
			continue;
		left--;
		values[0] = CStringGetTextDatum(partition->key.subscription);
		values[1] = Int32GetDatum(partition->key.number);
		values[2] = Int64GetDatum(partition->checkpoint);
		values[3] = Int64GetDatum(Seen);
		if (asynx_query_write(&FollowFeed, values, NULL, NULL, NULL) > 0)
			partition->checkpoint = partition->done = Seen;
	}
}

/* Frees the slot of a worker that the server could not start, for lack of memory. */
static void
GiveUpUnlessStarted(const Worker *worker)
{
	pid_t		pid;

	if (!worker->came && GetBackgroundWorkerPid(worker->handle, &pid) == BGWH_STOPPED)
		asynx_slots_give_up(worker->slot, worker->generation);
}

/* Takes over what came of a task. */
static void
TakeResult(Partition *partition, const AsynxTask *task)
{
	partition->running = false;
	if (task->gone || partition->reading != Reading)
	{
		/* it was paused, say, and may run again already */
		(void) hash_search(Partitions, &partition->key, HASH_REMOVE, NULL);
		Generation = 0;
		More = true;
		return;
	}
	partition->careful = task->careful;
	partition->unflushed = task->unflushed;
	partition->release |= task->release;
	partition->done = task->reached;
	partition->checkpoint = task->checkpoint;
	partition->due = task->due;
	partition->held = task->held;
	NextDue = Min(NextDue, task->due);
	if (task->more || partition->again || partition->release ||
		partition->wanted > partition->done)
		Enqueue(partition);
	partition->again = false;
}

/* Takes the results of the workers over, and the tasks of those that have gone. */
static void
CollectResults(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &Workers)
	{
		Worker	   *worker = dlist_container(Worker, node, iter.cur);
		Partition  *partition = worker->partition;
		AsynxTask	task;

		if (partition != NULL && asynx_slots_collect(worker->slot, worker->generation, &task))
		{
			worker->partition = NULL;
			TakeResult(partition, &task);
		}
		GiveUpUnlessStarted(worker);
		if (asynx_slots_in_use(worker->slot, worker->generation))
			continue;

		if (worker->partition != NULL)
		{
			partition->running = false;
			Generation = partition->reading == Reading ? Generation : 0;
			partition->careful = CarefulEvents();
			partition->release = true;
			Enqueue(partition);
		}
		dlist_delete(&worker->node);
		pfree(worker->handle);
		pfree(worker);
	}
}

/* Puts in line what has become due. */
static void
EnqueueAllDue(TimestampTz now)
{
	HASH_SEQ_STATUS status;
	Partition  *partition;

	NextDue = DT_NOEND;
	hash_seq_init(&status, Partitions);
	while ((partition = hash_seq_search(&status)) != NULL)
	{
		if (partition->due <= now)
		{
			partition->due = DT_NOEND;
			partition->held = false;
			Enqueue(partition);
		}
		NextDue = Min(NextDue, partition->due);
	}
}

/* The same if there is any; returns how long the next takes, in ms, or the limit. */
static long
EnqueueDue(long limit)
{
	TimestampTz now = GetCurrentTimestamp();

	if (NextDue <= now)
		EnqueueAllDue(now);
	if (NextDue == DT_NOEND)
		return limit;
	return Min(limit, TimestampDifferenceMilliseconds(now, NextDue) + 1);
}

/* Gives a partition to an idle worker; false if there is none. */
static bool
Assign(Partition *partition)
{
	dlist_iter	iter;

	dlist_foreach(iter, &Workers)
	{
		Worker	   *worker = dlist_container(Worker, node, iter.cur);
		AsynxTask	task;

		if (worker->partition != NULL)
			continue;
		memset(&task, 0, sizeof(task));
		task.partition = partition->key;
		task.careful = partition->careful;
		task.unflushed = partition->unflushed;
		task.release = partition->release;
		task.reached = partition->done;
		task.checkpoint = partition->checkpoint;
		if (!asynx_slots_assign(worker->slot, worker->generation, &task))
			continue;
		partition->release = false;
		worker->partition = partition;
		worker->came = true;
		return true;
	}
	return false;
}

/* Gives the partitions in line to idle workers. */
static void
AssignTasks(void)
{
	while (!dlist_is_empty(&Line))
	{
		Partition  *partition = dlist_head_element(Partition, node, &Line);

		if (!Assign(partition))
			return;
		(void) dlist_pop_head_node(&Line);
		partition->queued = false;
		partition->running = true;
	}
}

/* How many workers have no work, or are only coming. */
static int
IdleWorkers(void)
{
	dlist_iter	iter;
	int			count = 0;

	dlist_foreach(iter, &Workers)
	{
		if (dlist_container(Worker, node, iter.cur)->partition == NULL)
			count++;
	}
	return count;
}

/* Starts workers for the partitions that are still in line. */
static void
StartWorkers(void)
{
	int			idle = IdleWorkers();
	dlist_iter	iter;

	if (GetCurrentTimestamp() < NextStart)
		return;
	dlist_foreach(iter, &Line)
	{
		MemoryContext caller;
		Worker	   *worker;

		if (idle-- > 0)
			continue;
		caller = MemoryContextSwitchTo(TopMemoryContext);
		worker = palloc0(sizeof(Worker));
		MemoryContextSwitchTo(caller);
		if (!asynx_worker_start(ASYNX_PROJECTION, MyDatabaseId, &worker->slot,
								&worker->generation, &worker->handle))
		{
			pfree(worker);
			NextStart = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 1000);
			return;
		}
		dlist_push_tail(&Workers, &worker->node);
	}
}

/* Wakes those who wait for events, and not for handlers. */
static void
Announce(int64 safe)
{
	static int64 announced = -1;

	if (safe == announced)
		return;
	announced = safe;
	ConditionVariableBroadcast(asynx_slots_progress());
}

/* What needs a transaction. */
static void
LookIntoDatabase(void)
{
	AsynxQueryScope scope;
	int64		safe;

	asynx_worker_begin_transaction("looking for events");
	asynx_worker_check_extension();
	asynx_query_begin(&scope);
	safe = asynx_feed_safe_position();
	WriteMark(safe);
	Announce(safe);
	Running = asynx_lifecycle_runs();
	if (Running)
	{
		RefreshPartitions();
		LookAtEvents(safe);
		FollowIdle();
		asynx_relay_begin(safe);
		Notifying = asynx_notify != ASYNX_NOTIFY_OFF ||
			asynx_subscriptions_of(ASYNX_CHANNEL) != NIL;
	}
	asynx_query_end(&scope);
	asynx_worker_commit();
}

/* Hears a notification: a subscription's name, or nothing for all. */
static void
Hear(const char *payload)
{
	HASH_SEQ_STATUS status;
	Partition  *partition;

	Called = true;
	hash_seq_init(&status, Partitions);
	while ((partition = hash_seq_search(&status)) != NULL)
	{
		if (payload[0] == '\0' || strcmp(payload, partition->key.subscription) == 0)
			Enqueue(partition);
	}
}

/* Gives the workers what there is to do; returns after how long there may be more, or the limit. */
static long
GiveWork(long limit)
{
	long		due = EnqueueDue(limit);

	AssignTasks();
	if (!dlist_is_empty(&Line) && !Lacking)
	{
		/* somebody may have ended his task just now */
		Lacking = true;
		asynx_slots_set_lacking(true);
		CollectResults();
		AssignTasks();
	}
	StartWorkers();
	if (dlist_is_empty(&Line) && Lacking)
	{
		Lacking = false;
		asynx_slots_set_lacking(false);
	}
	return due;
}

/*
 * Notifies those outside, in a transaction of its own: if that fails, because the queue
 * of notifications is full, handlers go on.
 */
static void
Relay(void *arg)
{
	AsynxQueryScope scope;

	(void) arg;
	asynx_worker_begin_transaction("notifying");
	asynx_worker_check_extension();
	asynx_query_begin(&scope);
	RelayAgain = asynx_relay(asynx_feed_safe_position());
	asynx_query_end(&scope);
	asynx_worker_commit();
	asynx_relay_done();
}

/* A turn of the bus; "arg" gets how long it may sleep, in milliseconds. */
static void
Turn(void *arg)
{
	long	   *sleep = (long *) arg;

	More = false;
	asynx_ear_drain(Hear);
	CollectResults();
	LookIntoDatabase();
	*sleep = asynx_poll_interval;
	RelayAgain = -1;
	if (Running)
		*sleep = GiveWork(*sleep);
	if (Running && Notifying && !asynx_worker_try(Relay, NULL))
		RelayAgain = 1000;
	if (More)
		*sleep = 0;
	else if (!dlist_is_empty(&Line))
		*sleep = Min(*sleep, 1000);
	if (RelayAgain >= 0)
		*sleep = Min(*sleep, RelayAgain);
	if (Marked < Seen)
		*sleep = Min(*sleep, MARK_INTERVAL);

	/* the latch that told it may have been reset meanwhile */
	Called = false;
	asynx_ear_drain(Hear);
	if (Called)
		*sleep = 0;
}

/* Waits until there is time for one more turn. */
static void
AwaitTurn(uint32 wait_event)
{
	static TimestampTz last = 0;
	static int64 saved = 0;
	TimestampTz now = GetCurrentTimestamp();

	saved = Min(saved + (now - last), TURN_TIME * TURN_BURST);
	if (saved < TurnTime)
	{
		long		milliseconds = (TurnTime - saved) / 1000 + 1;

		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds, wait_event);
		asynx_worker_check_interrupts();
		now = GetCurrentTimestamp();
		saved = TurnTime;
	}
	saved -= TurnTime;
	last = now;
}

/* The bus. */
void
asynx_bus_main(Datum arg)
{
	uint32		wait_event = 0;
	HASHCTL		control = {
		.keysize = sizeof(AsynxPartition),
		.entrysize = sizeof(Partition),
	};

	asynx_worker_begin(arg);

	/* not all databases have the extension */
	asynx_worker_begin_transaction("starting");
	asynx_worker_check_extension();
	asynx_ear_listen("asynx_wake");
	asynx_worker_commit();
	if (!asynx_slots_set_bus())
		ereport(FATAL,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases have the extension asynx")));
	Partitions = hash_create("asynx partitions", 64, &control, HASH_ELEM | HASH_BLOBS);

	for (;;)
	{
		long		sleep = 0;

		AwaitTurn(asynx_wait_event(&wait_event, "AsynxBusMain"));
		asynx_slots_bus_sleeps();
		if (!asynx_worker_try(Turn, &sleep))
			sleep = 1000;
		else if (asynx_slots_bus_woken())
			sleep = 0;
		asynx_worker_sleep(sleep, asynx_wait_event(&wait_event, "AsynxBusMain"));
	}
}
