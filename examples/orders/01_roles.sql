-- Who is who.  The owner defines aggregates, commands and the read model; his functions run as him.
-- The application has no rights but to send commands, and to read.  Run this as a superuser.
CREATE EXTENSION IF NOT EXISTS asynx;
CREATE ROLE shop_owner IN ROLE asynx_admin;
CREATE ROLE shop_app IN ROLE asynx_sender, asynx_reader;
CREATE SCHEMA shop AUTHORIZATION shop_owner;
GRANT USAGE ON SCHEMA shop TO shop_app;
