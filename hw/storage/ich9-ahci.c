/* ich9-ahci.c: the ICH9's SATA controller in AHCI mode (Serial ATA AHCI 1.3; Intel 316972, chapter
 * 15).
 *
 *   port:   idle --PxCMD.ST--> running --PxCI--> commands --ahci_done--> running
 *             ^                   |  \--error--> halted (until ST is cleared)
 *             \----released---- stopping (CR stays set while orphans are in flight)
 *
 * 1. Commands are fetched on the CPU that writes PxCI, under the domain, and run by
 *    hw/storage/ide.c. `issued` are the slots with a command in flight: none is while the
 *    controller is quiesced, so PxCI, PxSACT and the registers are the whole state.
 * 2. Stopping a port, COMRESET and GHC.HR make orphans of what is in flight: registers read busy
 *    (PxCMD.CR, PxTFD.BSY, GHC.HR) until the last of them is back.
 * 3. A port without FRE drops the FISes it would write.
 * 4. A command whose request failed so that the machine stops is not in flight any more: its bit is
 *    back in PxCI, and the port fetches nothing until the machine goes on (held).
 * 5. What the guest gave as memory and is not RAM ends the command with PxIS.HBFS and halts the
 *    port. */
#include <errno.h>
#include <string.h>
#include "hw/pci/pci.h"
#include "hw/storage/ide.h"
#include "util/bytes.h"
#include "util/trace.h"

#define PORTS 6
#define SLOTS 32
#define ABAR_SIZE 4096
#define IDP_SIZE 32
#define IDP_INDEX 0x10         /* where the SATA capability says */
#define IDP_DATA 0x14
#define PORT_BASE 0x100
#define PORT_SIZE 0x80

/* HBA registers, AHCI 1.3 section 3.1. */
enum { HBA_CAP = 0x00, HBA_GHC = 0x04, HBA_IS = 0x08, HBA_PI = 0x0c, HBA_VS = 0x10 };
#define CAP_S64A (1u << 31)
#define CAP_SNCQ (1u << 30)
#define CAP_SAM (1u << 18)
#define CAP (CAP_S64A | CAP_SNCQ | 1u << 20 | CAP_SAM | (SLOTS - 1) << 8 | (PORTS - 1))
#define GHC_AE (1u << 31)
enum { GHC_HR = 1, GHC_IE = 2 };

/* Port registers, section 3.3. */
enum {
    PX_CLB = 0x00,
    PX_CLBU = 0x04,
    PX_FB = 0x08,
    PX_FBU = 0x0c,
    PX_IS = 0x10,
    PX_IE = 0x14,
    PX_CMD = 0x18,
    PX_TFD = 0x20,
    PX_SIG = 0x24,
    PX_SSTS = 0x28,
    PX_SCTL = 0x2c,
    PX_SERR = 0x30,
    PX_SACT = 0x34,
    PX_CI = 0x38
};
enum {
    IS_DHRS = 1 << 0,
    IS_PSS = 1 << 1,
    IS_SDBS = 1 << 3,
    IS_DPS = 1 << 5,
    IS_PCS = 1 << 6,
    IS_OFS = 1 << 24,
    IS_IFS = 1 << 27,
    IS_HBFS = 1 << 29,
    IS_TFES = 1 << 30
};
#define IE_MASK 0x7dc000ffu
#define CMD_MASK 0x0f000011u   /* what is kept as written: ASP, ALPE, DLAE, ATAPI, FRE, ST */
enum {
    CMD_ST = 1,
    CMD_SUD = 2,
    CMD_POD = 4,
    CMD_CLO = 8,
    CMD_FRE = 1 << 4,
    CMD_FR = 1 << 14,
    CMD_CR = 1 << 15
};
#define SERR_X (1u << 26)

/* Command header and FISes: sections 4.2.2 and 4.2.1, Serial ATA 3.0 section 10.3. */
enum { HDR_WRITE = 1 << 6, HDR_RESET = 1 << 8, HDR_CLEAR = 1 << 10 };
enum { FIS_H2D = 0x27, FIS_D2H = 0x34, FIS_SDB = 0xa1, FIS_PIO = 0x5f };
enum { RX_PIO = 0x20, RX_D2H = 0x40, RX_SDB = 0x58 };
#define FIS_IRQ 0x40

