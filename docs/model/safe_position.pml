/*
 * safe_position.pml
 *		How writers take positions and how far a reader may read, as a model.
 *
 * The numbers (1) .. (5) at the steps are those of README.md.  One transition
 * is one access to shared memory, or one section under a lock.  A set of
 * events is a bit mask, bit p - 1 is position p.  Which transactions a
 * snapshot sees is the set "visible" at the moment it is taken.
 *
 * Variants, chosen with -D (docs/model/check runs them all):
 *	STORE_BUFFER	a store to a slot sits in a store buffer of its writer, others
 *					see it later; nextval is not taken to be a barrier
 *	CRASH			commits reach WAL without being flushed, at most one crash
 *	WAKE			the reader sleeps until a writer wakes it
 *	STAYS_OPEN		a transaction may stay open for ever after its draws
 *	RESTORE			rows with positions of their own and setval, as pg_restore does
 *	WAL_END_BEFORE_SNAPSHOT		the reader takes these two steps the other way round
 *	AT_LAST_EVENT	its checkpoint is the last event it saw, not the safe position;
 *					it need not flush the sequence's WAL then
 * M_... are mutants: each breaks one step, and spin must find out.
 */

#ifndef WRITERS
#define WRITERS		2
#endif
#ifndef READERS
#define READERS		1
#endif
#ifndef TRANSACTIONS		/* of writer 0 */
#define TRANSACTIONS	1
#endif
#ifndef DRAWS				/* in each transaction of writer 0 */
#define DRAWS		2
#endif
#ifndef SUBS				/* subtransactions in each transaction of writer 0 */
#define SUBS		2
#endif
#ifndef OTHERS				/* transactions of each other writer, with one draw */
#define OTHERS		1
#endif
#define LOG_AHEAD	1		/* positions that WAL knows in advance (PostgreSQL: 32) */
#define WAL_SIZE	14
#define NOTHING		255

#define BIT(p)		(1 << ((p) - 1))
#define UPTO(p)		((1 << (p)) - 1)

/* The position sequence.  A fresh one says last_value 1, is_called false: nothing is taken. */
byte	last_value = 1;
bool	is_called = false;
#ifdef M_IGNORES_IS_CALLED
#define HIGHEST		last_value
#else
#define HIGHEST		(is_called -> last_value : last_value - 1)
#endif

byte	slot[WRITERS];				/* lower bound of what a writer may draw, 0: none */
short	visible;					/* events of committed transactions */
#ifdef WAKE
short	pending[WRITERS];			/* events of open transactions, where Rest sees them */
#define rows		pending[w]
#endif

byte	checkpoint[READERS];		/* how far a reader has got */
short	returned[READERS];			/* what it was handed out */

byte	writers_done;
bool	crash_done = true;

/* The properties; hidden variables give them a name in spin's output. */
hidden byte p1_nothing_skipped;
hidden byte p2_exactly_once;
hidden byte p2_all_returned;
hidden byte p4_nothing_lost;
hidden byte p4_no_reuse;
hidden byte p5_no_lost_wakeup;
hidden byte k;

inline check_nothing_skipped()
{
	d_step {
		k = 0;
		do
		:: k < READERS ->
			p1_nothing_skipped = ((visible & UPTO(checkpoint[k]) & ~returned[k]) == 0);
			assert(p1_nothing_skipped);
			k++
		:: else -> break
		od;
		k = 0
	}
}

/* ---- store buffer ---- */

#ifdef STORE_BUFFER
byte	buffer[WRITERS] = NOTHING;

/* The hardware writes a buffered store to memory whenever it likes. */
#define DRAIN(w)	atomic { buffer[w] != NOTHING -> slot[w] = buffer[w]; buffer[w] = NOTHING }

active proctype Hardware()
{
end_drained:
	do
	:: DRAIN(0)
	:: DRAIN(1)
#if WRITERS > 2
	:: DRAIN(2)
#endif
	od
}
#endif

/* ---- WAL ---- */

#ifdef CRASH
short	wal_commit[WAL_SIZE];		/* a commit record: its events */
byte	wal_sequence[WAL_SIZE];		/* or a sequence record: its value */
byte	wal_len;
byte	flushed;
byte	wal_end;					/* end of the newest append's WAL, for readers */
byte	logged;						/* WAL knows the sequence up to here */
byte	sequence_lsn;				/* LSN of the sequence's page */
bool	dead[WRITERS + READERS];	/* tells a session that the server crashed */
#endif

/* ---- waking ---- */

#ifdef WAKE
bool	waiting;					/* the reader is, or is about to be, asleep */
bool	latch;
#endif

/* ---- writer ---- */

