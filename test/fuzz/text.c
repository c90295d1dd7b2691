/*
 * text.c
 *	  Rooms jsonreader, jsonprinter and jsontext: what is JSON is read and printed as the
 *	  server does, anything else is refused; from text to text is as from jsonb to jsonb.
 *
 * The first byte says whether the rest is a text, two documents as text (a line each), or
 * chance.  The server's texts are free of NULs, so only what precedes the first one counts.
 */
#include "fuzz.h"

/* A text as it is. */
static void
read_text(const Input *input)
{
	check_text((const char *) input->data, strnlen((const char *) input->data, input->len));
}

/* Two documents, the second of which may be a patch. */
static void
read_documents(Input *input)
{
	Tree	   *first = input_document(input);
	Tree	   *second = input_document(input);

	if (first == NULL || second == NULL)
		return;
	check_text_patch(first, second);
	check_text_diff(first, second);
}

/* What the generators make of the fuzzer's bytes, well formed or damaged. */
static void
read_chance(const Input *input, bool damaged)
{
	Tree	   *document;
	char	   *json;

	input_is_chance(input);
	document = random_tree(200);
	json = random_layout(tree_print(document));
	if (damaged)
		json = random_damage(json);
	check_text(json, strlen(json));
	if (!damaged)
		check_text_patch(document, random_patch(document));
}

/* Reads text. */
void
fuzz_one(Input input)
{
	int			choice = input_byte(&input) & 3;

	if (choice == 0)
		read_text(&input);
	else if (choice == 1)
		read_documents(&input);
	else
		read_chance(&input, choice == 2);
}
