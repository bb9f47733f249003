/* pflash.c: "cfi.pflash01", a NOR flash chip with Intel's command set (Common Flash Interface,
 * JEDEC JESD68.01; Intel 28F128J3 data sheet).
 *
 *   READ_ARRAY --any command--> register mode: status, id, CFI, program, erase --0xff--> READ_ARRAY
 *
 * 1. In READ_ARRAY the guest reads the RAM block directly; in every other mode reads come here.
 * 2. Programming clears bits, erasing sets a sector's: what the RAM block holds is always the
 *    truth. Changed sectors reach the node in the background, one request at a time; quiesce waits
 *    until none is left, then the node is flushed.
 * 3. A chip with secure=on takes commands in system management mode only; others always see its array.
 * 4. Only one bit differs from the chips' data sheets: Clear Status also clears "ready" until the
 *    next operation, by which firmware (OVMF) tells this chip from RAM and ROM. */
#include "hw/storage/pflash.h"

#include <string.h>
#include "block/block.h"
#include "core/dma.h"
#include "core/state.h"
#include "util/bytes.h"
#include "util/thread.h"
#include "util/trace.h"

#define CHUNK 65536            /* bytes of a request to the node */
#define BUFFER 256             /* the chip's write buffer */
#define SIZE_MAX_TOTAL (8 * MiB)
#define ISA_BIOS_MAX (128 * KiB)
#define CFI_BYTES 0x40

enum {
    CMD_PROGRAM = 0x10,
    CMD_ERASE = 0x20,
    CMD_PROGRAM_2 = 0x40,
    CMD_CLEAR_STATUS = 0x50,
    CMD_LOCK = 0x60,
    CMD_STATUS = 0x70,
    CMD_ID = 0x90,
    CMD_CFI = 0x98,
    CMD_SUSPEND = 0xb0,
    CMD_CONFIRM = 0xd0,
    CMD_BUFFER = 0xe8,
    CMD_ARRAY = 0xff
};
enum { ST_READY = 0x80, ST_ERASE_ERROR = 0x20, ST_PROGRAM_ERROR = 0x10, ST_PROTECTED = 0x02 };

typedef struct Pflash {
    Device dev;
    Region rom, low;           /* @secure: @rom is for SMM alone, others have @locked */
    Region locked;
    RamBlock *ram;
    BlkNode *node;
    BlkUser user;
    bool read_only;
    uint8_t cfi[CFI_BYTES];
    /* state */
    uint8_t command;           /* CMD_ARRAY: what reads show, or what is under way */
    uint8_t cycle;             /* writes of the command so far */
    uint8_t status;
    uint32_t count, base;      /* CMD_BUFFER: bytes to come; of the first one */
    uint8_t buffer[BUFFER], given[BUFFER / 8];
    /* derived */
    unsigned long *dirty;      /* a bit a sector; guarded by the domain */
    uint32_t sectors;
    uint32_t dirty_count;
    bool writing, unflushed, warned;
    Barrier *home;
    Post post;
    BlkReq req;
    struct iovec iov;
    uint8_t *bounce;
    /* properties */
    void *drive;
    char *name;
    uint64_t sector;
    uint32_t num_blocks;
    uint8_t width, device_width, max_device_width;
    uint16_t id[4];
    bool secure, big_endian, old_multiple;
} Pflash;

static uint64_t size_of(const Pflash *f)
{
    return (uint64_t)f->sectors * f->sector;
}

/* --- to the node --- */

static void write_next(Pflash *f);

static void idle(Pflash *f)
{
    Barrier *home = f->home;

    if (!f->writing && home != NULL) {
        f->home = NULL;
        barrier_leave(home);
    }
}

static void write_done(BlkReq *r, int ret)
{
    Pflash *f = container_of(r, Pflash, req);

    domain_enter(f->dev.domain);
    if (ret < 0 && !f->warned) {
        f->warned = true;
        warn_report("flash %s: its contents could not be written: %s", f->dev.id, errno_text(-ret));
    }
    f->writing = false;
    write_next(f);
    idle(f);
    domain_leave(f->dev.domain);
}

static void submit(Pflash *f, BlkOp op, uint64_t off, uint64_t len)
{
    f->iov = (struct iovec){ f->bounce, len };
    f->req.op = op;
    f->req.flags = 0;
    f->req.off = off;
    f->req.len = len;
    f->req.iov = len ? &f->iov : NULL;
    f->req.niov = len ? 1 : 0;
    f->req.loop = f->dev.loop;
    f->req.done = write_done;
    f->writing = true;
    blk_user_submit(&f->user, &f->req);
}

