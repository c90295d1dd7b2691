# Commands by the thousand: 16 sessions on 1,000 aggregates, some of which everybody wants,
# through send(), send_many(), write() and append(), while commands are rejected, refused by a
# full queue, overtaken, cancelled, their sessions terminated and their answers lost.  Who loses
# his session sends a command that has an id again.
#
# Every command adds an amount to the balance of its aggregates, so a command that is lost, that
# is carried out twice, or that decides on a state that is not the latest, shows in the end.  Every
# client notes the version and the state that it was answered.
#
# COMMANDS says how many, on a hundredth as many aggregates; SEED repeats the plan (not the races).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Clients;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $commands = $ENV{COMMANDS} // 100_000;
my $seed = $ENV{SEED} // (time ^ $$) % 1_000_000;
my $sessions = 16;
my $aggregates = $commands / 100;

# Aggregates that everybody wants, and the part of the commands that is theirs.
my $hot = 5;
my $hot_share = 0.2;

# Parts of the commands.
my %share = (send_many => 0.12, write => 0.08, append => 0.03);
my $no_id = 0.3;
my $rejected = 0.05;
my $cancelled = 0.05;
my $terminated = 0.01;
my $unheard = 0.01;

# The part of the commands that takes some time, and how much of it, in rows to count.
my $slow = 0.04;
my $most_effort = 40_000;

# Far below any balance.
my $too_much = -1_000_000_000;

# What the first event of an account is applied to.
my $begin = '{"balance": 0, "changes": 0, "latest": []}';

my $shards = 4;
my $node = store_node('commands', <<"CONF");
max_connections = 60
deadlock_timeout = 50ms
log_min_messages = fatal
asynx.shards = $shards
asynx.queue_depth = 2
CONF
my $work = $node->basedir;

