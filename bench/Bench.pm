# What the cases share: sessions and other processes that answer questions, rounds in which the
# contestants take turns, and the rows of the report.
#
# Whatever is compared is measured in the same round, moments apart, and each odd round goes
# through the contestants backwards: a neighbour's load, a warm cache, a growing table meet all of
# them alike.  A ratio is taken within each round; its median is what counts against a goal, and
# the lowest and the highest round are shown beside it.

package Bench;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IO::Handle;
use IPC::Open2;
use JSON::PP;
use List::Util qw(max min sum);
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  $smoke $short $rounds @loads
  begin_case row note_missing
  psql session peer ask finish
  take_turns ratios median fastest show_measures
  print_machine print_summary results_json
);

# Only see whether everything runs?  Fewer and shorter rounds?
our $smoke = $ENV{SMOKE} ? 1 : 0;
our $short = $smoke || $ENV{SHORT} ? 1 : 0;

# How often each comparison is made; medians of fewer than five would say little.
our $rounds = $smoke ? 1 : $ENV{ROUNDS} || ($short ? 5 : 9);
die "ROUNDS must be at least 5\n" if $rounds < 5 && !$smoke;

# What the store is loaded with: pairs of synchronous_commit and a number of clients.
our @loads =
    $smoke ? (['off', 2])
  : $short ? (['on', 1], ['on', 8], ['on', 32], ['off', 8])
  : (['on', 1], ['on', 8], ['on', 32], ['off', 1], ['off', 8], ['off', 32]);

my $work = $ENV{ASYNX_WORK} or die "bench runs in a sandbox, see bench/run\n";
my (%machine, @rows, @missing, $case);
my $width = 66;

