-- The worked example in examples/orders/.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS asynx;
SET asynx.allow_drop = on;
DROP EXTENSION asynx CASCADE;
RESET client_min_messages;
\i examples/orders/01_roles.sql
SET ROLE shop_owner;
\i examples/orders/02_commands.sql
\i examples/orders/03_read_model.sql
RESET ROLE;
\i examples/orders/04_story.sql

SET client_min_messages = warning;
DROP SCHEMA shop CASCADE;
DROP EXTENSION asynx;
CREATE EXTENSION asynx;
DROP OWNED BY shop_owner, shop_app;
DROP ROLE shop_owner, shop_app;
