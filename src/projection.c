/*
 * projection.c
 *	  The worker that runs handlers.
 *
 * 1. It gets its work from the bus, a partition of a subscription at a time (slots.c),
 *	  and works on it until nothing is left or its time is up, so that many
 *	  subscriptions share few workers.
 *
 * 2. Events are handled in batches, one transaction each: the partition's checkpoint
 *	  is locked, the events after it are read, up to the safe position, and go through
 *	  the handler in one subtransaction; then the checkpoint moves, once, and all of it
 *	  commits.  A batch is bounded by number, by bytes and by time.
 *
 * 3. If anything in a batch fails, its effects are undone, and its events are handled
 *	  one by one, a transaction each, so that what fails costs only itself
 *	  (checkpoint.c says what becomes of it).  Events of an aggregate that waits are put
 *	  in line behind.
 *
 * 4. After a start of the server or the death of a worker the events go one by one
 *	  too, and each attempt is committed before it is made.  An event that was being
 *	  handled at two deaths is not tried again: it is recorded as a failure.
 *
 * Commits are not flushed but now and then: if they are lost in a crash, the handler's
 * effects and the checkpoint are lost together, and the events, which were flushed
 * before, are handled again.  There are only so many of them, and for so many care is
 * taken, so that an event that crashes the server is among these.
 */
#include "asynx.h"

#include "access/xact.h"
#include "checkpoint.h"
#include "common/hashfn.h"
#include "deliver.h"
#include "errors.h"
#include "feed.h"
#include "guc.h"
#include "hook.h"
#include "lifecycle.h"
#include "miscadmin.h"
#include "pattern.h"
#include "pgstat.h"
#include "query.h"
#include "slots.h"
#include "states.h"
#include "storage/ipc.h"
#include "store.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "worker.h"

/* How long a batch and a task may take, and how long an idle worker stays, in milliseconds. */
#define BATCH_TIME 50
#define TASK_TIME 200
#define IDLE_TIME 60000

/* How many bytes of patches, or of states, a batch may have. */
#define BATCH_BYTES (16 * 1024 * 1024)

/* An idle partition's checkpoint moves when the feed is so far ahead. */
#define LAZY_POSITIONS 10000

/* How many events a batch looks at, wanted or not. */
#define LOOK_EVENTS 10000

/* How long to leave a partition alone that somebody holds, and after an error, in milliseconds. */
#define HELD_DELAY 20
#define ERROR_DELAY 1000

/* What a worker keeps of the memory of its tasks, in bytes. */
#define TASK_BLOCK (1024 * 1024)

/* At how many deaths an event is given up. */
#define DEATHS 2

/* A batch of events. */
typedef struct Batch
{
	AsynxTask  *task;
	const AsynxSubscription *subscription;
	bool		waiting;		/* may some of the events have to wait? */
	List	   *due;			/* what failed before and is to be handled now */
	AsynxStoredEvent *events;	/* those to be handled */
	int			count;
	int			room;
	Size		bytes;			/* of what they have */
	int			handled;		/* how many a unit has handled */
	int			looked;			/* how many were looked at */
	AsynxStatesMark mark;		/* from before the snapshot that they are read with */
	int64		from;			/* the checkpoint */
	int64		reached;		/* what was looked at */
	bool		full;			/* is there more? */
	AsynxCall	call;			/* that is being made, for the error filter */
	TimestampTz until;			/* when the unit is to end */
} Batch;

pg_noreturn PGDLLEXPORT void asynx_projection_main(Datum arg);

/* Memory of the batch, or of the list, that is being worked on. */
static MemoryContext WorkContext = NULL;

/* Adds an event to the batch. */
static void
AddEvent(Batch *batch, TupleTableSlot *slot)
{
	AsynxStoredEvent *event;

	if (batch->count == batch->room)
	{
		batch->room = Max(64, batch->room * 2);
		batch->events = batch->events == NULL ?
			palloc(batch->room * sizeof(AsynxStoredEvent)) :
			repalloc(batch->events, batch->room * sizeof(AsynxStoredEvent));
	}
	event = &batch->events[batch->count++];
	asynx_event_from_slot(slot, event);
	batch->bytes += VARSIZE_ANY(event->patch);
	if (event->metadata != NULL)
		batch->bytes += VARSIZE_ANY(event->metadata);
}

/* Does the subscription's partition want the event in the row? */
static bool
Wants(const Batch *batch, TupleTableSlot *slot)
{
	bool		isnull;
	text	   *name = DatumGetTextPP(slot_getattr(slot, 3, &isnull));
	text	   *id = DatumGetTextPP(slot_getattr(slot, 2, &isnull));

	return asynx_pattern_match(batch->subscription->pattern, VARDATA_ANY(name),
							   VARSIZE_ANY_EXHDR(name)) &&
		asynx_partition_of(id, batch->subscription->partitions) == batch->task->partition.number;
}

