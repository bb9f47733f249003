/* char.h: byte streams between a guest device (or the monitor) and the host.
 *
 * A CharPort is one end of a pair.  The guest side (a UART, a virtio console, a monitor) and the
 * host side (a Chardev: stdio, file, pty, socket, ...) implement the same small table, so in a test
 * the other end is simply the test.
 *
 * What runs where:
 * 1. The front end (guest side) names a Loop when it claims a Chardev.  Its callbacks (space,
 *    bytes, event) run on that loop, with no lock held and inside an epoch section; a device takes
 *    its own domain in each of them.
 * 2. The front end may call char_send(), char_event() and char_room() from any thread, holding its
 *    domain or not, but not from two threads at once for one port: the domain sees to that.  They
 *    never block and never call back into the caller.
 * 3. Nothing is lost and nothing grows.  Host to guest: the host side reads no more than space()
 *    says.  When space() was too small, it stops reading until the front end calls char_room();
 *    a device calls that after it made room, with its domain held or after; it is cheap (one load)
 *    when nobody waits.  Guest to host: char_send() takes what fits (a few KiB are buffered) and
 *    returns how much; after a short count the front end keeps the rest and gets CHAR_ROOM later.
 *    The exception is a host side that nobody listens to (no client connected, no reader of the
 *    pty): it takes and drops everything, as an unplugged cable does.
 * 4. After chardev_release() no new callback begins; one may be just running on the loop.  It is
 *    inside an epoch section, so a port that is freed after a grace period (all devices are) is
 *    safe; it finds the device's state as unrealize left it. */
#ifndef CHARDEV_CHAR_H
#define CHARDEV_CHAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "qapi/types.h"
#include "util/context.h"
#include "util/error.h"
#include "util/loop.h"

typedef struct CharPort CharPort;
typedef struct Chardev Chardev;

typedef enum CharEvent {
    CHAR_OPEN,           /* the other side is there (a client connected; a guest opened its port) */
    CHAR_HANGUP,         /* the other side is gone */
    CHAR_END,            /* it says no more, but still hears (the end of a file or pipe on standard input) */
    CHAR_BREAK,          /* a break condition on the line */
    CHAR_ROOM,           /* after a short char_send(): the other side takes bytes again */
    CHAR_FOCUS_IN,       /* mux: this front end now gets the input */
    CHAR_FOCUS_OUT,      /* mux: and now it does not any more */
} CharEvent;

typedef struct CharPortOps {
    /* How many bytes @to would take now; 0: none.  NULL: takes none, ever. */
    size_t (*space)(CharPort *to);
    /* Takes @n bytes, never more than space() said just before on the same thread.  Should the room
     * have shrunk in between (the guest reset a FIFO), what does not fit is the port's to drop. */
    void (*bytes)(CharPort *to, const uint8_t *buf, size_t n);
    /* May be NULL.  Unknown events are ignored. */
    void (*event)(CharPort *p, CharEvent what);
    /* Host sides only: space() and bytes() in one, for ports that several threads send to; returns
     * what it took.  Devices leave it NULL. */
    size_t (*take)(CharPort *to, const uint8_t *buf, size_t n);
    /* Front ends only, on the loop of the claim; NULL: it never is.  True while the answer to what @p got is
     * still to come: a client that has ended its own side (shutdown(2), as socat does) is kept until then. */
    bool (*busy)(CharPort *p);
    /* Front ends only: another back end may take the place of the one it claimed, which it sees as CHAR_OPEN
     * or CHAR_HANGUP, and CHAR_ROOM (chardev_change()). */
    bool may_change;
} CharPortOps;

/* Embedded in the device; all fields belong to chardev. */
struct CharPort {
    const CharPortOps *ops;
    CharPort *peer;      /* atomic; NULL: not connected, bytes sent are dropped */
};

/* --- ports --- */

/* Prepares @p, not connected.  A device calls it before chardev_claim(). */
CTX_ANY void char_port_init(CharPort *p, const CharPortOps *ops);
/* Makes @a and @b a pair without any Chardev: for tests and for devices joined back to back. */
CTX_ANY void char_join(CharPort *a, CharPort *b);
/* Takes the pair of @p apart. */
CTX_ANY void char_part(CharPort *p);

/* Sends @n bytes from @from to its peer.  Returns how many were taken, 0 to @n; not connected: @n.
 * Never blocks.  Called inside an epoch section (any device or loop callback is). */
CTX_ANY size_t char_send(CharPort *from, const uint8_t *buf, size_t n);
/* How many bytes the peer of @from would take now; SIZE_MAX when not connected. */
CTX_ANY size_t char_space(CharPort *from);
/* Tells the peer of @from what happened. CHAR_OPEN and CHAR_HANGUP from a front end say whether the
 * guest has its port open (query-chardev's frontend-open; open at first). */
CTX_ANY void char_event(CharPort *from, CharEvent what);
/* "My space() has grown." */
CTX_ANY void char_room(CharPort *from);

/* --- short forms --- */

