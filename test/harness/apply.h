/*
 * apply.h
 *	  RFC 6902 on trees, as plainly as it can be written.
 */
#ifndef APPLY_H
#define APPLY_H

#include "text.h"

/* Applies a patch in place; NULL, or the SQLSTATE that asynx should raise. */
extern const char *apply_patch(Tree **document, const Tree *patch);

/* The same for one operation. */
extern const char *apply_operation(Tree **document, const Tree *operation);

#endif							/* APPLY_H */
