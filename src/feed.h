/*
 * feed.h
 *	  Reading the feed of all events.
 */
#ifndef ASYNX_FEED_H
#define ASYNX_FEED_H

#include "event.h"
#include "query.h"

extern void asynx_feed_check_isolation(const char *function);
extern int64 asynx_feed_safe_position(void);
extern void asynx_feed_scan(int64 after, int64 upto, AsynxRowFunction row, void *arg);
extern bool asynx_feed_find(const text *aggregate_id, int64 version, int64 position,
							AsynxStoredEvent *event);

#endif							/* ASYNX_FEED_H */
