/*
 * identity.h
 *	  Acting as another role, and back.
 */
#ifndef ASYNX_IDENTITY_H
#define ASYNX_IDENTITY_H

/* Who the session acted as before; kept by the caller. */
typedef struct AsynxIdentity
{
	Oid			role;
	int			context;
} AsynxIdentity;

extern void asynx_identity_become(Oid role, int restrictions, AsynxIdentity *before);
extern void asynx_identity_restore(const AsynxIdentity *before);

#endif							/* ASYNX_IDENTITY_H */
