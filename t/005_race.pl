# Sessions race for the versions of one aggregate, through append(), append_many() and
# write(): each version is won once, every loser is told so with version_conflict.
# Appends and writes race against delete(): a version never stands without its
# predecessor, and every event that was appended is either deleted or still there.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $racers = 16;
my $versions = 300;

my $node = store_node('race', "log_min_messages = panic\n");

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE tried (session int, how text, version bigint, result text);

-- One attempt at a version; what became of it.
CREATE FUNCTION attempt(how text, me int, target bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  CASE how
    WHEN 'append' THEN
      PERFORM asynx.append('append', target, 'race.won', '[]', metadata => to_jsonb(me));
    WHEN 'append_many' THEN
      PERFORM asynx.append_many(jsonb_build_array(
        jsonb_build_object('aggregate_id', 'many-of-' || me || '-' || target, 'version', 1,
                           'event_name', 'race.aside', 'patch', '[]'::jsonb),
        jsonb_build_object('aggregate_id', 'append_many', 'version', target,
                           'event_name', 'race.won', 'patch', '[]'::jsonb, 'metadata', me)));
    WHEN 'write' THEN
      PERFORM asynx.write('write', 'race.won', to_jsonb(target),
                          expected_version => target - 1, metadata => to_jsonb(me));
  END CASE;
  RETURN 'won';
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;

-- Who has won pauses, inside the transaction or after it, so that the others draw level.
CREATE PROCEDURE race(how text, me int, versions int) LANGUAGE plpgsql AS $$
DECLARE
  result text;
BEGIN
  FOR target IN 1 .. versions LOOP
    result := attempt(how, me, target);
    INSERT INTO tried VALUES (me, how, target, result);
    IF result = 'won' AND random() < 0.3 THEN
      PERFORM pg_sleep(random() * 0.004);
    END IF;
    COMMIT;
    IF result = 'won' THEN
      PERFORM pg_sleep(random() * 0.006);
    END IF;
  END LOOP;
END $$;
SQL

foreach my $how (qw(append append_many write))
{
	my @racers =
	  start_together($node, map { ["CALL race('$how', $_, $versions)"] } 1 .. $racers);
	is(finish_sessions(@racers), 0, "$how: all sessions came to the end");

	is( $node->safe_psql('postgres',
			"SELECT result, count(*) FROM tried WHERE how = '$how' GROUP BY 1 ORDER BY 1"),
		"SX003|" . ($racers - 1) * $versions . "\nwon|$versions",
		"$how: one winner a version, a version conflict for everybody else");
	is( $node->safe_psql('postgres', <<"SQL"), '', "$how: who won has the event");
SELECT version, session FROM tried WHERE how = '$how' AND result = 'won'
EXCEPT SELECT version, metadata::int FROM asynx.events WHERE aggregate_id = '$how'
SQL
	is( $node->safe_psql('postgres', <<"SQL"), "$versions|1|$versions", "$how: no version more");
SELECT count(*), min(version), max(version) FROM asynx.events WHERE aggregate_id = '$how'
SQL
	my $winners = $node->safe_psql('postgres',
		"SELECT count(DISTINCT session) FROM tried WHERE how = '$how' AND result = 'won'");
	cmp_ok($winners, '>', $racers / 2, "$how: it was a race, $winners sessions won at least once");
}
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM asynx.events WHERE aggregate_id LIKE 'many-of-%'"),
	$versions, 'a batch that lost stored none of its other events');
is($node->safe_psql('postgres', "SELECT asynx.get('write')"),
	$versions, 'the state is the last one');

# Against delete().  Every session keeps count of what it stored and what it erased.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE moved (session int, stored bigint, erased bigint, refused bigint);
CREATE TABLE watched (looks bigint, orphans bigint);

CREATE PROCEDURE append_loop(me int, steps int) LANGUAGE plpgsql AS $$
DECLARE
  target text;
  head bigint;
  stored bigint := 0;
  refused bigint := 0;
BEGIN
  FOR step IN 1 .. steps LOOP
    target := 'target-' || step % 2;
    SELECT coalesce(max(version), 0) INTO head FROM asynx.events WHERE aggregate_id = target;
    BEGIN
      IF random() < 0.7 THEN
        PERFORM asynx.append(target, head + 1, 'race.step', '[]');
      ELSE
        PERFORM asynx.write(target, 'race.written', to_jsonb(step));
      END IF;
      stored := stored + 1;
    EXCEPTION WHEN SQLSTATE 'SX003' OR SQLSTATE 'SX017' THEN
      refused := refused + 1;
    END;
    IF random() < 0.3 THEN
      PERFORM pg_sleep(random() * 0.002);
    END IF;
    COMMIT;
  END LOOP;
  INSERT INTO moved VALUES (me, stored, 0, refused);
END $$;

CREATE PROCEDURE delete_loop(me int, steps int) LANGUAGE plpgsql AS $$
DECLARE
  erased bigint := 0;
BEGIN
  FOR step IN 1 .. steps LOOP
    erased := erased + asynx.delete('target-' || step % 2);
    IF random() < 0.3 THEN
      PERFORM pg_sleep(random() * 0.004);
    END IF;
    COMMIT;
    PERFORM pg_sleep(random() * 0.004);
  END LOOP;
  INSERT INTO moved VALUES (me, 0, erased, 0);
END $$;

-- Looks for a version without its predecessor, as long as the others work.
CREATE PROCEDURE watch_loop(sessions int) LANGUAGE plpgsql AS $$
DECLARE
  looks bigint := 0;
  orphans bigint := 0;
BEGIN
  WHILE (SELECT count(*) FROM moved) < sessions LOOP
    orphans := orphans + (
      SELECT count(*) FROM asynx.events e
      WHERE aggregate_id LIKE 'target-%' AND version > 1 AND NOT EXISTS (
        SELECT FROM asynx.events p
        WHERE p.aggregate_id = e.aggregate_id AND p.version = e.version - 1));
    looks := looks + 1;
    COMMIT;
    PERFORM pg_sleep(random() * 0.01);
  END LOOP;
  INSERT INTO watched VALUES (looks, orphans);
END $$;
SQL

my @jobs = (
	(map { ["CALL append_loop($_, 800)"] } 1 .. 5),
	(map { ["CALL delete_loop($_, 250)"] } 6 .. 8));
my @sessions = start_together($node, @jobs, ["CALL watch_loop(" . @jobs . ")"]);
is(finish_sessions(@sessions), 0, 'delete: all sessions came to the end');

my ($stored, $erased, $refused) = split /\|/,
  $node->safe_psql('postgres', 'SELECT sum(stored), sum(erased), sum(refused) FROM moved');
my $left = $node->safe_psql('postgres',
	"SELECT count(*) FROM asynx.events WHERE aggregate_id LIKE 'target-%'");
my ($looks, $orphans) = split /\|/, $node->safe_psql('postgres', 'SELECT * FROM watched');
note("$stored events stored, $erased erased, $left left, $refused refused, looked $looks times");
is($stored, $erased + $left, 'delete: every event that was stored is erased or still there');
is($orphans, 0, 'delete: nobody ever saw a version without its predecessor');
cmp_ok($erased, '>', 100, 'delete: much was erased');
cmp_ok($refused, '>', 100, 'delete: much was refused');
cmp_ok($looks, '>', 10, 'delete: somebody looked');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM asynx.events WHERE event_name LIKE 'asynx.%'"),
	0, 'delete: it leaves no row of its own');
stream_checks($node, 'afterwards');

$node->stop;
done_testing();
