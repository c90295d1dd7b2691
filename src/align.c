/*
 * align.c
 *	  Decides which element of one array becomes which element of another.
 *
 * Elements are compared as wholes, byte for byte, in five steps:
 *
 * 1. Equal elements get the same class, a small number, by way of a hash table;
 *	  from here on nobody looks at their bytes again.  The hash is seeded in each
 *	  backend, so that nobody can prepare elements that collide.  Classes are named
 *	  after the first element that has them: no plan depends on the seed.
 * 2. An element whose class does not occur on the other side cannot stay as it
 *	  is, so it is left out of the search.  Mostly this leaves two equal lists.
 * 3. What remains is aligned by Myers' greedy algorithm ("An O(ND) Difference
 *	  Algorithm and Its Variations", 1986): a longest common subsequence in time
 *	  proportional to its differences.  Beyond MAX_EDITS differences it commits
 *	  to the path that got furthest and starts anew from there, so that the time
 *	  stays linear in the size for arrays that have nothing to do with each other.
 * 4. Elements of one class that are left on both sides have been moved.
 * 5. What is still left between two elements that stay is paired in order: the
 *	  caller will look for the differences inside each pair.
 *
 * The plan is allocated in the current memory context; what is needed to find it
 * lives in a context of its own, and goes when the plan is found.
 */
#include "asynx.h"

#include "align.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* Differences after which the search commits to the best path so far. */
#define MAX_EDITS 256

/* Rows of the search that are allocated at first. */
#define INITIAL_ROWS 16

/* The most moves in one array: each operation costs time for all of them. */
#define MAX_MOVES 256

/* An element of fewer bytes is not worth a move, unless that is all that happened. */
#define MIN_MOVED_BYTES 24

/* Fewer elements than that, both sides taken together, are compared one by one. */
#define MIN_HASHED_ELEMENTS 9

/* The seed of the hash where the operating system has no random numbers to give. */
#define FALLBACK_SEED UINT64CONST(0x9E3779B97F4A7C15)

/* Equal elements by class: the first element of the source that has these bytes. */
typedef struct Classes
{
	const AsynxValue *source;	/* the elements of the source */
	uint64	   *hashes;			/* of the elements of the source */
	bool		hashed;			/* false: all hashes are 0, the elements are few */
	int		   *slots;			/* open addressing: a class, or ASYNX_NOWHERE */
	uint32		mask;			/* number of slots - 1 */
	int		   *of_source;		/* class of each element of the source */
	int		   *of_target;		/* class of each element of the target, or ASYNX_NOWHERE */
	bool	   *shared;			/* by class: does the target have it too? */
} Classes;

/* The elements of one side that have a counterpart on the other. */
typedef struct Candidates
{
	int		   *classes;
	int		   *places;			/* where they stand in their array */
	int			count;
} Candidates;

/* The search for a common subsequence of two lists of classes. */
typedef struct Search
{
	const int  *a;
	const int  *b;
	int			na;
	int			nb;
	int		   *match;			/* for each of a: its partner in b, or ASYNX_NOWHERE */
	int		   *reach;			/* rows 0 .. rows - 1 of how far one gets, see row_of() */
	int			rows;			/* rows allocated */
} Search;

/* The seed of this backend. */
static uint64
hash_seed(void)
{
	static uint64 seed = 0;

	while (seed == 0)
	{
		if (!pg_strong_random(&seed, sizeof(seed)))
			seed = FALLBACK_SEED;
	}
	return seed;
}

/* Hashes a value's type and bytes. */
static uint64
hash_value(const Classes *classes, const AsynxValue *value)
{
	if (!classes->hashed)
		return 0;
	return hash_bytes_extended((const unsigned char *) value->data, value->len,
							   hash_seed() + value->tag);
}

/* An array of n numbers, all of them ASYNX_NOWHERE. */
static int *
palloc_nowhere(int n)
{
	int		   *array = palloc(sizeof(int) * Max(n, 1));

	memset(array, 0xFF, sizeof(int) * n);
	return array;
}

