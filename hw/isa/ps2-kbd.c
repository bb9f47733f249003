/* ps2-kbd.c: the keyboard behind an i8042 (IBM PS/2 Technical Reference, Keyboards; scan code sets 1-3).
 *
 * 1. Codes leave in the set the guest chose; the controller's translation to set 1 is the controller's.
 *    Every key is known by its set 1 code, bit 7 meaning an E0 prefix.
 * 2. A key event is queued whole or not at all; replies to commands empty the queue first, as a real
 *    keyboard's command handling does. */
#include "hw/isa/ps2.h"

#include "util/bytes.h"
#include "util/trace.h"

enum { ACK = 0xfa, RESEND = 0xfe, BAT_OK = 0xaa, ECHO = 0xee };
enum { KEY_PAUSE = 0xc6, KEY_PRINT = 0xb7, KEY_SYSRQ = 0x54 };
enum { KEY_CTRL = 0x1d, KEY_CTRL_R = 0x9d, KEY_SHIFT = 0x2a, KEY_SHIFT_R = 0x36, KEY_ALT = 0x38,
       KEY_ALT_R = 0xb8 };

/* Set 2 make codes of the set 1 codes 00..7f, prefixed or not: the inverse of the controller's table. */
static const uint8_t set2[128] = {
    0x00, 0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x14, 0x1c, 0x1b,
    0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5d, 0x1a, 0x22, 0x21, 0x2a,
    0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c, 0x11, 0x29, 0x58, 0x05, 0x06, 0x04, 0x0c, 0x03,
    0x0b, 0x83, 0x0a, 0x01, 0x09, 0x77, 0x7e, 0x6c, 0x75, 0x7d, 0x7b, 0x6b, 0x73, 0x74, 0x79, 0x69,
    0x72, 0x7a, 0x70, 0x71, 0x84, 0x60, 0x61, 0x78, 0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
    0x47, 0x4f, 0x56, 0x5e, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x57, 0x6f,
    0x13, 0x19, 0x39, 0x51, 0x53, 0x5c, 0x5f, 0x62, 0x63, 0x64, 0x65, 0x67, 0x68, 0x6a, 0x6d, 0x6e,
};

/* Set 3 make codes of the plain keys, then of the prefixed ones that differ. */
static const uint8_t set3[128] = {
    0x00, 0x08, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x11, 0x1c, 0x1b,
    0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5c, 0x1a, 0x22, 0x21, 0x2a,
    0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7e, 0x19, 0x29, 0x14, 0x07, 0x0f, 0x17, 0x1f, 0x27,
    0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x76, 0x5f, 0x6c, 0x75, 0x7d, 0x84, 0x6b, 0x73, 0x74, 0x7c, 0x69,
    0x72, 0x7a, 0x70, 0x71, 0x57, 0x00, 0x13, 0x56, 0x5e,
};
static const struct { uint8_t code, set3; } set3_e0[] = {
    { 0x1c, 0x79 }, { 0x1d, 0x58 }, { 0x35, 0x77 }, { 0x37, 0x57 }, { 0x38, 0x39 }, { 0x46, 0x62 },
    { 0x47, 0x6e }, { 0x48, 0x63 }, { 0x49, 0x6f }, { 0x4b, 0x61 }, { 0x4d, 0x6a }, { 0x4f, 0x65 },
    { 0x50, 0x60 }, { 0x51, 0x6d }, { 0x52, 0x67 }, { 0x53, 0x64 }, { 0x5b, 0x8b }, { 0x5c, 0x8c },
    { 0x5d, 0x8d },
};

/* --- the queue --- */
bool ps2_queue_room(const Ps2Queue *q, unsigned n)
{
    return q->count + n <= PS2_QUEUE;
}

void ps2_queue_put(Ps2Queue *q, uint8_t byte)
{
    if (q->count < PS2_QUEUE) {
        q->data[(q->head + q->count++) % PS2_QUEUE] = byte;
    }
}

uint8_t ps2_queue_take(Ps2Queue *q)
{
    uint8_t byte = q->data[q->head];

    q->head = (q->head + 1) % PS2_QUEUE;
    q->count--;
    return byte;
}

bool ps2_queue_check(const Ps2Queue *q, Error **errp)
{
    if (q->head >= PS2_QUEUE || q->count > PS2_QUEUE) {
        return error_set(errp, "queue out of range");
    }
    return true;
}

/* --- keys --- */
static uint8_t set3_of(uint8_t code)
{
    if (code & 0x80) {
        for (unsigned i = 0; i < ARRAY_LEN(set3_e0); i++) {
            if (set3_e0[i].code == (code & 0x7f)) {
                return set3_e0[i].set3;
            }
        }
        return 0;
    }
    return set3[code & 0x7f];
}

