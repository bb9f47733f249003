/* piix3-ide.c: the PIIX3's two IDE channels with bus mastering (Intel 290550, 2.3 and 2.7;
 * ATA8-APT; Programming Interface for Bus Master IDE Controller 1.0).
 *
 *   command register --start--> BSY --channel_drq--> DRQ --data port--> ide_cmd_moved --> BSY ...
 *                                \--channel_done--> DRDY, interrupt
 *
 * 1. A channel runs one command at a time, in `cmd`; what the guest reads and writes meanwhile are
 *    the task files of its two drives, which both take every write.
 * 2. A DMA command waits in IDE_WAIT until the bus master is started, or for ever when its PRD
 *    table is too short: only a reset ends that, as on hardware.
 * 3. Software reset and stopping the bus master make an orphan of a command in flight; the drive is
 *    busy until it is back. */
#include <errno.h>
#include <string.h>
#include "core/machine.h"
#include "hw/isa/isa.h"
#include "hw/pci/pci.h"
#include "hw/storage/ide.h"
#include "util/bytes.h"
#include "util/trace.h"

#define CHANNELS 2
#define IDETIM 0x40
#define STATUS_REG 0x06        /* PCI status */

/* Registers of the command block. */
enum { REG_DATA, REG_ERROR, REG_COUNT, REG_LBA0, REG_LBA1, REG_LBA2, REG_DEVICE, REG_STATUS };
enum { CTL_NIEN = 2, CTL_SRST = 4, CTL_HOB = 0x80 };
/* Bus master registers. */
enum { BM_CMD = 0, BM_STATUS = 2, BM_PRD = 4 };
enum { BM_START = 1, BM_TO_MEMORY = 8 };
enum { BM_ACTIVE = 1, BM_ERROR = 2, BM_IRQ = 4, BM_CAPABLE = 0x60 };

/* What a drive shows; [1] of a register is its previous value, for 48-bit commands. */
typedef struct TaskFile {
    uint8_t feature[2], count[2], lba0[2], lba1[2], lba2[2];
    uint8_t error, status, device;
} TaskFile;

typedef struct Channel {
    struct Piix3Ide *ide;
    IdeBus bus;
    Region block, control;
    IrqLine irq;
    TaskFile tf[IDE_UNITS];
    uint8_t selected;          /* the drive the device register names */
    uint8_t ctl;               /* device control */
    bool irq_pending;
    bool fresh;                /* was reset: settle gives the drives' signatures */
    bool reset_pending;        /* SRST fell while an orphan was in flight */
    uint8_t cmd_unit;          /* whose command cmd is */
    IdeCmd cmd;
    /* bus master */
    uint8_t bm_cmd, bm_status;
    uint32_t bm_prd, prd_addr, prd_left, prd_at; /* table; rest of the present entry; next entry */
    bool prd_end;              /* the present entry is the last */
    struct {
        uint32_t addr, left, at;
        bool end;
    } mark;                    /* the same before the request in flight; derived */
} Channel;

typedef struct Piix3Ide {
    PciDevice p;
    IdeHost host;
    Region bm;
    Channel ch[CHANNELS];
} Piix3Ide;

static Channel *channel_of(IdeCmd *c)
{
    return container_of(c, Channel, cmd);
}

static void update_irq(Channel *ch)
{
    irq_set(&ch->irq, ch->irq_pending && !(ch->ctl & CTL_NIEN));
}

static void interrupt(Channel *ch)
{
    ch->irq_pending = true;
    ch->bm_status |= BM_IRQ;
    update_irq(ch);
}

/* --- task files --- */

static void signature(Channel *ch, unsigned unit)
{
    const IdeDrive *d = ch->bus.drives[unit];
    TaskFile *t = &ch->tf[unit];
    uint32_t sig = d ? ide_ops(d)->signature : 0;

    *t = (TaskFile){ .device = t->device & IDE_DEV_1, .error = 1 };
    t->count[0] = sig & 0xff;
    t->lba0[0] = sig >> 8 & 0xff;
    t->lba1[0] = sig >> 16 & 0xff;
    t->lba2[0] = sig >> 24;
    t->status = d == NULL || ide_ops(d)->atapi ? 0 : IDE_DRDY | IDE_DSC;
}

