# Clients that send their requests to the server side by side, and lose their sessions
# now and then.
#
# 1. A client is a psql that gets some requests at a time and says after each with
#	 which SQLSTATE it ended; run_clients() serves all of them in one loop.
#
# 2. A request is a hash: "sql"; "answered", called with the client, the SQLSTATE and
#	 the rows; perhaps "kill".  "cancel" and "terminate" are done by one more psql to
#	 the backend that gets it, before, while or after it carries the request out;
#	 with "deaf" the client loses its session when the answer has been sent.
#
# 3. When a session is lost, the first request that was not answered may have been
#	 carried out; those after it were not begun.  The client connects again and sends
#	 them again, the first one as "repeated"; with "once", it is not sent again but
#	 given to "lost".

package Clients;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IO::Handle;
use IO::Select;
use IPC::Open3;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(run_clients ask_next);

# How many requests a client sends at a time.
my $batch = 30;

# More lost sessions than this are nobody's wish: the server is gone.
my $most_lost = 5_000;

# Starts a psql that reads from a pipe; what it complains about goes to the log.
sub start_psql
{
	my ($node, $log, $name) = @_;
	my %psql;

	$psql{pid} = open3($psql{in}, $psql{out}, '>&' . fileno($log),
		'psql', '-XAtq', '-d', $node->connstr('postgres') . " application_name=$name");
	$psql{in}->autoflush(1);
	return \%psql;
}

# Gives a client a session, which tells the number of its backend before anything else.
sub connect_client
{
	my ($clients, $client) = @_;
	my $hello = { sql => 'SELECT pg_backend_pid()', hello => 1 };

	$hello->{answered} = sub {
		my ($client, $sqlstate, $pid) = @_;

		return ask_next($client, $hello) if $sqlstate ne '00000';
		$client->{backend} = $pid;
	};
	$client->{psql} = start_psql($clients->{node}, $clients->{log}, 'client');
	$client->{buffer} = '';
	$client->{rows} = [];
	$client->{todo} = [ $hello, grep { !$_->{hello} } @{ $client->{asked} }, @{ $client->{todo} } ];
	$client->{asked} = [];
	$clients->{of}{ $client->{psql}{out} } = $client;
	$clients->{select}->add($client->{psql}{out});
	send_batch($clients, $client);
	return;
}

# Takes the psql of a client away.
sub disconnect_client
{
	my ($clients, $client) = @_;
	my $psql = $client->{psql};

	$clients->{select}->remove($psql->{out});
	delete $clients->{of}{ $psql->{out} };
	close $psql->{in};
	close $psql->{out};
	waitpid $psql->{pid}, 0;
	return;
}

# Lets a client send this request before those that it has not sent yet.
sub ask_next
{
	my ($client, $request) = @_;

	unshift @{ $client->{todo} }, $request;
	return;
}

# Takes what a client sends next; what is to be killed comes first, and alone if nobody
# would know what became of the others.
sub take_batch
{
	my ($clients, $client) = @_;
	my $todo = $client->{todo};

	while (@$todo < $batch && defined(my $request = $clients->{next}->()))
	{
		push @$todo, $request;
	}
	my @taken = @$todo ? shift @$todo : ();

	return \@taken if @taken && ($taken[0]{hello} || ($taken[0]{kill} // '') eq 'deaf');
	push @taken, shift @$todo while @$todo && !$todo->[0]{kill} && @taken < $batch;
	return \@taken;
}

# Asks for what is to happen to the backend while it works on the client's first request.
sub kill_if_due
{
	my ($clients, $client) = @_;
	my $how = delete $client->{asked}[0]{kill} or return;

	return $client->{deaf} = 1 if $how eq 'deaf';
	print { $clients->{killer}{in} } "SELECT pg_${how}_backend($client->{backend});\n";
	return;
}

# Sends the next requests, or ends the session of a client that has none.
sub send_batch
{
	my ($clients, $client) = @_;

	$client->{asked} = take_batch($clients, $client);
	return disconnect_client($clients, $client) if !@{ $client->{asked} };
	print { $client->{psql}{in} }
	  map { "$_->{sql};\n\\echo answered :SQLSTATE\n" } @{ $client->{asked} };
	kill_if_due($clients, $client);
	return;
}

# The session was lost.
sub connect_again
{
	my ($clients, $client) = @_;
	my $first = $client->{asked}[0];

	disconnect_client($clients, $client);
	die 'sessions are lost all the time' if ++$clients->{reconnected} > $most_lost;
	if ($first->{once})
	{
		shift @{ $client->{asked} };
		$first->{lost}->();
	}
	$first->{repeated} = 1;
	connect_client($clients, $client);
	return;
}

# Takes what a client's psql has said.
sub receive
{
	my ($clients, $client) = @_;

	if (!sysread($client->{psql}{out}, $client->{buffer}, 65536, length $client->{buffer})
		|| delete $client->{deaf})
	{
		connect_again($clients, $client);
		return;
	}
	my @lines = split /\n/, $client->{buffer}, -1;

	$client->{buffer} = pop @lines;
	foreach my $line (@lines)
	{
		if ($line !~ /\Aanswered (\w{5})\z/)
		{
			push @{ $client->{rows} }, $line;
			next;
		}
		my ($sqlstate, $rows) = ($1, $client->{rows});

		$client->{rows} = [];
		(shift @{ $client->{asked} })->{answered}->($client, $sqlstate, @$rows);
	}
	send_batch($clients, $client) if !@{ $client->{asked} };
	return;
}

# Lets so many clients work until there is no next request.  Returns how often sessions
# were lost.
sub run_clients
{
	my ($node, $log, $many, $next) = @_;
	my %clients = (node => $node, log => $log, next => $next, reconnected => 0);

	$clients{select} = IO::Select->new;

	# A psql that has lost its session does not read any more.
	local $SIG{PIPE} = 'IGNORE';

	$clients{killer} = start_psql($node, $log, 'killer');
	connect_client(\%clients, { todo => [], asked => [] }) foreach 1 .. $many;
	while ($clients{select}->count)
	{
		my @ready = $clients{select}->can_read($PostgreSQL::Test::Utils::timeout_default)
		  or die 'no client was answered for a long time';
		receive(\%clients, $clients{of}{$_}) foreach @ready;
	}
	close $clients{killer}{in};
	waitpid $clients{killer}{pid}, 0;
	return $clients{reconnected};
}

1;
