# What is promised of subscriptions when processes die: 8 sessions write documents, six
# subscriptions of all kinds read them, and meanwhile workers, the bus and sessions are killed
# with SIGKILL, which takes the whole server through crash recovery, or with SIGTERM, and the
# postmaster is killed and started again.  In the end every subscription has had every event once,
# in the order of its aggregate, and each read model equals its recomputation from the events.
#
# Writers repeat what they do not know the end of: every event has its id and its version.  What
# is to be written follows from the aggregate and the version alone, see document().
#
# EVENTS says how many; KILLS and RESTARTS how often somebody or the postmaster is killed; SEED
# repeats the plan (not the races).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Clients;
use IO::Select;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;
use Time::HiRes ();

my $events = $ENV{EVENTS} // 20_000;
my $kills = $ENV{KILLS} // $events / 1_250;
my $restarts = $ENV{RESTARTS} // $events / 10_000;
my $seed = $ENV{SEED} // (time ^ $$) % 1_000_000;
my $writers = 8;

# Events of an aggregate, and how many aggregates a writer has.
my $versions = 20;
my $owned = int($events / $versions / $writers);
$events = $owned * $writers * $versions;

# How many units of work a writer gets at a time; enough to be at work when somebody is killed.
my $batch = 40;

# Subscriptions that note what they get; those whose handlers are told the states.
my @noting = qw(single batch parted inline pull);
my @with_states = qw(single batch inline pull);

my $node = store_node('once', <<'CONF');
restart_after_crash = on
max_connections = 60
max_worker_processes = 16
log_statement = none
CONF
my $work = $node->basedir;

$node->safe_psql('postgres', <<'SQL');
-- What a document is at a version.
CREATE FUNCTION document(id text, version bigint) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
  SELECT jsonb_build_object('name', id, 'count', version, 'total', version * (version + 1) / 2,
    'latest', jsonb_build_array(version - 1, version)) WHERE version > 0
$$;
SELECT asynx.create_aggregate_type('document', snapshot_every => 8);
SQL

# For each: what it was given, in the order of n, and a model that is wrong if an event was handled
# twice or left out.
foreach my $name (@noting)
{
	$node->safe_psql('postgres', <<"SQL");
CREATE TABLE seen_$name (n bigserial, aggregate_id text, version bigint, position bigint,
  state text, previous text);
CREATE TABLE model_$name (aggregate_id text PRIMARY KEY, events int, total bigint, last bigint,
  state text);
CREATE FUNCTION note_$name(id text, version bigint, event_position bigint, state text,
  previous text) RETURNS void LANGUAGE sql AS \$\$
  INSERT INTO public.seen_$name (aggregate_id, version, position, state, previous)
    VALUES (id, version, event_position, state, previous);
  INSERT INTO public.model_$name AS m VALUES (id, 1, version, version, state)
    ON CONFLICT (aggregate_id) DO UPDATE SET events = m.events + 1,
      total = m.total + excluded.total, last = excluded.last, state = excluded.state
\$\$;
SQL
}

# "single" is slow, so that it has something left to do when the writers have ended.
my %effort = (single => 3_000, inline => 0);
$node->safe_psql('postgres', <<"SQL") foreach qw(single inline);
CREATE FUNCTION take_$_(e asynx.event) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
  PERFORM count(*) FROM generate_series(1, $effort{$_});
  PERFORM public.note_$_(e.aggregate_id, e.version, e.position, md5(e.aggregate::text),
    md5(e.previous_aggregate::text));
END \$\$;
SQL
$node->safe_psql('postgres', <<"SQL") foreach qw(batch pull);
CREATE FUNCTION take_$_(many asynx.event[]) RETURNS int LANGUAGE plpgsql AS \$\$
DECLARE
  e asynx.event;
BEGIN
  FOREACH e IN ARRAY coalesce(many, '{}') LOOP
    PERFORM public.note_$_(e.aggregate_id, e.version, e.position, md5(e.aggregate::text),
      md5(e.previous_aggregate::text));
  END LOOP;
  RETURN coalesce(cardinality(many), 0);
END \$\$;
SQL
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION take_parted(e asynx.stored_event) RETURNS void LANGUAGE sql AS $$
  SELECT public.note_parted(e.aggregate_id, e.version, e.position, NULL, NULL)
