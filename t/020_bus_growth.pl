# A worker that has handled many events has not grown, nor has the bus; and when there is nothing to
# do, neither writes anything or needs the processor.
#
# EVENTS says how many; 1,000,000 are what is promised, fewer show the same sooner.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use StoreTest;
use Test::More;
use Time::HiRes qw(time);

my $events = $ENV{EVENTS} // 60_000;

plan skip_all => 'needs RssAnon of /proc'
  unless -r '/proc/self/status' && slurp_file('/proc/self/status') =~ /RssAnon/;

my $node = store_node('long', "asynx.max_workers = 1\nasynx.poll_interval = 1h\nlog_statement = none\nmax_wal_size = 4GB\n");
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE model (aggregate_id text PRIMARY KEY, version bigint, sum bigint);
CREATE TABLE counted (events bigint);
INSERT INTO counted VALUES (0);
-- Every 500th event fails, and with it its batch.
CREATE FUNCTION one(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF e.version % 500 = 0 THEN RAISE 'not this one'; END IF;
  INSERT INTO model VALUES (e.aggregate_id, e.version, (e.aggregate ->> 'n')::int)
  ON CONFLICT (aggregate_id) DO UPDATE SET version = excluded.version, sum = model.sum + excluded.sum;
END $$;
CREATE FUNCTION many(e asynx.event[]) RETURNS void LANGUAGE sql AS 'UPDATE counted SET events = events + cardinality(e)';
CREATE PROCEDURE store(first int, last int) LANGUAGE plpgsql AS $$
BEGIN
  FOR v IN first .. last LOOP
    PERFORM asynx.append_many((SELECT jsonb_agg(jsonb_build_object('aggregate_id', 'long-' || i, 'version', v, 'event_name', 'long.put',
      'patch', jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', jsonb_build_object('n', v, 'text', repeat('x', i))))))
      FROM generate_series(1, 100) AS i));
    COMMIT;
  END LOOP;
END $$;
SELECT asynx.subscribe('long.put', 'public.one', 'one'), asynx.subscribe('long.put', 'public.many', 'many');
SQL

sub sql { return $node->safe_psql('postgres', $_[0]); }

# What a process has, in kB: its private memory.
sub memory_of
{
	my ($pid) = @_;
	return slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m ? $1 : die 'no RssAnon';
}

# Seconds that a process has had a processor.
sub processor_of
{
	my ($pid) = @_;
	my @fields = split ' ', slurp_file("/proc/$pid/stat") =~ s/.*\)//r;
	return ($fields[11] + $fields[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

sub pids { return split /\n/, sql('SELECT pid FROM asynx.worker_status ORDER BY kind'); }

my $versions = $events / 100;
my $warm = int($versions / 3);
sql("CALL store(1, $warm)");
is(sql("SELECT asynx.wait_for(timeout => '170 s')"), 't', 'a third is handled');
my ($bus, $worker) = pids();
my @before = map { memory_of($_) } $bus, $worker;
sql('CALL store(' . ($warm + 1) . ", $versions)");
my $last = -1;
while (sql("SELECT asynx.wait_for(timeout => '60 s')") ne 't')
{
	my $done = sql('SELECT events FROM counted');
	die "the workers stand still at $done" if $done == $last;
	$last = $done;
}
my @after = map { memory_of($_) } $bus, $worker;
is(join(' ', pids()), "$bus $worker", 'it was the same worker all the time');
is(sql('SELECT events FROM counted'), 100 * $versions, "$events events have been handled");
is(sql('SELECT count(*) FROM asynx.failures'), 100 * int($versions / 500), 'those that fail have failed');
note("bus: $before[0] kB, then $after[0] kB; worker: $before[1] kB, then $after[1] kB");
cmp_ok($after[0] - $before[0], '<', 512, 'the bus has not grown');
cmp_ok($after[1] - $before[1], '<', 1024, 'the worker has not grown');

# Idle: no WAL but the server's own, no processor time.  First it has to have come to rest.
sql('CHECKPOINT');
my $still = "pg_current_wal_insert_lsn()";
my ($lsn, $moved);
foreach my $try (1 .. 20)
{
	$lsn = sql("SELECT $still");
	sql('SELECT pg_sleep(0.5)');
	last if sql("SELECT $still") eq $lsn;
}
my @busy = map { processor_of($_) } $bus, $worker;
my $began = time;
sql('SELECT pg_sleep(3)');
$moved = sql("SELECT $still - '$lsn'");
my $idle = time - $began;
my @used = map { processor_of($_) } $bus, $worker;
# The server itself logs its running transactions now and then, if anything was written before.
cmp_ok($moved, '<', 500, "idle for 3 s: $moved bytes of WAL");
cmp_ok($used[$_] - $busy[$_], '<=', 0.02, ('bus', 'worker')[$_] . ': no processor time') foreach 0, 1;

stream_checks($node, 'afterwards');
$node->stop;
done_testing();
