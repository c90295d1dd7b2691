# Runs the cases that CASES names, or all, prints their rows and writes the results to descriptor 3.
#
# A case is a file of bench/cases: it is read with "do" and gives back a function.  A case that
# fails does not keep the others from running, but the exit status tells of it.

use strict;
use warnings FATAL => 'all';

use Bench;

my @all = qw(append append_growing append_emmett append_many send
  bus_latency bus_throughput bus_writers
  json_patch json_diff patch_size get replay memory);
my @cases = split ' ', $ENV{CASES} // '';
my @failed;

foreach my $case (@cases)
{
	die qq(no case "$case", there are: @all\n) if !grep { $_ eq $case } @all;
}
@cases = @all if !@cases;

$| = 1;
print_machine();
foreach my $case (@cases)
{
	my $run = do "./bench/cases/$case.pl" or die "bench/cases/$case.pl: ", $@ || $!;

	begin_case($case);
	eval { $run->(); 1 } and next;
	print "  FAILED: $@";
	push @failed, $case;
}
print_summary(@failed);

open my $results, '>&=', 3 or die "descriptor 3: $!";
print $results results_json();
close $results or die "descriptor 3: $!";
exit(@failed ? 1 : 0);
