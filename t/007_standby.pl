# A streaming standby answers all that can be answered without writing: states, streams,
# lists, and the feed up to the mark that the primary left.  What writes says so.  After a
# promotion it is a primary: appends go on above all positions, and so does the feed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $primary = store_node('primary', "max_worker_processes = 0\n", allows_streaming => 1);
$primary->safe_psql('postgres', <<'SQL');
SELECT asynx.create_aggregate_type('order', 1, '{"n": 0}', 5);
SELECT count(asynx.append('order-' || o, v, 'order.counted',
    jsonb_build_array(jsonb_build_object('op', 'replace', 'path', '/n', 'value', v)),
    aggregate_type => CASE v WHEN 1 THEN 'order' END,
    occurred_at => '2020-01-01'::timestamptz + v * '1 day'::interval))
  FROM generate_series(1, 10) AS o, generate_series(1, 12) AS v;
SELECT FROM asynx.write('written', 'some.state', '{"a": [1, 2, 3]}', snapshot => true);
SQL

$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_worker_processes = 8\n");
$standby->start;

# Both servers give the same answer, and it is not empty.
sub same_answer
{
	my ($name, $sql) = @_;
	my $expected = $primary->safe_psql('postgres', $sql);

	$primary->wait_for_catchup($standby);
	isnt($expected, '', "$name: the primary answers");
	is($standby->safe_psql('postgres', $sql), $expected, "$name: the standby answers the same");
	return;
}

# Without a snapshot, too: the standby cannot leave one.
$primary->safe_psql('postgres', "SELECT asynx.delete_snapshot('order-3')");
same_answer('get', "SELECT asynx.get('order-' || n) FROM generate_series(1, 10) AS n");
same_answer('get a version', "SELECT asynx.get('order-3', 7), asynx.get('order-3', 0)");
same_answer('get_at', "SELECT asynx.get_at('order-2', '2020-01-05 12:00')");
same_answer('replay', "SELECT * FROM asynx.replay('order-4', 3, 9)");
same_answer('read_from', "SELECT * FROM asynx.read_from('order-5', 4)");
same_answer('read_range', "SELECT * FROM asynx.read_range('order-5', 4, 3)");
same_answer('count',
	"SELECT asynx.count('order-1', 0), asynx.exists('order-1'), asynx.exists('x')");
same_answer('aggregates', "SELECT * FROM asynx.aggregates('order'), asynx.lifecycle_state()");
same_answer('get_snapshot', "SELECT * FROM asynx.get_snapshot('written')");

is($standby->safe_psql('postgres', "SELECT asynx.preload('order-3')"),
	'', 'preload: the standby just answers');
is($standby->safe_psql('postgres', "SELECT * FROM asynx.get_snapshot('order-3')"),
	'', 'and leaves no snapshot');

# The feed ends at the mark.
sub feed_of_standby
{
	return $standby->safe_psql('postgres',
		'SELECT count(*), coalesce(max(position), 0), asynx.safe_position() '
		  . 'FROM asynx.read_all(0, 1000000)');
}

sub set_mark
{
	my ($position) = @_;
	$primary->safe_psql('postgres',
		"UPDATE asynx.feed_mark SET position = $position, noted_at = now()");
	$primary->wait_for_catchup($standby);
	return;
}

set_mark(0);
is(feed_of_standby(), '0|0|0', 'feed: nothing without a mark');
set_mark(50);
is(feed_of_standby(), '50|50|50', 'feed: up to the mark');
$primary->safe_psql('postgres', "SELECT FROM asynx.append('order-1', 13, 'order.counted', '[]')");
$primary->wait_for_catchup($standby);
is(feed_of_standby(), '50|50|50', 'feed: what is behind the mark waits');
my $safe = $primary->safe_psql('postgres', 'SELECT asynx.safe_position()');
set_mark($safe);
is(feed_of_standby(), "$safe|$safe|$safe", 'feed: the mark moves, the feed moves');
same_answer('feed', 'SELECT * FROM asynx.read_all(30, 1000)');
same_answer('feed with a pattern', "SELECT * FROM asynx.read_all(0, 1000, 'some.state')");

