/*
 * operate.h
 *	  Operating subscriptions.
 */
#ifndef ASYNX_OPERATE_H
#define ASYNX_OPERATE_H

pg_noreturn extern void asynx_refuse_unknown_subscription(const text *name);
extern void asynx_announce_subscriptions(void);

#endif							/* ASYNX_OPERATE_H */
