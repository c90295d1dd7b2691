/*
 * jsonreader.c
 *	  Reads JSON text into jsonb, faster than the server's cast and with its result.
 *
 * 1. Tokens are the server's: json_lex() finds them, checks them and resolves the
 *	  escapes of strings.  Only if the text has a backslash anywhere does the lexer
 *	  make a copy of each string; else strings are used where they stand.
 *
 * 2. What is read becomes a tape of nodes in the order of the text, a container
 *	  before its children, a key before its value.  When an object ends, its members
 *	  are sorted as jsonb sorts them, and of the same key only the last one stays.
 *	  After that everything is known that jsonb wants first: how many children, in
 *	  which order, of how many bytes; so the jsonb is written in one go.
 *
 * 3. Errors are the server's.  Whoever finds something wrong here says no more than
 *	  that, and the text is handed to the server's own cast, which raises the error
 *	  (or, should it find nothing wrong, has the result).  The same goes for texts
 *	  that might not fit into a jsonb.
 */
#include "asynx.h"

#include "errors.h"
#include "fmgr.h"
#include "jsonbwriter.h"
#include "jsonreader.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

/*
 * Longer texts are left to the server.  At worst a byte of text takes 6 of jsonb ("1,"
 * takes 12: an entry and a number), so shorter ones stay within its limit.
 */
#define MAX_TEXT (ASYNX_JSONB_LIMIT / 8)

/* Decimal digits that are read as an int64. */
#define MAX_DIGITS 18

/* Bytes that a number or a container may take besides its own, with its padding. */
#define NODE_BYTES (2 * sizeof(JEntry) + 3)

/* A value of the text, or a key. */
typedef struct TapeNode
{
	union
	{
		const char *data;		/* a string's bytes, a Numeric */
		struct
		{
			uint32		end;	/* a container: where the node behind it stands */
			uint32		members;	/* an object: its first one, in `members` */
		}			inside;
	}			u;
	uint32		len;			/* bytes at data; number of elements or members */
	AsynxTag	tag;
} TapeNode;

/* A member of an object; `rank` orders most keys, it is the length and the first bytes. */
typedef struct Member
{
	uint64		rank;
	const char *key;
	uint32		node;			/* of the key; the value's is the next one */
} Member;

typedef struct Reader
{
	JsonLexContext *lexer;
	TapeNode   *nodes;
	uint32		node_count;
	uint32		node_capacity;
	Member	   *members;		/* of all objects that have ended */
	uint32		member_count;
	uint32		member_capacity;
	Size		size;			/* bytes as jsonb, or a few more */
} Reader;

/* Bytes of a key that are part of its rank. */
#define RANK_BYTES 4

/* jsonb's order of keys; the same key in the order of the text. */
static inline int
compare_members(const Member *a, const Member *b)
{
	uint32		len = (uint32) (a->rank >> 32);
	int			order;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	if (len > RANK_BYTES)
	{
		order = memcmp(a->key + RANK_BYTES, b->key + RANK_BYTES, len - RANK_BYTES);
		if (order != 0)
			return order;
	}
	return a->node < b->node ? -1 : 1;
}

#define ST_SORT sort_members
#define ST_ELEMENT_TYPE Member
#define ST_COMPARE(a, b) compare_members(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static bool read_value(Reader *reader);

/* Goes on to the next token. */
static inline bool
advance(Reader *reader)
{
	return json_lex(reader->lexer) == JSON_SUCCESS;
}

/* Appends a node. */
static inline TapeNode *
add_node(Reader *reader, AsynxTag tag, const char *data, uint32 len)
{
	TapeNode   *node;

	if (unlikely(reader->node_count == reader->node_capacity))
	{
		reader->node_capacity *= 2;
		reader->nodes = repalloc_huge(reader->nodes,
									  sizeof(TapeNode) * (Size) reader->node_capacity);
	}
	node = &reader->nodes[reader->node_count++];
	node->u.data = data;
	node->len = len;
	node->tag = tag;
	reader->size += NODE_BYTES + len;
	return node;
}

/* Takes the string that the lexer stands on, without its quotes. */
static void
add_string(Reader *reader)
{
	JsonLexContext *lexer = reader->lexer;
	const char *data = lexer->token_start + 1;
	uint32		len = (uint32) (lexer->token_terminator - lexer->token_start) - 2;
	StringInfo	resolved = lexer->strval;

	/* Every escape is longer than what it stands for. */
	if (resolved != NULL && (uint32) resolved->len != len)
	{
		len = (uint32) resolved->len;
		data = memcpy(palloc(len + 1), resolved->data, len);
	}
	add_node(reader, ASYNX_STRING, data, len);
}

