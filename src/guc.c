/*
 * guc.c
 *	  Defines the settings.
 *
 * They are sorted by name, and the prefix is reserved, so that a misspelt
 * setting is an error.  README.md has the table for the user.
 */
#include "asynx.h"

#include "guc.h"
#include "utils/guc.h"

bool		asynx_allow_drop = false;
int			asynx_max_document_depth = ASYNX_DEFAULT_DOCUMENT_DEPTH;
int			asynx_max_document_size = ASYNX_DEFAULT_DOCUMENT_SIZE;
int			asynx_queue_depth = 0;
int			asynx_shards = ASYNX_DEFAULT_SHARDS;

/* Defines every setting and reserves the prefix. */
void
asynx_guc_init(void)
{
	DefineCustomBoolVariable("asynx.allow_drop",
							 "Allows dropping the event table while it holds events.",
							 NULL,
							 &asynx_allow_drop,
							 false,
							 PGC_SUSET,
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

	MarkGUCPrefixReserved("asynx");
}
