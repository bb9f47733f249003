/* i8042.c: the keyboard controller (Intel 8042 as in the IBM PS/2), with its keyboard and mouse.
 *
 * 1. One output buffer: a reply of the controller goes before the keyboard, the keyboard before the
 *    mouse.  It is refilled when it is read, and the interrupt falls in between, so each byte is an edge.
 * 2. The A20 gate can be set and read but does nothing: line 20 is always open. */
#include "hw/isa/ps2.h"

#include "core/machine.h"
#include "hw/isa/isa.h"
#include "ui/input.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { ST_OBF = 0x01, ST_SELF_TEST = 0x04, ST_CMD = 0x08, ST_UNLOCKED = 0x10, ST_AUX = 0x20 };
enum { MODE_KBD_INT = 0x01, MODE_AUX_INT = 0x02, MODE_SYS = 0x04, MODE_KBD_OFF = 0x10,
       MODE_AUX_OFF = 0x20, MODE_TRANSLATE = 0x40 };
enum { OUT_RUN = 0x01, OUT_A20 = 0x02, OUT_KBD = 0x10, OUT_AUX = 0x20 };

/* Set 2 to set 1; above 0x84 bytes pass as they are. */
static const uint8_t translate[0x85] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
    0x80, 0x81, 0x82, 0x41, 0x54,
};

typedef struct I8042 {
    IsaDevice isa;
    Region data_io, cmd_io;
    IrqLine kbd_irq, aux_irq;
    Ps2Kbd kbd;
    Ps2Mouse mouse;
    uint8_t kbd_irq_no, aux_irq_no;
    InputDevice *key_input, *pointer_input;
    int dx, dy, dz;                /* control's: what the events since the last sync moved */
    unsigned buttons;              /* control's: what is held */
    /* state */
    uint8_t mode, out_port, cmd;   /* cmd: waits for its data byte; 0: none */
    uint8_t out;                   /* the output buffer */
    bool full, out_aux;
    bool last_cmd, self_tested;
    bool breaking;                 /* translation swallowed F0 */
    uint8_t reply, reply_kind;     /* a controller reply that waits; kind 0: none */
} I8042;

enum { REPLY_NONE, REPLY_KBD, REPLY_AUX };

extern const DeviceType i8042_type;

static void drive(I8042 *s)
{
    irq_set(&s->kbd_irq, s->full && !s->out_aux && s->mode & MODE_KBD_INT);
    irq_set(&s->aux_irq, s->full && s->out_aux && s->mode & MODE_AUX_INT);
}

/* Next keyboard byte as the guest sees it; false: translation swallowed all there was. */
static bool take_kbd(I8042 *s, uint8_t *byte)
{
    while (ps2_kbd_has(&s->kbd)) {
        *byte = ps2_kbd_take(&s->kbd);
        if (!(s->mode & MODE_TRANSLATE)) {
            return true;
        }
        if (*byte == 0xf0) {
            s->breaking = true;
            continue;
        }
        if (*byte < sizeof(translate)) {
            *byte = translate[*byte] | (s->breaking ? 0x80 : 0);
        }
        s->breaking = false;
        return true;
    }
    return false;
}

/* Fills the output buffer if it is empty. */
static void refill(I8042 *s)
{
    if (s->full) {
        return;
    }
    if (s->reply_kind != REPLY_NONE) {
        s->out = s->reply;
        s->out_aux = s->reply_kind == REPLY_AUX;
        s->reply_kind = REPLY_NONE;
        s->full = true;
    } else if (!(s->mode & MODE_KBD_OFF) && take_kbd(s, &s->out)) {
        s->out_aux = false;
        s->full = true;
    } else if (!(s->mode & MODE_AUX_OFF) && ps2_mouse_has(&s->mouse)) {
        /* Marked full first: taking the last byte may make the mouse ready again. */
        s->full = true;
        s->out_aux = true;
        s->out = ps2_mouse_take(&s->mouse);
    }
    drive(s);
}

static void ready(void *controller)
{
    refill(controller);
}

static void controller_reply(I8042 *s, uint8_t byte, int kind)
{
    s->reply = byte;
    s->reply_kind = kind;
    refill(s);
}

static void write_out_port(I8042 *s, uint8_t val)
{
    s->out_port = (val & (OUT_A20 | 0xcc)) | OUT_RUN;
    if (!(val & OUT_RUN)) {
        TRACE(i8042_reset, "output port");
        machine_request(REQUEST_RESET, 0, "i8042");
    }
}

static uint8_t read_out_port(const I8042 *s)
{
    return s->out_port | (s->full ? (s->out_aux ? OUT_AUX : OUT_KBD) : 0);
}

