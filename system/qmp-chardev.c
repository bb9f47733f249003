/* qmp-chardev.c: a QMP or human monitor session on a character device.
 *
 * 1. All callbacks run on the control loop.
 * 2. At the end of its input (CHAR_END) a session goes on: what it was told is done, and the
 *    answers are written. */
#include "system/qmp-chardev.h"

#include "chardev/char.h"
#include "monitor/hmp.h"
#include "util/bytes.h"
#include "util/epoch.h"

struct MonitorPort {
    CharPort port;
    QmpSession *qmp;           /* one of the two; both NULL: it is being freed */
    HmpSession *hmp;
    bool open;                 /* somebody is at the other end */
    EpochItem freed;
};

static size_t monitor_space(CharPort *to)
{
    MonitorPort *m = container_of(to, MonitorPort, port);

    return m->qmp ? qmp_session_space(m->qmp) : m->hmp ? hmp_session_space(m->hmp) : 0;
}

static void monitor_bytes(CharPort *to, const uint8_t *buf, size_t n)
{
    MonitorPort *m = container_of(to, MonitorPort, port);

    if (m->qmp) {
        qmp_session_bytes(m->qmp, (const char *)buf, n);
    } else if (m->hmp) {
        hmp_session_bytes(m->hmp, (const char *)buf, n);
    }
}

static void qmp_event(MonitorPort *m, CharEvent what)
{
    if (what == CHAR_OPEN) {
        qmp_session_open(m->qmp);
        char_room(&m->port);
    } else if (what == CHAR_HANGUP) {
        qmp_session_close(m->qmp);
    } else if (what == CHAR_ROOM) {
        qmp_session_room(m->qmp);
    }
}

static void hmp_event(MonitorPort *m, CharEvent what)
{
    if (what == CHAR_OPEN) {
        hmp_session_open(m->hmp);
        char_room(&m->port);
    } else if (what == CHAR_HANGUP) {
        hmp_session_close(m->hmp);
    } else if (what == CHAR_ROOM) {
        hmp_session_room(m->hmp);
    } else if (what == CHAR_FOCUS_IN || what == CHAR_FOCUS_OUT) {
        hmp_session_focus(m->hmp, what == CHAR_FOCUS_IN);
    }
}

static void monitor_event(CharPort *p, CharEvent what)
{
    MonitorPort *m = container_of(p, MonitorPort, port);

    if (what == CHAR_OPEN || what == CHAR_HANGUP) {
        m->open = what == CHAR_OPEN;
    }
    if (m->qmp) {
        qmp_event(m, what);
    } else if (m->hmp) {
        hmp_event(m, what);
    }
}

static bool monitor_busy(CharPort *p)
{
    MonitorPort *m = container_of(p, MonitorPort, port);

    return m->qmp ? qmp_session_busy(m->qmp) : m->hmp && hmp_session_busy(m->hmp);
}

static const CharPortOps monitor_port_ops = {
    .space = monitor_space, .bytes = monitor_bytes, .event = monitor_event, .busy = monitor_busy,
};

static size_t stream_send(void *arg, const char *buf, size_t n)
{
    MonitorPort *m = arg;

    epoch_enter();
    size_t sent = char_send(&m->port, (const uint8_t *)buf, n);

    epoch_leave();
    return sent;
}

static void stream_more(void *arg)
{
    MonitorPort *m = arg;

    epoch_enter();
    char_room(&m->port);
    epoch_leave();
}

static int stream_take_fd(void *arg)
{
    MonitorPort *m = arg;

    return chardev_take_fd(&m->port);
}

static const QmpStream monitor_stream = {
    .send = stream_send, .more = stream_more, .take_fd = stream_take_fd,
};

/* Joins @take_m, which has its session, to @c. */
static MonitorPort *join(MonitorPort *take_m, Chardev *c, Error **errp)
{
    char_port_init(&take_m->port, &monitor_port_ops);
    if (!chardev_claim(c, &take_m->port, loop_control(), errp)) {
        qmp_session_free(take_m->qmp);
        hmp_session_free(take_m->hmp);
        g_free(take_m);
        return NULL;
    }
    return take_m;
}

MonitorPort *qmp_monitor_new(QmpServer *server, const char *chardev, bool pretty, Error **errp)
{
    Chardev *c = chardev_need(chardev, errp);

    if (!c) {
        return NULL;
    }
    MonitorPort *m = g_new0(MonitorPort, 1);

    m->qmp = qmp_session_new(server, &monitor_stream, m, pretty);
    chardev_want_fds(c);
    return join(m, c, errp);
}

MonitorPort *hmp_monitor_new(QmpServer *server, const char *chardev, Error **errp)
{
    Chardev *c = chardev_need(chardev, errp);

    if (!c) {
        return NULL;
    }
    MonitorPort *m = g_new0(MonitorPort, 1);

    m->hmp = hmp_session_new(server, &monitor_stream, m, chardev_is_mux(c));
    return join(m, c, errp);
}

bool monitor_port_drained(const MonitorPort *m)
{
    return !m->hmp || !m->open || hmp_session_waiting(m->hmp) == 0;
}

static void monitor_freed(EpochItem *item)
{
    g_free(container_of(item, MonitorPort, freed));
}

void monitor_port_free(MonitorPort *m)
{
    if (m) {
        chardev_release(&m->port);
        qmp_session_free(m->qmp);
        hmp_session_free(m->hmp);
        m->qmp = NULL;
        m->hmp = NULL;
        epoch_defer(&m->freed, monitor_freed);
    }
}
