# The patches that json_diff() finds: how many bytes longer they are than the shortest that a peer
# finds, compact.  What asynx finds is also applied again.

package Case::patch_size;

use strict;
use warnings FATAL => 'all';

use Bench;
use Documents;
use Inputs;

my $work = $ENV{ASYNX_WORK};

# A change of an order, by its name.
my @changes = (
	'leaf change' => sub { $_[0]->{items}[ middle($_[0]) ]{quantity} = 100 },
	'insert at head' => sub { unshift @{ $_[0]->{items} }, new_item($_[0]) },
	'remove in the middle' => sub { splice @{ $_[0]->{items} }, middle($_[0]), 1 },
	'last to first' => sub { unshift @{ $_[0]->{items} }, pop @{ $_[0]->{items} } },
	'20 % of the elements' => sub {
		my $items = $_[0]->{items};
		$items->[ $_ * 5 ]{price} = '0.99' foreach 0 .. $#$items / 5;
	},
	'renamed key' => sub {
		my ($order) = @_;
		my $key = $order->{keys}[ middle($order) ];
		$order->{keys}[ middle($order) ] = 'renamed';
		$order->{lines}{renamed} = delete $order->{lines}{$key};
	},
	'replaced subtree' => sub {
		my ($order) = @_;
		$order->{lines}{ $order->{keys}[ middle($order) ] } =
		  { text => '{"cancelled": true, "reason": "out of stock", "refund": [12.5, "EUR"]}' };
	},
	'3 removed and 3 inserted' => sub {
		my ($order) = @_;
		my $items = $order->{items};
		my @places = map { int(@$items * $_ / 4) } 1 .. 3;

		splice @$items, $_, 1 foreach reverse @places;
		splice @$items, $_ > 2 ? $_ - 2 : 0, 0, new_item($order) foreach @places;
	},
);

# The place of the item, or line, in the middle.
sub middle
{
	my ($order) = @_;
	return int(@{ $order->{items} } / 2);
}

# Compares the patches between two documents.
sub compare
{
	my ($session, $what, $before, $after) = @_;
	my $file = "$work/pair.json";
	my %bytes;

	open my $pair, '>', $file or die "$file: $!\n";
	print $pair "[$before, $after]";
	close $pair or die "$file: $!\n";
	my $patch = ask($session, "SELECT asynx.json_diff(f->0, f->1)
		FROM CAST(pg_read_file('$file') AS jsonb) f");
	my $same = ask($session, "SELECT asynx.json_patch(f->0, asynx.json_diff(f->0, f->1)) = f->1
		FROM CAST(pg_read_file('$file') AS jsonb) f");

	die "$what: the patch gives something else\n" if $same ne 't';
	$bytes{$_} = [ patch_size($_, $file) ] foreach @peers;
	my $shortest = fastest(\%bytes, @peers);

	# Spaces outside of strings are psql's way to show jsonb.
	$patch =~ s/("(?:[^"\\]|\\.)*")|\s+/$1 \/\/ ''/ge;
	$bytes{asynx} = [ length $patch ];
	row("$what: bytes more than $shortest", [ $bytes{asynx}[0] - $bytes{$shortest}[0] ],
		goal => '<= 2', measures => \%bytes, unit => 'bytes');
	return;
}

return sub {
	my $session = start_peers();

	foreach my $size (@peers ? grep { $_ ne '1 MB' } @sizes : ())
	{
		my @list = @changes;

		while (my ($name, $change) = splice @list, 0, 2)
		{
			my $before = new_order($size);
			my $after = copy_order($before);

			$change->($after);
			compare($session, "$size, $name", order_text($before), order_text($after));
		}
	}
};