typedef struct AhciPort AhciPort;
typedef struct Ahci Ahci;

typedef struct AhciSlot {
    IdeCmd c;
    AhciPort *port;
    uint64_t header, prdt;     /* guest addresses of the command's header and of its PRD table */
    uint32_t prd_count, prd_at;        /* entries in all; the next one */
    uint64_t addr;             /* what is left of the present entry */
    uint32_t len;
    bool descriptor_done;      /* an entry with the interrupt bit was used up */
} AhciSlot;

struct AhciPort {
    Ahci *ahci;
    unsigned index;
    IdeBus bus;
    uint64_t clb, fb;
    uint32_t is, ie, cmd, tfd, sig, sctl, serr, sact, ci;
    bool halted;               /* an error: no fetching until ST is cleared */
    bool fresh;                /* was reset: settle gives it the drive's signature */
    bool srst;                 /* the first FIS of a software reset came */
    /* derived: all clear while quiesced */
    uint32_t issued;           /* slots with a command in flight, */
    bool active;               /* one of which is not queued */
    bool stopping;             /* orphans only */
    bool link_pending;         /* COMRESET is over when they are back */
    bool held;                 /* the machine is about to stop */
    bool running;              /* in run() */
    AhciSlot *slot[SLOTS];     /* made on first use */
};

struct Ahci {
    PciDevice p;
    IdeHost host;
    Region abar, idp;
    uint32_t ghc, is, idp_index;
    AhciPort port[PORTS];
};

static void port_run(AhciPort *p);
static void hba_reset_done(Ahci *s);

static IdeDrive *drive_of(const AhciPort *p)
{
    return p->bus.drives[0];
}

/* --- interrupts, section 10.6 --- */

static void update_irq(Ahci *s)
{
    for (unsigned i = 0; i < PORTS; i++) {
        if (s->port[i].is & s->port[i].ie) {
            s->is |= 1u << i;
        }
    }
    pci_irq_level(&s->p, (s->ghc & GHC_IE) && s->is != 0);
}

static void tell(AhciPort *p, uint32_t bits)
{
    p->is |= bits;
    update_irq(p->ahci);
}

/* --- FISes to the guest --- */

static void fatal(AhciPort *p, const char *what)
{
    guest_bug("ich9-ahci", "port %u: %s is not in RAM, or bus mastering is off", p->index, what);
    p->halted = true;
    tell(p, IS_HBFS);
}

static void put_fis(AhciPort *p, unsigned at, const uint8_t *fis, size_t n)
{
    if ((p->cmd & CMD_FRE) && !dma_write(&p->ahci->p.dev, p->fb + at, fis, n)) {
        fatal(p, "the received FIS area");
    }
}

static void d2h_fis(AhciPort *p, const IdeCmd *c)
{
    uint8_t fis[20] = { FIS_D2H, FIS_IRQ, c->status, c->error };

    for (unsigned i = 0; i < 3; i++) {
        fis[4 + i] = c->lba >> (8 * i) & 0xff;
        fis[8 + i] = c->lba >> (24 + 8 * i) & 0xff;
    }
    fis[7] = c->device;
    fis[12] = c->count & 0xff;
    fis[13] = c->count >> 8;
    p->tfd = (uint32_t)c->error << 8 | c->status;
    put_fis(p, RX_D2H, fis, sizeof(fis));
    tell(p, IS_DHRS | (c->status & IDE_ERR ? IS_TFES : 0));
}

/* The data of a PIO command came: its end status is the command's. */
static void pio_fis(AhciPort *p, const IdeCmd *c, bool irq)
{
    uint8_t fis[20] = { FIS_PIO, 0x20 | (irq ? FIS_IRQ : 0), IDE_DRDY | IDE_DSC | IDE_DRQ, 0 };

    for (unsigned i = 0; i < 3; i++) {
        fis[4 + i] = c->lba >> (8 * i) & 0xff;
        fis[8 + i] = c->lba >> (24 + 8 * i) & 0xff;
    }
    fis[7] = c->device;
    fis[12] = c->count & 0xff;
    fis[13] = c->count >> 8;
    fis[15] = c->status;
    st16(fis + 16, MIN(c->moved, 0xfffe));
    put_fis(p, RX_PIO, fis, sizeof(fis));
    if (irq) {
        p->tfd = (uint32_t)c->error << 8 | c->status;
        tell(p, IS_PSS);
    }
}

