# What is promised when one of the workers ends: the launcher, the bus and the workers that run
# handlers are replaced, and nothing stands still for long; and an event at which the server has
# died twice is not handled a third time until somebody asks for it.
#
# There is room for one worker: had one that is not needed kept it, nobody could handle anything.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $node = store_node('workers', <<'CONF');
restart_after_crash = on
asynx.max_workers = 1
CONF

# A handler that waits at the events of "slow" as long as somebody holds the lock, and does not
# come to an end at those of "deadly" while it is said to hang.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE control (hangs boolean);
INSERT INTO control VALUES (true);
CREATE TABLE seen (n bigserial, aggregate_id text, version bigint);
CREATE FUNCTION take(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF e.aggregate_id = 'slow' THEN
    PERFORM pg_advisory_xact_lock_shared(1);
  ELSIF e.aggregate_id = 'deadly' AND (SELECT hangs FROM public.control) THEN
    PERFORM pg_sleep(3600);
  END IF;
  INSERT INTO public.seen (aggregate_id, version) VALUES (e.aggregate_id, e.version);
END $$;
SELECT asynx.subscribe('step', 'public.take', 'steps', on_failure => 'park');
SQL

my %version;

# Appends an event.
sub append
{
	my ($id) = @_;

	$version{$id}++;
	return $node->safe_psql('postgres',
		"SELECT position FROM asynx.append('$id', $version{$id}, 'step', '[]')");
}

# The process of a kind; '' if there is none.
sub pid_of
{
	my ($kind) = @_;

	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'asynx $kind'");
}

# Waits for the process of a kind, another one than this.
sub wait_for_other
{
	my ($kind, $pid) = @_;

	$node->poll_query_until('postgres', <<"SQL") or die "there is no $kind";
SELECT count(*) = 1 AND bool_and(pid <> $pid) FROM pg_stat_activity
WHERE backend_type = 'asynx $kind'
SQL
	return;
}

# Terminates one, and waits for another one.
sub replace
{
	my ($kind) = @_;
	my $pid = pid_of($kind);

	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	wait_for_other($kind, $pid);
	return;
}

# Is all handled soon, and once?
sub check_handled
{
	my ($label) = @_;

	is($node->safe_psql('postgres', "SELECT asynx.wait_for(NULL, '30 s')"), 't', "$label: in time");
	is($node->safe_psql('postgres', <<'SQL'), '', "$label: each event once, in order");
SELECT aggregate_id, version, n, expected
FROM asynx.events
FULL JOIN (SELECT aggregate_id, version, n,
                  row_number() OVER (PARTITION BY aggregate_id ORDER BY n) AS expected
           FROM seen) AS s USING (aggregate_id, version)
WHERE position IS NULL OR expected IS DISTINCT FROM version
SQL
	return;
}

# Somebody who makes the handler wait.
sub hold
{
	my $holder = $node->background_psql('postgres');

	$holder->query_safe('SELECT pg_advisory_lock(1)');
	return $holder;
}

# Waits until the handler waits, or hangs; returns the worker that runs it.
sub wait_for_handler
{
	my $worker = q(FROM pg_stat_activity WHERE backend_type = 'asynx projection' )
	  . q(AND wait_event IN ('advisory', 'PgSleep'));

	$node->poll_query_until('postgres', "SELECT count(*) = 1 $worker")
	  or die 'the handler does not wait';
	return $node->safe_psql('postgres', "SELECT pid $worker");
}

# Kills the worker whose handler hangs, which brings the server down, and waits until it is back.
sub kill_handler
{
	my ($label) = @_;
	my $deadly = wait_for_handler();
	my $begin = -s $node->logfile;

	is(kill('KILL', $deadly), 1, "$label: the worker is killed");
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $begin);
	$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
	return;
}

append('first');
check_handled('at the beginning');

# The bus: its worker, which has nothing to do, does not take the place of the next.
replace('bus');
append('after the bus');
check_handled('after another bus has come');

# The launcher: the next one knows of the bus, and that it is to be replaced.
my $bus = pid_of('bus');
replace('launcher');
append('after the launcher');
check_handled('after another launcher has come');
is(pid_of('bus'), $bus, 'the bus has stayed');
replace('bus');
append('after both');
check_handled('after another bus has come to that launcher');

