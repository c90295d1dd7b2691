/*
 * command.c
 *	  The pipeline: lock, current state, decision, diff, append, snapshot, inline
 *	  subscriptions.
 *
 * The new state is given (write(), for applications that compute it themselves)
 * or decided from the current one (send.c).  The pipeline holds the aggregate's
 * lock to the end of the transaction, so commands on one aggregate are serial and
 * its patches always fit; commands on others do not wait.  append() takes no such
 * lock; if one gets ahead, a command that did not say which version it expects
 * looks and decides again.  What decides must not change the aggregate itself, by
 * a command or by append(): that is refused.
 *
 * With an id, a command that was carried out before is found again.  What it
 * decides must then be what is stored.  Deciding changes nothing (handler.c) but what
 * the commands changed that were sent meanwhile: when it is only done to compare, that
 * is undone, and when it must be done again, the transaction must begin again.
 *
 * What is stored is the smallest patch that was found from the current state to
 * the new one, "[]" if they are equal.
 */
#include "asynx.h"

#include "access/xact.h"
#include "aggtype.h"
#include "args.h"
#include "command.h"
#include "diff.h"
#include "errors.h"
#include "inline.h"
#include "lifecycle.h"
#include "lock.h"
#include "miscadmin.h"
#include "query.h"
#include "replay.h"
#include "snapshot.h"
#include "states.h"
#include "store.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "value.h"

/* Which transaction stored a version. */
static AsynxQuery SelectWriter = {
	.sql = ASYNX_SQL("SELECT e.xmin FROM asynx.events e "
					 "WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 "
					 "AND e.version OPERATOR(pg_catalog.=) $2"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

/* The state that the request wants, after another or, with NULL, as the first. */
static Jsonb *
WantedState(const AsynxWrite *request, Jsonb *current)
{
	const AsynxDecision *decision = request->decision;

	return request->state != NULL ? request->state : decision->emit(current, decision->arg);
}

/* A request and the event that it may repeat. */
typedef struct Repetition
{
	const AsynxWrite *request;
	const AsynxWritten *written;
	bool		same;			/* is the wanted state the one that the event brought about? */
} Repetition;

/* Compares the states. */
static void
CompareStates(void *arg)
{
	Repetition *repetition = (Repetition *) arg;
	const AsynxWritten *written = repetition->written;
	Jsonb	   *current = written->event.version > 1 ? written->previous : NULL;

	repetition->same = asynx_same_bytes(WantedState(repetition->request, current),
										written->aggregate);
}

/* Is it the state that the event was meant to bring about? */
static bool
BringsState(const AsynxWrite *request, const AsynxWritten *written)
{
	Repetition	repetition = {.request = request, .written = written};

	if (request->state != NULL)
		CompareStates(&repetition);
	else
		asynx_query_rehearse(CompareStates, &repetition);
	return repetition.same;
}

/* Does the stored event do what the request asks for?  Its patch is the difference anyway. */
static bool
IsRepeat(const AsynxWrite *request, const AsynxWritten *written)
{
	AsynxAppend same = {
		.aggregate_id = request->aggregate_id,
		.version = request->expects ? request->expected_version + 1 : written->event.version,
		.event_name = request->event_name,
		.patch = written->event.patch,
		.aggregate_type = request->aggregate_type,
		.metadata = request->metadata,
		.id = request->id,
	};

	return asynx_store_is_repeat(&same, &written->event) &&
		BringsState(request, written);
}

/* The state before a version: the one of the version below it, or the seed, or NULL. */
static Jsonb *
StateBefore(const text *aggregate_id, int64 version)
{
	AsynxAggregate before;

	asynx_replay_aggregate_at(aggregate_id, version - 1, &before);
	return before.version > 0 ? before.state : before.seed;
}

/*
 * Looks for an event that has the request's id already.  True if the request
 * repeats it; raises version_conflict if the id stands for something else.
 */
static bool
FindRepeat(const AsynxWrite *request, AsynxWritten *written)
{
	AsynxAggregate after;

	if (request->id == NULL ||
		!asynx_store_find(request->aggregate_id, request->id, &written->event))
		return false;

	asynx_replay_aggregate_at(request->aggregate_id, written->event.version, &after);
	written->aggregate = after.state;
	written->previous = StateBefore(request->aggregate_id, written->event.version);
	if (IsRepeat(request, written))
		return true;

	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_VERSION_CONFLICT),
			 errmsg("event id \"%s\" of aggregate \"%s\" was used for something else",
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(request->id))),
					text_to_cstring(request->aggregate_id)),
			 errdetail("It is the id of version %lld.", (long long) written->event.version)));
}

