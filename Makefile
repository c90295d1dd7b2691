# asynx: see README.md.  "make test", "make demo" and "make bench" need nothing but make and bash;
# the rest is PGXS.

EXTENSION = asynx
MODULE_big = asynx
PG_CONFIG ?= pg_config

ASYNX_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" asynx.control)

ROOMS = \
	aggtype \
	align \
	append \
	args \
	asynx \
	batch \
	bus \
	checkpoint \
	changes \
	command \
	deadline \
	definition \
	deliver \
	diff \
	doc \
	ear \
	element \
	erase \
	erasures \
	event \
	feed \
	fence \
	forget \
	guard \
	guc \
	handler \
	hook \
	identity \
	inflight \
	inline \
	jsonbwriter \
	jsonc \
	jsonprinter \
	jsonreader \
	jsontext \
	launcher \
	lifecycle \
	lock \
	node \
	nodewriter \
	operate \
	overlay \
	patch \
	patchbuilder \
	pattern \
	payload \
	pointer \
	projection \
	publish \
	pull \
	query \
	queue \
	relay \
	replay \
	send \
	shmem \
	slots \
	snapshot \
	states \
	status \
	store \
	subscribe \
	subscription \
	tips \
	upcast \
	uuid \
	value \
	wait \
	worker

OBJS = $(ROOMS:%=src/%.o)

# One piece per room, in the order the server needs them.
PIECES = $(sort $(wildcard sql/install/*.sql))

DATA = $(wildcard sql/asynx--*--*.sql)
DATA_built = asynx--$(ASYNX_VERSION).sql

REGRESS = \
	append \
	append_many \
	bus \
	command_rights \
	commands \
	comments \
	corruption \
	delete \
	errors \
	failures \
	fence \
	forget \
	guard \
	hijack \
	hostile_handlers \
	inline \
	inline_rights \
	json_diff \
	json_limits \
	json_patch \
	json_pointer \
	json_random \
	json_text \
	lifecycle \
	limits \
	numbers \
	orders \
	patterns \
	pull \
	read \
	rebuild \
	roles \
	send \
	send_many \
	send_memory \
	send_states \
	snapshots \
	state \
	topic \
	transactions \
	types \
	upcasters \
	write
ISOLATION = \
	alter_type_send \
	append_append \
	append_delete \
	append_forget \
	append_known \
	append_recreate \
	append_repeatable_read \
	append_write \
	batch_batch \
	delete_delete \
	drop_type_append \
	forget_forget \
	get_upcaster \
	queue_full \
	read_all_late_commit \
	repeat_in_flight \
	send_append \
	send_delete \
	send_forget \
	send_known \
	send_many_opposite \
	send_send \
	snapshot_delete \
	subscribe_append \
	subscription_list_lost \
	unrelated_transaction \
	upcaster_send \
	waiter_cancelled \
	write_delete \
	write_recreate_type \
	write_send \
	write_write
ISOLATION_OPTS = --load-extension=asynx

# The TAP programs make clusters of their own, and initdb refuses to run as root.
ifeq ($(shell id -u),0)
PROVE_REFUSES = initdb does not run as root; make test runs them as another user
else
TAP_TESTS = 1
endif

# The server's own headers are not ours to mend: -isystem keeps -Wextra quiet about them.
PG_CPPFLAGS = -I$(srcdir)/src -isystem $(shell $(PG_CONFIG) --includedir-server) \
	$(shell pkg-config --cflags json-c) -DASYNX_VERSION='"$(ASYNX_VERSION)"'
SHLIB_LINK = $(shell pkg-config --libs json-c)
PG_CFLAGS = -Wall -Wextra
# The server's flags are those of the compiler that built it.
ifneq ($(findstring clang,$(CC)),)
PG_CFLAGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument
endif

EXTRA_CLEAN = asynx--*.sql results output_iso tmp_check tmp_check_iso regression.diffs regression.out

# These install what is missing first, so PGXS cannot be included for their sake.
.PHONY: test demo bench

ifneq ($(or $(filter-out test demo bench,$(MAKECMDGOALS)),$(if $(MAKECMDGOALS),,all)),)

PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(wildcard $(PGXS)),)
$(error PG_CONFIG=$(PG_CONFIG) knows no server to build for; .ci/setup installs one)
endif
include $(PGXS)

asynx--$(ASYNX_VERSION).sql: $(PIECES) asynx.control
	cat $(PIECES) > $@

# PGXS tracks headers only where the server was configured to.
$(OBJS): $(wildcard src/*.h) asynx.control

ifdef PROVE_REFUSES
installcheck: skip-tap
.PHONY: skip-tap
skip-tap:
	@echo "TAP tests skipped: $(PROVE_REFUSES)"
endif

endif

test:
	@.ci/test
demo:
	@.ci/demo
bench:
	@bench/run
