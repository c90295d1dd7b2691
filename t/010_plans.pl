# asynx's own statements are planned once in a session and kept; they must use the
# indexes also when they were planned while the table was empty or small.
#
# One session works through all of it: the table is analysed with no row and with 100,
# every statement is planned then, and stays when 30,000 events have come.  Nobody
# analyses the table again, so no plan is thrown away.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $node = store_node('plans', "synchronous_commit = off\n");
my $session = $node->background_psql('postgres');

# What is called, once each; all of it reads or writes asynx.events.
my %calls = (
	'append' => "SELECT count(asynx.append('append-' || nextval('turn'), 1, 'plan.kept', '[]'))"
	  . ' FROM generate_series(1, 10)',
	'append next' => "SELECT FROM asynx.append('next', nextval('next'), 'plan.kept', '[]')",
	'append again' => "SELECT FROM asynx.append('a-2', 1, 'plan.kept', '[]', "
	  . "id => '00000000-0000-0000-0000-000000000002')",
	'append_many' => 'SELECT asynx.append_many(jsonb_build_array(jsonb_build_object('
	  . "'aggregate_id', 'many-' || nextval('turn'), 'version', 1, 'event_name', 'plan.kept', "
	  . "'patch', '[]'::jsonb)))",
	'write' => "SELECT FROM asynx.write('written', 'plan.kept', to_jsonb(nextval('turn')))",
	'write with an id' => "SELECT FROM asynx.write('written', 'plan.kept', to_jsonb(nextval('turn')), "
	  . 'id => gen_random_uuid(), snapshot => true)',
	'send' => "SELECT FROM asynx.send('plan', 'sent')",
	'send with an id' => "SELECT FROM asynx.send('plan', 'sent-' || nextval('turn'), "
	  . 'id => gen_random_uuid())',
	'forget' => "SELECT asynx.forget('forgotten-' || nextval('to_forget'))",
	'delete' => "SELECT asynx.delete('append-' || (nextval('turn') / 2))",
	'get' => "SELECT asynx.get('a-1'), asynx.get('written')",
	'get a version' => "SELECT asynx.get('a-1', 1)",
	'get_at' => "SELECT asynx.get_at('a-1', now())",
	'exists' => "SELECT asynx.exists('a-1'), asynx.exists('nobody')",
	'count' => "SELECT asynx.count('a-1', 1)",
	'read_from' => "SELECT count(*) FROM asynx.read_from('a-1', 0)",
	'read_range' => "SELECT count(*) FROM asynx.read_range('a-1', 1, 10)",
	'replay' => "SELECT count(*) FROM asynx.replay('a-1')",
	'preload' => "SELECT asynx.preload('a-1')",
	'read_all' => 'SELECT count(*) FROM asynx.read_all(20, 10)',
	'read_all at its end' => 'SELECT count(*) FROM asynx.read_all(asynx.safe_position(), 10)',
	'read_all with a pattern' => "SELECT count(*) FROM asynx.read_all(20, 10, 'plan.*')",
	'aggregates' => "SELECT count(*) FROM asynx.aggregates(NULL, 'a-1', 10)",
	'aggregates of a type' => "SELECT count(*) FROM asynx.aggregates('default', 'a-1', 10)",
	'put_snapshot' => "SELECT asynx.put_snapshot('a-1', 1, asynx.get('a-1', 1))");

# How often asynx.events was scanned, as it stands when the session is idle again.
sub scans
{
	$session->query_safe('SELECT pg_stat_force_next_flush()');
	return split /\|/, $session->query_safe(<<'SQL');
SELECT seq_scan, coalesce(idx_scan, 0) FROM pg_stat_user_tables
WHERE relid = 'asynx.events'::regclass
SQL
}

# How many events have been fetched by index so far, as it stands when the session is idle again.
sub fetched
{
	$session->query_safe('SELECT pg_stat_force_next_flush()');
	return $session->query_safe(
		"SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relid = 'asynx.events'::regclass");
}

# Calls everything, often enough for every plan to become a generic one.
sub call_all
{
	my ($label) = @_;
	foreach my $name (sort keys %calls)
	{
		my ($sequential, $indexed) = scans();
		$session->query_safe($calls{$name}) foreach 1 .. 7;
		my ($sequential_after, $indexed_after) = scans();

		next unless defined $label;
		is($sequential_after, $sequential, "$label, $name: no sequential scan");
		cmp_ok($indexed_after, '>=', $indexed + 7, "$label, $name: by index");
	}
	return;
}

$session->query_safe('CREATE SEQUENCE turn');
$session->query_safe('CREATE SEQUENCE next');
$session->query_safe('CREATE SEQUENCE to_forget');
$session->query_safe(<<'SQL');
CREATE FUNCTION plan_emit(current jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
  AS $$ SELECT to_jsonb(coalesce((current #>> '{}')::int, 0) + 1) $$;
SELECT asynx.create_command('plan', 'default', 'plan.kept', 'public.plan_emit');
SQL

# On the empty table; what needs an aggregate is planned by those that look for one.
$session->query_safe('ANALYZE asynx.events');
foreach my $name (qw(exists count read_from read_range replay preload read_all aggregates),
	'aggregates of a type', 'append again')
{
	$session->query_safe($calls{$name}) foreach 1 .. 7;
}

# With 100 rows, when a sequential scan would be the cheaper one.
$session->query_safe(<<'SQL');
SELECT count(asynx.append('a-' || n, 1, 'plan.kept',
    jsonb_build_array(jsonb_build_object('op', 'add', 'path', '', 'value', n))))
  FROM generate_series(3, 101) AS n;
SQL
$session->query_safe(
	"SELECT count(asynx.write(id, 'plan.kept', '1')) FROM unnest('{a-1,written}'::text[]) AS id");
$session->query_safe("SELECT count(asynx.write('forgotten-' || n, 'plan.kept', '1')) "
	  . 'FROM generate_series(1, 30) AS n');
$session->query_safe('ANALYZE asynx.events');
call_all();

$session->query_safe(<<'SQL');
SELECT count(asynx.append('load-' || n, v, 'plan.kept', '[]'))
  FROM generate_series(1, 3000) AS n, generate_series(1, 10) AS v;
SQL
call_all('30,000 events');

# A page of the feed costs as much as the page, however much comes after it.
my $fetched = fetched();
$session->query_safe($calls{'read_all'});
my $fetched_after = fetched();
cmp_ok($fetched_after - $fetched, '>=', 10, 'a page of the feed is read');
cmp_ok($fetched_after - $fetched, '<=', 20, 'and no more than that');

# The counters count: this is one.
my ($before) = scans();
$session->query_safe("SELECT count(*) FROM asynx.events WHERE event_name = 'other'");
my ($after) = scans();
is($after, $before + 1, 'a sequential scan shows');

$session->quit;
stream_checks($node, 'afterwards');
$node->stop;
done_testing();
