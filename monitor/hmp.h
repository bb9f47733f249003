/* hmp.h: the human monitor: sessions over any byte stream, and single lines.
 *
 * Everything here runs on the control thread. */
#ifndef MONITOR_HMP_H
#define MONITOR_HMP_H

#include "monitor/qmp.h"

typedef struct HmpSession HmpSession;

/* A session, closed at first.  @server runs its commands; @stream is borrowed.  @focus: the stream is a
 * mux's, and the session stays silent until it gets the input. */
CTX_CONTROL HmpSession *hmp_session_new(QmpServer *server, const QmpStream *stream, void *arg, bool focus);
/* May be called by a command of this very session. */
CTX_CONTROL void hmp_session_free(HmpSession *s);
/* Somebody is there: shows banner and prompt. */
CTX_CONTROL void hmp_session_open(HmpSession *s);
/* Nobody is there any more: what was typed, or not yet read, is forgotten. */
CTX_CONTROL void hmp_session_close(HmpSession *s);
/* The mux gives the input to this session, or takes it away. */
CTX_CONTROL void hmp_session_focus(HmpSession *s, bool in);
/* How many bytes the session takes now; 0 while a command runs or output waits for the reader. */
CTX_CONTROL size_t hmp_session_space(const HmpSession *s);
CTX_CONTROL void hmp_session_bytes(HmpSession *s, const char *buf, size_t n);
/* The stream takes bytes again. */
CTX_CONTROL void hmp_session_room(HmpSession *s);
/* True while a command runs, or waits to, or output waits for the reader. */
CTX_CONTROL bool hmp_session_busy(const HmpSession *s);
/* Bytes that wait for the reader. */
CTX_CONTROL size_t hmp_session_waiting(const HmpSession *s);

/* What one session keeps between lines. */
typedef struct HmpState HmpState;
CTX_CONTROL HmpState *hmp_state_new(void);
CTX_CONTROL void hmp_state_free(HmpState *s);
/* Chooses the vCPU commands are about; false: there is no such. */
CTX_CONTROL bool hmp_state_cpu(HmpState *s, int64_t index);

typedef struct HmpRun HmpRun;
/* Runs one line.  done(arg, output) follows exactly once, before the return (then it is NULL) or later. */
CTX_CONTROL HmpRun *hmp_run(QmpServer *server, HmpState *state, const char *line,
                            void (*done)(void *arg, const char *output), void *arg);
/* @r: what hmp_run() returned; done will not be called. */
CTX_CONTROL void hmp_run_forget(HmpRun *r);

/* What human commands ask of the program that no QMP command does.  Each sets an error when it fails. */
typedef struct HmpHost {
    /* Pointer events go to the pointing device of that number first. */
    bool (*mouse_set)(int64_t index, Error **errp);
    /* A debugger may come at @device; "none": none any more. */
    bool (*gdbserver)(const char *device, Error **errp);
    /* Drive letters that the firmware tries from the next reset on. */
    bool (*boot_set)(const char *order, Error **errp);
    /* Makes a drive, as -drive with if=none does. */
    bool (*drive_add)(const char *opts, Error **errp);
    /* Ends one, or a block node; @pending is told when that is done, unless it fails at once. */
    bool (*drive_del)(const char *id, QmpPending *pending, Error **errp);
    /* Puts what a drive, or all, holds into the image behind it; the same. */
    bool (*commit)(const char *id, QmpPending *pending, Error **errp);
    /* What "help" or "TYPE,help" in the place of an object's options tells; owned by the caller; NULL: *errp
     * is set. */
    char *(*object_help)(const char *text, Error **errp);
    /* The same of a character device. */
    char *(*chardev_help)(const char *text);
} HmpHost;
/* @host (borrowed) has all of it. */
CTX_CONTROL void hmp_set_host(const HmpHost *host);

/* The reference page, docs/user/monitor-reference.md. */
CTX_ANY void hmp_reference(GString *out);

#endif