/* Set Device Bits: queued commands of @done are over. */
static void sdb_fis(AhciPort *p, uint32_t done, uint8_t status, uint8_t error)
{
    uint8_t fis[8] = { FIS_SDB, FIS_IRQ, status & 0x77, error };

    st32(fis + 4, done);
    p->tfd = (uint32_t)error << 8 | (p->tfd & 0x88) | (status & 0x77);
    p->sact &= ~done;
    put_fis(p, RX_SDB, fis, sizeof(fis));
    tell(p, IS_SDBS | (status & IDE_ERR ? IS_TFES : 0));
}

/* The device is there after a reset: signature in the registers, and in the D2H area
 * (SATA 3.0, 11.2). */
static void signature(AhciPort *p)
{
    const IdeDrive *d = drive_of(p);
    uint8_t fis[20] = { FIS_D2H, 0, IDE_DRDY | IDE_DSC, 0x01 };

    if (d == NULL) {
        p->tfd = 0x7f;
        p->sig = UINT32_MAX;
        return;
    }
    p->sig = ide_ops(d)->signature;
    /* A packet device is not ready until its first packet command. */
    fis[2] = ide_ops(d)->atapi ? 0x10 : IDE_DRDY | IDE_DSC;
    p->tfd = 0x0100 | fis[2];
    fis[4] = p->sig >> 8 & 0xff;
    fis[5] = p->sig >> 16 & 0xff;
    fis[6] = p->sig >> 24;
    fis[12] = p->sig & 0xff;
    put_fis(p, RX_D2H, fis, sizeof(fis));
}

static void link_up(AhciPort *p)
{
    TRACE(ahci_link, "port=%u device=%d", p->index, drive_of(p) != NULL);
    p->link_pending = false;
    p->halted = p->srst = false;
    if (drive_of(p) != NULL) {
        ide_ops(drive_of(p))->srst(drive_of(p));
        p->serr |= SERR_X;
        tell(p, IS_PCS);
    }
    signature(p);
}

/* --- ends of commands --- */

/* An orphan came back: what waited for the last one goes on. */
static void released(AhciPort *p)
{
    if (p->issued == 0 && p->stopping) {
        p->stopping = false;
        p->active = false;
        if (!(p->cmd & CMD_ST)) {
            p->cmd &= ~CMD_CR;
        }
        if (p->link_pending) {
            link_up(p);
        }
        port_run(p);
    }
}

static void ahci_done(IdeCmd *c)
{
    AhciSlot *slot = container_of(c, AhciSlot, c);
    AhciPort *p = slot->port;
    uint32_t bit = 1u << c->tag;

    p->issued &= ~bit;
    if (slot->descriptor_done) {
        p->is |= IS_DPS;
    }
    if (c->dma_error == -EFAULT) {
        p->active = false;
        fatal(p, "the data of a command");
        return;
    }
    if (c->dma_error == -ENOSPC) {
        p->is |= IS_OFS;
    }
    if (c->status & IDE_ERR) {
        p->halted = true;                      /* until software has cleared ST */
    }
    if (c->queued) {
        if (!p->halted || (c->status & IDE_ERR)) {
            sdb_fis(p, c->status & IDE_ERR ? 0 : bit, c->status, c->error);
        }
    } else {
        bool atapi = ide_ops(c->drive)->atapi && c->command == 0xa0, ok = !(c->status & IDE_ERR);
        p->active = false;
        if (!dma_write32(&p->ahci->p.dev, slot->header + 4, (uint32_t)c->moved)) {
            fatal(p, "the command list");
        }
        if (ok) {
            p->ci &= ~bit;
        }
        if (ok && c->pio_in) {
            pio_fis(p, c, true);
        } else {
            if (ok && atapi && !(c->feature & 1) && c->moved > 0) {
                pio_fis(p, c, false);
            }
            d2h_fis(p, c);
        }
    }
    port_run(p);
}

/* As if it had not been fetched: the whole command is run again. */
static void ahci_stopped(IdeCmd *c)
{
    AhciPort *p = container_of(c, AhciSlot, c)->port;

    ide_cmd_cancel(c);
    p->issued &= ~(1u << c->tag);
    p->ci |= 1u << c->tag;
    p->active = p->active && c->queued;
    p->held = true;
}