/* On the device loop, under the domain: the next run of changed sectors, after the last a flush. */
static void write_next(Pflash *f)
{
    uint32_t at = 0, n = 0;

    if (f->dirty_count == 0) {
        if (f->unflushed) {
            f->unflushed = false;
            submit(f, BLK_FLUSH, 0, 0);
        }
        return;
    }
    while (!(f->dirty[at / 64] >> at % 64 & 1)) {
        at++;
    }
    while (at + n < f->sectors && (n + 1) * f->sector <= CHUNK &&
           (f->dirty[(at + n) / 64] >> (at + n) % 64 & 1)) {
        f->dirty[(at + n) / 64] &= ~(1ul << (at + n) % 64);
        n++;
    }
    f->dirty_count -= n;
    f->unflushed = true;
    memcpy(f->bounce, f->ram->host + at * f->sector, n * f->sector);
    submit(f, BLK_WRITE, at * f->sector, n * f->sector);
}

static void write_post(Post *p)
{
    Pflash *f = container_of(p, Pflash, post);

    domain_enter(f->dev.domain);
    f->writing = false;
    write_next(f);
    idle(f);
    domain_leave(f->dev.domain);
}

static void changed(Pflash *f, uint64_t off, uint64_t len)
{
    dma_wrote(f->ram->host + off, len);
    for (uint64_t s = off / f->sector; s <= (off + len - 1) / f->sector && f->node != NULL; s++) {
        unsigned long bit = 1ul << s % 64;
        f->dirty_count += !(f->dirty[s / 64] & bit);
        f->dirty[s / 64] |= bit;
    }
    if (f->dirty_count > 0 && !f->writing) {
        f->writing = true;                     /* until the post has run */
        f->post.run = write_post;
        loop_post(f->dev.loop, &f->post);
    }
}

/* --- the array --- */

static void program(Pflash *f, uint64_t off, const uint8_t *data, unsigned n)
{
    f->status |= ST_READY;
    if (f->read_only || !fits(off, n, size_of(f))) {
        f->status |= ST_PROGRAM_ERROR | (f->read_only ? ST_PROTECTED : 0);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        f->ram->host[off + i] &= data[i];
    }
    changed(f, off, n);
}

static void erase(Pflash *f, uint64_t off)
{
    uint64_t at = ALIGN_DOWN(off, f->sector);

    TRACE(pflash_erase, "id=%s at=0x%" PRIx64, f->dev.id, at);
    f->status |= ST_READY;
    if (f->read_only) {
        f->status |= ST_ERASE_ERROR | ST_PROTECTED;
        return;
    }
    memset(f->ram->host + at, 0xff, f->sector);
    changed(f, at, f->sector);
}

/* The write buffer's bytes that were given, each at its place. */
static void program_buffer(Pflash *f)
{
    for (unsigned i = 0; i < BUFFER; i++) {
        if (f->given[i / 8] >> i % 8 & 1) {
            program(f, f->base + i, f->buffer + i, 1);
        }
    }
}

/* --- commands --- */

static void to_mode(Pflash *f, uint8_t command)
{
    bool was_array = f->command == CMD_ARRAY;

    f->command = command;
    f->cycle = 1;
    if (was_array != (command == CMD_ARRAY)) {
        map_begin();
        map_romd_mode(&f->rom, command == CMD_ARRAY);
        map_commit();
    }
}

static void sequence_error(Pflash *f)
{
    guest_bug("cfi.pflash01", "%s: command 0x%02x was not confirmed", f->dev.id, f->command);
    f->status |= ST_READY | ST_ERASE_ERROR | ST_PROGRAM_ERROR;
    to_mode(f, CMD_STATUS);
}

/* The first write of a command. */
static void first_cycle(Pflash *f, uint64_t off, uint8_t val)
{
    switch (val) {
    case CMD_CLEAR_STATUS:
        f->status = 0;
        to_mode(f, CMD_STATUS);
        break;
    case CMD_BUFFER:
        f->status |= ST_READY;
        f->base = (uint32_t)ALIGN_DOWN(off, BUFFER);
        memset(f->given, 0, sizeof(f->given));
        to_mode(f, val);
        break;
    case CMD_PROGRAM: case CMD_PROGRAM_2: case CMD_ERASE: case CMD_LOCK:
    case CMD_STATUS: case CMD_ID: case CMD_CFI:
        to_mode(f, val);
        break;
    case CMD_SUSPEND: case CMD_CONFIRM:
        f->status |= ST_READY;                 /* nothing is ever under way */
        to_mode(f, CMD_STATUS);
        break;
    case CMD_ARRAY: case 0x00: case 0xf0:
        to_mode(f, CMD_ARRAY);
        break;
    default:
        guest_bug("cfi.pflash01", "%s: unknown command 0x%02x", f->dev.id, val);
        to_mode(f, CMD_ARRAY);
        break;
    }
}

