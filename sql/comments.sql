-- The catalog is documentation: every object of the extension says what it is for and how it behaves
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
RESET client_min_messages;

-- Objects of the extension without a comment: there are none.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS uncommented
FROM pg_depend d JOIN pg_extension x ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
WHERE x.extname = 'asynx' AND d.deptype = 'e'
  AND obj_description(d.objid, d.classid::regclass::text) IS NULL
  AND NOT EXISTS (SELECT FROM pg_type t WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND (t.typrelid <> 0 AND EXISTS (
                  SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c') OR t.typelem <> 0))
ORDER BY 1;
SELECT x.extname FROM pg_extension x WHERE x.extname = 'asynx' AND obj_description(x.oid, 'pg_extension') IS NULL;
SELECT n.nspname AS uncommented FROM pg_namespace n WHERE n.nspname = 'asynx' AND obj_description(n.oid, 'pg_namespace') IS NULL;
SELECT t.tgname AS uncommented FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'asynx'::regnamespace AND NOT t.tgisinternal AND obj_description(t.oid, 'pg_trigger') IS NULL;
SELECT i.indexrelid::regclass AS uncommented FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace = 'asynx'::regnamespace AND obj_description(i.indexrelid, 'pg_class') IS NULL
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid);
SELECT rolname AS uncommented FROM pg_roles WHERE rolname LIKE 'asynx\_%' AND shobj_description(oid, 'pg_authid') IS NULL;
-- Columns of the log and of views.
SELECT c.relname, a.attname AS uncommented FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'asynx'::regnamespace AND (c.relname = 'events' OR c.relkind = 'v') AND a.attnum > 0 AND NOT a.attisdropped
  AND col_description(c.oid, a.attnum) IS NULL ORDER BY 1, 2;
-- A comment is a sentence about the object, not its name.
SELECT count(*) > 50 AS many, count(*) FILTER (WHERE length(description) < 12) AS too_short,
       count(*) FILTER (WHERE description ~ E'[\n\t]| $|^ ') AS untidy
FROM pg_description s JOIN pg_depend d ON (d.classid, d.objid) = (s.classoid, s.objoid) AND d.deptype = 'e'
JOIN pg_extension x ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid AND x.extname = 'asynx';

-- How functions behave: what is immutable may run in parallel workers, what writes or keeps shared state may not.
SELECT p.oid::regprocedure AS function, p.provolatile AS volatility, p.proparallel AS parallel
FROM pg_proc p WHERE p.pronamespace = 'asynx'::regnamespace AND p.prokind = 'f'
  AND p.proparallel <> CASE p.provolatile WHEN 'i' THEN 's' WHEN 's' THEN 'r' ELSE 'u' END ORDER BY 1;
-- Functions of the extension carry no settings and do not run as their owner by themselves; no function leaks by being in its schema.
SELECT p.oid::regprocedure AS function FROM pg_proc p
WHERE p.pronamespace = 'asynx'::regnamespace AND (p.prosecdef OR p.proconfig IS NOT NULL OR p.proleakproof);
SELECT p.oid::regprocedure AS not_of_the_extension FROM pg_proc p
WHERE p.pronamespace = 'asynx'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE (d.classid, d.objid, d.deptype) = ('pg_proc'::regclass, p.oid, 'e'));

-- Every optional parameter has a default, so that it can be left out, and every parameter has a name.
SELECT p.oid::regprocedure AS function FROM pg_proc p
WHERE p.pronamespace = 'asynx'::regnamespace AND p.pronargs > 0 AND (p.proargnames IS NULL OR '' = ANY (p.proargnames[1:p.pronargs]));
SELECT function, p.pronargs - p.pronargdefaults AS required, p.pronargs AS parameters
FROM unnest(ARRAY['append', 'append_many', 'read_from', 'read_range', 'read_all', 'count', 'delete', 'put_snapshot', 'get_snapshot', 'delete_snapshot',
                  'get', 'get_at', 'exists', 'aggregates', 'preload', 'replay', 'create_aggregate_type', 'alter_aggregate_type', 'drop_aggregate_type',
                  'write', 'json_patch', 'json_diff', 'json_patch_text', 'json_diff_text', 'json_pointer', 'topic']) AS function
LEFT JOIN pg_proc p ON p.pronamespace = 'asynx'::regnamespace AND p.proname = function ORDER BY function COLLATE "C", 3;

-- Settings have a description, a bound where they are numbers, and can be changed only by who may.
SELECT name, setting, unit, context, vartype, min_val, max_val, length(short_desc) > 10 AS described
FROM pg_settings WHERE name LIKE 'asynx.%' ORDER BY name;
SET asynx.no_such_setting = 1;
\echo :LAST_ERROR_SQLSTATE
SET asynx.max_document_depth = 0;
\echo :LAST_ERROR_SQLSTATE