$$;
SELECT asynx.subscribe('document\..*', 'public.take_single', 'single', on_failure => 'park');
SELECT asynx.subscribe('document\..*', 'public.take_batch', 'batch', on_failure => 'park');
SELECT asynx.subscribe('document\..*', 'public.take_parted', 'parted', partitions => 4,
                       on_failure => 'park');
SELECT asynx.subscribe('document\..*', 'public.take_inline', 'inline', mode => 'inline');
SELECT asynx.subscribe('document\..*', NULL, 'pull', mode => 'pull');
SELECT asynx.subscribe('document\..*', NULL, 'told', mode => 'channel', channel => 'documents');
SQL

# A process to be killed; for a moment, it waits for one that is at work.
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION victim(kind text, OUT pid int, OUT at_work boolean) LANGUAGE plpgsql AS $$
DECLARE
  until timestamptz := clock_timestamp() + interval '0.2 s';
BEGIN
  LOOP
    PERFORM pg_stat_clear_snapshot();
    SELECT a.pid, a.state IS NOT DISTINCT FROM 'active' INTO victim.pid, victim.at_work
    FROM pg_stat_activity AS a WHERE a.backend_type = kind
    ORDER BY 2 DESC, random() LIMIT 1;
    EXIT WHEN at_work OR clock_timestamp() > until;
  END LOOP;
END $$;
SQL

# The writers.

my (%unexpected, %version, %unfinished);
my $written = 0;

# The next event of one of the writer's aggregates; nothing if all are written.
sub next_event
{
	my ($writer) = @_;
	my $left = $unfinished{$writer} //= [ map { $writer * $owned + $_ } 0 .. $owned - 1 ];

	return if !@$left;
	my $pick = int rand @$left;
	my $number = $left->[$pick];
	my $version = ++$version{$number};

	splice @$left, $pick, 1 if $version == $versions;
	my $id = "document-$number";
	my $before = $version - 1;
	my $total = $version * ($version + 1) / 2;

	return {
		aggregate_id => $id,
		version => $version,
		id => sprintf('%08x-0000-4000-8000-%012x', $number, $version),
		state => qq[{"name": "$id", "count": $version, "total": $total, ]
		  . qq["latest": [$before, $version]}],
		change => qq[{"op": "replace", "path": "/count", "value": $version}, ]
		  . qq[{"op": "replace", "path": "/total", "value": $total}, ]
		  . qq[{"op": "remove", "path": "/latest/0"}, ]
		  . qq[{"op": "add", "path": "/latest/-", "value": $version}]
	};
}

# The patch that makes the event's state of the one before.
sub patch_of
{
	my ($event) = @_;

	return "[$event->{change}]" if $event->{version} > 1;
	return qq([{"op": "add", "path": "", "value": $event->{state}}]);
}

