/* isa-fdc.c: the floppy disk controller of a PC (Intel 82077AA data sheet, 1991, AT mode), on the ISA bus.
 *
 *   PHASE_COMMAND --last byte--> run --> PHASE_RESULT, or PHASE_COMMAND again
 *                                 \--> PHASE_EXEC: next_chunk -> submit -> io_done -> run ... -> finish
 *
 * 1. A transfer goes in chunks, each within a track of one head: what storage holds is in buf[at..n), and
 *    moves between it and the guest by DMA, or a byte at a time through the FIFO.
 * 2. One request is in flight at most.  A reset meanwhile is carried out when it is over; until then the
 *    controller shows what it shows in reset.
 * 3. Heads move at once, and there is no rotation: a command ends when its data has moved. */
#include "hw/storage/isa-fdc.h"

#include <errno.h>
#include <string.h>
#include "core/clock.h"
#include "core/machine.h"
#include "core/state.h"
#include "hw/isa/i8257.h"
#include "hw/isa/isa.h"
#include "util/bytes.h"
#include "util/trace.h"

/* Section 2.1: registers, from the base. */
enum { REG_SRB = 1, REG_DOR, REG_TDR, REG_MSR, REG_FIFO, REG_DIR = 7 };
enum { DOR_SELECT = 3, DOR_RUN = 4, DOR_GATE = 8 };
enum { MSR_RQM = 0x80, MSR_DIO = 0x40, MSR_NDM = 0x20, MSR_BUSY = 0x10 };
enum { DSR_RESET = 0x80 };
/* Section 5.1.3: status registers. */
enum { ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_POLL = 0xc0, ST0_SEEK = 0x20, ST0_CHECK = 0x10 };
enum { ST1_END = 0x80, ST1_DATA = 0x20, ST1_OVERRUN = 0x10, ST1_NO_DATA = 0x04, ST1_PROTECTED = 0x02,
       ST1_NO_MARK = 0x01 };
enum { ST2_DELETED = 0x40, ST2_DATA = 0x20, ST2_CYLINDER = 0x10 };
enum { ST3_FIXED = 0x28, ST3_PROTECTED = 0x40, ST3_TRACK_0 = 0x10 };
/* Bits of command and parameter bytes. */
enum { CMD_MULTI = 0x80, CMD_MFM = 0x40, CMD_SKIP = 0x20, CMD_UP = 0x40, CMD_LOCK = 0x80,
       VERIFY_COUNT = 0x80 };
enum { CONFIG_SEEKS = 0x40, CONFIG_FIFO = 0x2f, CONFIG_NO_FIFO = 0x20 };
enum { SPECIFY_NO_DMA = 1 };

#define SIZE_CODE 2            /* of 512 bytes, the only one there is */
#define CYLINDER_MAX 83
#define DRIVES 4               /* that registers know; FLOPPY_UNITS can be there */
#define DMA_POLL_NS INT64_C(1000000)
#define DMA_POLLS 200          /* a turn of the disk: then the data has overrun */

typedef enum Phase { PHASE_COMMAND, PHASE_EXEC, PHASE_RESULT, PHASES } Phase;
typedef enum Step { STEP_NEXT, STEP_IO, STEP_PIO, STEPS } Step;
typedef enum Kind { KIND_READ, KIND_WRITE, KIND_VERIFY, KIND_FORMAT, KINDS } Kind;

typedef struct Transfer {
    uint8_t kind, step, unit, head;
    uint8_t shown;             /* the head of the last sector, for ST0 */
    uint8_t c, h, r, eot;      /* the sector that is next, as its ID says, and the last one of a track */
    uint8_t fill;              /* KIND_FORMAT */
    uint8_t left;              /* KIND_VERIFY: sectors; 0: until eot */
    bool multi, whole, deleted, skip;  /* both heads; READ TRACK; READ DELETED DATA and its skip flag */
    bool over, tc;             /* the last sector is done; the terminal count came */
    uint8_t polls;
    uint32_t at, n;            /* of buf */
} Transfer;

typedef struct Fdc {
    IsaDevice isa;
    Region low, dir;
    IrqLine irq;
    DevTimer dma_timer;
    FloppyBus bus;
    Device *dma;               /* NULL: the board has none */
    uint32_t iobase, irq_number, dma_channel;
    uint8_t dor, tdr, rate;
    uint8_t phase, fifo[16], at, len;  /* command bytes that came, or result bytes: at of len are read */
    uint8_t pending, st0[DRIVES], pcn[DRIVES]; /* drives that SENSE INTERRUPT STATUS is to tell of */
    uint8_t specify[2], config, pretrack, perpendicular, last_eot;
    bool lock, irq_on, reset_wanted;
    Transfer x;
    GByteArray *saved;
    /* not saved */
    bool stopping;
    unsigned which;            /* the claim of the request in flight */
    Barrier *home;
    BlkReq req;
    struct iovec iov;
    Post post;
    uint8_t buf[FLOPPY_TRACK_MAX * FLOPPY_SECTOR];
} Fdc;

static void run(Fdc *s);

static FloppyDrive *drive(const Fdc *s, unsigned unit)
{
    return unit < FLOPPY_UNITS ? s->bus.drives[unit] : NULL;
}

