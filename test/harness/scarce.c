/*
 * scarce.c
 *	  json-c's memory, which runs out when the shim says so.
 *
 * The linker (--wrap) leads the rooms' calls of those functions of json-c that
 * allocate to here.  Each counts as an allocation; the one that is to fail does
 * what json-c does without memory: nothing, and says so.
 */
#include "shim.h"

#include <json-c/json_object.h>
#include <json-c/linkhash.h>

extern json_object *__real_json_object_new_boolean(json_bool value);
extern json_object *__real_json_object_new_int64(int64_t value);
extern json_object *__real_json_object_new_object(void);
extern json_object *__real_json_object_new_array_ext(int size);
extern int	__real_json_object_array_add(json_object *array, json_object *child);
extern int	__real_json_object_object_add_ex(json_object *object, const char *name,
											 json_object *child, const unsigned options);
extern int	__real_lh_table_resize(lh_table *table, int size);

extern json_object *__wrap_json_object_new_boolean(json_bool value);
extern json_object *__wrap_json_object_new_int64(int64_t value);
extern json_object *__wrap_json_object_new_object(void);
extern json_object *__wrap_json_object_new_array_ext(int size);
extern int	__wrap_json_object_array_add(json_object *array, json_object *child);
extern int	__wrap_json_object_object_add_ex(json_object *object, const char *name,
											 json_object *child, const unsigned options);
extern int	__wrap_lh_table_resize(lh_table *table, int size);

/* A boolean. */
json_object *
__wrap_json_object_new_boolean(json_bool value)
{
	return shim_allocation_fails() ? NULL : __real_json_object_new_boolean(value);
}

/* An integer. */
json_object *
__wrap_json_object_new_int64(int64_t value)
{
	return shim_allocation_fails() ? NULL : __real_json_object_new_int64(value);
}

/* An object. */
json_object *
__wrap_json_object_new_object(void)
{
	return shim_allocation_fails() ? NULL : __real_json_object_new_object();
}

/* An array. */
json_object *
__wrap_json_object_new_array_ext(int size)
{
	return shim_allocation_fails() ? NULL : __real_json_object_new_array_ext(size);
}

/* An element. */
int
__wrap_json_object_array_add(json_object *array, json_object *child)
{
	return shim_allocation_fails() ? -1 : __real_json_object_array_add(array, child);
}

/* A member. */
int
__wrap_json_object_object_add_ex(json_object *object, const char *name, json_object *child,
								 const unsigned options)
{
	return shim_allocation_fails() ? -1 :
		__real_json_object_object_add_ex(object, name, child, options);
}

/* A larger table. */
int
__wrap_lh_table_resize(lh_table *table, int size)
{
	return shim_allocation_fails() ? -1 : __real_lh_table_resize(table, size);
}