/* A number of few digits without an exponent; NULL for others. */
static Numeric
short_number(const char *token, uint32 len)
{
	bool		negative = token[0] == '-';
	const char *end = token + len;
	const char *point = NULL;
	int64		value = 0;

	if (len > MAX_DIGITS)
		return NULL;

	for (token += negative; token < end; token++)
	{
		if (*token == '.')
			point = token;
		else if (*token >= '0' && *token <= '9')
			value = value * 10 + (*token - '0');
		else
			return NULL;
	}
	if (negative)
		value = -value;
	return point == NULL ? int64_to_numeric(value) :
		int64_div_fast_to_numeric(value, (int) (end - point) - 1);
}

/*
 * Takes the number that the lexer stands on, and goes on.  The server looks at the
 * next token before it finds a number too large, so do we.
 */
static bool
read_number(Reader *reader)
{
	const char *token = reader->lexer->token_start;
	uint32		len = (uint32) (reader->lexer->token_terminator - token);
	Numeric		number;

	if (!advance(reader))
		return false;
	number = short_number(token, len);
	if (number == NULL)
		number = DatumGetNumeric(DirectFunctionCall3(numeric_in,
													 CStringGetDatum(pnstrdup(token, len)),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	add_node(reader, ASYNX_NUMERIC, (const char *) number, VARSIZE(number));
	return true;
}

/* Takes the member whose key the lexer should stand on, and goes on. */
static bool
read_member(Reader *reader)
{
	if (reader->lexer->token_type != JSON_TOKEN_STRING)
		return false;
	add_string(reader);
	return advance(reader) &&
		reader->lexer->token_type == JSON_TOKEN_COLON &&
		advance(reader) &&
		read_value(reader);
}

/* What orders a key before its other bytes are looked at. */
static inline uint64
key_rank(const char *key, uint32 len)
{
	uint64		rank = len;

	for (uint32 i = 0; i < RANK_BYTES; i++)
		rank = (rank << 8) | (i < len ? (unsigned char) key[i] : 0);
	return rank;
}

/* Where the node behind a value stands. */
static inline uint32
node_end(const Reader *reader, uint32 node)
{
	if (reader->nodes[node].tag >= ASYNX_ARRAY)
		return reader->nodes[node].u.inside.end;
	return node + 1;
}

/* Appends the members of an object that has ended to the list, as the text has them. */
static Member *
collect_members(Reader *reader, uint32 object, uint32 count)
{
	uint32		node = object + 1;
	Member	   *members;

	if (reader->member_capacity - reader->member_count < count)
	{
		reader->member_capacity = Max(reader->member_capacity * 2,
									  reader->member_count + count);
		reader->members = repalloc_huge(reader->members,
										sizeof(Member) * (Size) reader->member_capacity);
	}

	members = reader->members + reader->member_count;
	for (uint32 i = 0; i < count; i++)
	{
		members[i].key = reader->nodes[node].u.data;
		members[i].rank = key_rank(members[i].key, reader->nodes[node].len);
		members[i].node = node;
		node = node_end(reader, node + 1);
	}
	return members;
}

/* Do two members have the same key? */
static inline bool
same_key(const Member *a, const Member *b)
{
	return a->rank == b->rank && memcmp(a->key, b->key, a->rank >> 32) == 0;
}

/* Sorts members; of the same key the last one stays.  Returns how many stay. */
static uint32
settle_members(Member *members, uint32 count)
{
	uint32		kept = 0;

	sort_members(members, count);
	for (uint32 i = 0; i < count; i++)
	{
		if (i + 1 == count || !same_key(&members[i], &members[i + 1]))
			members[kept++] = members[i];
	}
	return kept;
}

/* Ends an object of so many members; returns how many are left of them. */
static uint32
end_object(Reader *reader, uint32 object, uint32 count)
{
	uint32		kept = settle_members(collect_members(reader, object, count), count);

	reader->nodes[object].u.inside.members = reader->member_count;
	reader->member_count += kept;
	return kept;
}

/* Takes the container that the lexer stands on, and goes on. */
static bool
read_container(Reader *reader, AsynxTag tag)
{
	bool		object = tag == ASYNX_OBJECT;
	JsonTokenType end = object ? JSON_TOKEN_OBJECT_END : JSON_TOKEN_ARRAY_END;
	uint32		node = reader->node_count;
	uint32		count = 0;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	add_node(reader, tag, NULL, 0);
	if (!advance(reader))
		return false;

	for (bool more = reader->lexer->token_type != end; more;
		 more = reader->lexer->token_type == JSON_TOKEN_COMMA)
	{
		if (count > 0 && !advance(reader))
			return false;
		if (!(object ? read_member(reader) : read_value(reader)))
			return false;
		count++;
	}
	if (reader->lexer->token_type != end)
		return false;

	reader->nodes[node].len = object ? end_object(reader, node, count) : count;
	reader->nodes[node].u.inside.end = reader->node_count;
	return advance(reader);
}

/* Takes the value that the lexer stands on, and goes on; false if there is none, or a bad one. */
static bool
read_value(Reader *reader)
{
	switch (reader->lexer->token_type)
	{
		case JSON_TOKEN_STRING:
			add_string(reader);
			return advance(reader);
		case JSON_TOKEN_NUMBER:
			return read_number(reader);
		case JSON_TOKEN_OBJECT_START:
			return read_container(reader, ASYNX_OBJECT);
		case JSON_TOKEN_ARRAY_START:
			return read_container(reader, ASYNX_ARRAY);
		case JSON_TOKEN_TRUE:
			add_node(reader, ASYNX_TRUE, NULL, 0);
			return advance(reader);
		case JSON_TOKEN_FALSE:
			add_node(reader, ASYNX_FALSE, NULL, 0);
			return advance(reader);
		case JSON_TOKEN_NULL:
			add_node(reader, ASYNX_NULL, NULL, 0);
			return advance(reader);
		default:
			return false;
	}
}

/* A value that is no container. */
static inline AsynxValue
node_value(const TapeNode *node)
{
	AsynxValue	value = {node->u.data, node->len, node->tag};

	return value;
}

static void write_container(const Reader *reader, AsynxWriter *writer, AsynxFrame *parent,
							uint32 node);

/* Writes a value into a container. */
static inline void
write_node(const Reader *reader, AsynxWriter *writer, AsynxFrame *frame, uint32 node)
{
	AsynxValue	value;

	if (reader->nodes[node].tag >= ASYNX_ARRAY)
	{
		write_container(reader, writer, frame, node);
		return;
	}
	value = node_value(&reader->nodes[node]);
	asynx_writer_value(writer, frame, &value);
}

/* Writes an array or an object; `parent` is NULL for the root. */
static void
write_container(const Reader *reader, AsynxWriter *writer, AsynxFrame *parent, uint32 node)
{
	const TapeNode *container = &reader->nodes[node];
	const Member *members = reader->members + container->u.inside.members;
	AsynxFrame	frame;

	check_stack_depth();
	asynx_writer_open(writer, parent, &frame, container->tag, container->len);
	if (container->tag == ASYNX_OBJECT)
	{
		for (uint32 i = 0; i < container->len; i++)
			asynx_writer_string(writer, &frame, members[i].key,
								(uint32) (members[i].rank >> 32));
		for (uint32 i = 0; i < container->len; i++)
			write_node(reader, writer, &frame, members[i].node + 1);
	}
	else
	{
		for (node++; node < container->u.inside.end; node = node_end(reader, node))
			write_node(reader, writer, &frame, node);
	}
	asynx_writer_close(writer, &frame);
}

/* Writes what has been read. */
static Jsonb *
write_document(const Reader *reader)
{
	AsynxWriter writer;
	AsynxValue	scalar;

	asynx_writer_init(&writer, reader->size, ASYNX_JSONB_LIMIT);
	if (reader->nodes[0].tag >= ASYNX_ARRAY)
		write_container(reader, &writer, NULL, 0);
	else
	{
		scalar = node_value(&reader->nodes[0]);
		asynx_writer_root(&writer, &scalar);
	}
	return asynx_writer_finish(&writer);
}

/* Prepares to read a text; small ones take no more memory than they need. */
static void
reader_init(Reader *reader, char *json, uint32 len)
{
	bool		escapes = memchr(json, '\\', len) != NULL;

	reader->lexer = asynx_json_lexer(json, (int) len, GetDatabaseEncoding(), escapes);
	reader->node_count = 0;
	reader->node_capacity = len / 8 + 16;
	reader->nodes = palloc(sizeof(TapeNode) * (Size) reader->node_capacity);
	reader->member_count = 0;
	reader->member_capacity = len / 16 + 16;
	reader->members = palloc(sizeof(Member) * (Size) reader->member_capacity);
	reader->size = VARHDRSZ + NODE_BYTES;
}

/* Reads the whole text; false if the server should do it. */
static bool
read_document(Reader *reader)
{
	return advance(reader) &&
		read_value(reader) &&
		reader->lexer->token_type == JSON_TOKEN_END;
}

/* Reads JSON text as the server's cast does. */
Jsonb *
asynx_json_read(const text *json)
{
	char	   *data = VARDATA_ANY(json);
	uint32		len = (uint32) VARSIZE_ANY_EXHDR(json);
	Reader		reader;

	if (len <= MAX_TEXT)
	{
		reader_init(&reader, data, len);
		if (read_document(&reader))
			return write_document(&reader);
	}
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(text_to_cstring(json))));
}