static void put_all(Ps2Kbd *k, const uint8_t *bytes, unsigned n)
{
    /* Sixteen places stay free for replies to commands. */
    if (!ps2_queue_room(&k->queue, n + 16)) {
        TRACE(ps2_kbd_full, "%u bytes dropped", n);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        ps2_queue_put(&k->queue, bytes[i]);
    }
    k->ready(k->controller);
}

/* Pause with Ctrl is Break, and Print Screen with Alt SysRq; with Ctrl or Shift, Print Screen need not feign
 * a Shift. */
static bool ctrl_held(const Ps2Kbd *k)
{
    return k->key_down[KEY_CTRL] || k->key_down[KEY_CTRL_R];
}

static bool alt_held(const Ps2Kbd *k)
{
    return k->key_down[KEY_ALT] || k->key_down[KEY_ALT_R];
}

static bool feigns_no_shift(const Ps2Kbd *k)
{
    return ctrl_held(k) || k->key_down[KEY_SHIFT] || k->key_down[KEY_SHIFT_R];
}

static void send_set1(Ps2Kbd *k, uint8_t code, bool down)
{
    static const uint8_t pause[] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
    static const uint8_t print_down[] = { 0xe0, 0x2a, 0xe0, 0x37 };
    static const uint8_t print_up[] = { 0xe0, 0xb7, 0xe0, 0xaa };
    uint8_t up = down ? 0 : 0x80;

    if (code == KEY_PAUSE && !ctrl_held(k)) {
        if (down) {
            put_all(k, pause, sizeof(pause));
        }
    } else if (code == KEY_PRINT && !feigns_no_shift(k)) {
        put_all(k, down ? print_down : print_up, 4);
    } else if (code & 0x80) {
        put_all(k, (uint8_t[]){ 0xe0, (uint8_t)((code & 0x7f) | up) }, 2);
    } else {
        put_all(k, (uint8_t[]){ (uint8_t)(code | up) }, 1);
    }
}

static void send_set2(Ps2Kbd *k, uint8_t code, bool down)
{
    static const uint8_t pause[] = { 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77 };
    static const uint8_t print_down[] = { 0xe0, 0x12, 0xe0, 0x7c };
    static const uint8_t print_up[] = { 0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12 };
    uint8_t bytes[3];
    unsigned n = 0;

    if (code == KEY_PAUSE && !ctrl_held(k)) {
        if (down) {
            put_all(k, pause, sizeof(pause));
        }
        return;
    }
    if (code == KEY_PRINT && !feigns_no_shift(k)) {
        put_all(k, down ? print_down : print_up, down ? sizeof(print_down) : sizeof(print_up));
        return;
    }
    if (code & 0x80) {
        bytes[n++] = 0xe0;
    }
    if (!down) {
        bytes[n++] = 0xf0;
    }
    bytes[n++] = set2[code & 0x7f];
    put_all(k, bytes, n);
}

static void send_set3(Ps2Kbd *k, uint8_t code, bool down)
{
    uint8_t make = set3_of(code);

    if (!make) {
        return;
    }
    if (down) {
        put_all(k, &make, 1);
    } else if (!(k->key_mode[make / 8] & 1 << make % 8)) {
        put_all(k, (uint8_t[]){ 0xf0, make }, 2);
    }
}

void ps2_kbd_key(Ps2Kbd *k, uint8_t code, bool down)
{
    if (code == KEY_SYSRQ) {
        code = KEY_PRINT;                  /* the same key */
    }
    bool was = k->key_down[code];

    TRACE(ps2_kbd_key, "code=0x%02x down=%d", code, down);
    k->key_down[code] = down;
    if (!k->scanning || (!down && !was) || !(code & 0x7f)) {
        return;
    }
    if (code == KEY_PRINT && alt_held(k) && k->set != 3) {
        code = KEY_SYSRQ;
    }
    if (k->set == 1) {
        send_set1(k, code, down);
    } else if (k->set == 2) {
        send_set2(k, code, down);
    } else {
        send_set3(k, code, down);
    }
}

/* --- commands --- */
static void reply(Ps2Kbd *k, uint8_t byte)
{
    ps2_queue_put(&k->queue, byte);
    k->ready(k->controller);
}

static void drop_input(Ps2Kbd *k)
{
    k->queue.head = k->queue.count = 0;
}

static void defaults(Ps2Kbd *k)
{
    k->rate = 0x2b;            /* 10.9 characters a second after half a second */
    k->set = 2;
    memset(k->key_mode, 0, sizeof(k->key_mode));
}

