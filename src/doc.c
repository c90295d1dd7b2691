/*
 * doc.c
 *	  The mutable document of a fold: a tree that grows where patches walk.
 *
 * 1. Tree.  A document begins as one leaf, its whole source.  An operation that
 *	  changes something expands the containers on the way to its target (node.c);
 *	  one that reads ("test", the source of "copy") goes on inside the leaf and
 *	  expands nothing.  What no patch touches stays a leaf and is written as one
 *	  memcpy.  A wide container gets nodes only for children that were touched, until
 *	  these are many (overlay.c).
 *
 *	  Who wants the document after every patch (asynx_doc_state) would soon write all
 *	  of it child by child, because in the end all of it is expanded.  There, small
 *	  containers become leaves again as they are written.
 *
 * 2. Memory.  The doc and its json-c nodes belong to one context, whose reset
 *	  callback frees the nodes: the tree, and the one node that an operation has
 *	  taken out or not yet put in (`held`).  The bytes that leaves and names
 *	  point into (copies of sources, of patches' values, of copied subtrees) live
 *	  in a child of it, `values`, where nothing is freed piece by piece.  When it
 *	  holds much more than the document needs, the document rebases: it writes
 *	  itself into a fresh context and starts over from there, as one leaf.  So a
 *	  fold of any number of events runs in memory bounded by the document's size.
 *	  The factor is what expanding costs: an element takes 72 bytes of malloc'ed
 *	  memory besides its value (8 if it is null or a boolean), a member about 130
 *	  (65) and its name.  A wide array of numbers comes to 8 times the document's
 *	  size, an object of short strings to 14, an array of empty strings, the worst
 *	  case, to 21; larger values cost nothing more.
 *
 * 3. Size.  A patch of a few bytes can multiply a document, so its size is
 *	  known at every step, not only when it is written.  It is counted without
 *	  the padding of jsonb, which depends on each value's place; `drift` bounds
 *	  what that count may be wrong by.  The limit holds where a patch ends: there
 *	  a document that may be too large is rebased, which tells its exact size.
 *	  In between it may hold what goes and what comes at the same time, as it does
 *	  halfway from one document to another, so it is refused only if it is larger
 *	  than the limit and what it was (but at least the limit) together: `bound`.
 *
 * 4. Depth.  A value is refused where its place and its own nesting add up to
 *	  more levels than allowed.  This also bounds json-c's recursions.
 */
#include "asynx.h"

#include "doc.h"
#include "guc.h"
#include "node.h"
#include "nodewriter.h"
#include "utils/memutils.h"

/* Bytes kept beyond which a document may rebase; if it is large itself, a multiple of its size. */
#define REBASE_BYTES ((Size) 512 * 1024)
#define REBASE_FACTOR 2

/* A count that is wrong by more than this part of the bound is not good enough near it. */
#define DRIFT_SHARE 8

/*
 * Bytes by which a change may add to, or take from, what is not counted at one
 * level of its path: the padding of a key, of a value, and of what follows each;
 * for the root, the array that marks a scalar.
 */
#define DRIFT_PER_LEVEL 12

struct AsynxDoc
{
	MemoryContext context;		/* holds this struct; its callback frees the nodes */
	MemoryContext values;		/* child of it; holds what leaves and names point into */
	MemoryContextCallback callback;
	AsynxKeeper keeper;			/* keep_bytes() for nodes */
	AsynxNode  *root;
	AsynxNode  *held;			/* a node on its way into the tree or out of it */
	Size		held_size;		/* its bytes as jsonb */
	Size		size;			/* bytes as jsonb, right up to `drift` */
	Size		drift;
	Size		bound;			/* size up to which the patch that runs may take it */
	Size		retained;		/* bytes in `values` */
};

/* Frees the nodes when the document's memory goes; must not raise. */
static void
free_nodes(void *arg)
{
	AsynxDoc   *doc = arg;

	asynx_node_free(doc->root);
	asynx_node_free(doc->held);
	doc->root = NULL;
	doc->held = NULL;
}

