-- The worked example in examples/orders/.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
SET asynx.allow_drop = on;
DROP EXTENSION asynx CASCADE;
RESET client_min_messages;
\getenv source PG_ABS_SRCDIR
\set QUIET on
\set file :source '/examples/orders/01_roles.sql'
\i :file
SET ROLE shop_owner;
\set QUIET on
\set file :source '/examples/orders/02_commands.sql'
\i :file
\set QUIET on
\set file :source '/examples/orders/03_read_model.sql'
\i :file
RESET ROLE;
\set QUIET on
\set file :source '/examples/orders/04_story.sql'
\i :file

SET client_min_messages = warning;
DROP SCHEMA shop CASCADE;
DROP EXTENSION asynx;
CREATE EXTENSION asynx;
DROP OWNED BY shop_owner, shop_app;
DROP ROLE shop_owner, shop_app;
