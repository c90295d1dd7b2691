# Streams of events for get and replay: for each size of document and each length a stream, whose
# first event puts the document and whose others change it (Documents.pm).  The streams of a size
# are beginnings of one another.  Each lies together on disk, as it came.
#
# The state that the store gives back is compared with the one that the generator kept.

package Streams;

use strict;
use warnings FATAL => 'all';

use Bench;
use Documents;
use Exporter 'import';

our @EXPORT = qw(@lengths $floor stream prepare_streams streams_session timer);

our @lengths = (10, 100, 1000, 10_000);

# What reading cannot do without: the scan of the primary key, and every patch in memory.
# jsonb_array_length() detoasts a whole patch and then looks at its first bytes.
our $floor = 'count(jsonb_array_length(e.patch)) FROM (SELECT patch FROM asynx.events '
  . 'WHERE aggregate_id = stream ORDER BY version) e';

my $work = $ENV{ASYNX_WORK};
my $prepared;

# Milliseconds that one measure takes, if a single call is not longer.
my $milliseconds = $smoke ? 1 : $short ? 30 : 120;

# The name of a stream.
sub stream
{
	my ($size, $length) = @_;
	return "$length events on $size";
}

# Writes a text into a file that the server reads.
sub write_file
{
	my ($name, $text) = @_;

	open my $handle, '>', "$work/$name" or die "$name: $!\n";
	print $handle $text;
	close $handle or die "$name: $!\n";
	return "$work/$name";
}

# Stores the streams of a size and compares their states.
sub store_streams
{
	my ($session, $size) = @_;
	my $order = new_order($size);
	my @patches = ('[{"op": "add", "path": "", "value": ' . order_text($order) . '}]');

	foreach my $length (@lengths)
	{
		my $id = stream($size, $length);
		my $version = 0;

		push @patches, next_event($order) while @patches < $length;
		my $events = write_file('events', '[' . join(',', map {
			$version++;
			qq({"aggregate_id": "$id", "version": $version, "event_name": "order.changed", )
			  . qq("patch": $_})
		} @patches) . ']');
		my $state = write_file('state', order_text($order));
		my $stored = ask($session, "SELECT asynx.append_many(pg_read_file('$events')::jsonb)");
		my $same = ask($session, "SELECT asynx.get('$id') = pg_read_file('$state')::jsonb");

		die "$id: $stored stored\n" if $stored != $length;
		die "$id: get() gives another state than the generator\n" if $same ne 't';
	}
	return;
}

# Stores all streams, once.
sub prepare_streams
{
	my $session = session();

	return if $prepared++;
	ask($session, 'SET asynx.allow_drop = on;
		DROP SCHEMA IF EXISTS plain CASCADE;
		DROP EXTENSION IF EXISTS asynx;
		CREATE EXTENSION asynx');
	store_streams($session, $_) foreach @sizes;
	ask($session, 'VACUUM ANALYZE asynx.events');
	ask($session, 'CHECKPOINT');
	finish($session);
	return;
}

# A session in which the floor is a scan of the primary key, in order.
sub streams_session
{
	my $session = session();

	ask($session, 'SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
		DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench');
	my $plan = ask($session, 'EXPLAIN SELECT ' . $floor =~ s/= stream/= 'x'/r);
	die "the floor is no scan of the primary key:\n$plan\n"
	  if $plan !~ /Index Scan using events_pkey/ || $plan =~ /Sort/;

	# The floor keeps one plan, as asynx does; left to itself, PostgreSQL would plan short streams
	# again at each call.
	make_timer($session, 'floor', $floor, 'SET plan_cache_mode = force_generic_plan');
	make_timer($session, 'get', 'asynx.get(stream)', '');
	make_timer($session, 'replay', 'count(*) FROM asynx.replay(stream)', '');
	return $session;
}

# Makes a function that gives the microseconds of one "SELECT $what" about a stream, called n times
# inside of the server.
sub make_timer
{
	my ($session, $name, $what, $settings) = @_;

	ask($session, "CREATE FUNCTION bench.$name(stream text, n int) RETURNS float8
		LANGUAGE plpgsql $settings AS \$\$
		DECLARE
			started timestamptz := clock_timestamp();
		BEGIN
			FOR i IN 1 .. n LOOP
				PERFORM $what;
			END LOOP;
			RETURN extract(epoch FROM clock_timestamp() - started) * 1e6 / n;
		END \$\$");
	return;
}

# Returns a function that gives the microseconds of "get", "replay" or "floor" of a stream, over as
# many calls as take a while.
sub timer
{
	my ($session, $name, $id) = @_;
	my $n = 1;
	my $measure = sub { ask($session, "SELECT bench.$name('$id', $n)") };

	return $measure if $smoke;

	# The first calls of a session plan; the plans are kept.
	$measure->() foreach 1 .. 6;
	my $each = $measure->() || 1;
	$n = int($milliseconds * 1000 / $each) || 1;
	return $measure;
}

1;
