/* edu.c: the educational PCI device (its public specification, "EDU device").
 *
 *   +0x00 identification   +0x20 status: bit 0 computing, bit 7 interrupt when done
 *   +0x04 inverts          +0x24 interrupt status  +0x60 raise  +0x64 acknowledge
 *   +0x08 factorial        +0x80 DMA source  +0x88 destination  +0x90 count  +0x98 command
 *
 * 1. Its 4096-byte buffer lies at 0x40000 of the DMA's device side; what leaves it is refused.
 * 2. Factorials and transfers take a little time, as timers; a new one is ignored meanwhile. */
#include "core/clock.h"
#include "hw/pci/pci.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { REG_ID = 0x00, REG_LIVE = 0x04, REG_FACTORIAL = 0x08, REG_STATUS = 0x20, REG_IRQ = 0x24,
       REG_RAISE = 0x60, REG_ACK = 0x64, REG_SRC = 0x80, REG_DST = 0x88, REG_COUNT = 0x90,
       REG_COMMAND = 0x98 };
enum { STATUS_COMPUTING = 1, STATUS_IRQ = 0x80, IRQ_FACTORIAL = 1, IRQ_DMA = 0x100 };
enum { DMA_RUN = 1, DMA_TO_RAM = 2, DMA_IRQ = 4 };
#define BUFFER_AT 0x40000
#define BUFFER_SIZE 4096
#define FACTORIAL_NS (10 * NS_PER_US)
#define DMA_NS (100 * NS_PER_US)

typedef struct Edu {
    PciDevice p;
    Region mmio;
    DevTimer factorial_done, dma_done;
    uint64_t dma_mask;
    uint32_t live, factorial, irq;
    uint32_t status;
    uint64_t src, dst, count, command;
    uint8_t buffer[BUFFER_SIZE];
} Edu;

extern const DeviceType edu_type;

static void raise_irq(Edu *e, uint32_t bits)
{
    e->irq |= bits;
    if (!e->irq) {
        return;
    }
    if (pci_msi_enabled(&e->p)) {
        pci_msi_fire(&e->p, 0);
    } else {
        irq_set(pci_intx(&e->p), true);
    }
}

static void factorial_fire(Device *d, DevTimer *t)
{
    Edu *e = device_as(d, &edu_type);
    uint32_t v = 1;

    /* From 34 on the low 32 bits are zero. */
    for (uint32_t n = MIN(e->factorial, 34); n > 1; n--) {
        v *= n;
    }
    e->factorial = v;
    e->status &= ~STATUS_COMPUTING;
    if (e->status & STATUS_IRQ) {
        raise_irq(e, IRQ_FACTORIAL);
    }
}

static void dma_fire(Device *d, DevTimer *t)
{
    Edu *e = device_as(d, &edu_type);
    bool to_ram = e->command & DMA_TO_RAM;
    uint64_t inside = to_ram ? e->src : e->dst, outside = to_ram ? e->dst : e->src;

    if (inside < BUFFER_AT || !fits(inside - BUFFER_AT, e->count, BUFFER_SIZE)) {
        guest_bug("edu", "transfer of 0x%llx bytes at 0x%llx leaves the buffer",
                  (unsigned long long)e->count, (unsigned long long)inside);
    } else {
        uint8_t *at = e->buffer + (inside - BUFFER_AT);
        Iova addr = outside & e->dma_mask;
        bool ok = to_ram ? dma_write(d, addr, at, e->count) : dma_read(d, addr, at, e->count);

        TRACE(edu_dma, "addr=0x%llx count=%u to_ram=%d ok=%d", (unsigned long long)addr,
              (unsigned)e->count, to_ram, ok);
    }
    e->command &= ~(uint64_t)DMA_RUN;
    if (e->command & DMA_IRQ) {
        raise_irq(e, IRQ_DMA);
    }
}

static uint64_t edu_read(void *dev, uint64_t off, unsigned size)
{
    const Edu *e = dev;

    if (size == 8 && off < REG_SRC) {
        return UINT64_MAX;
    }
    switch (off) {
    case REG_ID:
        return 0x010000ed;
    case REG_LIVE:
        return e->live;
    case REG_FACTORIAL:
        return e->factorial;
    case REG_STATUS:
        return e->status;
    case REG_IRQ:
        return e->irq;
    case REG_SRC:
        return e->src;
    case REG_DST:
        return e->dst;
    case REG_COUNT:
        return e->count;
    case REG_COMMAND:
        return e->command;
    default:
        return UINT64_MAX;
    }
}

