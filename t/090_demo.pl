# The demo on its generated data: it succeeds on an empty database, finds a state that comes back
# wrong, and refuses a database that is in use.
use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('demo');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'asynx'");
$node->start;

# Runs the demo in a database and returns success, output and errors.
sub demo {
  my ($database) = @_;
  my ($out, $err) = ('', '');

  local $ENV{PGHOST} = $node->host;
  local $ENV{PGPORT} = $node->port;
  local $ENV{PGDATABASE} = $database;
  local $ENV{ASYNX_DEMO_DATA} = 'generated';
  local $ENV{ASYNX_DEMO_EVENTS} = 2000;
  my $ok = IPC::Run::run(["$FindBin::RealBin/../examples/github/run"], '>', \$out, '2>', \$err);
  utf8::decode($out);
  return ($ok, $out, $err);
}

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
my ($ok, $out, $err) = demo('fresh');
ok($ok, 'succeeds on an empty database') or diag($out, $err);
is($err, '', 'has nothing to complain of');
like($out, qr/^1,366 events of 220 aggregates: /m, 'tells how much was stored');
like($out, qr/^2,732 events replayed and compared with what went in: 0 different\.$/m,
  'reads back what it wrote');
unlike($out, qr/^[^\n]{101}/m, 'fits 100 columns');
is($node->safe_psql('fresh', 'SELECT count(*) FROM asynx.events'), 3032, 'the events are there');
like($out, qr/^ *the start of a handler *\| *300 *\|/m, 'a handler was at work');
like($out, qr/^ *a notification at a LISTENing client *\| *300 *\|/m, 'and so was a listener');
like($out, qr/same as recomputed from the events *\n-+\n t\n/, 'the read model is right');

($ok, $out, $err) = demo('fresh');
ok(!$ok, 'refuses a database in use');
like($out, qr/database "fresh" already holds events/, 'and says so');

# A get() that gives back 1.00 where 1.0 was written must not pass for equal.
$node->safe_psql('postgres', 'CREATE DATABASE wrong');
$node->safe_psql('wrong', q{
  CREATE EXTENSION asynx;
  CREATE OR REPLACE FUNCTION asynx.get(aggregate_id text) RETURNS jsonb LANGUAGE sql STABLE
  RETURN (SELECT CASE WHEN state #>> '{attributes,size~cm}' = '1.0'
                      THEN jsonb_set(state, '{attributes,size~cm}', '1.00') ELSE state END
            FROM asynx.get(aggregate_id, asynx.count(aggregate_id, 0)) AS state);
});
($ok, $out, $err) = demo('wrong');
ok(!$ok, 'fails when a state comes back with other digits');
like($out, qr/[1-9]\d* of the states read back are not the states that were written/,
  'and says how many');

# Neither must a replay that loses an event.
$node->safe_psql('postgres', 'CREATE DATABASE short');
$node->safe_psql('short', q{
  CREATE EXTENSION asynx;
  ALTER FUNCTION asynx.replay(text, bigint, bigint) RENAME TO whole_replay;
  CREATE FUNCTION asynx.replay(aggregate_id text, from_version bigint DEFAULT 0,
                               to_version bigint DEFAULT 0)
    RETURNS SETOF asynx.event LANGUAGE sql
    BEGIN ATOMIC SELECT * FROM asynx.whole_replay(aggregate_id) WHERE version <> 9; END;
});
($ok, $out, $err) = demo('short');
ok(!$ok, 'fails when replay loses events');
like($out, qr/^ replay: .*\| +[1-9]\d*$/m, 'and counts them');

$node->stop;
done_testing();