/* slot[w] = v; own is what the writer itself reads there. */
inline store(v)
{
#ifdef STORE_BUFFER
	atomic { buffer[w] == NOTHING -> buffer[w] = v; own = v }
#else
	d_step { slot[w] = v; own = v }
#endif
}

/* Everything stored so far is in memory before anything after. */
#ifdef STORE_BUFFER
#define FULL_BARRIER	buffer[w] == NOTHING;
#else
#define FULL_BARRIER
#endif

/* After a slot was cleared or raised: a load that the barrier keeps behind the store. */
#ifdef M_NO_WAKE_BARRIER
#define WAKE_BARRIER
#else
#define WAKE_BARRIER	FULL_BARRIER
#endif
#ifdef WAKE
#define WAKE_READER \
	WAKE_BARRIER \
	d_step { if :: waiting -> waiting = false; latch = true :: else fi };
#else
#define WAKE_READER
#endif
#ifdef M_NO_WAKE_AT_RAISE
#define WAKE_AT_RAISE
#else
#define WAKE_AT_RAISE	WAKE_READER
#endif
#ifdef M_NO_WAKE_AT_ABORT
#define WAKE_AT_ABORT
#else
#define WAKE_AT_ABORT	WAKE_READER
#endif

/* nextval, and the insert of the row: nobody sees it before the commit. */
inline nextval_and_insert()
{
	d_step {
		if
		:: is_called -> last_value++
		:: else -> is_called = true
		fi;
		n = last_value;
		assert(n < 15);
#ifdef CRASH
#ifndef M_SEQUENCE_UNLOGGED
		if
		:: n > logged ->
			logged = n + LOG_AHEAD;
			assert(wal_len < WAL_SIZE);
			wal_sequence[wal_len] = logged;
			wal_len++;
			sequence_lsn = wal_len
		:: else
		fi;
#endif
		k = 0;
		do
		:: k < READERS ->
			p4_no_reuse = (((returned[k] | visible) & BIT(n)) == 0);
			assert(p4_no_reuse);
			k++
		:: else -> break
		od;
		k = 0;
#endif
		rows = rows | BIT(n);
		if
		:: level > 0 -> sub_rows = sub_rows | BIT(n)
		:: else
		fi
	}
}

inline draw()
{
	if
	:: own == 0 ->
#ifdef M_PUBLISH_AFTER_NEXTVAL
		nextval_and_insert();
		owner = level;
		store(n);
#else
		d_step { h = HIGHEST; owner = level };		/* (1) */
		store(h + 1);								/* (2) */
#ifndef M_NO_BARRIER
		FULL_BARRIER
#endif
		nextval_and_insert();						/* (3) (5) */
		if
		:: n > h + 1 ->
			store(n);								/* (4) */
			WAKE_AT_RAISE
			skip
		:: else
		fi;
#endif
		d_step { h = 0; n = 0 }
	:: else ->
		nextval_and_insert();
		n = 0
	fi
}

/* The callback of a subtransaction's abort must know whose bound the slot holds. */
inline sub_abort()
{
	atomic { rows = rows & ~sub_rows; sub_rows = 0; level = 0 };
	if
#ifdef M_SUB_ABORT_ALWAYS_CLEARS
	:: own != 0 ->
#else
	:: own != 0 && owner == 1 ->
#endif
		store(0);
		WAKE_AT_ABORT
		owner = 0
	:: else
	fi
}

inline sub_release()
{
	d_step {
		sub_rows = 0;
#ifndef M_RELEASE_KEEPS_OWNER
		owner = 0;
#endif
		level = 0
	}
}

inline become_visible()
{
	d_step { visible = visible | rows; rows = 0; check_nothing_skipped() }
}

#ifdef M_WAL_END_NOT_MAX
#define NEW_WAL_END		lsn
#else
#define NEW_WAL_END		(lsn > wal_end -> lsn : wal_end)
#endif
#ifdef CRASH
#define STORE_WAL_END	d_step { wal_end = NEW_WAL_END; lsn = 0 };
#else
#define STORE_WAL_END
#endif

inline commit()
{
#ifdef CRASH
	/* the commit record; synchronous_commit is off, nobody flushes it */
	d_step {
		assert(wal_len < WAL_SIZE);
		wal_commit[wal_len] = rows;
		wal_len++;
		lsn = wal_len
	};
#endif
#ifdef M_CLEAR_BEFORE_VISIBLE
	store(0);
	become_visible();
	STORE_WAL_END
#else
	become_visible();
#ifdef M_WAKE_BEFORE_CLEAR
	WAKE_READER
#endif
#ifdef M_WAL_END_AFTER_CLEAR
	store(0);
	STORE_WAL_END
#else
	STORE_WAL_END
	store(0);
#endif
#endif
#ifndef M_WAKE_BEFORE_CLEAR
	WAKE_READER
#endif
	skip
}

