/*
 * patch.c
 *	  Rooms patch, doc, node, pointer, value and jsonbwriter: patches onto a document.
 *
 * doc and node can only be reached through patches.  The first byte sets limits so
 * low that they are met, and says whether the rest is text (a document, then
 * patches, a line each) or chance.
 */
#include "fuzz.h"

#include "guc.h"

/* Patches that a document lives through. */
#define EVENTS 12

/* Sets limits. */
static void
choose_limits(int choice)
{
	static const int depths[] = {1000, 60, 6, 3};
	static const int sizes[] = {64, 1, 8, 2};

	asynx_max_document_depth = depths[choice & 3];
	asynx_max_document_size = sizes[choice >> 2 & 3];
}

/* Applies what the fuzzer wrote. */
static void
apply_texts(Input *input)
{
	Fold		fold = {NULL, input_document(input), NULL, NULL};

	for (int i = 0; i < EVENTS && fold.document != NULL && input->len > 0; i++)
	{
		Tree	   *patch = input_document(input);

		if (patch == NULL)
			break;
		check_event(&fold, patch);
	}
}

/* Applies what the generators make of the fuzzer's bytes. */
static void
apply_chance(Input *input)
{
	Fold		fold = {NULL, NULL, NULL, NULL};

	input_is_chance(input);
	fold.document = random_tree(60);
	for (int i = random_below(EVENTS); i >= 0; i--)
		check_event(&fold, random_patch(fold.document));
}

/* Folds patches into a document. */
void
fuzz_one(Input input)
{
	int			choice = input_byte(&input);

	choose_limits(choice);
	if (choice & 16)
		apply_texts(&input);
	else
		apply_chance(&input);
}