/* A context for the bytes that leaves and names point into. */
static MemoryContext
create_values(AsynxDoc *doc)
{
	return AllocSetContextCreate(doc->context, "asynx document values",
								 ALLOCSET_START_SMALL_SIZES);
}

/* Memory for bytes that leaves or names will point into. */
static char *
keep_bytes(AsynxDoc *doc, Size size)
{
	doc->retained += MAXALIGN(size);
	return MemoryContextAlloc(doc->values, size);
}

/* An AsynxKeeper's function: keep_bytes() of a document. */
static char *
keep_for_node(void *doc, Size size)
{
	return keep_bytes(doc, size);
}

/* The same value, with bytes that stay as long as the document needs them. */
static AsynxValue
keep_value(AsynxDoc *doc, const AsynxValue *value)
{
	AsynxValue	kept = *value;

	if (value->len > 0)
	{
		char	   *data = keep_bytes(doc, value->len);

		memcpy(data, value->data, value->len);
		kept.data = data;
	}
	return kept;
}

/* Puts the held node into a slot; what was there is freed. */
static void
fill_slot(AsynxDoc *doc, AsynxNode **slot)
{
	AsynxNode  *old = *slot;

	*slot = doc->held;
	doc->held = NULL;
	asynx_node_free(old);
}

/* Holds a value whose bytes stay as long as the document needs them. */
static void
hold_kept(AsynxDoc *doc, const AsynxValue *value)
{
	Assert(doc->held == NULL);
	doc->held = asynx_node_leaf(value);
	doc->held_size = value->len;
}

/* An empty document: JSON null. */
static AsynxDoc *
create_empty(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "asynx document",
												  ALLOCSET_SMALL_SIZES);
	AsynxDoc   *doc = MemoryContextAllocZero(context, sizeof(AsynxDoc));

	doc->context = context;
	doc->values = create_values(doc);
	doc->size = VARHDRSZ;
	doc->drift = DRIFT_PER_LEVEL;
	doc->keeper.keep = keep_for_node;
	doc->keeper.owner = doc;
	doc->callback.func = free_nodes;
	doc->callback.arg = doc;
	MemoryContextRegisterResetCallback(context, &doc->callback);
	return doc;
}

/* Makes a jsonb that outlives the document's tree its content. */
static void
set_source(AsynxDoc *doc, const Jsonb *source)
{
	AsynxValue	value = asynx_value_root(source);

	hold_kept(doc, &value);
	fill_slot(doc, &doc->root);
	doc->size = VARSIZE(source);
	doc->drift = 0;
}

/* A document that reads `source` in place. */
AsynxDoc *
asynx_doc_borrow(MemoryContext parent, const Jsonb *source)
{
	AsynxDoc   *doc = create_empty(parent);

	if (source != NULL)
		set_source(doc, source);
	return doc;
}

/* A document with a copy of `source`. */
AsynxDoc *
asynx_doc_create(MemoryContext parent, const Jsonb *source)
{
	AsynxDoc   *doc = create_empty(parent);

	if (source != NULL)
	{
		char	   *copy = keep_bytes(doc, VARSIZE(source));

		memcpy(copy, source, VARSIZE(source));
		set_source(doc, (const Jsonb *) copy);
	}
	return doc;
}

/* Ends a document. */
void
asynx_doc_free(AsynxDoc *doc)
{
	MemoryContextDelete(doc->context);
}

/* Largest size of a document, in bytes. */
static Size
size_limit(void)
{
	return (Size) asynx_max_document_size * 1024;
}

/* Writes a node as a document of its own. */
static Jsonb *
write_node(AsynxNode *node, Size hint, Size limit, const AsynxKeeper *keeper)
{
	AsynxWriter writer;

	asynx_writer_init(&writer, hint, limit);
	asynx_node_write(&writer, node, keeper);
	return asynx_writer_finish(&writer);
}

