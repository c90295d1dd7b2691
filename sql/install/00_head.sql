\echo Use "CREATE EXTENSION asynx" to load this file. \quit

COMMENT ON SCHEMA asynx IS 'Event store, command pipeline and event bus.';