# A worker in the middle of a handler.
my $holder = hold();
append('slow');
my $worker = wait_for_handler();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
$node->poll_query_until('postgres',
	"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $worker)")
  or die 'the worker does not end';
append('slow');
$holder->quit;
check_handled('after a worker was terminated');

# And the bus of one, which comes to its end.
$holder = hold();
append('slow');
$worker = wait_for_handler();
replace('bus');
append('slow');
$holder->quit;
check_handled('after the bus of a worker was terminated');
$node->poll_query_until('postgres',
	"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $worker)")
  or die 'the worker does not end';

# An event at which the server dies, twice.  Who comes after a start of the server notes what he
# tries.
my $position = append('deadly');
wait_for_handler();
$node->restart;
foreach my $death (1, 2)
{
	kill_handler("death $death");
}
ok($node->poll_query_until('postgres', 'SELECT sqlstate FROM asynx.failures', '57P02'),
	'it is not handled a third time');
append('deadly');
append('another');
is($node->safe_psql('postgres', "SELECT asynx.wait_for(NULL, '30 s')"), 't', 'others go on');
is( $node->safe_psql('postgres', "SELECT count(*) FROM seen WHERE aggregate_id = 'another'"),
	1, 'those of other aggregates');
is($node->safe_psql('postgres', <<'SQL'), <<'ROWS' =~ s/\n\z//r, 'it is parked');
SELECT aggregate_id, version, state, sqlstate FROM asynx.failures ORDER BY position
SQL
deadly|1|parked|57P02
deadly|2|parked|
ROWS
$node->safe_psql('postgres', 'UPDATE control SET hangs = false');
$node->safe_psql('postgres', "SELECT asynx.retry('steps', $position)");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM asynx.failures'),
	'it is handled when it is asked for');
check_handled('after all');

# The same far behind in the feed, where the server forgets with each death what was not flushed.
# Still two deaths are enough, after one that comes unannounced.
$node->append_conf('postgresql.conf', "wal_writer_delay = 10s\nwal_writer_flush_after = 2GB\n");
$node->restart;
append('after a restart');
check_handled('after a restart');
$node->safe_psql('postgres', <<'SQL');
SELECT asynx.append_many((SELECT jsonb_agg(jsonb_build_object('aggregate_id', 'deep-' || i, 'version', 1,
  'event_name', 'deep', 'patch', '[]'::jsonb)) FROM generate_series(1, 1400) AS i));
UPDATE control SET hangs = true;
SELECT asynx.append('deadly', 3, 'deep', '[]');
SELECT asynx.append('deep-after', 1, 'deep', '[]');
SELECT asynx.subscribe('deep', 'public.take', 'deep', start_at => 0);
SQL
foreach my $death (1, 2, 3)
{
	kill_handler("far behind, death $death");
}
ok($node->poll_query_until('postgres', 'SELECT aggregate_id, sqlstate FROM asynx.failures', 'deadly|57P02'),
	'far behind: it is not handled again');
is($node->safe_psql('postgres', "SELECT asynx.wait_for(NULL, '60 s')"), 't', 'far behind: others go on');
is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT aggregate_id) FROM seen WHERE aggregate_id LIKE 'deep%'"),
	'1401|1401', 'far behind: each event once');

# One that may be tried often, and has failed before, is given up at two deaths all the same.
$node->safe_psql('postgres', <<'SQL');
UPDATE control SET hangs = true;
SELECT asynx.unsubscribe('deep'), asynx.unsubscribe('steps');
CREATE FUNCTION fail(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT attempts FROM asynx.failures f WHERE f.position = e.position) > 0 THEN PERFORM pg_sleep(3600); END IF;
  RAISE 'not yet';
END $$;
SELECT asynx.subscribe('often', 'public.fail', 'often', max_attempts => 10, retry_delay => '1 ms');
SELECT asynx.append('often', 1, 'often', '[]');
SQL
foreach my $death (1, 2, 3)
{
	kill_handler("often, death $death");
}
ok($node->poll_query_until('postgres', "SELECT state, sqlstate FROM asynx.failures WHERE subscription = 'often'", 'dead|57P02'),
	'often: it is not handled again');
stream_checks($node, 'afterwards');

$node->stop;
done_testing();
