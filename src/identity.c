/*
 * identity.c
 *	  The one place that changes the current user.
 *
 * asynx's own statements act as the owner of its tables, so that nobody needs
 * rights on the tables themselves; the rights that count are those to execute
 * the functions.  C functions do this by themselves rather than by SECURITY
 * DEFINER with a SET clause, which would forbid COMMIT in procedures.
 *
 * After an error nobody has to restore anything: the abort of the
 * (sub)transaction puts back the user that it began with.
 */
#include "asynx.h"

#include "identity.h"
#include "miscadmin.h"

/*
 * Makes "role" the current user and adds "restrictions" (SECURITY_... bits) to
 * the context; "before" receives what asynx_identity_restore() puts back.
 */
void
asynx_identity_become(Oid role, int restrictions, AsynxIdentity *before)
{
	GetUserIdAndSecContext(&before->role, &before->context);
	SetUserIdAndSecContext(role, before->context | restrictions);
}

/* Undoes asynx_identity_become(). */
void
asynx_identity_restore(const AsynxIdentity *before)
{
	SetUserIdAndSecContext(before->role, before->context);
}
