/*
 * element.h
 *	  Reading the members of JSON objects that stand for the arguments of a call.
 */
#ifndef ASYNX_ELEMENT_H
#define ASYNX_ELEMENT_H

#include "utils/uuid.h"
#include "value.h"

/* Each raises 22023 with the member's name for a value that is not such a thing. */
extern text *asynx_element_text(const AsynxValue *value, const char *name);
extern int64 asynx_element_integer(const AsynxValue *value, const char *name, int64 least,
								   int64 most);
extern pg_uuid_t *asynx_element_uuid(const AsynxValue *value, const char *name, pg_uuid_t *uuid);
extern Jsonb *asynx_element_jsonb(const AsynxValue *value);

pg_noreturn extern void asynx_element_refuse(const char *name, const char *expected);
pg_noreturn extern void asynx_element_refuse_unknown(const AsynxValue *key, const char *function);

#endif							/* ASYNX_ELEMENT_H */
