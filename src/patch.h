/*
 * patch.h
 *	  RFC 6902: JSON patches.
 */
#ifndef ASYNX_PATCH_H
#define ASYNX_PATCH_H

#include "doc.h"

/*
 * Applies a patch to a document.  Raises invalid_patch, patch_failed,
 * patch_test_failed or document_limit; the document must then not be used again.
 * The patch need not outlive the call.
 */
extern void asynx_doc_apply(AsynxDoc *doc, const Jsonb *patch);

/* Raises invalid_patch (or document_limit) for what no document could be patched with. */
extern void asynx_patch_check(const Jsonb *patch);

#endif							/* ASYNX_PATCH_H */