/* Row function of the feed: takes what the partition wants, until the batch is full. */
static bool
Take(TupleTableSlot *slot, void *arg)
{
	Batch	   *batch = (Batch *) arg;
	bool		isnull;

	batch->reached = DatumGetInt64(slot_getattr(slot, 7, &isnull));
	if (Wants(batch, slot))
		AddEvent(batch, slot);
	batch->full = batch->count >= asynx_batch_size || batch->bytes >= BATCH_BYTES ||
		++batch->looked >= LOOK_EVENTS;
	return !batch->full;
}

/*
 * Looks for events that could not be handled before: whether there are any, and what of
 * the partition is to be handled now, or when the next will be.
 */
static void
ReadFailures(Batch *batch)
{
	AsynxTask  *task = batch->task;
	MemoryContext caller;

	task->due = DT_NOEND;
	batch->waiting = asynx_failures_any(batch->subscription->name);
	if (!batch->waiting)
		return;

	caller = MemoryContextSwitchTo(WorkContext);
	batch->due = asynx_failures_due(&task->partition, batch->subscription->partitions,
									&task->due);
	MemoryContextSwitchTo(caller);
}

/* Reads the events after the checkpoint and up to the safe position. */
static void
ReadBatch(Batch *batch, int64 safe)
{
	MemoryContext caller;

	batch->reached = batch->from;
	caller = MemoryContextSwitchTo(WorkContext);
	if (batch->from < safe)
		asynx_feed_scan(batch->from, safe, Take, batch);
	MemoryContextSwitchTo(caller);
	if (!batch->full)
		batch->reached = Max(safe, batch->from);
}

/* Gives an event to the handler, within the unit. */
static void
HandleEvent(Batch *batch, const AsynxStoredEvent *event)
{
	const AsynxTaker *handler = &batch->subscription->handler;
	AsynxDelivery delivery = {.envelope = {.event = event}, .mark = batch->mark};

	memset(&batch->call, 0, sizeof(batch->call));
	batch->call.function = &handler->function;
	batch->call.timeout = batch->subscription->milliseconds;
	if (asynx_deliver_wants_states(handler->form))
		asynx_deliver_fold(&delivery);
	asynx_hooks_set_event(&batch->call, handler->form, &delivery.envelope);
	PushActiveSnapshot(GetTransactionSnapshot());
	asynx_handler_run_in_time(&batch->call);
	PopActiveSnapshot();
}

/* Does the handler take many events at once? */
static bool
TakesMany(const Batch *batch)
{
	AsynxForm	form = batch->subscription->handler.form;

	return form == ASYNX_TAKES_EVENTS || form == ASYNX_TAKES_STOREDS;
}

/* Puts an event in line behind those that its aggregate waits for; true if it waits. */
static bool
MaybeWait(const Batch *batch, const AsynxStoredEvent *event)
{
	if (!batch->waiting ||
		!asynx_failures_hold_up(batch->subscription->name, event->aggregate_id))
		return false;
	asynx_failures_wait(batch->subscription->name, event);
	return true;
}

/* Gives the events to the handler, one after the other, until time is up. */
static void
HandleEach(Batch *batch)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "asynx event",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);

	for (batch->handled = 0; batch->handled < batch->count;)
	{
		const AsynxStoredEvent *event = &batch->events[batch->handled];

		CHECK_FOR_INTERRUPTS();
		if (!MaybeWait(batch, event))
			HandleEvent(batch, event);
		batch->handled++;
		MemoryContextReset(scratch);
		if (GetCurrentTimestamp() >= batch->until)
			break;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
}