const FloppyDrive *fdc_drive(Device *fdc, unsigned unit)
{
    return drive(device_as(fdc, &isa_fdc_type), unit);
}

FdcPlace fdc_place(const Device *fdc)
{
    const Fdc *s = (const Fdc *)fdc;

    return (FdcPlace){ (uint16_t)s->iobase, (uint8_t)s->irq_number, (uint8_t)s->dma_channel };
}

static void set_irq(Fdc *s, bool on)
{
    s->irq_on = on;
    irq_set(&s->irq, on && (s->dor & (DOR_RUN | DOR_GATE)) == (DOR_RUN | DOR_GATE));
}

/* The first @n bytes of fifo are the result. */
static void result(Fdc *s, unsigned n)
{
    s->phase = n > 0 ? PHASE_RESULT : PHASE_COMMAND;
    s->at = 0;
    s->len = (uint8_t)n;
}

/* Ends a transfer: section 5.1.1, the seven bytes all of them have. */
static void finish(Fdc *s, uint8_t st0, uint8_t st1, uint8_t st2)
{
    const Transfer *x = &s->x;
    uint8_t bytes[] = { st0 | x->shown << 2 | x->unit, st1, st2, x->c, x->h, x->r, SIZE_CODE };

    TRACE(isa_fdc_done, "st0=0x%02x st1=0x%02x st2=0x%02x c=%u h=%u r=%u", bytes[0], st1, st2, x->c,
          x->h, x->r);
    dev_timer_stop(&s->dma_timer);
    memcpy(s->fifo, bytes, sizeof(bytes));
    result(s, sizeof(bytes));
    set_irq(s, true);
}

/* --- reset --- */

static void clear_transfer(Fdc *s)
{
    dev_timer_stop(&s->dma_timer);
    s->x = (Transfer){ 0 };
}

/* Section 4: what a reset by DOR or DSR does; leaving it interrupts for four drives (polling). */
static void enter_reset(Fdc *s)
{
    if (s->phase == PHASE_EXEC && s->x.step == STEP_IO) {
        s->reset_wanted = true;
        set_irq(s, false);
        return;
    }
    s->reset_wanted = false;
    clear_transfer(s);
    result(s, 0);
    s->pending = 0;
    if (!s->lock) {
        s->config = (s->config & ~CONFIG_FIFO) | CONFIG_NO_FIFO;
        s->pretrack = 0;
    }
    s->perpendicular &= 0xfc;
    set_irq(s, false);
}

static void leave_reset(Fdc *s)
{
    if (s->reset_wanted || !(s->dor & DOR_RUN)) {
        return;
    }
    for (unsigned i = 0; i < DRIVES; i++) {
        s->st0[i] = ST0_POLL | i;
    }
    s->pending = 15;
    set_irq(s, true);
}

/* --- requests --- */

static void submit_post(Post *p)
{
    Fdc *s = container_of(p, Fdc, post);

    blk_user_submit(&drive(s, s->x.unit)->medium.users[s->which], &s->req);
}

static void idle(Fdc *s)
{
    Barrier *home = s->home;

    if (home != NULL && !(s->phase == PHASE_EXEC && s->x.step == STEP_IO)) {
        s->home = NULL;
        barrier_leave(home);
    }
}

/* Counts sectors as done: table 5-5, the ID that follows. */
static void advance(Transfer *x, unsigned sectors)
{
    for (; sectors > 0; sectors--) {
        if (x->r != x->eot) {
            x->r++;
            continue;
        }
        x->over = !x->multi || x->head == 1;
        x->r = 1;
        if (x->multi) {
            x->h ^= 1;
            x->c += x->head;
            x->head ^= 1;
        } else {
            x->c++;
        }
    }
}

static void io_ended(Fdc *s, int ret)
{
    Transfer *x = &s->x;

    if (ret < 0) {
        BlkFront *f = &drive(s, x->unit)->medium.front;
        blk_front_error(f, f->node, s->req.op == BLK_READ, ret);
        finish(s, ST0_ABNORMAL, ST1_DATA, ST2_DATA);
        return;
    }
    if (x->kind == KIND_FORMAT) {
        finish(s, 0, 0, 0);
    } else if (x->kind == KIND_WRITE) {
        advance(x, x->n / FLOPPY_SECTOR);
        x->at = x->n = 0;
        if (x->tc) {
            finish(s, 0, 0, 0);
        } else {
            run(s);
        }
    } else {
        run(s);
    }
}

static void io_done(BlkReq *r, int ret)
{
    Fdc *s = container_of(r, Fdc, req);
    Domain *domain = s->isa.dev.domain;

    domain_enter(domain);
    medium_release(&drive(s, s->x.unit)->medium, s->which);
    s->x.step = STEP_NEXT;
    if (s->reset_wanted) {
        enter_reset(s);
        leave_reset(s);
    } else {
        io_ended(s, ret);
    }
    idle(s);
    domain_leave(domain);
}

