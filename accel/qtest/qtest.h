/* qtest.h: the accelerator without vCPUs, and the sessions by which its machine is driven from
 * outside.
 *
 * The session knows no socket: who owns the byte stream (system/) hands over what arrives and gives
 * a function that sends. */
#ifndef ACCEL_QTEST_QTEST_H
#define ACCEL_QTEST_QTEST_H

#include "core/accel.h"

extern const AccelOps qtest_accel;

typedef struct QtestSession QtestSession;

/* The session of the process (there is one at a time) on @m.  send(arg, text, n) gets whole lines,
 * on control; it must not free the session. */
CTX_CONTROL QtestSession *qtest_session_new(Machine *m,
                                            void (*send)(void *arg, const char *text, size_t n),
                                            void *arg);
CTX_CONTROL void qtest_session_free(QtestSession *s);
/* Logs every line to @path from now on ("none": no log). */
CTX_CONTROL bool qtest_log(QtestSession *s, const char *path, Error **errp);
/* A client came or went: a half line is forgotten, intercepted interrupts stay so. */
CTX_CONTROL void qtest_opened(QtestSession *s);
CTX_CONTROL void qtest_closed(QtestSession *s);
/* @n bytes arrived; answers have been sent when this returns. */
CTX_CONTROL void qtest_bytes(QtestSession *s, const void *buf, size_t n);

#endif
