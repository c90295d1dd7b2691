# append_many() against COPY: 10,000 events from text that lies ready at the client to a committed
# transaction, with the same ids, times and patches.

package Case::append_many;

use strict;
use warnings FATAL => 'all';

use Appends;
use Bench;

my $work = $ENV{ASYNX_WORK};
my $events = 10_000;
my $columns = 'aggregate_id, version, id, aggregate_type, event_name, schema_version, '
  . 'occurred_at, patch';

# Writes a batch as a script of psql for each of the two; 10 events to each aggregate.
sub write_batch
{
	my ($batch) = @_;
	my (@objects, @lines);

	foreach my $n (0 .. $events - 1)
	{
		my $aggregate = "order-$batch-" . int($n / 10);
		my $version = $n % 10 + 1;
		my $id = sprintf '%08x-0000-4000-8000-%012x', $batch, $n * 2654435761 % 2**48;
		my $at = sprintf '2026-01-01 00:%02d:%02d.%03d+00', $n / 600000, $n / 1000 % 60, $n % 1000;

		push @objects, qq({"aggregate_id": "$aggregate", "version": $version, "id": "$id", )
		  . qq("event_name": "order.changed", "occurred_at": "$at", "patch": $patch});
		push @lines, join("\t", $aggregate, $version, $id, 'default', 'order.changed', 1, $at,
			$patch) . "\n";
	}
	open my $script, '>', "$work/asynx-$batch.sql" or die "asynx-$batch.sql: $!\n";
	print $script "SELECT asynx.append_many(\$events\$[", join(', ', @objects), "]\$events\$);\n";
	close $script or die "asynx-$batch.sql: $!\n";
	open $script, '>', "$work/copy-$batch.sql" or die "copy-$batch.sql: $!\n";
	print $script "COPY plain.events ($columns) FROM STDIN;\n", @lines, "\\.\n";
	close $script or die "copy-$batch.sql: $!\n";
	return;
}

# Events a second of batches that one session stores, the first of which does not count.
sub store
{
	my ($who, $batches) = @_;
	my @files = map { ('-f', "$work/$who-$_.sql") } 0 .. $batches;

	empty_tables();
	open my $output, '-|', 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', '\timing on', @files
	  or die "psql: $!\n";
	my @times = map { /^Time: ([\d.]+) ms/ } readline $output;
	close $output or die "psql failed\n";
	die "$who: no times\n" if @times != $batches + 1;

	my $milliseconds = 0;
	$milliseconds += $_ foreach @times[ 1 .. $batches ];
	return $events * $batches * 1000 / $milliseconds;
}

return sub {
	my $batches = $short ? 2 : 5;

	write_batch($_) foreach 0 .. $batches;
	my $measures = take_turns(
		append_many => sub { store('asynx', $batches) },
		COPY => sub { store('copy', $batches) });

	row("$events events a transaction: rate / COPY", ratios($measures, 'append_many', 'COPY'),
		goal => '>= 0.5', measures => $measures, unit => 'events/s');
};