/* Writes the whole document, which also tells its exact size. */
static Jsonb *
write_document(AsynxDoc *doc, Size limit, const AsynxKeeper *keeper)
{
	Size		hint = doc->size + Min(doc->drift, doc->size);
	Jsonb	   *document = write_node(doc->root, hint, limit, keeper);

	doc->size = VARSIZE(document);
	doc->drift = 0;
	return document;
}

/* The document as it is now. */
Jsonb *
asynx_doc_jsonb(AsynxDoc *doc)
{
	return write_document(doc, size_limit(), NULL);
}

/* The document as it is between two patches. */
Jsonb *
asynx_doc_state(AsynxDoc *doc)
{
	return write_document(doc, size_limit(), &doc->keeper);
}

/* Starts over from the document as it is now, which frees what it no longer needs. */
static void
rebase(AsynxDoc *doc)
{
	MemoryContext old = doc->values;
	MemoryContext fresh = create_values(doc);
	MemoryContext caller = MemoryContextSwitchTo(fresh);
	Jsonb	   *source = write_document(doc, ASYNX_JSONB_LIMIT, NULL);

	MemoryContextSwitchTo(caller);
	doc->values = fresh;
	doc->retained = VARSIZE(source);
	set_source(doc, source);
	MemoryContextDelete(old);
}

/* Should the document start over: because it keeps too much, or its size is too vague? */
static bool
should_rebase(const AsynxDoc *doc)
{
	if (doc->retained > Max(REBASE_BYTES, REBASE_FACTOR * doc->size))
		return true;
	return doc->drift > doc->bound / DRIFT_SHARE && doc->size + doc->drift > doc->bound;
}

/* After a change: refuses a document that has grown beyond all bounds, rebases one that should. */
static void
settle(AsynxDoc *doc)
{
	if (doc->size > doc->bound + doc->drift)
		asynx_document_too_large(size_limit());
	if (should_rebase(doc))
		rebase(doc);
}

/* Before a patch. */
void
asynx_doc_begin(AsynxDoc *doc)
{
	Size		limit = size_limit();

	doc->bound = Max(doc->size + doc->drift, limit) + limit;
}

/* After a patch: refuses a document that is larger than the limit. */
void
asynx_doc_end(AsynxDoc *doc)
{
	Size		limit = size_limit();

	if (doc->size + doc->drift > limit && doc->size <= limit + doc->drift)
		rebase(doc);
	if (doc->size > limit + doc->drift)
		asynx_document_too_large(limit);
}

/* Counts a change at the end of a path: `added` bytes in, `removed` bytes out. */
static void
count_change(AsynxDoc *doc, const AsynxPointer *path, Size added, Size removed)
{
	doc->size += added;
	doc->size -= Min(doc->size, removed);
	doc->drift += DRIFT_PER_LEVEL * ((Size) path->count + 1);
}

/* Bytes of a member's or an element's entries and name. */
static Size
entry_size(const AsynxNode *container, const char *token)
{
	return asynx_node_is_object(container) ?
		2 * sizeof(JEntry) + strlen(token) : sizeof(JEntry);
}

/* Bytes of a node; what is uncertain about them goes into the drift. */
static Size
node_size(AsynxDoc *doc, AsynxNode *node)
{
	return asynx_node_measure(node, &doc->drift);
}

/* Refuses to nest the held node too deep at the end of a path. */
static void
check_depth(AsynxDoc *doc, const AsynxPointer *path)
{
	if (asynx_node_deeper(doc->held, asynx_max_document_depth - (int) path->count))
		asynx_document_too_deep(asynx_max_document_depth);
}

