# A small shop as webhook payloads, in the layout of the npm package: an array of events, each
# with its examples.  Always the same output.  Amounts come with one or two decimals, trailing
# zeros included, and some keys hold the characters that JSON Pointer must escape.
use strict;
use warnings;
use POSIX qw(strftime);

use constant { ACCOUNTS => 40, ORDERS => 180, START => 1704096000 };

my @names = ('Ada Byron', 'Jörg Weiß', 'Chloé Martin', 'O\'Neil "Sean"', '王芳',
  'Nadia Haddad');
my @cities = (['Bern', '3011', 'CH'], ['Graz', '8010', 'AT'], ['Lyon', '69001', 'FR'],
  ['Bergen', '5003', 'NO'], ['Gdańsk', '80-001', 'PL']);
my @goods = (['mug', 'Mug, blue', 1250], ['lamp', 'Desk lamp', 4900], ['desk', 'Oak desk', 38900],
  ['pen', 'Pen', 290], ['chair', 'Chair', 12900], ['book', 'Notebook A5', 640]);

my $seed = 20240101;
my (@accounts, %payloads);

# A generator of our own (Lehmer, 16807): the same numbers from every Perl.
sub pick {
  my ($n) = @_;
  $seed = $seed * 16807 % 2147483647;
  return int($seed / 64) % $n;
}

sub one { my ($list) = @_; return $list->[pick(scalar @$list)] }

# JSON text of a value: hashes, arrays, \"raw text" for numbers and literals, strings.
sub json {
  my ($v) = @_;
  return 'null' unless defined $v;
  return $$v if ref $v eq 'SCALAR';
  return '[' . join(',', map { json($_) } @$v) . ']' if ref $v eq 'ARRAY';
  return '{' . join(',', map { json($_) . ':' . json($v->{$_}) } sort keys %$v) . '}'
    if ref $v eq 'HASH';
  (my $s = $v) =~ s/(["\\])/\\$1/g;
  return qq("$s");
}

sub raw { my ($text) = @_; return \"$text" }
sub truth { return raw($_[0] ? 'true' : 'false') }
sub cents { return raw(sprintf '%.2f', $_[0] / 100) }
sub at { return strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(START + $_[0])) }

sub address {
  my ($city, $zip, $country) = @{ one(\@cities) };
  return { street => 'Hauptstraße ' . (1 + pick(90)), city => $city, zip => $zip,
    country => $country };
}

sub line {
  my ($sku, $name, $price) = @{ one(\@goods) };
  return { sku => $sku, name => $name, quantity => raw(1 + pick(3)), price => cents($price),
    cents => raw($price) };
}

# The sum of an order's lines in cents.
sub total {
  my ($order) = @_;
  my $sum = 0;
  $sum += ${ $_->{quantity} } * ${ $_->{cents} } for @{ $order->{lines} };
  return $sum;
}

# Keeps one payload: the action, the object as it is now, and the account it belongs to.
sub emit {
  my ($event, $action, $object, $account, $time) = @_;
  $object->{updated_at} = at($time);
  my %payload = (action => $action, $event => $object);
  $payload{account} = $account if $event ne 'account';
  push @{ $payloads{$event} }, json(\%payload);
}

# What can happen to an order between being placed and being paid.
my %edits = (
  line_added => sub { push @{ $_[0]{lines} }, line(); $_[0]{total} = cents(total($_[0])) },
  address_changed => sub { $_[0]{ship_to} = address() },
  discounted => sub { $_[0]{total} = raw(sprintf '%.1f', total($_[0]) * 0.9 / 100) },
  annotated => sub { $_[0]{attributes}{'size~cm'} = raw('1.0'); $_[0]{note} = 'call first' },
  gift_wrapped => sub { $_[0]{attributes}{'gift/wrap'} = truth(1); push @{ $_[0]{tags} }, 'gift' },
);

# One order from placed to its end; its payloads carry the account and its growing turnover.
sub order {
  my ($n) = @_;
  my ($account, $time) = (one(\@accounts), 86400 + $n * 977);
  my $o = { id => raw(7000000 + $n * 13), number => "A-$n", status => 'placed', paid => truth(0),
    lines => [map { line() } 0 .. pick(4)], ship_to => address(), tags => [], attributes => {},
    note => undef, tracking => undef, created_at => at($time) };
  my @edits = sort keys %edits;

  $o->{total} = cents(total($o));
  emit('order', 'placed', $o, $account, $time);
  for (1 .. pick(5)) {
    my $edit = one(\@edits);
    $edits{$edit}->($o);
    emit('order', $edit, $o, $account, $time += 60 + pick(4000));
  }
  if (pick(8) == 0) {
    $o->{status} = 'cancelled';
    emit('order', 'cancelled', $o, $account, $time += 300);
    return;
  }

  ($o->{status}, $o->{paid}) = ('paid', truth(1));
  $account->{turnover} = cents(100 * ${ $account->{turnover} } + 100 * ${ $o->{total} });
  ($account->{orders}, $account->{updated_at}) = (raw(1 + ${ $account->{orders} }), at($time + 90));
  emit('order', 'paid', $o, $account, $time += 90);
  $o->{status} = 'packed';
  emit('order', 'packed', $o, $account, $time += 3600);
  @$o{qw(status tracking)} = ('shipped', { carrier => 'post', code => sprintf 'P%07d', $n * 7919 });
  emit('order', 'shipped', $o, $account, $time += 7200);
  $o->{status} = 'delivered';
  emit('order', 'delivered', $o, $account, $time += 86400);
}

for my $n (1 .. ACCOUNTS) {
  my $name = one(\@names);
  push @accounts, { id => raw(500 + $n), name => $name, address => address(), turnover => cents(0),
    orders => raw(0), tier => 'standard', created_at => at($n * 61) };
  emit('account', 'opened', $accounts[-1], undef, $n * 61);
}
order($_) for 1 .. ORDERS;
for my $account (@accounts[map { $_ * 3 } 0 .. 12]) {
  $account->{tier} = 'gold';
  emit('account', 'upgraded', $account, undef, 86400 * 10 + ${ $account->{id} });
}

print '[', join(",\n", map {
    qq({"name":"$_","examples":[\n) . join(",\n", @{ $payloads{$_} }) . ']}'
  } sort keys %payloads), "]\n";
