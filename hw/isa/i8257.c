/* i8257.c: the two DMA controllers of a PC (Intel 8237A, page registers as in the AT and the EISA high
 * pages).
 *
 * 1. Channels 0-3 move bytes, 5-7 words; 4 is the cascade.
 * 2. Nothing moves by itself: a served device calls i8257_move(). */
#include "hw/isa/i8257.h"

#include "core/dma.h"
#include "core/machine.h"
#include "core/state.h"
#include "hw/isa/isa.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { REG_COMMAND = 8, REG_REQUEST, REG_MASK_ONE, REG_MODE, REG_CLEAR_FF, REG_MASTER_CLEAR,
       REG_CLEAR_MASK, REG_MASK_ALL };
enum { CMD_DISABLE = 0x04 };
enum { MODE_AUTO = 0x10, MODE_DOWN = 0x20 };

typedef struct Channel {
    uint16_t base_addr, base_count, addr, count;
    uint8_t mode;
} Channel;

typedef struct Controller {
    Channel ch[4];
    uint8_t command, request, mask, status;
    bool flip_flop;            /* the high byte is next */
} Controller;

typedef struct I8257 {
    IsaDevice isa;
    Region low, high, pages, high_pages;
    Controller c[2];
    uint8_t page[16], high_page[16];
} I8257;

/* Offset of each channel's page register from 0x80 (and from 0x480). */
static const uint8_t page_at[8] = { 7, 3, 1, 2, 15, 11, 9, 10 };

static void master_clear(Controller *c)
{
    c->command = c->request = c->status = 0;
    c->mask = 15;
    c->flip_flop = false;
}

static uint8_t read_reg(Controller *c, unsigned reg)
{
    uint8_t val;

    if (reg < 8) {
        const Channel *ch = &c->ch[reg / 2];
        uint16_t v = reg & 1 ? ch->count : ch->addr;

        val = c->flip_flop ? v >> 8 : (uint8_t)v;
        c->flip_flop = !c->flip_flop;
        return val;
    }
    switch (reg) {
    case REG_COMMAND:          /* reads as the status; terminal counts are cleared */
        val = c->status | c->request << 4;
        c->status &= 0xf0;
        return val;
    case REG_MASK_ALL:
        return c->mask | 0xf0;
    default:
        return 0;
    }
}

static void write_reg(Controller *c, unsigned reg, uint8_t val)
{
    uint8_t bit = 1 << (val & 3);

    if (reg < 8) {
        Channel *ch = &c->ch[reg / 2];
        uint16_t *base = reg & 1 ? &ch->base_count : &ch->base_addr;

        *base = c->flip_flop ? (*base & 0xff) | val << 8 : (*base & 0xff00) | val;
        *(reg & 1 ? &ch->count : &ch->addr) = *base;
        c->flip_flop = !c->flip_flop;
        return;
    }
    switch (reg) {
    case REG_COMMAND:
        c->command = val;
        break;
    case REG_REQUEST:
        c->request = val & 4 ? c->request | bit : c->request & ~bit;
        break;
    case REG_MASK_ONE:
        c->mask = val & 4 ? c->mask | bit : c->mask & ~bit;
        break;
    case REG_MODE:
        c->ch[val & 3].mode = val;
        break;
    case REG_CLEAR_FF:
        c->flip_flop = false;
        break;
    case REG_MASTER_CLEAR:
        master_clear(c);
        break;
    case REG_CLEAR_MASK:
        c->mask = 0;
        break;
    case REG_MASK_ALL:
        c->mask = val & 15;
        break;
    }
}

static uint64_t low_read(void *dev, uint64_t off, unsigned size)
{
    I8257 *s = dev;

    return read_reg(&s->c[0], (unsigned)off);
}

static void low_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    I8257 *s = dev;

    TRACE(i8257_write, "0 reg=%u val=0x%02x", (unsigned)off, (unsigned)val);
    write_reg(&s->c[0], (unsigned)off, (uint8_t)val);
}

static uint64_t high_read(void *dev, uint64_t off, unsigned size)
{
    I8257 *s = dev;

    return read_reg(&s->c[1], (unsigned)off / 2);
}

static void high_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    I8257 *s = dev;

    TRACE(i8257_write, "1 reg=%u val=0x%02x", (unsigned)off / 2, (unsigned)val);
    write_reg(&s->c[1], (unsigned)off / 2, (uint8_t)val);
}

static uint64_t page_read(void *arg, uint64_t off, unsigned size)
{
    const uint8_t *page = arg;

    return page[off];
}

static void page_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    uint8_t *page = arg;

    page[off] = (uint8_t)val;
}

static const RegionOps low_ops = { low_read, low_write, 1, 1, 0 };
static const RegionOps high_ops = { high_read, high_write, 1, 1, 0 };
static const RegionOps page_ops = { page_read, page_write, 1, 1, 0 };

