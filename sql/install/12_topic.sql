-- Patterns for the names of events.

CREATE FUNCTION asynx.topic(pattern text)
RETURNS text
AS 'MODULE_PATHNAME', 'asynx_topic'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION asynx.topic(text) IS
'The pattern for a dotted topic of at most three segments: a segment * stands for one segment, in last place for the rest';
