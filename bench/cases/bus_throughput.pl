# How many events a second one worker hands to handlers, against the same work without a bus.

package Case::bus_throughput;

use strict;
use warnings FATAL => 'all';

use Appends;
use Bench;
use Time::HiRes qw(time);

my ($aggregates, $versions) = $smoke ? (10, 3) : $short ? (2000, 10) : (5000, 20);
my $events = $aggregates * $versions;

# Events a second of something.
sub rate
{
	my ($session, @statements) = @_;
	my $began;

	ask($session, 'TRUNCATE bench.model, bench.log');
	ask($session, 'CHECKPOINT');
	$began = time;
	ask($session, $_) foreach @statements;
	return $events / (time - $began);
}

# The same of a subscription that begins at the beginning.
sub handled
{
	my ($session, $handler) = @_;
	my $rate = rate($session, "SELECT asynx.rebuild('$handler')",
		"SELECT asynx.wait_for(timeout => '300 s', subscription => '$handler')");
	my $table = $handler =~ /insert/ ? 'count(*) FROM bench.log' : 'sum(version) FROM bench.model';
	my $expected = $handler =~ /insert/ ? $events : $aggregates * $versions;
	my $there = ask($session, "SELECT $table");

	die "$handler: $there instead of $expected\n" if $there != $expected;
	return $rate;
}

return sub {
	psql('DROP SCHEMA IF EXISTS bench CASCADE');
	empty_tables();
	psql(slurp('bench/bus/setup.sql'));
	psql("SELECT bench.store($aggregates, $versions)");
	psql('CREATE TABLE bench.source AS SELECT e.position, e.aggregate_id, e.version, e.patch, r.aggregate
		FROM asynx.events e, LATERAL asynx.replay(e.aggregate_id, e.version, e.version) AS r ORDER BY e.position');
	psql('VACUUM ANALYZE');
	foreach my $handler (qw(upsert upsert_stored insert_batch insert_stored_batch))
	{
		psql("SELECT asynx.subscribe('order.changed', 'bench.$handler', '$handler')");
	}
	psql("SELECT asynx.subscribe('order.changed', 'bench.upsert', 'upsert_two', partitions => 2)");

	my $session = session();
	my @runs = (
		loop => sub { rate($session, 'CALL bench.upsert_loop()') },
		upsert => sub { handled($session, 'upsert') },
		upsert_two => sub { handled($session, 'upsert_two') },
		stored_loop => sub { rate($session, 'CALL bench.upsert_stored_loop()') },
		upsert_stored => sub { handled($session, 'upsert_stored') },
		select => sub {
			rate($session, 'INSERT INTO bench.log SELECT position, aggregate_id, version, aggregate FROM bench.source');
		},
		insert_batch => sub { handled($session, 'insert_batch') },
		stored_select => sub {
			rate($session, 'INSERT INTO bench.log SELECT position, aggregate_id, version, patch FROM bench.source');
		},
		insert_stored_batch => sub { handled($session, 'insert_stored_batch') });
	$runs[ 2 * $_ + 1 ]->() foreach 0 .. $#runs / 2;
	my $rates = take_turns(@runs);

	foreach my $row (
		[ 'PL/pgSQL upsert of the states: rate / a loop of the same upserts', 'upsert', 'loop', '>= 0.4' ],
		[ 'two partitions / one', 'upsert_two', 'upsert', '>= 1.05' ],
		[ 'PL/pgSQL upsert without states / a loop of the same upserts', 'upsert_stored', 'stored_loop', '>= 0.6' ],
		[ 'batches with states / INSERT ... SELECT of the same rows', 'insert_batch', 'select', undef ],
		[ 'batches without states / INSERT ... SELECT of the same rows', 'insert_stored_batch', 'stored_select', '>= 0.6' ])
	{
		my ($what, $one, $other, $goal) = @$row;

		row($what, ratios($rates, $one, $other), goal => $goal,
			measures => { map { $_ => $rates->{$_} } $one, $other }, unit => 'events/s');
	}
	finish($session);
	psql('DROP SCHEMA bench CASCADE');
	empty_tables();
};