$node->safe_psql('postgres', <<"SQL");
CREATE FUNCTION pay(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS \$\$
DECLARE
  latest jsonb := (current -> 'latest') || (payload -> 'amount');
BEGIN
  IF current IS NULL THEN
    RETURN pay('$begin', payload);
  END IF;
  PERFORM count(*) FROM generate_series(1, (payload ->> 'effort')::int);
  RETURN jsonb_build_object(
    'balance', (current ->> 'balance')::bigint + (payload ->> 'amount')::bigint,
    'changes', (current ->> 'changes')::int + 1,
    'latest', CASE WHEN jsonb_array_length(latest) > 5 THEN latest - 0 ELSE latest END);
END \$\$;

-- Rejects by a text or by raising.
CREATE FUNCTION covered(current jsonb, payload jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS \$\$
BEGIN
  IF coalesce((current ->> 'balance')::bigint, 0) + (payload ->> 'amount')::bigint >= 0 THEN
    RETURN NULL;
  ELSIF payload ? 'raise' THEN
    RAISE EXCEPTION 'not covered';
  END IF;
  RETURN 'not covered';
END \$\$;

SELECT asynx.create_aggregate_type('account', seed => '$begin', snapshot_every => 64);
SELECT asynx.create_command('account.pay', 'account', 'account.paid', 'public.pay',
                            'public.covered');

-- What write() and append() need to know: the version, the state that is wanted, a patch.
CREATE FUNCTION look(account text, amount int, OUT version bigint, OUT state jsonb, OUT patch jsonb)
LANGUAGE plpgsql AS \$\$
BEGIN
  SELECT coalesce(max(e.version), 0) INTO look.version
    FROM asynx.events e WHERE aggregate_id = account;
  state := pay(CASE WHEN look.version > 0 THEN asynx.get(account, look.version) END,
               jsonb_build_object('amount', amount));
  patch := jsonb_build_array(
    jsonb_build_object('op', 'replace', 'path', '/balance', 'value', state -> 'balance'));
END \$\$;

-- A read model in the transaction of whoever writes.
CREATE TABLE balances (account text PRIMARY KEY, balance bigint, version bigint, events int);
CREATE FUNCTION keep_balance(e asynx.event) RETURNS void LANGUAGE sql AS \$\$
  INSERT INTO balances VALUES (e.aggregate_id, (e.aggregate ->> 'balance')::bigint, e.version, 1)
  ON CONFLICT (account) DO UPDATE SET balance = excluded.balance, version = excluded.version,
    events = balances.events + 1
    WHERE balances.version = excluded.version - 1
      AND balances.balance = (e.previous_aggregate ->> 'balance')::bigint
\$\$;
SELECT asynx.subscribe('account\\..*', 'public.keep_balance', 'balances', mode => 'inline');

-- What became of every command on every aggregate.
CREATE TABLE outcomes (n int, account text, amount bigint, outcome text, version bigint);
SQL

my (%count, %unexpected);
open my $outcomes, '>', "$work/outcomes" or die "outcomes: $!";
open my $claims, '>', "$work/claims" or die "claims: $!";

# An aggregate for a command; who is to be killed shall often wait for it, or let others wait.
sub pick
{
	my ($command) = @_;

	return 'account-' . int(rand($hot)) if rand() < ($command->{kill} ? 0.8 : $hot_share);
	return 'account-' . int(rand($aggregates));
}

# Notes what a command came to: "parts" are its aggregates and amounts; rows are the events.
sub note_outcome
{
	my ($command, $outcome, @rows) = @_;
	my %version;

	$count{$outcome}++;
	$count{"$command->{kind} $outcome"}++;
	foreach my $row (@rows)
	{
		my ($account, $version, $state) = split /\|/, $row, 3;

		$version{$account} = $version;
		print $claims qq(["state", "the answer", "$account", $version, $state]\n) if $state;
	}
	foreach my $part (@{ $command->{parts} })
	{
		my ($account, $amount) = @$part;

		print $outcomes join("\t", $command->{n}, $account, $amount, $outcome,
			$version{$account} // '\N'), "\n";
	}
	return;
}

# SQLSTATEs that a command may end with; who waits for the lock is not overtaken.
my %outcome_of = (
	'00000' => 'stored',
	'57014' => 'cancelled',
	'SX002' => 'rejected',
	'SX003' => 'overtaken',
	'SX005' => 'queue full');

# The request that carries a command out.
sub request
{
	my ($command, $sql) = @_;

	my $request;

	$request = {
		sql => $sql,
		kill => $command->{kill},
		once => !$command->{id},
		lost => sub { note_outcome($command, 'lost') },
		answered => sub {
			my ($client, $sqlstate, @rows) = @_;

			# That it could not be repeated does not tell whether it was carried out before.
			return ask_next($client, $request)
			  if $request->{repeated} && ($sqlstate eq '57014' || $sqlstate eq 'SX005');

			$unexpected{"$command->{kind} $sqlstate"}++
			  if !$outcome_of{$sqlstate} || $sqlstate eq 'SX003' && $command->{kind} =~ /^send/;
			note_outcome($command, $outcome_of{$sqlstate} // $sqlstate, @rows);
		}
	};
	return $request;
}

# An id of a command, or of a part of one, as an SQL expression.
sub id_of
{
	my ($command, $part) = @_;

	return 'NULL' if !$command->{id};
	return sprintf "'%08x-%04x-4000-8000-000000000000'", $command->{n}, $part // 0;
}

# The payload: who is to be killed takes some time, and so do others now and then.
sub payload
{
	my ($command, $amount) = @_;
	my $effort = $command->{kill} || rand() < $slow ? $most_effort * rand : 0;

	return sprintf '{"amount": %d, "effort": %d%s}', $amount, $effort,
	  $command->{n} % 2 ? ', "raise": true' : '';
}

sub send_request
{
	my ($command) = @_;
	my ($account, $amount) = @{ $command->{parts}[0] };
	my $payload = payload($command, $amount);

	return request($command, 'SELECT aggregate_id, version, aggregate FROM '
		  . qq[asynx.send('account.pay', '$account', '$payload', ]
		  . qq['{"n": $command->{n}}', NULL, ] . id_of($command) . ')');
}

sub send_many_request
{
	my ($command) = @_;
	my $part = 0;
	my @elements = map {
		my ($account, $amount) = @$_;
		my $payload = payload($command, $amount);
		my $id = id_of($command, $part++) =~ tr/'/"/r;

		qq[{"command": "account.pay", "aggregate_id": "$account", "payload": $payload, ]
		  . qq["metadata": {"n": $command->{n}}, "id": $id}];
	} @{ $command->{parts} };
	local $" = ', ';

	return request($command, 'SELECT aggregate_id, version, aggregate FROM '
		  . "asynx.send_many('[@elements]')" =~ s/NULL/null/gr);
}

# write() and append(): the application looks first, and says what it has seen.
sub look_request
{
	my ($command) = @_;
	my ($account, $amount) = @{ $command->{parts}[0] };
	my $look = { sql => "SELECT version, state, patch FROM look('$account', $amount)" };
	my $common = qq['account', '{"n": $command->{n}}', ] . id_of($command);

	$look->{answered} = sub {
		my ($client, $sqlstate, $row) = @_;

		return ask_next($client, $look) if $sqlstate ne '00000';
		my ($version, $state, $patch) = split /\|/, $row;

		ask_next($client, request($command, $command->{kind} eq 'write'
			? 'SELECT aggregate_id, version, aggregate FROM '
			  . "asynx.write('$account', 'account.set', '$state', $version, $common)"
			: 'SELECT aggregate_id, version, NULL FROM '
			  . "asynx.append('$account', $version + 1, 'account.corrected', '$patch', $common)"));
	};
	return $look;
}

# The n-th command: the request that its client begins with.
sub make_command
{
	my ($n) = @_;
	my $roll = rand;
	my $fate = rand;
	my %command = (n => $n, kind => 'send', id => rand() >= $no_id);

	foreach my $kind (sort keys %share)
	{
		$command{kind} = $kind if $roll >= 0 && $roll < $share{$kind};
		$roll -= $share{$kind};
	}
	$command{kill} =
	    $fate < $cancelled ? 'cancel'
	  : $fate < $cancelled + $terminated ? 'terminate'
	  : $fate < $cancelled + $terminated + $unheard ? 'deaf'
	  : undef;

	if ($command{kind} eq 'send_many')
	{
		my %accounts = map { pick(\%command) => 1 } 1 .. 2 + int rand 2;

		$command{parts} = [ map { [ $_, int rand 100 ] } sort { $a cmp $b } keys %accounts ];
		@{ $command{parts} } = reverse @{ $command{parts} } if rand() < 0.5;
	}
	elsif ($command{kind} eq 'send')
	{
		$command{parts} = [ [ pick(\%command), int(rand 140) - 40 ] ];
	}
	else
	{
		$command{parts} = [ [ pick(\%command), int rand 100 ] ];
		return look_request(\%command);
	}

	$command{parts}[-1][1] = $too_much if rand() < $rejected;
	return $command{kind} eq 'send' ? send_request(\%command) : send_many_request(\%command);
}

note("SEED=$seed");
srand $seed;
my $planned = 0;
my $next = sub { return $planned < $commands ? make_command(++$planned) : undef };

open my $log, '>', "$work/clients.log" or die "clients.log: $!";
my $start = time;
my $lost_sessions = run_clients($node, $log, $sessions, $next);
my $took = time - $start;
close $_ or die "$!" foreach $outcomes, $claims;

# How rough it was.
my $at_work = () = slurp_file($node->logfile) =~ /STATEMENT:  SELECT .* FROM asynx\./g;
note("$commands commands in $took s, $lost_sessions sessions lost, $at_work at work; "
	  . join(', ', map { "$_: $count{$_}" } sort keys %count));
is_deeply(\%unexpected, {}, 'nothing ended in a way that has no name here');
cmp_ok($count{stored}, '>', $commands * 0.7, 'most commands were carried out');
cmp_ok($count{'rejected'}, '>', $commands * 0.04, 'many were rejected');
cmp_ok($count{cancelled}, '>', $commands * 0.005, 'many were cancelled');
cmp_ok($count{'queue full'}, '>', $commands * 0.0005, 'some found the queue full');
cmp_ok($count{"$_ overtaken"}, '>', $commands * 0.0005, "$_: some were overtaken")
  foreach qw(write append);
cmp_ok($lost_sessions, '>', $commands * 0.01, 'many sessions were lost');
cmp_ok($at_work, '>', $commands * 0.002, 'among them many that carried out a command');
cmp_ok($count{lost}, '>', $commands * 0.0005, 'some commands came to something unknown');

wait_for_no_sessions($node, 'client');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'no backend crashed');
stream_checks($node, 'afterwards');

# What was answered, and what is stored.
$node->safe_psql('postgres', "COPY outcomes FROM '$work/outcomes'");
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE stored AS
  SELECT (metadata ->> 'n')::int AS n, aggregate_id AS account, version FROM asynx.events;
SQL
is($node->safe_psql('postgres', <<'SQL'), '', 'what was answered is stored, at that version');
SELECT n, account, version FROM outcomes WHERE outcome = 'stored'
EXCEPT SELECT n, account, version FROM stored
SQL
is($node->safe_psql('postgres', <<'SQL'), '', 'what failed is not stored');
SELECT n, account FROM stored
EXCEPT SELECT n, account FROM outcomes WHERE outcome IN ('stored', 'lost')
SQL
is( $node->safe_psql('postgres',
		'SELECT n, account FROM stored GROUP BY n, account HAVING count(*) > 1'),
	'', 'nothing is stored twice');
is($node->safe_psql('postgres', <<'SQL'), '', 'a command is stored as a whole');
SELECT n FROM outcomes LEFT JOIN stored USING (n, account)
GROUP BY n HAVING count(stored.version) NOT IN (0, count(*))
SQL
is($node->safe_psql('postgres', <<'SQL'), '', 'every balance is the sum of what was stored');
SELECT account, sum(amount), asynx.get(account) ->> 'balance'
FROM outcomes JOIN stored USING (n, account)
GROUP BY account HAVING sum(amount) IS DISTINCT FROM (asynx.get(account) ->> 'balance')::bigint
SQL
is($node->safe_psql('postgres', <<'SQL'), '', 'the inline read model is what the events say');
SELECT account, b, t
FROM balances AS b
FULL JOIN (SELECT aggregate_id AS account, (asynx.get(aggregate_id) ->> 'balance')::bigint AS balance,
             max(version) AS version, count(*) AS events
           FROM asynx.events GROUP BY aggregate_id) AS t USING (account)
WHERE (b.balance, b.version, b.events) IS DISTINCT FROM (t.balance, t.version, t.events)
SQL
my $snapshots = $node->safe_psql('postgres', 'SELECT count(*) FROM asynx.snapshots');
cmp_ok($snapshots, '>', $aggregates / 2, 'most aggregates have a snapshot');

# What was derived from the log, compared with what another implementation derives from it.

# The states: those that were answered, those of the snapshots, and those that get() gives.
SKIP:
{
	skip('python3-jsonpatch is not installed', 2)
	  if system('/usr/bin/python3 -c "import jsonpatch" 2>/dev/null') != 0;

	system_or_bail('psql', '-XAtq', '-d', $node->connstr('postgres'), '-o', "$work/events",
		'-c', "SELECT jsonb_build_array('seed', '$begin'::jsonb)",
		'-c', q(SELECT jsonb_build_array('event', aggregate_id, version, patch)
				FROM asynx.events ORDER BY aggregate_id, version),
		'-c', q(SELECT jsonb_build_array('state', 'the snapshot', aggregate_id, version, state)
				FROM asynx.snapshots),
		'-c', q(SELECT jsonb_build_array('state', 'get()', aggregate_id, max(version),
				asynx.get(aggregate_id)) FROM asynx.events GROUP BY aggregate_id));
	my ($report, $complaints) = run_command([ '/usr/bin/python3', "$FindBin::RealBin/refold.py",
			"$work/events", "$work/claims" ]);
	my ($compared) = $report =~ /, (\d+) states compared, 0 wrong$/;

	diag($report =~ s/\A(.{0,2000}).*?([^\n]*)\z/$1...\n$2/sr, $complaints) if !defined $compared;
	cmp_ok($compared // 0, '>', $commands * 0.7, 'every state is what its events give');
	like($report, qr/^(\d+) events folded, /m, 'by another implementation');
}

# Nobody waits any more, so each shard of a queue has its one place: a command that finds its
# aggregate taken may wait, until its patience ends.
my @of_shard = split /\n/, $node->safe_psql('postgres', <<"SQL");
SELECT DISTINCT ON (shard) account
FROM (SELECT account, mod(hashtextextended(account, 0), $shards) AS shard
      FROM (SELECT 'queue-' || i AS account FROM generate_series(1, 1000) AS i) AS a) AS s
WHERE shard >= 0
SQL
is(scalar @of_shard, $shards, 'an aggregate for each shard');
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe(qq[SELECT FROM asynx.send('account.pay', '$_', '{"amount": 1}')])
  foreach @of_shard;
foreach my $account (@of_shard)
{
	is(sqlstate_of($node, 'postgres', <<"SQL"), '55P03', "the queue of $account has lost no place");
SET asynx.queue_depth = 1;
SET lock_timeout = '10ms';
SELECT FROM asynx.send('account.pay', '$account', '{"amount": 1}');
SQL
}
$holder->query_safe('COMMIT');
$holder->quit;

$node->stop;
done_testing();
