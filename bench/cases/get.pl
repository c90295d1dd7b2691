# get(): folding streams of events, against reading their patches and doing nothing with them.

package Case::get;

use strict;
use warnings FATAL => 'all';

use Bench;
use Documents;
use Streams;

# The ratio of what an event costs in two streams, of $length events each.
sub per_event
{
	my ($measures, $one, $one_length, $other, $other_length) = @_;

	return [ map { $_ * $other_length / $one_length }
		  @{ ratios($measures, "get $one", "get $other") } ];
}

# What an event adds between the streams of 10 and of 1,000: without what the document costs.
sub slope
{
	my ($measures, $size) = @_;
	my ($long, $start) = map { $measures->{ 'get ' . stream($size, $_) } } 1000, 10;

	return [ map { ($long->[$_] - $start->[$_]) / 990 } 0 .. $#$long ];
}

return sub {
	my (@contestants, %slope);

	prepare_streams();
	my $session = streams_session();
	foreach my $size (@sizes)
	{
		foreach my $id (map { stream($size, $_) } @lengths)
		{
			push @contestants, "get $id" => timer($session, 'get', $id),
			  "floor $id" => timer($session, 'floor', $id);
		}
	}
	my $measures = take_turns(@contestants);
	my $get = sub { $measures->{ 'get ' . stream(@_) } };

	foreach my $size (@sizes)
	{
		foreach my $length (@lengths)
		{
			my $id = stream($size, $length);

			row("$id: get / floor", ratios($measures, "get $id", "floor $id"),
				goal => $id eq stream('1 KB', 1000) ? '<= 8' : undef,
				measures => {
					get => $measures->{"get $id"}, floor => $measures->{"floor $id"} },
				unit => 'us');
		}
		row("$size: an event of 10,000 / of 1,000",
			per_event($measures, stream($size, 10_000), 10_000, stream($size, 1000), 1000),
			goal => '<= 1.3');
		$slope{$size} = slope($measures, $size);
	}
	my ($small, $large) = map { stream($_, 1000) } '1 KB', '1 MB';

	row('an event of 1,000 on 1 MB / on 1 KB', per_event($measures, $large, 1000, $small, 1000),
		goal => '<= 8');
	row('  the same without the first 10 events', ratios(\%slope, '1 MB', '1 KB'),
		measures => \%slope, unit => 'us per event');
	row('  milliseconds of 10 events on 1 MB, to read and to write it',
		[ map { $_ / 1000 } @{ $get->('1 MB', 10) } ]);
	finish($session);
};
