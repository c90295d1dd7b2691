# append() against emmett's PostgreSQL store, both called from node through the driver pg: emmett is
# a library for node, and its cost there belongs to it.

package Case::append_emmett;

use strict;
use warnings FATAL => 'all';

use Appends;
use Bench;

my $seconds = $smoke ? 0.05 : $short ? 1 : 3;
my $program = "$ENV{ASYNX_WORK}/peers/emmett.mjs";

# Appends a second of one contestant.
sub rate
{
	my ($contestant, $clients, $commit) = @_;

	empty_tables();
	psql('TRUNCATE emt_messages, emt_streams RESTART IDENTITY', 'emmett');
	psql('CHECKPOINT');
	local $ENV{PGDATABASE} = $contestant eq 'emmett' ? 'emmett' : 'postgres';
	local $ENV{PGOPTIONS} = "-c synchronous_commit=$commit";
	open my $output, '-|', 'node', $program, $contestant, $clients, $seconds, $patch
	  or die "node: $!\n";
	my $rate = readline $output;
	close $output or die "$contestant failed\n";
	return $rate + 0;
}

return sub {
	my $tried = `node $program versions 2>&1`;

	return note_missing('emmett', $tried) if $? != 0;
	psql('CREATE DATABASE emmett');
	{
		local $ENV{PGDATABASE} = 'emmett';
		system('node', $program, 'prepare') == 0 or die "emmett's tables could not be made\n";
	}
	foreach my $load (@loads)
	{
		my ($commit, $clients) = @$load;
		my $measures = take_turns(
			map {
				my $contestant = $_;
				($contestant => sub { rate($contestant, $clients, $commit) })
			} qw(asynx emmett));

		row("$clients clients, commit $commit: rate / emmett",
			ratios($measures, 'asynx', 'emmett'), measures => $measures, unit => '/s');
	}
};
