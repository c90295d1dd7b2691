/*
 * cast.h
 *	  Who had to ask the server to read a text?
 */
#ifndef CAST_H
#define CAST_H

/* Calls of the server's cast since the last question. */
extern long cast_calls(void);

#endif							/* CAST_H */