static uint64_t lba_of(const TaskFile *t)
{
    return (uint64_t)t->lba2[1] << 40 | (uint64_t)t->lba1[1] << 32 | (uint64_t)t->lba0[1] << 24 |
           (uint32_t)t->lba2[0] << 16 | (uint32_t)t->lba1[0] << 8 | t->lba0[0];
}

static void put_lba(TaskFile *t, uint64_t lba)
{
    t->lba0[0] = lba & 0xff;
    t->lba1[0] = lba >> 8 & 0xff;
    t->lba2[0] = lba >> 16 & 0xff;
    t->lba0[1] = lba >> 24 & 0xff;
    t->lba1[1] = lba >> 32 & 0xff;
    t->lba2[1] = lba >> 40 & 0xff;
}

static void show_result(Channel *ch)
{
    const IdeCmd *c = &ch->cmd;
    TaskFile *t = &ch->tf[ch->cmd_unit];

    t->error = c->error;
    t->status = c->status;
    t->count[0] = c->count & 0xff;
    t->count[1] = c->count >> 8;
    t->device = (t->device & 0xf0) | (c->device & 0x0f);
    put_lba(t, c->lba);
}

/* --- the engine's calls --- */

static void channel_drq(IdeCmd *c, bool irq)
{
    Channel *ch = channel_of(c);
    TaskFile *t = &ch->tf[ch->cmd_unit];

    t->status = IDE_DRDY | IDE_DSC | IDE_DRQ;
    if (ide_ops(c->drive)->atapi && c->command == 0xa0) {
        /* Interrupt reason and byte count (ATA8-ACS, 7.18). */
        t->count[0] = c->step == IDE_PACKET ? IDE_CD : c->phase == IDE_IN ? IDE_IO : 0;
        if (c->step != IDE_PACKET) {
            t->lba1[0] = (c->end - c->at) & 0xff;
            t->lba2[0] = (c->end - c->at) >> 8 & 0xff;
        }
    }
    if (irq) {
        interrupt(ch);
    }
}

static void channel_done(IdeCmd *c)
{
    Channel *ch = channel_of(c);

    show_result(ch);
    if (ch->prd_end && ch->prd_left == 0) {
        ch->bm_status &= ~BM_ACTIVE;           /* table and transfer ended together */
    }
    if (!c->pio_in || (c->status & IDE_ERR)) {
        interrupt(ch);
    }
}

static void reset_drives(Channel *ch)
{
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        if (ch->bus.drives[i] != NULL) {
            ide_ops(ch->bus.drives[i])->srst(ch->bus.drives[i]);
        }
        signature(ch, i);
    }
}

static void channel_dropped(IdeCmd *c)
{
    Channel *ch = channel_of(c);
    TaskFile *t = &ch->tf[ch->cmd_unit];

    ch->bm_status &= ~BM_ACTIVE;
    if (ch->reset_pending) {
        ch->reset_pending = false;
        reset_drives(ch);
    } else if (!(ch->ctl & CTL_SRST)) {
        t->status = IDE_DRDY | IDE_DSC | IDE_ERR;
        t->error = IDE_E_ABRT;
    }
}

/* Reads the next entry of the PRD table. */
static bool next_prd(Channel *ch)
{
    uint8_t raw[8];

    if (ch->prd_end || !dma_read(&ch->ide->p.dev, ch->prd_at, raw, sizeof(raw))) {
        return false;
    }
    ch->prd_at += 8;
    ch->prd_addr = ld32(raw) & ~1u;
    ch->prd_left = ld16(raw + 4) & 0xfffe;
    ch->prd_left = ch->prd_left ? ch->prd_left : 65536;
    ch->prd_end = raw[7] & 0x80;
    return true;
}