/* Gives the events to the handler, many at once. */
static void
HandleMany(Batch *batch)
{
	const AsynxTaker *handler = &batch->subscription->handler;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "asynx event",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = CurrentMemoryContext;
	AsynxEventArray array;

	memset(&batch->call, 0, sizeof(batch->call));
	batch->call.function = &handler->function;
	batch->call.timeout = batch->subscription->milliseconds;

	asynx_hooks_begin_array(&array, handler->form);
	for (batch->handled = 0; batch->handled < batch->count && array.bytes < BATCH_BYTES;
		 batch->handled++)
	{
		const AsynxStoredEvent *event = &batch->events[batch->handled];
		AsynxDelivery delivery = {.envelope = {.event = event}, .mark = batch->mark};

		CHECK_FOR_INTERRUPTS();
		if (MaybeWait(batch, event))
			continue;
		MemoryContextSwitchTo(scratch);
		if (asynx_deliver_wants_states(handler->form))
			asynx_deliver_fold(&delivery);
		MemoryContextSwitchTo(caller);
		asynx_hooks_add_event(&array, &delivery.envelope);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
	if (array.count == 0)
		return;

	asynx_hooks_set_array(&batch->call, &array);
	PushActiveSnapshot(GetTransactionSnapshot());
	asynx_handler_run_in_time(&batch->call);
	PopActiveSnapshot();
}

/* Unit of work: the batch, or as much of it as there is time for. */
static void
HandleBatch(void *arg)
{
	Batch	   *batch = (Batch *) arg;

	if (TakesMany(batch))
		HandleMany(batch);
	else
		HandleEach(batch);
}

/* Error filter: is it the handler's? */
static bool
IsHandlerFailure(const ErrorData *error, void *arg)
{
	return !asynx_handler_is_interruption(error) || ((const Batch *) arg)->call.timed_out;
}

/* Moves the checkpoint. */
static void
MoveTo(Batch *batch, int64 position)
{
	asynx_checkpoint_move(&batch->task->partition, position);
	batch->task->checkpoint = position;
}

/* Moves the checkpoint over what was handled. */
static void
MoveOn(Batch *batch)
{
	bool		all = batch->handled == batch->count;
	int64		position = all ? batch->reached : batch->events[batch->handled - 1].position;

	/* an idle partition does not write, unless somebody watches it */
	if (batch->handled > 0 || batch->full || position - batch->from > LAZY_POSITIONS ||
		(position > batch->from &&
		 asynx_checkpoint_in_rebuild(&batch->task->partition, batch->from)))
		MoveTo(batch, position);
	batch->task->reached = position;
	batch->task->more = !all || batch->full;
}

/* Counts events that were handled, and has the commit flushed if there are many. */
static void
CountHandled(AsynxTask *task, int events)
{
	task->unflushed += events;
	if (task->unflushed < ASYNX_FLUSH_EVENTS)
		return;
	ForceSyncCommit();
	task->unflushed = 0;
}

/* Leaves the partition alone for so many milliseconds. */
static void
PutOff(AsynxTask *task, int milliseconds)
{
	task->held = true;
	task->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
}

/* Is the owner there, as whom the handler runs?  If not, the subscription is stopped. */
static bool
HasOwner(const AsynxSubscription *subscription)
{
	const AsynxFunction *function = &subscription->handler.function;

	if (OidIsValid(get_role_oid(function->owner, true)))
		return true;
	asynx_subscription_stop(subscription->name,
							psprintf("role \"%s\" does not exist", function->owner));
	return false;
}

/*
 * Begins a transaction of the task's; false if there is nothing to work on any more, or
 * somebody else holds it.
 */
static bool
Begin(Batch *batch, AsynxQueryScope *scope)
{
	AsynxTask  *task = batch->task;
	const char *name = task->partition.subscription;

	asynx_handler_stay();
	asynx_worker_begin_transaction(name);
	asynx_worker_check_extension();
	asynx_query_begin(scope);
	asynx_states_set_reader(string_hash(name, strlen(name) + 1));
	batch->subscription = asynx_subscriptions_find(ASYNX_ASYNC, name);
	task->gone = batch->subscription == NULL ||
		task->partition.number >= batch->subscription->partitions;
	if (!task->gone && !asynx_lifecycle_is_stopped() &&
		asynx_checkpoint_lock(&task->partition, &batch->from))
	{
		task->checkpoint = batch->from;
		task->gone = !HasOwner(batch->subscription);
		task->more &= !task->gone;
		return !task->gone;
	}

	task->more = false;
	if (!task->gone)
		PutOff(task, HELD_DELAY);
	return false;
}

/*
 * The same for a later transaction of the task's; false also if somebody has moved the
 * checkpoint since the one before: what was read then does not hold any more.
 */
static bool
BeginAgain(Batch *batch, AsynxQueryScope *scope)
{
	int64		expected = batch->task->checkpoint;

	if (!Begin(batch, scope))
		return false;
	batch->task->more = batch->from != expected;
	return batch->from == expected;
}

/* Ends it. */
static void
End(AsynxQueryScope *scope)
{
	asynx_query_end(scope);
	asynx_worker_commit();
}

/*
 * Notes, in a transaction of its own that is flushed, that an event is about to be
 * handled; false if it is not.
 */
static bool
NoteAttempt(Batch *batch, const AsynxStoredEvent *event)
{
	AsynxQueryScope scope;
	bool		begun = BeginAgain(batch, &scope);

	if (begun)
		asynx_failures_begin(batch->subscription->name, event);
	ForceSyncCommit();
	batch->task->unflushed = 0;
	End(&scope);
	return begun;
}

/* Reads an event again; false if it was forgotten meanwhile. */
static bool
ReadAgain(const text *aggregate_id, int64 version, int64 position, AsynxStoredEvent *event)
{
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = asynx_feed_find(aggregate_id, version, position, event);
	PopActiveSnapshot();
	return found;
}

/*
 * Gives up an event at which the server, or the worker, has died too often; true if the
 * subscription is to stop.
 */
static bool
GiveUp(Batch *batch, const AsynxStoredEvent *event, int attempts)
{
	ErrorData	error = {
		.sqlerrcode = ERRCODE_CRASH_SHUTDOWN,
		.message = "the worker died while the event was handled",
	};

	if (!asynx_failures_record(batch->subscription, event,
							   Max(attempts, batch->subscription->max_attempts), &error))
		return false;

	asynx_subscription_stop(batch->subscription->name,
							psprintf("position %lld: %s", (long long) event->position,
									 error.message));
	return true;
}

/*
 * Handles an event, at its so many-th attempt, which somebody may have asked for; true
 * if the subscription is to stop.
 */
static bool
HandleOne(Batch *batch, const AsynxStoredEvent *event, int attempts, bool requested)
{
	AsynxDelivery delivery = {
		.envelope = {.event = event},
		.mark = asynx_states_mark(),
		.repeatable = true,
	};
	ErrorData  *error = asynx_deliver(batch->subscription, &delivery);

	if (error == NULL)
	{
		asynx_failures_forget(batch->subscription->name, event->position);
		return false;
	}
	if (requested && !asynx_deliver_asks_for_repetition(error))
		asynx_hooks_tell_publish_error(batch->subscription, &delivery.envelope, error);
	if (!asynx_failures_record(batch->subscription, event, attempts, error))
		return false;

	asynx_subscription_stop(batch->subscription->name,
							psprintf("position %lld: %s", (long long) event->position,
									 asynx_handler_cause(error)));
	return true;
}

/* How often an event was begun and not ended. */
static int
Deaths(const char *subscription, int64 position)
{
	const ListCell *cell;
	int			deaths = 0;

	PushActiveSnapshot(GetLatestSnapshot());
	foreach(cell, asynx_failures_begun(subscription))
	{
		const AsynxFailure *failure = lfirst(cell);

		if (failure->position == position)
			deaths = failure->begun - 1;
	}
	PopActiveSnapshot();
	return deaths;
}

/* Handles an event of the batch in a transaction of its own; false to go no further. */
static bool
HandleAlone(Batch *batch, const AsynxStoredEvent *read)
{
	AsynxQueryScope scope;
	AsynxStoredEvent event;
	bool		careful = batch->task->careful > 0;
	bool		stop = false;
	bool		waits;
	int			deaths;

	if (careful)
	{
		batch->task->careful--;
		if (!NoteAttempt(batch, read))
			return false;
	}

	if (!BeginAgain(batch, &scope))
	{
		End(&scope);
		return false;
	}
	PushActiveSnapshot(GetLatestSnapshot());
	batch->waiting = asynx_failures_any(batch->subscription->name);
	waits = MaybeWait(batch, read);
	PopActiveSnapshot();
	deaths = careful ? Deaths(batch->subscription->name, read->position) : 0;
	if (!ReadAgain(read->aggregate_id, read->version, read->position, &event))
		asynx_failures_forget(batch->subscription->name, read->position);
	else if (deaths >= DEATHS)
		stop = GiveUp(batch, &event, deaths);
	else if (!waits)
		stop = HandleOne(batch, &event, 1, false);

	batch->task->reached = read->position;
	MoveTo(batch, read->position);
	CountHandled(batch->task, 1);
	End(&scope);
	return !stop;
}

/* Handles the events of the batch one by one. */
static void
HandleOneByOne(Batch *batch)
{
	int			i;

	for (i = 0; i < batch->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!HandleAlone(batch, &batch->events[i]))
			return;
	}
	batch->task->more = true;
}

