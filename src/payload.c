/*
 * payload.c
 *	  What a notification says of an event: where it is, and no content.
 */
#include "asynx.h"

#include <json-c/json.h>

#include "payload.h"

/* The longest payload, as NOTIFY has it (commands/async.c). */
#define LONGEST_PAYLOAD (BLCKSZ - NAMEDATALEN - 128 - 1)

/* Adds a text to the object. */
static void
AddText(json_object *object, const char *name, const text *value)
{
	json_object_object_add(object, name,
						   json_object_new_string_len(VARDATA_ANY(value),
													  VARSIZE_ANY_EXHDR(value)));
}

/* The payload for an event; without its names if they would not fit. */
char *
asynx_payload(const AsynxStoredEvent *event)
{
	json_object *object = json_object_new_object();
	char	   *payload;

	json_object_object_add(object, "position", json_object_new_int64(event->position));
	AddText(object, "aggregate_id", event->aggregate_id);
	AddText(object, "aggregate_type", event->aggregate_type);
	AddText(object, "event_name", event->event_name);
	json_object_object_add(object, "version", json_object_new_int64(event->version));
	payload = pstrdup(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
													 JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
	if (strlen(payload) <= LONGEST_PAYLOAD)
		return payload;
	return psprintf("{\"position\":%lld,\"version\":%lld}", (long long) event->position,
					(long long) event->version);
}