inline abort()
{
	atomic { rows = 0; store(0) };
	WAKE_AT_ABORT
	skip
}

inline transaction()
{
	do
	:: draws > 0 -> draws--; draw()
	:: atomic { level == 0 && subs > 0 && draws > 0 -> subs--; level = 1 }
	:: level == 1 -> sub_abort()
	:: level == 1 -> sub_release()
	:: level == 0 && rows != 0 -> commit(); break
	:: level == 0 && own != 0 -> abort(); break
	:: level == 0 && own == 0 -> break
#ifdef STAYS_OPEN
	:: level == 0 && rows != 0 ->
end_open:
		false
#endif
	od
}

proctype Writer(byte w)
{
	byte	todo = (w == 0 -> TRANSACTIONS : OTHERS),
			own,				/* slot[w] as its writer reads it */
			owner,				/* nesting level that published the slot */
			level,				/* 1 in a subtransaction */
			draws,
			subs,
			h,
			n;
	short	sub_rows;
#ifndef WAKE
	short	rows;
#endif
#ifdef CRASH
	byte	lsn;
#endif

	do
	:: todo > 0 ->
		d_step {
			todo--;
			draws = (w == 0 -> DRAWS : 1);
			subs = (w == 0 -> SUBS : 0);
#ifdef CRASH
			dead[w] = false
#endif
		};
#ifdef CRASH
		{ transaction() } unless { dead[w] };
		lsn = 0;
#else
		transaction();
#endif
		atomic {
			own = 0; owner = 0; level = 0; draws = 0; subs = 0;
			h = 0; n = 0; rows = 0; sub_rows = 0
		}
	:: else -> break
	od;
	FULL_BARRIER
	writers_done++
}

/* ---- reader ---- */

/* The sequence's page is read under its lock: value and LSN belong together. */
inline read_highest()
{
	atomic {
		h = HIGHEST;
#if defined(CRASH) && !defined(AT_LAST_EVENT) && !defined(M_SEQUENCE_NOT_FLUSHED)
		flush_to = (sequence_lsn > flush_to -> sequence_lsn : flush_to);
#endif
	}
}

#ifdef CRASH
#define READ_WAL_END	flush_to = (wal_end > flush_to -> wal_end : flush_to);
#define FLUSH			flushed = (flush_to > flushed -> flush_to : flushed); flush_to = 0;
#else
#define READ_WAL_END
#define FLUSH
#endif

inline read_slots()
{
	do
	:: atomic {
			i < WRITERS ->
			if
			:: slot[i] != 0 && slot[i] < low -> low = slot[i]
			:: else
			fi;
			i++
		}
	:: i == WRITERS -> i = 0; break
	od
}

inline hand_out()
{
	d_step {
		got = snapshot & UPTO(safe) & ~UPTO(checkpoint[r]);
		p2_exactly_once = ((returned[r] & got) == 0);
		assert(p2_exactly_once);
		returned[r] = returned[r] | got;
#ifdef AT_LAST_EVENT
		do
		:: safe > 0 && (snapshot & BIT(safe)) == 0 -> safe--
		:: else -> break
		od;
#endif
#ifdef M_CHECKPOINT_STEPS_BACK
		checkpoint[r] = safe;
#else
		checkpoint[r] = (safe > checkpoint[r] -> safe : checkpoint[r]);
#endif
		check_nothing_skipped();
		got = 0
	}
}

inline pass()
{
#ifdef M_WAL_END_BEFORE_SLOTS
	atomic { READ_WAL_END };
#endif
#ifdef M_SNAPSHOT_FIRST
	snapshot = visible;
#endif
#ifdef M_SLOTS_FIRST
	read_slots();
	read_highest();
#else
	read_highest();												/* (1) */
	read_slots();												/* (2) */
#endif
	/*
	 * Steps after one another that touch nothing shared, or of which only one
	 * does, are one transition: a commit just after the last one is as good a
	 * counterexample as one in between, and a crash between flushing and
	 * handing out takes nothing from anybody.
	 */
	atomic {
		safe = (h < low - 1 -> h : low - 1); h = 0; low = NOTHING;	/* (3) */
#if defined(WAL_END_BEFORE_SNAPSHOT)
		READ_WAL_END
	};
	atomic {
		snapshot = visible;										/* (4) */
#else
#ifndef M_SNAPSHOT_FIRST
		snapshot = visible;										/* (4) */
#endif
#ifdef CRASH
	};
	atomic {
#endif
#ifndef M_WAL_END_BEFORE_SLOTS
		READ_WAL_END
#endif
#endif
		FLUSH
		hand_out()												/* (5) */
	}
}

