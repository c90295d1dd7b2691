# json_patch(): one patch of three operations, against JavaScript and Python.

package Case::json_patch;

use strict;
use warnings FATAL => 'all';

use Bench;
use Documents;
use Inputs;

# From text to text is json_patch_text().  "through casts" has no goal: of it, "casts alone" is
# PostgreSQL's own, reading and printing jsonb, and takes longer than the fastest peer's whole work.
my %expression = (
	'jsonb to jsonb' => 'asynx.json_patch(d, p)',
	'through casts' => 'CAST(asynx.json_patch(dt::jsonb, pt::jsonb) AS text)',
	'text to text' => 'asynx.json_patch_text(dt, pt)',
	'casts alone' => 'CAST(CAST(dt AS jsonb) AS text)',
	'stored column to jsonb' => 'asynx.json_patch(i.stored, p)',
);
my %goal = (
	'1 KB jsonb to jsonb' => '>= 5',
	'1 KB text to text' => '>= 1',
	'100 KB jsonb to jsonb' => '>= 30',
	'100 KB text to text' => '>= 1',
);

# Compares with documents of a size.
sub compare
{
	my ($size) = @_;
	my @forms = sort keys %expression;

	prepare_inputs($size);

	# Compilers want to have seen the code.
	measure_peer($_, 'patch', $size) foreach @peers;
	my $measures = take_turns(
		(map { my $form = $_; ($form => sub { measure_sql($size, $expression{$form}) }) } @forms),
		(map { my $peer = $_; ($peer => sub { measure_peer($peer, 'patch', $size) }) } @peers));
	my $fastest = fastest($measures, @peers);

	foreach my $form (@forms)
	{
		row("$size: $fastest / $form", ratios($measures, $fastest, $form),
			goal => $goal{"$size $form"});
	}
	show_measures($measures, 'us');
	return;
}

return sub {
	start_peers();
	compare($_) foreach @peers ? @sizes : ();
};
