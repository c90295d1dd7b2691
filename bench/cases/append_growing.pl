# append() to one stream per client that only grows, against a plain INSERT: does the length of a
# stream cost anything?

package Case::append_growing;

use strict;
use warnings FATAL => 'all';

use Appends;
use Bench;

return sub {
	my $seconds = $short ? 2 : 6;
	my (%rates, %times);

	my $turns = take_turns(
		map {
			my ($name, $script, $length) = @$_;
			($name => sub {
				[ pgbench($script, clients => 8, commit => 'off', length => $length,
						seconds => $seconds) ];
			})
		} ['asynx', 'asynx', 1_000_000_000], ['insert', 'insert', 1_000_000_000], ['streams of 10', 'asynx', 10]);
	foreach my $name (keys %$turns)
	{
		$rates{$name} = [ map { $_->[0] } @{ $turns->{$name} } ];
		$times{$name} = [ map { $_->[1] } @{ $turns->{$name} } ];
	}
	row('8 growing streams: rate / plain INSERT', ratios(\%rates, 'asynx', 'insert'),
		measures => \%rates, unit => '/s');
	row('8 growing streams: processor time / plain INSERT', ratios(\%times, 'asynx', 'insert'),
		measures => \%times, unit => 'us');
	row('8 growing streams: processor time / streams of 10',
		ratios(\%times, 'asynx', 'streams of 10'));
};