/* The slot that holds the class of a value, or the free one where it belongs. */
static int *
find_slot(Classes *classes, const AsynxValue *value, uint64 hash)
{
	for (uint32 i = (uint32) hash & classes->mask;; i = (i + 1) & classes->mask)
	{
		int			class = classes->slots[i];

		if (class == ASYNX_NOWHERE ||
			(classes->hashes[class] == hash &&
			 asynx_value_identical(&classes->source[class], value)))
			return &classes->slots[i];
	}
}

/* Step 1: gives every element its class. */
static void
classify(Classes *classes, const AsynxValue *source, int nsource,
		 const AsynxValue *target, int ntarget)
{
	uint32		nslots = 4;

	while (nslots < (uint32) nsource * 2)
		nslots *= 2;
	classes->source = source;
	classes->hashed = nsource + ntarget >= MIN_HASHED_ELEMENTS;
	classes->hashes = palloc(sizeof(uint64) * nsource);
	classes->slots = palloc_nowhere(nslots);
	classes->mask = nslots - 1;
	classes->of_source = palloc(sizeof(int) * nsource);
	classes->of_target = palloc(sizeof(int) * ntarget);
	classes->shared = palloc0(sizeof(bool) * nsource);

	for (int i = 0; i < nsource; i++)
	{
		int		   *slot;

		CHECK_FOR_INTERRUPTS();
		classes->hashes[i] = hash_value(classes, &source[i]);
		slot = find_slot(classes, &source[i], classes->hashes[i]);
		if (*slot == ASYNX_NOWHERE)
			*slot = i;
		classes->of_source[i] = *slot;
	}
	for (int j = 0; j < ntarget; j++)
	{
		int			class;

		CHECK_FOR_INTERRUPTS();
		class = *find_slot(classes, &target[j], hash_value(classes, &target[j]));
		classes->of_target[j] = class;
		if (class != ASYNX_NOWHERE)
			classes->shared[class] = true;
	}
}

/* Step 2: keeps the elements whose class the other side has too. */
static void
select_candidates(Candidates *candidates, const int *classes, int count, const bool *shared)
{
	candidates->classes = palloc(sizeof(int) * count);
	candidates->places = palloc(sizeof(int) * count);
	candidates->count = 0;
	for (int i = 0; i < count; i++)
	{
		if (classes[i] == ASYNX_NOWHERE || !shared[classes[i]])
			continue;
		candidates->classes[candidates->count] = classes[i];
		candidates->places[candidates->count++] = i;
	}
}

/* Frees candidates: they take more than all that is needed after them. */
static void
free_candidates(Candidates *candidates)
{
	pfree(candidates->classes);
	pfree(candidates->places);
}

/*
 * The row for d differences: for each diagonal a - b = -d, -d + 2, ..., d how
 * far into a one can get.  Row d has d + 1 entries, so it starts after 1 + ... + d.
 */
static inline int *
row_of(Search *search, int d)
{
	return search->reach + d * (d + 1) / 2;
}

/* Was entry i of row d reached by taking one more of b (and not one of a)? */
static inline bool
took_b(const int *before, int d, int i)
{
	return i == 0 || (i < d && before[i - 1] < before[i]);
}

/* How far one gets on diagonal i with d differences, before any equal elements. */
static inline int
step(const int *before, int d, int i)
{
	if (d == 0)
		return 0;
	return took_b(before, d, i) ? before[i] : before[i - 1] + 1;
}

/* Allocates rows up to d at least. */
static void
reserve_row(Search *search, int d)
{
	if (d < search->rows)
		return;
	search->rows = d * 2;
	search->reach = repalloc(search->reach,
							 sizeof(int) * search->rows * (search->rows + 1) / 2);
}

/* Computes row d; returns the entry that has reached the end, or ASYNX_NOWHERE. */
static int
extend_row(Search *search, int d, int a0, int b0)
{
	const int  *before = d == 0 ? NULL : row_of(search, d - 1);
	int		   *row = row_of(search, d);
	int			na = search->na - a0;
	int			nb = search->nb - b0;

	for (int i = 0; i <= d; i++)
	{
		int			x = step(before, d, i);
		int			y = x - (2 * i - d);

		while (x < na && y < nb && search->a[a0 + x] == search->b[b0 + y])
			x++, y++;
		row[i] = x;
		if (x >= na && y >= nb)
			return i;
	}
	return ASYNX_NOWHERE;
}