static void write_dma(Edu *e, uint64_t off, uint64_t val)
{
    uint64_t *regs[4] = { &e->src, &e->dst, &e->count, &e->command };

    if (e->command & DMA_RUN) {
        return;                /* busy */
    }
    *regs[(off - REG_SRC) / 8] = val;
    if (off == REG_COMMAND && val & DMA_RUN) {
        dev_timer_set(&e->dma_done, clock_now(CLOCK_VM) + DMA_NS);
    }
}

static void edu_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Edu *e = dev;

    TRACE(edu_write, "off=0x%x val=0x%llx", (unsigned)off, (unsigned long long)val);
    if (size == 8 && off < REG_SRC) {
        return;
    }
    switch (off) {
    case REG_LIVE:
        e->live = ~(uint32_t)val;
        break;
    case REG_FACTORIAL:
        if (!(e->status & STATUS_COMPUTING)) {
            e->factorial = (uint32_t)val;
            e->status |= STATUS_COMPUTING;
            dev_timer_set(&e->factorial_done, clock_now(CLOCK_VM) + FACTORIAL_NS);
        }
        break;
    case REG_STATUS:
        e->status = (e->status & ~STATUS_IRQ) | (val & STATUS_IRQ);
        break;
    case REG_RAISE:
        raise_irq(e, (uint32_t)val);
        break;
    case REG_ACK:
        e->irq &= ~(uint32_t)val;
        if (!e->irq) {
            irq_set(pci_intx(&e->p), false);
        }
        break;
    case REG_SRC: case REG_DST: case REG_COUNT: case REG_COMMAND:
        write_dma(e, off, val);
        break;
    }
}

static const RegionOps edu_ops = { edu_read, edu_write, 4, 8, 0 };

static bool edu_realize(Device *d, Error **errp)
{
    Edu *e = device_as(d, &edu_type);

    if (!pci_msi(&e->p, 1, true, false, errp)) {
        return false;
    }
    dev_timer_init(&e->factorial_done, d, CLOCK_VM, factorial_fire);
    dev_timer_init(&e->dma_done, d, CLOCK_VM, dma_fire);
    region_io(&e->mmio, d, "edu-mmio", &edu_ops, MiB);
    pci_bar(&e->p, 0, BAR_MEM32, &e->mmio);
    return true;
}

static void edu_unrealize(Device *d)
{
    Edu *e = device_as(d, &edu_type);

    dev_timer_free(&e->factorial_done);
    dev_timer_free(&e->dma_done);
    region_free(&e->mmio);
}

static void edu_reset(Device *d, ResetKind kind)
{
    Edu *e = device_as(d, &edu_type);

    dev_timer_stop(&e->factorial_done);
    dev_timer_stop(&e->dma_done);
    e->live = e->factorial = e->irq = e->status = 0;
    e->src = e->dst = e->count = e->command = 0;
    memset(e->buffer, 0, sizeof(e->buffer));
}

static void edu_settle(Device *d)
{
    Edu *e = device_as(d, &edu_type);

    irq_set(pci_intx(&e->p), e->irq && !pci_msi_enabled(&e->p));
}

static const StateField edu_fields[] = {
    STATE_U32(Edu, live), STATE_U32(Edu, factorial), STATE_U32(Edu, irq), STATE_U32(Edu, status),
    STATE_U64(Edu, src), STATE_U64(Edu, dst), STATE_U64(Edu, count), STATE_U64(Edu, command),
    STATE_BYTES(Edu, buffer), STATE_TIMER(Edu, factorial_done), STATE_TIMER(Edu, dma_done),
    { 0 },
};
static const StateDesc edu_state = { .name = "edu", .version = 1, .fields = edu_fields };

static const PropDesc edu_props[] = {
    PROP_U64(Edu, dma_mask, "dma_mask", 0x0fffffff, 0, UINT64_MAX, "address bits its DMA can drive"),
    { 0 },
};

static const PciOps edu_pci = {
    .vendor = 0x1234, .device = 0x11e8, .class_code = 0x00ff00, .revision = 0x10, .pin = 1,
};

const DeviceType edu_type = {
    .name = "edu", .summary = "educational device", .slot = &pci_slot, .size = sizeof(Edu),
    .flags = DEV_HOTPLUG, .props = edu_props, .state = &edu_state, .slot_ops = &edu_pci,
    .category = "Misc", .realize = edu_realize, .unrealize = edu_unrealize, .reset = edu_reset,
    .settle = edu_settle,
};
