/*
 * args.h
 *	  Checked access to the arguments of a SQL call.
 *
 * asynx's functions are not STRICT: a NULL or blank argument would silently do
 * nothing, in an event store a lost write.  Each reader below raises 22023
 * (invalid_parameter_value) with the parameter's name.
 */
#ifndef ASYNX_ARGS_H
#define ASYNX_ARGS_H

#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Required arguments. */
extern text *asynx_arg_aggregate_id(FunctionCallInfo fcinfo, int arg);
extern text *asynx_arg_event_name(FunctionCallInfo fcinfo, int arg);
extern text *asynx_arg_type_name(FunctionCallInfo fcinfo, int arg);
extern text *asynx_arg_command_name(FunctionCallInfo fcinfo, int arg, const char *name);
extern text *asynx_arg_text(FunctionCallInfo fcinfo, int arg, const char *name);
extern int64 asynx_arg_bigint(FunctionCallInfo fcinfo, int arg, const char *name, int64 least);
extern int32 asynx_arg_int(FunctionCallInfo fcinfo, int arg, const char *name, int32 least);
extern Jsonb *asynx_arg_jsonb(FunctionCallInfo fcinfo, int arg, const char *name);
extern bool asynx_arg_bool(FunctionCallInfo fcinfo, int arg, const char *name);
extern TimestampTz asynx_arg_timestamp(FunctionCallInfo fcinfo, int arg, const char *name);

/* Optional ones: NULL where the argument is. */
extern text *asynx_arg_type_name_or_null(FunctionCallInfo fcinfo, int arg);
extern Jsonb *asynx_arg_jsonb_or_null(FunctionCallInfo fcinfo, int arg);
extern pg_uuid_t *asynx_arg_uuid_or_null(FunctionCallInfo fcinfo, int arg);

/* The same checks for values that come from elsewhere. */
extern void asynx_check_aggregate_id(const char *id, int len);
extern void asynx_check_event_name(const char *name, int len);
extern void asynx_check_type_name(const char *name, int len);
extern void asynx_check_name(const char *what, const char *name, int len);
extern void asynx_check_occurred_at(TimestampTz when);

#endif							/* ASYNX_ARGS_H */