/* The entry of row d that is furthest, among those inside both lists. */
static int
furthest_entry(Search *search, int d, int a0, int b0)
{
	const int  *row = row_of(search, d);
	int			best = ASYNX_NOWHERE;
	int			best_sum = -1;

	for (int i = 0; i <= d; i++)
	{
		int			y = row[i] - (2 * i - d);

		if (row[i] <= search->na - a0 && y <= search->nb - b0 && row[i] + y > best_sum)
		{
			best = i;
			best_sum = row[i] + y;
		}
	}
	return best;
}

/* Walks back from entry i of row d and notes the equal elements on the way. */
static void
trace_back(Search *search, int d, int i, int a0, int b0)
{
	int			x = row_of(search, d)[i];

	for (;; d--)
	{
		const int  *before = d == 0 ? NULL : row_of(search, d - 1);
		int			start = step(before, d, i);
		int			diagonal = 2 * i - d;

		while (x > start)
		{
			x--;
			search->match[a0 + x] = b0 + x - diagonal;
		}
		if (d == 0)
			break;
		if (!took_b(before, d, i))
			i--;
		x = before[i];
	}
}

/*
 * Goes on from (a0, b0) until the end, or until MAX_EDITS differences.  Notes the
 * equal elements on the way, and returns by how many steps in a and b it got on.
 */
static void
search_piece(Search *search, int a0, int b0, int *a_steps, int *b_steps)
{
	int			d = 0;
	int			entry;

	for (;; d++)
	{
		CHECK_FOR_INTERRUPTS();
		reserve_row(search, d);
		entry = extend_row(search, d, a0, b0);
		if (entry != ASYNX_NOWHERE)
			break;
		if (d == MAX_EDITS)
		{
			entry = furthest_entry(search, d, a0, b0);
			break;
		}
	}

	trace_back(search, d, entry, a0, b0);
	*a_steps = row_of(search, d)[entry];
	*b_steps = *a_steps - (2 * entry - d);
}

/* Step 3: finds a long common subsequence, piece by piece if there are many differences. */
static void
find_common(Search *search)
{
	int			a0 = 0;
	int			b0 = 0;
	int			a_steps;
	int			b_steps;

	search->rows = INITIAL_ROWS;
	search->reach = palloc(sizeof(int) * search->rows * (search->rows + 1) / 2);
	while (a0 < search->na || b0 < search->nb)
	{
		search_piece(search, a0, b0, &a_steps, &b_steps);
		a0 += a_steps;
		b0 += b_steps;
	}
	pfree(search->reach);
}

/* Records that an element of the source becomes an element of the target. */
static void
join(AsynxAlignment *alignment, int source, int target, AsynxFate fate)
{
	alignment->fate[source] = fate;
	alignment->target_of[source] = target;
	alignment->source_of[target] = source;
}

/* Steps 2 and 3: finds the elements that stay as they are, in order. */
static void
align_same(AsynxAlignment *alignment, const Classes *classes)
{
	Candidates	a;
	Candidates	b;
	Search		search;

	select_candidates(&a, classes->of_source, alignment->nsource, classes->shared);
	select_candidates(&b, classes->of_target, alignment->ntarget, classes->shared);

	search.a = a.classes;
	search.b = b.classes;
	search.na = a.count;
	search.nb = b.count;
	search.match = palloc_nowhere(a.count);
	find_common(&search);

	for (int i = 0; i < a.count; i++)
	{
		if (search.match[i] != ASYNX_NOWHERE)
			join(alignment, a.places[i], b.places[search.match[i]], ASYNX_SAME);
	}

	pfree(search.match);
	free_candidates(&a);
	free_candidates(&b);
}

/* The number of elements on one side that have no partner yet. */
static int
count_single(const int *partner_of, int count)
{
	int			single = 0;

	for (int i = 0; i < count; i++)
	{
		if (partner_of[i] == ASYNX_NOWHERE)
			single++;
	}
	return single;
}

