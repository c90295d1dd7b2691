/*
 * uuid.c
 *	  Random ids for events.
 *
 * The same ids as gen_random_uuid() makes (RFC 9562, version 4), from the same
 * cryptographically strong source.  A call of that source costs as much for one
 * id as for many, a twentieth of an append, so a backend draws for many and keeps
 * what it does not need yet.  Nothing is drawn before a backend needs its first
 * id: a postmaster must not hand the same supply to all its children.
 */
#include "asynx.h"

#include "miscadmin.h"
#include "uuid.h"

#define SUPPLY 64

/* Random bytes for ids; the first "Left" are unused. */
static pg_uuid_t Supply[SUPPLY];
static int	Left = 0;

/* Fills the supply; raises an error if the server has no randomness. */
static void
Refill(void)
{
	Assert(IsUnderPostmaster || !IsPostmasterEnvironment);
	if (!pg_strong_random(Supply, sizeof(Supply)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	Left = SUPPLY;
}

/* A new random id. */
pg_uuid_t
asynx_uuid_random(void)
{
	pg_uuid_t	id;

	if (Left == 0)
		Refill();
	id = Supply[--Left];

	/* version 4, variant 10 (RFC 9562, 5.4) */
	id.data[6] = (id.data[6] & 0x0f) | 0x40;
	id.data[8] = (id.data[8] & 0x3f) | 0x80;
	return id;
}
