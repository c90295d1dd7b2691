# Nobody who follows read_all() misses an event or sees one twice, whatever the
# writers do: 32 of them with pauses inside their transactions, several events a
# transaction, rollbacks, subtransactions that fail (also the one that drew the
# transaction's first position), errors, deadlocks, and sessions that are cancelled
# and terminated all the time.
#
# A second reader follows the table itself by position.  It must lose events:
# were the load too tame, the first verdict would mean nothing.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StoreTest;
use Test::More;

my $writers = 32;
my $seconds = 15;

my $node = store_node('stress', <<'CONF');
max_connections = 60
deadlock_timeout = 50ms
log_min_messages = panic
CONF

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE control (stops_at timestamptz, written boolean NOT NULL DEFAULT false);
INSERT INTO control DEFAULT VALUES;
CREATE TABLE seen (n bigserial, position bigint NOT NULL);
CREATE TABLE bypassed (n bigserial, position bigint NOT NULL);
CREATE TABLE kills (how text, done boolean);

-- One event at the end of an own or a shared stream, in a subtransaction that
-- sometimes fails after the append, and always when the version was taken.
CREATE FUNCTION append_one(me int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  target text := CASE WHEN random() < 0.8 THEN 'own-' || me
                 ELSE 'shared-' || (random() * 500)::int END;
  head bigint;
BEGIN
  SELECT coalesce(max(version), 0) INTO head FROM asynx.events WHERE aggregate_id = target;
  PERFORM asynx.append(target, head + 1, 'stress.step', '[]');
  IF random() < 0.15 THEN
    RAISE EXCEPTION 'gives up inside the subtransaction';
  END IF;
EXCEPTION
  WHEN raise_exception OR SQLSTATE 'SX003' OR deadlock_detected THEN NULL;
END $$;

-- The same without a subtransaction; only on the own stream, where nobody interferes.
CREATE FUNCTION append_plain(me int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  head bigint;
BEGIN
  SELECT coalesce(max(version), 0) INTO head FROM asynx.events WHERE aggregate_id = 'own-' || me;
  PERFORM asynx.append('own-' || me, head + 1, 'stress.step', '[]');
END $$;

CREATE PROCEDURE writer(me int) LANGUAGE plpgsql AS $$
BEGIN
  WHILE clock_timestamp() < (SELECT stops_at FROM control) LOOP
    FOR i IN 1 .. 1 + (random() * 4)::int LOOP
      IF random() < 0.5 THEN
        PERFORM append_one(me);
      ELSE
        PERFORM append_plain(me);
      END IF;
      PERFORM pg_sleep(random() * 0.06);
    END LOOP;
    IF random() < 0.02 THEN
      RAISE EXCEPTION 'fails outside any subtransaction';
    ELSIF random() < 0.15 THEN
      ROLLBACK;
    ELSE
      COMMIT;
    END IF;
  END LOOP;
END $$;

CREATE PROCEDURE killer() LANGUAGE plpgsql AS $$
DECLARE
  victim int;
BEGIN
  WHILE clock_timestamp() < (SELECT stops_at FROM control) LOOP
    SELECT pid INTO victim FROM pg_stat_activity
      WHERE application_name = 'writer' ORDER BY random() LIMIT 1;
    IF random() < 0.5 THEN
      INSERT INTO kills VALUES ('terminate', pg_terminate_backend(victim));
    ELSE
      INSERT INTO kills VALUES ('cancel', pg_cancel_backend(victim));
    END IF;
    COMMIT;
    PERFORM pg_sleep(random() * 0.1);
  END LOOP;
END $$;

-- Both readers stop when the writers have ended and nothing is left to read.
CREATE PROCEDURE reader() LANGUAGE plpgsql AS $$
DECLARE
  last bigint := 0;
  step bigint;
  ended boolean;
BEGIN
  LOOP
    SELECT written INTO ended FROM control;
    WITH read AS (
      INSERT INTO seen (position)
        SELECT position FROM asynx.read_all(last, 1 + (random() * 50)::int)
        RETURNING position)
    SELECT max(position) INTO step FROM read;
    COMMIT;
    EXIT WHEN step IS NULL AND ended;
    IF step IS NULL THEN
      PERFORM pg_sleep(random() * 0.005);
    END IF;
    last := coalesce(step, last);
  END LOOP;
END $$;

CREATE PROCEDURE bypass() LANGUAGE plpgsql AS $$
DECLARE
  last bigint := 0;
  step bigint;
  ended boolean;
BEGIN
  LOOP
    SELECT written INTO ended FROM control;
    WITH read AS (
      INSERT INTO bypassed (position)
        SELECT position FROM asynx.events WHERE position > last
        ORDER BY position LIMIT 1 + (random() * 50)::int
        RETURNING position)
    SELECT max(position) INTO step FROM read;
    COMMIT;
    EXIT WHEN step IS NULL AND ended;
    IF step IS NULL THEN
      PERFORM pg_sleep(random() * 0.005);
    END IF;
    last := coalesce(step, last);
  END LOOP;
END $$;
SQL

# A writer that was killed begins again, until the time is over.
my $again = <<'SH';
until psql -XAtq -d "$1" -c "CALL writer($2)" 2>/dev/null; do :; done
SH

$node->safe_psql('postgres',
	"UPDATE control SET stops_at = clock_timestamp() + interval '$seconds s'");

my @readers = map { start_session($node, "CALL $_()") } qw(reader bypass);
my $connstr = $node->connstr('postgres') . " application_name=writer";
my $limit = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
my @loops = map { IPC::Run::start([ 'sh', '-c', $again, 'sh', $connstr, $_ ], '<', \undef, $limit) }
  1 .. $writers;
my $killer = start_session($node, 'CALL killer()');

is(finish_sessions($killer), 0, 'the killer worked to the end');
$_->finish foreach @loops;
wait_for_no_sessions($node, 'writer');
$node->safe_psql('postgres', 'UPDATE control SET written = true');
is(finish_sessions(@readers), 0, 'both readers came to the end');

# How rough it was.
my $committed = $node->safe_psql('postgres', 'SELECT count(*) FROM asynx.events');
my $wasted = $node->safe_psql('postgres', 'SELECT last_value FROM asynx.positions') - $committed;
my $kills = $node->safe_psql('postgres', 'SELECT count(*) FROM kills WHERE done');
my $lost = $node->safe_psql('postgres', <<'SQL');
SELECT count(*) FROM (SELECT position FROM asynx.events EXCEPT SELECT position FROM bypassed) AS l
SQL
note("$committed events committed, $wasted positions given back, $kills writers killed, "
	  . "$lost events lost by the reader of the bare table");
cmp_ok($committed, '>', 1000, 'the writers wrote');
cmp_ok($wasted, '>', 100, 'positions were given back');
cmp_ok($kills, '>', 50, 'writers were killed');
cmp_ok($lost, '>', 0, 'a reader that ignores the safe position loses events');

# The verdict.
is( $node->safe_psql('postgres',
		'SELECT position FROM asynx.events EXCEPT ALL SELECT position FROM seen'),
	'', 'read_all missed nothing');
is( $node->safe_psql('postgres',
		'SELECT position FROM seen EXCEPT ALL SELECT position FROM asynx.events'),
	'', 'read_all returned nothing twice and nothing that was rolled back');
is( $node->safe_psql('postgres', <<'SQL'), '', 'read_all returned positions in ascending order');
SELECT n FROM (SELECT n, position, lag(position, 1, 0::bigint) OVER (ORDER BY n) AS before
               FROM seen) AS s
WHERE position <= before
SQL
stream_checks($node, 'afterwards');

$node->stop;
done_testing();