# The statement that writes some events: a call for each, or one for all.
sub statement
{
	my ($kind, @made) = @_;

	return "SELECT asynx.append_many('[" . join(', ', map {
		qq({"aggregate_id": "$_->{aggregate_id}", "version": $_->{version}, "id": "$_->{id}", )
		  . qq("aggregate_type": "document", "event_name": "document.imported", "patch": )
		  . patch_of($_) . '}'
	} @made) . "]')" if $kind eq 'append_many';

	return join '\; ', map {
		my $patch = patch_of($_);

		($kind eq 'mixed' ? rand() < 0.5 : $kind eq 'write')
		  ? "SELECT FROM asynx.write('$_->{aggregate_id}', 'document.written', '$_->{state}', "
		  . (rand() < 0.5 ? $_->{version} - 1 : 'NULL')
		  . ", 'document', id => '$_->{id}', snapshot => $_->{version} % 5 = 0)"
		  : "SELECT FROM asynx.append('$_->{aggregate_id}', $_->{version}, 'document.appended', "
		  . "'$patch', 'document', id => '$_->{id}')"
	} @made;
}

# A unit of work: one statement, or several in one transaction; now and then something that no
# subscription wants.
sub make_unit
{
	my ($writer) = @_;
	my $roll = rand;
	my $kind =
	    $roll < 0.45 ? 'write'
	  : $roll < 0.80 ? 'append'
	  : $roll < 0.90 ? 'append_many'
	  : 'mixed';
	my $many = $kind eq 'append_many' ? 2 + int rand 7 : $kind eq 'mixed' ? 2 + int rand 3 : 1;
	my @made = grep { defined } map { next_event($writer) } 1 .. $many;

	return if !@made;
	my $sql = statement($kind, @made);

	if (rand() < 0.05)
	{
		my $version = ++$version{"noise-$writer"};
		my $id = sprintf('ffffffff-%04x-4000-8000-%012x', $writer, $version);

		$sql .= "\\; SELECT FROM asynx.append('noise-$writer', $version, 'noise.made', '[]', "
		  . "id => '$id')";
	}
	return { sql => $sql, answered => sub { $written += @made } };
}

# The consumer of the pull subscription: it looks again when somebody has written since.

my $fetch = "BEGIN;\nSELECT take_pull(array_agg(e)) "
  . "FROM asynx.fetch('pull', 100, auto_ack => true) AS e;\nCOMMIT";
my ($fetched, $fetched_at) = (1, -1);

sub fetch_unit
{
	return if $fetched == 0 && $fetched_at == $written;
	my $begun_at = $written;

	return {
		sql => $fetch,
		answered => sub {
			$fetched = $_[0];
			$fetched_at = $begun_at;
		}
	};
}

# The sessions, served in one loop.

open my $log, '>', "$work/sessions.log" or die "sessions.log: $!";
my $select = IO::Select->new;
my (@sessions, %session_of);
my $lost_sessions = 0;

# Gives a session a psql, which tells its backend and is asked again what was not answered.
sub connect_session
{
	my ($session) = @_;
	my $hello = { sql => 'SELECT pg_backend_pid()', hello => 1 };

	$hello->{answered} = sub { $session->{pid} = $_[0] };
	delete $session->{pid};
	$session->{asked} = [ $hello, grep { !$_->{hello} } @{ $session->{asked} } ];
	$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
	$session->{psql} = Clients::start_psql($node, $log, 'session');
	@$session{qw(buffer rows)} = ('', []);
	$session_of{ $session->{psql}{out} } = $session;
	$select->add($session->{psql}{out});
	send_units($session, @{ $session->{asked} });
	return;
}

# Takes the psql of a session away.
sub disconnect_session
{
	my ($session) = @_;
	my $psql = delete $session->{psql};

	$select->remove($psql->{out});
	delete $session_of{ $psql->{out} };
	close $psql->{in};
	close $psql->{out};
	waitpid $psql->{pid}, 0;
	return;
}

sub send_units
{
	my ($session, @units) = @_;

	print { $session->{psql}{in} } map { "$_->{sql};\n\\echo answered :SQLSTATE\n" } @units;
	return;
}

# Gives a session that is idle its next units.
sub feed_session
{
	my ($session) = @_;
	my $asked = $session->{asked};

	return if @$asked;
	while (@$asked < $session->{batch} && defined(my $unit = $session->{next}->()))
	{
		push @$asked, $unit;
	}
	send_units($session, @$asked);
	return;
}

# Takes what a session's psql has said.
sub receive
{
	my ($session) = @_;

	if (!sysread($session->{psql}{out}, $session->{buffer}, 65536, length $session->{buffer}))
	{
		$lost_sessions++;
		disconnect_session($session);
		connect_session($session);
		return;
	}
	my @lines = split /\n/, $session->{buffer}, -1;

	$session->{buffer} = pop @lines;
	foreach my $line (@lines)
	{
		if ($line !~ /\Aanswered (\w{5})\z/)
		{
			push @{ $session->{rows} }, $line if $line ne '';
			next;
		}
		my $unit = shift @{ $session->{asked} };

		$unexpected{$1}++ if $1 ne '00000';
		$unit->{answered}->(@{ $session->{rows} });
		$session->{rows} = [];
	}
	return;
}

# Who is killed, and how.

my (%killed, %at_work);

# The backend of a session that has much to do, if there is one, and whether it has.
sub pick_session
{
	my @connected = grep { $_->{pid} && @{ $_->{asked} } } @sessions;
	my @busy = grep { @{ $_->{asked} } > $_->{batch} / 2 } @connected;

	return $busy[ rand @busy ]{pid}, 't' if @busy;
	return $connected[ rand @connected ]{pid} if @connected;
	return;
}

# A worker, rather one that is at work, and whether it is.
sub pick_worker
{
	my ($kind) = @_;

	$node->poll_query_until('postgres', "SELECT pid IS NOT NULL FROM victim('$kind')")
	  or die "there is no $kind";
	return split /\|/, $node->safe_psql('postgres', "SELECT * FROM victim('$kind')");
}

# Kills one of a kind, and waits until the server has noticed; false if there was none.
sub kill_one
{
	my ($kind, $signal) = @_;
	my $begin = -s $node->logfile;
	my ($pid, $busy) = $kind eq 'session' ? pick_session() : pick_worker($kind);

	return 0 if !$pid || !kill $signal, $pid;
	if ($signal eq 'KILL')
	{
		# The postmaster tells of a child's death when it has reaped it, before anything else.
		Time::HiRes::sleep(0.01) while -e "/proc/$pid";
		# A psql that is refused may be gone before it has got its query.
		eval { $node->psql('postgres', 'SELECT 1') };
		my $reaped = slurp_file($node->logfile, $begin);
		return 0 if $reaped !~ /\(PID $pid\) was terminated by signal 9/;
		$node->wait_for_log(qr/all server processes terminated; reinitializing/, $begin);
	}
	$killed{"$kind $signal"}++;
	$at_work{$kind}++ if ($busy // '') eq 't';
	if ($signal ne 'KILL')
	{
		$node->poll_query_until('postgres',
			"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)")
		  or die "$kind $pid does not end";
	}
	return 1;
}

# Kills the postmaster, and starts the server again; which it refuses as long as processes of the
# one before are there.
sub kill_postmaster
{
	my $tries = 0;

	$killed{postmaster}++;
	$node->kill9;
	1 while run_log([ 'pg_ctl', '-D', $node->data_dir, 'status' ], '>', \my $out);
	until ($node->start(fail_ok => 1))
	{
		die 'the server does not start' if ++$tries > $PostgreSQL::Test::Utils::timeout_default;
	}
	return 1;
}

# The plan: after how many events what is to happen.
note("SEED=$seed");
srand $seed;
my @cycle = (
	[ 'asynx projection' => 'KILL' ],
	[ 'asynx bus' => 'KILL' ],
	[ 'session' => 'KILL' ],
	[ 'asynx projection' => 'TERM' ],
	[ 'asynx projection' => 'KILL' ],
	[ 'session' => 'TERM' ],
	[ 'session' => 'KILL' ],
	[ 'asynx bus' => 'TERM' ]);
my @plan = sort { $a->{at} <=> $b->{at} } (
	(map { { at => 0.95 * rand $events, what => $cycle[ $_ % @cycle ] } } 0 .. $kills - 1),
	(map { { at => 0.95 * rand $events } } 1 .. $restarts));
my $steps = @plan;

# Carries out what is due; then the sessions are to get on before the next.
sub follow_plan
{
	return if !@plan || $plan[0]{at} > $written;
	my $what = $plan[0]{what};
	my $next = $written + $events / $steps / 3;

	return if !($what ? kill_one(@$what) : kill_postmaster());
	shift @plan;
	$plan[0]{at} = $next if @plan && $plan[0]{at} < $next;
	return;
}

# The run.

@sessions = map {
	my $writer = $_;

	{ next => sub { make_unit($writer) }, batch => $batch, asked => [] }
} 0 .. $writers - 1;
push @sessions, { next => \&fetch_unit, batch => 1, asked => [] };

# A psql that has lost its session does not read any more.
local $SIG{PIPE} = 'IGNORE';
my $start = time;

connect_session($_) foreach @sessions;
for (;;)
{
	feed_session($_) foreach @sessions;
	last if !grep { @{ $_->{asked} } } @sessions;
	my @ready = $select->can_read($PostgreSQL::Test::Utils::timeout_default)
	  or die 'no session was answered for a long time';
	receive($session_of{$_}) foreach @ready;
	follow_plan();
}
my $took = time - $start;

disconnect_session($_) foreach @sessions;
is_deeply(\%unexpected, {}, 'nothing failed that was written or fetched');
is($written, $events, 'everything was written');
is(scalar @plan, 0, 'everybody was killed who was to be');
note("$events events in $took s, $lost_sessions sessions lost; "
	  . join(', ', map { "$_: $killed{$_}" } sort keys %killed));
note('at work when killed: ' . join(', ', map { "$_: $at_work{$_}" } sort keys %at_work));

# Handlers die while they catch up.
my $behind = $events - $node->safe_psql('postgres', 'SELECT count(*) FROM seen_single');

note("$behind events are left to be handled");
foreach my $kind ('asynx projection', 'asynx bus')
{
	1 until kill_one($kind, 'KILL');
}
cmp_ok($at_work{$_} // 0, '>', 0, "$_: some were killed at work")
  foreach 'asynx projection', 'session';
cmp_ok($lost_sessions, '>', $restarts, 'sessions were lost');

# What a crash has left is done.
ok($node->poll_query_until('postgres', "SELECT asynx.wait_for(NULL, '120 s')"),
	'the handlers have come to the end');

# An event that was being handled at two deaths waits to be handled again.
is($node->safe_psql('postgres', <<'SQL'), '', 'nothing failed but at the second death');
SELECT * FROM asynx.failures WHERE attempts < 2 OR sqlstate IS DISTINCT FROM '57P02'
SQL
my $failures = $node->safe_psql('postgres', <<'SQL');
SELECT count(asynx.retry(subscription, position)) FROM asynx.failures WHERE attempts > 0
SQL
note("$failures events were being handled at two deaths");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM asynx.failures'),
	'nothing is left that failed');
ok($node->poll_query_until('postgres', <<'SQL'), 'the channel has been told everything');
SELECT position >= (SELECT max(position) FROM asynx.events)
FROM asynx.subscription_status WHERE name = 'told'
SQL
is($node->safe_psql('postgres', $fetch =~ s/;\n/; /gr), '0', 'nothing is left to be fetched');
stream_checks($node, 'afterwards');

# What should have been handled, with the states as a replay gives them.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE expected AS
  SELECT r.aggregate_id, r.version, r.position, md5(r.aggregate::text) AS state,
         md5(r.previous_aggregate::text) AS previous
  FROM (SELECT DISTINCT aggregate_id FROM asynx.events WHERE event_name ~ '^document\.') AS a,
    asynx.replay(a.aggregate_id) AS r;
SQL
is($node->safe_psql('postgres', 'SELECT count(*) FROM expected'), $events, 'all events are stored');
is($node->safe_psql('postgres', <<'SQL'), '', 'the states are those that were written');
SELECT * FROM expected
WHERE state IS DISTINCT FROM md5(document(aggregate_id, version)::text)
  OR previous IS DISTINCT FROM md5(document(aggregate_id, version - 1)::text)
SQL

foreach my $name (@noting)
{
	my $columns = 'aggregate_id, version, position'
	  . ((grep { $_ eq $name } @with_states) ? ', state, previous' : '');

	is( $node->safe_psql('postgres',
			"SELECT $columns FROM expected EXCEPT ALL SELECT $columns FROM seen_$name LIMIT 20"),
		'', "$name: no event was left out");
	is( $node->safe_psql('postgres',
			"SELECT $columns FROM seen_$name EXCEPT ALL SELECT $columns FROM expected LIMIT 20"),
		'', "$name: no event was handled twice, or with another state");
	is($node->safe_psql('postgres', <<"SQL"), '', "$name: in the order of each aggregate");
SELECT * FROM (SELECT aggregate_id, version, n, lag(version, 1, 0::bigint) OVER s AS before
               FROM seen_$name WINDOW s AS (PARTITION BY aggregate_id ORDER BY n)) AS s
WHERE version <> before + 1 LIMIT 20
SQL
	my $state = $columns =~ /state/ ? 'md5(asynx.get(aggregate_id)::text)' : 'NULL';

	is($node->safe_psql('postgres', <<"SQL"), '', "$name: the read model is what the events say");
SELECT * FROM model_$name AS m
FULL JOIN (SELECT aggregate_id, count(*) AS events, sum(version) AS total, max(version) AS last,
                  $state AS state
           FROM asynx.events WHERE event_name ~ '^document\\.' GROUP BY aggregate_id) AS t
  USING (aggregate_id)
WHERE (m.events, m.total, m.last, m.state) IS DISTINCT FROM (t.events, t.total, t.last, t.state)
LIMIT 20
SQL
}

$node->stop;
done_testing();