static void ahci_dropped(IdeCmd *c)
{
    AhciPort *p = container_of(c, AhciSlot, c)->port;
    bool all = true;

    p->issued &= ~(1u << c->tag);
    released(p);
    for (unsigned i = 0; i < PORTS; i++) {
        all = all && p->ahci->port[i].issued == 0;
    }
    if (all && (p->ahci->ghc & GHC_HR)) {
        hba_reset_done(p->ahci);
    }
}

/* Gives up all that is in flight; true: nothing was. */
static bool orphan_all(AhciPort *p)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if ((p->issued >> i & 1) && ide_cmd_cancel(&p->slot[i]->c)) {
            p->issued &= ~(1u << i);
        }
    }
    p->stopping = p->issued != 0;
    p->active = false;
    return !p->stopping;
}

/* --- the guest's memory: PRD tables, section 4.2.3 --- */

static int next_prd(AhciSlot *slot)
{
    Device *d = &slot->port->ahci->p.dev;
    uint8_t raw[16];

    if (slot->prd_at == slot->prd_count) {
        return -ENOSPC;
    }
    if (!dma_read(d, slot->prdt + 16 * (uint64_t)slot->prd_at, raw, sizeof(raw))) {
        return -EFAULT;
    }
    slot->prd_at++;
    slot->addr = ld64(raw) & ~UINT64_C(1);
    slot->len = (ld32(raw + 12) & 0x3fffff) + 1;
    slot->descriptor_done |= ld32(raw + 12) >> 31;
    return 0;
}

static int ahci_map(IdeCmd *c, size_t n, DmaDir dir, struct iovec *iov, unsigned max, size_t *got)
{
    AhciSlot *slot = container_of(c, AhciSlot, c);
    Device *d = c->host->dev;
    unsigned count = 0;
    int ret = 0;

    *got = 0;
    while (*got < n && count < max) {
        if (slot->len == 0) {
            ret = next_prd(slot);
            if (ret < 0) {
                break;
            }
        }
        size_t len = MIN(slot->len, n - *got);
        ret = dma_map(d, slot->addr, len, dir, iov + count, max - count);
        if (ret < 0) {
            break;
        }
        count += ret;
        *got += len;
        slot->addr += len;
        slot->len -= len;
    }
    if (count > 0 && (ret == -ENOSPC || ret == -E2BIG)) {
        return count;                          /* this much for now */
    }
    if (ret < 0) {
        dma_unmap(d, iov, count, 0);
        return ret == -ENOSPC ? -ENOSPC : -EFAULT;
    }
    return count;
}

/* --- commands --- */

static AhciSlot *slot_get(AhciPort *p, unsigned i)
{
    AhciSlot *slot = p->slot[i];

    if (slot == NULL) {
        slot = p->slot[i] = g_new0(AhciSlot, 1);
        slot->port = p;
        slot->c.host = &p->ahci->host;
        slot->c.tag = i;
    }
    return slot;
}

/* A FIS with C clear writes the control register: software reset (SATA 3.0, 11.4). */
static void control_fis(AhciPort *p, unsigned i, const uint8_t *fis)
{
    bool srst = fis[15] & 4;

    p->ci &= ~(1u << i);
    if (p->srst && !srst) {
        if (drive_of(p) != NULL) {
            ide_ops(drive_of(p))->srst(drive_of(p));
        }
        signature(p);
        tell(p, IS_DHRS);
    }
    p->srst = srst;
}

static void fill(IdeCmd *c, const uint8_t *fis, const uint8_t *acmd)
{
    c->command = fis[2];
    c->feature = (uint16_t)(fis[3] | fis[11] << 8);
    c->count = (uint16_t)(fis[12] | fis[13] << 8);
    c->device = fis[7];
    c->lba = (uint64_t)(ld32(fis + 8) & 0xffffff) << 24 | (ld32(fis + 4) & 0xffffff);
    memcpy(c->cdb, acmd, sizeof(c->cdb));
    c->has_packet = c->direct = true;
}

/* The command cannot be begun: as if the device had aborted it. */
static void refuse(AhciPort *p, unsigned i)
{
    IdeCmd bad = { .status = IDE_DRDY | IDE_DSC | IDE_ERR, .error = IDE_E_ABRT };

    p->halted = true;
    d2h_fis(p, &bad);
    guest_bug("ich9-ahci", "port %u: slot %u holds no valid command", p->index, i);
}

