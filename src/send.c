/*
 * send.c
 *	  Sends commands: their functions validate and decide, the pipeline stores.
 *
 * 1. send() hands the pipeline (command.c) a decision: the command's validate and
 *	  emit functions, called with the current state and the payload.  Both run
 *	  under the aggregate's lock and the database snapshot that showed the state.
 *
 * 2. validate rejects by raising, by returning a text that is not empty, or by
 *	  returning false.  What it raises to say no (P0001, class 23, SX002) becomes
 *	  validation_failed with the function's own message.  All else that one of the
 *	  functions raises is a defect of the pipeline, pipeline_failed, with the cause
 *	  in the detail (handler.c says what passes unchanged).
 *
 * 3. send_many() takes the locks of all its aggregates first, in the order of
 *	  their ranks (lock.c), so that two of them in opposite orders wait but never
 *	  deadlock; then it carries out the commands in the order of the array.
 */
#include "asynx.h"

#include "access/htup_details.h"
#include "args.h"
#include "catalog/pg_type.h"
#include "command.h"
#include "definition.h"
#include "element.h"
#include "errors.h"
#include "funcapi.h"
#include "lock.h"
#include "query.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"
#include "wait.h"

/* What send() is asked to do. */
typedef struct Sending
{
	const text *command;		/* its name */
	Jsonb	   *payload;
	AsynxDefinition definition; /* what the command is */
	AsynxWrite	write;			/* what the pipeline is to do */
	pg_uuid_t	id;				/* write.id may point here */
} Sending;

/* The commands of a send_many(). */
typedef struct Sendings
{
	Sending    *items;			/* in the order of the array */
	int			count;
	int			current;		/* the one being looked at, for the error context; -1 = none */
} Sendings;

/* Error text: which command on which aggregate. */
static char *
Describe(const Sending *sending)
{
	return psprintf("command \"%s\" on aggregate \"%s\"", text_to_cstring(sending->command),
					text_to_cstring(sending->write.aggregate_id));
}

/* Makes of an error the failure of the command. */
static void
ExplainFailure(const AsynxCall *call, ErrorData *error)
{
	error->detail = psprintf("%s \"%s\" raised %s", call->signature->purpose,
							 call->function->name, asynx_handler_cause(error));
	error->detail[0] = pg_toupper((unsigned char) error->detail[0]);
	error->message = psprintf("%s failed", Describe((const Sending *) call->arg));
	error->hint = NULL;
	error->sqlerrcode = ERRCODE_ASYNX_PIPELINE_FAILED;
}

/* Makes of an error of validate the rejection of the command, if that is what it means. */
static void
ExplainValidation(const AsynxCall *call, ErrorData *error)
{
	bool		violation = ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
		ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION;

	if (!violation && error->sqlerrcode != ERRCODE_RAISE_EXCEPTION &&
		error->sqlerrcode != ERRCODE_ASYNX_VALIDATION_FAILED)
	{
		ExplainFailure(call, error);
		return;
	}

	/* PostgreSQL's own detail quotes the values that violate a constraint */
	if (violation)
		error->detail = NULL;
	error->sqlerrcode = ERRCODE_ASYNX_VALIDATION_FAILED;
}

/* Calls a function of the command with the current state and the payload. */
static void
CallFunction(AsynxCall *call, Jsonb *current)
{
	const Sending *sending = (const Sending *) call->arg;

	call->args[0].value = PointerGetDatum(current);
	call->args[0].isnull = (current == NULL);
	call->args[1].value = PointerGetDatum(sending->payload);
	call->args[1].isnull = false;
	asynx_handler_run(call);
}

/* Raises validation_failed with the text that validate returned. */
static void
CheckText(const Sending *sending, const text *said)
{
	if (VARSIZE_ANY_EXHDR(said) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_VALIDATION_FAILED),
				 errmsg("%s", text_to_cstring(said)),
				 errdetail("This is what %s was rejected with.", Describe(sending))));
}

/* Decision: raises validation_failed if validate rejects the command. */
static void
Validate(Jsonb *current, void *arg)
{
	Sending    *sending = (Sending *) arg;
	AsynxCall	call = {
		.function = &sending->definition.validate,
		.signature = &asynx_validate_signature,
		.explain = ExplainValidation,
		.arg = sending,
	};

	if (sending->definition.validate.name == NULL)
		return;

	CallFunction(&call, current);
	if (call.result.isnull || call.result_type == VOIDOID)
		return;
	if (call.result_type != BOOLOID)
		CheckText(sending, DatumGetTextPP(call.result.value));
	else if (!DatumGetBool(call.result.value))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_VALIDATION_FAILED),
				 errmsg("%s was rejected", Describe(sending)),
				 errdetail("Validate function \"%s\" returned false.",
						   sending->definition.validate.name)));
}