/* Walks to the container that the last token is looked up in, and opens it. */
static AsynxOutcome
find_parent(AsynxDoc *doc, const AsynxPointer *path, AsynxNode **parent, const char **last)
{
	AsynxNode **slot = &doc->root;
	const char *token = path->tokens;

	Assert(path->count > 0);
	asynx_node_open(slot, &doc->keeper);
	for (uint32 i = 1; i < path->count; i++)
	{
		AsynxOutcome outcome = asynx_node_child(*slot, token, &doc->keeper, &slot);

		if (outcome != ASYNX_FOUND)
			return outcome;
		asynx_node_open(slot, &doc->keeper);
		token = asynx_token_next(token);
	}
	*parent = *slot;
	*last = token;
	return ASYNX_FOUND;
}

/* Adds the held node to an expanded object, in place of a member of the same name. */
static void
put_member(AsynxDoc *doc, AsynxNode *object, const char *token)
{
	AsynxNode **slot;

	if (asynx_node_child(object, token, &doc->keeper, &slot) == ASYNX_FOUND)
	{
		Size		removed = node_size(doc, *slot) + entry_size(object, token);

		doc->size -= Min(doc->size, removed);
		fill_slot(doc, slot);
		return;
	}
	asynx_node_add_member(object, token, &doc->keeper, doc->held);
	doc->held = NULL;
}

/* Adds the held node to what should be an expanded array. */
static AsynxOutcome
put_element(AsynxDoc *doc, AsynxNode *array, const char *token)
{
	uint32		index;
	AsynxOutcome outcome = asynx_node_place(array, token, &index);

	if (outcome != ASYNX_FOUND)
		return outcome;

	asynx_node_insert_element(array, index, doc->held);
	doc->held = NULL;
	return ASYNX_FOUND;
}

/* Makes the held node the document. */
static AsynxOutcome
put_root(AsynxDoc *doc)
{
	fill_slot(doc, &doc->root);
	doc->size = VARHDRSZ + doc->held_size;
	doc->drift += DRIFT_PER_LEVEL;
	settle(doc);
	return ASYNX_FOUND;
}

/*
 * Finds what is at the end of a path without expanding anything: a node if it is
 * one, else (`node` is NULL) a value inside a leaf.
 */
static AsynxOutcome
locate(AsynxDoc *doc, const AsynxPointer *path, AsynxNode **node, AsynxValue *value)
{
	const char *token = path->tokens;
	uint32		i;

	*node = asynx_node_is_expanded(doc->root) ? doc->root : NULL;
	if (*node == NULL)
		*value = asynx_node_value(doc->root);

	for (i = 0; i < path->count && *node != NULL; i++)
	{
		AsynxOutcome outcome = asynx_node_look(*node, token, node, value);

		if (outcome != ASYNX_FOUND)
			return outcome;
		token = asynx_token_next(token);
	}
	return *node != NULL ? ASYNX_FOUND : asynx_value_follow(value, token, path->count - i);
}

/* Holds a copy of a value. */
void
asynx_doc_hold(AsynxDoc *doc, const AsynxValue *value)
{
	AsynxValue	kept = keep_value(doc, value);

	hold_kept(doc, &kept);
}

/* Takes what is at the end of a path (which is not the root) out, and holds it. */
AsynxOutcome
asynx_doc_take(AsynxDoc *doc, const AsynxPointer *from)
{
	AsynxNode  *parent;
	const char *token;
	AsynxOutcome outcome = find_parent(doc, from, &parent, &token);

	if (outcome == ASYNX_FOUND)
		outcome = asynx_node_take(parent, token, &doc->held);
	if (outcome != ASYNX_FOUND)
		return outcome;

	doc->held_size = node_size(doc, doc->held);
	count_change(doc, from, 0, doc->held_size + entry_size(parent, token));
	return ASYNX_FOUND;
}

/*
 * Writes a copy of an expanded node.  One that would take the document beyond its
 * bound is not even made.
 */
