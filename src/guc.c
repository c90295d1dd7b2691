/*
 * guc.c
 *	  Defines the settings.
 *
 * They are sorted by name, and the prefix is reserved, so that a misspelt
 * setting is an error.  README.md has the table for the user.
 */
#include "asynx.h"

#include "guc.h"
#include "miscadmin.h"
#include "utils/guc.h"

bool		asynx_allow_drop = false;
int			asynx_batch_size = ASYNX_DEFAULT_BATCH_SIZE;
int			asynx_max_document_depth = ASYNX_DEFAULT_DOCUMENT_DEPTH;
int			asynx_max_document_size = ASYNX_DEFAULT_DOCUMENT_SIZE;
int			asynx_max_workers = ASYNX_DEFAULT_WORKERS;
int			asynx_notify = ASYNX_NOTIFY_POSITION;
int			asynx_poll_interval = ASYNX_DEFAULT_POLL_INTERVAL;
int			asynx_queue_depth = 0;
int			asynx_shards = ASYNX_DEFAULT_SHARDS;

static const struct config_enum_entry NotifyOptions[] = {
	{"off", ASYNX_NOTIFY_OFF, false},
	{"position", ASYNX_NOTIFY_POSITION, false},
	{"full", ASYNX_NOTIFY_FULL, false},
	{NULL, 0, false}
};

/* Defines the settings of the store and of documents. */
static void
DefineStoreSettings(void)
{
	DefineCustomBoolVariable("asynx.allow_drop",
							 "Allows dropping the event table while it holds events.",
							 NULL,
							 &asynx_allow_drop,
							 false,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("asynx.batch_size",
							"Sets how many events a worker handles in one transaction.",
							NULL,
							&asynx_batch_size,
							ASYNX_DEFAULT_BATCH_SIZE,
							1,
							ASYNX_MAX_BATCH_SIZE,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("asynx.max_document_depth",
							"Sets how deep a document may be nested.",
							NULL,
							&asynx_max_document_depth,
							ASYNX_DEFAULT_DOCUMENT_DEPTH,
							ASYNX_MIN_DOCUMENT_DEPTH,
							ASYNX_MAX_DOCUMENT_DEPTH,
							PGC_SUSET,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("asynx.max_document_size",
							"Sets how large a document may grow.",
							NULL,
							&asynx_max_document_size,
							ASYNX_DEFAULT_DOCUMENT_SIZE,
							ASYNX_MIN_DOCUMENT_SIZE,
							ASYNX_MAX_DOCUMENT_SIZE,
							PGC_SUSET,
							GUC_UNIT_KB,
							NULL, NULL, NULL);
}

/* Defines the settings of workers and of queues, of which one is for the start of the server. */
static void
DefineWorkerSettings(void)
{
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable("asynx.max_workers",
								"Sets how many workers may run handlers in the whole cluster.",
								NULL,
								&asynx_max_workers,
								ASYNX_DEFAULT_WORKERS,
								0,
								ASYNX_MAX_WORKERS,
								PGC_POSTMASTER,
								0,
								NULL, NULL, NULL);

	DefineCustomEnumVariable("asynx.notify",
							 "Sets what is sent on channel \"asynx\".",
							 NULL,
							 &asynx_notify,
							 ASYNX_NOTIFY_POSITION,
							 NotifyOptions,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("asynx.poll_interval",
							"Sets after how long workers look for work that nobody told them of.",
							NULL,
							&asynx_poll_interval,
							ASYNX_DEFAULT_POLL_INTERVAL,
							ASYNX_MIN_POLL_INTERVAL,
							ASYNX_MAX_POLL_INTERVAL,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("asynx.queue_depth",
							"Sets how many commands may wait in a shard; 0 means any number.",
							NULL,
							&asynx_queue_depth,
							0,
							0,
							ASYNX_MAX_QUEUE_DEPTH,
							PGC_SUSET,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("asynx.shards",
							"Sets over how many shards waiting commands are counted.",
							NULL,
							&asynx_shards,
							ASYNX_DEFAULT_SHARDS,
							1,
							ASYNX_MAX_SHARDS,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
}

/* Defines every setting and reserves the prefix. */
void
asynx_guc_init(void)
{
	DefineStoreSettings();
	DefineWorkerSettings();
	MarkGUCPrefixReserved("asynx");
}
