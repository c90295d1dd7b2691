/*
 * append.c
 *	  append(): stores one event as it comes, and runs the subscriptions that are
 *	  part of the write.
 */
#include "asynx.h"

#include "args.h"
#include "inline.h"
#include "patch.h"
#include "query.h"
#include "store.h"

PG_FUNCTION_INFO_V1(asynx_append);

/* asynx.append(...) returns asynx.stored_event */
Datum
asynx_append(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	AsynxStoredEvent stored;
	TimestampTz occurred_at;
	AsynxAppend request = {
		.aggregate_id = asynx_arg_aggregate_id(fcinfo, 0),
		.version = asynx_arg_bigint(fcinfo, 1, "version", 1),
		.event_name = asynx_arg_event_name(fcinfo, 2),
		.patch = asynx_arg_jsonb(fcinfo, 3, "patch"),
		.aggregate_type = asynx_arg_type_name_or_null(fcinfo, 4),
		.metadata = asynx_arg_jsonb_or_null(fcinfo, 5),
		.id = asynx_arg_uuid_or_null(fcinfo, 6),
	};

	if (!PG_ARGISNULL(7))
	{
		occurred_at = PG_GETARG_TIMESTAMPTZ(7);
		asynx_check_occurred_at(occurred_at);
		request.occurred_at = &occurred_at;
	}
	if (!PG_ARGISNULL(8))
		request.schema_version = asynx_arg_int(fcinfo, 8, "schema_version", 1);

	asynx_patch_check(request.patch);

	asynx_query_begin_write(&scope, "asynx.append()");
	if (asynx_store_append(&request, &stored))
		asynx_inline_run_stored(&stored);
	asynx_query_end(&scope);

	PG_RETURN_DATUM(asynx_stored_event_datum(fcinfo, &stored));
}
