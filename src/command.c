/*
 * command.c
 *	  The pipeline: lock, current state, diff, append, snapshot.
 *
 * write() is for applications that compute the new state themselves.  It holds
 * the aggregate's lock to the end of the transaction, so writers of one
 * aggregate are serial and its patches always fit; writers of others do not
 * wait.  What is stored is the smallest patch that was found from the current
 * state to the new one, "[]" if they are equal.
 */
#include "asynx.h"

#include "aggtype.h"
#include "args.h"
#include "command.h"
#include "diff.h"
#include "errors.h"
#include "lock.h"
#include "query.h"
#include "replay.h"
#include "snapshot.h"
#include "store.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "value.h"

/* Is it the same state, byte for byte? */
static bool
SameState(const Jsonb *a, const Jsonb *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
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
		SameState(request->state, written->aggregate);
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

/* Reads the aggregate as it is; one that does not exist begins with its type's seed. */
static void
LoadCurrent(const AsynxWrite *request, AsynxAggregate *current)
{
	AsynxType	type;
	text	   *name = request->aggregate_type;

	asynx_replay_aggregate(request->aggregate_id, ASYNX_REPLAY_ALL, current);
	if (current->exists)
		return;

	if (name == NULL)
		name = cstring_to_text(ASYNX_DEFAULT_TYPE);
	if (!asynx_type_read(name, &type))
		asynx_type_refuse_unknown(name);
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

/* Appends what leads from the current state to the requested one. */
static void
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

	written->aggregate = request->state;
	written->previous = current->version > 0 ? current->state : current->seed;
	append.patch = Difference(written->previous, request->state);
	asynx_store_append(&append, &written->event);
}

/* Leaves a snapshot if the request or the type's policy wants one. */
static void
MaybeSnapshot(const AsynxWrite *request, AsynxAggregate *current, const AsynxWritten *written)
{
	int64		version = written->event.version;
	bool		due = current->snapshot_every > 0 && version % current->snapshot_every == 0;

	if (!request->snapshot && !due)
		return;

	current->version = version;
	current->position = written->event.position;
	current->schema_version = written->event.schema_version;
	current->state = request->state;
	asynx_snapshot_save(request->aggregate_id, current);
}

/*
 * Stores a new state of an aggregate as an event, or finds the event that the
 * request repeats.  Raises version_conflict, document_limit, 22023 or 40001.
 */
void
asynx_command_write(const AsynxWrite *request, AsynxWritten *written)
{
	AsynxAggregate current;
	bool		repeated;

	asynx_document_check(request->state);
	asynx_lock_aggregate(request->aggregate_id);

	PushActiveSnapshot(GetTransactionSnapshot());
	repeated = FindRepeat(request, written);
	if (!repeated)
		LoadCurrent(request, &current);
	PopActiveSnapshot();
	if (repeated)
		return;

	CheckExpected(request, &current);
	AppendChange(request, &current, written);
	MaybeSnapshot(request, &current, written);
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

	asynx_query_begin(&scope);
	asynx_command_write(&request, &written);
	asynx_query_end(&scope);

	PG_RETURN_DATUM(asynx_event_datum(fcinfo, &written.event, written.aggregate,
									  written.previous));
}
