/* virtio-serial-test.c: ports: announcement, data both ways with back-pressure, hot-plug, reset. */
#include <linux/virtio_console.h>
#include <linux/virtio_pci.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "hw/virtio/virtio-serial.h"
#include "tests/device/bench-virtio.h"

#define V1 (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define ALL (V1 | 1 << VIRTIO_CONSOLE_F_MULTIPORT | UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define QUEUES 6               /* those of port 0, the control queues, those of port 1 */

extern const DeviceType virtio_serial_pci, virtconsole_type, virtserialport_type;

/* The other end of a port; its callbacks run on the worker. */
typedef struct Peer {
    CharPort port;
    GString *got;
    size_t limit;              /* bytes it takes in all */
    unsigned opens, hangups, rooms;
    SerialPort *to;
    const char *send;          /* for send_here() */
    size_t sent;
} Peer;

static size_t peer_space(CharPort *p)
{
    Peer *e = container_of(p, Peer, port);

    return e->limit - e->got->len;
}

static void peer_bytes(CharPort *p, const uint8_t *buf, size_t n)
{
    g_string_append_len(container_of(p, Peer, port)->got, (const char *)buf, (gssize)n);
}

static void peer_event(CharPort *p, CharEvent what)
{
    Peer *e = container_of(p, Peer, port);

    e->opens += what == CHAR_OPEN;
    e->hangups += what == CHAR_HANGUP;
    e->rooms += what == CHAR_ROOM;
}

static const CharPortOps peer_ops = { .space = peer_space, .bytes = peer_bytes, .event = peer_event };

typedef struct Rig {
    Bench *b;
    Vd *vd;
    Device *console, *port;
    Peer peer[2];
} Rig;

static Loop *worker(Rig *r)
{
    return r->vd->v->worker->loop;
}

static Device *add_port(Rig *r, const DeviceType *t, const char *id, const char *name, Peer *peer)
{
    Error *e = NULL;
    Bus *bus = bus_find(r->b->m->root, "vs.0", &e);
    Device *d = bus ? device_create(t, r->b->m->peripheral, bus, id, &e) : NULL;

    if (!d || (name && !device_set(d, "name", name, &e)) || !device_realize(d, &e)) {
        fail_msg("%s", error_text(e));
        return NULL;
    }
    peer->got = g_string_new(NULL);
    peer->limit = SIZE_MAX / 2;
    peer->to = (SerialPort *)d;
    char_port_init(&peer->port, &peer_ops);
    char_join(&peer->port, &peer->to->chr);
    return d;
}

static Rig *rig_new(void)
{
    Rig *r = g_new0(Rig, 1);

    r->b = bench_new();
    Device *d = bench_create(r->b, &virtio_serial_pci, "vs", NULL);
    d->user_made = true;
    assert_true(device_realize(d, NULL));
    r->vd = vd_new(r->b, d);
    r->console = add_port(r, &virtconsole_type, "con", NULL, &r->peer[0]);
    r->port = add_port(r, &virtserialport_type, "p1", "org.test.0", &r->peer[1]);
    return r;
}

static void rig_free(Rig *r)
{
    vd_reset(r->vd);
    for (unsigned i = 0; i < 2; i++) {
        char_part(&r->peer[i].port);
        g_string_free(r->peer[i].got, TRUE);
    }
    vd_free(r->vd);
    bench_free(r->b);
    g_free(r);
}

/* Gives queue @n a writable buffer of 64 bytes. */
static void give(Rig *r, unsigned n, unsigned i)
{
    VdSeg seg = { vd_buf(r->vd, n, i), 64, true };

    vd_add(r->vd, n, &seg, 1, false);
    vd_kick(r->vd, n);
}

static void say(Rig *r, unsigned n, const void *data, uint32_t len)
{
    VdSeg seg = { vd_buf(r->vd, n, 8), len, false };

    memcpy(bench_ram(r->b, seg.addr, len), data, len);
    vd_add(r->vd, n, &seg, 1, false);
    vd_kick(r->vd, n);
}

static void control(Rig *r, uint32_t id, uint16_t event, uint16_t value)
{
    struct virtio_console_control m = { htole32(id), htole16(event), htole16(value) };

    say(r, 3, &m, sizeof(m));
    vd_wait(r->vd, 3, NULL);
}

/* The next control message must be this one. */
static void told(Rig *r, unsigned i, uint32_t id, uint16_t event, uint16_t value, const char *name)
{
    uint32_t len = vd_wait(r->vd, 2, NULL);
    const uint8_t *m = bench_ram(r->b, vd_buf(r->vd, 2, i), 64);

    assert_int_equal(ld32(m), id);
    assert_int_equal(ld16(m + 4), event);
    assert_int_equal(ld16(m + 6), value);
    assert_int_equal(len, 8 + (name ? strlen(name) + 1 : 0));
    if (name) {
        assert_string_equal((const char *)m + 8, name);
    }
}

