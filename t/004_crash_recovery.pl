# A backend dies with an append open while others write; the server restarts itself.
# Afterwards nothing is in flight, what the feed had returned is there, the feed goes on
# where it had stopped, and new positions are above all that anybody has seen.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $node = store_node('crash', <<'CONF');
restart_after_crash = on
log_min_messages = panic
CONF

$node->safe_psql('postgres', <<'SQL');
CREATE PROCEDURE writer(target text) LANGUAGE plpgsql AS $$
DECLARE
  head bigint;
BEGIN
  LOOP
    SELECT coalesce(max(version), 0) INTO head FROM asynx.events WHERE aggregate_id = target;
    PERFORM asynx.append(target, head + 1, 'crash.step', '[]');
    PERFORM pg_sleep(random() * 0.01);
    COMMIT;
  END LOOP;
END $$;
SQL

my %followed;      # position => id, of all that read_all() has returned
my $last = 0;      # how far it was followed
my $repeated = 0;

# Follows the feed by one page; returns how many events there were.
sub follow
{
	my @rows = split /\n/,
	  $node->safe_psql('postgres', "SELECT position || ' ' || id FROM asynx.read_all($last, 100)");
	foreach my $row (@rows)
	{
		my ($position, $id) = split / /, $row;
		$repeated++ if exists $followed{$position} || $position <= $last;
		$followed{$position} = $id;
		$last = $position;
	}
	return scalar @rows;
}

# The position at which a backend that will never commit holds the feed.
my $held = <<'SQL';
SELECT f.position FROM asynx.feed_status f JOIN pg_stat_activity a USING (pid)
WHERE a.query = 'SELECT pg_sleep(3600)'
SQL

foreach my $round (1 .. 3)
{
	my $written = 200 + $node->safe_psql('postgres', 'SELECT count(*) FROM asynx.events');
	my @writers = map { start_session($node, "CALL writer('writer-$_')") } 1 .. 4;
	$node->poll_query_until('postgres', "SELECT count(*) > $written FROM asynx.events")
	  or die "the writers do not write";
	follow() foreach 1 .. 3;

	my $holder = start_session($node,
		'BEGIN', "SELECT FROM asynx.append('holder', 1, 'crash.never', '[]')",
		'SELECT pg_sleep(3600)');
	$node->poll_query_until('postgres', "SELECT EXISTS ($held)")
	  or die "the holder did not append";
	my $stop = $node->safe_psql('postgres', $held);
	$node->poll_query_until('postgres',
		"SELECT count(*) > 20 FROM asynx.events WHERE position > $stop")
	  or die "nobody writes behind the holder";
	while (follow() > 0) { }
	cmp_ok($last, '<', $stop, "round $round: the feed waits for the holder");

	my $seen = $node->safe_psql('postgres', 'SELECT asynx.safe_position()');
	my $highest = $node->safe_psql('postgres', 'SELECT max(position) FROM asynx.events');
	my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
	my $pid = $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)'");
	is(kill('KILL', $pid), 1, "round $round: the holder is killed");
	$_->{run}->finish foreach @writers, $holder;
	$node->poll_query_until('postgres', 'SELECT true') or die "the server did not come back";

	is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'),
		$started, "round $round: the server restarted itself");
	is($node->safe_psql('postgres', 'SELECT * FROM asynx.feed_status'),
		'', "round $round: nothing is in flight");
	my $safe = $node->safe_psql('postgres', 'SELECT asynx.safe_position()');
	cmp_ok($safe, '>=', $seen, "round $round: the safe position is not below what it was");
	cmp_ok($safe, '>=', $highest, "round $round: nor below an event that was committed");

	while (follow() > 0) { }
	cmp_ok($last, '>', $stop, "round $round: the feed goes on behind the holder");
	my $position = $node->safe_psql('postgres',
		"SELECT position FROM asynx.append('round-$round', 1, 'crash.over', '[]')");
	cmp_ok($position, '>', $safe, "round $round: positions go on above the safe one");
	is(follow(), 1, "round $round: the new event is in the feed");
	$node->restart if $round == 2;
}

is($repeated, 0, 'no position came twice or late');
my %stored = map { split / / } split /\n/,
  $node->safe_psql('postgres', "SELECT position || ' ' || id FROM asynx.events");
is_deeply(\%followed, \%stored, 'the feed had every event, and each is still there');
is($node->safe_psql('postgres', "SELECT asynx.exists('holder')"),
	'f', 'what the holder appended is not there');
stream_checks($node, 'afterwards');

$node->stop;
done_testing();
