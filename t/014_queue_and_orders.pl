# What is promised of commands that wait for each other: as many wait as asynx.queue_depth says,
# not one more or less, when all of them come at once; and send_many() never deadlocks, in
# whatever order the aggregates are named.
#
# Transactions that send the same commands one after the other must deadlock: were the load too
# tame, the verdict about send_many() would mean nothing.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $depth = 10;
my $rush = 32;
my $tries = 10_000;
my $names = 3;

my $node = store_node('queue', <<'CONF');
max_connections = 60
deadlock_timeout = 10ms
log_min_messages = fatal
CONF

$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION note(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN to_jsonb(coalesce(current::int, 0) + 1);
END $$;
SELECT asynx.create_command('note', 'default', 'noted', 'public.note');

CREATE TABLE came (result text);
CREATE PROCEDURE come() LANGUAGE plpgsql AS $$
BEGIN
  PERFORM asynx.send('note', 'wanted');
  INSERT INTO came VALUES ('sent');
EXCEPTION WHEN SQLSTATE 'SX005' THEN
  INSERT INTO came VALUES ('queue full');
END $$;
SQL

# The queue: everybody comes at once, and nobody leaves before the last one has come.
foreach my $round (1 .. 3)
{
	my $holder = $node->background_psql('postgres');

	$node->safe_psql('postgres', 'TRUNCATE came');
	$holder->query_safe('BEGIN');
	$holder->query_safe(q[SELECT FROM asynx.send('note', 'wanted')]);
	my @sessions = start_together($node,
		map { [ "SET asynx.queue_depth = $depth", 'CALL come()' ] } 1 .. $rush);
	my $refused = $rush - $depth;
	ok($node->poll_query_until('postgres', <<"SQL"), "round $round: so many wait, others do not");
SELECT (SELECT count(*) FROM came) = $refused AND
  (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted) = $depth
SQL
	$holder->query_safe('COMMIT');
	$holder->quit;
	is(finish_sessions(@sessions), 0, "round $round: all sessions came to the end");
	is( $node->safe_psql('postgres', 'SELECT result, count(*) FROM came GROUP BY 1 ORDER BY 1'),
		"queue full|$refused\nsent|$depth", "round $round: who waited has sent");
	is( $node->safe_psql('postgres', "SELECT asynx.get('wanted')"),
		$round * ($depth + 1), "round $round: and nobody else");
}

# The orders: three aggregates, in any order.
my $shuffle = <<"SQL";
\\set a random(1, $names)
\\set b :a % $names + 1
\\set c :b % $names + 1
\\set d :b
\\set turn random(0, 1)
\\if :turn
\\set b :c
\\set c :d
\\endif
SQL

# Lets pgbench run a script of commands on :a, :b and :c, and returns how many deadlocks there were.
sub deadlocks
{
	my ($script, $transactions, $clients, @options) = @_;
	my $file = $node->basedir . '/script.sql';
	my $sum = 'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()';
	my $before = $node->safe_psql('postgres', $sum);

	append_to_file($file, $shuffle . $script);
	$node->command_ok(
		[
			'pgbench', '-n', '-M', 'prepared', '-c', $clients, '-j', 2, @options,
			'-t', $transactions / $clients, '-f', $file, 'postgres'
		],
		"$transactions transactions");
	unlink $file;
	wait_for_no_sessions($node, 'pgbench');
	return $node->safe_psql('postgres', $sum) - $before;
}

my $element = q[jsonb_build_object('command', 'note', 'aggregate_id', 'order-' || %s)];
my $elements = join ', ', map { sprintf $element, $_ } qw(:a::int :b::int :c::int);
is(deadlocks("SELECT count(*) FROM asynx.send_many(jsonb_build_array($elements));\n", $tries, 8),
	0, 'send_many() in opposite orders never deadlocks');
is( $node->safe_psql('postgres', <<'SQL'), $tries * $names, 'every command was carried out');
SELECT sum(asynx.get('order-' || i)::bigint) FROM generate_series(1, 3) AS i
SQL

my @sends = map { "SELECT version FROM asynx.send('note', 'order-' || $_\::int);\n" } qw(:a :b :c);
my $deadlocks = deadlocks("BEGIN;\n@{sends}COMMIT;\n", 200, 2, '--max-tries', 1000);
cmp_ok($deadlocks, '>', 0, "transactions that send in such orders do, $deadlocks times");
stream_checks($node, 'afterwards');

$node->stop;
done_testing();
