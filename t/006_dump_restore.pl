# A dump carries the whole store: every row of every table, and how far positions
# have been taken, also when the events at the end are gone.  It carries neither the
# lifecycle nor the feed mark, so a restored store with subscriptions is dormant until
# somebody says that it may run.  Stores of one cluster do not disturb each other.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my @tables = qw(events snapshots aggregate_types upcasters commands subscriptions checkpoints
  failures tombstones);

# Handlers rest, so that nothing moves while it is compared.
my $node = store_node('dump', "asynx.max_workers = 0\n");
my $files = PostgreSQL::Test::Utils::tempdir;

$node->safe_psql('postgres', 'CREATE DATABASE origin');
$node->safe_psql('origin', <<'SQL');
CREATE EXTENSION asynx;
SELECT asynx.create_aggregate_type('order', 3, '{"lines": []}', 10);
SELECT asynx.create_aggregate_type('account');

-- Streams with snapshots, with metadata, with what makes trouble in a text dump.
SELECT count(asynx.append('order-' || o, v, 'order.changed',
    jsonb_build_array(jsonb_build_object(
      'op', 'add', 'path', '/lines/-', 'value', E'tab\t quote '' backslash \\ \u00e4 ' || v)),
    aggregate_type => CASE v WHEN 1 THEN 'order' END, metadata => '{"by": "\\N"}'))
  FROM generate_series(1, 20) AS o, generate_series(1, 25) AS v;
SELECT count(asynx.write('account-' || n, 'account.opened', jsonb_build_object('n', n),
    aggregate_type => 'account', snapshot => true)) FROM generate_series(1, 20) AS n;
SELECT asynx.preload('order-' || o) FROM generate_series(1, 20) AS o;
SELECT FROM asynx.append(E'odd \t''"\\ \u00fc\n', 1, 'odd.id', '[]');

-- The highest positions are used and gone.
SELECT count(asynx.append('gone', v, 'gone.soon', '[]')) FROM generate_series(1, 50) AS v;
SELECT asynx.delete('gone');

INSERT INTO asynx.upcasters VALUES ('order', 1, 'public.up(text,jsonb)', 'postgres');
INSERT INTO asynx.commands VALUES
  ('order.change', 'order', 'order.changed', NULL, 'public.emit(jsonb,jsonb)', false, 'postgres');
INSERT INTO asynx.subscriptions VALUES
  ('mail', 'order.*', 'async', 'public.mail(asynx.event)', NULL, '5 s', NULL, 0, 4, 3, '2 s',
   'park', 'running', NULL, 'postgres'),
  ('feed', '.*', 'pull', NULL, NULL, NULL, NULL, 0, 1, 1, '1 s', 'continue', 'paused',
   'by hand', 'postgres');
INSERT INTO asynx.checkpoints VALUES ('mail', 0, 17), ('mail', 3, 11), ('feed', 0, 400);
INSERT INTO asynx.failures VALUES
  ('mail', 12, 'order-1', 12, 'dead', 3, NULL, '22012', 'division by zero', now()),
  ('mail', 13, 'order-1', 13, 'parked', 0, 'infinity', NULL, NULL, NULL);
-- A forgotten aggregate, and a hook and a subscription that were told of it.
CREATE FUNCTION public.told(asynx.event) RETURNS void LANGUAGE sql AS '';
SELECT asynx.on_forget('public.told');
SELECT asynx.subscribe('asynx.*', 'public.told', 'told', mode => 'inline');
SELECT asynx.write('forgotten', 'order.created', '{}');
SELECT asynx.forget('forgotten');
INSERT INTO asynx.lifecycle VALUES (true, 'stopped', now());
UPDATE asynx.feed_mark SET position = 123;
CREATE TABLE public.readers_own (position bigint);
SQL

# All rows of all tables, as text.
sub content
{
	my ($database) = @_;
	my %content = map {
		$_ => $node->safe_psql($database, "COPY (SELECT * FROM asynx.$_ AS t ORDER BY t) TO STDOUT")
	} @tables;
	return \%content;
}

