# Everything but LISTEN works through pgbouncer in transaction mode, where each transaction of a
# client may get another session of the server, and sessions are shared by clients.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my ($bouncer) = grep { -x $_ } map { "$_/pgbouncer" } (split(/:/, $ENV{PATH}), '/usr/sbin');
plan skip_all => 'pgbouncer is not installed' unless defined $bouncer;

my $node = store_node('pooled', "log_statement = none\n");
my $work = PostgreSQL::Test::Utils::tempdir_short;
my $port = $node->port;
my $host = $node->host;
PostgreSQL::Test::Utils::append_to_file("$work/pgbouncer.ini", <<INI);
[databases]
postgres = host=$host port=$port dbname=postgres user=@{[ scalar getpwuid $< ]}
[pgbouncer]
listen_addr =
listen_port = 6543
unix_socket_dir = $work
auth_type = any
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = extra_float_digits,options
logfile = $work/log
pidfile = $work/pid
INI
my $started = IPC::Run::start([ $bouncer, '-q', "$work/pgbouncer.ini" ], '<', \undef, '>', "$work/out", '2>', "$work/err");

# Runs SQL through the pooler and returns what comes.
sub pooled
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', "host=$work port=6543 dbname=postgres", '-f', '-' ],
		'<', \$sql, '>', \$out, '2>', \$err)
	  or $out .= "failed: $err";
	chomp $out;
	return $out;
}
my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;
my $answer = '';
while ($tries-- > 0)
{
	$answer = pooled('SELECT 1');
	last if $answer eq '1';
	select(undef, undef, undef, 0.1);
}
is($answer, '1', 'the pooler answers') or diag(PostgreSQL::Test::Utils::slurp_file("$work/err"));

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE seen (aggregate_id text, version bigint, total int);
CREATE FUNCTION note(e asynx.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO seen VALUES (e.aggregate_id, e.version, (e.aggregate ->> 'n')::int) $$;
CREATE FUNCTION emit(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
$$ SELECT jsonb_build_object('n', coalesce((current ->> 'n')::int, 0) + (payload ->> 'by')::int) $$;
SQL
is(pooled("SELECT FROM asynx.create_command('add', 'default', 'added', 'public.emit')"), '', 'create_command');
is(pooled("SELECT asynx.subscribe('added', 'public.note', 'note')"), 'note', 'subscribe');
is(pooled("SELECT asynx.subscribe('added', mode => 'pull', name => 'pull')"), 'pull', 'a pull subscription');

# Many clients on two sessions, each of which must not believe what the other has made old.
my @clients = map {
	my $sql = join "\n", map { "SELECT FROM asynx.send('add', 'sum-" . $_ % 3 . "', '{\"by\": 1}');" } 1 .. 60;
	my ($out, $err) = ('', '');
	{
		run => IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', "host=$work port=6543 dbname=postgres", '-c', 'SELECT 1', '-f', '-' ],
			'<', \$sql, '>', \$out, '2>', \$err)
	};
} 1 .. 6;
is(scalar(grep { !$_->{run}->finish } @clients), 0, 'six clients send commands');
is(pooled("SELECT asynx.get('sum-0') ->> 'n', asynx.get('sum-1') ->> 'n', asynx.get('sum-2') ->> 'n'"),
	'120|120|120', 'get: no command was lost');
is(pooled('SELECT asynx.wait_for()'), 't', 'wait_for');
is(pooled('SELECT count(*), bool_and(version = total) FROM seen'), '360|t', 'the handlers have had them all');
like(pooled("CALL asynx.send_wait('add', 'sum-9', '{\"by\": 5}')"), qr/sum-9,added,1/, 'send_wait');
is(pooled("SELECT total FROM seen WHERE aggregate_id = 'sum-9'"), '5', 'has waited for the handler');
is(pooled("BEGIN; SELECT count(*) FROM asynx.fetch('pull', 1000, true); COMMIT;"), '361', 'fetch with auto_ack');
is(pooled("SELECT count(*) FROM asynx.fetch('pull')"), '0', 'all is acknowledged');
is(pooled("SELECT FROM asynx.write('sum-9', 'added', '{\"n\": 7}');\nSELECT aggregate ->> 'n' FROM asynx.fetch('pull', 1);\n"
		. "SELECT asynx.ack('pull', max(position)) FROM asynx.events;"),
	"7\n", 'fetch, and ack in a transaction of its own');
is(pooled("SELECT count(*) FROM asynx.listen('added', 1, '0.05 s')"), '0', 'listen');
is(pooled("SELECT asynx.subscribe_wait('added', '0.05 s') IS NULL"), 't', 'subscribe_wait');
is(pooled("SELECT asynx.rebuild('note');\nSELECT asynx.wait_for();\nSELECT count(*) FROM seen;"), "\nt\n724", 'rebuild');
is(pooled("NOTIFY asynx_wake"), '', 'NOTIFY asynx_wake');
is(pooled("SELECT asynx.forget('sum-9');\nSELECT asynx.exists('sum-9');"), "\nf", 'forget');
is(pooled("CALL asynx.shutdown('60 s');\nSELECT asynx.lifecycle_state();\nSELECT asynx.resume();\nSELECT asynx.lifecycle_state();"),
	"stopped\n\nrunning", 'shutdown and resume');
is(pooled("SELECT FROM asynx.send('add', 'sum-0', '{\"by\": 1}');\nSELECT asynx.get('sum-0') ->> 'n';"), '121', 'and commands again');
is(pooled("SELECT asynx.unsubscribe('note'), asynx.unsubscribe('pull')"), 't|t', 'unsubscribe');

kill 'INT', split /\n/, PostgreSQL::Test::Utils::slurp_file("$work/pid");
$started->finish;
stream_checks($node, 'afterwards');
$node->stop;
done_testing();
