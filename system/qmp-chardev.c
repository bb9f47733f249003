/* qmp-chardev.c: a QMP session on a character device.
 *
 * 1. All callbacks run on the control loop. */
#include "system/qmp-chardev.h"

#include "chardev/char.h"
#include "util/bytes.h"
#include "util/epoch.h"

struct QmpMonitor {
    CharPort port;
    QmpSession *session;
    EpochItem freed;
};

static size_t monitor_space(CharPort *to)
{
    QmpMonitor *m = container_of(to, QmpMonitor, port);

    return m->session ? qmp_session_space(m->session) : 0;
}

static void monitor_bytes(CharPort *to, const uint8_t *buf, size_t n)
{
    QmpMonitor *m = container_of(to, QmpMonitor, port);

    if (m->session) {
        qmp_session_bytes(m->session, (const char *)buf, n);
    }
}

static void monitor_event(CharPort *p, CharEvent what)
{
    QmpMonitor *m = container_of(p, QmpMonitor, port);

    if (!m->session) {
        return;
    }
    if (what == CHAR_OPEN) {
        qmp_session_open(m->session);
        char_room(p);
    } else if (what == CHAR_HANGUP) {
        qmp_session_close(m->session);
    } else if (what == CHAR_ROOM) {
        qmp_session_room(m->session);
    }
}

static const CharPortOps monitor_port_ops = {
    .space = monitor_space, .bytes = monitor_bytes, .event = monitor_event,
};

static size_t stream_send(void *arg, const char *buf, size_t n)
{
    QmpMonitor *m = arg;

    epoch_enter();
    size_t sent = char_send(&m->port, (const uint8_t *)buf, n);

    epoch_leave();
    return sent;
}

static void stream_more(void *arg)
{
    QmpMonitor *m = arg;

    epoch_enter();
    char_room(&m->port);
    epoch_leave();
}

static int stream_take_fd(void *arg)
{
    QmpMonitor *m = arg;

    return chardev_take_fd(&m->port);
}

static const QmpStream monitor_stream = {
    .send = stream_send, .more = stream_more, .take_fd = stream_take_fd,
};

QmpMonitor *qmp_monitor_new(QmpServer *server, const char *chardev, bool pretty, Error **errp)
{
    Chardev *c = chardev_need(chardev, errp);

    if (!c) {
        return NULL;
    }
    QmpMonitor *m = g_new0(QmpMonitor, 1);

    char_port_init(&m->port, &monitor_port_ops);
    m->session = qmp_session_new(server, &monitor_stream, m, pretty);
    chardev_want_fds(c);
    if (!chardev_claim(c, &m->port, loop_control(), errp)) {
        qmp_session_free(m->session);
        g_free(m);
        return NULL;
    }
    return m;
}

static void monitor_freed(EpochItem *item)
{
    g_free(container_of(item, QmpMonitor, freed));
}

void qmp_monitor_free(QmpMonitor *m)
{
    if (m) {
        chardev_release(&m->port);
        qmp_session_free(m->session);
        m->session = NULL;
        epoch_defer(&m->freed, monitor_freed);
    }
}