static int stall(Channel *ch, bool error)
{
    guest_bug("piix3-ide", "channel %u: the PRD table %s", ch->bus.index,
              error ? "or its memory is not in RAM" : "is shorter than the transfer");
    ch->bm_cmd &= ~BM_START;
    ch->bm_status = (ch->bm_status & ~BM_ACTIVE) | (error ? BM_ERROR : 0);
    return -EAGAIN;
}

static int channel_map(IdeCmd *c, size_t n, DmaDir dir, struct iovec *iov, unsigned max,
                       size_t *got)
{
    Channel *ch = channel_of(c);
    Device *d = &ch->ide->p.dev;
    unsigned count = 0;
    bool error = false;

    ch->mark.addr = ch->prd_addr;
    ch->mark.left = ch->prd_left;
    ch->mark.at = ch->prd_at;
    ch->mark.end = ch->prd_end;
    *got = 0;
    if (!(ch->bm_status & BM_ACTIVE)) {
        return -EAGAIN;
    }
    while (*got < n && count < max && !error) {
        if (ch->prd_left == 0 && !next_prd(ch)) {
            error = !ch->prd_end;
            break;
        }
        uint32_t len = MIN(ch->prd_left, n - *got);
        int ret = dma_map(d, ch->prd_addr, len, dir, iov + count, max - count);
        if (ret < 0) {
            error = ret != -E2BIG || count == 0;
            break;
        }
        count += ret;
        *got += len;
        ch->prd_addr += len;
        ch->prd_left -= len;
    }
    if (error || count == 0) {
        dma_unmap(d, iov, count, 0);
        return stall(ch, error);
    }
    return count;
}

/* The bus master goes back to where the request began. */
static void channel_stopped(IdeCmd *c)
{
    Channel *ch = channel_of(c);

    if (c->direct && c->step != IDE_NO_DATA) {
        ch->prd_addr = ch->mark.addr;
        ch->prd_left = ch->mark.left;
        ch->prd_at = ch->mark.at;
        ch->prd_end = ch->mark.end;
    }
}

static void channel_plugged(IdeHost *h, IdeDrive *d)
{
    Piix3Ide *s = container_of(h, Piix3Ide, host);

    signature(&s->ch[d->bus->index], d->unit);
}

static const IdeHostOps host_ops = {
    .map = channel_map, .drq = channel_drq, .done = channel_done, .stopped = channel_stopped,
    .dropped = channel_dropped, .plugged = channel_plugged,
};

/* --- commands --- */

/* EXECUTE DEVICE DIAGNOSTIC goes to both drives. */
static void diagnose(Channel *ch)
{
    reset_drives(ch);
    ch->selected = 0;
    ch->tf[0].device &= ~IDE_DEV_1;
    ch->tf[1].device &= ~IDE_DEV_1;
    interrupt(ch);
}

static void reset_packet_device(Channel *ch, IdeDrive *d)
{
    if (ch->cmd_unit == ch->selected) {
        ide_cmd_cancel(&ch->cmd);
    }
    ide_ops(d)->srst(d);
    signature(ch, ch->selected);
}

static void start(Channel *ch, uint8_t command)
{
    IdeDrive *d = ch->bus.drives[ch->selected];
    TaskFile *t = &ch->tf[ch->selected];
    IdeCmd *c = &ch->cmd;

    ch->irq_pending = false;
    update_irq(ch);
    if (d == NULL || (t->status & IDE_BSY) || ch->ide->p.dev.quiet) {
        return;
    }
    if (c->phase == IDE_WORK) {
        guest_bug("piix3-ide", "channel %u: command 0x%02x while the other drive is busy",
                  ch->bus.index, command);
        return;
    }
    if (command == 0x90) {
        diagnose(ch);
        return;
    }
    if (command == 0x08) {                     /* DEVICE RESET, packet devices only */
        if (ide_ops(d)->atapi) {
            reset_packet_device(ch, d);
        }
        return;
    }
    ide_cmd_cancel(c);                         /* DRQ was pending: a new command ends the old one */
    ch->cmd_unit = ch->selected;
    c->drive = d;
    c->direct = c->queued = c->has_packet = false;
    c->command = command;
    c->device = t->device;
    c->feature = (uint16_t)(t->feature[0] | t->feature[1] << 8);
    c->count = (uint16_t)(t->count[0] | t->count[1] << 8);
    c->lba = lba_of(t);
    t->status = IDE_BSY;
    t->error = 0;
    ide_cmd_start(c);
}