/* Raises version_conflict if the aggregate is not where the caller thinks it is. */
static void
CheckExpected(const AsynxWrite *request, const AsynxAggregate *current)
{
	if (!request->expects || request->expected_version == current->version)
		return;

	ereport(ERROR,
			(errcode(ERRCODE_ASYNX_VERSION_CONFLICT),
			 errmsg("aggregate \"%s\" is not at version %lld",
					text_to_cstring(request->aggregate_id),
					(long long) request->expected_version),
			 errdetail("The current version is %lld.", (long long) current->version),
			 errhint("Read the aggregate again and repeat the change.")));
}

/* Reads the type of an aggregate that does not exist yet; active snapshot needed. */
static void
ReadType(const AsynxWrite *request, AsynxType *type)
{
	text	   *name = request->aggregate_type;

	if (name == NULL)
		name = cstring_to_text(ASYNX_DEFAULT_TYPE);
	if (!asynx_type_read(name, type))
		asynx_type_refuse_unknown(name);
}

/* Under REPEATABLE READ: raises 40001 if the seed is another than the transaction sees. */
static void
CheckSeed(const AsynxWrite *request, const AsynxType *seen)
{
	AsynxType	type;

	if (!IsolationUsesXactSnapshot())
		return;

	PushActiveSnapshot(GetLatestSnapshot());
	ReadType(request, &type);
	PopActiveSnapshot();
	if (!asynx_same_bytes(type.seed, seen->seed))
		asynx_store_refuse_moved(request->aggregate_id);
}

/* Under REPEATABLE READ: raises 40001 if the type's upcasters are others than the fold used. */
static void
CheckUpcasters(const AsynxWrite *request, const AsynxAggregate *seen)
{
	bool		same;

	if (!IsolationUsesXactSnapshot())
		return;

	PushActiveSnapshot(GetLatestSnapshot());
	same = asynx_upcasters_still(seen->type, &seen->upcasters);
	PopActiveSnapshot();
	if (!same)
		asynx_store_refuse_moved(request->aggregate_id);
}

/*
 * Reads the aggregate as it is, from where this session left it if it did; one that
 * does not exist begins with its type's seed.
 */
static void
LoadCurrent(const AsynxWrite *request, AsynxAggregate *current)
{
	AsynxType	type;

	if (asynx_states_find(request->aggregate_id, current))
		asynx_replay_onward(request->aggregate_id, ASYNX_REPLAY_ALL, current);
	else
		asynx_replay_aggregate(request->aggregate_id, ASYNX_REPLAY_ALL, current);
	if (current->exists)
	{
		CheckUpcasters(request, current);
		return;
	}

	ReadType(request, &type);
	CheckSeed(request, &type);
	current->seed = type.seed;
	current->snapshot_every = type.snapshot_every;
}

/* The patch from "source", NULL for JSON null, to "target". */
static Jsonb *
Difference(const Jsonb *source, const Jsonb *target)
{
	if (source == NULL)
		source = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("null")));
	return asynx_diff(source, target);
}

/* Finds the new state; the active snapshot shows the current one. */
static void
Decide(const AsynxWrite *request, const AsynxAggregate *current, AsynxWritten *written)
{
	Jsonb	   *state = current->version > 0 ? current->state : NULL;

	AsynxAppend append = {
		.aggregate_id = request->aggregate_id,
		.aggregate_type = request->aggregate_type,
	};

	if (current->exists)
		asynx_store_check_type(&append, current->type);
	if (request->state == NULL)
		request->decision->validate(state, request->decision->arg);
	written->aggregate = WantedState(request, state);
	asynx_document_check(written->aggregate);
}

/*
 * Appends what leads from the current state to the wanted one.  False if an
 * append() got ahead and the caller did not say what version he expects: the
 * state must then be loaded again.
 */
static bool
AppendChange(const AsynxWrite *request, AsynxAggregate *current, AsynxWritten *written)
{
	AsynxAppend append = {
		.aggregate_id = request->aggregate_id,
		.version = current->version + 1,
		.event_name = request->event_name,
		.aggregate_type = request->aggregate_type,
		.metadata = request->metadata,
		.id = request->id,
	};

	written->repeated = false;
	written->previous = current->version > 0 ? current->state : current->seed;
	append.patch = Difference(written->previous, written->aggregate);
	if (!request->expects && !IsolationUsesXactSnapshot())
		return asynx_store_try_append(&append, &written->event);

	written->repeated = !asynx_store_append(&append, &written->event);
	return true;
}

/* Brings the aggregate to the event that was stored; false if that is of another schema version. */
static bool
Advance(AsynxAggregate *current, const AsynxWritten *written)
{
	if (current->exists && written->event.schema_version != current->schema_version)
		return false;

	current->exists = true;
	current->type = written->event.aggregate_type;
	current->version = written->event.version;
	current->position = written->event.position;
	current->schema_version = written->event.schema_version;
	current->state = written->aggregate;
	return true;
}

/* Leaves a snapshot if the request or the type's policy wants one. */
static void
MaybeSnapshot(const AsynxWrite *request, const AsynxAggregate *current)
{
	bool		due = current->snapshot_every > 0 &&
		current->version % current->snapshot_every == 0;

	if (request->snapshot || due || current->upcast || current->damaged)
		asynx_snapshot_save(request->aggregate_id, current);
}

