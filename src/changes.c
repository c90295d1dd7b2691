/*
 * changes.c
 *	  Tells the rooms that keep something of tables that one was changed.
 *
 * The server has room for ten callbacks of this kind in a process, for itself and all
 * extensions (utils/cache/inval.c), so asynx takes one and hands the messages on.
 */
#include "asynx.h"

#include "changes.h"

/* How many rooms can be told. */
#define MOST_ROOMS 8

/* Those that are. */
static RelcacheCallbackFunction Rooms[MOST_ROOMS];
static int	RoomCount = 0;

/* Relcache callback: hands the message on. */
static void
HandOn(Datum arg, Oid relation)
{
	int			i;

	for (i = 0; i < RoomCount; i++)
		Rooms[i] (arg, relation);
}

/* Registers a function that gets every message. */
void
asynx_changes_register(RelcacheCallbackFunction note)
{
	if (RoomCount == MOST_ROOMS)
		elog(ERROR, "too many rooms want to be told of changes");
	if (RoomCount == 0)
		CacheRegisterRelcacheCallback(HandOn, (Datum) 0);
	Rooms[RoomCount++] = note;
}