/* What a short form (-serial, -parallel, -monitor, -debugcon, -qmp) asks for. */
typedef enum ChardevShort {
    CHARDEV_SHORT_ERROR,       /* @errp is set */
    CHARDEV_SHORT_NONE,        /* "none" */
    CHARDEV_SHORT_NEW,         /* *config is set, with the id given; owned by the caller */
    CHARDEV_SHORT_EXISTING,    /* "chardev:ID": *existing is set to ID, owned by the caller */
} ChardevShort;

/* Reads stdio, null, none, pty, vc, file:PATH, pipe:PATH, tcp:HOST:PORT,opts,
 * telnet:HOST:PORT,opts, unix:PATH,opts, ringbuf/memory, /dev/NAME, chardev:ID, and mon: before any
 * of them: a mux, on which the caller may put a monitor too. */
CTX_ANY ChardevShort chardev_parse_short(const char *arg, const char *id, ChardevConfig **config,
                                         char **existing, Error **errp);

/* --- back ends --- */

/* Opens the back end @cfg describes and registers it by its id.  Errors name the id and the cause.
 * With server and wait it blocks, holding up the start, until a client is there, and says so on
 * stderr; a signal to end the program is an error. */
CTX_CONTROL Chardev *chardev_new(const ChardevConfig *cfg, Error **errp);
/* The back end named @id, or NULL. */
CTX_CONTROL Chardev *chardev_find(const char *id);
/* As chardev_find(), with an error that names the nearest id. */
CTX_CONTROL Chardev *chardev_need(const char *id, Error **errp);
/* Closes and unregisters; fails while a front end has it. */
CTX_CONTROL bool chardev_remove(const char *id, Error **errp);
/* The back end @cfg describes takes the place of the one of its id, and gets its front end.  When it fails,
 * the old one stays. */
CTX_CONTROL bool chardev_change(const ChardevConfig *cfg, Error **errp);
CTX_ANY const char *chardev_id(const Chardev *c);
/* The kind of back end: "socket", "null", ... */
CTX_ANY const char *chardev_backend_name(const Chardev *c);
CTX_ANY bool chardev_is_mux(const Chardev *c);

/* Joins front end @guest, whose callbacks run on @loop, to @c.  CHAR_OPEN follows on @loop if the
 * host side is open, now or when it opens.  Only a mux has more than one front end (at most 4). */
CTX_CONTROL bool chardev_claim(Chardev *c, CharPort *guest, Loop *loop, Error **errp);
/* Undoes chardev_claim(); may hold the device's domain; waits for nothing.  What was sent is still
 * written.  Harmless on a port that has claimed nothing. */
CTX_CONTROL void chardev_release(CharPort *guest);

/* Takes descriptors that clients send over a unix socket (SCM_RIGHTS) from now on, instead of dropping them;
 * before the first claim. */
CTX_CONTROL void chardev_want_fds(Chardev *c);
/* The first descriptor that came with the bytes @guest got last, the caller's from now on; -1: none.  On the
 * loop that @guest was claimed on. */
CTX_LOOP int chardev_take_fd(CharPort *guest);

/* One row of query-chardev; the texts are borrowed during the call. */
CTX_CONTROL void chardev_each(void (*fn)(const char *label, const char *filename,
                                         bool frontend_open, void *arg), void *arg);
/* Calls fn(name, arg) for each kind of back end (query-chardev-backends, -chardev help). */
CTX_ANY void chardev_each_backend(void (*fn)(const char *name, void *arg), void *arg);

/* ringbuf-read: takes up to @max bytes from ring buffer @c into @buf; returns how many, or sets
 * *@errp and returns -1 when @c is no ring buffer.  ringbuf-write puts bytes in, dropping the
 * oldest. */
CTX_ANY ssize_t chardev_ringbuf_read(Chardev *c, uint8_t *buf, size_t max, Error **errp);
CTX_ANY bool chardev_ringbuf_write(Chardev *c, const uint8_t *buf, size_t n, Error **errp);
/* chardev-send-break: the front end of @id gets CHAR_BREAK. */
CTX_CONTROL bool chardev_send_break(const char *id, Error **errp);

/* --- mux: the escape key, Ctrl-A at first --- */

/* Control-thread functions for the keys x (quit) and s (commit disks); either may be NULL. */
typedef struct ChardevHooks {
    void (*quit)(void);
    void (*commit)(void);
} ChardevHooks;

CTX_CONTROL void chardev_set_hooks(const ChardevHooks *hooks);
/* The escape character, 0 to 255 (-echr). */
CTX_CONTROL void chardev_set_escape(unsigned ch);
/* Gives @guest, a front end of a mux, the input.  At first the one that claimed first has it. */
CTX_CONTROL void chardev_mux_focus(CharPort *guest);

/* From now on nobody may have the terminal, because of @option, a literal. */
CTX_ANY void chardev_refuse_stdio(const char *option);

/* The end of the process: takes every back end off its loop, writes what is still buffered (for at
 * most a second in all), puts the terminal back, removes socket files, closes everything.  Loops of
 * front ends still run, or ended after the front ends were released.  What is sent later is
 * dropped. The terminal is put back at exit(3) in any case. */
CTX_CONTROL void chardev_exit(void);

#endif