/* Reads or writes buf[0..n) at @sector; what lies behind the end of a short image reads as zeroes. */
static void submit(Fdc *s, BlkOp op, unsigned sector)
{
    Transfer *x = &s->x;
    Medium *m = &drive(s, x->unit)->medium;
    uint64_t off = (uint64_t)sector * FLOPPY_SECTOR, size = medium_size(m);
    uint32_t len = off < size ? (uint32_t)MIN(x->n, size - off) : 0;

    if (op == BLK_READ && len < x->n) {
        memset(s->buf + len, 0, x->n - len);
    }
    if (!medium_claim(m, &s->which)) {
        finish(s, ST0_ABNORMAL, ST1_NO_MARK, 0);
        return;
    }
    if (op == BLK_WRITE && (medium_is_read_only(m, s->which) || len < x->n)) {
        bool is = medium_is_read_only(m, s->which);
        medium_release(m, s->which);
        finish(s, ST0_ABNORMAL, is ? ST1_PROTECTED : ST1_NO_MARK, 0);
        return;
    }
    if (len == 0) {
        medium_release(m, s->which);
        run(s);
        return;
    }
    s->iov = (struct iovec){ s->buf, len };
    s->req.op = op;
    s->req.flags = 0;
    s->req.off = off;
    s->req.len = len;
    s->req.iov = &s->iov;
    s->req.niov = 1;
    s->req.loop = s->isa.dev.loop;
    s->req.done = io_done;
    x->step = STEP_IO;
    if (loop_here(s->isa.dev.loop)) {
        submit_post(&s->post);
    } else {
        s->post.run = submit_post;
        loop_post(s->isa.dev.loop, &s->post);
    }
}

/* --- transfers --- */

static bool by_fifo(const Fdc *s)
{
    return s->specify[1] & SPECIFY_NO_DMA;
}

/* A diskette is in, and spins past the head at the rate the controller listens at. */
static bool readable(const Fdc *s, const FloppyDrive *f, unsigned head)
{
    return f != NULL && f->format.sectors > 0 && medium_size((Medium *)&f->medium) > 0 &&
           f->format.rate == s->rate && head < f->format.heads;
}

/* Cylinder of the diskette below the heads; 40-track diskettes pass at two positions of an 80-track drive. */
static bool on_cylinder(const FloppyDrive *f, unsigned c)
{
    bool wide = f->type == FLOPPY_120 && f->format.cylinders < 44;

    return c < f->format.cylinders && (f->cylinder == c || (wide && f->cylinder == 2 * c));
}

static unsigned sector_of(const FloppyDrive *f, unsigned c, unsigned head, unsigned r)
{
    return (c * f->format.heads + head) * f->format.sectors + r - 1;
}

/* Sectors from x->r on that one chunk takes; 0: the transfer has ended. */
static unsigned find_chunk(Fdc *s, FloppyDrive *f)
{
    Transfer *x = &s->x;

    if (x->over) {
        finish(s, x->kind == KIND_VERIFY ? 0 : ST0_ABNORMAL, x->kind == KIND_VERIFY ? 0 : ST1_END, 0);
        return 0;
    }
    if (!readable(s, f, x->head)) {
        finish(s, ST0_ABNORMAL, ST1_NO_MARK, 0);
        return 0;
    }
    if (s->config & CONFIG_SEEKS && !on_cylinder(f, x->c) && x->c < f->format.cylinders) {
        s->pcn[x->unit] = x->c;
        floppy_seek(f, x->c);
    }
    if (!x->whole && (!on_cylinder(f, x->c) || x->h != x->head)) {
        finish(s, ST0_ABNORMAL, ST1_NO_DATA, on_cylinder(f, x->c) ? 0 : ST2_CYLINDER);
        return 0;
    }
    if (x->r == 0 || x->r > f->format.sectors) {
        finish(s, ST0_ABNORMAL, ST1_NO_DATA, 0);
        return 0;
    }
    if (by_fifo(s) || x->deleted) {
        return 1;
    }
    unsigned last = x->eot >= x->r ? MIN(x->eot, f->format.sectors) : f->format.sectors;
    unsigned n = last - x->r + 1;
    return x->kind == KIND_VERIFY && x->left > 0 ? MIN(n, x->left) : n;
}

static void next_chunk(Fdc *s)
{
    Transfer *x = &s->x;
    FloppyDrive *f = drive(s, x->unit);
    unsigned n = find_chunk(s, f);

    if (n == 0) {
        return;
    }
    x->at = 0;
    x->n = n * FLOPPY_SECTOR;
    x->shown = x->head;
    if (x->kind == KIND_WRITE) {
        run(s);
    } else {
        submit(s, BLK_READ, sector_of(f, x->whole ? f->cylinder : x->c, x->head, x->r));
    }
}

/* Moves buf[at..n), or as far as the guest's DMA channel goes; false: not to its end, *tc not set. */
static bool move(Fdc *s, bool *tc)
{
    Transfer *x = &s->x;
    size_t moved = 0;

    *tc = false;
    if (s->dma != NULL && s->dor & DOR_GATE) {
        moved = i8257_move(s->dma, s->dma_channel, s->buf + x->at, x->n - x->at, tc);
    }
    x->at += moved;
    if (*tc || x->at == x->n) {
        x->polls = 0;
        return true;
    }
    if (++x->polls >= DMA_POLLS) {
        finish(s, ST0_ABNORMAL, ST1_OVERRUN, 0);
    } else {
        dev_timer_set(&s->dma_timer, clock_now(CLOCK_VM) + DMA_POLL_NS);
    }
    return false;
}

/* The guest is to read buf[at..n) from the FIFO, or to fill it. */
static void show(Fdc *s)
{
    s->x.step = STEP_PIO;
    set_irq(s, true);
}

