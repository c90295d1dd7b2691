/*
 * diff.c
 *	  Rooms diff, align, patchbuilder, value and jsonbwriter: apply(diff(a, b), a) = b.
 *
 * align and patchbuilder decide nothing on their own: whatever they get wrong is a
 * patch that does not lead to b, or one that is no patch.
 */
#include "fuzz.h"

#include "guc.h"

/* Changes from one document to the other. */
#define CHANGES 8

/* A document and a changed copy of it. */
static void
compare_changed(void)
{
	Tree	   *a = random_tree(100);
	Tree	   *b = tree_copy(a);

	for (int i = random_below(CHANGES); i >= 0; i--)
		random_change(b);
	check_diff(a, b);
	check_diff(b, a);
}

/* Two arrays of the same elements in different order, some changed. */
static void
compare_lists(void)
{
	Tree	   *a = random_list();
	Tree	   *b = tree_copy(a);

	random_shuffle(b);
	for (int i = random_below(CHANGES); i > 0; i--)
		random_change(b);
	check_diff(a, b);
}

/* Two arrays of single digits: few values, all of them often. */
static void
compare_digits(Input *input)
{
	Tree	   *lists[2];

	for (int i = 0; i < 2; i++)
	{
		lists[i] = tree_create(TREE_ARRAY);
		for (int left = input_byte(input); left > 0 && input->len > 0; left--)
		{
			char		digit = '0' + input_byte(input) % 10;

			tree_insert(lists[i], lists[i]->count, tree_number(&digit, 1));
		}
	}
	check_diff(lists[0], lists[1]);
}

/* Two documents as text. */
static void
compare_texts(Input *input)
{
	Tree	   *a = input_document(input);
	Tree	   *b = input_document(input);

	if (a != NULL && b != NULL)
		check_diff(a, b);
}

/* Compares two documents. */
void
fuzz_one(Input input)
{
	int			choice = input_byte(&input);

	if (choice & 8)
		asynx_max_document_depth = 1 + (choice >> 4);
	if ((choice & 7) == 0)
		compare_texts(&input);
	else if ((choice & 7) == 1)
		compare_digits(&input);
	else
	{
		input_is_chance(&input);
		if ((choice & 7) == 2)
			compare_lists();
		else if ((choice & 7) == 3)
			check_diff(random_tree(60), random_tree(60));
		else
			compare_changed();
	}
}
