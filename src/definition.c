/*
 * definition.c
 *	  Registers commands: a name, an event, and the functions that decide.
 *
 * Both functions of a command belong to one role, its owner, as which they run
 * (handler.c).  The type must exist when the command is made; whether it still
 * does is seen when the first event of an aggregate is stored.
 *
 * A session keeps the commands that it has read.  A trigger tells all sessions of a
 * change, through an invalidation of the table's relcache entry, as it does for
 * types (aggtype.c).  That the functions still are what they were, and whose, is
 * seen at each call (handler.c).
 */
#include "asynx.h"

#include "access/xact.h"
#include "aggtype.h"
#include "args.h"
#include "catalog/pg_type.h"
#include "changes.h"
#include "commands/trigger.h"
#include "definition.h"
#include "errors.h"
#include "pattern.h"
#include "query.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* A command that this session has read. */
typedef struct KnownCommand
{
	char		name[ASYNX_MAX_NAME_BYTES + 1];	/* hash key */
	AsynxDefinition definition; /* without its name */
} KnownCommand;

/* The commands that this session has read, and the memory they live in. */
static HTAB *KnownCommands = NULL;
static MemoryContext KnownCommandsContext = NULL;

/* Has one been changed since? */
static bool KnownCommandsStale = true;

const AsynxSignature asynx_validate_signature = {
	.purpose = "validate function",
	.nargs = 2,
	.argtypes = {JSONBOID, JSONBOID},
	.results = {TEXTOID, VARCHAROID, BOOLOID, VOIDOID},
	.result = "text, boolean or void",
	.pure = true,
};

const AsynxSignature asynx_emit_signature = {
	.purpose = "emit function",
	.nargs = 2,
	.argtypes = {JSONBOID, JSONBOID},
	.results = {JSONBOID},
	.result = "jsonb",
	.pure = true,
};

static AsynxQuery SelectCommand = {
	.sql = ASYNX_SQL("SELECT c.aggregate_type, c.event_name, c.validate, c.emit, c.snapshot, "
					 " c.owner FROM asynx.commands c WHERE c.name OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static AsynxQuery InsertCommand = {
	.sql = ASYNX_SQL("INSERT INTO asynx.commands "
					 "(name, aggregate_type, event_name, validate, emit, snapshot, owner) "
					 "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING"),
	.nargs = 7,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, TEXTOID},
};

static AsynxQuery DeleteCommand = {
	.sql = ASYNX_SQL("DELETE FROM asynx.commands c WHERE c.name OPERATOR(pg_catalog.=) $1"),
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* A text column as a C string, NULL for NULL. */
static char *
ColumnString(TupleTableSlot *slot, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* Row function of SelectCommand. */
static bool
GetDefinition(TupleTableSlot *slot, void *arg)
{
	AsynxDefinition *definition = (AsynxDefinition *) arg;
	bool		isnull;

	definition->aggregate_type = DatumGetTextPCopy(slot_getattr(slot, 1, &isnull));
	definition->event_name = DatumGetTextPCopy(slot_getattr(slot, 2, &isnull));
	definition->validate.name = ColumnString(slot, 3);
	definition->emit.name = ColumnString(slot, 4);
	definition->snapshot = DatumGetBool(slot_getattr(slot, 5, &isnull));
	definition->emit.owner = definition->validate.owner = ColumnString(slot, 6);
	return false;
}

/* Raises 22023 for a command that does not exist. */
pg_noreturn static void
RefuseUnknown(const text *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("command \"%s\" does not exist", text_to_cstring(name)),
			 errhint("Create it with asynx.create_command().")));
}

/* Relcache callback: some table was changed; only that of the commands is told so on purpose. */
static void
ForgetKnownCommands(Datum arg, Oid relation)
{
	(void) arg;
	(void) relation;
	KnownCommandsStale = true;
}