/* Notes, in a transaction of its own that is flushed, that a failure is about to be handled. */
static void
NoteRepetition(AsynxTask *task, const AsynxFailure *failure)
{
	Batch		batch = {.task = task};
	AsynxQueryScope scope;

	if (Begin(&batch, &scope))
		asynx_failures_begin_again(batch.subscription->name, failure->position);
	ForceSyncCommit();
	End(&scope);
}

/* Handles one event that the feed has passed, if it still is to be; false to go no further. */
static bool
HandleDue(AsynxTask *task, const AsynxFailure *failure)
{
	Batch		batch = {.task = task};
	AsynxQueryScope scope;
	AsynxStoredEvent event;
	bool		begun;
	bool		stop = false;

	if (task->careful > 0)
		NoteRepetition(task, failure);
	begun = Begin(&batch, &scope);
	if (begun && asynx_failures_lock_due(batch.subscription->name, failure->position))
	{
		if (!ReadAgain(failure->aggregate_id, failure->version, failure->position, &event))
			asynx_failures_forget(batch.subscription->name, failure->position);
		else if (task->careful > 0 && failure->begun >= DEATHS)
			stop = GiveUp(&batch, &event, failure->attempts + failure->begun);
		else
			stop = HandleOne(&batch, &event, failure->attempts + 1, failure->requested);
		asynx_failures_release(batch.subscription->name, failure->aggregate_id);
		CountHandled(task, 1);
	}
	End(&scope);
	return begun && !stop;
}

