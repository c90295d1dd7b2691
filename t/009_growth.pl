# A backend that appends, reads, writes and fails for a long time does not grow, and a
# fold needs memory for the document and not for its history.
#
# Two measures, after a warm-up: what PostgreSQL's memory contexts hold, and the private
# memory of the process, which also shows what json-c allocated outside of them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

plan skip_all => 'needs RssAnon and VmHWM of /proc'
  unless -r '/proc/self/status' && slurp_file('/proc/self/status') =~ /RssAnon/;

my $node = store_node('growth', "synchronous_commit = off\n");

$node->safe_psql('postgres', <<'SQL');
-- Folds that fail: a small one, one that has applied much before, and one patch alone.
SELECT FROM asynx.append('broken', 1, 'patch.bad', '[{"op": "remove", "path": "/nothing"}]');
SELECT FROM asynx.write('half', 'document.made',
  (SELECT jsonb_object_agg('k' || n, jsonb_build_array(n, repeat('x', 50)))
   FROM generate_series(1, 300) AS n));
SELECT FROM asynx.append('half', 2, 'patch.bad',
  (SELECT jsonb_agg(jsonb_build_object('op', 'add', 'path', '/k' || n || '/-', 'value',
                                       jsonb_build_object('deep', repeat('y', 50))) ORDER BY n)
   FROM generate_series(1, 300) AS n) || '[{"op": "test", "path": "/k1/0", "value": 2}]');

CREATE PROCEDURE fail(times int) LANGUAGE plpgsql AS $$
DECLARE
  failed int := 0;
BEGIN
  FOR i IN 1 .. times LOOP
    BEGIN
      CASE i % 3
        WHEN 0 THEN PERFORM asynx.get('broken');
        WHEN 1 THEN PERFORM asynx.get('half');
        ELSE PERFORM asynx.json_patch('{"a": [1, 2, 3]}',
          '[{"op": "add", "path": "/a/-", "value": {"b": [1]}}, {"op": "remove", "path": "/c"}]');
      END CASE;
    EXCEPTION WHEN SQLSTATE 'SX015' OR SQLSTATE 'SX016' THEN
      failed := failed + 1;
    END;
    IF i % 100 = 0 THEN COMMIT; END IF;
  END LOOP;
  ASSERT failed = times;
END $$;

CREATE SEQUENCE turn;
CREATE PROCEDURE append(times int) LANGUAGE plpgsql AS $$
DECLARE
  round text;
BEGIN
  FOR i IN 1 .. times LOOP
    IF i % 100 = 1 THEN round := 'append-' || nextval('turn'); END IF;
    PERFORM asynx.append(round, (i - 1) % 100 + 1, 'step.made',
      jsonb_build_array(jsonb_build_object('op', 'add', 'path', '',
                                           'value', jsonb_build_object('i', i))));
    IF i % 100 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;

