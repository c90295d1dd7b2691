# Only transactions that have appended hold the feed back.  One that is idle with an
# xid, one that wrote to a table of its own, one in REPEATABLE READ, and those that have
# given their append back or failed after it delay it by nothing.  That an open append
# does is the other side of it, and asynx.feed_status names who it is.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $node = store_node('unrelated', "max_prepared_transactions = 5\n");
$node->safe_psql('postgres', 'CREATE TABLE own (n int)');

# A session with a transaction left open after these statements.
sub open_transaction
{
	my ($begin, @statements) = @_;
	my $session = $node->background_psql('postgres');

	$session->query_safe($begin);
	$session->query_safe($_) foreach @statements;
	return $session;
}

# Appends the first event of an aggregate and returns its position.
sub append
{
	my ($id) = @_;
	return $node->safe_psql('postgres',
		"SELECT position FROM asynx.append('$id', 1, 'feed.moved', '[]')");
}

# Where the feed ends.
sub feed_end
{
	return $node->safe_psql('postgres', 'SELECT max(position) FROM asynx.read_all(0, 1000000)');
}

append('before');
my %open = (
	'with an xid' => open_transaction('BEGIN', 'SELECT pg_current_xact_id()'),
	'that wrote elsewhere' => open_transaction('BEGIN', 'INSERT INTO own VALUES (1)'),
	'in REPEATABLE READ' => open_transaction(
		'BEGIN ISOLATION LEVEL REPEATABLE READ',
		'SELECT pg_current_xact_id()', 'SELECT count(*) FROM asynx.events'),
	'in SERIALIZABLE' => open_transaction(
		'BEGIN ISOLATION LEVEL SERIALIZABLE',
		'INSERT INTO own VALUES (2)', "SELECT asynx.get('before')"),
	'that gave its append back' => open_transaction(
		'BEGIN', 'SAVEPOINT s', "SELECT FROM asynx.append('given-back', 1, 'feed.moved', '[]')",
		'ROLLBACK TO s'),
	'after one that rolled back' => open_transaction(
		'BEGIN', "SELECT FROM asynx.append('given-back', 1, 'feed.moved', '[]')", 'ROLLBACK',
		'BEGIN', 'SELECT pg_current_xact_id()'),
);

# One that has failed after its append and was not ended yet; it has no xid any more.
my $failed = $node->background_psql('postgres', on_error_stop => 0);
$failed->query($_)
  foreach 'BEGIN', "SELECT FROM asynx.append('failed', 1, 'feed.moved', '[]')", 'SELECT 1 / 0';
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction (aborted)'"),
	1, 'a transaction that appended has failed');
$node->safe_psql('postgres', "BEGIN; INSERT INTO own VALUES (3); PREPARE TRANSACTION 'unrelated'");
is($node->safe_psql('postgres', <<'SQL'), keys(%open) + 1, 'transactions with an xid are open');
SELECT (SELECT count(backend_xid) FROM pg_stat_activity) + (SELECT count(*) FROM pg_prepared_xacts)
SQL

foreach my $n (1 .. 5)
{
	my $position = append("meanwhile-$n");

	is(feed_end(), $position, "event $n is in the feed as soon as it is committed");
	is($node->safe_psql('postgres', 'SELECT asynx.safe_position()'),
		$position, "the safe position is at event $n");
}
is($node->safe_psql('postgres', 'SELECT * FROM asynx.feed_status'),
	'', 'none of the open transactions is a holder');

# Now one that appends, and nothing else changes.
my $position = append('last');
my $holder = open_transaction('BEGIN', "SELECT FROM asynx.append('held', 1, 'feed.moved', '[]')");
my $pid = $holder->query_safe('SELECT pg_backend_pid()');
my $behind = append('behind');

is(feed_end(), $position, 'an open append holds the feed back');
is($node->safe_psql('postgres', 'SELECT asynx.safe_position()'),
	$position, 'and the safe position');
is($node->safe_psql('postgres', 'SELECT pid, position FROM asynx.feed_status'),
	"$pid|" . ($position + 1), 'asynx.feed_status names it');
is($node->safe_psql('postgres', <<"SQL"), 't', 'and tells since when');
SELECT f.since = a.xact_start FROM asynx.feed_status f JOIN pg_stat_activity a USING (pid)
SQL
$holder->query_safe('SAVEPOINT s');
$holder->query_safe("SELECT FROM asynx.append('more', 1, 'feed.moved', '[]')");
$holder->query_safe('ROLLBACK TO s');
is(feed_end(), $position, 'giving back a later append does not let go of the first');
$holder->query_safe('COMMIT');
is(feed_end(), $behind, 'its commit lets the feed go on');
is( $node->safe_psql('postgres',
		"SELECT string_agg(aggregate_id, ' ') FROM asynx.read_all($position, 100)"),
	'held behind', 'with all events in their order');

# A prepared transaction would outlive its backend, so one that appended is refused.
is( sqlstate_of($node, 'postgres',
		"BEGIN; SELECT FROM asynx.append('2pc', 1, 'feed.moved', '[]'); PREPARE TRANSACTION 'x'"),
	'0A000', 'PREPARE TRANSACTION after an append is refused');
is(feed_end(), $behind, 'and leaves nothing in the feed');
is( sqlstate_of($node, 'postgres', "BEGIN; SELECT asynx.delete('more'); PREPARE TRANSACTION 'x'"),
	'0A000', 'PREPARE TRANSACTION after an erasure is refused');

$holder->quit;
$failed->quit;
foreach my $session (values %open)
{
	$session->query_safe('ROLLBACK');
	$session->quit;
}
$node->safe_psql('postgres', "ROLLBACK PREPARED 'unrelated'");
stream_checks($node, 'afterwards');

$node->stop;
done_testing();
