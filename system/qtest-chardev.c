/* qtest-chardev.c: carries bytes between a character device and the qtest session.
 *
 * 1. Everything runs on control.
 * 2. While answers wait for a slow client no further command is read, so what waits is bounded by one
 *    command's answer and the interrupts it raised. */
#include "system/qtest-chardev.h"

#include "accel/qtest/qtest.h"
#include "chardev/char.h"
#include "system/streams.h"
#include "util/bytes.h"

#define READ_MAX 4096

typedef struct QtestPort {
    CharPort port;
    QtestSession *session;
    GByteArray *waiting;
} QtestPort;

static QtestPort *the_port;

static void flush(QtestPort *p)
{
    size_t sent = p->waiting->len > 0 ? char_send(&p->port, p->waiting->data, p->waiting->len) : 0;

    if (sent > 0) {
        g_byte_array_remove_range(p->waiting, 0, sent);
    }
}

static void send_text(void *arg, const char *text, size_t n)
{
    QtestPort *p = arg;

    epoch_enter();
    g_byte_array_append(p->waiting, (const uint8_t *)text, n);
    flush(p);
    epoch_leave();
}

static size_t space(CharPort *to)
{
    QtestPort *p = container_of(to, QtestPort, port);

    return p->waiting->len > 0 ? 0 : READ_MAX;
}

static void bytes(CharPort *to, const uint8_t *buf, size_t n)
{
    qtest_bytes(container_of(to, QtestPort, port)->session, buf, n);
}

static void event(CharPort *to, CharEvent what)
{
    QtestPort *p = container_of(to, QtestPort, port);

    switch (what) {
    case CHAR_OPEN:
        g_byte_array_set_size(p->waiting, 0);
        qtest_opened(p->session);
        break;
    case CHAR_HANGUP:
    case CHAR_END:
        g_byte_array_set_size(p->waiting, 0);
        qtest_closed(p->session);
        break;
    case CHAR_ROOM:
        flush(p);
        if (p->waiting->len == 0) {
            char_room(&p->port);
        }
        break;
    default:
        break;
    }
}

bool qtest_chardev_start(const CmdLine *cmd, Machine *m, Error **errp)
{
    static const CharPortOps ops = { .space = space, .bytes = bytes, .event = event };
    const char *text = cmdline_last(cmd, OPT_QTEST), *log = cmdline_last(cmd, OPT_QTEST_LOG);
    g_autofree char *id = NULL;
    QtestPort *p;

    if (text == NULL) {
        return true;
    }
    if (accel() != &qtest_accel) {
        return error_set(errp, "-qtest: needs -accel qtest");
    }
    if (!streams_open_short("qtest", text, "qtest", &id, errp) || id == NULL) {
        return id != NULL || error_set(errp, "-qtest %s: a byte stream is needed", text);
    }
    p = g_new0(QtestPort, 1);
    p->waiting = g_byte_array_new();
    p->session = qtest_session_new(m, send_text, p);
    char_port_init(&p->port, &ops);
    the_port = p;
    return (log == NULL || qtest_log(p->session, log, errp)) &&
           (chardev_claim(chardev_find(id), &p->port, loop_control(), errp) ||
            error_context(errp, "-qtest %s", text));
}

void qtest_chardev_stop(void)
{
    if (the_port != NULL) {
        chardev_release(&the_port->port);
        qtest_session_free(the_port->session);
        g_byte_array_unref(the_port->waiting);
        g_clear_pointer(&the_port, g_free);
    }
}
