/*
 * ear.c
 *	  Hears notifications in a background worker.
 *
 * PostgreSQL refuses LISTEN to background workers, because there is no client to
 * send notifications to, but lets a worker register by Async_Listen() if it takes
 * care of them (commands/async.c, tcop/utility.c).  They come as messages of the
 * protocol: while the queue is read, this room stands where the client's connection
 * would be, as a parallel worker's queue does (libpq/pqmq.c), and takes them.
 *
 * Whoever listens holds back the tail of the queue, so it must be drained often, and
 * only outside of a transaction.
 */
#include "asynx.h"

/* libpq-be.h would want the headers of these, of which nothing here depends */
#undef ENABLE_GSS
#undef USE_OPENSSL

#include "access/xact.h"
#include "commands/async.h"
#include "ear.h"
#include "libpq/libpq-be.h"
#include "libpq/libpq.h"
#include "libpq/pqcomm.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"

/* Type of the protocol's message for a notification. */
#define NOTIFICATION 'A'

/* Who hears. */
static AsynxEarFunction Heard = NULL;

/* Protocol callback: nothing to do. */
static void
Ignore(void)
{
}

/* Protocol callback: everything is sent at once. */
static int
Flush(void)
{
	return 0;
}

/* Protocol callback: nothing is ever pending. */
static bool
IsPending(void)
{
	return false;
}

/* Protocol callback: a message; a notification is process id, channel, payload. */
static int
PutMessage(char type, const char *body, size_t len)
{
	const char *channel = body + sizeof(int32);

	if (type == NOTIFICATION && len > sizeof(int32))
		Heard(channel + strlen(channel) + 1);
	return 0;
}

/* Protocol callback: the same without waiting. */
static void
PutMessageNoBlock(char type, const char *body, size_t len)
{
	(void) PutMessage(type, body, len);
}

static const PQcommMethods EarMethods = {
	.comm_reset = Ignore,
	.flush = Flush,
	.flush_if_writable = Flush,
	.is_send_pending = IsPending,
	.putmessage = PutMessage,
	.putmessage_noblock = PutMessageNoBlock,
};

/* Begins to listen; runs within a transaction, at whose commit it begins. */
void
asynx_ear_listen(const char *channel)
{
	Async_Listen(channel);
}

/* Hands what has come to the function; runs outside of transactions. */
void
asynx_ear_drain(AsynxEarFunction heard)
{
	const PQcommMethods *methods = PqCommMethods;
	CommandDest destination = whereToSendOutput;
	ProtocolVersion protocol = FrontendProtocol;

	if (!notifyInterruptPending)
		return;

	Heard = heard;
	PqCommMethods = &EarMethods;
	whereToSendOutput = DestRemote;
	FrontendProtocol = PG_PROTOCOL(3, 0);
	PG_TRY();
	{
		ProcessNotifyInterrupt(false);
	}
	PG_FINALLY();
	{
		PqCommMethods = methods;
		whereToSendOutput = destination;
		FrontendProtocol = protocol;
	}
	PG_END_TRY();
}