/* Handles what is due although the feed has passed it; false to go no further. */
static bool
HandleAllDue(AsynxTask *task, const List *due)
{
	const ListCell *cell;

	foreach(cell, due)
	{
		CHECK_FOR_INTERRUPTS();
		if (!HandleDue(task, lfirst(cell)))
			return false;
	}
	return true;
}

/*
 * Handles the events of the batch, in one unit, under a snapshot that stays for their
 * states; false if they are to be handled one by one.
 */
static bool
HandleAtOnce(Batch *batch)
{
	batch->until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), BATCH_TIME);
	if (batch->count > 0 &&
		(batch->task->careful > 0 ||
		 asynx_query_attempt(HandleBatch, IsHandlerFailure, batch) != NULL))
		return false;
	MoveOn(batch);
	CountHandled(batch->task, batch->handled);
	return true;
}

/* Handles what is due, or else the next batch. */
static void
Proceed(AsynxTask *task)
{
	Batch		batch = {.task = task};
	AsynxQueryScope scope;
	bool		failed = false;

	task->more = false;
	if (Begin(&batch, &scope))
	{
		int64		safe = asynx_feed_safe_position();

		if (task->release)
			asynx_failures_release_all(&task->partition, batch.subscription->partitions,
									   batch.from);
		batch.mark = asynx_states_mark();
		PushActiveSnapshot(GetLatestSnapshot());
		ReadFailures(&batch);
		if (batch.due == NIL)
		{
			ReadBatch(&batch, safe);
			failed = !HandleAtOnce(&batch);
		}
		PopActiveSnapshot();
	}
	End(&scope);
	if (task->gone || task->held)
		return;
	task->release = false;

	/* what was due has others behind it; what fails now may be due soon */
	if (batch.due != NIL)
		task->more = HandleAllDue(task, batch.due) && !task->held;
	else if (failed)
		HandleOneByOne(&batch);
	if (batch.due == NIL && !task->more && !task->held)
		task->careful = 0;
}

/* A turn: a task. */
static void
RunTask(void *arg)
{
	AsynxTask  *task = (AsynxTask *) arg;
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TASK_TIME);

	task->due = DT_NOEND;
	task->held = task->gone = false;
	do
	{
		Proceed(task);
		MemoryContextReset(WorkContext);
	} while (task->more && GetCurrentTimestamp() < until);
}

/* The worker. */
void
asynx_projection_main(Datum arg)
{
	uint32		wait_event = 0;
	TimestampTz idle_since;
	AsynxTask	task;

	asynx_worker_begin(arg);
	WorkContext = AllocSetContextCreate(TopMemoryContext, "asynx task", 0, TASK_BLOCK,
										ALLOCSET_DEFAULT_MAXSIZE);
	asynx_states_enlarge();
	asynx_slots_wake_bus();

	idle_since = GetCurrentTimestamp();
	while (!asynx_slots_leaving() &&
		   !TimestampDifferenceExceeds(idle_since, GetCurrentTimestamp(), IDLE_TIME))
	{
		if (!asynx_slots_get_task(&task))
		{
			asynx_worker_sleep(IDLE_TIME, asynx_wait_event(&wait_event, "AsynxProjectionMain"));
			continue;
		}

		if (!asynx_worker_try(RunTask, &task))
		{
			task.more = false;
			PutOff(&task, ERROR_DELAY);
		}
		MemoryContextReset(WorkContext);
		asynx_slots_end_task(&task);
		idle_since = GetCurrentTimestamp();
	}
	proc_exit(0);
}
