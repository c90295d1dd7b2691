/*
 * doc.h
 *	  The mutable document of a fold.
 *
 * A document lives in a memory context of its own, below the one that it was
 * created in, and dies with it.  After an error in any of these functions it
 * must not be used again.
 */
#ifndef ASYNX_DOC_H
#define ASYNX_DOC_H

#include "pointer.h"

typedef struct AsynxDoc AsynxDoc;

/* A document with a copy of `source`; NULL stands for JSON null. */
extern AsynxDoc *asynx_doc_create(MemoryContext parent, const Jsonb *source);

/* The same without the copy, for a source that outlives the document. */
extern AsynxDoc *asynx_doc_borrow(MemoryContext parent, const Jsonb *source);

/* The document as it is now, if the limit allows its size, in the current memory context. */
extern Jsonb *asynx_doc_jsonb(AsynxDoc *doc);

/* The same for who wants the document after each of many patches. */
extern Jsonb *asynx_doc_state(AsynxDoc *doc);

extern void asynx_doc_free(AsynxDoc *doc);

/*
 * Around the operations of each patch.  In between a document may be larger than
 * the limit, though not without bounds; asynx_doc_end() refuses one that still is.
 */
extern void asynx_doc_begin(AsynxDoc *doc);
extern void asynx_doc_end(AsynxDoc *doc);

/*
 * The pieces that the operations of RFC 6902 consist of.  A document holds at
 * most one node outside its tree: hold, take and pick fill that hand, put,
 * replace and drop empty it.  Anything but ASYNX_FOUND: the path does not fit
 * the document, which must not be used again.
 */
extern void asynx_doc_hold(AsynxDoc *doc, const AsynxValue *value);
extern AsynxOutcome asynx_doc_take(AsynxDoc *doc, const AsynxPointer *from);
extern AsynxOutcome asynx_doc_pick(AsynxDoc *doc, const AsynxPointer *from);

extern AsynxOutcome asynx_doc_put(AsynxDoc *doc, const AsynxPointer *path);
extern AsynxOutcome asynx_doc_replace(AsynxDoc *doc, const AsynxPointer *path);
extern void asynx_doc_drop(AsynxDoc *doc);

extern AsynxOutcome asynx_doc_find(AsynxDoc *doc, const AsynxPointer *path);
extern AsynxOutcome asynx_doc_test(AsynxDoc *doc, const AsynxPointer *path,
								   const AsynxValue *value);

#endif							/* ASYNX_DOC_H */
