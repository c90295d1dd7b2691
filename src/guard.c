/*
 * guard.c
 *	  Refuses what would change or lose the log.
 *
 * 1. Statement triggers on asynx.events refuse UPDATE, DELETE and TRUNCATE to
 *	  everybody, superusers included.  They fire for sessions of origin only, so
 *	  that logical replication and pg_restore --disable-triggers pass.  The rooms
 *	  that may delete (store, forget) lift the guard for one statement, by a C
 *	  variable: a setting could be set by others.  The trigger puts the guard
 *	  back as the statement begins.
 *
 * 2. A hook refuses to drop asynx.events while it holds rows, which also stops
 *	  DROP EXTENSION, DROP SCHEMA ... CASCADE and DROP OWNED, unless
 *	  asynx.allow_drop is on.  DROP DATABASE does not ask.
 */
#include "asynx.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "guard.h"
#include "guc.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static object_access_hook_type PreviousAccess = NULL;

/* True from asynx_guard_lift() until the statement begins. */
static bool Lifted = false;

/* Lets the next statement on asynx.events pass. */
void
asynx_guard_lift(void)
{
	Lifted = true;
}

/* Puts the guard back; also called at the end of every (sub)transaction. */
void
asynx_guard_restore(void)
{
	Lifted = false;
}

/* Is this relation asynx.events? */
static bool
IsEventTable(Oid relation)
{
	char	   *name = get_rel_name(relation);

	return name != NULL && strcmp(name, "events") == 0 &&
		get_rel_relkind(relation) == RELKIND_RELATION &&
		get_rel_namespace(relation) == get_namespace_oid(ASYNX_SCHEMA, true);
}

/*
 * Has the table a row that anybody could see?
 *
 * Read by a plain scan: in the middle of a DROP the indexes may be gone.
 */
static bool
HasRows(Oid relation)
{
	Relation	table = table_open(relation, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(table, NULL);
	TableScanDesc scan = table_beginscan(table, snapshot, 0, NULL);
	bool		found = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(table, NoLock);
	return found;
}

/* Raises an error if the event table is to be dropped with its events. */
static void
CheckDrop(Oid relation)
{
	if (asynx_allow_drop || IsBinaryUpgrade || !IsEventTable(relation) || !HasRows(relation))
		return;

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot drop table \"%s.events\" because it holds events", ASYNX_SCHEMA),
			 errhint("Set asynx.allow_drop = on if you want to lose them.")));
}

/* The object access hook. */
static void
Access(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg)
{
	if (PreviousAccess != NULL)
		PreviousAccess(access, classId, objectId, subId, arg);

	if (access == OAT_DROP && classId == RelationRelationId && subId == 0)
		CheckDrop(objectId);
}

/* Installs the hook; called once, when the library is loaded. */
void
asynx_guard_init(void)
{
	PreviousAccess = object_access_hook;
	object_access_hook = Access;
}

PG_FUNCTION_INFO_V1(asynx_refuse_change);

/*
 * asynx.refuse_change() returns trigger: raises 55000 unless the guard is lifted.
 */
Datum
asynx_refuse_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("\"asynx.refuse_change\" can only be called as a trigger")));

	if (!Lifted)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is append-only",
						get_namespace_name(RelationGetNamespace(trigger->tg_relation)),
						RelationGetRelationName(trigger->tg_relation)),
				 errhint("Use asynx.delete() or asynx.forget() to erase an aggregate.")));

	Lifted = false;
	return PointerGetDatum(NULL);
}