/* --- transfers --- */
/* Moves one run that neither wraps nor passes the terminal count; false: no memory there. */
static bool move_run(I8257 *s, unsigned n, const Channel *ch, uint8_t *buf, unsigned bytes)
{
    bool words = n >= 4;
    Iova at = words ? (Iova)ch->addr << 1 : ch->addr;
    uint8_t page = s->page[page_at[n]];

    at |= (Iova)(words ? page & 0xfe : page) << 16 | (Iova)s->high_page[page_at[n]] << 24;
    switch (ch->mode >> 2 & 3) {
    case 1:
        return dma_write(&s->isa.dev, at, buf, bytes);
    case 2:
        return dma_read(&s->isa.dev, at, buf, bytes);
    default:                   /* verify: no memory cycle */
        return true;
    }
}

size_t i8257_move(Device *d, unsigned n, uint8_t *buf, size_t size, bool *done)
{
    I8257 *s = device_as(d, &i8257_type);
    Controller *c = &s->c[n / 4];
    Channel *ch = &c->ch[n % 4];
    unsigned width = n >= 4 ? 2 : 1;
    size_t moved = 0;

    *done = false;
    if (c->mask & 1 << n % 4 || c->command & CMD_DISABLE) {
        return 0;
    }
    while (moved + width <= size && !*done) {
        /* Downwards goes unit by unit; upwards up to the end of the 64 Ki unit page or the count. */
        uint32_t units = ch->mode & MODE_DOWN ? 1 : MIN(0x10000u - ch->addr, ch->count + 1u);

        units = (uint32_t)MIN(units, (size - moved) / width);
        if (!move_run(s, n, ch, buf + moved, units * width)) {
            guest_bug("i8257", "channel %u: no memory", n);
        }
        moved += units * width;
        ch->addr += ch->mode & MODE_DOWN ? -1 : (int)units;
        ch->count -= units;
        if (ch->count == 0xffff) {
            *done = true;
            c->status |= 1 << n % 4;
            c->request &= ~(1 << n % 4);
            if (ch->mode & MODE_AUTO) {
                ch->addr = ch->base_addr;
                ch->count = ch->base_count;
            } else {
                c->mask |= 1 << n % 4;
            }
        }
    }
    TRACE(i8257_move, "channel=%u bytes=%zu done=%d", n, moved, *done);
    return moved;
}

/* --- life --- */
static bool i8257_realize(Device *d, Error **errp)
{
    I8257 *s = device_as(d, &i8257_type);

    region_io(&s->low, d, "dma1", &low_ops, 16);
    region_io(&s->high, d, "dma2", &high_ops, 32);
    region_io_arg(&s->pages, d, "dma-page", &page_ops, s->page, 16);
    region_io_arg(&s->high_pages, d, "dma-high-page", &page_ops, s->high_page, 16);
    isa_io(d, &s->low, 0x00);
    isa_io(d, &s->high, 0xc0);
    isa_io(d, &s->pages, 0x80);
    isa_io(d, &s->high_pages, 0x480);
    return true;
}

static void i8257_reset(Device *d, ResetKind kind)
{
    I8257 *s = device_as(d, &i8257_type);

    memset(s->c, 0, sizeof(s->c));
    master_clear(&s->c[0]);
    master_clear(&s->c[1]);
    memset(s->page, 0, sizeof(s->page));
    memset(s->high_page, 0, sizeof(s->high_page));
}

static const StateField channel_fields[] = {
    STATE_U16(Channel, base_addr), STATE_U16(Channel, base_count), STATE_U16(Channel, addr),
    STATE_U16(Channel, count), STATE_U8(Channel, mode),
    { 0 },
};
static const StateDesc channel_state = {
    .name = "i8257-channel", .version = 1, .fields = channel_fields,
};
static const StateField controller_fields[] = {
    STATE_STRUCTS(Controller, ch, &channel_state), STATE_U8(Controller, command),
    STATE_U8(Controller, request), STATE_U8(Controller, mask), STATE_U8(Controller, status),
    STATE_BOOL(Controller, flip_flop),
    { 0 },
};
static const StateDesc controller_state = {
    .name = "i8257-controller", .version = 1, .fields = controller_fields,
};
static const StateField i8257_fields[] = {
    STATE_STRUCTS(I8257, c, &controller_state), STATE_BYTES(I8257, page), STATE_BYTES(I8257, high_page),
    { 0 },
};
static const StateDesc i8257_state = { .name = "i8257", .version = 1, .fields = i8257_fields };

const DeviceType i8257_type = {
    .name = "i8257", .summary = "ISA DMA controllers", .slot = &isa_slot, .size = sizeof(I8257),
    .flags = DEV_INTERNAL, .state = &i8257_state, .category = "Misc", .realize = i8257_realize,
    .reset = i8257_reset,
};
