# What a bus is promised to do beside others: handlers that wait, writers that commit late, a
# forget in the middle of a batch, databases that come, go and are copied, shutdowns and restarts
# with a handler at work, notifications in and out.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $node = store_node('bus', "max_worker_processes = 16\nlog_statement = none\n");
my $handlers = <<'SQL';
CREATE TABLE seen (who text, aggregate_id text, version bigint, n bigserial);
CREATE TABLE gate ();
CREATE TABLE people (id text PRIMARY KEY, name text);
-- Notes the event; "slow" then waits until the gate is open.
CREATE FUNCTION quick(e asynx.stored_event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO seen VALUES ('quick', e.aggregate_id, e.version) $$;
CREATE FUNCTION slow(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN LOCK TABLE gate IN SHARE MODE; INSERT INTO seen VALUES ('slow', e.aggregate_id, e.version); END $$;
CREATE FUNCTION person(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF e.event_name = 'asynx.aggregate.forget' THEN
    DELETE FROM people WHERE id = e.aggregate_id;
  ELSE
    LOCK TABLE gate IN SHARE MODE;
    INSERT INTO people VALUES (e.aggregate_id, e.aggregate ->> 'name') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
  END IF;
END $$;
SQL
$node->safe_psql('postgres', $handlers);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub wait_until
{
	my ($condition, $what, $database) = @_;

	ok($node->poll_query_until($database // 'postgres', "SELECT $condition"), $what);
	return;
}

# A session that keeps the gate shut.
sub shut_gate
{
	my $session = $node->background_psql('postgres');

	$session->query_safe('BEGIN');
	$session->query_safe('LOCK TABLE gate IN EXCLUSIVE MODE');
	return $session;
}

my $waits_at_gate = "EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
  . "WHERE NOT l.granted AND l.relation = 'gate'::regclass AND a.backend_type = 'asynx projection')";

# A handler that waits for a lock holds up nobody but its own subscription.
sql("SELECT asynx.subscribe('ev', 'public.slow', 'slow'), asynx.subscribe('ev', 'public.quick', 'quick')");
my $gate = shut_gate();
sql("SELECT FROM asynx.write('a', 'ev', '1')");
wait_until($waits_at_gate, 'lock: the slow handler waits');
sql("SELECT FROM asynx.write('a', 'ev', '2')");
is(sql("SELECT asynx.wait_for(subscription => 'quick')"), 't', 'lock: the other one goes on');
is(sql("SELECT string_agg(who || version, ' ' ORDER BY n) FROM seen"), 'quick1 quick2',
	'lock: and has handled everything');
is(sql("SELECT asynx.wait_for(timeout => '0.1 s')"), 'f', 'lock: who waits for both, waits');
is( sql("SELECT subscription, state FROM asynx.worker_status WHERE state = 'running' AND kind = 'projection'"),
	'slow|running', 'lock: the status tells who is at work');
my $pid = sql("SELECT pid FROM asynx.worker_status WHERE subscription = 'slow'");
is(sql("SELECT backend_type || ' ' || query FROM pg_stat_activity WHERE pid = $pid"),
	'asynx projection slow', 'lock: pg_stat_activity tells the same');

# Shutting down: the deadline, who else waits, and that handlers end.
is(sqlstate_of($node, 'postgres', "CALL asynx.shutdown('0.1 s')"), 'SX006',
	'shutdown: past its deadline it raises');
is(sql('SELECT asynx.lifecycle_state()'), 'draining', 'shutdown: and the store stays draining');
is(sqlstate_of($node, 'postgres', "SELECT asynx.write('a', 'ev', '3')"), 'SX006',
	'shutdown: commands are refused');
my $shutting = start_session($node, "CALL asynx.shutdown('180 s')");
wait_until("EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CALL asynx.shutdown%' AND state = 'active' AND wait_event_type = 'Extension')",
	'shutdown: one session waits');
is(sqlstate_of($node, 'postgres', "CALL asynx.shutdown('1 s')"), 'SX007',
	'shutdown: another one is told so');
$gate->quit;
is(finish_sessions($shutting), 0, 'shutdown: the handler has ended, and it succeeds');
is(sql('SELECT asynx.lifecycle_state()'), 'stopped', 'shutdown: the store is stopped');
is(sql("SELECT string_agg(version::text, ' ' ORDER BY n) FROM seen WHERE who = 'slow'"), '1 2',
	'shutdown: what there was has been handled');
$node->restart;
is(sql('SELECT asynx.lifecycle_state()'), 'stopped', 'shutdown: also after a restart');
sql("SELECT FROM asynx.append('a', 3, 'ev', '[]')");
is(sql("SELECT asynx.wait_for(timeout => '0.1 s')"), 'f', 'shutdown: handlers rest');
sql('SELECT asynx.resume()');
is(sql('SELECT asynx.wait_for()'), 't', 'resume: handlers go on');
is(sql("SELECT count(*) FROM seen WHERE version = 3"), 2, 'resume: where they were');

is(sql("SELECT count(*) FROM asynx.worker_status WHERE state = 'running' AND kind = 'projection'"),
	0, 'shutdown: no handler is at work after it');

# Who analyzes the log does not write; who does is named, and resume() is not undone.
my $writer = $node->background_psql('postgres');
$writer->query_safe('BEGIN');
$writer->query_safe('ANALYZE asynx.events');
sql("CALL asynx.shutdown('180 s')");
is(sql('SELECT asynx.lifecycle_state()'), 'stopped', 'shutdown: ANALYZE is not waited for');
sql('SELECT asynx.resume()');
$writer->query_safe("SELECT FROM asynx.write('a', 'unheard', '1')");
my $writing = $writer->query_safe('SELECT pg_backend_pid()');
my ($status, $out, $error) = $node->psql('postgres', "CALL asynx.shutdown('0.1 s')");
like($error, qr/stays draining.*Process $writing has written/, 'shutdown: who writes is named');
$shutting = start_session($node, "CALL asynx.shutdown('180 s')");
wait_until("EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CALL asynx.shutdown%' AND state = 'active' AND wait_event_type = 'Extension')",
	'shutdown: it waits for the writer');
sql('SELECT asynx.resume()');
$writer->query_safe('COMMIT');
$writer->quit;
isnt(finish_sessions($shutting), 0, 'resume: a shutdown that waits fails');
is(sql('SELECT asynx.lifecycle_state()'), 'running', 'resume: and the store runs');

# A restart, and the end of the worker, in the middle of a handler.
foreach my $how (qw(fast immediate terminate))
{
	sql('TRUNCATE seen');
	$gate = shut_gate();
	sql("SELECT FROM asynx.write('b', 'ev', to_jsonb('$how'::text))");
	wait_until($waits_at_gate, "$how: the handler is at work");
	if ($how eq 'terminate')
	{
		sql("SELECT pg_terminate_backend(pid) FROM asynx.worker_status WHERE subscription = 'slow'");
		$gate->quit;
	}
	else
	{
		$node->stop($how);
		$node->start;
	}
	is(sql('SELECT asynx.wait_for()'), 't', "$how: the event is handled");
	is(sql('SELECT who, count(*) FROM seen GROUP BY who ORDER BY who'), "quick|1\nslow|1", "$how: once");
	is(sql('SELECT count(*) FROM asynx.failures'), 0, "$how: nothing has failed");
}

# Who commits late delays what comes after him, and is named; nothing is skipped.
sql('TRUNCATE seen');
my $late = $node->background_psql('postgres');
$late->query_safe('BEGIN');
$late->query_safe("SELECT FROM asynx.append('late', 1, 'ev', '[]')");
sql("SELECT FROM asynx.append('early', 1, 'ev', '[]')");
my $late_pid = $late->query_safe('SELECT pg_backend_pid()');
is(sql('SELECT pid FROM asynx.feed_status'), $late_pid, 'late: feed_status names who holds the feed back');
is(sql("SELECT asynx.wait_for((SELECT max(position) FROM asynx.events), '0.1 s'), count(*) FROM seen"),
	'f|0', 'late: what comes after him waits');
is(sql('SELECT asynx.wait_for()'), 't', 'late: up to him everything is handled');
$late->query_safe('COMMIT');
is(sql('SELECT asynx.wait_for()'), 't', 'late: everything is handled');
is(sql("SELECT string_agg(aggregate_id, ' ' ORDER BY n) FROM seen WHERE who = 'quick'"),
	'late early', 'late: in order, and none is skipped');
$late->quit;

# A forget while a batch that holds the person runs: the person does not come back.
sql("SELECT asynx.subscribe('person[.].*|asynx[.]aggregate[.]forget', 'public.person', 'person')");
$gate = shut_gate();
sql("SELECT FROM asynx.write('jane', 'person.born', '{\"name\": \"Jane\"}')");
wait_until($waits_at_gate, 'forget: a batch is at work');
my $forgetting = start_session($node, "SELECT asynx.forget('jane')");
wait_until("EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT asynx.forget%' AND wait_event_type = 'Lock')",
	'forget: it waits for the batch');
$gate->quit;
is(finish_sessions($forgetting), 0, 'forget: done');
is(sql('SELECT asynx.wait_for()'), 't', 'forget: all is handled');
is(sql('SELECT count(*) FROM people'), 0, 'forget: the person has not come back');
is(sql("SELECT asynx.exists('jane'), count(*) FROM asynx.failures"), 'f|0', 'forget: nowhere');

# A forget that has to wait for somebody who fetches holds up nobody else.
sql("SELECT asynx.subscribe('fetched', mode => 'pull', name => 'fetched')");
sql("SELECT FROM asynx.write('joe', 'fetched', '1')");
my $fetching = $node->background_psql('postgres');
$fetching->query_safe('BEGIN');
$fetching->query_safe("SELECT version FROM asynx.fetch('fetched')");
$forgetting = start_session($node, "SELECT asynx.forget('joe')");
wait_until("EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT asynx.forget%' AND wait_event_type = 'Lock')",
	'forget: it waits for who fetches');
sql("SELECT FROM asynx.write('beside', 'ev', '1')");
is(sql('SELECT asynx.wait_for((SELECT max(position) FROM asynx.events))'),
	't', 'forget: others go on meanwhile');
$fetching->query_safe('COMMIT');
$fetching->quit;
is(finish_sessions($forgetting), 0, 'forget: done');
is(sql("SELECT asynx.exists('joe'), asynx.unsubscribe('fetched')"), 'f|t', 'forget: joe is gone');

# A rebuild that comes while the events of a batch are handled one by one begins at its beginning.
sql(<<'SQL');
CREATE TABLE model (aggregate_id text, version bigint, PRIMARY KEY (aggregate_id, version));
CREATE FUNCTION alone(e asynx.stored_event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO model VALUES (e.aggregate_id, e.version);
  IF e.version = 2 THEN LOCK TABLE gate IN SHARE MODE; END IF;
  IF e.version = 100 THEN RAISE 'not this one'; END IF;
END $$;
SELECT asynx.subscribe('alone', 'public.alone', 'alone');
SELECT FROM asynx.append('alone', 1, 'alone', '[]');
SELECT asynx.wait_for();
SQL
$gate = shut_gate();
sql("SELECT asynx.append_many((SELECT jsonb_agg(jsonb_build_object('aggregate_id', 'alone', 'version', v, "
	  . "'event_name', 'alone', 'patch', '[]'::jsonb)) FROM generate_series(2, 100) AS v))");
wait_until($waits_at_gate, 'alone: a batch is at work');
my $rebuilding = start_session($node, "SET lock_timeout = 0; BEGIN; SELECT asynx.rebuild('alone'); TRUNCATE model; COMMIT;");
wait_until("EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%asynx.rebuild%' AND wait_event_type = 'Lock')",
	'alone: a rebuild waits for it');
$gate->quit;
is(finish_sessions($rebuilding), 0, 'alone: the rebuild is done');
is(sql('SELECT asynx.wait_for()'), 't', 'alone: all is handled');
is(sql('SELECT count(*), min(version), max(version) FROM model'), '99|1|99', 'alone: from the beginning');
is(sql("SELECT asynx.unsubscribe('alone')"), 't', 'alone: done');

# A rebuild of partitions that have nothing to do comes to its end too.
sql("SELECT asynx.subscribe('alone', 'public.quick', 'idle', partitions => 4)");
sql("SELECT asynx.rebuild('idle')");
wait_until("done = total FROM asynx.progress WHERE subscription = 'idle'", 'rebuild: its progress is whole');
sql("SELECT asynx.unsubscribe('idle')");
sql("DELETE FROM seen WHERE aggregate_id = 'alone'");

# Notifications.  A psql shows those that have come with each answer.
sql("SELECT asynx.subscribe('said', mode => 'channel', channel => 'Said', name => 'said')");
my $ear = $node->background_psql('postgres');
$ear->query_safe('LISTEN asynx');
$ear->query_safe('LISTEN "Said"');

sub hears
{
	my ($pattern, $what) = @_;
	my $heard = '';
	my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;

	while ($heard !~ $pattern && $tries-- > 0)
	{
		$heard .= $ear->query_safe('SELECT FROM pg_sleep(0.1)') . "\n";
	}
	like($heard, $pattern, $what);
	return $heard;
}
my $position = sql("SELECT position FROM asynx.write('q\"uote', 'said', '1')");
my $heard = hears(qr/"Said"/, 'notify: a channel subscription tells of the event');
like($heard,
	qr/notification "Said" with payload "\{"position":$position,"aggregate_id":"q\\"uote","aggregate_type":"default","event_name":"said","version":1\}"/,
	'notify: with where it is, and no content');
hears(qr/notification "asynx" with payload "\{"position":$position\}"/, 'notify: the position goes to everybody')
  unless $heard =~ /"asynx" with payload "\{"position":$position\}"/;
$node->append_conf('postgresql.conf', "asynx.notify = full\n");
$node->reload;
wait_until("current_setting('asynx.notify') = 'full'", 'notify: the setting is read again');
$position = sql("SELECT position FROM asynx.write('loud', 'other', '1')");
hears(qr/notification "asynx" with payload "\{"position":$position,"aggregate_id":"loud"/,
	'notify: with "full" every event is told of');
$node->append_conf('postgresql.conf', "asynx.notify = off\n");
$node->reload;
wait_until("current_setting('asynx.notify') = 'off'", 'notify: the setting is read once more');
sql("SELECT FROM asynx.write('silent', 'other', '1')");
sql("SELECT FROM asynx.write('again', 'said', '1')");
unlike(hears(qr/"Said"/, 'notify: channels go on'), qr/notification "asynx"/, 'notify: "off" is silence');
sql("SELECT FROM asynx.publish('again', 1)");
hears(qr/"Said" with payload "\{"position":\d+,"aggregate_id":"again"/, 'publish: channels are told once more');
sql("SELECT asynx.append_many((SELECT jsonb_agg(jsonb_build_object('aggregate_id', 'bulk', 'version', v, "
	  . "'event_name', 'bulk', 'patch', '[]'::jsonb)) FROM generate_series(1, 2500) AS v))");
sql("SELECT asynx.subscribe('bulk', mode => 'channel', channel => 'Bulk', name => 'bulk', start_at => 0)");
sql("SELECT FROM asynx.write('beside', 'said', '1')");
$ear->query_safe('LISTEN "Bulk"');
sql("SELECT asynx.rebuild('bulk')");
$heard = hears(qr/"Bulk" with payload "[^\n]*"version":2500\}/, 'notify: who begins in the past is told of all');
my @versions = $heard =~ /"Bulk" with payload "[^\n]*"version":(\d+)\}/g;
push @versions, $ear->query_safe('SELECT') =~ /"Bulk" with payload "[^\n]*"version":(\d+)\}/g;
is("@versions[-2500 .. -1]", join(' ', 1 .. 2500), 'notify: in order, each once');
sql("SELECT asynx.publish('a', 1)");
sql("NOTIFY asynx_wake, 'quick'; NOTIFY asynx_wake");
is(sql('SELECT asynx.wait_for()'), 't', 'NOTIFY asynx_wake makes workers look');
$ear->quit;

# listen() and subscribe_wait() get events as they come.
my $listening = start_session($node, "SELECT version, aggregate FROM asynx.listen('heard', 2, '180 s')");
my $waiting = start_session($node, "SELECT (w).version FROM asynx.subscribe_wait('heard', '180 s') AS w");
wait_until("(SELECT count(*) = 2 FROM pg_stat_activity WHERE query ~ '^SELECT.*(asynx.listen|asynx.subscribe_wait)' AND wait_event_type = 'Extension')",
	'listen: both wait');
sql("SELECT FROM asynx.write('h', 'heard', '[1]')");
sql("SELECT FROM asynx.write('h', 'heard', '[1, 2]')");
is(finish_sessions($listening, $waiting), 0, 'listen: both have ended');
is($listening->{stdout}, "1|[1]\n2|[1, 2]\n", 'listen: the events with their states');
is($waiting->{stdout}, "1\n", 'subscribe_wait: the first of them');

# Paused while its worker is in the middle of a task, a subscription keeps its place, however far the
# feed goes on meanwhile.
my $others = "SELECT asynx.append_many((SELECT jsonb_agg(jsonb_build_object('aggregate_id', 'others', 'version', "
  . "(SELECT count(*) FROM asynx.events WHERE aggregate_id = 'others') + v, 'event_name', 'others', 'patch', '[]'::jsonb)) "
  . "FROM generate_series(1, 12000) AS v))";
sql("SELECT asynx.subscribe('kept', 'public.slow', 'kept')");
$gate = shut_gate();
sql("SELECT asynx.append('kept', v, 'kept', '[]') FROM generate_series(1, 4) AS v");
wait_until($waits_at_gate, 'pause: the handler waits');
wait_until("EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'asynx projection' AND query = 'kept' "
	  . "AND clock_timestamp() - query_start > '0.1 s')", 'pause: longer than a batch may take');
sql("SELECT asynx.pause('kept')");
$gate->quit;
wait_until("NOT EXISTS (SELECT FROM asynx.worker_status WHERE subscription = 'kept' AND state = 'running')",
	'pause: the task ends');
sql($others);
sql("SELECT asynx.append('turn', 1, 'ev', '[]')");
is(sql('SELECT asynx.wait_for()'), 't', 'pause: others go on');
cmp_ok(sql("SELECT count(*) FROM seen WHERE aggregate_id = 'kept'"), '<', 4, 'pause: there is something left');
sql("SELECT asynx.resume('kept')");
is(sql("SELECT asynx.wait_for(subscription => 'kept')"), 't', 'pause: it goes on');
is(sql("SELECT string_agg(version::text, ' ' ORDER BY n) FROM seen WHERE aggregate_id = 'kept'"),
	'1 2 3 4', 'pause: and nothing is left out');

# A forget that does not come to its end holds up the handlers, but not the bus.
my $unended = $node->background_psql('postgres');
$unended->query_safe('BEGIN');
$unended->query_safe("SELECT asynx.forget('kept')");
sql($others);
sql("SELECT asynx.append('turn', 2, 'said', '[]')");
my $last = sql('SELECT asynx.safe_position()');
wait_until("position >= $last FROM asynx.feed_mark", 'forget: the bus goes on beside it');
$unended->query_safe('ROLLBACK');
$unended->quit;
is(sql('SELECT asynx.wait_for()'), 't', 'forget: and the handlers after it');
sql("SELECT asynx.unsubscribe('kept')");

# Databases come, go, are copied and renamed; workers make room and come back.
sub works_in
{
	my ($database, $what) = @_;

	$node->safe_psql($database, "SELECT FROM asynx.write('new', 'ev', to_jsonb(random()))");
	is($node->safe_psql($database, 'SELECT asynx.wait_for()'), 't', "$what: handlers work");
	is($node->safe_psql($database, 'SELECT count(*) FROM seen'),
		$node->safe_psql($database, "SELECT count(*) FROM asynx.events WHERE event_name = 'ev'"),
		"$what: exactly once");
	return;
}
$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('one', "CREATE EXTENSION asynx; $handlers");
$node->safe_psql('one', "SELECT asynx.subscribe('ev', 'public.quick', 'quick')");
works_in('one', 'a new database');

# Who may not do that to a database does not disturb it by trying.
sql('CREATE ROLE stranger LOGIN CREATEDB');
my $bus_of_one = "SELECT pid FROM pg_stat_activity WHERE datname = 'one' AND backend_type = 'asynx bus'";
my $undisturbed = sql($bus_of_one);
foreach my $statement ('DROP DATABASE one', 'ALTER DATABASE one RENAME TO mine', 'CREATE DATABASE mine TEMPLATE one',
	'ALTER DATABASE one SET TABLESPACE pg_default')
{
	my ($status, $out, $error) = $node->psql('postgres', $statement, extra_params => [ '-U', 'stranger' ]);

	like($error, qr/must be owner|permission denied/, "a stranger: $statement");
}
is(sql($bus_of_one), $undisturbed, 'a stranger: the bus stays');
sql('DROP ROLE stranger');
$node->safe_psql('postgres', 'CREATE DATABASE two TEMPLATE one');
works_in('two', 'a copy');
works_in('one', 'its original');
$node->safe_psql('postgres', 'ALTER DATABASE two RENAME TO three');
works_in('three', 'a renamed database');
$node->safe_psql('postgres', 'DROP DATABASE three');
works_in('one', 'beside a dropped one');
$node->safe_psql('one', "SET asynx.allow_drop = on; DROP EXTENSION asynx CASCADE; DROP TABLE seen, gate, people");
wait_until("NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'one' AND backend_type LIKE 'asynx%')",
	'DROP EXTENSION: its workers go');
$node->safe_psql('one', "CREATE EXTENSION asynx; $handlers");
$node->safe_psql('one', "SELECT asynx.subscribe('ev', 'public.quick', 'quick')");
works_in('one', 'CREATE EXTENSION again');
$node->safe_psql('postgres', 'DROP DATABASE one');

# Settings of a database that would hinder a handler are the handler's own; workers do without.
$node->safe_psql('postgres', <<'SQL');
ALTER DATABASE postgres SET default_transaction_read_only = on;
ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
ALTER DATABASE postgres SET statement_timeout = '1ms';
ALTER DATABASE postgres SET lock_timeout = '1ms';
ALTER DATABASE postgres SET idle_in_transaction_session_timeout = '1ms';
ALTER DATABASE postgres SET search_path = 'nothing';
SQL
$node->restart;
{
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0 '
	  . '-c default_transaction_isolation=read\\ committed -c search_path=public';

	sql("SELECT FROM asynx.write('settings', 'ev', '1')");
	is(sql('SELECT asynx.wait_for()'), 't', 'settings of the database do not hinder workers');
	is(sql("SELECT count(*) FROM seen WHERE aggregate_id = 'settings'"), 2, 'nor handlers');
	sql('ALTER DATABASE postgres RESET ALL');
}

stream_checks($node, 'afterwards');
is(sql('SELECT count(*) FROM asynx.failures'), 0, 'nothing has failed');
$node->stop;
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile),
	qr/PANIC|terminated by signal|TRAP: |deadlock detected/, 'no crash, no deadlock');
done_testing();
