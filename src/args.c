/*
 * args.c
 *	  Reads and checks the arguments of SQL calls.
 *
 * The limits are those of the design: an aggregate id has 1 to 1000 bytes, a
 * name 1 to 200, neither is blank, and names that start with "asynx." belong to
 * the extension.  Values are detoasted into the current memory context.
 */
#include "asynx.h"

#include "args.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

/* Raises the error for a NULL argument. */
static void
CheckNotNull(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must not be null", name)));
}

/* Raises an error if the text has no character but white space. */
static void
CheckNotBlank(const char *what, const char *value, int len)
{
	int			i;

	for (i = 0; i < len; i++)
	{
		if (strchr(" \t\n\r\v\f", value[i]) == NULL)
			return;
	}

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must not be blank", what)));
}

/* Raises an error if the text is longer than "most" bytes. */
static void
CheckLength(const char *what, const char *value, int len, int most)
{
	if (len > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s \"%.*s...\" is too long", what, pg_mbcliplen(value, len, 60), value),
				 errdetail("It has %d bytes, at most %d are allowed.", len, most)));
}

/* Raises an error if the name is one of those that asynx keeps for itself. */
static void
CheckNotReserved(const char *what, const char *name, int len)
{
	int			prefix = strlen(ASYNX_RESERVED_PREFIX);

	if (len >= prefix && memcmp(name, ASYNX_RESERVED_PREFIX, prefix) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s \"%.*s\" is reserved", what, len, name),
				 errdetail("Names that start with \"%s\" belong to the extension.",
						   ASYNX_RESERVED_PREFIX)));
}

/* Raises 22023 unless the bytes can identify an aggregate. */
void
asynx_check_aggregate_id(const char *id, int len)
{
	CheckNotBlank("aggregate id", id, len);
	CheckLength("aggregate id", id, len, ASYNX_MAX_ID_BYTES);
}

/* Raises 22023 unless the bytes can name an event of the user's. */
void
asynx_check_event_name(const char *name, int len)
{
	CheckNotBlank("event name", name, len);
	CheckLength("event name", name, len, ASYNX_MAX_NAME_BYTES);
	CheckNotReserved("event name", name, len);
}

/* Raises 22023 unless the bytes can name an aggregate type. */
void
asynx_check_type_name(const char *name, int len)
{
	CheckNotBlank("aggregate type", name, len);
	CheckLength("aggregate type", name, len, ASYNX_MAX_NAME_BYTES);
	CheckNotReserved("aggregate type", name, len);
}

/* Raises 22023 unless the bytes can name something of the user's; "what" that is. */
void
asynx_check_name(const char *what, const char *name, int len)
{
	CheckNotBlank(what, name, len);
	CheckLength(what, name, len, ASYNX_MAX_NAME_BYTES);
	CheckNotReserved(what, name, len);
}

/* Raises 22023 for the infinities: nothing has happened then. */
void
asynx_check_occurred_at(TimestampTz when)
{
	if (TIMESTAMP_NOT_FINITE(when))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"occurred_at\" must be finite")));
}

/* The aggregate id in a required argument. */
text *
asynx_arg_aggregate_id(FunctionCallInfo fcinfo, int arg)
{
	text	   *id;

	CheckNotNull(fcinfo, arg, "aggregate_id");
	id = PG_GETARG_TEXT_PP(arg);
	asynx_check_aggregate_id(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id));
	return id;
}

/* The event name in a required argument. */
text *
asynx_arg_event_name(FunctionCallInfo fcinfo, int arg)
{
	text	   *name;

	CheckNotNull(fcinfo, arg, "event_name");
	name = PG_GETARG_TEXT_PP(arg);
	asynx_check_event_name(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	return name;
}

/* The aggregate type in an argument, NULL for NULL. */
text *
asynx_arg_type_name_or_null(FunctionCallInfo fcinfo, int arg)
{
	text	   *name;

	if (PG_ARGISNULL(arg))
		return NULL;
	name = PG_GETARG_TEXT_PP(arg);
	asynx_check_type_name(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	return name;
}

/* The aggregate type in a required argument. */
text *
asynx_arg_type_name(FunctionCallInfo fcinfo, int arg)
{
	CheckNotNull(fcinfo, arg, "name");
	return asynx_arg_type_name_or_null(fcinfo, arg);
}

/* A required text, whatever it says. */
text *
asynx_arg_text(FunctionCallInfo fcinfo, int arg, const char *name)
{
	CheckNotNull(fcinfo, arg, name);
	return PG_GETARG_TEXT_PP(arg);
}

/* The name of a command in a required argument, which is called "name". */
text *
asynx_arg_command_name(FunctionCallInfo fcinfo, int arg, const char *name)
{
	text	   *command = asynx_arg_text(fcinfo, arg, name);

	asynx_check_name("command name", VARDATA_ANY(command), VARSIZE_ANY_EXHDR(command));
	return command;
}

/* A required bigint that is not below "least". */
int64
asynx_arg_bigint(FunctionCallInfo fcinfo, int arg, const char *name, int64 least)
{
	int64		value;

	CheckNotNull(fcinfo, arg, name);
	value = PG_GETARG_INT64(arg);
	if (value < least)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is %lld, it must be at least %lld",
						name, (long long) value, (long long) least)));
	return value;
}

/* A required integer that is not below "least". */
int32
asynx_arg_int(FunctionCallInfo fcinfo, int arg, const char *name, int32 least)
{
	int32		value;

	CheckNotNull(fcinfo, arg, name);
	value = PG_GETARG_INT32(arg);
	if (value < least)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is %d, it must be at least %d", name, value, least)));
	return value;
}

/* A required jsonb. */
Jsonb *
asynx_arg_jsonb(FunctionCallInfo fcinfo, int arg, const char *name)
{
	CheckNotNull(fcinfo, arg, name);
	return PG_GETARG_JSONB_P(arg);
}

/* A required boolean. */
bool
asynx_arg_bool(FunctionCallInfo fcinfo, int arg, const char *name)
{
	CheckNotNull(fcinfo, arg, name);
	return PG_GETARG_BOOL(arg);
}

/* A required point in time; the infinities are allowed, they bound a search. */
TimestampTz
asynx_arg_timestamp(FunctionCallInfo fcinfo, int arg, const char *name)
{
	CheckNotNull(fcinfo, arg, name);
	return PG_GETARG_TIMESTAMPTZ(arg);
}

/* A jsonb, NULL for NULL. */
Jsonb *
asynx_arg_jsonb_or_null(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : PG_GETARG_JSONB_P(arg);
}

/* A uuid, NULL for NULL. */
pg_uuid_t *
asynx_arg_uuid_or_null(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : PG_GETARG_UUID_P(arg);
}
