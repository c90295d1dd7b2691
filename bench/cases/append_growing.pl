# append() to one stream per client that only grows, against a plain INSERT: does the length of a
# stream cost anything?

package Case::append_growing;

use strict;
use warnings FATAL => 'all';

use Appends;
use Bench;

my $endless = 1_000_000_000;
my @contestants = (
	['asynx', 'asynx', $endless], ['insert', 'insert', $endless],
	['asynx, streams of 10', 'asynx', 10]);

return sub {
	my $seconds = $short ? 2 : 6;
	my $turns = take_turns(
		map {
			my ($name, $script, $length) = @$_;
			($name => sub {
				[ pgbench($script, clients => 8, commit => 'off', length => $length,
						seconds => $seconds) ];
			})
		} @contestants);
	my ($rates, $times) = rates_and_times($turns);

	row('8 growing streams: rate / plain INSERT', ratios($rates, 'asynx', 'insert'),
		measures => $rates, unit => '/s');
	row('8 growing streams: processor time / plain INSERT', ratios($times, 'asynx', 'insert'),
		measures => $times, unit => 'us');
	row('8 growing streams: processor time / streams of 10',
		ratios($times, 'asynx', 'asynx, streams of 10'));
};