/* A sector that READ DELETED DATA found is not deleted: nothing here is. */
static void found_not_deleted(Fdc *s)
{
    if (!s->x.skip) {
        finish(s, 0, 0, ST2_DELETED);
    } else {
        run(s);
    }
}

static void run_read(Fdc *s)
{
    Transfer *x = &s->x;
    bool tc = false;

    if (x->at == x->n) {
        next_chunk(s);
        return;
    }
    if (x->deleted && x->skip) {
        x->at = x->n;
    } else if (by_fifo(s)) {
        show(s);
        return;
    } else if (!move(s, &tc)) {
        return;
    }
    advance(x, DIV_ROUND_UP(x->at, FLOPPY_SECTOR));
    x->at = x->n = 0;
    if (tc) {
        finish(s, 0, 0, x->deleted ? ST2_DELETED : 0);
    } else if (x->deleted) {
        found_not_deleted(s);
    } else {
        next_chunk(s);
    }
}

static void run_write(Fdc *s)
{
    Transfer *x = &s->x;
    const FloppyDrive *f = drive(s, x->unit);
    bool tc = false;

    if (x->n == 0) {
        next_chunk(s);
        return;
    }
    if (x->at < x->n) {
        if (by_fifo(s)) {
            show(s);
            return;
        }
        if (!move(s, &tc)) {
            return;
        }
    }
    x->tc |= tc;
    if (!readable(s, f, x->head) || x->c >= f->format.cylinders || x->r == 0 || x->r > f->format.sectors) {
        finish(s, ST0_ABNORMAL, ST1_NO_MARK, 0);   /* the diskette was changed meanwhile */
        return;
    }
    if (x->at < x->n) {                        /* the rest of a sector is written as zeroes */
        x->n = ALIGN_UP(x->at, FLOPPY_SECTOR);
        memset(s->buf + x->at, 0, x->n - x->at);
        x->at = x->n;
    }
    submit(s, BLK_WRITE, sector_of(f, x->c, x->head, x->r));
}

static void run_verify(Fdc *s)
{
    Transfer *x = &s->x;
    unsigned n = x->n / FLOPPY_SECTOR;

    x->at = x->n = 0;
    advance(x, n);
    if (x->left > 0) {
        x->left -= n;                          /* find_chunk() gives no more */
        x->over |= x->left == 0;
    }
    next_chunk(s);
}

/* The guest's IDs are in buf: each sector of the track once, or it is no format of this diskette. */
static void format_track(Fdc *s)
{
    Transfer *x = &s->x;
    FloppyDrive *f = drive(s, x->unit);
    unsigned count = x->n / 4;
    uint64_t seen = 0;

    for (unsigned i = 0; i < count && readable(s, f, x->head); i++) {
        const uint8_t *id = s->buf + 4 * i;
        bool is = on_cylinder(f, id[0]) && id[1] == x->head && id[3] == SIZE_CODE && id[2] > 0 &&
                  id[2] <= f->format.sectors;
        seen |= is ? UINT64_C(1) << id[2] : 0;
        x->c = id[0];
        x->h = id[1];
    }
    if (count == 0 || seen != (UINT64_C(1) << (count + 1)) - 2) {
        finish(s, ST0_ABNORMAL, ST1_NO_MARK, 0);
        return;
    }
    x->at = x->n = count * FLOPPY_SECTOR;
    memset(s->buf, x->fill, x->n);
    submit(s, BLK_WRITE, sector_of(f, x->c, x->head, 1));
}

static void run_format(Fdc *s)
{
    Transfer *x = &s->x;
    bool tc;

    if (x->at < x->n && by_fifo(s)) {
        show(s);
    } else if (x->at == x->n || move(s, &tc)) {
        format_track(s);
    }
}

static void run(Fdc *s)
{
    static void (*const runs[KINDS])(Fdc *s) = {
        [KIND_READ] = run_read, [KIND_WRITE] = run_write, [KIND_VERIFY] = run_verify,
        [KIND_FORMAT] = run_format,
    };

    s->x.step = STEP_NEXT;
    if (!s->stopping) {
        runs[s->x.kind](s);
    }
}

static void dma_poll(Device *d, DevTimer *t)
{
    Fdc *s = (Fdc *)d;

    if (s->phase == PHASE_EXEC && s->x.step == STEP_NEXT) {
        run(s);
    }
}

/* --- commands --- */

static void begin(Fdc *s, Kind kind)
{
    Transfer *x = &s->x;
    const uint8_t *c = s->fifo;

    *x = (Transfer){ .kind = kind, .unit = c[1] & 3, .head = c[1] >> 2 & 1, .shown = c[1] >> 2 & 1 };
    s->phase = PHASE_EXEC;
    set_irq(s, false);
}

/* Commands with the nine bytes of READ DATA. */
static void transfer(Fdc *s, Kind kind)
{
    Transfer *x = &s->x;
    const uint8_t *c = s->fifo;

    begin(s, kind);
    x->multi = c[0] & CMD_MULTI;
    x->c = c[2];
    x->h = c[3];
    x->r = c[4];
    x->eot = s->last_eot = c[6];
    if (!(c[0] & CMD_MFM)) {
        finish(s, ST0_ABNORMAL, ST1_NO_MARK, 0);
    } else if (c[5] != SIZE_CODE) {
        finish(s, ST0_ABNORMAL, ST1_NO_DATA, 0);
    }
}