-- Cold folds, snapshots, time travel.
CREATE PROCEDURE get(times int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. times LOOP
    CASE i % 3
      WHEN 0 THEN PERFORM asynx.get('append-' || i % 5 + 1);
      WHEN 1 THEN PERFORM asynx.get('append-' || i % 5 + 1, i % 50 + 1);
      ELSE PERFORM asynx.get('written');
    END CASE;
    IF i % 100 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;

CREATE PROCEDURE write(times int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. times LOOP
    PERFORM asynx.write('written', 'state.set',
      jsonb_build_object('i', i, 'list', jsonb_build_array(i, i + 1, repeat('x', i % 100))),
      snapshot => i % 50 = 0);
    IF i % 100 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;

-- Commands with a handler in their transaction; every third handler fails, and its fallback too.
CREATE FUNCTION count_up(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN jsonb_build_object('n', coalesce((current ->> 'n')::int, 0) + 1);
END $$;
CREATE TABLE handled (n int);
CREATE FUNCTION handle(e asynx.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE handled SET n = (e.aggregate ->> 'n')::int;
  PERFORM 1 / ((e.aggregate ->> 'n')::int % 3);
END $$;
CREATE FUNCTION handle_too(e asynx.stored_event) RETURNS void LANGUAGE sql AS 'SELECT 1 / 0';
SELECT asynx.create_command('count', 'default', 'counted', 'public.count_up');
SELECT asynx.subscribe('counted', 'public.handle', 'growth', 'public.handle_too', '1 min', 'inline',
  on_failure => 'continue');
CREATE PROCEDURE send(times int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. times LOOP
    PERFORM asynx.send('count', 'counted-' || i % 7);
    IF i % 100 = 0 THEN COMMIT; DELETE FROM asynx.failures; END IF;
  END LOOP;
END $$;

CREATE PROCEDURE feed(times int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. times LOOP
    PERFORM count(*) FROM asynx.read_all(i, 20, 'step.*');
    IF i % 100 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;

-- This one grows, by 1 kB a turn: the measures see it.
CREATE PROCEDURE leak(times int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. times LOOP
    PERFORM set_config('leak.n' || nextval('turn'), repeat('x', 1000), false);
  END LOOP;
END $$;
SQL

# A line of /proc/PID/status, in kB.
sub status_of
{
	my ($pid, $name) = @_;
	return slurp_file("/proc/$pid/status") =~ /^$name:\s+(\d+) kB/m ? $1 : die "no $name";
}

# By how much the backend grew in the second call, after a first one: kB of private
# memory and kB in memory contexts.
sub growth
{
	my ($procedure, $times) = @_;
	my $session = $node->background_psql('postgres');
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my $contexts = 'SELECT sum(total_bytes) / 1024 FROM pg_backend_memory_contexts';
	my (@private, @held);

	foreach my $n ($times / 10, $times)
	{
		$session->query_safe("CALL $procedure($n)");
		push @held, $session->query_safe($contexts);
		push @private, status_of($pid, 'RssAnon');
	}
	$session->quit;
	return ($private[1] - $private[0], $held[1] - $held[0]);
}

my %times =
  (fail => 10000, append => 20000, write => 2000, get => 20000, feed => 5000, send => 10000);
foreach my $procedure (qw(append write get feed fail send))
{
	my ($private, $held) = growth($procedure, $times{$procedure});
	note("$procedure, $times{$procedure} times: $private kB private, $held kB in contexts");
	cmp_ok($private, '<', 768, "$procedure: the process does not grow");
	cmp_ok($held, '<', 128, "$procedure: its memory contexts do not grow");
}
my ($private, $held) = growth('leak', 2000);
cmp_ok($private, '>', 768, 'a leak of 1 kB a turn shows');

# What one fold needs at its peak, above what the fresh backend has.  The pages of the
# events are touched before: they count as the process's memory, too.
sub peak
{
	my ($id) = @_;
	my $session = $node->background_psql('postgres');
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	$session->query_safe('SET enable_seqscan = off');
	$session->query_safe("SELECT asynx.get('small')");
	$session->query_safe(
		"SELECT count(*), sum(pg_column_size(patch)) FROM asynx.events WHERE aggregate_id = '$id'");
	if (open my $refs, '>', "/proc/$pid/clear_refs")
	{
		# Sets the high-water mark to what there is now.
		print $refs "5\n";
		close $refs or note('the high-water mark cannot be reset');
	}
	my $base = status_of($pid, 'VmRSS');
	my $size = $session->query_safe("SELECT length(asynx.get('$id', $_[1])::text) / 1024");
	my $peak = status_of($pid, 'VmHWM');
	$session->quit;
	note("$id: a state of $size kB, $base kB before, peak $peak kB: " . ($peak - $base) . ' kB');
	return $peak - $base;
}

$node->safe_psql('postgres', <<'SQL');
SELECT FROM asynx.write('small', 'document.made', '{"a": 1}');

-- 10,000 events on a document of 1 kB, none of which makes it grow.
SELECT FROM asynx.append('long', 1, 'document.made',
  jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value',
    (SELECT jsonb_object_agg('k' || n, repeat('x', 80)) FROM generate_series(1, 10) AS n))));
SELECT count(asynx.append('long', v, 'document.changed',
    jsonb_build_array(jsonb_build_object('op', 'replace', 'path', '/k' || v % 10 + 1,
                                         'value', repeat('y', 80)))))
  FROM generate_series(2, 10000) AS v;

-- 100 events on a document of 1 MB that does not compress.
SELECT FROM asynx.append('large', 1, 'document.made',
  jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value',
    (SELECT jsonb_object_agg('k' || n,
        (SELECT string_agg(md5(n || '-' || m), '') FROM generate_series(1, 16) AS m))
     FROM generate_series(1, 2000) AS n))));
SELECT count(asynx.append('large', v, 'document.changed',
    jsonb_build_array(jsonb_build_object('op', 'replace', 'path', '/k' || v * 7, 'value', v))))
  FROM generate_series(2, 100) AS v;
SQL

cmp_ok(peak('long', 10000), '<', 8 * 1024, '10,000 events onto 1 kB: below 8 MB');
cmp_ok(peak('large', 100), '<', 12 * 1024, '100 events onto 1 MB: below 12 MB');

$node->stop;
done_testing();
