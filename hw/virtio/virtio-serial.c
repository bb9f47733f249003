/* virtio-serial.c: consoles and named byte streams over virtio (Virtio 1.2, section 5.3).
 *
 * 1. Queues, ports and their chardevs all live on the worker loop; control adds and removes ports
 *    there by loop_call_wait().
 * 2. What the guest is to be told is a set of bits a port (pend), sent as the control receive queue
 *    has room: nothing grows.
 * 3. A port holds at most one chain of each of its queues; when the queue halts they go back into the
 *    ring, and tx_done says how much of the first was sent. */
#include "hw/virtio/virtio-serial.h"

#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include "core/machine.h"
#include "hw/virtio/virtio-int.h"

enum { Q_CTRL_RX = 2, Q_CTRL_TX = 3 };         /* device to guest, guest to device */
enum { PEND_REMOVE = 1, PEND_ADD = 2, PEND_CONSOLE = 4, PEND_NAME = 8, PEND_OPEN = 16 };
enum { QUEUE_SIZE = 128, CTRL_QUEUE_SIZE = 32 };
#define AUTO_NR UINT32_MAX
#define CHUNK 4096

struct VirtioSerial {
    VirtioDevice v;
    Bus *bus;
    /* worker */
    SerialPort *ports[SERIAL_PORTS_MAX];
    uint32_t pend[SERIAL_PORTS_MAX];
    bool ready;                /* the guest said DEVICE_READY */
    /* control */
    uint32_t used;             /* bit n: port n exists */
    /* properties */
    uint32_t max_ports;
    bool emergency_write;
};

typedef struct PortOps {
    bool console;
} PortOps;

static VirtioSerial *serial_of(VirtQueue *q)
{
    return (VirtioSerial *)vq_device(q);
}

static bool is_console(const SerialPort *p)
{
    return ((const PortOps *)p->dev.type->slot_ops)->console;
}

static VirtQueue *rx_queue(const SerialPort *p)
{
    return &p->serial->v.queues[p->nr == 0 ? 0 : 2 * (p->nr + 1)];
}

static VirtQueue *tx_queue(const SerialPort *p)
{
    return rx_queue(p) + 1;
}