static void start_slot(AhciPort *p, unsigned i)
{
    Device *dev = &p->ahci->p.dev;
    AhciSlot *slot = slot_get(p, i);
    IdeCmd *c = &slot->c;
    uint8_t header[16], table[0x50];
    uint32_t dw0;

    slot->header = p->clb + 32 * i;
    if (!dma_read(dev, slot->header, header, sizeof(header))) {
        fatal(p, "the command list");
        return;
    }
    dw0 = ld32(header);
    uint64_t at = ld64(header + 8) & ~UINT64_C(127);
    if (!dma_read(dev, at, table, sizeof(table))) {
        fatal(p, "a command table");
        return;
    }
    slot->prdt = at + 0x80;
    slot->prd_count = dw0 >> 16;
    slot->prd_at = slot->len = 0;
    slot->descriptor_done = false;
    p->cmd = (p->cmd & ~0x1f00u) | i << 8;
    if (table[0] != FIS_H2D || (dw0 & 0x1f) < 2) {
        refuse(p, i);
        return;
    }
    if (!(table[1] & 0x80)) {
        control_fis(p, i, table);
        return;
    }
    fill(c, table, table + 0x40);
    c->drive = drive_of(p);
    c->queued = c->command == 0x60 || c->command == 0x61;
    p->issued |= 1u << i;
    if (c->queued) {
        if (c->count >> 3 != i || !(p->sact >> i & 1)) {
            p->issued &= ~(1u << i);
            refuse(p, i);
            return;
        }
        p->ci &= ~(1u << i);                   /* the device has taken it */
    } else {
        p->active = true;
        p->tfd |= IDE_BSY;
    }
    ide_cmd_start(c);
}

static bool is_queued(AhciPort *p, unsigned i)
{
    return p->sact >> i & 1;
}

/* The next slot to begin, or SLOTS. */
static unsigned next_slot(AhciPort *p)
{
    uint32_t waiting = p->ci & ~p->issued;

    for (unsigned i = 0; i < SLOTS; i++) {
        if (waiting >> i & 1) {
            /* Queued and other commands do not mix: one kind waits for the other. */
            return is_queued(p, i) || p->issued == 0 ? i : SLOTS;
        }
    }
    return SLOTS;
}

static bool can_run(const AhciPort *p)
{
    const Ahci *s = p->ahci;

    return (p->cmd & CMD_ST) && !p->halted && !p->held && !p->stopping && !p->active &&
           p->ci != 0 && !s->p.dev.quiet && !(s->ghc & GHC_HR) && (p->sctl & 0xf) == 0 && drive_of(p) != NULL;
}

static void port_run(AhciPort *p)
{
    if (p->running) {
        return;
    }
    p->running = true;
    while (can_run(p)) {
        unsigned i = next_slot(p);
        if (i == SLOTS) {
            break;
        }
        start_slot(p, i);
    }
    p->running = false;
}

/* --- registers --- */

static void port_clear(AhciPort *p)
{
    p->is = p->ie = p->serr = p->sact = p->ci = p->sctl = 0;
    p->cmd = CMD_SUD | CMD_POD;
    p->tfd = 0x7f;
    p->sig = UINT32_MAX;
    p->halted = p->srst = p->stopping = p->active = p->link_pending = p->held = false;
    p->issued = 0;
}

/* Everything is back: section 10.4.3. */
static void hba_reset_done(Ahci *s)
{
    TRACE(ahci_hba_reset, "%s", s->p.dev.id);
    s->ghc = GHC_AE;
    s->is = 0;
    for (unsigned i = 0; i < PORTS; i++) {
        port_clear(&s->port[i]);
        if (drive_of(&s->port[i]) != NULL) {
            ide_ops(drive_of(&s->port[i]))->srst(drive_of(&s->port[i]));
        }
        signature(&s->port[i]);
    }
    update_irq(s);
}

static void hba_reset(Ahci *s)
{
    bool none = true;

    s->ghc |= GHC_HR;
    for (unsigned i = 0; i < PORTS; i++) {
        none = orphan_all(&s->port[i]) && none;
    }
    if (none) {
        hba_reset_done(s);
    }
}