static void go(Fdc *s)
{
    if (s->phase == PHASE_EXEC) {
        run(s);
    }
}

static void read_data(Fdc *s)
{
    transfer(s, KIND_READ);
    go(s);
}

static void read_deleted(Fdc *s)
{
    bool skip = s->fifo[0] & CMD_SKIP;

    transfer(s, KIND_READ);
    s->x.deleted = true;
    s->x.skip = skip;
    go(s);
}

static void read_track(Fdc *s)
{
    transfer(s, KIND_READ);
    s->x.multi = false;
    s->x.whole = true;
    s->x.r = 1;
    go(s);
}

static void write_data(Fdc *s)
{
    transfer(s, KIND_WRITE);
    go(s);
}

static void verify(Fdc *s)
{
    uint8_t count = s->fifo[8];
    bool counts = s->fifo[1] & VERIFY_COUNT;

    transfer(s, KIND_VERIFY);
    s->x.left = counts ? count : 0;
    go(s);
}

static void format(Fdc *s)
{
    unsigned sectors = MIN(s->fifo[3], FLOPPY_TRACK_MAX);
    uint8_t size = s->fifo[2], fill = s->fifo[5];

    begin(s, KIND_FORMAT);
    s->x.fill = fill;
    s->x.n = 4 * sectors;
    if (size != SIZE_CODE || sectors == 0) {
        finish(s, ST0_ABNORMAL, ST1_NO_MARK, 0);
    }
    go(s);
}

static void read_id(Fdc *s)
{
    begin(s, KIND_READ);
    const FloppyDrive *f = drive(s, s->x.unit);

    if (!(s->fifo[0] & CMD_MFM) || !readable(s, f, s->x.head)) {
        finish(s, ST0_ABNORMAL, ST1_NO_MARK, 0);
        return;
    }
    s->x.c = f->cylinder;
    if (!on_cylinder(f, s->x.c)) {
        s->x.c /= 2;
    }
    s->x.h = s->x.head;
    s->x.r = 1;
    finish(s, 0, 0, 0);
}

static void seek_done(Fdc *s, unsigned unit, uint8_t st0)
{
    s->st0[unit] = st0 | unit;
    s->pending |= 1u << unit;
    result(s, 0);
    set_irq(s, true);
}

static void seek_to(Fdc *s, unsigned cylinder)
{
    unsigned unit = s->fifo[1] & 3;
    FloppyDrive *f = drive(s, unit);

    s->pcn[unit] = (uint8_t)cylinder;
    if (f != NULL) {
        floppy_seek(f, MIN(cylinder, CYLINDER_MAX));
    }
    seek_done(s, unit, ST0_SEEK | (s->fifo[1] & 4));
}

static void seek(Fdc *s)
{
    seek_to(s, s->fifo[2]);
}

static void seek_relative(Fdc *s)
{
    int from = s->pcn[s->fifo[1] & 3], n = s->fifo[2];

    seek_to(s, s->fifo[0] & CMD_UP ? MIN(from + n, 255) : MAX(from - n, 0));
}

/* A drive that is not there never reports track 0. */
static void recalibrate(Fdc *s)
{
    unsigned unit = s->fifo[1] & 3;
    FloppyDrive *f = drive(s, unit);

    s->pcn[unit] = 0;
    if (f != NULL) {
        floppy_seek(f, 0);
    }
    seek_done(s, unit, f != NULL ? ST0_SEEK : ST0_ABNORMAL | ST0_SEEK | ST0_CHECK);
}

static void sense_interrupt(Fdc *s)
{
    unsigned unit = 0;

    while (unit < DRIVES && !(s->pending & 1u << unit)) {
        unit++;
    }
    set_irq(s, false);
    if (unit == DRIVES) {
        s->fifo[0] = ST0_INVALID;
        result(s, 1);
        return;
    }
    s->pending &= ~(1u << unit);
    s->fifo[0] = s->st0[unit];
    s->fifo[1] = s->pcn[unit];
    result(s, 2);
}

static void sense_drive(Fdc *s)
{
    unsigned unit = s->fifo[1] & 3, which;
    FloppyDrive *f = drive(s, unit);
    uint8_t st3 = ST3_FIXED | (s->fifo[1] & 7);

    if (f != NULL && f->cylinder == 0) {
        st3 |= ST3_TRACK_0;
    }
    if (f != NULL && medium_claim(&f->medium, &which)) {
        st3 |= medium_is_read_only(&f->medium, which) ? ST3_PROTECTED : 0;
        medium_release(&f->medium, which);
    }
    s->fifo[0] = st3;
    result(s, 1);
}

static void specify(Fdc *s)
{
    s->specify[0] = s->fifo[1];
    s->specify[1] = s->fifo[2];
    result(s, 0);
}

static void configure(Fdc *s)
{
    s->config = s->fifo[2] & 0x7f;
    s->pretrack = s->fifo[3];
    result(s, 0);
}

static void set_perpendicular(Fdc *s)
{
    s->perpendicular = s->fifo[1] & 0x80 ? s->fifo[1] & 0x3f : (s->perpendicular & 0x3c) | (s->fifo[1] & 3);
    result(s, 0);
}

