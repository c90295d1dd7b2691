# Calls every function of the extension with arguments that nobody should pass: NULL, blank,
# huge, too deep, of the wrong shape, from the wrong role, in the wrong transaction.
#
# The functions come from pg_proc, so none is forgotten.  A call may return or fail, but no
# backend dies, no error is an internal one, each has an SQLSTATE from the list below, the
# session goes on, and afterwards the store is whole.
#
# CALLS says how many, SEED repeats a run.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $calls = $ENV{CALLS} // 3000;
my $seed = $ENV{SEED} // (time ^ $$) % 1_000_000;

# Every SQLSTATE that a call may end with, and who raises it.
my %explained = (
	'0A000' => 'the server: a type that no query can return; a snapshot that does not move',
	'2201B' => 'a pattern that is no regular expression',
	'22003' => 'the server: a number beyond its type',
	'22004' => 'the server: NULL where a type forbids it',
	'22007' => 'a member of append_many\'s events that is no time',
	'22008' => 'the server: a time beyond its type',
	'22023' => 'an argument that is NULL, blank, too long, negative or beyond its range',
	'22P05' => 'the server: jsonb cannot hold the character 0',
	'22P02' => 'a member of append_many\'s events that is not what it should be',
	'25001' => 'waiting in a transaction that has written',
	'25006' => 'writing in a read-only transaction',
	'2D000' => 'a procedure that commits, within a transaction block',
	'39P01' => 'a trigger function called by hand',
	'40001' => 'writing in a transaction whose snapshot is older than the aggregate',
	'42501' => 'the role may not call the function',
	'42804' => 'the server: a trigger function in FROM',
	'42883' => 'the server: no query has a value of type internal',
	'42809' => 'the positions of something that is no sequence',
	'42P17' => 'a function that is not declared as its purpose needs it',
	'42704' => 'an aggregate type that does not exist',
	'42710' => 'an aggregate type that exists already',
	'54000' => 'the server: jsonb cannot be that large',
	'54001' => 'the server: text nested too deep for its parser',
	'55006' => 'an aggregate type that is in use',
	'57014' => 'statement_timeout',
	'SX001' => 'aggregate_not_found',
	'SX002' => 'validation_failed',
	'SX003' => 'version_conflict',
	'SX004' => 'pipeline_failed',
	'SX006' => 'shutting_down',
	'SX007' => 'already_shutting_down',
	'SX008' => 'bus_closed',
	'SX009' => 'handler_missing',
	'SX010' => 'pattern_empty',
	'SX012' => 'forget_failed',
	'SX014' => 'invalid_patch',
	'SX015' => 'patch_failed',
	'SX016' => 'patch_test_failed',
	'SX017' => 'version_gap',
	'SX018' => 'document_limit');

