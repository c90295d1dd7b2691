# Waits until so many notifications have been noted, or half a minute, and prints them as they are:
# a time and a payload a line.
use strict;
use warnings;

my ($wanted) = @ARGV;
my @lines;
my $until = time + 30;

while (@lines < $wanted && time < $until) {
  select undef, undef, undef, 0.05;
  open my $heard, '<', $ENV{ASYNX_HEARD_IN} or die "$ENV{ASYNX_HEARD_IN}: $!\n";
  @lines = <$heard>;
}
print @lines;
