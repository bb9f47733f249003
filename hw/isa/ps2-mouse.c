/* ps2-mouse.c: the mouse behind an i8042: PS/2, then IntelliMouse (wheel) and Explorer (five buttons) after
 * the sample rates that ask for them.
 *
 * 1. Movement is summed until there is room for a report, so a slow guest sees fewer reports and no
 *    lost way.
 * 2. A report is queued whole; a reply to a command drops the reports before it. */
#include "hw/isa/ps2.h"

#include "util/bytes.h"
#include "util/trace.h"

enum { ACK = 0xfa, NAK = 0xfe, BAT_OK = 0xaa };
enum { ID_PLAIN = 0, ID_WHEEL = 3, ID_EXPLORER = 4 };
/* Reports held before movement is only summed. */
#define REPORTS_HELD 4
#define WAY_MAX 100000

static unsigned report_size(const Ps2Mouse *m)
{
    return m->id == ID_PLAIN ? 3 : 4;
}

/* 2:1 scaling of stream mode: 0 1 1 3 6 9, then double. */
static int scaled(const Ps2Mouse *m, int v)
{
    static const uint8_t curve[6] = { 0, 1, 1, 3, 6, 9 };
    int a = ABS(v);

    if (!m->scale21 || m->remote) {
        return v;
    }
    a = a < 6 ? curve[a] : MIN(2 * a, 255);
    return v < 0 ? -a : a;
}