# Arguments by type, as SQL expressions.  "hN" are the aggregates that some calls do fill.
my %hostile = (
	text => [
		"NULL", "''", "' '", "E'\\t\\n'", "'h1'", "'h2'", "'h3'", "'h4'", "'h1'", "'h2'",
		"repeat('x', 1000)", "repeat('x', 1001)", "repeat(chr(233), 501)", "repeat('y', 1000000)",
		"repeat('z', 200)", "repeat('z', 201)", "'order.created'", "'order.paid'", "'asynx.evil'",
		"'hostile_type'", "'new_type_' || (random() * 3)::int", "'%'", "E'\\\\'", "'***=x'",
		"'(?i)a'", "'^(a+)+\$'", "'(((((a*)*)*)*)*)*b'", "repeat('(', 5000)", "repeat('a?', 500)",
		"repeat('(', 3000) || 'a' || repeat(')', 3000)", "'[z-a]'", "'a{1,256}'",
		"'(a{1,255}){1,255}'", "'a)|(b'", "'(.*)\\1'", "'\\u0000'", "E'\\x01'", "'a\"b''c;--'",
		"U&'\\202E'", "'\$1'", "'/a/b'", "'/~2'", "'~'", "'/' || repeat('9', 30)",
		"repeat('/a', 3000)", "repeat('/', 100000)", "'*'", "'*.*.*'", "repeat('*.', 1000)",
		"chr(1114111)", "'inline'", "'inline'", "'stop'", "'continue'", "'hostile.command'",
		"'hostile.handle'", "'hostile.handle'", "'hostile.hook(asynx.event, jsonb)'",
		"'hostile.emit'", "'hostile.upcast'", "'hostile.handle('", "'pg_catalog.now()'"
	],
	bigint => [
		"NULL", "0", "1", "2", "3", "10", "1000", "-1", "9223372036854775807",
		"-9223372036854775808", "2147483648", "4294967296",
		map { ("(SELECT count(*) + 1 FROM asynx.events WHERE aggregate_id = '$_')") x 3 }
		  qw(h1 h2 h3 h4)
	],
	integer => [ "NULL", "0", "1", "2", "100", "-1", "2147483647", "-2147483648" ],
	boolean => [ "NULL", "true", "false" ],
	interval => [ "NULL", "'0'", "'1 ms'", "'-1 s'", "'1 hour'", "'178000000 years'", "'0.4 us'" ],
	'asynx.event' => [ 'NULL' ],
	uuid => [
		"NULL", "'00000000-0000-0000-0000-000000000000'", "gen_random_uuid()",
		"'11111111-1111-1111-1111-111111111111'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"
	],
	'timestamp with time zone' => [
		"NULL", "'infinity'", "'-infinity'", "'4713-01-01 BC'", "'294276-12-31'", "now()", "'epoch'"
	],
	# The server's own nextval() has no SQLSTATE for an oid that is no relation.
	regclass => [ "NULL", "'asynx.positions'", "'asynx.events'", "'pg_class'" ],
	jsonb => [
		"NULL", "'null'", "'true'", "'1'", "'1e400'", "'-0.0'", "'\"x\"'", "'[]'", "'{}'", "'[[]]'",
		"'[null]'", "'[{}]'", "'{\"op\": \"add\"}'", "'{\"\": {\"\": \"\"}}'", "'[1, \"a\", null]'",
		"'\"\\ud83d\\ude00\"'", "'\"\\u0000\"'", "to_jsonb(repeat('x', 1000000))",
		(map { "'[{\"op\": \"add\", \"path\": \"\", \"value\": $_}]'" } '{"a": 1}', '[]', 'null') x 3,
		(map { "'[$_]'" } '{"op": "add", "path": "/a", "value": {"b": [1, 2]}}',
			'{"op": "remove", "path": "/a"}', '{"op": "remove", "path": ""}',
			'{"op": "test", "path": "/a", "value": 1}', '{"op": "move", "from": "", "path": "/a"}',
			'{"op": "move", "from": "/a", "path": "/a/b"}', '{"op": "copy", "from": "", "path": "/a"}',
			'{"op": "add", "path": "a", "value": 1}', '{"op": "add", "path": "/~", "value": 1}',
			'{"op": "add", "path": "/-", "value": 1}', '{"op": "replace", "path": "/0", "value": 1}',
			'{"op": "ADD", "path": "", "value": 1}', '{"op": 1, "path": 2, "value": 3}',
			'{"op": "add", "path": "/99999999999999999999", "value": 1}') x 2,
		"(repeat('[', 900) || repeat(']', 900))::jsonb", "(repeat('[', 3000) || repeat(']', 3000))::jsonb",
		"(repeat('{\"a\":', 3000) || '1' || repeat('}', 3000))::jsonb",
		"(repeat('[', 200000) || repeat(']', 200000))::jsonb",
		"(SELECT jsonb_agg(i) FROM generate_series(1, 20000) AS i)",
		"(SELECT jsonb_object_agg(i, i) FROM generate_series(1, 20000) AS i)",
		# Each copy doubles the document.
		"(SELECT '[{\"op\": \"add\", \"path\": \"\", \"value\": {}}]' || jsonb_agg('{\"op\": \"copy\", "
		  . "\"from\": \"\", \"path\": \"/a\"}'::jsonb) FROM generate_series(1, 2000))",
		"(SELECT '[{\"op\": \"add\", \"path\": \"\", \"value\": [0]}]' || jsonb_agg('{\"op\": \"copy\", "
		  . "\"from\": \"\", \"path\": \"/-\"}'::jsonb) FROM generate_series(1, 100))",
		"(SELECT jsonb_agg('{\"op\": \"copy\", \"from\": \"\", \"path\": \"\"}'::jsonb) "
		  . "FROM generate_series(1, 10000))",
		"jsonb_build_array(jsonb_build_object('op', 'add', 'path', repeat('/a', 3000), 'value', 1))",
		"jsonb_build_array(jsonb_build_object('op', 'add', 'path', '/' || repeat('a', 1000000), "
		  . "'value', 1))",
	]);