static void write_control(Channel *ch, uint8_t val)
{
    uint8_t old = ch->ctl;

    ch->ctl = val & (CTL_NIEN | CTL_SRST | CTL_HOB);
    if ((val & CTL_SRST) && !(old & CTL_SRST)) {
        TRACE(piix_ide_srst, "channel=%u phase=%u", ch->bus.index, ch->cmd.phase);
        ide_cmd_cancel(&ch->cmd);
        for (unsigned i = 0; i < IDE_UNITS; i++) {
            ch->tf[i].status = ch->bus.drives[i] ? IDE_BSY : 0;
        }
        ch->irq_pending = false;
    } else if (!(val & CTL_SRST) && (old & CTL_SRST)) {
        if (ch->cmd.phase == IDE_IDLE) {
            reset_drives(ch);
        } else {
            ch->reset_pending = true;
        }
        ch->selected = 0;
    }
    update_irq(ch);
}

/* --- the data port --- */

static uint32_t read_data(Channel *ch, unsigned size)
{
    IdeCmd *c = &ch->cmd;
    uint64_t val = 0;

    if (c->phase != IDE_IN || ch->cmd_unit != ch->selected || ch->ide->p.dev.quiet) {
        return 0;
    }
    unsigned n = MIN(size, c->end - c->at);
    val = ld_n(ide_buf(c) + c->at, n);
    c->at += n;
    if (c->at == c->end) {
        ch->tf[ch->cmd_unit].status = IDE_BSY;
        ide_cmd_moved(c);
    }
    return (uint32_t)val;
}

static void write_data(Channel *ch, uint64_t val, unsigned size)
{
    IdeCmd *c = &ch->cmd;

    if (c->phase != IDE_OUT || ch->cmd_unit != ch->selected || ch->ide->p.dev.quiet) {
        return;
    }
    unsigned n = MIN(size, c->end - c->at);
    st_n(ide_buf(c) + c->at, n, val);
    c->at += n;
    if (c->at == c->end) {
        ch->tf[ch->cmd_unit].status = IDE_BSY;
        ide_cmd_moved(c);
    }
}

/* --- the command block --- */

static uint8_t read_register(Channel *ch, unsigned reg)
{
    const TaskFile *t = &ch->tf[ch->selected];
    unsigned hob = ch->ctl & CTL_HOB ? 1 : 0;

    if (ch->bus.drives[0] == NULL && ch->bus.drives[1] == NULL) {
        return 0xff;                           /* nothing drives the bus */
    }
    if (ch->bus.drives[ch->selected] == NULL) {
        return reg == REG_DEVICE ? t->device | 0xa0 : 0;
    }
    switch (reg) {
    case REG_ERROR:
        return t->error;
    case REG_COUNT:
        return t->count[hob];
    case REG_LBA0:
        return t->lba0[hob];
    case REG_LBA1:
        return t->lba1[hob];
    case REG_LBA2:
        return t->lba2[hob];
    case REG_DEVICE:
        return t->device | 0xa0;
    default:
        return t->status;
    }
}

static uint64_t block_read(void *arg, uint64_t off, unsigned size)
{
    Channel *ch = arg;
    uint64_t val;

    if (off == REG_DATA) {
        return read_data(ch, size);
    }
    if (size > 1) {                            /* registers are a byte wide */
        val = 0;
        for (unsigned i = 0; i < size; i++) {
            val |= (uint64_t)(off + i < 8 ? block_read(arg, off + i, 1) : 0xff) << (8 * i);
        }
        return val;
    }
    val = read_register(ch, (unsigned)off);
    if (off == REG_STATUS) {
        ch->irq_pending = false;
        update_irq(ch);
    }
    TRACE(piix_ide_read, "channel=%u reg=%u value=0x%02x", ch->bus.index, (unsigned)off,
          (unsigned)val);
    return val;
}