static uint32_t ssts(const AhciPort *p)
{
    switch (p->sctl & 0xf) {
    case 1:
        return 0;
    case 4:
        return 4;
    default:
        return p->link_pending || drive_of(p) == NULL ? 0 : 0x113; /* present, 1.5 Gb/s, active */
    }
}

static void write_cmd(AhciPort *p, uint32_t val)
{
    uint32_t old = p->cmd;

    p->cmd = (old & ~CMD_MASK) | (val & CMD_MASK);
    if ((p->cmd & CMD_FRE) != (old & CMD_FRE)) {
        p->cmd = (p->cmd & ~CMD_FR) | (p->cmd & CMD_FRE ? CMD_FR : 0);
    }
    if ((val & CMD_ST) && !(old & CMD_ST)) {
        TRACE(ahci_start, "port=%u clb=0x%" PRIx64 " fb=0x%" PRIx64, p->index, p->clb, p->fb);
        p->cmd |= CMD_CR;
        port_run(p);
    } else if (!(val & CMD_ST) && (old & CMD_ST)) {
        TRACE(ahci_stop, "port=%u issued=0x%08x", p->index, p->issued);
        p->ci = p->sact = 0;
        p->halted = p->held = false;
        if (orphan_all(p)) {
            p->cmd &= ~CMD_CR;
        }
        p->tfd &= ~(uint32_t)(IDE_BSY | IDE_DRQ);
    }
}

static void write_sctl(AhciPort *p, uint32_t val)
{
    unsigned old = p->sctl & 0xf, now = val & 0xf;

    p->sctl = val & 0xfff;
    if (now == 1 && old != 1) {
        TRACE(ahci_comreset, "port=%u issued=0x%08x", p->index, p->issued);
        p->ci = p->sact = 0;
        p->held = false;
        orphan_all(p);
        p->tfd = 0x7f;
    } else if (now == 0 && old != 0) {
        if (p->stopping) {
            p->link_pending = true;
            p->tfd = 0x80;
        } else {
            link_up(p);
        }
    }
}

static uint32_t port_read(AhciPort *p, unsigned reg)
{
    switch (reg) {
    case PX_CLB:
        return (uint32_t)p->clb;
    case PX_CLBU:
        return p->clb >> 32;
    case PX_FB:
        return (uint32_t)p->fb;
    case PX_FBU:
        return p->fb >> 32;
    case PX_IS:
        return p->is;
    case PX_IE:
        return p->ie;
    case PX_CMD:
        return p->cmd;
    case PX_TFD:
        return p->tfd;
    case PX_SIG:
        return p->sig;
    case PX_SSTS:
        return ssts(p);
    case PX_SCTL:
        return p->sctl;
    case PX_SERR:
        return p->serr;
    case PX_SACT:
        return p->sact;
    case PX_CI:
        return p->ci;
    default:
        return 0;
    }
}

static void port_write(AhciPort *p, unsigned reg, uint32_t val)
{
    switch (reg) {
    case PX_CLB:
        p->clb = (p->clb & ~UINT64_C(0xffffffff)) | (val & ~0x3ffu);
        break;
    case PX_CLBU:
        p->clb = (uint32_t)p->clb | (uint64_t)val << 32;
        break;
    case PX_FB:
        p->fb = (p->fb & ~UINT64_C(0xffffffff)) | (val & ~0xffu);
        break;
    case PX_FBU:
        p->fb = (uint32_t)p->fb | (uint64_t)val << 32;
        break;
    case PX_IS:
        p->is &= ~val;
        update_irq(p->ahci);
        break;
    case PX_IE:
        p->ie = val & IE_MASK;
        update_irq(p->ahci);
        break;
    case PX_CMD:
        write_cmd(p, val);
        break;
    case PX_SCTL:
        write_sctl(p, val);
        break;
    case PX_SERR:
        p->serr &= ~val;
        if (val & SERR_X) {
            p->is &= ~(uint32_t)IS_PCS;
        }
        break;
    case PX_SACT:
        if (p->cmd & CMD_ST) {
            p->sact |= val;
        }
        break;
    case PX_CI:
        if (p->cmd & CMD_ST) {
            p->ci |= val;
            port_run(p);
        }
        break;
    default:
        break;
    }
}