/* Decision: the state that emit makes. */
static Jsonb *
Emit(Jsonb *current, void *arg)
{
	Sending    *sending = (Sending *) arg;
	AsynxCall	call = {
		.function = &sending->definition.emit,
		.signature = &asynx_emit_signature,
		.explain = ExplainFailure,
		.arg = sending,
	};

	CallFunction(&call, current);
	if (call.result.isnull)
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_PIPELINE_FAILED),
				 errmsg("%s failed", Describe(sending)),
				 errdetail("Emit function \"%s\" returned NULL.",
						   sending->definition.emit.name)));
	return DatumGetJsonbP(call.result.value);
}

/* Carries out one command. */
static void
Send(Sending *sending, AsynxWritten *written)
{
	AsynxDecision decision = {
		.validate = Validate,
		.emit = Emit,
		.arg = sending,
	};

	asynx_definition_find(sending->command, &sending->definition);

	sending->write.event_name = sending->definition.event_name;
	sending->write.aggregate_type = sending->definition.aggregate_type;
	sending->write.snapshot = sending->definition.snapshot;
	sending->write.decision = &decision;
	asynx_command_run(&sending->write, written);
}

/* Takes one member of an element over; raises 22023 for what send() has no parameter for. */
static void
SetMember(Sending *sending, const AsynxValue *key, const AsynxValue *value)
{
	char		name[32];
	bool		given = value->tag != ASYNX_NULL;

	snprintf(name, sizeof(name), "%.*s", (int) key->len, key->data);
	if (strcmp(name, "command") == 0)
		sending->command = asynx_element_text(value, name);
	else if (strcmp(name, "aggregate_id") == 0)
		sending->write.aggregate_id = asynx_element_text(value, name);
	else if (strcmp(name, "payload") == 0)
		sending->payload = asynx_element_jsonb(value);
	else if (strcmp(name, "metadata") == 0)
		sending->write.metadata = given ? asynx_element_jsonb(value) : NULL;
	else if (strcmp(name, "id") == 0)
		sending->write.id = given ? asynx_element_uuid(value, name, &sending->id) : NULL;
	else if (strcmp(name, "expected_version") != 0)
		asynx_element_refuse_unknown(key, "asynx.send()");
	else if (given)
	{
		sending->write.expects = true;
		sending->write.expected_version = asynx_element_integer(value, name, 0, PG_INT64_MAX);
	}
}

/* Reads one element of the array. */
static void
ReadSending(const AsynxValue *element, Sending *sending)
{
	AsynxMembers members;
	AsynxValue	key;
	AsynxValue	value;

	if (element->tag != ASYNX_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a command must be an object")));

	asynx_members_begin(&members, element);
	while (asynx_members_next(&members, &key, &value))
		SetMember(sending, &key, &value);

	if (sending->command == NULL)
		asynx_element_refuse("command", "given");
	if (sending->write.aggregate_id == NULL)
		asynx_element_refuse("aggregate_id", "given");
	asynx_check_name("command name", VARDATA_ANY(sending->command),
					 VARSIZE_ANY_EXHDR(sending->command));
	asynx_check_aggregate_id(VARDATA_ANY(sending->write.aggregate_id),
							 VARSIZE_ANY_EXHDR(sending->write.aggregate_id));
	if (sending->payload == NULL)
		sending->payload = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
}

/* Reads the array. */
static void
ReadSendings(const Jsonb *commands, Sendings *sendings)
{
	AsynxValue	root = asynx_value_root(commands);
	AsynxCursor cursor;
	AsynxValue	element;

	if (root.tag != ASYNX_ARRAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"commands\" must be an array of objects")));

	sendings->count = asynx_value_count(&root);
	sendings->items = MemoryContextAllocHuge(CurrentMemoryContext,
											 Max(sendings->count, 1) * sizeof(Sending));
	memset(sendings->items, 0, sendings->count * sizeof(Sending));

	asynx_elements_begin(&cursor, &root);
	for (sendings->current = 0; asynx_cursor_next(&cursor, &element); sendings->current++)
		ReadSending(&element, &sendings->items[sendings->current]);
	sendings->current = -1;
}

/* Error context: which element of the array. */
static void
DescribeSending(void *arg)
{
	const Sendings *sendings = (const Sendings *) arg;

	if (sendings->current >= 0)
		errcontext("command %d of the array, counted from 0", sendings->current);
}

/* Order of two commands by the rank of their aggregates' locks. */
static int
CompareRanks(const void *a, const void *b)
{
	uint64		one = asynx_lock_rank((*(const Sending *const *) a)->write.aggregate_id);
	uint64		other = asynx_lock_rank((*(const Sending *const *) b)->write.aggregate_id);

	return one < other ? -1 : one > other;
}