static void push(uint8_t *reg, uint8_t val)
{
    reg[1] = reg[0];
    reg[0] = val;
}

static void write_register(Channel *ch, unsigned reg, uint8_t val)
{
    ch->ctl &= ~CTL_HOB;
    if (reg == REG_STATUS) {
        start(ch, val);
        return;
    }
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        TaskFile *t = &ch->tf[i];
        if (t->status & (IDE_BSY | IDE_DRQ)) {
            continue;
        }
        switch (reg) {
        case REG_ERROR:
            push(t->feature, val);
            break;
        case REG_COUNT:
            push(t->count, val);
            break;
        case REG_LBA0:
            push(t->lba0, val);
            break;
        case REG_LBA1:
            push(t->lba1, val);
            break;
        case REG_LBA2:
            push(t->lba2, val);
            break;
        default:
            t->device = val;
            break;
        }
    }
    if (reg == REG_DEVICE) {
        ch->selected = (val & IDE_DEV_1) != 0;
    }
}

static void block_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    Channel *ch = arg;

    if (off == REG_DATA) {
        write_data(ch, val, size);
        return;
    }
    for (unsigned i = 0; i < size && off + i < 8; i++) {
        uint8_t byte = val >> (8 * i) & 0xff;
        TRACE(piix_ide_write, "channel=%u reg=%u value=0x%02x", ch->bus.index, (unsigned)off + i,
              byte);
        if (!(ch->ctl & CTL_SRST)) {
            write_register(ch, (unsigned)off + i, byte);
        }
    }
}

static const RegionOps block_ops = {
    .read = block_read, .write = block_write, .min = 1, .max = 4, .flags = REGION_UNALIGNED,
};

static uint64_t control_read(void *arg, uint64_t off, unsigned size)
{
    return read_register(arg, REG_STATUS);
}

static void control_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    write_control(arg, (uint8_t)val);
}

static const RegionOps control_ops = {
    .read = control_read, .write = control_write, .min = 1, .max = 1
};

/* --- bus master registers: eight bytes a channel --- */

static void write_bm_cmd(Channel *ch, uint8_t val)
{
    uint8_t old = ch->bm_cmd;

    ch->bm_cmd = val & (BM_START | BM_TO_MEMORY);
    if ((val & BM_START) && !(old & BM_START)) {
        TRACE(piix_ide_bm_start, "channel=%u prd=0x%08x", ch->bus.index, ch->bm_prd);
        ch->prd_at = ch->bm_prd;
        ch->prd_left = 0;
        ch->prd_end = false;
        ch->bm_status |= BM_ACTIVE;
        if (!ch->ide->p.dev.quiet) {
            ide_cmd_kick(&ch->cmd);
        }
    } else if (!(val & BM_START) && (old & BM_START)) {
        IdeCmd *c = &ch->cmd;
        if (c->phase == IDE_WORK && c->direct) {
            c->orphan = true;                  /* active until it is back */
        } else {
            ch->bm_status &= ~BM_ACTIVE;
        }
    }
}

static uint64_t bm_read(void *dev, uint64_t off, unsigned size)
{
    Channel *ch = &((Piix3Ide *)dev)->ch[off / 8 % CHANNELS];

    switch (off % 8) {
    case BM_CMD:
        return ch->bm_cmd;
    case BM_STATUS:
        return ch->bm_status;
    case BM_PRD: case BM_PRD + 1: case BM_PRD + 2: case BM_PRD + 3:
        return ch->bm_prd >> (8 * (off % 4)) & 0xff;
    default:
        return 0xff;
    }
}