# Every state, as the store answers; their number and a digest.
sub states
{
	my ($database) = @_;
	return $node->safe_psql($database, <<'SQL');
SELECT count(*), md5(string_agg(aggregate_id || asynx.get(aggregate_id), '' ORDER BY aggregate_id))
FROM asynx.aggregates(NULL, NULL, 1000)
SQL
}

my $content = content('origin');
my $states = states('origin');
like($states, qr/^41\|/, 'the origin has 41 aggregates');
my $taken = $node->safe_psql('origin', 'SELECT last_value FROM asynx.positions');
my $highest = $node->safe_psql('origin', 'SELECT max(position) FROM asynx.events');

foreach my $table (@tables)
{
	isnt($content->{$table}, '', "the origin has rows in \"$table\"");
}
cmp_ok($taken, '>=', $highest + 50, 'the highest positions belong to nobody any more');

# A restored database: the same rows, positions go on, dormant until resume().
sub check_restored
{
	my ($database, $how) = @_;

	is_deeply(content($database), $content, "$how: every table has every row");
	is(states($database), $states, "$how: every state is the same");
	is($node->safe_psql($database, 'SELECT count(*) FROM asynx.lifecycle'),
		0, "$how: the lifecycle stays behind");
	is( $node->safe_psql($database,
			'SELECT position <= asynx.safe_position() FROM asynx.feed_mark'),
		't', "$how: the feed mark begins anew");
	is($node->safe_psql($database, 'SELECT asynx.lifecycle_state()'),
		'dormant', "$how: the copy is dormant");
	is($node->safe_psql($database, 'SELECT asynx.resume(); SELECT asynx.lifecycle_state()'),
		"\nrunning", "$how: resume() lets it run");
	check_goes_on($database, $how);
	# --disable-triggers ends with ENABLE TRIGGER ALL, which takes "always" from those that had it
	is( $node->safe_psql($database,
			"SELECT string_agg(tgenabled, '' ORDER BY tgname) FROM pg_trigger "
				. "WHERE tgrelid = 'asynx.events'::regclass"),
		$how =~ /without triggers/ ? 'OOO' : 'OAA', "$how: the guard is on");
	is(sqlstate_of($node, $database, 'DELETE FROM asynx.events'), '55000',
		"$how: the log refuses DELETE");
	return;
}

# A copy takes up positions where the origin was, and its feed is complete.
sub check_goes_on
{
	my ($database, $how) = @_;

	cmp_ok(
		$node->safe_psql($database,
			"SELECT position FROM asynx.append('order-1', 26, 'order.changed', '[]')"),
		'>', $taken, "$how: positions go on above the highest ever taken");
	stream_checks($node, $how, $database);
	return;
}

sub create_database
{
	my ($database, @sql) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, $_) foreach @sql;
	return;
}

my @dump = ('pg_dump', '--no-sync', '-d', $node->connstr('origin'));
my @restore = ('pg_restore', '--exit-on-error');

$node->command_ok([ @dump, '-Fp', '-f', "$files/plain" ], 'dump, plain');
$node->command_ok([ @dump, '-Fc', '-f', "$files/custom" ], 'dump, custom');
$node->command_ok([ @dump, '-Fp', '--inserts', '-f', "$files/inserts" ], 'dump, as INSERTs');
$node->command_ok([ @dump, '-Fc', '--data-only', '-f', "$files/data" ], 'dump, data only');
$node->command_ok([ @dump, '-Fc', '-n', 'asynx', '-f', "$files/schema" ],
	'dump, only schema asynx');

foreach my $format (qw(plain inserts))
{
	create_database($format);
	$node->command_ok(
		[ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($format),
			'-f', "$files/$format" ], "restore, $format");
	check_restored($format, $format);
}

create_database('custom');
$node->command_ok([ @restore, '-d', $node->connstr('custom'), "$files/custom" ], 'restore, custom');
check_restored('custom', 'custom');

create_database('parallel');
$node->command_ok([ @restore, '-j', '2', '-d', $node->connstr('parallel'), "$files/custom" ],
	'restore, in parallel');
