# What read_all() has returned, and the safe position, survive a crash, also with
# synchronous_commit = off, where a commit alone promises nothing.
#
# The WAL writer is put to sleep, and there are no workers, so that what nobody flushed is lost with the
# server's memory.  Each round appends one event that read_all() hands out and one
# that a plain SELECT sees, then stops the server at once.  That the second one gets
# lost shows that the crash is a crash.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $rounds = 6;

my $node = store_node('durability', <<'CONF');
max_worker_processes = 0
fsync = on
synchronous_commit = off
wal_writer_delay = 10s
wal_writer_flush_after = 1GB
CONF

my %handed_out;    # position => id, of all that read_all() has ever returned
my $last = 0;      # how far it was followed
my $lost = 0;      # events that were committed and seen, but never handed out

# The extension itself was created with synchronous_commit = off.
$node->safe_psql('postgres', 'CHECKPOINT');

# Appends one event to a new aggregate; a session of its own, so nothing else commits in it.
sub append_one
{
	my ($id) = @_;
	$node->safe_psql('postgres', "SELECT FROM asynx.append('$id', 1, 'crash.survived', '[]')");
	return;
}

foreach my $round (1 .. $rounds)
{
	append_one("read-$round");
	my $rows = $node->safe_psql('postgres',
		"SELECT position || ' ' || id || ' ' || aggregate_id FROM asynx.read_all($last, 1000)");
	like($rows, qr/read-$round$/m, "round $round: the event is handed out at once");
	foreach my $row (split /\n/, $rows)
	{
		my ($position, $id) = split / /, $row;
		$handed_out{$position} = $id;
		$last = $position;
	}

	append_one("unread-$round");
	is( $node->safe_psql('postgres',
			"SELECT count(*) FROM asynx.events WHERE aggregate_id = 'unread-$round'"),
		'1', "round $round: a plain SELECT sees the other event");

	$node->stop('immediate');
	$node->start;

	$lost += $node->safe_psql('postgres',
		"SELECT count(*) = 0 FROM asynx.events WHERE aggregate_id = 'unread-$round'") eq 't';
	my @there = split /\n/,
	  $node->safe_psql('postgres', "SELECT position || ' ' || id FROM asynx.events");
	my %there = map { split / / } @there;
	my @missing = grep { ($there{$_} // '') ne $handed_out{$_} } sort keys %handed_out;
	is("@missing", '', "round $round: all that was handed out is still there, at its position");
}
note("$lost of $rounds events were lost that nobody had got from read_all");
cmp_ok($lost, '>', 0, 'the crash takes what was committed and not flushed');

# A position is taken by a transaction that rolls back, too.  The safe position passes
# it, and a reader that notes it must not find an event there after the crash.  The
# first draw after a restart writes the sequence's WAL record, and nobody else flushes
# it; without images of whole pages it stays within one page, most times.
$node->append_conf('postgresql.conf', "full_page_writes = off\n");
$node->restart;
foreach my $round (1 .. 4)
{
	$node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT FROM asynx.append('rolled-back', 1, 'crash.wasted', '[]');
ROLLBACK;
SQL
	my $safe = $node->safe_psql('postgres', 'SELECT asynx.safe_position()');
	$node->stop('immediate');
	$node->start;
	my $position = $node->safe_psql('postgres',
		"SELECT position FROM asynx.append('later-$round', 1, 'crash.later', '[]')");
	cmp_ok($position, '>', $safe,
		"rollback $round: no event at or below a safe position from before the crash");
	$node->restart;
}

stream_checks($node, 'afterwards');

$node->stop;
done_testing();
