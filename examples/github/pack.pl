# Prints every */index.json below $ASYNX_FILES as one CSV row (folder, content) for COPY.
# Quote and delimiter are control characters, which no JSON text contains unescaped.
use strict;
use warnings;

my $dir = $ENV{ASYNX_FILES};

binmode STDOUT;
for my $file (sort glob(quotemeta($dir) . '/*/index.json')) {
  my ($folder) = $file =~ m{([^/]+)/index\.json$};
  open my $in, '<:raw', $file or die "cannot read $file: $!\n";
  print "\x01$folder\x01\x02\x01", do { local $/; <$in> }, "\x01\n";
}
