\echo Use "CREATE EXTENSION asynx" to load this file. \quit

