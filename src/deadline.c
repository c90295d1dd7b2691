/*
 * deadline.c
 *	  Ends functions of the user's that run too long.
 *
 * The server has one cancel, which a statement notices at its next interrupt
 * check; statement_timeout and pg_cancel_backend() raise it.  A timer of our own
 * raises it when a call has passed its deadline, and who made the call tells by the
 * deadline whose cancel it was.
 *
 * A function can catch query_canceled and go on.  So the timer goes off again
 * after a second, and when that did not help either, it ends the session, which
 * cannot be caught: else the function could hold its caller for ever.
 *
 * Calls nest: a handler may send a command that runs another.  One timer serves
 * all, set to the next deadline.  An inner call that is cancelled because an outer
 * one is late has not passed its own deadline, and lets the cancel through.
 *
 * If a user cancels the statement between the timer's cancel and the end of the
 * call, the two cannot be told apart, and the user has to cancel again.
 */
#include "asynx.h"

#include "deadline.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* Between one cancel and the next, in milliseconds. */
#define AGAIN 1000

/* The kick that ends the session. */
#define LAST_KICK 3

/* The timer, once it was needed. */
static TimeoutId Timer = MAX_TIMEOUTS;

/* The deadline of the innermost call; NULL for none. */
static AsynxDeadline *volatile Innermost = NULL;

/* Timer: cancels what is late.  Runs in a signal handler. */
static void
Kick(void)
{
	TimestampTz now = GetCurrentTimestamp();
	AsynxDeadline *deadline;
	bool		late = false;

	for (deadline = Innermost; deadline != NULL; deadline = deadline->outer)
	{
		if (deadline->at > now)
			continue;
		late = true;
		deadline->others = deadline->others || (deadline->kicks == 0 && QueryCancelPending);
		if (++deadline->kicks >= LAST_KICK)
			ProcDiePending = true;
	}
	if (!late)
		return;

	QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/* When the call is to be told to end, for the first time or again. */
static TimestampTz
NextKick(const AsynxDeadline *deadline)
{
	return TimestampTzPlusMilliseconds(deadline->at, (int64) deadline->kicks * AGAIN);
}

/* Sets the timer to the next of the deadlines, or stops it. */
static void
SetTimer(void)
{
	const AsynxDeadline *deadline = Innermost;
	TimestampTz next;

	disable_timeout(Timer, false);
	if (deadline == NULL)
		return;

	next = NextKick(deadline);
	while ((deadline = deadline->outer) != NULL)
		next = Min(next, NextKick(deadline));
	enable_timeout_every(Timer, next, AGAIN);
}

/* Gives the call that is about to be made so many milliseconds, from now on. */
void
asynx_deadline_set(AsynxDeadline *deadline, int64 milliseconds)
{
	if (Timer == MAX_TIMEOUTS)
		Timer = RegisterTimeout(USER_TIMEOUT, Kick);

	deadline->at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
	deadline->kicks = 0;
	deadline->others = false;
	deadline->outer = Innermost;
	Innermost = deadline;
	SetTimer();
}

/* The call has ended; was it told to, because it was late? */
bool
asynx_deadline_clear(AsynxDeadline *deadline)
{
	const AsynxDeadline *outer;

	disable_timeout(Timer, false);
	Innermost = deadline->outer;

	/* what the function did not notice any more must not hit its caller, unless that is late too */
	if (deadline->kicks > 0 && !deadline->others)
		QueryCancelPending = false;
	for (outer = Innermost; outer != NULL; outer = outer->outer)
	{
		if (outer->kicks > 0)
			InterruptPending = QueryCancelPending = true;
	}

	SetTimer();
	return deadline->kicks > 0;
}
