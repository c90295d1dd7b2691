# A client that notes when notifications arrive.  psql only looks for them after a statement, so
# this speaks the server's protocol itself, over the socket, in a process of its own.

package Listener;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IO::Socket::UNIX;
use POSIX ();
use Time::HiRes qw(time);

our @EXPORT = qw(start_listener stop_listener);

# One message of the server: its type and what is in it.
sub message
{
	my ($socket) = @_;
	my ($head, $body) = ('', '');

	while (length $head < 5)
	{
		sysread($socket, $head, 5 - length $head, length $head) or return;
	}
	my ($type, $length) = unpack 'a N', $head;
	while (length $body < $length - 4)
	{
		sysread($socket, $body, $length - 4 - length $body, length $body) or return;
	}
	return ($type, $body);
}

# Connects and listens; returns when the server has said that it is ready.
sub connect_and_listen
{
	my ($channel) = @_;
	my $user = $ENV{PGUSER} // getpwuid $<;
	my $socket = IO::Socket::UNIX->new("$ENV{PGHOST}/.s.PGSQL." . ($ENV{PGPORT} // 5432))
	  or die "no connection: $!\n";
	my $database = $ENV{PGDATABASE} // 'postgres';
	my $startup = pack('N', 196608) . "user\0$user\0database\0$database\0\0";
	my $statement = "LISTEN $channel\0";

	syswrite $socket, pack('N', 4 + length $startup) . $startup;
	foreach my $send ('Q' . pack('N', 4 + length $statement) . $statement, undef)
	{
		while (my ($type, $body) = message($socket))
		{
			die "the server says: $body\n" if $type eq 'E';
			last if $type eq 'Z';
		}
		syswrite $socket, $send if defined $send;
	}
	return $socket;
}

# Starts a listener that writes "TIME PAYLOAD" lines into a file; returns its process.
sub start_listener
{
	my ($channel, $file) = @_;

	pipe my $ready, my $tell or die "pipe: $!\n";
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0)
	{
		close $ready;
		my $socket = connect_and_listen($channel);
		open my $lines, '>', $file or die "$file: $!\n";
		$lines->autoflush(1);
		close $tell;
		while (my ($type, $body) = message($socket))
		{
			my $at = time;
			printf $lines "%.6f %s\n", $at, (split /\0/, substr $body, 4)[1] if $type eq 'A';
		}
		POSIX::_exit(0);
	}
	close $tell;
	readline $ready;
	return $pid;
}

# Ends it.
sub stop_listener
{
	my ($pid) = @_;

	kill 'TERM', $pid;
	waitpid $pid, 0;
	return;
}

1;
