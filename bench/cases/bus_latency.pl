# How soon a handler begins, and a listener is notified, after the commit of one event on an idle
# server; and what 10,000 other subscriptions do to that.

package Case::bus_latency;

use strict;
use warnings FATAL => 'all';

use Appends;
use Bench;
use Listener;

my $work = $ENV{ASYNX_WORK};
my $events = $smoke ? 20 : $short ? 500 : 2000;

# The value below which so many per cent of some are.
sub percentile
{
	my ($percent, @values) = @_;
	my @sorted = sort { $a <=> $b } @values;

	return $sorted[ int($percent / 100 * $#sorted + 0.5) ];
}

# Begins anew, with so many subscriptions of which one wants the events.
sub set_up
{
	my ($subscriptions) = @_;

	psql('DROP SCHEMA IF EXISTS bench CASCADE');
	empty_tables();
	psql(slurp('bench/bus/setup.sql'));
	psql("SELECT asynx.subscribe('order.noted', 'bench.note', 'noted')");
	psql("SELECT count(asynx.subscribe('other-' || n, 'bench.nothing', 'other-' || n))
		FROM generate_series(2, $subscriptions) AS n");

	# the workers are there and have met the event's name
	psql("CALL bench.write_slowly('warm-', 20, 'order.noted')");
	die "the handlers do not come\n" if psql("SELECT asynx.wait_for(timeout => '120 s')") ne 't';
	psql('TRUNCATE bench.begun, bench.committed');
	return;
}

# Milliseconds from each commit to its handler, as one round gives them.
sub handler_latencies
{
	psql("CALL bench.write_slowly('slow-', $events, 'order.noted')");
	die "not handled\n" if psql("SELECT asynx.wait_for(timeout => '120 s')") ne 't';
	my @latencies = split /\n/, psql('SELECT extract(epoch FROM b.at - c.after) * 1000
		FROM bench.begun b JOIN bench.committed c USING (position)');
	die scalar(@latencies) . " of $events events were handled\n" if @latencies != $events;
	return @latencies;
}

# The same to the arrival of the notification that covers the event at a client.
sub listener_latencies
{
	my $file = "$work/notifications";
	my $pid = start_listener('asynx', $file);

	psql("CALL bench.write_slowly('heard-', $events, 'order.heard')");
	psql("SELECT asynx.wait_for(timeout => '120 s')");
	my %commits = map { split / / } split /\n/,
	  psql("SELECT c.position || ' ' || extract(epoch FROM c.after) FROM bench.committed c
		JOIN asynx.events e USING (position) WHERE e.event_name = 'order.heard'");
	my ($newest) = sort { $b <=> $a } keys %commits;
	my @heard;

	foreach my $try (1 .. 200)
	{
		@heard = map { [ /^(\S+) \{"position":(\d+)\}/ ] } split /\n/, slurp($file);
		last if @heard && $heard[-1][1] >= $newest;
		Time::HiRes::sleep(0.05);
	}
	stop_listener($pid);
	my @latencies;
	foreach my $position (sort { $a <=> $b } keys %commits)
	{
		shift @heard while @heard && $heard[0][1] < $position;
		die "position $position was not notified\n" if !@heard;
		push @latencies, ($heard[0][0] - $commits{$position}) * 1000;
	}
	return @latencies;
}

return sub {
	my (%measures, %scale);

	foreach my $round (1 .. ($smoke ? 1 : 3))
	{
		set_up(1);
		my @handler = handler_latencies();
		my @listener = listener_latencies();

		push @{ $measures{'handler p50'} }, percentile(50, @handler);
		push @{ $measures{'handler p99'} }, percentile(99, @handler);
		push @{ $measures{'listener p50'} }, percentile(50, @listener);
		push @{ $measures{'listener p99'} }, percentile(99, @listener);
		next if $smoke;
		set_up(10_000);
		push @{ $scale{many} }, percentile(50, handler_latencies());
	}
	row('commit to the start of the handler, p50, ms', $measures{'handler p50'}, goal => '<= 1');
	row('commit to the start of the handler, p99, ms', $measures{'handler p99'}, goal => '<= 10');
	row('commit to the notification at a client, p50, ms', $measures{'listener p50'}, goal => '<= 3');
	row('commit to the notification at a client, p99, ms', $measures{'listener p99'}, goal => '<= 20');
	$scale{one} = $measures{'handler p50'};
	row('10,000 exact subscriptions: p50 / of one', ratios(\%scale, 'many', 'one'), goal => '<= 2',
		measures => \%scale, unit => 'ms')
	  if !$smoke;
	psql('DROP SCHEMA bench CASCADE');
	empty_tables();
};