static void set_lock(Fdc *s)
{
    s->lock = s->fifo[0] & CMD_LOCK;
    s->fifo[0] = s->lock ? 0x10 : 0;
    result(s, 1);
}

static void version(Fdc *s)
{
    s->fifo[0] = 0x90;
    result(s, 1);
}

static void dump_registers(Fdc *s)
{
    uint8_t bytes[] = { s->pcn[0], s->pcn[1], s->pcn[2], s->pcn[3], s->specify[0], s->specify[1],
                        s->last_eot, (s->lock ? 0x80 : 0) | s->perpendicular, s->config, s->pretrack };

    memcpy(s->fifo, bytes, sizeof(bytes));
    result(s, sizeof(bytes));
}

static void invalid(Fdc *s)
{
    s->fifo[0] = ST0_INVALID;
    result(s, 1);
}

/* Table 5-1; the last row matches everything. */
static const struct Command {
    uint8_t mask, value, params;
    void (*run)(Fdc *s);
} commands[] = {
    { 0x1f, 0x06, 8, read_data }, { 0x1f, 0x0c, 8, read_deleted }, { 0x3f, 0x05, 8, write_data },
    { 0x3f, 0x09, 8, write_data }, { 0x9f, 0x02, 8, read_track }, { 0x1f, 0x16, 8, verify },
    { 0xbf, 0x0d, 5, format }, { 0xbf, 0x0a, 1, read_id }, { 0xff, 0x07, 1, recalibrate },
    { 0xff, 0x08, 0, sense_interrupt }, { 0xff, 0x03, 2, specify }, { 0xff, 0x04, 1, sense_drive },
    { 0xff, 0x0f, 2, seek }, { 0xbf, 0x8f, 2, seek_relative }, { 0xff, 0x10, 0, version },
    { 0xff, 0x0e, 0, dump_registers }, { 0xff, 0x12, 1, set_perpendicular }, { 0xff, 0x13, 3, configure },
    { 0x7f, 0x14, 0, set_lock }, { 0x00, 0x00, 0, invalid },
};

static const struct Command *command_of(uint8_t code)
{
    const struct Command *c = commands;

    while ((code & c->mask) != c->value) {
        c++;
    }
    return c;
}

/* --- registers --- */

static uint8_t read_msr(const Fdc *s)
{
    uint8_t msr = s->pending & 15;

    if (!(s->dor & DOR_RUN) || s->reset_wanted) {
        return 0;
    }
    for (unsigned i = 0; i < DRIVES; i++) {
        if ((s->st0[i] & ST0_POLL) == ST0_POLL) {
            msr &= ~(1u << i);                 /* a reset's poll is no seek */
        }
    }
    switch (s->phase) {
    case PHASE_RESULT:
        return msr | MSR_RQM | MSR_DIO | MSR_BUSY;
    case PHASE_EXEC:
        msr |= MSR_BUSY | (by_fifo(s) ? MSR_NDM : 0);
        return s->x.step != STEP_PIO ? msr : msr | MSR_RQM | (s->x.kind == KIND_READ ? MSR_DIO : 0);
    default:
        return msr | MSR_RQM | (s->at > 0 ? MSR_BUSY : 0);
    }
}

/* The byte of PIO at x.at was moved. */
static void pio_moved(Fdc *s)
{
    Transfer *x = &s->x;

    set_irq(s, false);
    if (++x->at < x->n) {
        return;
    }
    if (x->kind == KIND_READ) {
        advance(x, x->n / FLOPPY_SECTOR);
        x->at = x->n = 0;
        if (x->deleted) {
            x->step = STEP_NEXT;
            found_not_deleted(s);
            return;
        }
    }
    run(s);
}

static uint8_t read_fifo(Fdc *s)
{
    uint8_t val = 0;

    if (!(s->dor & DOR_RUN) || s->reset_wanted) {
        return 0;
    }
    if (s->phase == PHASE_EXEC && s->x.step == STEP_PIO && s->x.kind == KIND_READ) {
        val = s->buf[s->x.at];
        pio_moved(s);
    } else if (s->phase == PHASE_RESULT) {
        val = s->fifo[s->at];
        set_irq(s, false);
        if (++s->at >= s->len) {
            result(s, 0);
        }
    }
    return val;
}

static void write_fifo(Fdc *s, uint8_t val)
{
    const struct Command *c;

    if (!(s->dor & DOR_RUN) || s->reset_wanted) {
        return;
    }
    if (s->phase == PHASE_EXEC && s->x.step == STEP_PIO && s->x.kind != KIND_READ) {
        s->buf[s->x.at] = val;
        pio_moved(s);
        return;
    }
    if (s->phase != PHASE_COMMAND) {
        return;                                /* the direction is the other one */
    }
    s->fifo[s->at++] = val;
    c = command_of(s->fifo[0]);
    if (s->at > c->params) {
        TRACE(isa_fdc_command, "0x%02x 0x%02x 0x%02x 0x%02x 0x%02x", s->fifo[0], s->fifo[1], s->fifo[2],
              s->fifo[3], s->fifo[4]);
        s->at = 0;
        c->run(s);
    }
}