static void bm_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Channel *ch = &((Piix3Ide *)dev)->ch[off / 8 % CHANNELS];
    unsigned shift = 8 * (off % 4);

    switch (off % 8) {
    case BM_CMD:
        write_bm_cmd(ch, (uint8_t)val);
        break;
    case BM_STATUS:
        ch->bm_status = (ch->bm_status & ~BM_CAPABLE & ~(val & (BM_ERROR | BM_IRQ))) |
                        (val & BM_CAPABLE);
        break;
    case BM_PRD: case BM_PRD + 1: case BM_PRD + 2: case BM_PRD + 3:
        ch->bm_prd = ((ch->bm_prd & ~(0xffu << shift)) | (uint32_t)val << shift) & ~3u;
        break;
    default:
        break;
    }
}

static const RegionOps bm_ops = { .read = bm_read, .write = bm_write, .min = 1, .max = 1 };

/* --- life --- */

static void init_channel(Piix3Ide *s, unsigned i)
{
    static const char *const names[] = { "ide0", "ide1" };
    Channel *ch = &s->ch[i];
    Device *d = &s->p.dev;

    ch->ide = s;
    ch->cmd.host = &s->host;
    ch->cmd.saved = g_byte_array_new();
    ide_bus_init(&ch->bus, &s->host, i, IDE_UNITS);
    region_io_arg(&ch->block, d, names[i], &block_ops, ch, 8);
    region_io_arg(&ch->control, d, names[i], &control_ops, ch, 1);
    irq_line_init(&ch->irq, d, names[i]);
    if (d->machine->isa != NULL) {
        irq_connect(&ch->irq, isa_bus_irqs(d->machine->isa), 14 + i);
    }
}

static bool piix_realize(Device *d, Error **errp)
{
    Piix3Ide *s = (Piix3Ide *)d;

    s->host = (IdeHost){ .dev = d, .ops = &host_ops };
    for (unsigned i = 0; i < CHANNELS; i++) {
        init_channel(s, i);
    }
    region_io(&s->bm, d, "piix3-ide-bm", &bm_ops, 16);
    pci_bar(&s->p, 4, BAR_IO, &s->bm);
    st16(s->p.config + STATUS_REG, 0x0280);    /* fast back-to-back, medium DEVSEL */
    /* IDE timing: decoding is on, as firmware leaves it; the ports answer in any case. */
    for (unsigned at = IDETIM; at < IDETIM + 4; at += 2) {
        st16(s->p.config + at, 0x8000);
        st16(s->p.wmask + at, 0xffff);
    }
    s->p.wmask[0x44] = 0xff;                   /* SIDETIM */
    return true;
}

static void place(Piix3Ide *s, bool on)
{
    static const uint16_t blocks[] = { 0x1f0, 0x170 }, controls[] = { 0x3f6, 0x376 };
    Region *io = &s->p.dev.machine->io_root;

    map_begin();
    for (unsigned i = 0; i < CHANNELS; i++) {
        map_drop(&s->ch[i].block);
        map_drop(&s->ch[i].control);
        if (on) {
            map_put(io, &s->ch[i].block, blocks[i], 0);
            map_put(io, &s->ch[i].control, controls[i], 0);
        }
    }
    map_commit();
}

static void piix_unrealize(Device *d)
{
    Piix3Ide *s = (Piix3Ide *)d;

    place(s, false);
    for (unsigned i = 0; i < CHANNELS; i++) {
        region_free(&s->ch[i].block);
        region_free(&s->ch[i].control);
        ide_cmd_free(&s->ch[i].cmd);
        g_clear_pointer(&s->ch[i].cmd.saved, g_byte_array_unref);
    }
    region_free(&s->bm);
}

static void piix_reset(Device *d, ResetKind kind)
{
    Piix3Ide *s = (Piix3Ide *)d;

    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *ch = &s->ch[i];
        ide_cmd_cancel(&ch->cmd);
        ch->selected = ch->ctl = ch->bm_cmd = ch->bm_status = ch->cmd_unit = 0;
        ch->bm_prd = ch->prd_addr = ch->prd_left = ch->prd_at = 0;
        ch->irq_pending = ch->reset_pending = ch->prd_end = false;
        memset(ch->tf, 0, sizeof(ch->tf));
        ch->fresh = true;
    }
}

