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
 *
 * Subscriptions that are behind what was relayed last, because they begin in the past
 * or were paused, are caught up by themselves: the others do not wait for them.
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
} Channel;

/* What is being relayed, to those that are in front or to those that are behind. */
typedef struct Relay
{
	List	   *channels;
	bool		full;			/* does channel "asynx" get the events? */
	int64		from;			/* nobody wants what is at or below */
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

/* The same, without those that somebody else has locked: he may take his time. */
static AsynxQuery LockChannels = {
	.sql = ASYNX_SQL("SELECT c.subscription, c.position "
					 "FROM asynx.checkpoints c JOIN asynx.subscriptions s "
					 "ON s.name OPERATOR(pg_catalog.=) c.subscription "
					 "WHERE s.mode OPERATOR(pg_catalog.=) 'channel' "
					 "AND s.state OPERATOR(pg_catalog.=) 'running' "
					 "FOR UPDATE OF c SKIP LOCKED"),
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

/* Up to where those that are in front were notified. */
static int64 Front = 0;

/* The same when the transaction under way has been committed. */
static int64 NextTold = 0;
static int64 NextFront = 0;

/* Channel "asynx" begins at the position. */
void
asynx_relay_begin(int64 position)
{
	if (Told < 0)
		Told = Front = position;
}

/* Row function of SelectChannels. */
static bool
AddChannel(TupleTableSlot *slot, void *arg)
{
	List	  **channels = (List **) arg;
	bool		isnull;
	Channel    *channel = palloc0(sizeof(Channel));

	channel->name = TextDatumGetCString(slot_getattr(slot, 1, &isnull));
	channel->position = DatumGetInt64(slot_getattr(slot, 2, &isnull));
	*channels = lappend(*channels, channel);
	return true;
}

/* Adds a subscription to those that are in front, or behind. */
static void
AddTo(Relay *relay, Channel *channel)
{
	relay->channels = lappend(relay->channels, channel);
	relay->from = Min(relay->from, channel->position);
}

/* Reads the subscriptions of mode channel and where they are. */
static void
ReadChannels(AsynxQuery *query, Relay *front, Relay *behind)
{
	List	   *channels = NIL;
	const ListCell *cell;

	if (asynx_subscriptions_of(ASYNX_CHANNEL) == NIL)
		return;
	if (query == &LockChannels)
		(void) asynx_query_write(query, NULL, NULL, AddChannel, &channels);
	else
		(void) asynx_query_read(query, NULL, NULL, AddChannel, &channels);
	foreach(cell, channels)
	{
		Channel    *channel = lfirst(cell);

		channel->subscription = asynx_subscriptions_find(ASYNX_CHANNEL, channel->name);
		if (channel->subscription != NULL)
			AddTo(channel->position >= Front ? front : behind, channel);
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
	}
	if (relay->full && relay->reached > Told)
	{
		asynx_event_from_slot(slot, &event);
		Async_Notify(CHANNEL, asynx_payload(&event));
	}
	return --relay->left > 0;
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

/* Notifies some of them, and moves their checkpoints. */
static void
Notify(Relay *relay, int64 safe)
{
	if (relay->from < safe)
	{
		PushActiveSnapshot(GetLatestSnapshot());
		asynx_feed_scan(relay->from, safe, RelayEvent, relay);
		PopActiveSnapshot();
	}
	if (relay->left > 0)
		relay->reached = safe;
	MoveChannels(relay);
}

/* Begins a relay with nobody in it but channel "asynx". */
static void
Begin(Relay *front, Relay *behind, int64 safe)
{
	memset(front, 0, sizeof(*front));
	memset(behind, 0, sizeof(*behind));
	front->full = asynx_notify == ASYNX_NOTIFY_FULL;
	front->from = front->full ? Told : safe;
	behind->from = safe;
	front->left = behind->left = RELAY_EVENTS;
}

/* Notifies up to the safe position; returns after how many milliseconds to come again, or -1. */
long
asynx_relay(int64 safe)
{
	Relay		front;
	Relay		behind;
	TimestampTz now = GetCurrentTimestamp();

	Begin(&front, &behind, safe);
	PushActiveSnapshot(GetLatestSnapshot());
	ReadChannels(&SelectChannels, &front, &behind);
	PopActiveSnapshot();
	if (front.from >= safe && behind.from >= safe &&
		(asynx_notify == ASYNX_NOTIFY_OFF || Told >= safe))
	{
		NextTold = Max(Told, safe);
		NextFront = Max(Front, safe);
		return -1;
	}
	NextTold = Told;
	NextFront = Front;
	if (!TimestampDifferenceExceeds(ToldAt, now, INTERVAL))
		return INTERVAL;

	Begin(&front, &behind, safe);
	ReadChannels(&LockChannels, &front, &behind);
	Notify(&front, safe);
	Notify(&behind, safe);
	if (asynx_notify == ASYNX_NOTIFY_POSITION && safe > Told)
		Async_Notify(CHANNEL, psprintf("{\"position\":%lld}", (long long) safe));
	NextTold = Max(Told, front.full ? front.reached : safe);
	NextFront = Max(Front, front.reached);
	ToldAt = now;
	return front.left > 0 && behind.left > 0 ? -1 : INTERVAL;
}

/* The transaction has been committed. */
void
asynx_relay_done(void)
{
	Told = NextTold;
	Front = NextFront;
}