static void buffer_cycle(Pflash *f, uint64_t off, uint64_t val, unsigned size)
{
    if (f->cycle == 1) {
        f->count = (val & 0xff) + 1;
        f->cycle = 2;
    } else if (f->count > 0) {
        for (unsigned i = 0; i < size && f->count > 0; i++, f->count--) {
            uint64_t at = off + i - f->base;
            if (off + i < f->base || at >= BUFFER) {
                sequence_error(f);
                return;
            }
            f->buffer[at] = val >> (8 * i) & 0xff;
            f->given[at / 8] |= 1u << at % 8;
        }
    } else if ((val & 0xff) == CMD_CONFIRM) {
        program_buffer(f);
        to_mode(f, CMD_STATUS);
    } else {
        sequence_error(f);
    }
}

static void flash_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Pflash *f = dev;
    uint8_t data[8];

    TRACE(pflash_write, "id=%s off=0x%" PRIx64 " value=0x%" PRIx64 " size=%u command=0x%02x",
          f->dev.id, off, val, size, f->command);
    switch (f->cycle ? f->command : CMD_ARRAY) {
    case CMD_PROGRAM: case CMD_PROGRAM_2:
        st_n(data, size, val);
        program(f, off, data, size);
        to_mode(f, CMD_STATUS);
        break;
    case CMD_ERASE:
        if ((val & 0xff) == CMD_CONFIRM) {
            erase(f, off);
            to_mode(f, CMD_STATUS);
        } else if ((val & 0xff) == CMD_ARRAY) {
            to_mode(f, CMD_ARRAY);
        } else {
            sequence_error(f);
        }
        break;
    case CMD_LOCK:                             /* lock bits: accepted, without effect */
        if ((val & 0xff) == CMD_CONFIRM || (val & 0xff) == 0x01) {
            f->status |= ST_READY;
            to_mode(f, CMD_STATUS);
        } else if ((val & 0xff) == CMD_ARRAY) {
            to_mode(f, CMD_ARRAY);
        } else {
            sequence_error(f);
        }
        break;
    case CMD_BUFFER:
        buffer_cycle(f, off, val, size);
        break;
    default:
        first_cycle(f, off, val & 0xff);
        break;
    }
}

/* The same byte on each lane. */
static uint64_t lanes(uint8_t byte, unsigned size)
{
    return UINT64_C(0x0101010101010101) * byte & ones(size);
}

static uint64_t flash_read(void *dev, uint64_t off, unsigned size)
{
    Pflash *f = dev;
    uint64_t val = 0;

    switch (f->command) {
    case CMD_ARRAY:
        return fits(off, size, size_of(f)) ? ld_n(f->ram->host + off, size) : ones(size);
    case CMD_ID:
        for (unsigned i = 0; i < size; i++) {
            unsigned at = (off + i) & 0xff;
            val |= (uint64_t)(at < 2 ? f->id[at] & 0xff : 0) << (8 * i);
        }
        return val;
    case CMD_CFI:
        for (unsigned i = 0; i < size; i++) {
            unsigned at = (off + i) & 0xff;
            val |= (uint64_t)(at < CFI_BYTES ? f->cfi[at] : 0) << (8 * i);
        }
        return val;
    default:
        return lanes(f->status, size);
    }
}

static const RegionOps flash_ops = { .read = flash_read, .write = flash_write, .min = 1, .max = 8 };

/* JESD68.01, 2.4; the Intel extended table is at 0x31. */
static void fill_cfi(Pflash *f)
{
    static const uint8_t head[] = {
        'Q', 'R', 'Y', 0x01, 0x00, 0x31, 0x00, 0x00, 0x00, 0x00, 0x00,  /* command set 1 */
        0x45, 0x55, 0x00, 0x00,                /* volts */
        0x07, 0x07, 0x0a, 0x00, 0x04, 0x04, 0x04, 0x00,                 /* time-outs */
    };
    unsigned log2 = 0;

    memset(f->cfi, 0, sizeof(f->cfi));
    memcpy(f->cfi + 0x10, head, sizeof(head));
    while ((UINT64_C(1) << log2) < size_of(f)) {
        log2++;
    }
    f->cfi[0x27] = (uint8_t)log2;
    f->cfi[0x2a] = 8;                          /* write buffer: 2^8 bytes */
    f->cfi[0x2c] = 1;                          /* one region of erase blocks */
    st16(f->cfi + 0x2d, f->sectors - 1);
    st16(f->cfi + 0x2f, f->sector / 256);
    memcpy(f->cfi + 0x31, "PRI10", 5);
}