static void bring_up(Rig *r)
{
    vd_start(r->vd, ALL, QUEUES);
    for (unsigned i = 0; i < 6; i++) {
        give(r, 2, i);
    }
    control(r, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    told(r, 0, 0, VIRTIO_CONSOLE_PORT_ADD, 1, NULL);
    told(r, 1, 1, VIRTIO_CONSOLE_PORT_ADD, 1, NULL);
    control(r, 0, VIRTIO_CONSOLE_PORT_READY, 1);
    told(r, 2, 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, NULL);
    control(r, 1, VIRTIO_CONSOLE_PORT_READY, 1);
    told(r, 3, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "org.test.0");
}

static void open_here(void *arg)
{
    char_event(&((Peer *)arg)->port, CHAR_OPEN);
}

static void send_here(void *arg)
{
    Peer *p = arg;

    p->sent = char_send(&p->port, (const uint8_t *)p->send, strlen(p->send));
}

static void room_here(void *arg)
{
    Peer *p = arg;

    p->limit = SIZE_MAX / 2;
    char_event(&p->port, CHAR_ROOM);
}

static size_t host_sends(Rig *r, Peer *p, const char *text)
{
    p->send = text;
    loop_call_wait(worker(r), send_here, p);
    return p->sent;
}

static void test_announce(void **state)
{
    Rig *r = rig_new();

    assert_int_equal(bench_read32(r->b, r->vd->bar + 0x2004), 31);
    assert_int_equal(bench_config_read(r->b, r->vd->d, 0, 4), 0x10031af4);
    bring_up(r);
    loop_call_wait(worker(r), open_here, &r->peer[1]);
    told(r, 4, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, NULL);
    unsigned before = r->peer[1].opens;
    control(r, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    vd_sync(r->vd);
    assert_int_equal(r->peer[1].opens, before + 1);
    /* Nonsense is ignored. */
    control(r, 77, VIRTIO_CONSOLE_PORT_OPEN, 1);
    control(r, 5, VIRTIO_CONSOLE_PORT_READY, 1);
    control(r, 1, 1234, 1);
    assert_false(r->vd->v->broken);
    rig_free(r);
}

static void test_data(void **state)
{
    Rig *r = rig_new();

    bring_up(r);
    say(r, 5, "hello", 5);
    vd_wait(r->vd, 5, NULL);
    assert_string_equal(r->peer[1].got->str, "hello");
    /* The guest takes nothing before it opened the port, or without a buffer. */
    assert_int_equal(host_sends(r, &r->peer[1], "early"), 0);
    control(r, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    assert_int_equal(host_sends(r, &r->peer[1], "early"), 0);
    give(r, 4, 0);
    vd_sync(r->vd);
    assert_int_equal(host_sends(r, &r->peer[1], "now"), 3);
    assert_int_equal(vd_wait(r->vd, 4, NULL), 3);
    assert_memory_equal(bench_ram(r->b, vd_buf(r->vd, 4, 0), 3), "now", 3);
    rig_free(r);
}

static void test_back_pressure(void **state)
{
    Rig *r = rig_new();

    bring_up(r);
    r->peer[1].limit = 4;
    say(r, 5, "abcdefgh", 8);
    vd_sync(r->vd);
    assert_string_equal(r->peer[1].got->str, "abcd");
    assert_false(vd_used(r->vd, 5));
    /* Neither a stop nor a save and load sends anything twice. */
    bench_quiesce(r->b);
    bench_resume(r->b);
    vd_sync(r->vd);
    bench_save_load(r->b, r->vd->d);
    vd_sync(r->vd);
    assert_string_equal(r->peer[1].got->str, "abcd");
    loop_call_wait(worker(r), room_here, &r->peer[1]);
    vd_wait(r->vd, 5, NULL);
    assert_string_equal(r->peer[1].got->str, "abcdefgh");
    rig_free(r);
}

static void test_hotplug(void **state)
{
    Rig *r = rig_new();
    Peer extra = { .limit = 0 };

    bring_up(r);
    Device *d = add_port(r, &virtserialport_type, "p2", "second", &extra);
    assert_int_equal(((SerialPort *)d)->nr, 2);
    told(r, 4, 2, VIRTIO_CONSOLE_PORT_ADD, 1, NULL);
    bench_remove(r->b, d);
    told(r, 5, 2, VIRTIO_CONSOLE_PORT_REMOVE, 1, NULL);
    g_string_free(extra.got, TRUE);
    /* With a chain that the other side does not take. */
    r->peer[1].limit = 0;
    say(r, 5, "stuck", 5);
    vd_sync(r->vd);
    char_part(&r->peer[1].port);
    bench_remove(r->b, r->port);
    vd_wait(r->vd, 5, NULL);
    rig_free(r);
}

static void test_numbers(void **state)
{
    Rig *r = rig_new();
    Bus *bus = bus_find(r->b->m->root, "vs.0", NULL);
    static const struct { const char *nr, *name, *text; } bad[] = {
        { "0", "x", "virtio-serial-bus: A port already exists at id 0" },
        { "1", "x", "virtio-serial-bus: A port already exists at id 1" },
        { "31", "x", "virtio-serial-bus: Out-of-range port id specified, max. allowed: 30" },
        { "4", "org.test.0", "virtio-serial-bus: A port already exists by name org.test.0" },
    };

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        Error *e = NULL;
        assert_null(device_make(&virtserialport_type, r->b->m->peripheral, bus, "bad", &e, "nr", bad[i].nr,
                                "name", bad[i].name, NULL));
        assert_string_equal(error_text(e), bad[i].text);
        error_free(e);
    }
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_announce),
        cmocka_unit_test(test_data),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_hotplug),
        cmocka_unit_test(test_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