static void write_dor(Fdc *s, uint8_t val)
{
    uint8_t old = s->dor;

    TRACE(isa_fdc_dor, "0x%02x", val);
    s->dor = val;
    if (!(val & DOR_RUN)) {
        if (old & DOR_RUN) {
            enter_reset(s);
        }
    } else if (!(old & DOR_RUN)) {
        leave_reset(s);
    }
    set_irq(s, s->irq_on);
}

static uint64_t low_read(void *dev, uint64_t off, unsigned size)
{
    Fdc *s = dev;

    switch (off + REG_SRB) {
    case REG_SRB:
        return 0xc0 | (s->dor & 1) << 5 | (s->dor >> 4 & 3);
    case REG_DOR:
        return s->dor;
    case REG_TDR:
        return s->tdr;
    case REG_MSR:
        return read_msr(s);
    default:
        return read_fifo(s);
    }
}

static void low_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Fdc *s = dev;

    switch (off + REG_SRB) {
    case REG_DOR:
        write_dor(s, (uint8_t)val);
        break;
    case REG_TDR:
        s->tdr = val & 3;
        break;
    case REG_MSR:                              /* DSR */
        s->rate = val & 3;
        if (val & DSR_RESET && s->dor & DOR_RUN) {
            enter_reset(s);
            leave_reset(s);
        }
        break;
    case REG_FIFO:
        write_fifo(s, (uint8_t)val);
        break;
    }
}

/* DIR: the disk change line of the selected drive; CCR: the data rate. */
static uint64_t dir_read(void *dev, uint64_t off, unsigned size)
{
    const Fdc *s = dev;
    const FloppyDrive *f = drive(s, s->dor & DOR_SELECT);

    return f != NULL && (f->changed || medium_size((Medium *)&f->medium) == 0) ? 0x80 : 0;
}

static void dir_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    ((Fdc *)dev)->rate = val & 3;
}

static const RegionOps low_ops = { low_read, low_write, 1, 1, 0 };
static const RegionOps dir_ops = { dir_read, dir_write, 1, 1, 0 };

/* --- life --- */

static bool check_types(const Fdc *s, Error **errp)
{
    if (s->bus.fallback == FLOPPY_AUTO || s->bus.fallback == FLOPPY_NONE) {
        return error_set(errp, "fallback: a drive's type is expected: 144, 288 or 120");
    }
    return true;
}

static bool fdc_realize(Device *d, Error **errp)
{
    Fdc *s = device_as(d, &isa_fdc_type);
    Bus *b;

    if (!check_types(s, errp)) {
        return false;
    }
    for (Device *o = d->bus->first; o != NULL && s->dma == NULL; o = o->bus_next) {
        s->dma = o->type == &i8257_type ? o : NULL;
    }
    b = bus_new(&floppy_slot, d, "floppy-bus.0");
    b->capacity = FLOPPY_UNITS;
    b->priv = &s->bus;
    s->saved = g_byte_array_new();
    region_io(&s->low, d, "fdc", &low_ops, 5);
    region_io(&s->dir, d, "fdc-dir", &dir_ops, 1);
    isa_io(d, &s->low, (uint16_t)(s->iobase + REG_SRB));
    isa_io(d, &s->dir, (uint16_t)(s->iobase + REG_DIR));
    irq_line_init(&s->irq, d, "irq");
    isa_irq(d, &s->irq, s->irq_number);
    dev_timer_init(&s->dma_timer, d, CLOCK_VM, dma_poll);
    return true;
}

static void fdc_unrealize(Device *d)
{
    Fdc *s = device_as(d, &isa_fdc_type);

    dev_timer_free(&s->dma_timer);
    g_clear_pointer(&s->saved, g_byte_array_unref);
}

static void fdc_reset(Device *d, ResetKind kind)
{
    Fdc *s = device_as(d, &isa_fdc_type);

    clear_transfer(s);
    result(s, 0);
    memset(s->fifo, 0, sizeof(s->fifo));
    memset(s->st0, 0, sizeof(s->st0));
    memset(s->pcn, 0, sizeof(s->pcn));
    memset(s->specify, 0, sizeof(s->specify));
    s->dor = DOR_RUN | DOR_GATE;
    s->config = CONFIG_SEEKS | CONFIG_NO_FIFO;
    s->tdr = s->rate = s->pending = s->pretrack = s->perpendicular = s->last_eot = 0;
    s->lock = s->irq_on = s->reset_wanted = false;
}

static void fdc_settle(Device *d)
{
    Fdc *s = device_as(d, &isa_fdc_type);

    set_irq(s, s->irq_on);
    irq_refresh(&s->irq);
}

static void fdc_quiesce(Device *d, Barrier *home)
{
    Fdc *s = device_as(d, &isa_fdc_type);

    s->stopping = true;
    s->home = home;
    idle(s);
}

static void fdc_resume(Device *d)
{
    Fdc *s = device_as(d, &isa_fdc_type);

    s->stopping = false;
    if (s->phase == PHASE_EXEC && s->x.step == STEP_NEXT && !dev_timer_armed(&s->dma_timer)) {
        run(s);
    }
}

/* --- state --- */

static void before_save(void *obj)
{
    Fdc *s = obj;

    g_byte_array_set_size(s->saved, 0);
    if (s->phase == PHASE_EXEC) {
        g_byte_array_append(s->saved, s->buf, s->x.n);
    }
}

