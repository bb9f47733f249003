/* char-int.h: what the files of chardev/ share.
 *
 * 1. @lock (rank NODE) guards what several threads touch: the output ring, @open, @loop,
 *    @peer_text.
 * 2. Everything about descriptors and watches happens on @loop, or on the control thread before the
 *    first claim and after the last loop has ended. */
#ifndef CHARDEV_CHAR_INT_H
#define CHARDEV_CHAR_INT_H

#include <sys/types.h>
#include "chardev/char.h"
#include "util/epoch.h"
#include "util/lock.h"

#define OUT_RING 4096
#define CHAR_FDS 8             /* descriptors kept of one read */

typedef struct BackendOps {
    const char *name;
    /* Control: opens; may set in_fd, out_fd, open, priv. */
    bool (*open)(Chardev *c, const ChardevConfig *cfg, Error **errp);
    /* Loop: watch what is not the stream itself (a listener, a timer); and stop it. */
    void (*start)(Chardev *c);
    void (*stop)(Chardev *c);
    /* Loop: the stream has ended; @open is false already. NULL: an end of input leaves the
     * output. */
    void (*hangup)(Chardev *c);
    /* Loop: writes some; a count, or -1 and errno.  NULL: to out_fd. */
    ssize_t (*write)(Chardev *c, const uint8_t *buf, size_t n);
    /* Loop: turns what was read into what the guest gets, in place; returns how much is left. */
    size_t (*decode)(Chardev *c, uint8_t *buf, size_t n);
    /* Any thread: takes bytes at once, without the ring; may be NULL. */
    size_t (*take_now)(Chardev *c, const uint8_t *buf, size_t n);
    /* The front end sent a break; any thread. */
    void (*send_break)(Chardev *c);
    /* Control: closes what open() made beyond in_fd and out_fd. */
    void (*close)(Chardev *c);
    /* Reclaim thread: frees what take_now() uses, when no late sender is left. */
    void (*free)(Chardev *c);
    /* Control: the text query-chardev shows; owned by the caller. NULL: the name. */
    char *(*filename)(Chardev *c);
    /* Mux only: claims and releases by itself. */
    bool (*claim)(Chardev *c, CharPort *guest, Loop *loop, Error **errp);
} BackendOps;

struct Chardev {
    CharPort host;                 /* peer: the front end */
    EpochItem item;
    char *id;
    const BackendOps *ops;
    void *priv;
    int log_fd;                    /* -1: none */
    bool frontend_open;            /* atomic */
    bool claimed;                  /* control */
    Loop *claimed_on;              /* control; valid if claimed */
    bool replaces;                 /* chardev_change(): the front end must hear that it is not open */

    Lock lock;
    Loop *loop GUARDED_BY(lock);   /* where the descriptors are watched now; NULL: nowhere */
    bool open GUARDED_BY(lock);    /* somebody is at the host's end; else output is dropped */
    bool want_room GUARDED_BY(lock);
    uint8_t *ring GUARDED_BY(lock);            /* OUT_RING bytes, made when first needed */
    unsigned ring_at, ring_len GUARDED_BY(lock);
    bool kicked GUARDED_BY(lock);              /* @kick is queued */
    Post kick;
    GQueue moves GUARDED_BY(lock);             /* of Move: claims and releases to come, in order */
    bool moving GUARDED_BY(lock);
    Loop *mover_on GUARDED_BY(lock);           /* where the mover was posted last */
    bool exiting GUARDED_BY(lock);             /* chardev_exit(): nothing moves any more */
    char *peer_text GUARDED_BY(lock);

    int in_fd, out_fd;             /* -1: none; may be the same */
    bool fds_shared;               /* descriptors the process was given (0, 1): never closed */
    bool out_blocks;               /* out_fd may block: ask poll() first, write little */
    bool in_ended, out_dead;
    unsigned in_events, out_events;            /* what is watched */
    bool out_full;                 /* the last write said EAGAIN */
    bool paused;                   /* atomic; the front end had no space */
    bool want_fds;                 /* descriptors that come with the bytes are kept */
    int got_fds[CHAR_FDS];         /* those of the last read, by number first; on the loop */
    unsigned got_count;
};

/* --- char.c, for back ends; on the chardev's loop --- */
void chardev_stream_opened(Chardev *c, int fd);        /* a client: in_fd = out_fd = fd */
void chardev_set_open(Chardev *c, bool open);
void chardev_hangup(Chardev *c);
void chardev_service(Chardev *c);
ssize_t chardev_write_fd(Chardev *c, int fd, const uint8_t *buf, size_t n);
/* Any thread: CHAR_ROOM will follow once there is room, even though no send was short. */
void chardev_want_room(Chardev *c);
Chardev *chardev_of_host(CharPort *host);
/* The loop the chardev is on, on that loop. */
Loop *chardev_loop(Chardev *c);
bool chardev_release_front(CharPort *guest);           /* mux.c: true if it was a mux's */
Chardev *chardev_make_mux(const char *id, Chardev *base);
Chardev *chardev_mux_removed(Chardev *c);              /* lets go of its base and returns it */
void chardev_register(Chardev *c);
Chardev *chardev_alloc(const char *id, const BackendOps *ops);
void tty_restore(void);
bool set_nonblocking(int fd);
bool write_all(int fd, const uint8_t *buf, size_t n);

extern const BackendOps backend_null, backend_stdio, backend_file, backend_pipe, backend_serial,
                        backend_pty, backend_socket, backend_ringbuf, backend_mux;

#endif
