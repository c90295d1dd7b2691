/*
 * feed.h
 *	  Reading the feed of all events.
 */
#ifndef ASYNX_FEED_H
#define ASYNX_FEED_H

extern void asynx_feed_check_isolation(const char *function);
extern int64 asynx_feed_safe_position(void);

#endif							/* ASYNX_FEED_H */
