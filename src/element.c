/*
 * element.c
 *	  Reads the members of JSON objects that stand for the arguments of a call.
 *
 * A function that takes an array of calls names their arguments as its single
 * sister does; what is wrong with one is 22023, as args.c has it.
 */
#include "asynx.h"

#include "element.h"
#include "jsonbwriter.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

/* Raises 22023 for a member that is not what it should be. */
void
asynx_element_refuse(const char *name, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" must be %s", name, expected)));
}

/* Raises 22023 for a member that the function has no parameter for. */
void
asynx_element_refuse_unknown(const AsynxValue *key, const char *function)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown member \"%.*s\"",
					pg_mbcliplen(key->data, key->len, 60), key->data),
			 errhint("The members are those of %s.", function)));
}

/* A member that must be a string. */
text *
asynx_element_text(const AsynxValue *value, const char *name)
{
	if (value->tag != ASYNX_STRING)
		asynx_element_refuse(name, "a string");
	return cstring_to_text_with_len(value->data, value->len);
}

/* A member that must be an integer in a range. */
int64
asynx_element_integer(const AsynxValue *value, const char *name, int64 least, int64 most)
{
	Numeric		number;
	Numeric		whole;

	if (value->tag != ASYNX_NUMERIC)
		asynx_element_refuse(name, "a number");
	number = (Numeric) value->data;
	whole = DatumGetNumeric(DirectFunctionCall2(numeric_trunc, NumericGetDatum(number),
												Int32GetDatum(0)));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(number),
										  NumericGetDatum(whole))))
		asynx_element_refuse(name, "an integer");
	if (DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(whole),
										  NumericGetDatum(int64_to_numeric(least)))) < 0 ||
		DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(whole),
										  NumericGetDatum(int64_to_numeric(most)))) > 0)
		asynx_element_refuse(name, psprintf("between %lld and %lld",
											(long long) least, (long long) most));
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(whole)));
}

/* A member that must be a UUID, which is put into "uuid". */
pg_uuid_t *
asynx_element_uuid(const AsynxValue *value, const char *name, pg_uuid_t *uuid)
{
	char	   *given = text_to_cstring(asynx_element_text(value, name));

	*uuid = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(given)));
	return uuid;
}

/* Any member as a jsonb of its own. */
Jsonb *
asynx_element_jsonb(const AsynxValue *value)
{
	AsynxWriter writer;

	asynx_writer_init(&writer, value->len + 64, ASYNX_JSONB_LIMIT);
	asynx_writer_root(&writer, value);
	return asynx_writer_finish(&writer);
}
