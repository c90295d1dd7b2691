/*
 * event.c
 *	  Turns rows of the log into C structs and those into composites.
 *
 * asynx.stored_event is the row; asynx.event is the envelope that handlers and
 * replay() get: the row with the state after the event and the one before it.
 * The order of the fields here is the order of the CREATE TYPE statements.
 */
#include "asynx.h"

#include "access/htup_details.h"
#include "event.h"
#include "funcapi.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#define STORED_EVENT_NATTS 10

/* A column of a by-reference type, detoasted and copied; NULL for NULL. */
static void *
CopyColumn(TupleTableSlot *slot, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	if (isnull)
		return NULL;
	return PG_DETOAST_DATUM_COPY(value);
}

/*
 * Fills "event" from a row with ASYNX_STORED_EVENT_COLUMNS; what it points to
 * is allocated in the current memory context.
 */
void
asynx_event_from_slot(TupleTableSlot *slot, AsynxStoredEvent *event)
{
	bool		isnull;

	event->id = *DatumGetUUIDP(slot_getattr(slot, 1, &isnull));
	event->aggregate_id = CopyColumn(slot, 2);
	event->event_name = CopyColumn(slot, 3);
	event->version = DatumGetInt64(slot_getattr(slot, 4, &isnull));
	event->schema_version = DatumGetInt32(slot_getattr(slot, 5, &isnull));
	event->occurred_at = DatumGetTimestampTz(slot_getattr(slot, 6, &isnull));
	event->position = DatumGetInt64(slot_getattr(slot, 7, &isnull));
	event->aggregate_type = CopyColumn(slot, 8);
	event->metadata = CopyColumn(slot, 9);
	event->patch = CopyColumn(slot, 10);
}

/* A jsonb as a column value; NULL is NULL. */
static void
SetJsonb(Jsonb *json, Datum *value, bool *isnull)
{
	*value = PointerGetDatum(json);
	*isnull = (json == NULL);
}

/* Forms a composite of the type. */
static Datum
FormComposite(Oid type, Datum *values, bool *nulls)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	HeapTuple	tuple = heap_form_tuple(desc, values, nulls);

	ReleaseTupleDesc(desc);
	return HeapTupleGetDatum(tuple);
}

/* The event as asynx.stored_event, whose OID is "type". */
Datum
asynx_stored_event_form(Oid type, const AsynxStoredEvent *event)
{
	Datum		values[STORED_EVENT_NATTS];
	bool		nulls[STORED_EVENT_NATTS] = {false};

	values[0] = UUIDPGetDatum(&event->id);
	values[1] = PointerGetDatum(event->aggregate_id);
	values[2] = PointerGetDatum(event->event_name);
	values[3] = Int64GetDatum(event->version);
	values[4] = Int32GetDatum(event->schema_version);
	values[5] = TimestampTzGetDatum(event->occurred_at);
	values[6] = Int64GetDatum(event->position);
	values[7] = PointerGetDatum(event->aggregate_type);
	SetJsonb(event->metadata, &values[8], &nulls[8]);
	values[9] = PointerGetDatum(event->patch);

	return FormComposite(type, values, nulls);
}

/* The event as asynx.stored_event, which "fcinfo"'s function must return. */
Datum
asynx_stored_event_datum(FunctionCallInfo fcinfo, const AsynxStoredEvent *event)
{
	return asynx_stored_event_form(get_func_rettype(fcinfo->flinfo->fn_oid), event);
}

/* The columns of asynx.event: the stored event, the state after it and before it. */
void
asynx_event_values(const AsynxStoredEvent *event, Jsonb *aggregate, Jsonb *previous_aggregate,
				   Datum *values, bool *nulls)
{
	memset(nulls, false, ASYNX_EVENT_NATTS * sizeof(bool));

	values[0] = UUIDPGetDatum(&event->id);
	values[1] = PointerGetDatum(event->aggregate_id);
	values[2] = PointerGetDatum(event->event_name);
	values[3] = Int64GetDatum(event->version);
	values[4] = Int32GetDatum(event->schema_version);
	values[5] = TimestampTzGetDatum(event->occurred_at);
	SetJsonb(aggregate, &values[6], &nulls[6]);
	SetJsonb(previous_aggregate, &values[7], &nulls[7]);
	values[8] = Int64GetDatum(event->position);
	values[9] = PointerGetDatum(event->aggregate_type);
	SetJsonb(event->metadata, &values[10], &nulls[10]);
	values[11] = PointerGetDatum(event->patch);
}

/* The event as asynx.event, whose OID is "type". */
Datum
asynx_event_form(Oid type, const AsynxStoredEvent *event, Jsonb *aggregate,
				 Jsonb *previous_aggregate)
{
	Datum		values[ASYNX_EVENT_NATTS];
	bool		nulls[ASYNX_EVENT_NATTS];

	asynx_event_values(event, aggregate, previous_aggregate, values, nulls);
	return FormComposite(type, values, nulls);
}

/* The event as asynx.event, which "fcinfo"'s function must return. */
Datum
asynx_event_datum(FunctionCallInfo fcinfo, const AsynxStoredEvent *event,
				  Jsonb *aggregate, Jsonb *previous_aggregate)
{
	return asynx_event_form(get_func_rettype(fcinfo->flinfo->fn_oid), event, aggregate,
							previous_aggregate);
}
