/*
 * status.c
 *	  What the workers do, for asynx.worker_status.
 */
#include "asynx.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "slots.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#define WORKER_NATTS 6

/* Adds a worker of this database to the result. */
static void
AddWorker(const AsynxWorkerStatus *status, void *arg)
{
	ReturnSetInfo *result = (ReturnSetInfo *) arg;
	Datum		values[WORKER_NATTS];
	bool		nulls[WORKER_NATTS] = {false};

	if (status->database != MyDatabaseId)
		return;
	values[0] = Int32GetDatum(status->pid);
	nulls[0] = status->pid == 0;
	values[1] = CStringGetTextDatum(status->kind == ASYNX_BUS ? "bus" : "projection");
	values[2] = CStringGetTextDatum(status->pid == 0 ? "starting" :
									status->busy || status->kind == ASYNX_BUS ? "running" : "idle");
	values[3] = TimestampTzGetDatum(status->since);
	nulls[4] = nulls[5] = !status->busy;
	values[4] = status->busy ? CStringGetTextDatum(status->task.partition.subscription) : 0;
	values[5] = Int32GetDatum(status->task.partition.number);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(asynx_workers);

/* asynx.workers(): a row (pid, kind, state, since, subscription, partition) for each worker */
Datum
asynx_workers(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	asynx_slots_each(AddWorker, fcinfo->resultinfo);
	return (Datum) 0;
}