static void command(I8042 *s, uint8_t val)
{
    switch (val) {
    case 0x20:
        controller_reply(s, s->mode, REPLY_KBD);
        break;
    case 0x60: case 0xd1: case 0xd2: case 0xd3: case 0xd4:
        s->cmd = val;
        break;
    case 0xa7:
        s->mode |= MODE_AUX_OFF;
        break;
    case 0xa8:
        s->mode &= ~MODE_AUX_OFF;
        refill(s);
        break;
    case 0xa9: case 0xab:
        controller_reply(s, 0x00, REPLY_KBD);
        break;
    case 0xaa:
        s->self_tested = true;
        controller_reply(s, 0x55, REPLY_KBD);
        break;
    case 0xad:
        s->mode |= MODE_KBD_OFF;
        break;
    case 0xae:
        s->mode &= ~MODE_KBD_OFF;
        refill(s);
        break;
    case 0xc0:
        controller_reply(s, 0x80, REPLY_KBD);      /* not locked */
        break;
    case 0xd0:
        controller_reply(s, read_out_port(s), REPLY_KBD);
        break;
    case 0xdd:
        s->out_port &= ~OUT_A20;
        break;
    case 0xdf:
        s->out_port |= OUT_A20;
        break;
    default:
        if (val >= 0xf0) {
            if (!(val & 1)) {  /* pulses output bit 0, which is the processors' reset */
                TRACE(i8042_reset, "pulse");
                machine_request(REQUEST_RESET, 0, "i8042");
            }
        } else {
            guest_bug("i8042", "command 0x%02x", val);
        }
        break;
    }
}

static void write_data(I8042 *s, uint8_t val)
{
    uint8_t cmd = s->cmd;

    s->cmd = 0;
    switch (cmd) {
    case 0x60:
        s->mode = val;
        s->self_tested = val & MODE_SYS;
        drive(s);
        refill(s);
        break;
    case 0xd1:
        write_out_port(s, val);
        break;
    case 0xd2:
        controller_reply(s, val, REPLY_KBD);
        break;
    case 0xd3:
        controller_reply(s, val, REPLY_AUX);
        break;
    case 0xd4:
        ps2_mouse_write(&s->mouse, val);
        break;
    default:
        s->mode &= ~MODE_KBD_OFF;      /* writing to the keyboard turns it on */
        ps2_kbd_write(&s->kbd, val);
        refill(s);
        break;
    }
}

static uint64_t data_read(void *dev, uint64_t off, unsigned size)
{
    I8042 *s = dev;
    uint8_t val = s->out;

    if (s->full) {
        s->full = false;
        drive(s);
        refill(s);
    }
    TRACE(i8042_read_data, "0x%02x", val);
    return val;
}

static void data_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    I8042 *s = dev;

    TRACE(i8042_write_data, "0x%02x", (unsigned)val);
    s->last_cmd = false;
    write_data(s, (uint8_t)val);
}

static uint64_t cmd_read(void *dev, uint64_t off, unsigned size)
{
    const I8042 *s = dev;

    return ST_UNLOCKED | (s->self_tested ? ST_SELF_TEST : 0) | (s->last_cmd ? ST_CMD : 0)
        | (s->full ? ST_OBF | (s->out_aux ? ST_AUX : 0) : 0);
}

static void cmd_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    I8042 *s = dev;

    TRACE(i8042_command, "0x%02x", (unsigned)val);
    s->last_cmd = true;
    s->cmd = 0;
    command(s, (uint8_t)val);
}

static const RegionOps data_ops = { data_read, data_write, 1, 1, 0 };
static const RegionOps cmd_ops = { cmd_read, cmd_write, 1, 1, 0 };

/* --- input --- */
void ps2_key(Device *d, uint8_t code, bool down)
{
    I8042 *s = device_as(d, &i8042_type);

    domain_enter(d->domain);
    ps2_kbd_key(&s->kbd, code, down);
    domain_leave(d->domain);
}

void ps2_mouse(Device *d, int dx, int dy, int dz, unsigned buttons)
{
    I8042 *s = device_as(d, &i8042_type);

    domain_enter(d->domain);
    ps2_mouse_move(&s->mouse, dx, dy, dz, buttons);
    domain_leave(d->domain);
}

unsigned ps2_leds(Device *d)
{
    I8042 *s = device_as(d, &i8042_type);

    domain_enter(d->domain);
    unsigned leds = s->kbd.leds;
    domain_leave(d->domain);
    return leds;
}

static void key_event(void *dev, const Input *e)
{
    uint8_t code = input_key_number(e->code);

    if (code != 0) {
        ps2_key(dev, code, e->value);
    }
}

static int added(int sum, int more)
{
    return (int)CLAMP((int64_t)sum + more, -INT16_MAX, INT16_MAX);
}

static void button(I8042 *s, unsigned which, bool down)
{
    static const uint8_t bit[INPUT_BUTTON_COUNT] = {
        [INPUT_BUTTON_LEFT] = PS2_BUTTON_LEFT, [INPUT_BUTTON_RIGHT] = PS2_BUTTON_RIGHT,
        [INPUT_BUTTON_MIDDLE] = PS2_BUTTON_MIDDLE, [INPUT_BUTTON_SIDE] = PS2_BUTTON_SIDE,
        [INPUT_BUTTON_EXTRA] = PS2_BUTTON_EXTRA,
    };

    if (which == INPUT_BUTTON_WHEEL_UP || which == INPUT_BUTTON_WHEEL_DOWN) {
        s->dz = added(s->dz, !down ? 0 : which == INPUT_BUTTON_WHEEL_DOWN ? 1 : -1);
    } else if (down) {
        s->buttons |= bit[which];
    } else {
        s->buttons &= ~bit[which];
    }
}

