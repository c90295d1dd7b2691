# What the bus costs writers: eight that append with nobody interested, with the relay and three
# subscriptions, and eight that notify in their own transactions.

package Case::bus_writers;

use strict;
use warnings FATAL => 'all';

use Appends;
use Bench;

# Sets asynx.notify, which every process reads at a reload.
sub set_notify
{
	my ($value) = @_;

	psql("ALTER SYSTEM SET asynx.notify = $value");
	psql('SELECT pg_reload_conf()');
	return;
}

# Three handlers that do next to nothing.
sub subscribe
{
	psql(slurp('bench/bus/setup.sql'));
	psql("SELECT count(asynx.subscribe('order.changed', 'bench.nothing', 'nothing-' || n))
		FROM generate_series(1, 3) AS n");
	return;
}

# Rates with notify as given.
sub measure
{
	my ($script, $notify, $commit, $setup) = @_;

	psql('DROP SCHEMA IF EXISTS bench CASCADE');
	set_notify($notify);
	return [ pgbench($script, clients => 8, commit => $commit, length => 10,
			seconds => $short ? 3 : 6, setup => $setup) ];
}

return sub {
	foreach my $commit ($smoke ? 'off' : ('on', 'off'))
	{
		my ($rates) = rates_and_times(take_turns(
			alone => sub { measure('asynx', 'off', $commit, undef) },
			subscribed => sub { measure('asynx', 'position', $commit, \&subscribe) },
			notifying => sub { measure('insert_notify', 'off', $commit, undef) }));

		row("8 writers, commit $commit: relay and three subscriptions / nobody",
			ratios($rates, 'subscribed', 'alone'), goal => $commit eq 'on' ? '>= 0.8' : undef,
			measures => { map { $_ => $rates->{$_} } qw(subscribed alone) }, unit => '/s');
		row("8 writers, commit $commit: the same / INSERT with pg_notify",
			ratios($rates, 'subscribed', 'notifying'), goal => $commit eq 'on' ? '>= 2.5' : undef,
			measures => { map { $_ => $rates->{$_} } qw(subscribed notifying) }, unit => '/s');
	}
	psql('ALTER SYSTEM RESET asynx.notify');
	psql('SELECT pg_reload_conf()');
	psql('DROP SCHEMA IF EXISTS bench CASCADE');
	empty_tables();
};