/* Begins with no known commands. */
static void
ResetKnownCommands(void)
{
	HASHCTL		control = {
		.keysize = sizeof(((KnownCommand *) NULL)->name),
		.entrysize = sizeof(KnownCommand),
	};

	if (KnownCommandsContext == NULL)
	{
		KnownCommandsContext = AllocSetContextCreate(CacheMemoryContext, "asynx commands",
													 ALLOCSET_SMALL_SIZES);
		asynx_changes_register(ForgetKnownCommands);
	}

	KnownCommands = NULL;
	MemoryContextReset(KnownCommandsContext);
	control.hcxt = KnownCommandsContext;
	KnownCommands = hash_create("asynx commands", 16, &control,
								HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	KnownCommandsStale = false;
}

/* A copy of a string, NULL for NULL. */
static const char *
CopyString(const char *string)
{
	return string != NULL ? pstrdup(string) : NULL;
}

/* Copies a definition, but for the command's name, into the current memory context. */
static void
Copy(AsynxDefinition *copy, const AsynxDefinition *definition)
{
	copy->aggregate_type = DatumGetTextPCopy(PointerGetDatum(definition->aggregate_type));
	copy->event_name = DatumGetTextPCopy(PointerGetDatum(definition->event_name));
	copy->validate.name = CopyString(definition->validate.name);
	copy->emit.name = pstrdup(definition->emit.name);
	copy->emit.owner = copy->validate.owner = pstrdup(definition->emit.owner);
	copy->snapshot = definition->snapshot;
}

/* Is the command known, and not out of date?  Under REPEATABLE READ none is. */
static bool
FindKnown(const char *name, AsynxDefinition *definition)
{
	const KnownCommand *known;

	if (IsolationUsesXactSnapshot())
		return false;

	AcceptInvalidationMessages();
	if (KnownCommandsStale)
		ResetKnownCommands();
	known = hash_search(KnownCommands, name, HASH_FIND, NULL);
	if (known != NULL)
		Copy(definition, &known->definition);
	return known != NULL;
}

/* Remembers a command that was just read, unless it has been changed meanwhile. */
static void
Remember(const char *name, const AsynxDefinition *definition)
{
	MemoryContext caller;
	AsynxDefinition copy = {.name = NULL};
	KnownCommand *known;

	if (IsolationUsesXactSnapshot() || KnownCommandsStale)
		return;

	caller = MemoryContextSwitchTo(KnownCommandsContext);
	Copy(&copy, definition);
	MemoryContextSwitchTo(caller);
	known = hash_search(KnownCommands, name, HASH_ENTER, NULL);
	known->definition = copy;
}

/* Reads a command; raises 22023 if it does not exist. */
static void
Read(const text *name, AsynxDefinition *definition)
{
	Datum		values[] = {PointerGetDatum(name)};
	bool		found;

	PushActiveSnapshot(GetTransactionSnapshot());
	found = asynx_query_read(&SelectCommand, values, NULL, GetDefinition, definition) > 0;
	PopActiveSnapshot();
	if (!found)
		RefuseUnknown(name);
}

/* Finds a command, in memory of the caller's; raises 22023 if it does not exist. */
void
asynx_definition_find(const text *name, AsynxDefinition *definition)
{
	char		key[ASYNX_MAX_NAME_BYTES + 1];

	definition->name = name;
	text_to_cstring_buffer(name, key, sizeof(key));
	if (FindKnown(key, definition))
		return;
	Read(name, definition);
	Remember(key, definition);
}

/* Finds the functions for the caller; raises what speaks against them. */
static void
FindFunctions(const text *emit, const text *validate, AsynxDefinition *definition)
{
	(void) asynx_handler_find(text_to_cstring(emit),
							  (const AsynxSignature *const[]) {&asynx_emit_signature, NULL},
							  &definition->emit);
	definition->validate.name = NULL;
	if (validate == NULL)
		return;

	(void) asynx_handler_find(text_to_cstring(validate),
							  (const AsynxSignature *const[]) {&asynx_validate_signature, NULL},
							  &definition->validate);
	asynx_handler_check_owner(&definition->emit, &definition->validate);
}

/* Raises 22023 if there is no such type. */
static void
CheckType(const text *name)
{
	AsynxType	type;
	bool		found;

	PushActiveSnapshot(GetTransactionSnapshot());
	found = asynx_type_read(name, &type);
	PopActiveSnapshot();
	if (!found)
		asynx_type_refuse_unknown(name);
}

/* Inserts the command; false if it is there. */
static bool
Insert(const AsynxDefinition *definition)
{
	const char *validate = definition->validate.name;
	Datum		values[7];
	char		nulls[7];

	memset(nulls, ' ', sizeof(nulls));
	values[0] = PointerGetDatum(definition->name);
	values[1] = PointerGetDatum(definition->aggregate_type);
	values[2] = PointerGetDatum(definition->event_name);
	values[3] = validate != NULL ? CStringGetTextDatum(validate) : (Datum) 0;
	nulls[3] = validate != NULL ? ' ' : 'n';
	values[4] = CStringGetTextDatum(definition->emit.name);
	values[5] = BoolGetDatum(definition->snapshot);
	values[6] = CStringGetTextDatum(definition->emit.owner);
	return asynx_query_write(&InsertCommand, values, nulls, NULL, NULL) > 0;
}

PG_FUNCTION_INFO_V1(asynx_create_command);
PG_FUNCTION_INFO_V1(asynx_drop_command);
PG_FUNCTION_INFO_V1(asynx_definition_changed);

/* asynx.create_command(name, aggregate_type, event_name, emit, validate, snapshot) returns void */
Datum
asynx_create_command(PG_FUNCTION_ARGS)
{
	AsynxQueryScope scope;
	AsynxDefinition definition = {
		.name = asynx_arg_command_name(fcinfo, 0, "name"),
		.aggregate_type = asynx_arg_text(fcinfo, 1, "aggregate_type"),
		.event_name = asynx_arg_event_name(fcinfo, 2),
		.snapshot = asynx_arg_bool(fcinfo, 5, "snapshot"),
	};

	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_ASYNX_HANDLER_MISSING),
				 errmsg("command \"%s\" has no emit function", text_to_cstring(definition.name)),
				 errdetail("\"emit\" must not be null.")));
	FindFunctions(PG_GETARG_TEXT_PP(3), PG_ARGISNULL(4) ? NULL : PG_GETARG_TEXT_PP(4),
				  &definition);

	asynx_query_begin(&scope);
	CheckType(definition.aggregate_type);
	if (!Insert(&definition))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("command \"%s\" already exists", text_to_cstring(definition.name))));
	asynx_query_end(&scope);

	PG_RETURN_VOID();
}

