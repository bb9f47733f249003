/* qmp.h: QMP sessions over any byte stream, and the server they belong to.
 *
 * Everything here runs on the control thread; events come from any thread (qapi/events.h). */
#ifndef MONITOR_QMP_H
#define MONITOR_QMP_H

#include <stdbool.h>
#include <stddef.h>
#include "qapi/command.h"
#include "util/context.h"
#include "util/error.h"

/* The version whose behaviour the QMP server gives. */
#define QMP_VERSION_MAJOR 7
#define QMP_VERSION_MINOR 2
#define QMP_VERSION_MICRO 0

/* What may wait for a client: replies, before reading pauses; events, before they are thinned. */
#define QMP_OUT_PAUSE (64u << 10)
#define QMP_OUT_EVENTS (1u << 20)
#define QMP_LATE_MAX 256
#define QMP_IN_MAX 4096
/* Commands that wait for a pending one, in a session with out-of-band execution, before reading pauses. */
#define QMP_WAITING_MAX 8

typedef struct QmpServer QmpServer;

/* The stream below a session. */
typedef struct QmpStream {
    /* Takes up to @n bytes, returns how many; after a short count qmp_session_room() follows. */
    size_t (*send)(void *arg, const char *buf, size_t n);
    /* A descriptor that came with the bytes sent last, the caller's from now on; -1: none.  May be NULL:
     * none ever. */
    int (*take_fd)(void *arg);
    /* qmp_session_space() has grown.  May be NULL.  Must not call back before it returns, except
     * qmp_session_space(). */
    void (*more)(void *arg);
} QmpStream;

/* @run_state gives the current RunState, for the commands that are bound to some.  One server a
 * process: it is where events go. */
CTX_CONTROL QmpServer *qmp_server_new(unsigned (*run_state)(void *arg), void *arg);
/* The end is near: no session reads a command any more; replies and events still go out. */
CTX_CONTROL void qmp_server_end(QmpServer *server);
/* True when the streams have taken all that sessions had to say. */
CTX_CONTROL bool qmp_server_drained(const QmpServer *server);
/* True after qmp_server_end(). */
CTX_CONTROL bool qmp_server_ending(const QmpServer *server);
/* The current RunState. */
CTX_CONTROL unsigned qmp_server_state(const QmpServer *server);
/* All sessions are gone. */
CTX_CONTROL void qmp_server_free(QmpServer *server);

/* A session, closed at first.  @stream is borrowed; @pretty: replies are indented. */
CTX_CONTROL QmpSession *qmp_session_new(QmpServer *server, const QmpStream *stream, void *arg,
                                        bool pretty);
CTX_CONTROL QmpServer *qmp_session_server(const QmpSession *s);
/* May be called by a command of this very session. */
CTX_CONTROL void qmp_session_free(QmpSession *s);
/* A client is there: sends the greeting and starts in negotiation mode, from nothing. */
CTX_CONTROL void qmp_session_open(QmpSession *s);
/* The client is gone: what was unread, unsent or unanswered is forgotten. */
CTX_CONTROL void qmp_session_close(QmpSession *s);
/* How many bytes the session takes now; 0 while replies wait for the client. */
CTX_CONTROL size_t qmp_session_space(const QmpSession *s);
/* Takes @n bytes, no more than qmp_session_space(). */
CTX_CONTROL void qmp_session_bytes(QmpSession *s, const char *buf, size_t n);
/* The stream takes bytes again. */
CTX_CONTROL void qmp_session_room(QmpSession *s);
/* The descriptor that came with the command just run; -1: none. */
CTX_CONTROL int qmp_session_take_fd(QmpSession *s);
/* True while it has something to do or to say: an answer is due, or waits for the client. */
CTX_CONTROL bool qmp_session_busy(const QmpSession *s);
/* Bytes that wait for the client: for tests. */
CTX_CONTROL size_t qmp_session_waiting(const QmpSession *s);

/* The human-readable line of a QMP error: the text and the advice.  Owned by the caller. */
CTX_ANY char *qmp_error_desc(const Error *e);

#endif