# What goes around a call.
my @frames = (
	(["", ""]) x 6,
	[ "BEGIN READ ONLY", "ROLLBACK" ],
	[ "BEGIN\nSAVEPOINT s", "ROLLBACK TO s\nCOMMIT" ],
	[ "BEGIN\nSAVEPOINT s", "RELEASE s\nCOMMIT" ],
	[ "BEGIN ISOLATION LEVEL REPEATABLE READ\nSELECT 1", "COMMIT" ],
	[ "BEGIN ISOLATION LEVEL SERIALIZABLE", "COMMIT" ],
	[ "SET statement_timeout = '1ms'", "RESET statement_timeout" ],
	[ "SET statement_timeout = '20ms'", "RESET statement_timeout" ],
	[ "SET asynx.max_document_depth = 2", "RESET asynx.max_document_depth" ],
	[ "SET asynx.max_document_size = 1", "RESET asynx.max_document_size" ],
	[ "SET search_path = pg_temp", "RESET search_path" ],
	map { [ "SET ROLE $_", "RESET ROLE" ] }
	  qw(hostile_nobody asynx_reader asynx_sender asynx_writer asynx_admin));

# One of several.
sub any
{
	return $_[ int(rand(@_)) ];
}

# An argument of a type.
sub argument
{
	my ($type) = @_;

	return any_event_array() if $type eq 'jsonb' && rand() < 0.1;
	return 'NULL' if $type eq 'internal';
	my $pool = $hostile{$type} or die "no hostile arguments of type \"$type\"";
	return '(' . any(@$pool) . ")::$type";
}

# What append_many() should get, or nearly so.
sub any_event_array
{
	my @events = map {
		my %event = (
			aggregate_id => argument('text'),
			version => argument('bigint'),
			event_name => "'order.created'",
			patch => any("'[]'::jsonb", argument('jsonb')),
			any(qw(metadata id occurred_at schema_version aggregate_type nonsense)) =>
			  argument(any('jsonb', 'uuid', 'text')));
		delete $event{ any(keys %event) } if rand() < 0.1;
		'jsonb_build_object(' . join(', ', map { "'$_', $event{$_}" } sort keys %event) . ')';
	} 1 .. 1 + int(rand(3));
	return 'jsonb_build_array(' . join(', ', @events) . ')';
}

# A call of a function.
sub any_call
{
	my ($function) = @_;
	my @types = @{ $function->{types} };
	my $given = @types - int(rand($function->{defaults} + 1));
	my @arguments = map { argument($_) } @types[ 0 .. $given - 1 ];
	my $call = "asynx.$function->{name}(" . join(', ', @arguments) . ')';

	return "SELECT asynx.$function->{name}(x) FROM (VALUES ($arguments[0]), ("
	  . argument($types[0]) . ")) AS v (x)"
	  if $function->{kind} eq 'a';
	return "CALL $call" if $function->{kind} eq 'p';
	return "SELECT count($call)" if rand() < 0.1;
	return any("SELECT * FROM $call", "SELECT $call", "SELECT $call LIMIT 1");
}

my $node = store_node('hostile', "log_min_messages = panic\nmax_stack_depth = '2MB'\n");
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE hostile_nobody;
SELECT asynx.create_aggregate_type('hostile_type', seed => '{}', snapshot_every => 2);

