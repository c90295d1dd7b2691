# Passes psql's output through.  A line "NOTICE:  progress LABEL DONE TOTAL" becomes a moving
# line on a terminal, and elsewhere one plain line for every third of the way.
use strict;
use warnings;

my $terminal = -t STDOUT;
my ($drawn, $label, $third) = (0, '', 0);

sub number {
  my $n = reverse shift;
  $n =~ s/(\d{3})(?=\d)/$1,/g;
  return scalar reverse $n;
}

sub draw {
  my ($what, $done, $total) = @_;
  my $text = sprintf '  %-10s %9s of %s events', $what, number($done), number($total);
  my $part = $done / ($total || 1);

  if ($terminal) {
    printf "\r%-44s [%-30s]", $text, '#' x int(30 * $part);
    print "\n" if $done == $total;
    $drawn = $done < $total;
    return;
  }
  ($label, $third) = ($what, 0) if $what ne $label;
  return if int(3 * $part) <= $third;
  $third = int(3 * $part);
  print "$text\n";
}

$| = 1;
while (my $line = <STDIN>) {
  if ($line =~ /NOTICE:  progress (\w+) (\d+) (\d+)$/) {
    draw($1, $2, $3);
    next;
  }
  print "\n" if $drawn;
  $drawn = 0;
  $line =~ s{^psql:[^ ]*/([^ /]+: [A-Z]+: )}{$1};
  print $line;
}
