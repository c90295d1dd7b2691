/*
 * lifecycle.c
 *	  Is the store running?
 *
 * The row of asynx.lifecycle says so.  Dumps do not carry it, so a restored
 * copy has none; with subscriptions it is then dormant, because handlers must
 * not run again in a copy, least of all in one that is half restored.  A fresh
 * store has neither a row nor subscriptions, and is running.
 *
 * src/README.md draws the states.
 */
#include "asynx.h"

#include "fmgr.h"
#include "lifecycle.h"
#include "query.h"
#include "subscription.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

static AsynxQuery SelectState = {
	.sql = ASYNX_SQL("SELECT COALESCE("
					 "(SELECT l.state FROM asynx.lifecycle l), "
					 "CASE WHEN EXISTS (SELECT FROM asynx.subscriptions) "
					 "THEN 'dormant' ELSE 'running' END)"),
	.nargs = 0,
};

static AsynxQuery UpsertRunning = {
	.sql = ASYNX_SQL("INSERT INTO asynx.lifecycle (state, changed_at) "
					 "VALUES ('running', pg_catalog.clock_timestamp()) "
					 "ON CONFLICT (singleton) DO UPDATE "
					 "SET state = excluded.state, changed_at = excluded.changed_at"),
	.nargs = 0,
};

/* Row function: copies the state. */
static bool
GetState(TupleTableSlot *slot, void *arg)
{
	bool		isnull;

	*(text **) arg = DatumGetTextPCopy(slot_getattr(slot, 1, &isnull));
	return false;
}

/* May handlers run?  They may while the store is draining. */
bool
asynx_lifecycle_runs(void)
{
	text	   *state = NULL;

	PushActiveSnapshot(GetLatestSnapshot());
	(void) asynx_query_read(&SelectState, NULL, NULL, GetState, &state);
	PopActiveSnapshot();
	return asynx_text_is(state, "running") || asynx_text_is(state, "draining");
}

PG_FUNCTION_INFO_V1(asynx_lifecycle_state);
PG_FUNCTION_INFO_V1(asynx_resume);

/* asynx.lifecycle_state() returns text */
Datum
asynx_lifecycle_state(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	text	   *state = NULL;

	(void) fcinfo;
	asynx_query_begin(&scope);
	(void) asynx_query_read(&SelectState, NULL, NULL, GetState, &state);
	asynx_query_end(&scope);
	PG_RETURN_TEXT_P(state);
}

/* asynx.resume() returns void */
Datum
asynx_resume(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;

	(void) fcinfo;
	asynx_query_begin(&scope);
	(void) asynx_query_write(&UpsertRunning, NULL, NULL, NULL, NULL);
	asynx_query_end(&scope);
	PG_RETURN_VOID();
}
