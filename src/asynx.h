/*
 * asynx.h
 *	  What every room of asynx knows: the names of the extension.
 *
 * The rooms and who may call whom are drawn in src/README.md.  Each room has a
 * header of its own; the include list of a file is its permission list.
 */
#ifndef ASYNX_H
#define ASYNX_H

#include "postgres.h"

#include "compat.h"

/* The schema that holds every object; the control file fixes it too. */
#define ASYNX_SCHEMA "asynx"

/* Event names that start so are asynx's own. */
#define ASYNX_RESERVED_PREFIX "asynx."

/* Longest aggregate id and longest name (aggregate type, event), in bytes. */
#define ASYNX_MAX_ID_BYTES 1000
#define ASYNX_MAX_NAME_BYTES 200

#endif							/* ASYNX_H */