static bool check(void *obj, Error **errp)
{
    Fdc *s = obj;
    const Transfer *x = &s->x;

    if (s->phase >= PHASES || s->len > sizeof(s->fifo) || (s->phase == PHASE_EXEC && s->at != 0) ||
        (s->phase == PHASE_RESULT && s->at >= s->len) ||
        (s->phase == PHASE_COMMAND && s->at > 0 && s->at > command_of(s->fifo[0])->params)) {
        return error_set(errp, "phase %u, byte %u of %u", s->phase, s->at, s->len);
    }
    if (x->kind >= KINDS || x->step >= STEPS || x->step == STEP_IO || x->unit >= DRIVES || x->head > 1 ||
        x->shown > 1) {
        return error_set(errp, "transfer of kind %u, step %u, unit %u", x->kind, x->step, x->unit);
    }
    if (x->at > x->n || x->n > sizeof(s->buf) || (x->step == STEP_PIO && x->at == x->n) ||
        (x->kind == KIND_FORMAT && x->n > 4 * FLOPPY_TRACK_MAX)) {
        return error_set(errp, "data at %u of %u bytes", x->at, x->n);
    }
    memset(s->buf, 0, sizeof(s->buf));
    if (s->saved != NULL && s->saved->len > 0) {
        memcpy(s->buf, s->saved->data, MIN(s->saved->len, sizeof(s->buf)));
    }
    return true;
}

static const StateField transfer_fields[] = {
    STATE_U8(Transfer, kind), STATE_U8(Transfer, step), STATE_U8(Transfer, unit), STATE_U8(Transfer, head),
    STATE_U8(Transfer, shown),
    STATE_U8(Transfer, c), STATE_U8(Transfer, h), STATE_U8(Transfer, r), STATE_U8(Transfer, eot),
    STATE_U8(Transfer, fill), STATE_U8(Transfer, left), STATE_BOOL(Transfer, multi),
    STATE_BOOL(Transfer, whole), STATE_BOOL(Transfer, deleted), STATE_BOOL(Transfer, skip),
    STATE_BOOL(Transfer, over), STATE_BOOL(Transfer, tc), STATE_U8(Transfer, polls),
    STATE_U32(Transfer, at), STATE_U32(Transfer, n),
    { 0 },
};

static const StateDesc transfer_state = {
    .name = "isa-fdc-transfer", .version = 1, .fields = transfer_fields,
};

static const StateField fdc_fields[] = {
    STATE_U8(Fdc, dor), STATE_U8(Fdc, tdr), STATE_U8(Fdc, rate), STATE_U8(Fdc, phase),
    STATE_BYTES(Fdc, fifo), STATE_U8(Fdc, at), STATE_U8(Fdc, len), STATE_U8(Fdc, pending),
    STATE_BYTES(Fdc, st0), STATE_BYTES(Fdc, pcn), STATE_BYTES(Fdc, specify), STATE_U8(Fdc, config),
    STATE_U8(Fdc, pretrack), STATE_U8(Fdc, perpendicular), STATE_U8(Fdc, last_eot), STATE_BOOL(Fdc, lock),
    STATE_BOOL(Fdc, irq_on), STATE_BOOL(Fdc, reset_wanted), STATE_TIMER(Fdc, dma_timer),
    STATE_STRUCT(Fdc, x, &transfer_state),
    STATE_BLOB(Fdc, saved, FLOPPY_TRACK_MAX * FLOPPY_SECTOR),
    { 0 },
};

static const StateDesc fdc_state = {
    .name = "isa-fdc", .version = 1, .fields = fdc_fields, .before_save = before_save, .check = check,
};

static const PropDesc fdc_props[] = {
    PROP_U32(Fdc, iobase, "iobase", 0x3f0, 0, 0xfff8, "first port"),
    PROP_U32(Fdc, irq_number, "irq", 6, 0, 15, "ISA interrupt"),
    PROP_U32(Fdc, dma_channel, "dma", 2, 0, 3, "ISA DMA channel"),
    PROP_ENUM(Fdc, bus.type[0], "fdtypeA", floppy_type_names, FLOPPY_AUTO,
              "FDC drive type, 144/288/120/none/auto"),
    PROP_ENUM(Fdc, bus.type[1], "fdtypeB", floppy_type_names, FLOPPY_AUTO,
              "FDC drive type, 144/288/120/none/auto"),
    PROP_ENUM(Fdc, bus.fallback, "fallback", floppy_type_names, FLOPPY_288,
              "FDC drive type, 144/288/120, of a drive whose medium tells nothing"),
    PROP_I32(Fdc, bus.bootindex[0], "bootindexA", -1, -1, INT32_MAX, "place in the boot order; -1: none"),
    PROP_I32(Fdc, bus.bootindex[1], "bootindexB", -1, -1, INT32_MAX, "place in the boot order; -1: none"),
    { 0 },
};

const DeviceType isa_fdc_type = {
    .name = "isa-fdc", .summary = "virtual floppy controller", .slot = &isa_slot, .size = sizeof(Fdc),
    .category = "Storage", .props = fdc_props, .state = &fdc_state, .realize = fdc_realize,
    .unrealize = fdc_unrealize, .reset = fdc_reset, .settle = fdc_settle, .quiesce = fdc_quiesce,
    .resume = fdc_resume,
};