static void piix_settle(Device *d)
{
    Piix3Ide *s = (Piix3Ide *)d;

    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *ch = &s->ch[i];
        if (ch->fresh) {
            ch->fresh = false;
            signature(ch, 0);
            signature(ch, 1);
        }
        update_irq(ch);
        irq_refresh(&ch->irq);
    }
    place(s, true);
}

static void piix_quiesce(Device *d, Barrier *home)
{
    ide_host_quiesce(&((Piix3Ide *)d)->host, home);
}

static void piix_resume(Device *d)
{
    Piix3Ide *s = (Piix3Ide *)d;

    for (unsigned i = 0; i < CHANNELS; i++) {
        ide_cmd_again(&s->ch[i].cmd);
        if (s->ch[i].bm_status & BM_ACTIVE) {
            ide_cmd_kick(&s->ch[i].cmd);
        }
    }
}

/* --- state --- */

static const StateField tf_fields[] = {
    STATE_BYTES(TaskFile, feature), STATE_BYTES(TaskFile, count), STATE_BYTES(TaskFile, lba0),
    STATE_BYTES(TaskFile, lba1), STATE_BYTES(TaskFile, lba2), STATE_U8(TaskFile, error),
    STATE_U8(TaskFile, status), STATE_U8(TaskFile, device),
    { 0 },
};

static const StateDesc tf_state = { .name = "ide-task-file", .version = 1, .fields = tf_fields };

static const StateField channel_fields[] = {
    STATE_STRUCTS(Channel, tf, &tf_state),
    STATE_U8(Channel, selected),
    STATE_U8(Channel, ctl),
    STATE_BOOL(Channel, irq_pending),
    STATE_BOOL(Channel, fresh),
    STATE_U8(Channel, cmd_unit),
    STATE_STRUCT(Channel, cmd, &ide_cmd_state),
    STATE_U8(Channel, bm_cmd),
    STATE_U8(Channel, bm_status),
    STATE_U32(Channel, bm_prd),
    STATE_U32(Channel, prd_addr),
    STATE_U32(Channel, prd_left),
    STATE_U32(Channel, prd_at),
    STATE_BOOL(Channel, prd_end),
    { 0 },
};

static const StateDesc channel_state = { .name = "ide-channel",
                                         .version = 1,
                                         .fields = channel_fields };

static bool piix_check(void *obj, Error **errp)
{
    Piix3Ide *s = obj;

    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *ch = &s->ch[i];
        if (ch->selected >= IDE_UNITS || ch->cmd_unit >= IDE_UNITS || ch->prd_left > 65536) {
            return error_set(errp, "channel %u: unit %u, command of unit %u", i, ch->selected,
                             ch->cmd_unit);
        }
        ch->cmd.drive = ch->bus.drives[ch->cmd_unit];
        if (ch->cmd.phase != IDE_IDLE && ch->cmd.drive == NULL) {
            return error_set(errp, "channel %u: a command for unit %u, which is not there", i,
                             ch->cmd_unit);
        }
    }
    return true;
}

static const StateField piix_fields[] = {
    STATE_STRUCTS(Piix3Ide, ch, &channel_state),
    { 0 },
};

static const StateDesc piix_state = {
    .name = "piix3-ide", .version = 1, .fields = piix_fields, .check = piix_check,
};

static const PciOps piix_pci_ops = {
    .vendor = 0x8086, .device = 0x7010, .class_code = 0x010180, .revision = 0x00,
};

const DeviceType piix3_ide_type = {
    .name = "piix3-ide",
    .summary = "PIIX3 IDE controller",
    .slot = &pci_slot,
    .size = sizeof(Piix3Ide),
    .flags = DEV_OWN_DOMAIN,
    .category = "Storage",
    .state = &piix_state,
    .slot_ops = &piix_pci_ops,
    .realize = piix_realize,
    .unrealize = piix_unrealize,
    .reset = piix_reset,
    .settle = piix_settle,
    .quiesce = piix_quiesce,
    .resume = piix_resume,
};