static bool multiport(const VirtioSerial *s)
{
    return virtio_has(&s->v, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* Whether a program of the guest listens; without MULTIPORT that cannot be known. */
static bool guest_listens(const SerialPort *p)
{
    return multiport(p->serial) ? p->guest_open : p->nr == 0;
}

/* --- control messages to the guest --- */

static void message(VirtioSerial *s, unsigned nr, unsigned bit, uint16_t event, uint16_t value)
{
    VirtQueue *q = &s->v.queues[Q_CTRL_RX];
    SerialPort *p = s->ports[nr];
    VirtChain c;

    if (!(s->pend[nr] & bit) || !vq_pop(q, &c)) {
        return;
    }
    struct virtio_console_control m = {
        .id = htole32(nr), .event = htole16(event), .value = htole16(value),
    };
    TRACE(virtio_serial_tell, "%s port=%u event=%u value=%u", s->v.dev.id, nr, event, value);
    chain_write(&c, &m, sizeof(m));
    if (event == VIRTIO_CONSOLE_PORT_NAME && p && p->name) {
        chain_write(&c, p->name, strlen(p->name) + 1);
    }
    vq_push(q, &c);
    s->pend[nr] &= ~bit;
}

static void tell(VirtioSerial *s)
{
    VirtQueue *q = &s->v.queues[Q_CTRL_RX];

    if (!multiport(s) || !s->ready || !q->running || !vq_begin(q)) {
        return;
    }
    for (unsigned nr = 0; nr < s->max_ports; nr++) {
        const SerialPort *p = s->ports[nr];
        if (!s->pend[nr]) {
            continue;
        }
        message(s, nr, PEND_REMOVE, VIRTIO_CONSOLE_PORT_REMOVE, 1);
        if (!p || s->pend[nr] & PEND_REMOVE) {
            continue;
        }
        message(s, nr, PEND_ADD, VIRTIO_CONSOLE_PORT_ADD, 1);
        message(s, nr, PEND_CONSOLE, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
        message(s, nr, PEND_NAME, VIRTIO_CONSOLE_PORT_NAME, 1);
        message(s, nr, PEND_OPEN, VIRTIO_CONSOLE_PORT_OPEN, p->host_open);
    }
    vq_publish(q);
}

/* --- guest to host --- */

/* Moves on by @n bytes that were sent already. */
static void tx_skip(VirtChain *c, uint64_t n)
{
    uint8_t buf[CHUNK];

    while (n) {
        size_t got = chain_read(c, buf, MIN(n, sizeof(buf)));
        if (got == 0) {
            return;
        }
        n -= got;
    }
}

/* Sends what is left of the chain; false: the other side takes no more for now. */
static bool tx_send(SerialPort *p)
{
    uint8_t buf[CHUNK];

    while (p->tx.left_out) {
        VirtChain before = p->tx;
        size_t n = chain_read(&p->tx, buf, sizeof(buf));
        if (n == 0) {
            break;
        }
        size_t sent = char_send(&p->chr, buf, n);
        p->tx_done += sent;
        if (sent < n) {
            p->tx = before;
            tx_skip(&p->tx, sent);
            return false;
        }
    }
    return true;
}

static void port_tx(SerialPort *p)
{
    VirtQueue *q = tx_queue(p);

    while (p->tx_busy || vq_pop(q, &p->tx)) {
        if (!p->tx_busy) {
            tx_skip(&p->tx, p->tx_done);
            p->tx_busy = true;
        }
        if (!tx_send(p)) {
            return;
        }
        vq_push(q, &p->tx);
        p->tx_busy = false;
        p->tx_done = 0;
    }
}

/* --- host to guest --- */

static size_t port_space(CharPort *chr)
{
    SerialPort *p = container_of(chr, SerialPort, chr);
    VirtQueue *q = rx_queue(p);

    if (!q->running || !guest_listens(p) || !vq_begin(q)) {
        return 0;
    }
    while (!p->rx_held) {
        if (!vq_pop(q, &p->rx)) {
            return 0;
        }
        if (p->rx.left_in) {
            p->rx_held = true;
        } else {
            vq_push(q, &p->rx);
            vq_publish(q);
        }
    }
    return p->rx.left_in;
}

static void port_bytes(CharPort *chr, const uint8_t *buf, size_t n)
{
    SerialPort *p = container_of(chr, SerialPort, chr);
    VirtQueue *q = rx_queue(p);

    if (!p->rx_held || !vq_begin(q)) {
        return;                /* the guest has taken its buffers back meanwhile */
    }
    chain_write(&p->rx, buf, n);
    p->rx_held = false;
    vq_push(q, &p->rx);
    vq_publish(q);
}

static void port_event(CharPort *chr, CharEvent what)
{
    SerialPort *p = container_of(chr, SerialPort, chr);
    VirtioSerial *s = p->serial;
    VirtQueue *q = tx_queue(p);

    switch (what) {
    case CHAR_OPEN:
    case CHAR_HANGUP:
    case CHAR_END:
        p->host_open = what == CHAR_OPEN;
        if (p->announced) {
            s->pend[p->nr] |= PEND_OPEN;
            tell(s);
        }
        break;
    case CHAR_ROOM:
        if (q->running && vq_begin(q)) {
            port_tx(p);
            vq_publish(q);
        }
        break;
    default:
        break;
    }
}

static const CharPortOps port_char_ops = {
    .space = port_space, .bytes = port_bytes, .event = port_event, .may_change = true,
};

/* --- control messages from the guest --- */

/* VSERPORT_CHANGE, on control. */
static void report_open(Device *d, uintptr_t open)
{
    const MachineListener *l = machine_listener();

    if (l && l->vserport && d->user_made) {
        l->vserport(d->id, open);
    }
}

static void guest_opened(SerialPort *p, bool open)
{
    if (p->guest_open == open) {
        return;
    }
    p->guest_open = open;
    TRACE(virtio_serial_guest_open, "%s open=%u", p->dev.id, open);
    char_event(&p->chr, open ? CHAR_OPEN : CHAR_HANGUP);
    if (open) {
        char_room(&p->chr);
    }
    machine_defer(&p->dev, report_open, open);
}

static void guest_says(VirtioSerial *s, uint32_t nr, uint16_t event, uint16_t value)
{
    SerialPort *p = nr < s->max_ports ? s->ports[nr] : NULL;

    if (event == VIRTIO_CONSOLE_DEVICE_READY) {
        if (!value) {
            guest_bug(s->v.dev.id, "the driver could not add the device");
            return;
        }
        s->ready = true;
        for (unsigned i = 0; i < s->max_ports; i++) {
            s->pend[i] = s->ports[i] ? PEND_ADD : 0;
        }
        return;
    }
    if (!p) {
        guest_bug(s->v.dev.id, "event %u of port %u, which does not exist", event, nr);
        return;
    }
    if (event == VIRTIO_CONSOLE_PORT_READY) {
        if (!value) {
            guest_bug(s->v.dev.id, "the driver could not add port %u", nr);
            return;
        }
        p->announced = true;
        s->pend[nr] |= (is_console(p) ? PEND_CONSOLE : 0) | (p->name ? PEND_NAME : 0) |
                       (p->host_open ? PEND_OPEN : 0);
    } else if (event == VIRTIO_CONSOLE_PORT_OPEN) {
        guest_opened(p, value);
    }
}

static void control_kick(VirtQueue *q)
{
    VirtioSerial *s = serial_of(q);
    struct virtio_console_control m;
    VirtChain c;

    while (vq_pop(q, &c)) {
        if (chain_read(&c, &m, sizeof(m)) == sizeof(m)) {
            TRACE(virtio_serial_told, "%s port=%u event=%u value=%u", s->v.dev.id, le32toh(m.id),
                  le16toh(m.event), le16toh(m.value));
            guest_says(s, le32toh(m.id), le16toh(m.event), le16toh(m.value));
        }
        vq_push(q, &c);
    }
    tell(s);
}

/* --- the device's queues --- */

static SerialPort *port_of_queue(VirtQueue *q)
{
    VirtioSerial *s = serial_of(q);
    unsigned nr = q->index < 2 ? 0 : q->index / 2 - 1;

    return nr < s->max_ports ? s->ports[nr] : NULL;
}

static void serial_kick(VirtQueue *q)
{
    if (q->index == Q_CTRL_RX) {
        tell(serial_of(q));
        return;
    }
    if (q->index == Q_CTRL_TX) {
        control_kick(q);
        return;
    }
    SerialPort *p = port_of_queue(q);
    if (p && q->index & 1) {
        port_tx(p);
    } else if (p) {
        /* Look for a buffer first, so that the next kick is asked for if there is none. */
        if (vq_ready(q)) {
            char_room(&p->chr);
        }
    }
}

static void serial_halt(VirtQueue *q)
{
    SerialPort *p = q->index == Q_CTRL_RX || q->index == Q_CTRL_TX ? NULL : port_of_queue(q);

    if (!p) {
        return;
    }
    bool *held = q->index & 1 ? &p->tx_busy : &p->rx_held;
    if (*held) {
        *held = false;
        vq_unpop(q, q->index & 1 ? &p->tx : &p->rx);
    }
}

static void serial_config_fill(VirtioDevice *v, uint8_t *c)
{
    st32(c + 4, ((VirtioSerial *)v)->max_ports);
}

typedef struct Emergency {
    VirtioSerial *s;
    uint8_t byte;
} Emergency;

static void emergency(void *arg)
{
    Emergency *e = arg;
    SerialPort *p = e->s->ports[0];

    if (p) {
        char_send(&p->chr, &e->byte, 1);
    }
}

static void serial_config_wrote(VirtioDevice *v, unsigned off, const uint8_t *data, unsigned size)
{
    VirtioSerial *s = (VirtioSerial *)v;

    if (s->emergency_write && off == 8) {
        Emergency e = { .s = s, .byte = data[0] };
        loop_call_wait(v->worker->loop, emergency, &e);
    }
}

/* --- life of the device --- */

static void reset_here(void *arg)
{
    VirtioSerial *s = arg;

    s->ready = false;
    memset(s->pend, 0, sizeof(s->pend));
    for (unsigned i = 0; i < s->max_ports; i++) {
        SerialPort *p = s->ports[i];
        if (p) {
            p->announced = false;
            p->tx_done = 0;
            guest_opened(p, false);
        }
    }
}

static void serial_reset(Device *d, ResetKind kind)
{
    VirtioSerial *s = (VirtioSerial *)d;

    if (s->bus) {
        loop_call_wait(s->v.worker->loop, reset_here, s);
    }
}

static bool serial_realize(Device *d, Error **errp)
{
    VirtioSerial *s = (VirtioSerial *)d;

    if (s->max_ports == 0 || s->max_ports > SERIAL_PORTS_MAX) {
        return error_set(errp, "maximum ports supported: %u", SERIAL_PORTS_MAX);
    }
    virtio_queues(&s->v, 2 * (s->max_ports + 1), QUEUE_SIZE);
    for (unsigned i = 0; i < s->v.queue_count; i++) {
        VirtQueue *q = &s->v.queues[i];
        bool control = i == Q_CTRL_RX || i == Q_CTRL_TX;
        q->dormant = !control;
        if (control) {
            q->size = q->size_max = CTRL_QUEUE_SIZE;
        }
    }
    virtio_offer(&s->v, 1 << VIRTIO_CONSOLE_F_MULTIPORT |
                        (s->emergency_write ? 1 << VIRTIO_CONSOLE_F_EMERG_WRITE : 0));
    g_autofree char *name = s->v.proxy->user_made ? g_strdup_printf("%s.0", s->v.proxy->id)
                                                  : g_strdup("virtio-serial-bus.0");
    s->bus = bus_new(&virtser_slot, d, name);
    s->bus->hotplug = true;
    return true;
}

static void serial_unrealize(Device *d)
{
    ((VirtioSerial *)d)->bus = NULL;
}

/* --- ports --- */

static bool choose_nr(VirtioSerial *s, SerialPort *p, Error **errp)
{
    if (p->nr == AUTO_NR) {
        unsigned nr = is_console(p) ? 0 : 1;
        while (nr < s->max_ports && s->used >> nr & 1) {
            nr++;
        }
        if (nr >= s->max_ports) {
            return error_set(errp, "virtio-serial-bus: Maximum port limit for this device reached");
        }
        p->nr = nr;
    }
    if (p->nr >= s->max_ports) {
        return error_set(errp, "virtio-serial-bus: Out-of-range port id specified, max. allowed: %u",
                         s->max_ports - 1);
    }
    if (s->used >> p->nr & 1) {
        return error_set(errp, "virtio-serial-bus: A port already exists at id %u", p->nr);
    }
    if (p->nr == 0 && !is_console(p)) {
        return error_set(errp, "Port number 0 on virtio-serial devices reserved for virtconsole devices "
                         "for backward compatibility.");
    }
    return true;
}

static bool port_attach(Bus *b, Device *d, Error **errp)
{
    SerialPort *p = (SerialPort *)d;
    VirtioSerial *s = (VirtioSerial *)b->owner;

    for (Device *o = b->first; o; o = o->bus_next) {
        const SerialPort *other = (SerialPort *)o;
        if (o != d && o->realized && p->name && other->name && strcmp(p->name, other->name) == 0) {
            return error_set(errp, "virtio-serial-bus: A port already exists by name %s", p->name);
        }
    }
    uint32_t asked = p->nr;
    if (!choose_nr(s, p, errp)) {
        return false;
    }
    p->serial = s;
    char_port_init(&p->chr, &port_char_ops);
    if (p->chardev && !chardev_claim(p->chardev, &p->chr, s->v.worker->loop, errp)) {
        p->nr = asked;
        return false;
    }
    s->used |= 1u << p->nr;
    return true;
}

static void add_here(void *arg)
{
    SerialPort *p = arg;
    VirtioSerial *s = p->serial;

    s->ports[p->nr] = p;
    if (s->ready) {
        s->pend[p->nr] |= PEND_ADD;
        tell(s);
    }
}

static bool port_publish(Bus *b, Device *d, Error **errp)
{
    SerialPort *p = (SerialPort *)d;
    VirtioSerial *s = p->serial;

    /* The guest has closed it until it says otherwise. */
    char_event(&p->chr, CHAR_HANGUP);
    loop_call_wait(s->v.worker->loop, add_here, p);
    domain_enter(d->domain);
    virtio_queue_wake(rx_queue(p));
    virtio_queue_wake(tx_queue(p));
    domain_leave(d->domain);
    return true;
}

static void remove_here(void *arg)
{
    SerialPort *p = arg;
    VirtioSerial *s = p->serial;

    VirtQueue *const queues[] = { rx_queue(p), tx_queue(p) };
    for (unsigned i = 0; i < 2; i++) {
        VirtQueue *q = queues[i];
        if (i ? p->tx_busy : p->rx_held) {
            if (vq_begin(q)) {
                vq_push(q, i ? &p->tx : &p->rx);
                vq_publish(q);
            } else {
                q->inflight--;
            }
        }
    }
    p->tx_busy = p->rx_held = false;
    s->ports[p->nr] = NULL;
    if (s->ready) {
        s->pend[p->nr] = PEND_REMOVE;
        tell(s);
    }
}

static void port_withdraw(Bus *b, Device *d)
{
    SerialPort *p = (SerialPort *)d;

    chardev_release(&p->chr);
    loop_call_wait(p->serial->v.worker->loop, remove_here, p);
}

static void port_detach(Bus *b, Device *d)
{
    SerialPort *p = (SerialPort *)d;

    chardev_release(&p->chr);
    p->serial->used &= ~(1u << p->nr);
}

/* A loaded port: its chardev hears whether the guest has it open. */
static void port_settle(Device *d)
{
    SerialPort *p = (SerialPort *)d;

    char_event(&p->chr, guest_listens(p) ? CHAR_OPEN : CHAR_HANGUP);
}

static const StateField port_fields[] = {
    STATE_BOOL(SerialPort, guest_open),
    STATE_BOOL(SerialPort, announced),
    STATE_U64(SerialPort, tx_done),
    { 0 },
};

static const StateDesc port_state = { .name = "virtserialport", .version = 1, .fields = port_fields };

static const PropDesc port_props[] = {
    PROP_LINK(SerialPort, chardev, "chardev", "chardev", "ID of a chardev to use as a backend"),
    PROP_STR(SerialPort, name, "name", "name the guest finds the port by"),
    PROP_U32(SerialPort, nr, "nr", AUTO_NR, 0, UINT32_MAX, "number of the port; default: the first free"),
    { 0 },
};

const SlotType virtser_slot = {
    .name = "virtio-serial-bus",
    .base_size = sizeof(SerialPort),
    .props = port_props,
    .state = &port_state,
    .attach = port_attach,
    .publish = port_publish,
    .withdraw = port_withdraw,
    .detach = port_detach,
    .settle = port_settle,
};

extern const DeviceType virtio_serial, virtconsole_type, virtserialport_type;

static const PortOps console_ops = { .console = true }, plain_ops = { .console = false };

const DeviceType virtconsole_type = {
    .name = "virtconsole", .summary = "console on a virtio-serial device", .slot = &virtser_slot,
    .size = sizeof(SerialPort), .flags = DEV_HOTPLUG, .category = "Input", .slot_ops = &console_ops,
};

const DeviceType virtserialport_type = {
    .name = "virtserialport", .summary = "named byte stream on a virtio-serial device",
    .slot = &virtser_slot, .size = sizeof(SerialPort), .flags = DEV_HOTPLUG, .category = "Input",
    .slot_ops = &plain_ops,
};

static const PropDesc serial_props[] = {
    PROP_U32(VirtioSerial, max_ports, "max_ports", SERIAL_PORTS_MAX, 0, UINT32_MAX, "ports it may have"),
    PROP_BOOL(VirtioSerial, emergency_write, "emergency-write", true, "offer writing without a queue"),
    { 0 },
};

static const StateField serial_fields[] = {
    STATE_U32_ARRAY(VirtioSerial, pend),
    STATE_BOOL(VirtioSerial, ready),
    { 0 },
};

static const StateDesc serial_state = { .name = "virtio-serial", .version = 1, .fields = serial_fields };

static const VirtioOps serial_ops = {
    .id = VIRTIO_ID_CONSOLE, .legacy_id = 0x1003, .class_code = 0x078000, .config_size = 12, .vectors = 2,
    .config_fill = serial_config_fill, .config_wrote = serial_config_wrote, .kick = serial_kick,
    .halt = serial_halt,
};

const DeviceType virtio_serial = {
    .name = "virtio-serial", .summary = "consoles and byte streams", .slot = &virtio_slot,
    .size = sizeof(VirtioSerial), .flags = DEV_HOTPLUG, .category = "Input", .props = serial_props,
    .state = &serial_state, .slot_ops = &serial_ops, .realize = serial_realize,
    .unrealize = serial_unrealize, .reset = serial_reset,
};