static int clamp(int v, int lo, int hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static void put_report(Ps2Mouse *m)
{
    int dx = clamp(m->dx, -127, 127), dy = clamp(m->dy, -127, 127), dz = 0;
    uint8_t b = m->buttons;

    m->dx -= dx;
    m->dy -= dy;
    dx = scaled(m, dx);
    dy = scaled(m, dy);
    ps2_queue_put(&m->queue, 0x08 | (b & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0));
    ps2_queue_put(&m->queue, (uint8_t)dx);
    ps2_queue_put(&m->queue, (uint8_t)dy);
    if (m->id == ID_WHEEL) {
        dz = clamp(m->dz, -127, 127);
        ps2_queue_put(&m->queue, (uint8_t)dz);
    } else if (m->id == ID_EXPLORER) {
        dz = clamp(m->dz, -7, 7);
        ps2_queue_put(&m->queue, (uint8_t)((dz & 15) | (b & 0x18) << 1));
    }
    m->dz = m->id == ID_PLAIN ? 0 : m->dz - dz;
    m->buttons_sent = b;
}

static bool news(const Ps2Mouse *m)
{
    uint8_t seen = m->id == ID_EXPLORER ? 0x1f : 7;

    return m->dx || m->dy || (m->dz && m->id != ID_PLAIN) || (m->buttons ^ m->buttons_sent) & seen;
}

static void pump(Ps2Mouse *m)
{
    if (!m->reporting || m->remote || m->wrap) {
        return;
    }
    while (news(m) && m->queue.count + report_size(m) <= REPORTS_HELD * 4) {
        put_report(m);
    }
    if (m->queue.count) {
        m->ready(m->controller);
    }
}

void ps2_mouse_move(Ps2Mouse *m, int dx, int dy, int dz, unsigned buttons)
{
    TRACE(ps2_mouse_move, "dx=%d dy=%d dz=%d buttons=0x%x", dx, dy, dz, buttons);
    /* The line's y axis points up. */
    m->dx = clamp(m->dx + clamp(dx, -WAY_MAX, WAY_MAX), -WAY_MAX, WAY_MAX);
    m->dy = clamp(m->dy - clamp(dy, -WAY_MAX, WAY_MAX), -WAY_MAX, WAY_MAX);
    m->dz = clamp(m->dz + clamp(dz, -WAY_MAX, WAY_MAX), -WAY_MAX, WAY_MAX);
    m->buttons = buttons & 0x1f;
    if (!m->reporting && !m->remote) {
        m->dx = m->dy = m->dz = 0;
    }
    pump(m);
}

/* --- commands --- */
static void reply(Ps2Mouse *m, uint8_t byte)
{
    ps2_queue_put(&m->queue, byte);
    m->ready(m->controller);
}

static void defaults(Ps2Mouse *m)
{
    m->rate = 100;
    m->resolution = 2;
    m->scale21 = m->reporting = m->remote = m->wrap = false;
    m->dx = m->dy = m->dz = 0;
}

void ps2_mouse_reset(Ps2Mouse *m)
{
    m->queue = (Ps2Queue){ .head = 0 };
    defaults(m);
    m->id = ID_PLAIN;
    m->pending = m->last = 0;
    m->buttons = m->buttons_sent = 0;
    m->knock[0] = m->knock[1] = 0;
}

static void set_rate(Ps2Mouse *m, uint8_t rate)
{
    if (m->knock[0] == 200 && m->knock[1] == 100 && rate == 80) {
        m->id = ID_WHEEL;
    } else if (m->knock[0] == 200 && m->knock[1] == 200 && rate == 80) {
        m->id = ID_EXPLORER;
    }
    m->knock[0] = m->knock[1];
    m->knock[1] = rate;
    m->rate = rate;
}

static void status(Ps2Mouse *m)
{
    /* Here the buttons are left 4, middle 2, right 1. */
    uint8_t b = (m->buttons & PS2_BUTTON_LEFT ? 4 : 0) | (m->buttons & PS2_BUTTON_MIDDLE ? 2 : 0)
        | (m->buttons & PS2_BUTTON_RIGHT ? 1 : 0);

    reply(m, b | (m->scale21 ? 0x10 : 0) | (m->reporting ? 0x20 : 0) | (m->remote ? 0x40 : 0));
    reply(m, m->resolution);
    reply(m, m->rate);
}

static void command(Ps2Mouse *m, uint8_t val)
{
    switch (val) {
    case 0xe6: case 0xe7:
        m->scale21 = val & 1;
        reply(m, ACK);
        break;
    case 0xe8: case 0xf3:
        m->pending = val;
        reply(m, ACK);
        break;
    case 0xe9:
        reply(m, ACK);
        status(m);
        break;
    case 0xea: case 0xf0:
        m->remote = val == 0xf0;
        reply(m, ACK);
        break;
    case 0xeb:
        reply(m, ACK);
        put_report(m);
        break;
    case 0xec:
        reply(m, ACK);
        break;
    case 0xee:
        m->wrap = true;
        reply(m, ACK);
        break;
    case 0xf2:
        reply(m, ACK);
        reply(m, m->id);
        break;
    case 0xf4: case 0xf5:
        m->reporting = val == 0xf4;
        reply(m, ACK);
        break;
    case 0xf6:
        defaults(m);
        reply(m, ACK);
        break;
    case 0xfe:
        reply(m, m->last);
        break;
    case 0xff:
        ps2_mouse_reset(m);
        reply(m, ACK);
        reply(m, BAT_OK);
        reply(m, m->id);
        break;
    default:
        reply(m, NAK);
        break;
    }
}

void ps2_mouse_write(Ps2Mouse *m, uint8_t val)
{
    uint8_t pending = m->pending;

    TRACE(ps2_mouse_write, "0x%02x", val);
    m->queue.head = m->queue.count = 0;
    if (m->wrap && val != 0xec && val != 0xff) {
        reply(m, val);
        return;
    }
    m->wrap = false;
    m->pending = 0;
    if (pending == 0xf3 && val != 0xff) {
        set_rate(m, val);
        reply(m, ACK);
    } else if (pending == 0xe8 && val < 4) {
        m->resolution = val;
        reply(m, ACK);
    } else {
        command(m, val);
    }
}

bool ps2_mouse_has(const Ps2Mouse *m)
{
    return m->queue.count;
}

uint8_t ps2_mouse_take(Ps2Mouse *m)
{
    uint8_t byte = ps2_queue_take(&m->queue);

    if (byte != NAK) {
        m->last = byte;
    }
    if (!m->queue.count) {
        pump(m);
    }
    return byte;
}

static bool mouse_check(void *obj, Error **errp)
{
    const Ps2Mouse *m = obj;

    if ((m->id != ID_PLAIN && m->id != ID_WHEEL && m->id != ID_EXPLORER) || ABS(m->dx / 2) > WAY_MAX
        || ABS(m->dy / 2) > WAY_MAX || ABS(m->dz / 2) > WAY_MAX) {
        return error_set(errp, "mouse id or way out of range");
    }
    return ps2_queue_check(&m->queue, errp);
}

static const StateField mouse_fields[] = {
    { .name = "queue", .kind = ST_BYTES, .at = offsetof(Ps2Mouse, queue.data), .count = PS2_QUEUE,
      .stride = 1 },
    { .name = "queue-head", .kind = ST_U32, .at = field_at(Ps2Mouse, queue.head, uint32_t),
      .count = 1, .stride = 4 },
    { .name = "queue-count", .kind = ST_U32, .at = field_at(Ps2Mouse, queue.count, uint32_t),
      .count = 1, .stride = 4 },
    STATE_BOOL(Ps2Mouse, reporting), STATE_BOOL(Ps2Mouse, remote), STATE_BOOL(Ps2Mouse, wrap),
    STATE_BOOL(Ps2Mouse, scale21), STATE_U8(Ps2Mouse, id), STATE_U8(Ps2Mouse, resolution),
    STATE_U8(Ps2Mouse, rate), STATE_U8(Ps2Mouse, pending), STATE_BYTES(Ps2Mouse, knock),
    STATE_U8(Ps2Mouse, last), STATE_U8(Ps2Mouse, buttons), STATE_U8(Ps2Mouse, buttons_sent),
    STATE_I32(Ps2Mouse, dx), STATE_I32(Ps2Mouse, dy), STATE_I32(Ps2Mouse, dz),
    { 0 },
};
const StateDesc ps2_mouse_state = {
    .name = "ps2-mouse", .version = 1, .fields = mouse_fields, .check = mouse_check,
};