check_restored('parallel', 'parallel');

my @prepared = ('CREATE EXTENSION asynx', 'CREATE TABLE public.readers_own (position bigint)');
create_database('data', @prepared);
$node->command_ok([ @restore, '-d', $node->connstr('data'), "$files/data" ], 'restore, data only');
check_restored('data', 'data only');

create_database('disabled', @prepared);
$node->command_ok(
	[ @restore, '--disable-triggers', '-d', $node->connstr('disabled'), "$files/data" ],
	'restore, data only without triggers');
check_restored('disabled', 'data only without triggers');

# A dump of the schema alone has the rows, but not the extension, which must be there.
create_database('onlyschema', @prepared);
$node->command_ok(
	[ @restore, '--data-only', '-d', $node->connstr('onlyschema'), "$files/schema" ],
	'restore, only schema asynx');
check_restored('onlyschema', 'only schema asynx');

# A second round: what was restored can be dumped and restored again.
$node->command_ok(
	[ 'pg_dump', '--no-sync', '-Fc', '-f', "$files/again", '-d', $node->connstr('custom') ],
	'dump of a restored store');
create_database('again');
$node->command_ok([ @restore, '-d', $node->connstr('again'), "$files/again" ], 'restore, again');
is($node->safe_psql('again', 'SELECT asynx.get($$order-1$$)'),
	$node->safe_psql('custom', 'SELECT asynx.get($$order-1$$)'), 'again: states are the same');
is($node->safe_psql('again', 'SELECT asynx.lifecycle_state()'),
	'dormant', 'again: it sleeps again, though its origin was running');

# A store without subscriptions has nothing that could run twice: it is not dormant.
$node->command_ok(
	[ 'pg_dump', '--no-sync', '-Fc', '-f', "$files/quiet", '-d', $node->connstr('postgres') ],
	'dump of a store without subscriptions');
create_database('quiet');
$node->command_ok([ @restore, '-d', $node->connstr('quiet'), "$files/quiet" ], 'restore, quiet');
is($node->safe_psql('quiet', 'SELECT asynx.lifecycle_state()'), 'running', 'quiet: it runs');

# A TEMPLATE copy is a copy of everything, the lifecycle, too.
$node->safe_psql('postgres', 'CREATE DATABASE twin TEMPLATE origin');
is_deeply(content('twin'), $content, 'template: every table has every row');
is($node->safe_psql('twin', 'SELECT asynx.lifecycle_state()'),
	'stopped', 'template: the lifecycle is copied');
check_goes_on('twin', 'template');

# Two stores of one cluster: an open append in one holds back that one alone, and
# each counts its own positions.
my $safe_before = $node->safe_psql('origin', 'SELECT asynx.safe_position()');
my $open = $node->background_psql('twin');
$open->query_safe('BEGIN');
$open->query_safe("SELECT FROM asynx.append('order-2', 26, 'order.changed', '[]')");
my $position = $node->safe_psql('origin',
	"SELECT position FROM asynx.append('order-1', 26, 'order.changed', '[]')");
is($position, $safe_before + 1, 'two stores: positions are counted in each');
is($node->safe_psql('origin', 'SELECT asynx.safe_position()'),
	$position, 'two stores: an append elsewhere holds nothing back');
is($node->safe_psql('origin', 'SELECT count(*) FROM asynx.feed_status'),
	0, 'two stores: the holder is not shown elsewhere');
is($node->safe_psql('twin', 'SELECT count(*) FROM asynx.feed_status'),
	1, 'two stores: the holder is shown at home');
$node->safe_psql('twin', "SELECT FROM asynx.append('order-3', 26, 'order.changed', '[]')");
is( $node->safe_psql('twin',
		"SELECT count(*) FROM asynx.events WHERE position > asynx.safe_position()"),
	1, 'two stores: at home the feed waits');
$open->query_safe('COMMIT');
$open->quit;
stream_checks($node, 'two stores', $_) foreach qw(origin twin);

$node->stop;
done_testing();
