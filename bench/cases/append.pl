# append(), one event a transaction, against a plain INSERT and message-db: throughput and the
# server's processor time.  All of them answer with the position; append() also with the whole event.

package Case::append;

use strict;
use warnings FATAL => 'all';

use Appends;
use Bench;

# The goals are at 8 clients; and the start of a session should not show in its processor time.
my %seconds = (1 => $short ? 1 : 3, 2 => 1, 8 => $short ? 2 : 5, 32 => $short ? 1 : 3);
my %goal = (
	'on 8 rate insert' => '>= 0.9',
	'off 8 time insert' => '<= 1.6',
	'on 8 rate message_db_one' => '>= 3',
	'on 8 rate message_db_many' => '>= 1.2',
);
my %others = (
	insert => 'plain INSERT',
	message_db_one => 'message-db, one category',
	message_db_many => 'message-db, many categories',
	asynx_event => 'append() that answers with the whole event');

# Compares with one number of clients and one setting of synchronous_commit.
sub compare
{
	my ($commit, $clients, @scripts) = @_;
	my $turns = take_turns(
		map {
			my $script = $_;
			($script => sub {
				[ pgbench($script, clients => $clients, commit => $commit, length => 10,
						seconds => $seconds{$clients}) ];
			})
		} @scripts);
	my ($rates, $times) = rates_and_times($turns);

	foreach my $script (@scripts[ 1 .. $#scripts ])
	{
		my $where = "$clients clients, commit $commit";

		row("$where: rate / $others{$script}", ratios($rates, 'asynx', $script),
			goal => $goal{"$commit $clients rate $script"},
			measures => { map { $_ => $rates->{$_} } 'asynx', $script }, unit => '/s');
		row("$where: processor time / $others{$script}", ratios($times, 'asynx', $script),
			goal => $goal{"$commit $clients time $script"},
			measures => { map { $_ => $times->{$_} } 'asynx', $script }, unit => 'us');
	}
	return;
}

return sub {
	my @scripts = qw(asynx insert);

	push @scripts, qw(message_db_one message_db_many) if prepare_message_db();
	foreach my $load (@loads)
	{
		my ($commit, $clients) = @$load;

		compare(@$load, @scripts, $clients == 8 ? 'asynx_event' : ());
	}
};