proctype Reader(byte r)
{
	byte	h,
			low = NOTHING,
			safe,
			i;
	short	snapshot,
			got;
	bool	last;				/* everything was quiet before this pass began */
#ifdef CRASH
	byte	flush_to;
#endif

	do
	::
#ifdef WAKE
#ifndef M_LOOK_BEFORE_WAITING
		waiting = true;			/* an atomic exchange: a full barrier */
#endif
		pass();
#ifdef M_LOOK_BEFORE_WAITING
		waiting = true;
#endif
		d_step { safe = 0; snapshot = 0 };
end_asleep:
		latch -> latch = false
#else
		last = (writers_done == WRITERS && crash_done);
#ifdef CRASH
		dead[WRITERS + r] = false;
		{ pass() } unless { dead[WRITERS + r] -> last = false };
		d_step { h = 0; low = NOTHING; i = 0; flush_to = 0 };
#else
		pass();
#endif
		d_step { safe = 0; snapshot = 0 };
		if
		:: last ->
			p2_all_returned = (returned[r] == visible);
			assert(p2_all_returned);
			break
		:: else
		fi
#endif
	od
}

/* ---- crash ---- */

#ifdef CRASH
/*
 * WAL is kept up to some record that is not before what was flushed (its
 * writer flushes when it likes), and replayed.  Sessions die, slots and WAL
 * end start empty.  What clients were handed out stays with them.
 */
proctype Crash()
{
	byte	keep,
			i;

	if
	:: atomic {
			keep = flushed;
			do
			:: keep < wal_len -> keep++
			:: break
			od;
			d_step {
				visible = 0;
				logged = 0;
				do
				:: i < keep ->
					visible = visible | wal_commit[i];
					logged = (wal_sequence[i] > 0 -> wal_sequence[i] : logged);
					i++
				:: i >= keep && i < wal_len -> wal_commit[i] = 0; wal_sequence[i] = 0; i++
				:: else -> break
				od;
				wal_len = keep;
				flushed = keep;
				last_value = (logged > 0 -> logged : 1);
				is_called = (logged > 0);
				wal_end = 0;
				sequence_lsn = 0;
				i = 0;
				do
				:: i < WRITERS -> slot[i] = 0; dead[i] = true; i++
				:: else -> break
				od;
				i = 0;
				do
				:: i < READERS ->
					dead[WRITERS + i] = true;
					p4_nothing_lost = ((returned[i] & ~visible) == 0);
					assert(p4_nothing_lost);
					i++
				:: else -> break
				od;
				i = 0;
				keep = 0;
				check_nothing_skipped()
			}
		}
	:: skip
	fi;
	crash_done = true
}
#endif

/* ---- restore ---- */

#ifdef RESTORE
/* Writer 0 copies positions 1 and 2 and sets the sequence; others append after it. */
proctype Restore(byte w)
{
	byte	own;
	short	rows;

#ifdef RESTORE_PUBLISHES
	store(1);					/* HIGHEST + 1, as a draw would */
	FULL_BARRIER
#endif
	rows = BIT(1) | BIT(2);
#ifdef RESTORE_COMMITS_FIRST
	become_visible();
	d_step { last_value = 2; is_called = true };
#else
	d_step { last_value = 2; is_called = true };
	become_visible();
#endif
	store(0);
	d_step { own = 0; writers_done++ };
	run Writer(1)
}
#endif

/* ---- the whole ---- */

#ifdef WAKE
/* Nothing moves any more: all that no open transaction holds back has been handed out. */
active proctype Rest()
{
	short	held;

end_rest:
	timeout ->
	d_step {
		k = 0;
		do
		:: k < WRITERS -> held = held | pending[k]; k++
		:: else -> break
		od;
		k = 1;
		do
		:: k < 15 && (held & BIT(k)) == 0 -> k++
		:: else -> break
		od;
		p5_no_lost_wakeup = ((visible & UPTO(k - 1) & ~returned[0]) == 0);
		assert(p5_no_lost_wakeup);
		k = 0;
		held = 0
	}
}
#endif

init
{
	byte	i;

	atomic {
		do
		:: i < READERS -> run Reader(i); i++
		:: else -> break
		od;
		i = 0;
#ifdef RESTORE
		run Restore(0);
#else
		do
		:: i < WRITERS -> run Writer(i); i++
		:: else -> break
		od;
#endif
#ifdef CRASH
		crash_done = false;
		run Crash();
#endif
		i = 0
	}
}
