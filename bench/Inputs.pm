# What json_patch and json_diff are measured with, the peers that they are measured against, and
# how a function is measured inside of the server.
#
# Every size has one document, four patches and four changed documents, which come in turn, so that
# nobody gains by remembering the last one.  asynx, the JavaScript and the Python peers read them
# from the same file.

package Inputs;

use strict;
use warnings FATAL => 'all';

use Bench;
use Documents;
use Exporter 'import';
use JSON::PP;

our @EXPORT = qw(start_peers prepare_inputs measure_sql measure_peer patch_size @peers);

# Which library is in which process, once it has been found to run.
our @peers;

my $work = $ENV{ASYNX_WORK};
my %process_of;
my %calls;
my $session;

# Milliseconds that one measure takes.
my $milliseconds = $smoke ? 1 : $short ? 40 : 150;

# The text of some input of a size, made once.
sub write_inputs
{
	my ($size) = @_;
	my $order = new_order($size);
	my $file = "$work/inputs-" . $size =~ s/ //r;
	my (@patches, @changed);

	foreach (1 .. 4)
	{
		push @patches, small_patch($order);
		push @changed, one_leaf_changed($order);
	}
	open my $handle, '>', $file or die "$file: $!\n";
	print $handle encode_json(
		{ document => order_text($order), patches => \@patches, changed => \@changed });
	close $handle or die "$file: $!\n";
	return $file;
}

# The text of an order with another value in one leaf.
sub one_leaf_changed
{
	my ($order) = @_;
	my $copy = copy_order($order);

	replace_leaf($copy);
	$order->{seed} = $copy->{seed};
	return order_text($copy);
}

# Gives the inputs of a size to everybody.
sub prepare_inputs
{
	my ($size) = @_;
	my $file = write_inputs($size);

	start_peers();
	return if ask($session, "SELECT count(*) FROM bench.inputs WHERE size = '$size'") ne '0';
	ask($session, "INSERT INTO bench.inputs
		SELECT '$size', i->>'document', i->'patches', i->'changed', (i->>'document')::jsonb
		FROM CAST(pg_read_file('$file') AS jsonb) i");
	foreach my $process (values %{ { map { $_ => $_ } values %process_of } })
	{
		ask($process, join ' ', 'load', $size =~ s/ //r, $file) eq 'ok' or die "load failed\n";
	}
	return;
}

# Starts the processes of the peers and a session in the server, once, and returns the session.
sub start_peers
{
	return $session if defined $session;
	my $javascript = peer('javascript.mjs');
	my $python = peer('python.py');

	@process_of{ 'fast-json-patch', 'rfc6902' } = ($javascript) x 2 if $javascript;
	$process_of{'python3-jsonpatch'} = $python if $python;
	@peers = sort keys %process_of;
	$session = session();
	ask($session, 'DROP SCHEMA IF EXISTS bench CASCADE;
		CREATE EXTENSION IF NOT EXISTS asynx;
		CREATE SCHEMA bench;
		CREATE TABLE bench.inputs (
			size text, document text, patches jsonb, changed jsonb, stored jsonb)');
	return $session;
}

# Microseconds of one call of an SQL expression about the inputs: d is the document, p a patch and c
# a changed document, all jsonb; dt, pt and ct are the same as text; i.stored is the document in its
# table.
#
# All but i.stored are variables, values in memory that are neither compressed nor out of line.
# With a generic plan they are no constants, and so the call, of an immutable function, is made
# for each of the n rows.
sub measure_sql
{
	my ($size, $expression) = @_;
	my $key = "$size $expression";

	if (!defined $calls{$key})
	{
		my $name = 'bench.measure_' . keys %calls;
		my $variables = join ' ', map { "${_}0 jsonb; ${_}1 jsonb; ${_}2 jsonb; ${_}3 jsonb;"
			  . "${_}t0 text; ${_}t1 text; ${_}t2 text; ${_}t3 text;" } qw(p c);
		my %list = (p => 'patches', c => 'changed');
		my $values = join ' ', map {
			my $v = $_;
			map { "${v}t$_ := inputs.$list{$v}->>$_; ${v}$_ := ${v}t${_}::jsonb;" } 0 .. 3
		} qw(p c);

		$expression =~ s{\b([pc]t?)\b}
			{(CASE g % 4 WHEN 0 THEN ${1}0 WHEN 1 THEN ${1}1 WHEN 2 THEN ${1}2 ELSE ${1}3 END)}g;
		ask($session, "CREATE FUNCTION $name(n int) RETURNS float8 LANGUAGE plpgsql
			SET plan_cache_mode = force_generic_plan AS \$\$
			DECLARE
				inputs bench.inputs; started timestamptz; dt text; d jsonb; $variables
			BEGIN
				SELECT * INTO inputs FROM bench.inputs WHERE size = '$size';
				dt := inputs.document || ''; d := dt::jsonb; $values
				started := clock_timestamp();
				PERFORM count($expression)
				FROM bench.inputs i, generate_series(1, n) g WHERE i.size = '$size';
				RETURN extract(epoch FROM clock_timestamp() - started) * 1e6 / n;
			END \$\$");
		$calls{$key} = { name => $name, n => 1 };
		calibrate($calls{$key});
	}
	return ask($session, "SELECT $calls{$key}{name}($calls{$key}{n})");
}

# Finds out how many calls a measure takes.
sub calibrate
{
	my ($call) = @_;

	while (1)
	{
		my $each = ask($session, "SELECT $call->{name}($call->{n})");
		my $n = int($milliseconds * 1000 / ($each || 0.01)) || 1;

		return $call->{n} = $n if $call->{n} * 4 >= $n;
		$call->{n} = $call->{n} * 10 < $n ? $call->{n} * 10 : $n;
	}
}

# Microseconds of one call of a peer's task.
sub measure_peer
{
	my ($peer, $task, $size) = @_;

	return ask($process_of{$peer}, join ' ', $peer, $task, $size =~ s/ //r, $milliseconds);
}

# Bytes of the patch that a peer finds between the two documents in a file.
sub patch_size
{
	my ($peer, $file) = @_;

	return ask($process_of{$peer}, "$peer size $file");
}

1;