/* Takes the locks of all aggregates, in the one order in which everybody takes them. */
static void
LockAggregates(Sendings *sendings)
{
	Sending   **sorted = MemoryContextAllocHuge(CurrentMemoryContext,
												Max(sendings->count, 1) * sizeof(Sending *));
	int			i;

	for (i = 0; i < sendings->count; i++)
		sorted[i] = &sendings->items[i];
	qsort(sorted, sendings->count, sizeof(Sending *), CompareRanks);

	for (i = 0; i < sendings->count; i++)
	{
		sendings->current = sorted[i] - sendings->items;
		asynx_lock_aggregate_queued(sorted[i]->write.aggregate_id);
	}
	sendings->current = -1;
	pfree(sorted);
}

/* Carries the commands out and adds their events to the result; one's memory goes with it. */
static void
SendAll(Sendings *sendings, ReturnSetInfo *result)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "asynx send_many",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);

	for (sendings->current = 0; sendings->current < sendings->count; sendings->current++)
	{
		AsynxWritten written;
		Datum		values[ASYNX_EVENT_NATTS];
		bool		nulls[ASYNX_EVENT_NATTS];

		Send(&sendings->items[sendings->current], &written);
		asynx_event_values(&written.event, written.aggregate, written.previous, values, nulls);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		MemoryContextReset(scratch);
	}
	sendings->current = -1;

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
}

PG_FUNCTION_INFO_V1(asynx_send);
PG_FUNCTION_INFO_V1(asynx_send_many);
PG_FUNCTION_INFO_V1(asynx_send_wait);

/* asynx.send(command, aggregate_id, payload, metadata, expected_version, id) returns asynx.event */
Datum
asynx_send(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	AsynxWritten written;
	Sending		sending = {
		.command = asynx_arg_command_name(fcinfo, 0, "command"),
		.payload = asynx_arg_jsonb(fcinfo, 2, "payload"),
		.write = {
			.aggregate_id = asynx_arg_aggregate_id(fcinfo, 1),
			.metadata = asynx_arg_jsonb_or_null(fcinfo, 3),
			.expects = !PG_ARGISNULL(4),
			.id = asynx_arg_uuid_or_null(fcinfo, 5),
		},
	};

	if (sending.write.expects)
		sending.write.expected_version = asynx_arg_bigint(fcinfo, 4, "expected_version", 0);

	asynx_query_begin_write(&scope, "asynx.send()");
	Send(&sending, &written);
	asynx_query_end(&scope);

	PG_RETURN_DATUM(asynx_event_datum(fcinfo, &written.event, written.aggregate,
									  written.previous));
}

/* asynx.send_many(commands jsonb) returns setof asynx.event */
Datum
asynx_send_many(PG_FUNCTION_ARGS)
{
	Jsonb	   *commands = asynx_arg_jsonb(fcinfo, 0, "commands");
	AsynxQueryScope scope;
	Sendings	sendings = {.current = -1};
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = DescribeSending,
		.arg = &sendings,
	};

	InitMaterializedSRF(fcinfo, 0);
	error_context_stack = &callback;
	ReadSendings(commands, &sendings);

	asynx_query_begin_write(&scope, "asynx.send_many()");
	LockAggregates(&sendings);
	SendAll(&sendings, (ReturnSetInfo *) fcinfo->resultinfo);
	asynx_query_end(&scope);
	error_context_stack = callback.previous;

	return (Datum) 0;
}

/*
 * asynx.send_wait(command, aggregate_id, payload, metadata, timeout, INOUT event), a
 * procedure: sends, commits, and waits until the handlers have handled the event
 */
Datum
asynx_send_wait(PG_FUNCTION_ARGS)
{
	TimestampTz until = asynx_wait_until(fcinfo, 4);
	AsynxQueryScope scope;
	AsynxWritten written;
	Sending		sending = {
		.command = asynx_arg_command_name(fcinfo, 0, "command"),
		.payload = asynx_arg_jsonb(fcinfo, 2, "payload"),
		.write = {
			.aggregate_id = asynx_arg_aggregate_id(fcinfo, 1),
			.metadata = asynx_arg_jsonb_or_null(fcinfo, 3),
		},
	};
	TupleDesc	desc;
	Datum		values[1];
	bool		nulls[1] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "the procedure has no result");
	asynx_query_lock_events("asynx.send_wait()");
	asynx_query_begin_procedure(&scope, fcinfo, "asynx.send_wait");
	Send(&sending, &written);
	values[0] = asynx_event_form(TupleDescAttr(desc, 0)->atttypid, &written.event,
								 written.aggregate, written.previous);
	asynx_query_commit(&scope);
	if (!asynx_wait_handled(NULL, written.event.position, until))
		ereport(WARNING,
				(errmsg("time was up before all handlers had handled version %lld of "
						"aggregate \"%s\"", (long long) written.event.version,
						text_to_cstring(sending.write.aggregate_id))));
	asynx_query_end(&scope);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
