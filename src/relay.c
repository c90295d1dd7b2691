/*
 * relay.c
 *	  NOTIFY for those outside: channel "asynx", and subscriptions of mode channel.
 *
 * Only the bus sends notifications, for many events in one transaction, and not more
 * often than every other millisecond: a commit that notifies waits for all others in
 * the cluster that do, which writers therefore never have to.
 *
 * A subscription's checkpoint moves in the transaction that notifies.  What is sent
 * is up to the safe position, and so on disk.
 */
#include "asynx.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "feed.h"
#include "guc.h"
#include "pattern.h"
#include "payload.h"
#include "query.h"
#include "relay.h"
#include "subscription.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* The channel that carries everything. */
#define CHANNEL "asynx"

/* Between two transactions that notify, in milliseconds; and events in one. */
#define INTERVAL 2
#define RELAY_EVENTS 1000

/* A subscription of mode channel. */
typedef struct Channel
{
	char	   *name;
	const AsynxSubscription *subscription;	/* NULL: it does not run any more */
	int64		position;		/* its checkpoint */
	bool		notified;		/* has it sent anything in this transaction? */
} Channel;

/* What is being relayed. */
typedef struct Relay
{
	List	   *channels;
	int			left;			/* events that fit into this transaction */
	int64		reached;		/* the last that was looked at */
} Relay;

static AsynxQuery SelectChannels = {
	.sql = ASYNX_SQL("SELECT c.subscription, c.position "
					 "FROM asynx.checkpoints c JOIN asynx.subscriptions s "
					 "ON s.name OPERATOR(pg_catalog.=) c.subscription "
					 "WHERE s.mode OPERATOR(pg_catalog.=) 'channel' "
					 "AND s.state OPERATOR(pg_catalog.=) 'running'"),
	.nargs = 0,
};

static AsynxQuery MoveChannel = {
	.sql = ASYNX_SQL("UPDATE asynx.checkpoints c SET position = $2 "
					 "WHERE c.subscription OPERATOR(pg_catalog.=) $1"),
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

/* Up to where channel "asynx" was told, and when it or another was last. */
static int64 Told = -1;
static TimestampTz ToldAt = 0;

/* Channel "asynx" begins at the position. */
void
asynx_relay_begin(int64 position)
{
	if (Told < 0)
		Told = position;
}

/* Row function of SelectChannels. */
static bool
AddChannel(TupleTableSlot *slot, void *arg)
{
	Relay	   *relay = (Relay *) arg;
	bool		isnull;
	Channel    *channel = palloc0(sizeof(Channel));

	channel->name = TextDatumGetCString(slot_getattr(slot, 1, &isnull));
	channel->position = DatumGetInt64(slot_getattr(slot, 2, &isnull));
	relay->channels = lappend(relay->channels, channel);
	return true;
}

/* Reads the subscriptions of mode channel and where they are. */
static void
ReadChannels(Relay *relay)
{
	ListCell   *cell;

	if (asynx_subscriptions_of(ASYNX_CHANNEL) == NIL)
		return;
	(void) asynx_query_read(&SelectChannels, NULL, NULL, AddChannel, relay);
	foreach(cell, relay->channels)
	{
		Channel    *channel = lfirst(cell);

		channel->subscription = asynx_subscriptions_find(ASYNX_CHANNEL, channel->name);
		if (channel->subscription == NULL)
			relay->channels = foreach_delete_current(relay->channels, cell);
	}
}

/* Row function of the feed: notifies whom the event concerns. */
static bool
RelayEvent(TupleTableSlot *slot, void *arg)
{
	Relay	   *relay = (Relay *) arg;
	bool		isnull;
	text	   *name = DatumGetTextPP(slot_getattr(slot, 3, &isnull));
	char	   *payload = NULL;
	AsynxStoredEvent event;
	const ListCell *cell;

	relay->reached = DatumGetInt64(slot_getattr(slot, 7, &isnull));
	foreach(cell, relay->channels)
	{
		Channel    *channel = lfirst(cell);

		if (channel->position >= relay->reached ||
			!asynx_pattern_match(channel->subscription->pattern, VARDATA_ANY(name),
								 VARSIZE_ANY_EXHDR(name)))
			continue;
		if (payload == NULL)
		{
			asynx_event_from_slot(slot, &event);
			payload = asynx_payload(&event);
		}
		Async_Notify(channel->subscription->channel, payload);
		channel->notified = true;
	}
	if (asynx_notify == ASYNX_NOTIFY_FULL && relay->reached > Told)
	{
		asynx_event_from_slot(slot, &event);
		Async_Notify(CHANNEL, asynx_payload(&event));
	}
	return --relay->left > 0;
}

/* The lowest position from which somebody is to be notified. */
static int64
Lowest(const Relay *relay, int64 safe)
{
	int64		lowest = asynx_notify == ASYNX_NOTIFY_FULL ? Told : safe;
	const ListCell *cell;

	foreach(cell, relay->channels)
		lowest = Min(lowest, ((const Channel *) lfirst(cell))->position);
	return lowest;
}

/* Moves the checkpoints of those that were notified. */
static void
MoveChannels(const Relay *relay)
{
	const ListCell *cell;

	foreach(cell, relay->channels)
	{
		const Channel *channel = lfirst(cell);
		Datum		values[] = {
			CStringGetTextDatum(channel->subscription->name), Int64GetDatum(relay->reached)
		};

		if (relay->reached > channel->position)
			(void) asynx_query_write(&MoveChannel, values, NULL, NULL, NULL);
	}
}

/* Notifies up to the safe position; returns after how many milliseconds to come again, or -1. */
long
asynx_relay(int64 safe)
{
	Relay		relay = {.left = RELAY_EVENTS, .reached = safe};
	TimestampTz now = GetCurrentTimestamp();
	int64		lowest;
	int64		newest = safe;

	PushActiveSnapshot(GetLatestSnapshot());
	ReadChannels(&relay);
	lowest = Lowest(&relay, safe);
	if (lowest >= safe && (asynx_notify == ASYNX_NOTIFY_OFF || Told >= safe))
	{
		Told = safe;
		PopActiveSnapshot();
		return -1;
	}
	if (!TimestampDifferenceExceeds(ToldAt, now, INTERVAL))
	{
		PopActiveSnapshot();
		return INTERVAL;
	}

	if (lowest < safe)
		asynx_feed_scan(lowest, safe, RelayEvent, &relay);
	if (relay.left > 0)
		relay.reached = safe;
	newest = relay.reached;
	PopActiveSnapshot();
	MoveChannels(&relay);
	if (asynx_notify == ASYNX_NOTIFY_POSITION && safe > Told)
		Async_Notify(CHANNEL, psprintf("{\"position\":%lld}", (long long) safe));
	Told = asynx_notify == ASYNX_NOTIFY_FULL ? Max(Told, newest) : safe;
	ToldAt = now;
	return relay.left > 0 ? -1 : INTERVAL;
}
