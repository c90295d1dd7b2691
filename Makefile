# asynx: see README.md.  "make test" and "make demo" need nothing but make; the rest is PGXS.

EXTENSION = asynx
MODULE_big = asynx
PG_CONFIG ?= pg_config

ASYNX_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" asynx.control)

ROOMS = \
	align \
	asynx \
	diff \
	doc \
	guc \
	jsonbwriter \
	node \
	patch \
	patchbuilder \
	pattern \
	pointer \
	value

OBJS = $(ROOMS:%=src/%.o)

# One piece per room, in the order the server needs them.
PIECES = $(sort $(wildcard sql/install/*.sql))

DATA = $(wildcard sql/asynx--*--*.sql)
DATA_built = asynx--$(ASYNX_VERSION).sql

REGRESS = json_diff json_pointer json_patch json_limits json_random topic
ISOLATION =
TAP_TESTS = 1

# The server's own headers are not ours to mend: -isystem keeps -Wextra quiet about them.
PG_CPPFLAGS = -I$(srcdir)/src -isystem $(shell $(PG_CONFIG) --includedir-server) \
	$(shell pkg-config --cflags json-c) -DASYNX_VERSION='"$(ASYNX_VERSION)"'
SHLIB_LINK = $(shell pkg-config --libs json-c)
PG_CFLAGS = -Wall -Wextra
# The server's flags are those of the compiler that built it.
ifneq ($(findstring clang,$(CC)),)
PG_CFLAGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument
endif

EXTRA_CLEAN = asynx--*.sql

ifneq ($(filter test demo,$(MAKECMDGOALS)),)
# These install what is missing first, so they cannot include PGXS yet.
.PHONY: test demo
test:
	@.ci/test
demo:
	@.ci/demo
else
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

asynx--$(ASYNX_VERSION).sql: $(PIECES) asynx.control
	cat $(PIECES) > $@
endif