static uint32_t hba_read(Ahci *s, unsigned reg)
{
    switch (reg) {
    case HBA_CAP:
        return CAP;
    case HBA_GHC:
        return s->ghc;
    case HBA_IS:
        return s->is;
    case HBA_PI:
        return (1u << PORTS) - 1;
    case HBA_VS:
        return 0x00010000;
    default:
        return 0;
    }
}

static void hba_write(Ahci *s, unsigned reg, uint32_t val)
{
    switch (reg) {
    case HBA_GHC:
        s->ghc = (s->ghc & ~(uint32_t)GHC_IE) | (val & GHC_IE);
        if (val & GHC_HR) {
            hba_reset(s);
        }
        update_irq(s);
        break;
    case HBA_IS:
        /* With one message for all ports, what stays or comes again after this write is a new
         * message (10.6.2.1): the level falls in between. */
        s->is &= ~val;
        pci_irq_level(&s->p, false);
        update_irq(s);
        break;
    default:
        break;
    }
}

static uint64_t abar_read(void *dev, uint64_t off, unsigned size)
{
    Ahci *s = dev;
    unsigned port = (unsigned)(off - PORT_BASE) / PORT_SIZE;
    uint32_t val = 0;

    if (off < PORT_BASE) {
        val = hba_read(s, (unsigned)off);
    } else if (port < PORTS) {
        val = port_read(&s->port[port], off % PORT_SIZE);
    }
    TRACE(ahci_read, "off=0x%x value=0x%08x", (unsigned)off, val);
    return val;
}

static void abar_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Ahci *s = dev;
    unsigned port = (unsigned)(off - PORT_BASE) / PORT_SIZE;

    TRACE(ahci_write, "off=0x%x value=0x%08x", (unsigned)off, (uint32_t)val);
    if (s->ghc & GHC_HR) {
        return;                                /* in reset */
    }
    if (off < PORT_BASE) {
        hba_write(s, (unsigned)off, (uint32_t)val);
    } else if (port < PORTS) {
        port_write(&s->port[port], off % PORT_SIZE, (uint32_t)val);
    }
}

static const RegionOps abar_ops = { .read = abar_read, .write = abar_write, .min = 4, .max = 4 };

/* The index and data pair: Intel 316972, 15.2. */
static uint64_t idp_read(void *dev, uint64_t off, unsigned size)
{
    Ahci *s = dev;

    if (off == IDP_INDEX) {
        return s->idp_index;
    }
    return off == IDP_DATA && s->idp_index < ABAR_SIZE ? abar_read(dev, s->idp_index, 4) : 0;
}

static void idp_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Ahci *s = dev;

    if (off == IDP_INDEX) {
        s->idp_index = (uint32_t)val & (ABAR_SIZE - 4);
    } else if (off == IDP_DATA) {
        abar_write(dev, s->idp_index, val, 4);
    }
}

static const RegionOps idp_ops = { .read = idp_read, .write = idp_write, .min = 4, .max = 4 };

/* --- life --- */

static void ahci_plugged(IdeHost *h, IdeDrive *d)
{
    Ahci *s = container_of(h, Ahci, host);

    link_up(&s->port[d->bus->index]);
}

static const IdeHostOps ahci_host_ops = {
    .map = ahci_map, .done = ahci_done, .stopped = ahci_stopped,
    .dropped = ahci_dropped, .plugged = ahci_plugged,
};

static bool ahci_realize(Device *d, Error **errp)
{
    /* The SATA capability: revision 1.0, index and data in BAR 4, in dwords from its start. */
    static const uint8_t sata_cap[] = { 0x10, 0x00, 0x08 | (IDP_INDEX / 4) << 4, 0x00, 0x00, 0x00 };
    Ahci *s = (Ahci *)d;
    PciDevice *p = &s->p;

    region_io(&s->abar, d, "ahci", &abar_ops, ABAR_SIZE);
    region_io(&s->idp, d, "ahci-idp", &idp_ops, IDP_SIZE);
    pci_bar(p, 5, BAR_MEM32, &s->abar);
    pci_bar(p, 4, BAR_IO, &s->idp);
    p->config[0x90] = 1 << 6;                  /* MAP: AHCI mode */
    p->cap_next = 0xa8;
    pci_capability(p, 0x12, sata_cap, 2 + sizeof(sata_cap), NULL);
    p->cap_next = 0x80;
    if (!pci_msi(p, 1, true, false, errp)) {
        region_free(&s->abar);
        region_free(&s->idp);
        return false;
    }
    s->host = (IdeHost){ .dev = d, .ops = &ahci_host_ops, .sata = true };
    for (unsigned i = 0; i < PORTS; i++) {
        s->port[i].ahci = s;
        s->port[i].index = i;
        ide_bus_init(&s->port[i].bus, &s->host, i, 1);
    }
    return true;
}