# The program and arguments of psql for a database.
sub psql_command
{
	my ($database) = @_;
	return ('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $database // 'postgres');
}

# Starts a process that answers each line it gets.
sub start
{
	my (@command) = @_;
	my %process = (command => "@command");

	$process{pid} = open2($process{out}, $process{in}, @command);
	$process{in}->autoflush(1);
	return \%process;
}

# A psql that stays: for what a session keeps, and for measures without starting one.
sub session
{
	my ($database) = @_;
	my $session = start(psql_command($database));

	$session->{psql} = 1;
	ask($session, 'SET client_min_messages = warning');
	return $session;
}

# Asks a session for the result of SQL, or a peer for its answer to a line.
sub ask
{
	my ($process, $question) = @_;
	my $answer = '';

	$question .= ";\n\\echo 'end of answer'" if $process->{psql};
	print { $process->{in} } "$question\n";
	while (defined(my $line = readline $process->{out}))
	{
		return $line =~ s/\n\z//r if !$process->{psql};
		return $answer =~ s/\n\z//r if $line eq "end of answer\n";
		$answer .= $line;
	}
	die "$process->{command} ended while it was asked: " . substr($question, 0, 200) . "\n";
}

# Ends a process.  A backend's processor time is counted when the postmaster has seen its end, and
# must not fall into what is measured next.
sub finish
{
	my ($process) = @_;
	my $backend = $process->{psql} && ask($process, 'SELECT pg_backend_pid()');

	close $process->{in};
	waitpid $process->{pid}, 0;
	sleep 0.001 while $backend && -e "/proc/$backend";
	return;
}

# Runs SQL in a session of its own and returns what it printed.
sub psql
{
	my ($sql, $database) = @_;
	my $session = session($database);
	my $answer = ask($session, $sql);

	finish($session);
	return $answer;
}

# A peer's process, javascript.mjs or python.py, or nothing where it cannot run.
sub peer
{
	my ($program) = @_;
	my $path = "$work/peers/$program";
	my @command = $program =~ /\.py$/ ? ('/usr/bin/python3', $path) : ('node', $path);
	my $tried = `@command versions 2>&1`;

	return start(@command) if $? == 0;
	note_missing($program, $tried =~ /(\S[^\n]*Error[^\n]*)/ ? $1 : $tried);
	return undef;
}

# Notes that a contestant is not there, once.
sub note_missing
{
	my ($name, $why) = @_;

	$why =~ s/\s+\z//;
	return if grep { $_->{name} eq $name } @missing;
	push @missing, { name => $name, why => $why };
	print "  without $name: $why\n";
	return;
}

# Lets the contestants, pairs of a name and a function that gives a measure, take turns.  Returns
# for each name the measures, round by round.
sub take_turns
{
	my (@contestants) = @_;
	my (@names, %run, %measures);

	while (my ($name, $function) = splice @contestants, 0, 2)
	{
		push @names, $name;
		$run{$name} = $function;
	}
	foreach my $round (1 .. $rounds)
	{
		push @{ $measures{$_} }, $run{$_}->() foreach $round % 2 ? @names : reverse @names;
	}
	return \%measures;
}

# The measures of one contestant over those of another, round by round; infinite over one that was
# too short to be measured, which happens when every case is only tried.
sub ratios
{
	my ($measures, $one, $other) = @_;
	my ($over, $under) = ($measures->{$one}, $measures->{$other});

	return [ map { $under->[$_] > 0 ? $over->[$_] / $under->[$_] : 9**9**9 } 0 .. $#$over ];
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	my $middle = int(@sorted / 2);

	return @sorted % 2 ? $sorted[$middle] : ($sorted[ $middle - 1 ] + $sorted[$middle]) / 2;
}

# Which of some contestants has the lowest median.
sub fastest
{
	my ($measures, @names) = @_;
	my ($first) =
	  sort { median(@{ $measures->{$a} }) <=> median(@{ $measures->{$b} }) } @names;

	return $first // die "there is no peer to compare with\n";
}

# A number with three digits that count.
sub short_number
{
	my ($number) = @_;
	my $size = $number == int($number) ? 100 : abs($number);
	my $digits = $size >= 100 ? 0 : $size >= 10 ? 1 : $size >= 1 ? 2 : 3;
	my $text = sprintf "%.${digits}f", $number;

	1 while $text =~ s/^(\d+)(\d{3})/$1,$2/;
	return $text;
}

# Heads the rows of a case.
sub begin_case
{
	($case) = @_;
	printf "\n%-${width}s %9s %17s  %-8s %s\n", $case, 'median', 'lowest - highest', 'goal',
	  'met';
	return;
}

# Adds a row and prints it: what it is, the values of all rounds, the goal if there is one (">= 2"
# or "<= 2"), and the medians of what was measured, in a unit.
sub row
{
	my ($what, $values, %more) = @_;
	my $median = median(@$values);

	delete $more{goal} if $smoke;
	my ($relation, $bound) = split ' ', $more{goal} // '';
	my $met;

	$met = $relation eq '>=' ? $median >= $bound : $median <= $bound if defined $bound;
	push @rows,
	  {
		case => $case,
		what => $what,
		median => $median,
		lowest => min(@$values),
		highest => max(@$values),
		rounds => [@$values],
		goal => $more{goal},
		met => defined $met ? ($met ? JSON::PP::true : JSON::PP::false) : undef,
		measures => $more{measures},
		unit => $more{unit},
	  };
	printf "  %-*s %9s %17s  %-8s %s\n", $width - 2, $what, short_number($median),
	  short_number(min(@$values)) . ' - ' . short_number(max(@$values)), $more{goal} // '',
	  !defined $met ? '' : $met ? 'yes' : 'NO';
	show_measures($more{measures}, $more{unit} // '');
	return;
}

# Prints the medians that a row's ratios, or those of all rows above, were made of.
sub show_measures
{
	my ($measures, $unit) = @_;

	return if !defined $measures;
	print '    ',
	  join(', ', map { "$_ " . short_number(median(@{ $measures->{$_} })) } sort keys %$measures),
	  " $unit\n";
	return;
}

# The first line of a command's output, or nothing.
sub first_line
{
	my ($command) = @_;
	my ($line) = split /\n/, `$command 2>/dev/null`;

	return $line // '';
}

# The versions of the peers, as they tell themselves.
sub peer_versions
{
	my %versions;

	foreach my $peer (grep { -e "$work/peers/$_" } qw(javascript.mjs python.py emmett.mjs))
	{
		my $program = $peer =~ /\.py$/ ? '/usr/bin/python3' : 'node';
		my $line = first_line("$program $work/peers/$peer versions");

		$versions{$1} = $2 while $line =~ /(\S+)=(\S+)/g;
	}
	$versions{'message-db'} = first_line("cat $work/peers/node_modules/\@eventide/message-db/"
		  . 'database/VERSION.txt');
	delete @versions{ grep { $versions{$_} eq '' } keys %versions };
	return \%versions;
}

# Microseconds that 8 kB take to the disk.
sub fsync_time
{
	my $file = "$work/fsync";
	my @times;

	open my $handle, '>', $file or die "$file: $!\n";
	foreach (1 .. 101)
	{
		my $start = time;

		syswrite $handle, 'x' x 8192 or die "$file: $!\n";
		$handle->sync or die "$file: $!\n";
		push @times, (time - $start) * 1e6;
	}
	close $handle;
	unlink $file;
	return int median(@times);
}

# Says what everything was measured on.
sub print_machine
{
	my @settings = qw(fsync synchronous_commit wal_sync_method full_page_writes shared_buffers
	  max_wal_size autovacuum jit);

	%machine = (
		cores => first_line('nproc') + 0,
		processor => first_line("sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo"),
		kernel => first_line('uname -sr'),
		filesystem => first_line("stat -f -c %T $work"),
		fsync_us => fsync_time(),
		postgresql => psql('SHOW server_version'),
		settings => { map { $_ => psql("SHOW $_") } @settings },
		asynx => psql("SELECT default_version FROM pg_available_extensions WHERE name = 'asynx'"),
		peers => peer_versions(),
		rounds => $rounds,
		short => $short ? JSON::PP::true : JSON::PP::false,
	);
	print "$machine{cores} cores of $machine{processor}, $machine{kernel}, "
	  . "files on $machine{filesystem}, 8 kB synced in $machine{fsync_us} us\n";
	print "PostgreSQL $machine{postgresql}: ",
	  join(', ', map { "$_ $machine{settings}{$_}" } @settings), "\n";
	print 'peers: ', join(', ', map { "$_ $machine{peers}{$_}" } sort keys %{ $machine{peers} }),
	  "\n";
	print "$rounds rounds", $short ? ', short ones' : '', "\n";
	return;
}

# Says which goals were met.
sub print_summary
{
	my (@failed) = @_;
	my @goals = grep { defined $_->{goal} } @rows;
	my @missed = grep { !$_->{met} } @goals;

	printf "\n%d goals, %d met, %d missed\n", scalar(@goals), @goals - @missed, scalar @missed;
	printf "  missed: %s, %s: %s instead of %s\n", $_->{case}, $_->{what},
	  short_number($_->{median}), $_->{goal}
	  foreach @missed;
	print "cases that failed: @failed\n" if @failed;
	return;
}

# All there is to know, for a program.
sub results_json
{
	return JSON::PP->new->canonical->pretty->encode(
		{ machine => \%machine, missing => \@missing, rows => \@rows });
}

1;
