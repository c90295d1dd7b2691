# What the store's TAP tests share: a cluster with asynx in it, sessions that run
# side by side, and the questions that every test asks at its end.
#
# Sessions are psql processes, started by start_session() and collected by
# finish_sessions(); start_together() lets them wait for each other first, so
# that none is through before the last one has connected.

package StoreTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  store_node
  start_session
  start_together
  finish_sessions
  wait_for_no_sessions
  sqlstate_of
  broken_streams
  stream_checks
);

# The barrier of start_together(), an advisory lock that nothing else takes.
my $barrier = 4711;

# A started cluster with asynx preloaded and created in database "postgres"; "init"
# goes to Cluster::init().
sub store_node
{
	my ($name, $conf, %init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%init);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'asynx'\n");
	$node->append_conf('postgresql.conf', "autovacuum = off\n");
	$node->append_conf('postgresql.conf', $conf) if defined $conf;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION asynx');
	return $node;
}

# Starts a psql that runs the statements, each sent on its own, and returns its handle.
sub start_session
{
	my ($node, @statements) = @_;
	my $session = { stdout => '', stderr => '' };
	my @command = (
		'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose',
		'-d', $node->connstr('postgres'),
		map { ('-c', $_) } @statements);

	$session->{run} = IPC::Run::start(
		\@command,
		'<', \undef,
		'>', \$session->{stdout},
		'2>', \$session->{stderr},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $session;
}

# Starts one session for each element, a reference to its statements, and lets
# all of them begin at once.
sub start_together
{
	my ($node, @jobs) = @_;
	my $gate = $node->background_psql('postgres');
	my @sessions;

	$gate->query_safe("SELECT pg_advisory_lock($barrier)");
	foreach my $statements (@jobs)
	{
		push @sessions,
		  start_session($node, "SELECT FROM pg_advisory_lock_shared($barrier)", @$statements);
	}
	my $waiting = scalar @jobs;
	$node->poll_query_until('postgres',
		"SELECT count(*) = $waiting FROM pg_locks "
		  . "WHERE locktype = 'advisory' AND objid = $barrier AND NOT granted")
	  or die "the sessions did not come to the barrier";
	$gate->quit;
	return @sessions;
}

# Waits for sessions to end; reports those that failed, and returns how many did.
sub finish_sessions
{
	my @sessions = @_;
	my $failed = 0;

	foreach my $session (@sessions)
	{
		next if $session->{run}->finish;
		diag("session failed: $session->{stderr}");
		$failed++;
	}
	return $failed;
}

# Waits until no backend with this application name is left.
sub wait_for_no_sessions
{
	my ($node, $application) = @_;

	$node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = '$application'")
	  or die "\"$application\" did not end";
	return;
}

# Runs SQL that should fail and returns its SQLSTATE, '' if it did not.
sub sqlstate_of
{
	my ($node, $database, $sql) = @_;
	my ($stdout, $stderr) = ('', '');

	$node->psql($database, "\\set VERBOSITY verbose\n$sql",
		stdout => \$stdout, stderr => \$stderr);
	return $stderr =~ /(?:ERROR|FATAL):  (\w{5}): / ? $1 : '';
}

# The aggregates whose versions are not 1..n, or whose positions do not ascend with them.
sub broken_streams
{
	my ($node, $database) = @_;

	return $node->safe_psql($database // 'postgres', <<'SQL');
SELECT DISTINCT aggregate_id
FROM (SELECT aggregate_id, version, position,
             row_number() OVER s AS expected,
             lag(position, 1, 0::bigint) OVER s AS before
      FROM asynx.events WINDOW s AS (PARTITION BY aggregate_id ORDER BY version)) e
WHERE version <> expected OR position <= before
ORDER BY 1
SQL
}

# What holds of every store at rest: whole streams, nothing in flight, the feed to its end.
sub stream_checks
{
	my ($node, $label, $database) = @_;
	$database //= 'postgres';

	is(broken_streams($node, $database), '', "$label: no stream has a gap or steps back");
	is($node->safe_psql($database, 'SELECT * FROM asynx.feed_status'),
		'', "$label: nothing holds the safe position back");
	is($node->safe_psql($database, <<'SQL'), 't', "$label: the feed is the log");
SELECT (SELECT array_agg(position) FROM asynx.read_all(0, 1000000000))
  IS NOT DISTINCT FROM (SELECT array_agg(position ORDER BY position)
    FROM (SELECT position FROM asynx.events UNION ALL SELECT position FROM asynx.tombstones) AS f)
SQL
	return;
}

1;