/* --- life --- */

static bool find_size(Pflash *f, Error **errp)
{
    uint64_t size = f->node ? blk_size(f->node) : (uint64_t)f->num_blocks * f->sector;

    if (f->sector < 256 || f->sector > CHUNK || (f->sector & (f->sector - 1)) != 0) {
        return error_set(errp, "sector-length is a power of two from 256 to %u", CHUNK);
    }
    if (size == 0 || size % f->sector != 0) {
        error_set(errp, "flash of %" PRIu64 " bytes: the size must be a multiple of 0x%" PRIx64,
                  size, f->sector);
        return error_hint(errp, "a firmware image for -drive if=pflash comes in the right size");
    }
    if (size > SIZE_MAX_TOTAL) {
        return error_set(errp, "flash of %" PRIu64 " bytes exceeds %u MiB", size,
                         (unsigned)(SIZE_MAX_TOTAL / MiB));
    }
    f->sectors = (uint32_t)(size / f->sector);
    return true;
}

static void node_moved(BlkUser *u)
{
    Pflash *f = container_of(u, Pflash, user);

    domain_enter(f->dev.domain);
    f->node = u->node;
    domain_leave(f->dev.domain);
}

static bool attach_node(Pflash *f, Error **errp)
{
    unsigned need = BLK_PERM_READ | (f->read_only ? 0 : BLK_PERM_WRITE);
    g_autofree char *who = g_strdup_printf("device '%s'", f->dev.id);

    f->user.moved = node_moved;
    return f->node == NULL || blk_attach(f->node, &f->user, who, need, BLK_PERM_READ, errp);
}

static bool load(Pflash *f, Error **errp)
{
    int ret;

    f->ram = ram_new_anon(f->name ? f->name : f->dev.id, ALIGN_UP(size_of(f), 4096), errp);
    if (f->ram == NULL) {
        return false;
    }
    memset(f->ram->host, 0xff, f->ram->size);
    ret = f->node ? blk_pread(f->node, 0, f->ram->host, size_of(f)) : 0;
    if (ret < 0) {
        ram_free(f->ram);
        f->ram = NULL;
        return error_set_errno(errp, -ret, "failed to read the initial flash content");
    }
    return true;
}

static bool pflash_realize(Device *d, Error **errp)
{
    Pflash *f = (Pflash *)d;

    f->node = f->drive;
    if (f->width != 1 || f->big_endian) {
        return error_set(errp, "only little-endian flash of width 1 is supported");
    }
    f->read_only = f->node != NULL && blk_read_only(f->node);
    if (!find_size(f, errp) || !attach_node(f, errp)) {
        return false;
    }
    if (!load(f, errp)) {
        blk_detach(&f->user);
        return false;
    }
    f->dirty = g_new0(unsigned long, f->sectors / 64 + 1);
    f->bounce = g_malloc(CHUNK);
    f->command = CMD_ARRAY;
    fill_cfi(f);
    region_romd(&f->rom, d, f->ram->id, f->ram, &flash_ops);
    region_rom(&f->locked, d, "locked", f->ram, 0, size_of(f));
    uint64_t low = MIN(size_of(f), ISA_BIOS_MAX);
    region_rom(&f->low, d, "isa-bios", f->ram, size_of(f) - low, low);
    return true;
}

static void pflash_unrealize(Device *d)
{
    Pflash *f = (Pflash *)d;

    map_begin();
    map_drop(&f->rom);
    map_drop(&f->locked);
    map_drop(&f->low);
    map_commit();
    region_free(&f->rom);
    region_free(&f->locked);
    region_free(&f->low);
    blk_detach(&f->user);
    ram_free(f->ram);
    g_clear_pointer(&f->dirty, g_free);
    g_clear_pointer(&f->bounce, g_free);
}

static void pflash_reset(Device *d, ResetKind kind)
{
    Pflash *f = (Pflash *)d;

    f->command = CMD_ARRAY;
    f->cycle = 0;
    f->status = ST_READY;
    f->count = f->base = 0;
    memset(f->buffer, 0, sizeof(f->buffer));
    memset(f->given, 0, sizeof(f->given));
}

