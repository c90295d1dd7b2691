# What a fold needs at its peak, above what the backend has after it has read the same events.

package Case::memory;

use strict;
use warnings FATAL => 'all';

use Bench;
use Streams;

# A line of /proc/PID/status, in megabytes.
sub status_of
{
	my ($pid, $name) = @_;

	open my $status, '<', "/proc/$pid/status" or die "/proc/$pid/status: $!\n";
	my ($kilobytes) = map { /^$name:\s+(\d+) kB/ } readline $status;
	return $kilobytes / 1024;
}

# Megabytes of one get() in a session of its own.
sub peak
{
	my ($id) = @_;
	my $session = streams_session();
	my $pid = ask($session, 'SELECT pg_backend_pid()');

	ask($session, "SELECT asynx.get('" . stream('1 KB', 10) . "')");
	my $private = status_of($pid, 'RssAnon');

	# Shared pages count as the process's own once it has touched them; what the reading itself
	# allocated does not belong to the base.
	ask($session, 'SELECT ' . $floor =~ s/= stream/= '$id'/r);
	open my $refs, '>', "/proc/$pid/clear_refs" or die "/proc/$pid/clear_refs: $!\n";
	print $refs "5\n";
	close $refs or die "the high-water mark cannot be reset: $!\n";
	my $base = status_of($pid, 'VmRSS') - status_of($pid, 'RssAnon') + $private;

	ask($session, "SELECT pg_column_size(asynx.get('$id'))");
	my $peak = status_of($pid, 'VmHWM') - $base;
	finish($session);
	return $peak;
}

return sub {
	prepare_streams();
	foreach my $id (stream('1 KB', 10_000), stream('1 MB', 100), stream('1 MB', 10_000))
	{
		my $measures = take_turns(get => sub { peak($id) });

		row("$id: get at its peak, MB above base", $measures->{get},
			goal => $id eq stream('1 MB', 10_000) ? undef : '<= 8');
	}
};