# With workers the mark moves by itself.
$primary->append_conf('postgresql.conf', "max_worker_processes = 8\n");
$primary->restart;
$primary->safe_psql('postgres', "SELECT FROM asynx.append('order-2', 13, 'order.counted', '[]')");
$safe = $primary->safe_psql('postgres', 'SELECT asynx.safe_position()');
ok($standby->poll_query_until('postgres', "SELECT asynx.safe_position() >= $safe"),
	'feed: the workers of the primary move the mark');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM asynx.workers()'),
	0, 'the standby has no workers of its own');

# What writes cannot.
my %writes = (
	append => "SELECT asynx.append('order-1', 14, 'order.counted', '[]')",
	append_many => "SELECT asynx.append_many(jsonb_build_array(jsonb_build_object("
	  . "'aggregate_id', 'x', 'version', 1, 'event_name', 'some.event', 'patch', '[]'::jsonb)))",
	write => "SELECT asynx.write('order-1', 'order.counted', '{}')",
	delete => "SELECT asynx.delete('order-1')",
	put_snapshot => q(SELECT asynx.put_snapshot('order-3', 12, '{"n": 12}')),
	delete_snapshot => "SELECT asynx.delete_snapshot('written')",
	create_aggregate_type => "SELECT asynx.create_aggregate_type('late')",
	alter_aggregate_type => "SELECT asynx.alter_aggregate_type('order', 2)",
	drop_aggregate_type => "SELECT asynx.drop_aggregate_type('order')",
	subscribe => "SELECT asynx.subscribe('x', mode => 'pull', name => 'x')",
	fetch => "SELECT asynx.fetch('x')",
	pause => "SELECT asynx.pause('x')",
	publish => "SELECT asynx.publish('order-1', 1)",
	publish_sync => "SELECT asynx.publish_sync('order-1', 1)",
	shutdown => 'CALL asynx.shutdown()',
	resume => 'SELECT asynx.resume()');
foreach my $function (sort keys %writes)
{
	is(sqlstate_of($standby, 'postgres', $writes{$function}),
		'25006', "$function: refused on a standby, read-only");
}

# Promotion.  The primary goes without a last word, with an append open.
my $open = $primary->background_psql('postgres');
$open->query_safe('BEGIN');
$open->query_safe("SELECT FROM asynx.append('never', 1, 'some.state', '[]')");
$primary->safe_psql('postgres', "SELECT FROM asynx.append('order-1', 14, 'order.counted', '[]')");
my $highest = $primary->safe_psql('postgres', 'SELECT max(position) FROM asynx.events');
cmp_ok($primary->safe_psql('postgres', 'SELECT asynx.safe_position()'),
	'<', $highest, 'promotion: the old primary held its feed back');
$primary->wait_for_catchup($standby);
my $handed_out = $standby->safe_psql('postgres', 'SELECT asynx.safe_position()');
$primary->stop('immediate');
$standby->promote;

is($standby->safe_psql('postgres', 'SELECT * FROM asynx.feed_status'),
	'', 'promotion: nothing is in flight');
is( $standby->safe_psql('postgres', "SELECT max(position) FROM asynx.read_all($handed_out, 1000)"),
	$highest, 'promotion: the feed goes on from where the standby was');
cmp_ok($standby->safe_psql('postgres', 'SELECT asynx.safe_position()'),
	'>=', $highest, 'promotion: the safe position is above all events');
my $position = $standby->safe_psql('postgres',
	"SELECT position FROM asynx.append('order-1', 15, 'order.counted', '[]')");
cmp_ok($position, '>', $highest, 'promotion: positions go on');
is($standby->safe_psql('postgres', "SELECT version FROM asynx.write('order-1', 'x', '{\"n\": 1}')"),
	16, 'promotion: write works');
is($standby->safe_psql('postgres', "SELECT asynx.exists('never')"),
	'f', 'promotion: the open append never happened');
$standby->safe_psql('postgres', "SELECT asynx.preload('order-3')");
is($standby->safe_psql('postgres', "SELECT version FROM asynx.get_snapshot('order-3')"),
	12, 'promotion: preload leaves a snapshot');
stream_checks($standby, 'promotion');

$open->{run}->kill_kill;
$standby->stop;
done_testing();
