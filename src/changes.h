/*
 * changes.h
 *	  Messages that a table was changed.
 */
#ifndef ASYNX_CHANGES_H
#define ASYNX_CHANGES_H

#include "utils/inval.h"

/* The function gets every message from now on; InvalidOid stands for any table. */
extern void asynx_changes_register(RelcacheCallbackFunction note);

#endif							/* ASYNX_CHANGES_H */
