# A server without asynx in shared_preload_libraries: the extension can be created and
# restored, JSON and the reads of single aggregates work, and what needs the shared
# registry of positions says what is missing.  With the library everything works.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('notloaded');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\n");
$node->start;

# Raises not_loaded, with a way out.
sub refuses
{
	my ($name, $sql) = @_;
	my ($stdout, $stderr);

	$node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stdout => \$stdout,
		stderr => \$stderr);
	like($stderr, qr/ERROR:  SX011: .*HINT:  .*shared_preload_libraries/s, "$name: not_loaded");
	return;
}

my %needs_registry = (
	append => "SELECT asynx.append('new', 1, 'some.event', '[]')",
	append_many => "SELECT asynx.append_many(jsonb_build_array(jsonb_build_object("
	  . "'aggregate_id', 'new', 'version', 1, 'event_name', 'some.event', 'patch', '[]'::jsonb)))",
	write => "SELECT asynx.write('new', 'some.event', '{}')",
	read_all => 'SELECT * FROM asynx.read_all(0, 10)',
	safe_position => 'SELECT asynx.safe_position()',
	feed_status => 'SELECT * FROM asynx.feed_status',
	insert => q(INSERT INTO asynx.events (aggregate_id, version, id, aggregate_type, event_name,
		schema_version, occurred_at, patch) VALUES ('new', 1, gen_random_uuid(), 'default', 'x',
		1, now(), '[]')));

$node->safe_psql('postgres', 'CREATE EXTENSION asynx');
refuses($_, $needs_registry{$_}) foreach sort keys %needs_registry;

# A library that a session loads late is not preloaded.
refuses("LOAD, then $_", "LOAD 'asynx'; $needs_registry{$_}") foreach qw(append read_all);

is($node->safe_psql('postgres', <<'SQL'), '{"a": 2}|2|[{"op": "remove", "path": "/a"}]', 'JSON');
SELECT asynx.json_patch('{"a": 1}', '[{"op": "replace", "path": "/a", "value": 2}]'),
       asynx.json_pointer('{"a": [1, 2]}', '/a/1'), asynx.json_diff('{"a": 1}', '{}')
SQL
is($node->safe_psql('postgres', "SELECT 'order.paid' ~ asynx.topic('order.*')"),
	't', 'topic');
is($node->safe_psql('postgres', "SELECT asynx.exists('new'), asynx.count('new', 0)"),
	'f|0', 'an empty store can be read');
is(sqlstate_of($node, 'postgres', "SELECT asynx.get('new')"), 'SX001', 'get knows nobody');
is($node->safe_psql('postgres', 'SELECT count(*) FROM asynx.aggregates()'), 0, 'no aggregates');
$node->safe_psql('postgres', "SELECT asynx.create_aggregate_type('order', 1, '{\"n\": 0}')");
is($node->safe_psql('postgres', 'SELECT asynx.lifecycle_state()'),
	'running', 'lifecycle_state');

# With the library: fill the store, and dump it.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'asynx'\n");
$node->restart;
$node->safe_psql('postgres', <<'SQL');
SELECT count(asynx.append('order-1', v, 'order.counted',
    jsonb_build_array(jsonb_build_object('op', 'replace', 'path', '/n', 'value', v)),
    aggregate_type => 'order')) FROM generate_series(1, 12) AS v;
SQL
is($node->safe_psql('postgres', 'SELECT count(*) FROM asynx.read_all(0, 100)'),
	12, 'loaded: everything works');
my $file = PostgreSQL::Test::Utils::tempdir . '/dump';
$node->command_ok([ 'pg_dump', '--no-sync', '-Fc', '-f', $file, '-d', $node->connstr('postgres') ],
	'loaded: dump');

# Without it again: what is stored can be read, dumped and restored.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
$node->command_ok(
	[ 'pg_dump', '--no-sync', '-Fc', '-f', "$file.2", '-d', $node->connstr('postgres') ],
	'not loaded: dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok(
	[ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), "$file.2" ],
	'not loaded: restore');
foreach my $database (qw(postgres restored))
{
	is($node->safe_psql($database, "SELECT asynx.get('order-1'), asynx.get('order-1', 5)"),
		'{"n": 12}|{"n": 5}', "not loaded, $database: states");
	is($node->safe_psql($database, "SELECT count(*), max(version) FROM asynx.replay('order-1')"),
		'12|12', "not loaded, $database: replay");
	is( $node->safe_psql($database, "SELECT sum(version) FROM asynx.read_range('order-1', 3, 2)"),
		7, "not loaded, $database: read_range");
	is($node->safe_psql($database, 'SELECT aggregate_id, version FROM asynx.aggregates()'),
		'order-1|12', "not loaded, $database: aggregates");
	is(sqlstate_of($node, $database, 'TRUNCATE asynx.events'),
		'55000', "not loaded, $database: the log refuses TRUNCATE");
	is(sqlstate_of($node, $database, "SELECT asynx.append('order-1', 13, 'order.counted', '[]')"),
		'SX011', "not loaded, $database: append is refused");
}

# And with it.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'asynx'\n");
$node->restart;
foreach my $database (qw(postgres restored))
{
	my $highest = $node->safe_psql($database, 'SELECT max(position) FROM asynx.events');
	cmp_ok(
		$node->safe_psql($database,
			"SELECT position FROM asynx.append('order-1', 13, 'order.counted', '[]')"),
		'>', $highest, "loaded again, $database: append");
	stream_checks($node, "loaded again, $database", $database);
}

$node->stop;
done_testing();
