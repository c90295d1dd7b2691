# Orders as documents, and what happens to them as JSON Patches.
#
# An order has items, an array, and lines, an object, of the same small objects, about 165 bytes
# each, half and half, as many as its size asks for.  Everything follows from the size: the same
# documents and events come out in every run and on every machine.

package Documents;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';

our @EXPORT = qw(@sizes new_order order_text copy_order new_item next_event
  replace_leaf small_patch);

# The sizes there are, and their bytes.
our @sizes = ('1 KB', '10 KB', '100 KB', '1 MB');
my %size_of = ('1 KB' => 1000, '10 KB' => 10_000, '100 KB' => 100_000, '1 MB' => 1_000_000);

my @cities = qw(Porto Graz Turku Leeds Ghent);
my @words = qw(walnut desk lamp linen chair copper kettle woollen rug garden bench paper);

# A number below $limit from the order's own generator (Numerical Recipes' constants).
sub draw
{
	my ($order, $limit) = @_;

	$order->{seed} = ($order->{seed} * 1664525 + 1013904223) % 4294967296;
	return int($order->{seed} / 65536) % $limit;
}

# One of a list.
sub pick
{
	my ($order, $list) = @_;
	return $list->[ draw($order, scalar @$list) ];
}

# The leaves of an item that events replace, each with a maker of new values, as JSON text.
my %leaf = (
	name => sub { '"' . join(' ', map { pick($_[0], \@words) } 1 .. 3) . '"' },
	quantity => sub { 1 + draw($_[0], 99) },
	price => sub { sprintf '%d.%d%d', 1 + draw($_[0], 900), draw($_[0], 10), 1 + draw($_[0], 9) },
);
my @leaves = sort keys %leaf;

# A new item: its members as JSON texts.
sub new_item
{
	my ($order) = @_;

	return {
		sku => sprintf('"%06d"', $order->{next_sku}++),
		city => '"' . pick($order, \@cities) . '"',
		map { $_ => $leaf{$_}->($order) } @leaves };
}

# An item as JSON text; another value that stands in its place is kept as text.
sub item_text
{
	my ($item) = @_;

	return $item->{text} if defined $item->{text};
	return qq({"sku": $item->{sku}, "name": $item->{name}, "quantity": $item->{quantity}, )
	  . qq("price": $item->{price}, "gift": false, "discount": null, )
	  . qq("ship": {"city": $item->{city}}, "tags": ["new", "oak"]});
}

# An order of a size: items in an array, lines as keys (in order) and objects by key.
sub new_order
{
	my ($size) = @_;
	my $count = int($size_of{$size} / 340 + 0.5);
	my $order = { seed => $size_of{$size}, next_sku => 1, next_line => 1, version => 1,
		count => $count, items => [], keys => [], lines => {} };

	push @{ $order->{items} }, new_item($order) foreach 1 .. $count;
	add_line($order, new_item($order)) foreach 1 .. $count;
	return $order;
}

# Adds a line under a new key and returns the key.
sub add_line
{
	my ($order, $item) = @_;
	my $key = sprintf 'line-%06d', $order->{next_line}++;

	push @{ $order->{keys} }, $key;
	$order->{lines}{$key} = $item;
	return $key;
}