void ps2_kbd_reset(Ps2Kbd *k)
{
    k->queue = (Ps2Queue){ .head = 0 };
    defaults(k);
    k->scanning = true;
    k->leds = k->pending = k->last = 0;
    memset(k->key_down, 0, sizeof(k->key_down));
}

static void argument(Ps2Kbd *k, uint8_t val)
{
    uint8_t cmd = k->pending;

    k->pending = 0;
    switch (cmd) {
    case 0xed:
        k->leds = val & 7;
        TRACE(ps2_kbd_leds, "0x%x", k->leds);
        reply(k, ACK);
        break;
    case 0xf0:
        if (val > 3) {
            reply(k, RESEND);
            break;
        }
        reply(k, ACK);
        if (val) {
            k->set = val;
        } else {
            reply(k, k->set);
        }
        break;
    case 0xf3:
        k->rate = val & 0x7f;
        reply(k, ACK);
        break;
    default:                   /* fb, fc, fd: per-key modes of set 3, until a command comes */
        if (val < 0x85) {
            if (cmd == 0xfd || cmd == 0xfb) {
                k->key_mode[val / 8] |= 1 << val % 8;
            } else {
                k->key_mode[val / 8] &= ~(1 << val % 8);
            }
            k->pending = cmd;
            reply(k, ACK);
        }
        break;
    }
}

void ps2_kbd_write(Ps2Kbd *k, uint8_t val)
{
    TRACE(ps2_kbd_write, "0x%02x", val);
    if (k->pending && (val < 0xed || k->pending == 0xed || k->pending == 0xf3)) {
        argument(k, val);
        return;
    }
    k->pending = 0;
    if (val != RESEND) {
        drop_input(k);
    }
    switch (val) {
    case 0xee:
        reply(k, ECHO);
        break;
    case 0xf2:
        reply(k, ACK);
        reply(k, 0xab);
        reply(k, 0x83);        /* the controller translates it to 41 */
        break;
    case 0xed: case 0xf0: case 0xf3: case 0xfb: case 0xfc: case 0xfd:
        reply(k, ACK);
        k->pending = val;
        break;
    case 0xf4:
        k->scanning = true;
        reply(k, ACK);
        break;
    case 0xf5:
        defaults(k);
        k->scanning = false;
        reply(k, ACK);
        break;
    case 0xf6:
        defaults(k);
        k->scanning = true;
        reply(k, ACK);
        break;
    case 0xf7: case 0xf9:      /* all keys typematic; make only */
        memset(k->key_mode, 0xff, sizeof(k->key_mode));
        reply(k, ACK);
        break;
    case 0xf8: case 0xfa:      /* all keys with break codes */
        memset(k->key_mode, 0, sizeof(k->key_mode));
        reply(k, ACK);
        break;
    case 0xfe:
        reply(k, k->last);
        break;
    case 0xff:
        ps2_kbd_reset(k);
        reply(k, ACK);
        reply(k, BAT_OK);
        break;
    default:
        reply(k, RESEND);
        break;
    }
}

bool ps2_kbd_has(const Ps2Kbd *k)
{
    return k->queue.count;
}

uint8_t ps2_kbd_take(Ps2Kbd *k)
{
    uint8_t byte = ps2_queue_take(&k->queue);

    if (byte != RESEND) {
        k->last = byte;
    }
    return byte;
}

static bool kbd_check(void *obj, Error **errp)
{
    const Ps2Kbd *k = obj;

    if (k->set < 1 || k->set > 3) {
        return error_set(errp, "scan code set %u", k->set);
    }
    return ps2_queue_check(&k->queue, errp);
}

static const StateField kbd_fields[] = {
    { .name = "queue", .kind = ST_BYTES, .at = offsetof(Ps2Kbd, queue.data), .count = PS2_QUEUE,
      .stride = 1 },
    { .name = "queue-head", .kind = ST_U32, .at = field_at(Ps2Kbd, queue.head, uint32_t), .count = 1,
      .stride = 4 },
    { .name = "queue-count", .kind = ST_U32, .at = field_at(Ps2Kbd, queue.count, uint32_t), .count = 1,
      .stride = 4 },
    STATE_BOOL(Ps2Kbd, scanning), STATE_U8(Ps2Kbd, set), STATE_U8(Ps2Kbd, leds),
    STATE_U8(Ps2Kbd, rate), STATE_U8(Ps2Kbd, pending), STATE_U8(Ps2Kbd, last),
    STATE_BOOL_ARRAY(Ps2Kbd, key_down), STATE_BYTES(Ps2Kbd, key_mode),
    { 0 },
};
const StateDesc ps2_kbd_state = {
    .name = "ps2-kbd", .version = 1, .fields = kbd_fields, .check = kbd_check,
};
