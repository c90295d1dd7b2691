# json_diff(): one leaf has changed, against JavaScript and Python.

package Case::json_diff;

use strict;
use warnings FATAL => 'all';

use Bench;
use Documents;
use Inputs;

my %expression = (
	'jsonb to jsonb' => 'asynx.json_diff(d, c)',
	'through casts' => 'CAST(asynx.json_diff(dt::jsonb, ct::jsonb) AS text)',
	'text to text' => 'asynx.json_diff_text(dt, ct)',
);

# Compares with documents of a size.
sub compare
{
	my ($size) = @_;

	prepare_inputs($size);

	# It compares every element of an array with every other.
	my @able = grep { $size ne '1 MB' || $_ ne 'rfc6902' } @peers;
	my @contestants = map { my $form = $_; ($form => sub { measure_sql($size, $expression{$form}) }) }
	  sort keys %expression;
	foreach my $peer (@able)
	{
		push @contestants, "$peer, values" => sub { measure_peer($peer, 'diff_values', $size) },
		  "$peer, text" => sub { measure_peer($peer, 'diff', $size) };
	}
	foreach my $n (0 .. $#contestants / 2)
	{
		# Compilers want to have seen the code.
		$contestants[ 2 * $n + 1 ]->();
	}
	my $measures = take_turns(@contestants);

	row("$size: fast-json-patch, values / jsonb to jsonb",
		ratios($measures, 'fast-json-patch, values', 'jsonb to jsonb'),
		goal => $size eq '100 KB' ? '>= 30' : undef)
	  if grep { $_ eq 'fast-json-patch' } @able;
	my $fastest = fastest($measures, map { "$_, text" } @able);
	row("$size: $fastest / $_", ratios($measures, $fastest, $_))
	  foreach 'text to text', 'through casts';
	show_measures($measures, 'us');
	return;
}

return sub {
	start_peers();
	compare($_) foreach @peers ? @sizes : ();
};