static void pflash_settle(Device *d)
{
    Pflash *f = (Pflash *)d;

    map_begin();
    map_romd_mode(&f->rom, f->command == CMD_ARRAY);
    map_commit();
}

static void pflash_quiesce(Device *d, Barrier *home)
{
    Pflash *f = (Pflash *)d;

    f->home = home;
    idle(f);
}

static bool pflash_check(void *obj, Error **errp)
{
    Pflash *f = obj;

    return (f->count <= BUFFER && f->base % BUFFER == 0 && f->base < size_of(f)) ||
           error_set(errp, "write buffer of %u bytes at 0x%x", f->count, f->base);
}

static const StateField pflash_fields[] = {
    STATE_U8(Pflash, command),  STATE_U8(Pflash, cycle),
    STATE_U8(Pflash, status),   STATE_U32(Pflash, count),
    STATE_U32(Pflash, base),    STATE_BYTES(Pflash, buffer),
    STATE_BYTES(Pflash, given), { 0 },
};

static const StateDesc pflash_state = {
    .name = "cfi.pflash01", .version = 1, .fields = pflash_fields, .check = pflash_check,
};

static const PropDesc pflash_props[] = {
    PROP_LINK(Pflash, drive, "drive", "blockdev",
              "Node name or ID of a block device to use as a backend"),
    PROP_STR(Pflash, name, "name", "name of the memory block"),
    PROP_U32(Pflash, num_blocks, "num-blocks", 0, 0, 65536, "sectors, without a drive"),
    PROP_SIZE(Pflash, sector, "sector-length", 4096, 256, CHUNK, "bytes erased at once"),
    PROP_U8(Pflash, width, "width", 1, 1, 1, "bytes of the bus"),
    PROP_U8(Pflash, device_width, "device-width", 0, 0, 1, "bytes of one chip"),
    PROP_U8(Pflash, max_device_width, "max-device-width", 0, 0, 4, "bytes a chip may have"),
    PROP_U16(Pflash, id[0], "id0", 0x89, 0, 0xff, "manufacturer"),
    PROP_U16(Pflash, id[1], "id1", 0x18, 0, 0xff, "device"),
    PROP_U16(Pflash, id[2], "id2", 0, 0, 0xffff, "kept for configuration files"),
    PROP_U16(Pflash, id[3], "id3", 0, 0, 0xffff, "kept for configuration files"),
    PROP_BOOL(Pflash, secure, "secure", false, "only system management mode may write"),
    PROP_BOOL(Pflash, big_endian, "big-endian", false, "byte order of wide accesses"),
    PROP_BOOL(Pflash, old_multiple, "old-multiple-chip-handling", false,
              "kept for configuration files"),
    { 0 },
};

const DeviceType cfi_pflash01_type = {
    .name = "cfi.pflash01",
    .summary = "NOR flash, Intel command set",
    .slot = &board_slot,
    .size = sizeof(Pflash),
    .flags = DEV_INTERNAL | DEV_OWN_DOMAIN,
    .category = "Storage",
    .props = pflash_props,
    .state = &pflash_state,
    .realize = pflash_realize,
    .unrealize = pflash_unrealize,
    .reset = pflash_reset,
    .settle = pflash_settle,
    .quiesce = pflash_quiesce,
};

bool pflash_make(Machine *m, Region *box, Error **errp)
{
    static const char *const names[] = { "system.flash0", "system.flash1" };
    uint64_t end = 4 * GiB;

    assert_control();
    for (unsigned i = 0; i < 2 && m->cfg.pflash[i] != NULL; i++) {
        Pflash *f = (Pflash *)device_make(&cfi_pflash01_type, m->root, NULL, names[i], errp,
                                          "drive", m->cfg.pflash[i], "name", names[i], NULL);
        if (f == NULL) {
            return error_context(errp, "pflash%u", i);
        }
        if (4 * GiB - end + size_of(f) > SIZE_MAX_TOTAL) {
            return error_set(errp, "combined size of system firmware exceeds %u bytes",
                             (unsigned)SIZE_MAX_TOTAL);
        }
        end -= size_of(f);
        map_begin();
        map_put(box, f->secure ? &f->locked : &f->rom, end, 0);
        if (f->secure && m->smm != NULL) {
            map_put(&m->smm_root, &f->rom, end, 1);
        }
        if (i == 0) {
            map_put(box, &f->low, 1 * MiB - f->low.size, 0);
        }
        map_commit();
    }
    return m->cfg.pflash[0] != NULL || m->cfg.pflash[1] == NULL ||
           error_set(errp, "pflash1 without pflash0: the firmware's code belongs in unit 0");
}
