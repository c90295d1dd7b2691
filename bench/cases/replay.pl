# replay(): every state of a stream, against reading its patches.  The documents that come out are
# bounded to 200 MB a call.

package Case::replay;

use strict;
use warnings FATAL => 'all';

use Bench;
use Documents;
use Streams;

my %longest = ('1 KB' => 10_000, '10 KB' => 10_000, '100 KB' => 1000, '1 MB' => 100);

return sub {
	prepare_streams();
	my $session = streams_session();

	foreach my $size (@sizes)
	{
		foreach my $length (grep { $_ <= $longest{$size} } @lengths)
		{
			my $id = stream($size, $length);
			my $measures = take_turns(
				replay => timer($session, 'replay', $id),
				floor => timer($session, 'floor', $id));

			row("$id: replay / floor", ratios($measures, 'replay', 'floor'),
				measures => $measures, unit => 'us');
		}
	}
	finish($session);
};
