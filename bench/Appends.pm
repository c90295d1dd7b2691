# What the cases about appending share: empty tables for each round, and pgbench with the processor
# time of the server's backends.

package Appends;

use strict;
use warnings FATAL => 'all';

use Bench;
use Exporter 'import';
use POSIX ();
use Time::HiRes qw(sleep);

our @EXPORT = qw(prepare_message_db empty_tables pgbench rates_and_times slurp $patch);

# Two operations and 150 bytes of text, about what an event has in the streams of Streams.pm.
our $patch = '[{"op": "replace", "path": "/lines/line-000017/quantity", "value": 3}, '
  . '{"op": "add", "path": "/items/4/tags/-", "value": "gift wrapped, with a card"}]';

my $work = $ENV{ASYNX_WORK};
my $message_db;

# Installs message-db into a database of its own, if it could be had; is it there?
sub prepare_message_db
{
	my $install = "$work/peers/node_modules/\@eventide/message-db/database/install.sh";

	return $message_db if defined $message_db;
	return $message_db = 0 if !-e $install;
	$message_db = system("DATABASE_NAME=message_store bash $install >$work/message_db.log 2>&1") == 0;
	note_missing('message-db', "see its installation: " . `tail -n 1 $work/message_db.log`)
	  if !$message_db;
	return $message_db;
}

# Every contestant begins with empty tables, indexes that have just been made, and no dirty page.
sub empty_tables
{
	psql("SET asynx.allow_drop = on;
		DROP SCHEMA IF EXISTS plain CASCADE;
		DROP EXTENSION IF EXISTS asynx;
		CREATE EXTENSION asynx");
	psql(slurp('bench/append/plain.sql'));
	psql('TRUNCATE message_store.messages RESTART IDENTITY', 'message_store') if $message_db;
	psql('CHECKPOINT');
	return;
}

sub slurp
{
	my ($file) = @_;

	open my $handle, '<', $file or die "$file: $!\n";
	local $/;
	return readline($handle) // '';
}

# The processor time of a process and of its children that have ended, in seconds, and how many
# children it has now.
sub children_of
{
	my ($pid) = @_;
	my $children = 0;

	foreach my $file (glob '/proc/[0-9]*/stat')
	{
		# A process may end meanwhile.
		open my $handle, '<', $file or next;
		my $line = readline($handle) // next;
		next if $line !~ /.*\) \S (\d+)/ || $1 != $pid;
		# asynx's workers come and go by themselves
		my $command = eval { slurp($file =~ s/stat$/cmdline/r) } // next;
		$children++ if $command !~ /^postgres: asynx/;
	}
	my @fields = split ' ', slurp("/proc/$pid/stat") =~ s/.*\)//r;
	return ($children, ($fields[13] + $fields[14]) / POSIX::sysconf(POSIX::_SC_CLK_TCK()));
}

# Counts every client's transactions, from the logs that pgbench leaves: a line for each, which
# begins with the client's number.
sub count_each
{
	my ($each) = @_;

	foreach my $file (glob "$work/each.*")
	{
		$each->{$_}++ foreach slurp($file) =~ /^(\d+) /gm;
		unlink $file;
	}
	return;
}

# Runs a script of bench/append and returns transactions per second and the microseconds of the
# server's processors for each.  Option "setup" is run before, with the tables empty; "each" gets
# how many transactions every client has had.
sub pgbench
{
	my ($script, %options) = @_;
	my ($postmaster) = split /\n/, slurp("$work/data/postmaster.pid");
	my $database = $script =~ /message_db/ ? 'message_store' : 'postgres';
	my @command = ('pgbench', '-n', '-M', 'prepared', '-f', "bench/append/$script.sql",
		'-c', $options{clients}, '-j', $options{clients} > 1 ? 2 : 1,
		$smoke ? ('-t', 20) : ('-T', $options{seconds}),
		map({ ('-D', $_) } 'version=0', 'number=0', "length=$options{length}", "patch=$patch",
			'spread=' . ($options{spread} // 1)),
		$options{each} ? ('-l', "--log-prefix=$work/each") : (),
		$database);

	empty_tables();
	if ($options{setup})
	{
		$options{setup}->();
		psql('CHECKPOINT');
	}
	local $ENV{PGOPTIONS} = "-c synchronous_commit=$options{commit}"
	  . ($database eq 'message_store' ? ' -c search_path=message_store,public' : '');

	# A backend's time counts when it has ended.
	my ($children, $before) = children_of($postmaster);
	open my $output, '-|', @command or die "pgbench: $!\n";
	my $report = do { local $/; readline $output };
	close $output or die "pgbench failed: $report\n";
	my ($left, $after) = children_of($postmaster);
	while ($left > $children)
	{
		sleep 0.01;
		($left, $after) = children_of($postmaster);
	}

	count_each($options{each}) if $options{each};
	my ($transactions) = $report =~ /actually processed: (\d+)/ or die "pgbench: $report\n";
	my ($rate) = $report =~ /^tps = ([\d.]+)/m or die "pgbench: $report\n";
	return ($rate, ($after - $before) * 1e6 / $transactions);
}

# Takes what pgbench() measured in turns apart: rates and processor times.
sub rates_and_times
{
	my ($turns) = @_;
	my (%rates, %times);

	foreach my $name (keys %$turns)
	{
		$rates{$name} = [ map { $_->[0] } @{ $turns->{$name} } ];
		$times{$name} = [ map { $_->[1] } @{ $turns->{$name} } ];
	}
	return (\%rates, \%times);
}

1;
