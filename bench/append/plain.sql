-- What somebody without asynx would make: the same columns, constraints and indexes, and a sequence.
CREATE SCHEMA plain;
CREATE SEQUENCE plain.positions;
CREATE TABLE plain.events (LIKE asynx.events INCLUDING CONSTRAINTS INCLUDING INDEXES);
ALTER TABLE plain.events ALTER COLUMN position SET DEFAULT nextval('plain.positions');