/* Step 4: joins equal elements that are left on both sides. */
static void
align_moved(AsynxAlignment *alignment, const Classes *classes, const AsynxValue *target)
{
	int		   *first = palloc_nowhere(alignment->nsource);
	int		   *next = palloc(sizeof(int) * alignment->nsource);
	uint32		min_bytes = MIN_MOVED_BYTES;

	/* Lists, by class, of the elements that nothing has become of. */
	for (int i = alignment->nsource - 1; i >= 0; i--)
	{
		if (alignment->fate[i] != ASYNX_REMOVED)
			continue;
		next[i] = first[classes->of_source[i]];
		first[classes->of_source[i]] = i;
	}

	if (count_single(alignment->target_of, alignment->nsource) == 1 &&
		count_single(alignment->source_of, alignment->ntarget) == 1)
		min_bytes = 0;

	for (int j = 0; j < alignment->ntarget && alignment->nmoves < MAX_MOVES; j++)
	{
		int			class = classes->of_target[j];
		int			i;

		if (alignment->source_of[j] != ASYNX_NOWHERE || class == ASYNX_NOWHERE ||
			first[class] == ASYNX_NOWHERE || target[j].len < min_bytes)
			continue;
		i = first[class];
		first[class] = next[i];
		join(alignment, i, j, ASYNX_MOVED);
		alignment->moves[alignment->nmoves++] = (AsynxMove) {.source = i, .target = j};
	}
}

/* Step 5: pairs what is left between two neighbours that stay, in order. */
static void
align_changed(AsynxAlignment *alignment)
{
	int			i = 0;

	for (int j = 0; j < alignment->ntarget; j++)
	{
		int			source = alignment->source_of[j];

		/* Stay behind an element that stays, and do not look beyond the next one. */
		if (source != ASYNX_NOWHERE && alignment->fate[source] == ASYNX_SAME)
			i = source + 1;
		if (source != ASYNX_NOWHERE)
			continue;
		while (i < alignment->nsource && alignment->fate[i] == ASYNX_MOVED)
			i++;
		if (i < alignment->nsource && alignment->fate[i] == ASYNX_REMOVED)
			join(alignment, i++, j, ASYNX_CHANGED);
	}
}

/* Finds for each move the element that will follow it. */
static void
anchor_moves(AsynxAlignment *alignment)
{
	int			anchor = alignment->nsource;
	int			move = alignment->nmoves - 1;

	for (int j = alignment->ntarget - 1; j >= 0 && move >= 0; j--)
	{
		int			source = alignment->source_of[j];

		if (alignment->moves[move].target == j)
			alignment->moves[move--].anchor = anchor;
		else if (source != ASYNX_NOWHERE)
			anchor = source;
	}
}

/* Plans how the source's elements become the target's. */
void
asynx_align(AsynxAlignment *alignment, const AsynxValue *source, int nsource,
			const AsynxValue *target, int ntarget)
{
	alignment->nsource = nsource;
	alignment->ntarget = ntarget;
	alignment->fate = palloc0(sizeof(AsynxFate) * Max(nsource, 1));
	alignment->target_of = palloc_nowhere(nsource);
	alignment->source_of = palloc_nowhere(ntarget);
	alignment->moves = palloc(sizeof(AsynxMove) * Min(Max(ntarget, 1), MAX_MOVES));
	alignment->nmoves = 0;

	/* With one element on one side and none or one on the other there is no choice. */
	if (nsource > 0 && ntarget > 0 && nsource + ntarget > 2)
	{
		MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "asynx alignment",
												   ALLOCSET_DEFAULT_SIZES);
		MemoryContext plan = MemoryContextSwitchTo(work);
		Classes		classes;

		classify(&classes, source, nsource, target, ntarget);
		align_same(alignment, &classes);
		align_moved(alignment, &classes, target);

		MemoryContextSwitchTo(plan);
		MemoryContextDelete(work);
	}
	align_changed(alignment);
	anchor_moves(alignment);
}

/* Frees a plan. */
void
asynx_alignment_free(AsynxAlignment *alignment)
{
	pfree(alignment->fate);
	pfree(alignment->target_of);
	pfree(alignment->source_of);
	pfree(alignment->moves);
}
