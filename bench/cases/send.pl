# send(), one command a transaction: against append(), against itself on longer streams, and on one
# aggregate that everybody wants.

package Case::send;

use strict;
use warnings FATAL => 'all';

use Appends;
use Bench;

# How many aggregates a client has, by their length.
my %spread = $smoke ? (1 => 2, 64 => 2, 10_000 => 1) : (1 => 500, 64 => 300, 10_000 => 2);

# Makes the aggregates of so many clients.
sub fill
{
	my ($clients, $length) = @_;

	psql(slurp('bench/append/send_setup.sql'));
	psql("SELECT count(bench.fill('order-' || client || '-' || number, $length))
		FROM generate_series(0, $clients - 1) AS client,
			generate_series(1, $spread{$length}) AS number");
	psql("SELECT bench.fill('order-hot', 1)");
	return;
}

# append() and send() on aggregates of several lengths.
sub compare
{
	my ($commit, $clients) = @_;
	my @lengths = sort { $a <=> $b } keys %spread;
	my %options = (clients => $clients, commit => $commit, length => 10, seconds => $short ? 2 : 4);
	my $turns = take_turns(
		append => sub { [ pgbench('asynx', %options) ] },
		map {
			my $length = $_;
			("send $length" => sub {
				[ pgbench('send', %options, spread => $spread{$length},
						setup => sub { fill($clients, $length) }) ];
			})
		} @lengths);
	my ($rates, $times) = rates_and_times($turns);
	my $where = "$clients clients, commit $commit";

	foreach my $length (@lengths)
	{
		row("$where, streams of $length: rate / append", ratios($rates, "send $length", 'append'),
			goal => $commit eq 'on' && $clients == 8 ? '>= 0.6' : undef,
			measures => { map { $_ => $rates->{$_} } "send $length", 'append' }, unit => '/s');
		row("$where, streams of $length: processor time / append",
			ratios($times, "send $length", 'append'),
			measures => { map { $_ => $times->{$_} } "send $length", 'append' }, unit => 'us');
	}
	row("$where: processor time, streams of 10000 / of 64",
		ratios($times, 'send 10000', 'send 64'), goal => '<= 1.3');
	return;
}

# One aggregate and 32 clients: is anything lost, and does everybody have his turn?
sub hot
{
	my $clients = $smoke ? 4 : 32;
	my (@slowest, @rates);

	foreach my $round (1 .. $rounds)
	{
		my %of;
		my ($rate) = pgbench('hot', clients => $clients, commit => 'off', length => 1,
			seconds => $short ? 2 : 4, setup => sub { fill(1, 1) }, each => \%of);
		my $sent = psql("SELECT asynx.count('order-hot', 2)");
		my ($total, $least) = (0, undef);

		foreach my $transactions (values %of)
		{
			$total += $transactions;
			$least = $transactions if !defined $least || $transactions < $least;
		}
		die "$total commands were answered, $sent are stored\n" if $total != $sent;
		push @slowest, $least / ($total / $clients);
		push @rates, $rate;
	}
	row("$clients clients on one aggregate: slowest client / mean", \@slowest, goal => '>= 0.5',
		measures => { rate => \@rates }, unit => '/s');
	return;
}

return sub {
	compare('on', 8);
	compare('off', 8) if !$smoke;
	hot();
};