static void pointer_event(void *dev, const Input *e)
{
    I8042 *s = dev;

    if (e->kind == INPUT_EVENT_KIND_BTN) {
        button(s, e->code, e->value);
    } else if (e->code == INPUT_AXIS_X) {
        s->dx = added(s->dx, e->value);
    } else {
        s->dy = added(s->dy, e->value);
    }
}

static void pointer_sync(void *dev)
{
    I8042 *s = dev;

    ps2_mouse(&s->isa.dev, s->dx, s->dy, s->dz, s->buttons);
    s->dx = s->dy = s->dz = 0;
}

static const InputOps key_input = {
    .name = "QEMU PS/2 Keyboard", .kinds = 1 << INPUT_EVENT_KIND_KEY, .event = key_event,
};
static const InputOps pointer_input = {
    .name = "QEMU PS/2 Mouse", .kinds = 1 << INPUT_EVENT_KIND_REL | 1 << INPUT_EVENT_KIND_BTN,
    .event = pointer_event, .sync = pointer_sync,
};

/* --- life --- */
static bool i8042_realize(Device *d, Error **errp)
{
    I8042 *s = device_as(d, &i8042_type);

    s->kbd.ready = s->mouse.ready = ready;
    s->kbd.controller = s->mouse.controller = s;
    irq_line_init(&s->kbd_irq, d, "kbd-irq");
    irq_line_init(&s->aux_irq, d, "mouse-irq");
    isa_irq(d, &s->kbd_irq, s->kbd_irq_no);
    isa_irq(d, &s->aux_irq, s->aux_irq_no);
    region_io(&s->data_io, d, "i8042-data", &data_ops, 1);
    region_io(&s->cmd_io, d, "i8042-cmd", &cmd_ops, 1);
    isa_io(d, &s->data_io, 0x60);
    isa_io(d, &s->cmd_io, 0x64);
    s->key_input = input_attach(&key_input, s);
    s->pointer_input = input_attach(&pointer_input, s);
    return true;
}

static void i8042_unrealize(Device *d)
{
    I8042 *s = device_as(d, &i8042_type);

    input_detach(s->key_input);
    input_detach(s->pointer_input);
}

static void i8042_reset(Device *d, ResetKind kind)
{
    I8042 *s = device_as(d, &i8042_type);

    ps2_kbd_reset(&s->kbd);
    ps2_mouse_reset(&s->mouse);
    s->mode = MODE_KBD_INT | MODE_AUX_INT;
    s->out_port = OUT_RUN | OUT_A20 | 0xcc;
    s->cmd = s->out = s->reply = s->reply_kind = 0;
    s->full = s->out_aux = s->self_tested = s->breaking = false;
    s->last_cmd = true;
}

static void i8042_settle(Device *d)
{
    I8042 *s = device_as(d, &i8042_type);

    refill(s);
    drive(s);
    irq_refresh(&s->kbd_irq);
    irq_refresh(&s->aux_irq);
}

static bool i8042_check(void *obj, Error **errp)
{
    const I8042 *s = obj;

    return s->reply_kind <= REPLY_AUX || error_set(errp, "reply kind %u", s->reply_kind);
}

static const StateField i8042_fields[] = {
    STATE_STRUCT(I8042, kbd, &ps2_kbd_state), STATE_STRUCT(I8042, mouse, &ps2_mouse_state),
    STATE_U8(I8042, mode), STATE_U8(I8042, out_port), STATE_U8(I8042, cmd), STATE_U8(I8042, out),
    STATE_BOOL(I8042, full), STATE_BOOL(I8042, out_aux), STATE_BOOL(I8042, last_cmd),
    STATE_BOOL(I8042, self_tested), STATE_BOOL(I8042, breaking), STATE_U8(I8042, reply),
    STATE_U8(I8042, reply_kind),
    { 0 },
};
static const StateDesc i8042_state = {
    .name = "i8042", .version = 1, .fields = i8042_fields, .check = i8042_check,
};

static const PropDesc i8042_props[] = {
    PROP_U8(I8042, kbd_irq_no, "kbd-irq", 1, 0, 15, "ISA interrupt of the keyboard"),
    PROP_U8(I8042, aux_irq_no, "mouse-irq", 12, 0, 15, "ISA interrupt of the mouse"),
    { 0 },
};

const DeviceType i8042_type = {
    .name = "i8042", .summary = "keyboard controller with PS/2 keyboard and mouse", .slot = &isa_slot,
    .size = sizeof(I8042), .flags = DEV_INTERNAL, .props = i8042_props, .state = &i8042_state,
    .category = "Input", .realize = i8042_realize, .unrealize = i8042_unrealize,
    .reset = i8042_reset, .settle = i8042_settle,
};
