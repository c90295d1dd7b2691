# Portals of the extended protocol are out of reach for the functions that asynx runs: who named
# one, and fetches from it in portions, gets his own rows, whatever the author of a command does to
# that name in between.  And a session that ends inside of such a function ends in order.
#
# libpq names no portals, so this speaks the protocol itself.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $node = store_node('portals');

$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA app;
CREATE ROLE author IN ROLE asynx_admin;
GRANT USAGE, CREATE ON SCHEMA app TO author;
SET ROLE author;
CREATE FUNCTION app.opens(name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  c refcursor := name;
BEGIN
  OPEN c FOR SELECT -1 FROM generate_series(1, 10);
END $$;
CREATE FUNCTION app.attack(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  c refcursor := payload ->> 'name';
BEGIN
  CASE payload ->> 'how'
    WHEN 'close' THEN CLOSE c; PERFORM app.opens(c::text);
    WHEN 'open' THEN PERFORM app.opens(c::text);
    WHEN 'move' THEN MOVE FORWARD 1 FROM c;
  END CASE;
  RETURN to_jsonb('done'::text);
EXCEPTION WHEN OTHERS THEN
  RETURN to_jsonb(SQLSTATE);
END $$;
SELECT asynx.create_command('attack', 'default', 'e', 'app.attack');
RESET ROLE;
CREATE FUNCTION app.dies(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  PERFORM pg_terminate_backend(pg_backend_pid());
  RETURN '1';
END $$;
SELECT asynx.create_command('die', 'default', 'e', 'app.dies');
SQL

# The connection.
my $socket = IO::Socket::UNIX->new(
	Type => SOCK_STREAM,
	Peer => $node->host . '/.s.PGSQL.' . $node->port) or die "cannot connect: $!";
my $user = getpwuid($<);
my $startup = pack('N', 196608) . "user\0$user\0database\0postgres\0\0";

# Sends one message.
sub put
{
	my ($type, $body) = @_;

	print {$socket} $type, pack('N', 4 + length $body), $body;
	$socket->flush;
	return;
}

# Reads so many bytes.
sub take
{
	my ($length) = @_;
	my $bytes = '';

	while (length $bytes < $length)
	{
		my $got = sysread $socket, $bytes, $length - length $bytes, length $bytes;
		die "the connection is gone" unless $got;
	}
	return $bytes;
}

# Reads answers up to ReadyForQuery; what came of it as text: first columns, SQLSTATEs, states.
sub answer
{
	my @said;

	while (1)
	{
		my ($type, $length) = unpack 'aN', take(5);
		my $body = take($length - 4);

		return join ' ', @said if $type eq 'Z';
		push @said, unpack 'x2N/a', $body if $type eq 'D';
		push @said, 'suspended' if $type eq 's';
		push @said, $body =~ /\0?C([0-9A-Z]{5})\0/ if $type eq 'E';
	}
}

# A statement in the simple protocol.
sub simple
{
	my ($statement) = @_;

	put('Q', "$statement\0");
	return answer();
}

# Makes a portal for a statement.
sub bind_portal
{
	my ($portal, $statement) = @_;

	put('P', "\0$statement\0" . pack('n', 0));
	put('B', "$portal\0\0" . pack('nnn', 0, 0, 0));
	put('S', '');
	return answer();
}

# Runs a portal for some rows.
sub execute
{
	my ($portal, $rows) = @_;

	put('E', "$portal\0" . pack('N', $rows));
	put('S', '');
	return answer();
}

# What the function that attacks a portal says.
sub attack
{
	my ($how, $portal) = @_;

	return simple(qq{SELECT aggregate #>> '{}'
		FROM asynx.send('attack', 'a', '{"how": "$how", "name": "$portal"}')});
}

print {$socket} pack('N', 4 + length $startup), $startup;
$socket->flush;
answer();

simple('BEGIN');
is(bind_portal('mine', 'SELECT n FROM generate_series(1, 6) AS n'), '', 'a portal with a name');
is(execute('mine', 2), '1 2 suspended', 'its first rows');
is(attack('close', 'mine'), '24000', 'it cannot be closed');
is(attack('open', 'mine'), '42P03', 'its name cannot be taken');
is(attack('move', 'mine'), '55000', 'its rows cannot be had');
is(execute('mine', 2), '3 4 suspended', 'its next rows are its own');

# One that is finished could still be replaced.
bind_portal('finished', 'SELECT 7');
is(execute('finished', 0), '7', 'a portal that runs to its end');
is(attack('close', 'finished'), '24000', 'it cannot be replaced either');

# A name that is not taken yet.
is(attack('open', 'later'), 'done', 'a function can open a portal');
is(bind_portal('later', 'SELECT 8'), '', 'and leaves none');
is(execute('later', 0), '8', 'so the name is free');

# A portal that sends by itself, row by row.
bind_portal('sends',
	q{SELECT (asynx.send('attack', 'b', '{"how": "close", "name": "sends"}')).aggregate #>> '{}' FROM generate_series(1, 3)});
is(execute('sends', 1), '24000 suspended', 'a portal that sends is active');
is(execute('sends', 1), '24000 suspended', 'and goes on');
is(attack('close', 'sends'), '24000', 'and in between it cannot be closed');
is(execute('sends', 0), '24000', 'to its end');
is(execute('mine', 0), '5 6', 'the first one to its end');
is(simple('COMMIT'), '', 'the transaction ends');

# The end of the session inside of a function, with portals behind the fence.
simple('BEGIN');
simple('DECLARE held CURSOR WITH HOLD FOR SELECT 1');
simple('COMMIT');
simple('BEGIN');
bind_portal('mine', 'SELECT n FROM generate_series(1, 6) AS n');
execute('mine', 2);
simple('DECLARE c CURSOR FOR SELECT 1');
my $survived = eval { simple(q{SELECT asynx.send('die', 'c')}); 1 };
ok(!$survived, 'a session that is terminated ends');
is($node->safe_psql('postgres',
		q{SELECT asynx.exists('c'), asynx.count('a', 0), asynx.count('b', 0)}),
	'f|6|3', 'and the server goes on');
$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|terminated by signal|was active|leaked|leak:/, 'nothing was amiss');

done_testing();