/* asynx.drop_command(name text) returns void */
Datum
asynx_drop_command(PG_FUNCTION_ARGS)
{
	text	   *name = asynx_arg_command_name(fcinfo, 0, "name");
	Datum		values[] = {PointerGetDatum(name)};
	AsynxQueryScope scope;

	asynx_query_begin(&scope);
	if (asynx_query_write(&DeleteCommand, values, NULL, NULL, NULL) == 0)
		RefuseUnknown(name);
	asynx_query_end(&scope);

	PG_RETURN_VOID();
}

/*
 * Raises what is wrong with the pattern of a new row, if it has one: nobody could read
 * the subscriptions any more, whoever changed the row.
 */
static void
CheckPattern(const TriggerData *trigger)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		trigger->tg_newtuple : trigger->tg_trigtuple;
	AttrNumber	column = get_attnum(RelationGetRelid(trigger->tg_relation), "pattern");
	Datum		pattern;
	bool		isnull;

	if (column <= 0 || row == NULL || TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return;
	pattern = heap_getattr(row, column, desc, &isnull);
	if (!isnull)
		(void) asynx_pattern_compile(TextDatumGetCString(pattern));
}

/* asynx.definition_changed() returns trigger: tells all sessions to read the table again. */
Datum
asynx_definition_changed(PG_FUNCTION_ARGS)
{
	const TriggerData *trigger = (const TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("\"asynx.definition_changed\" can only be called as a trigger")));

	CheckPattern(trigger);
	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}