static Jsonb *
copy_node(AsynxDoc *doc, AsynxNode *node)
{
	MemoryContext caller;
	Jsonb	   *copy;
	Size		uncertain = 0;
	Size		size = asynx_node_measure(node, &uncertain);

	if (doc->size + size > doc->bound + doc->drift + uncertain)
		asynx_document_too_large(size_limit());

	caller = MemoryContextSwitchTo(doc->values);
	copy = write_node(node, VARHDRSZ + size + uncertain, ASYNX_JSONB_LIMIT, NULL);
	MemoryContextSwitchTo(caller);
	doc->retained += VARSIZE(copy);
	return copy;
}

/* Holds a copy of what is at the end of a path; the two share nothing that can change. */
AsynxOutcome
asynx_doc_pick(AsynxDoc *doc, const AsynxPointer *from)
{
	AsynxNode  *node;
	AsynxValue	value;
	AsynxOutcome outcome = locate(doc, from, &node, &value);

	if (outcome != ASYNX_FOUND)
		return outcome;

	if (node != NULL)
		value = asynx_value_root(copy_node(doc, node));
	hold_kept(doc, &value);
	return ASYNX_FOUND;
}

/* Adds what is held: as the document, as a member (in place of another), before an element. */
AsynxOutcome
asynx_doc_put(AsynxDoc *doc, const AsynxPointer *path)
{
	AsynxNode  *parent;
	const char *token;
	AsynxOutcome outcome;

	check_depth(doc, path);
	if (path->count == 0)
		return put_root(doc);

	outcome = find_parent(doc, path, &parent, &token);
	if (outcome != ASYNX_FOUND)
		return outcome;
	if (asynx_node_is_object(parent))
		put_member(doc, parent, token);
	else if ((outcome = put_element(doc, parent, token)) != ASYNX_FOUND)
		return outcome;

	count_change(doc, path, doc->held_size + entry_size(parent, token), 0);
	settle(doc);
	return ASYNX_FOUND;
}

/* Puts what is held in place of what is there. */
AsynxOutcome
asynx_doc_replace(AsynxDoc *doc, const AsynxPointer *path)
{
	AsynxNode  *parent;
	AsynxNode **slot;
	const char *token;
	AsynxOutcome outcome;

	check_depth(doc, path);
	if (path->count == 0)
		return put_root(doc);

	outcome = find_parent(doc, path, &parent, &token);
	if (outcome == ASYNX_FOUND)
		outcome = asynx_node_child(parent, token, &doc->keeper, &slot);
	if (outcome != ASYNX_FOUND)
		return outcome;

	count_change(doc, path, doc->held_size, node_size(doc, *slot));
	fill_slot(doc, slot);
	settle(doc);
	return ASYNX_FOUND;
}

/* Forgets what is held. */
void
asynx_doc_drop(AsynxDoc *doc)
{
	AsynxNode  *node = doc->held;

	doc->held = NULL;
	asynx_node_free(node);
	settle(doc);
}

/* Is there anything at the end of a path? */
AsynxOutcome
asynx_doc_find(AsynxDoc *doc, const AsynxPointer *path)
{
	AsynxNode  *node;
	AsynxValue	value;

	return locate(doc, path, &node, &value);
}

/* Is this value at the end of a path? */
AsynxOutcome
asynx_doc_test(AsynxDoc *doc, const AsynxPointer *path, const AsynxValue *value)
{
	AsynxNode  *node;
	AsynxValue	found;
	Jsonb	   *written = NULL;
	AsynxOutcome outcome = locate(doc, path, &node, &found);

	if (outcome == ASYNX_FOUND && node != NULL)
	{
		written = write_node(node, path->count == 0 ? doc->size : 0, ASYNX_JSONB_LIMIT, NULL);
		found = asynx_value_root(written);
	}
	if (outcome == ASYNX_FOUND && !asynx_value_equal(&found, value))
		outcome = ASYNX_UNEQUAL;
	if (written != NULL)
		pfree(written);
	return outcome;
}