# An order as JSON text.
sub order_text
{
	my ($order) = @_;

	return qq({"id": "order-1", "version": $order->{version}, "currency": "EUR", "items": [)
	  . join(', ', map { item_text($_) } @{ $order->{items} })
	  . '], "lines": {'
	  . join(', ', map { qq("$_": ) . item_text($order->{lines}{$_}) } @{ $order->{keys} })
	  . '}}';
}

# An order that can be changed without the other.
sub copy_order
{
	my ($order) = @_;

	return {
		%$order,
		items => [ map { {%$_} } @{ $order->{items} } ],
		keys => [ @{ $order->{keys} } ],
		lines => { map { $_ => { %{ $order->{lines}{$_} } } } @{ $order->{keys} } } };
}

# One of the items or lines: its path and itself.
sub some_item
{
	my ($order) = @_;

	if (draw($order, 2) && @{ $order->{items} })
	{
		my $index = draw($order, scalar @{ $order->{items} });
		return ("/items/$index", $order->{items}[$index]);
	}
	my $key = pick($order, $order->{keys});
	return ("/lines/$key", $order->{lines}{$key});
}

# The operations, each of which changes the order and returns its text.

sub replace_leaf
{
	my ($order) = @_;
	my ($path, $item) = some_item($order);
	my $name = pick($order, \@leaves);

	$item->{$name} = $leaf{$name}->($order);
	return qq({"op": "replace", "path": "$path/$name", "value": $item->{$name}});
}

sub replace_version
{
	my ($order) = @_;

	$order->{version}++;
	return qq({"op": "replace", "path": "/version", "value": $order->{version}});
}

sub add
{
	my ($order) = @_;
	my $item = new_item($order);
	my $path;

	if (@{ $order->{items} } < $order->{count})
	{
		my $index = draw($order, @{ $order->{items} } + 1);
		splice @{ $order->{items} }, $index, 0, $item;
		$path = "/items/$index";
	}
	else
	{
		$path = '/lines/' . add_line($order, $item);
	}
	return qq({"op": "add", "path": "$path", "value": ) . item_text($item) . '}';
}

sub remove
{
	my ($order) = @_;

	if (@{ $order->{items} } > $order->{count} || draw($order, 2) && @{ $order->{items} } > 1)
	{
		my $index = draw($order, scalar @{ $order->{items} });
		splice @{ $order->{items} }, $index, 1;
		return qq({"op": "remove", "path": "/items/$index"});
	}
	my $index = draw($order, scalar @{ $order->{keys} });
	my ($key) = splice @{ $order->{keys} }, $index, 1;
	delete $order->{lines}{$key};
	return qq({"op": "remove", "path": "/lines/$key"});
}

# The order keeps its size: what is too many goes, what is missing comes.
sub add_or_remove
{
	my ($order) = @_;
	my $surplus = @{ $order->{items} } + @{ $order->{keys} } - 2 * $order->{count};

	return $surplus > 0 || !$surplus && @{ $order->{keys} } > 1 && draw($order, 2)
	  ? remove($order)
	  : add($order);
}

sub test
{
	my ($order) = @_;
	my ($path, $item) = some_item($order);
	my $name = pick($order, \@leaves);

	return qq({"op": "test", "path": "$path/$name", "value": $item->{$name}});
}

sub move
{
	my ($order) = @_;
	my $items = $order->{items};
	my ($from, $to) = map { draw($order, scalar @$items) } 1 .. 2;
	my ($item) = splice @$items, $from, 1;

	splice @$items, $to, 0, $item;
	return qq({"op": "move", "from": "/items/$from", "path": "/items/$to"});
}

sub copy
{
	my ($order) = @_;
	my ($from, $item) = some_item($order);
	my $to = draw($order, @{ $order->{items} } + 1);

	splice @{ $order->{items} }, $to, 0, {%$item};
	return qq({"op": "copy", "from": "$from", "path": "/items/$to"});
}

# How often each comes, of 100.
my @kinds = (
	(\&replace_leaf) x 45, (\&replace_version) x 10, (\&add_or_remove) x 30, (\&test) x 7,
	(\&move) x 5, (\&copy) x 3);

# What happens next to an order: one to three operations, two on average, as a patch.
sub next_event
{
	my ($order) = @_;

	my @operations = map { pick($order, \@kinds)->($order) } 0 .. draw($order, 3);

	return '[' . join(', ', @operations) . ']';
}

# The patch that json_patch is measured with: a leaf replaced, an item added in the middle and
# removed again.  The order stays as it was.
sub small_patch
{
	my ($order) = @_;
	my $middle = int(@{ $order->{items} } / 2);
	my $copy = copy_order($order);
	my @operations = replace_leaf($copy);

	push @operations,
	  qq({"op": "add", "path": "/items/$middle", "value": ) . item_text(new_item($copy)) . '}',
	  qq({"op": "remove", "path": "/items/$middle"});
	$order->{seed} = $copy->{seed};
	return '[' . join(', ', @operations) . ']';
}

1;