static void ahci_unrealize(Device *d)
{
    Ahci *s = (Ahci *)d;

    for (unsigned i = 0; i < PORTS; i++) {
        for (unsigned j = 0; j < SLOTS; j++) {
            if (s->port[i].slot[j] != NULL) {
                ide_cmd_free(&s->port[i].slot[j]->c);
                g_clear_pointer(&s->port[i].slot[j], g_free);
            }
        }
    }
    region_free(&s->abar);
    region_free(&s->idp);
}

static void ahci_reset(Device *d, ResetKind kind)
{
    Ahci *s = (Ahci *)d;

    s->ghc = GHC_AE;
    s->is = s->idp_index = 0;
    for (unsigned i = 0; i < PORTS; i++) {
        port_clear(&s->port[i]);
        s->port[i].clb = s->port[i].fb = 0;
        s->port[i].fresh = true;
    }
}

static void ahci_settle(Device *d)
{
    Ahci *s = (Ahci *)d;

    for (unsigned i = 0; i < PORTS; i++) {
        if (s->port[i].fresh) {
            s->port[i].fresh = false;
            signature(&s->port[i]);
        }
    }
    update_irq(s);
}

static void ahci_quiesce(Device *d, Barrier *home)
{
    ide_host_quiesce(&((Ahci *)d)->host, home);
}

static void ahci_resume(Device *d)
{
    Ahci *s = (Ahci *)d;

    for (unsigned i = 0; i < PORTS; i++) {
        s->port[i].held = false;
        port_run(&s->port[i]);
    }
}

static const StateField port_fields[] = {
    STATE_U64(AhciPort, clb),    STATE_U64(AhciPort, fb),    STATE_U32(AhciPort, is),
    STATE_U32(AhciPort, ie),     STATE_U32(AhciPort, cmd),   STATE_U32(AhciPort, tfd),
    STATE_U32(AhciPort, sig),    STATE_U32(AhciPort, sctl),  STATE_U32(AhciPort, serr),
    STATE_U32(AhciPort, sact),   STATE_U32(AhciPort, ci),    STATE_BOOL(AhciPort, halted),
    STATE_BOOL(AhciPort, fresh), STATE_BOOL(AhciPort, srst), { 0 },
};

static const StateDesc port_state = { .name = "ahci-port", .version = 1, .fields = port_fields };

static bool ahci_check(void *obj, Error **errp)
{
    Ahci *s = obj;

    s->ghc = GHC_AE | (s->ghc & GHC_IE);
    s->idp_index &= ABAR_SIZE - 4;
    for (unsigned i = 0; i < PORTS; i++) {
        s->port[i].clb &= ~UINT64_C(0x3ff);
        s->port[i].fb &= ~UINT64_C(0xff);
    }
    return true;
}

static const StateField ahci_fields[] = {
    STATE_U32(Ahci, ghc),
    STATE_U32(Ahci, is),
    STATE_U32(Ahci, idp_index),
    STATE_STRUCTS(Ahci, port, &port_state),
    { 0 },
};

static const StateDesc ahci_state = {
    .name = "ich9-ahci", .version = 1, .fields = ahci_fields, .check = ahci_check,
};

static const PciOps ahci_pci_ops = {
    .vendor = 0x8086, .device = 0x2922, .class_code = 0x010601, .revision = 0x02, .pin = 1,
};

const DeviceType ich9_ahci_type = {
    .name = "ich9-ahci",
    .alias = "ahci",
    .summary = "ICH9 SATA controller (AHCI)",
    .slot = &pci_slot,
    .size = sizeof(Ahci),
    .flags = DEV_OWN_DOMAIN,
    .category = "Storage",
    .state = &ahci_state,
    .slot_ops = &ahci_pci_ops,
    .realize = ahci_realize,
    .unrealize = ahci_unrealize,
    .reset = ahci_reset,
    .settle = ahci_settle,
    .quiesce = ahci_quiesce,
    .resume = ahci_resume,
};