-- Functions of the user's; one in three calls fails.
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.emit(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
  AS 'SELECT payload';
CREATE FUNCTION hostile.upcast(event_name text, patch jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
  AS 'SELECT patch';
CREATE FUNCTION hostile.handle(e asynx.event) RETURNS void LANGUAGE sql
  AS 'SELECT 1 / (e.position % 3)';
CREATE FUNCTION hostile.hook(e asynx.event, error jsonb) RETURNS void LANGUAGE sql
  AS 'SELECT 1 / (e.position % 3)';
SELECT asynx.create_command('hostile.command', 'hostile_type', 'order.created', 'hostile.emit');
SELECT asynx.subscribe('order.paid', 'hostile.handle', 'hostile', mode => 'inline',
  on_failure => 'continue');
SQL

my @functions = map {
	my ($name, $kind, $defaults, $types) = split /\|/;
	{ name => $name, kind => $kind, defaults => $defaults, types => [ split /;/, $types // '' ] };
} split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT p.proname, p.prokind, p.pronargdefaults,
       (SELECT string_agg(format_type(t, NULL), ';' ORDER BY i)
        FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, i))
FROM pg_proc p WHERE p.pronamespace = 'asynx'::regnamespace ORDER BY p.oid::regprocedure::text
SQL
cmp_ok(scalar @functions, '>', 30, scalar(@functions) . ' functions in the schema');

# Those that store get more than their share, those that SQL cannot pass anything less.
my @often = map {
	my $function = $_;
	($function) x (
		(grep { $_ eq 'internal' } @{ $function->{types} }) || $function->{name} eq 'refuse_change'
		? 0 : $function->{name} =~ /^(append|append_many|write|put_snapshot)$/ ? 5 : 1)
} @functions;

# The script, each call on a line of its own, so that an error's line tells the call.
diag("$calls hostile calls, SEED=$seed");
srand($seed);
my @lines = (
	'SELECT pg_backend_pid() AS first_pid \\gset',
	'SET client_min_messages = error;',
	'\o /dev/null');
my (%call_at, %called);
foreach my $number (0 .. $calls - 1)
{
	my $function = $number < @functions ? $functions[$number] : any(@often);
	my ($before, $after) = @{ any(@frames) };
	my $call = any_call($function);

	push @lines, map { "$_;" } split /\n/, $before;
	push @lines, "$call;";
	$call_at{ scalar @lines } = $call;
	$called{ $function->{name} }++;
	push @lines, map { "$_;" } split /\n/, $after;
	push @lines, "ROLLBACK;" if $after =~ /COMMIT|ROLLBACK/;
}
my $script = "$PostgreSQL::Test::Utils::tmp_check/hostile.sql";
PostgreSQL::Test::Utils::append_to_file($script,
	join("\n", @lines, '\o', "SELECT 'alive', pg_backend_pid() = :first_pid;", ''));

# Some calls wait as long as they are told to.
local $ENV{PGOPTIONS} = '-c statement_timeout=200ms';
my ($stdout, $stderr) = ('', '');
my $status = IPC::Run::run(
	[
		'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-v', 'ON_ERROR_STOP=0',
		'-d', $node->connstr('postgres'),
		'-f', $script
	],
	'<', \undef, '>', \$stdout, '2>', \$stderr,
	IPC::Run::timeout(10 * $PostgreSQL::Test::Utils::timeout_default));

is($stdout, "alive|t\n", 'the session that made the calls is alive')
  or diag(substr($stderr, -2000));

# What the calls came to.
my (%outcomes, @unexplained);
while ($stderr =~ /^psql:.*?:(\d+): (?:ERROR|FATAL):  (\w{5}): (.*)$/mg)
{
	my ($line, $sqlstate, $message) = ($1, $2, $3);

	next unless exists $call_at{$line};
	$outcomes{$sqlstate}++;
	push @unexplained, "$sqlstate: $message\n    $call_at{$line}" unless $explained{$sqlstate};
}
my $errors = 0;
$errors += $_ foreach values %outcomes;
note("$errors errors: ", join(', ', map { "$_ $outcomes{$_}" } sort keys %outcomes));
is(join("\n", @unexplained), '', 'every error has an SQLSTATE that is explained');
unlike($stderr, qr/server closed the connection|connection to server was lost/,
	'no connection was lost');
cmp_ok($calls - $errors, '>', $calls / 20, $calls - $errors . ' calls went through');
cmp_ok(scalar(grep { /^SX/ } keys %outcomes), '>=', 5, 'many conditions of ours were met')
  if $calls >= 3000;
is(scalar(keys %called), scalar(keys %{ { map { $_->{name} => 1 } @functions } }),
	'every function was called');

cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM asynx.events'),
	'>', 0, 'some calls have stored events')
  if $calls >= 3000;
stream_checks($node, 'afterwards');
is( $node->safe_psql('postgres', <<'SQL'), '', 'every snapshot is of a version that is there');
SELECT s.aggregate_id, s.version FROM asynx.snapshots s
WHERE NOT EXISTS (SELECT FROM asynx.events e
                  WHERE e.aggregate_id = s.aggregate_id AND e.version = s.version)
SQL

$node->stop;
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile),
	qr/PANIC|terminated by signal|TRAP: /, 'the server has not crashed');
done_testing();
