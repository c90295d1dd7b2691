/*
 * subscription.h
 *	  Subscriptions and hooks: which of the user's functions wants which events.
 */
#ifndef ASYNX_SUBSCRIPTION_H
#define ASYNX_SUBSCRIPTION_H

#include "executor/tuptable.h"
#include "handler.h"
#include "nodes/pg_list.h"
#include "utils/timestamp.h"

/* How a subscription is run; the hooks are subscriptions to what befalls others. */
typedef enum AsynxMode
{
	ASYNX_ASYNC,				/* by a worker */
	ASYNX_CHANNEL,				/* by NOTIFY */
	ASYNX_PULL,					/* by the application */
	ASYNX_INLINE,				/* in the writer's transaction */
	ASYNX_ON_FORGET,
	ASYNX_ON_PANIC,
	ASYNX_ON_TIMEOUT,
	ASYNX_ON_PUBLISH_ERROR,
	ASYNX_ON_CORRUPTION,
	ASYNX_MODES					/* how many there are */
} AsynxMode;

/* What becomes of an event that cannot be handled. */
typedef enum AsynxPolicy
{
	ASYNX_CONTINUE,				/* it is recorded, others go on */
	ASYNX_PARK,					/* it waits, and later ones of its aggregate too */
	ASYNX_STOP					/* nothing goes on: a write is refused, a subscription stops */
} AsynxPolicy;

/* What a function takes. */
typedef enum AsynxForm
{
	ASYNX_TAKES_EVENT,			/* asynx.event */
	ASYNX_TAKES_EVENTS,			/* asynx.event[] */
	ASYNX_TAKES_STORED,			/* asynx.stored_event */
	ASYNX_TAKES_STOREDS,		/* asynx.stored_event[] */
	ASYNX_TAKES_ERROR,			/* asynx.event, error jsonb */
	ASYNX_TAKES_TIMEOUT,		/* asynx.event, interval */
	ASYNX_TAKES_ID,				/* aggregate_id text, error jsonb */
	ASYNX_FORMS					/* how many there are */
} AsynxForm;

/* A subscription as it is stored; NULL for NULL. */
typedef struct AsynxSubscriptionRow
{
	text	   *name;
	text	   *pattern;
	text	   *mode;
	text	   *handler;
	text	   *fallback;
	Interval   *timeout;
	text	   *channel;
	int64		start_at;
	int32		partitions;
	int32		max_attempts;
	Interval   *retry_delay;
	text	   *on_failure;
	text	   *owner;
} AsynxSubscriptionRow;

#define ASYNX_SUBSCRIPTION_NATTS 13

/* The columns of table alias "s", in the order of the struct. */
#define ASYNX_SUBSCRIPTION_COLUMNS \
	"s.name, s.pattern, s.mode, s.handler, s.fallback, s.timeout, s.channel, s.start_at, " \
	"s.partitions, s.max_attempts, s.retry_delay, s.on_failure, s.owner"

/* One of the user's functions. */
typedef struct AsynxTaker
{
	AsynxFunction function;		/* its name is NULL if there is none */
	AsynxForm	form;
} AsynxTaker;

/* A subscription or hook. */
typedef struct AsynxSubscription
{
	const char *name;
	AsynxMode	mode;
	struct AsynxPattern *pattern;	/* of event names; NULL: a hook */
	AsynxTaker	handler;
	AsynxTaker	fallback;		/* gets what the handler could not handle */
	const Interval *timeout;	/* for each call; NULL for none */
	int64		milliseconds;	/* the same; 0 for none */
	const char *channel;		/* of NOTIFY; NULL for none */
	int			partitions;
	int			max_attempts;
	int64		retry_delay;	/* in milliseconds */
	AsynxPolicy policy;
} AsynxSubscription;

/* These run within a query scope; lists and what is in them last as long as the transaction. */
extern const List *asynx_subscriptions_matching(AsynxMode mode, const text *event_name);
extern const List *asynx_subscriptions_known(AsynxMode mode, const text *event_name);
extern const List *asynx_subscriptions_of(AsynxMode mode);
extern const AsynxSubscription *asynx_subscriptions_find(AsynxMode mode, const char *name);
extern uint64 asynx_subscriptions_generation(void);
extern Oid	asynx_subscriptions_table(void);

/* What a function of that form must look like. */
extern const AsynxSignature *asynx_subscription_signature(AsynxForm form);

extern const char *asynx_subscription_mode_name(AsynxMode mode);
extern void asynx_subscription_from_slot(TupleTableSlot *slot, AsynxSubscriptionRow *row);

/* Checks of what registers and alters them. */
extern Interval *asynx_arg_timeout(FunctionCallInfo fcinfo, int arg, const char *name);
extern void asynx_subscription_check_policy(const text *policy, bool is_inline);
extern void asynx_subscription_check_delay(const Interval *delay);
extern void asynx_subscription_refuse_parameter(const text *mode, const char *name);

/* Small things that this room and those above it need. */
extern bool asynx_text_is(const text *value, const char *string);
extern int64 asynx_milliseconds(const Interval *interval);

#endif							/* ASYNX_SUBSCRIPTION_H */
