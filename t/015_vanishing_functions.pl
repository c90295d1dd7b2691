# The functions of commands and upcasters go and come while others use them: whoever meets one
# that is gone is told handler_missing, and no session falls.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $rounds = 1500;

my $node = store_node('vanishing', "log_min_messages = panic\n");

$node->safe_psql('postgres', <<'SQL');
CREATE SEQUENCE gone;

-- The functions, in a schema that is made anew each time.
CREATE PROCEDURE come() LANGUAGE plpgsql AS $$
BEGIN
  CREATE SCHEMA app;
  CREATE FUNCTION app.emit(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT payload';
  CREATE FUNCTION app.upcast(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT patch';
END $$;
CREATE PROCEDURE come_and_go(rounds int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. rounds LOOP
    CALL come();
    COMMIT;
    DROP SCHEMA app CASCADE;
    COMMIT;
  END LOOP;
  PERFORM nextval('gone');
END $$;

-- Uses them until they are gone for good; whatever is raised but handler_missing ends it.
CREATE PROCEDURE use(me int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. 1000000 LOOP
    EXIT WHEN (SELECT is_called FROM gone);
    BEGIN
      PERFORM asynx.send('vanish', 'sent-' || me);
      PERFORM asynx.get('old');
    EXCEPTION WHEN SQLSTATE 'SX009' THEN
      NULL;
    END;
    COMMIT;
  END LOOP;
END $$;

CALL come();
SELECT asynx.create_aggregate_type('vanish', 2);
SELECT asynx.create_upcaster('vanish', 1, 'app.upcast');
SELECT asynx.append('old', 1, 'e', '[]', 'vanish', schema_version => 1);
SELECT asynx.create_command('vanish', 'default', 'e', 'app.emit');
DROP SCHEMA app CASCADE;
SQL

my @sessions = start_together($node,
	["SET client_min_messages = error", "CALL come_and_go($rounds)"],
	map { ["CALL use($_)"] } 1 .. 3);
is(finish_sessions(@sessions), 0, 'all sessions came to the end');
is($node->safe_psql('postgres', 'SELECT is_called FROM gone'), 't', 'the functions are gone');
is($node->safe_psql('postgres', q{SELECT count(*) FROM asynx.events WHERE aggregate_id = 'old'}),
	'1', 'and the server goes on');
$node->stop;

done_testing();