/*
 * Looks for a repetition, else loads the current state and decides what becomes of
 * it; true if the request is a repetition.
 */
static bool
Look(const AsynxWrite *request, AsynxAggregate *current, AsynxWritten *written)
{
	bool		repeated;

	PushActiveSnapshot(GetTransactionSnapshot());
	repeated = FindRepeat(request, written);
	if (!repeated)
	{
		LoadCurrent(request, current);
		CheckExpected(request, current);
		Decide(request, current, written);
	}
	PopActiveSnapshot();
	return repeated;
}

/* The same; functions of the user's that run on the way cannot get the aggregate's lock. */
static bool
LookAlone(const AsynxWrite *request, AsynxAggregate *current, AsynxWritten *written)
{
	AsynxDecisionUnderWay decision;
	volatile bool repeated = false;

	asynx_lock_begin_decision(&decision, request->aggregate_id);
	PG_TRY();
	{
		repeated = Look(request, current, written);
	}
	PG_FINALLY();
	{
		asynx_lock_end_decision(&decision);
	}
	PG_END_TRY();
	return repeated;
}

/* Row function of SelectWriter: is it the current transaction? */
static bool
GetOwn(TupleTableSlot *slot, void *arg)
{
	bool		isnull;

	*(bool *) arg = TransactionIdIsCurrentTransactionId(
		DatumGetTransactionId(slot_getattr(slot, 1, &isnull)));
	return false;
}

/*
 * Raises pipeline_failed if it was the decision itself that took the version, by
 * append(): it would do so again each time.
 */
static void
CheckNotOwn(const text *aggregate_id, int64 version)
{
	Datum		values[] = {PointerGetDatum(aggregate_id), Int64GetDatum(version)};
	bool		own = false;

	PushActiveSnapshot(GetLatestSnapshot());
	(void) asynx_query_read(&SelectWriter, values, NULL, GetOwn, &own);
	PopActiveSnapshot();
	if (own)
		asynx_lock_refuse_change(aggregate_id);
}

/* Runs the subscriptions that are part of the write. */
static void
RunInline(const AsynxWritten *written)
{
	AsynxEnvelope envelope = {&written->event, written->aggregate, written->previous};

	if (!written->repeated)
		asynx_inline_run(&envelope);
}

/*
 * Stores a new state of an aggregate as an event, or finds the event that the
 * request repeats.  Raises queue_full, version_conflict, document_limit, 22023,
 * 40001 and what the decision raises.
 */
void
asynx_command_run(const AsynxWrite *request, AsynxWritten *written)
{
	AsynxAggregate current;
	int			attempt;

	asynx_lifecycle_check_open();
	asynx_lock_aggregate_queued(request->aggregate_id);

	for (attempt = 0; attempt < ASYNX_APPEND_ATTEMPTS; attempt++)
	{
		AsynxStatesMark mark = asynx_states_mark();
		CommandId	before = GetCurrentCommandId(false);
		bool		wrote;

		CHECK_FOR_INTERRUPTS();
		if (LookAlone(request, &current, written))
			return;
		wrote = GetCurrentCommandId(false) != before;
		if (!AppendChange(request, &current, written))
		{
			CheckNotOwn(request->aggregate_id, current.version + 1);
			if (wrote)
				asynx_store_refuse_moved(request->aggregate_id);
			continue;
		}

		if (Advance(&current, written))
		{
			MaybeSnapshot(request, &current);
			asynx_states_remember(request->aggregate_id, &current, &mark);
		}
		RunInline(written);
		return;
	}
	asynx_store_refuse_attempts(request->aggregate_id);
}

PG_FUNCTION_INFO_V1(asynx_write);

/* asynx.write(...) returns asynx.event */
Datum
asynx_write(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	AsynxWritten written;
	AsynxWrite	request = {
		.aggregate_id = asynx_arg_aggregate_id(fcinfo, 0),
		.event_name = asynx_arg_event_name(fcinfo, 1),
		.state = asynx_arg_jsonb(fcinfo, 2, "state"),
		.expects = !PG_ARGISNULL(3),
		.aggregate_type = asynx_arg_type_name_or_null(fcinfo, 4),
		.metadata = asynx_arg_jsonb_or_null(fcinfo, 5),
		.id = asynx_arg_uuid_or_null(fcinfo, 6),
		.snapshot = asynx_arg_bool(fcinfo, 7, "snapshot"),
	};

	if (request.expects)
		request.expected_version = asynx_arg_bigint(fcinfo, 3, "expected_version", 0);

	asynx_query_begin_write(&scope, "asynx.write()");
	asynx_command_run(&request, &written);
	asynx_query_end(&scope);

	PG_RETURN_DATUM(asynx_event_datum(fcinfo, &written.event, written.aggregate,
									  written.previous));
}
