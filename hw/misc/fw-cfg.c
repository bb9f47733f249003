/* fw-cfg.c: the firmware configuration device: items by key and by name, read through a data port or by
 * DMA (the public fw_cfg specification, "QEMU Firmware Configuration (fw_cfg) Device").
 *
 * 1. entries is indexed by key (0..FW_CFG_FILE_FIRST-1, then the files in order of their names); arch
 *    holds the keys with bit 15.  It changes on control only, except for an item's data, which
 *    fw_cfg_modify_bytes() may replace under the domain.
 * 2. Reads past the end of an item give zeroes; writes through the data port do nothing.
 * 3. The DMA descriptor is read once, checked, then used.  Its control word is written last. */
#include "hw/misc/fw-cfg.h"

#include "core/dma.h"
#include "core/machine.h"
#include "core/state.h"
#include "hw/isa/isa.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { ID_TRADITIONAL = 1, ID_DMA = 2 };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };
enum { KEY_INVALID = 0xffff, KEY_ARCH = 0x8000, KEY_WRITE = 0x4000 };
#define ARCH_KEYS 8
/* Of the saved writable items, all together. */
#define WRITTEN_MAX (16 * MiB)

typedef struct Entry {
    const uint8_t *data;
    size_t size;
    uint8_t *owned;            /* equals @data, or NULL when it is borrowed */
    bool writable;
    const FwCfgHooks *hooks;
    void *arg;
    char *name;                /* of a file */
} Entry;

typedef struct DmaAccess {
    Be32 control, length;
    Be64 address;
} DmaAccess;

typedef struct FileRow {
    Be32 size;
    Be16 select;
    Le16 reserved;
    char name[FW_CFG_NAME_MAX + 1];
} FileRow;

typedef struct FwCfg {
    IsaDevice isa;
    Region ctl, dma;
    bool dma_enabled;
    uint16_t file_slots;
    Entry *entries;            /* FW_CFG_FILE_FIRST + file_slots of them */
    Entry arch[ARCH_KEYS];
    unsigned file_count;
    /* state */
    uint16_t key;
    uint32_t offset;           /* in the item; stays at its end */
    uint64_t dma_addr;         /* big-endian halves as written */
    GByteArray *written;       /* on the wire only: names and contents of writable files */
} FwCfg;

static Entry *entry_of(FwCfg *f, uint16_t key)
{
    unsigned plain = key & ~(KEY_ARCH | KEY_WRITE);

    if (key & KEY_ARCH) {
        return plain < ARCH_KEYS ? &f->arch[plain] : NULL;
    }
    return plain < FW_CFG_FILE_FIRST + f->file_count ? &f->entries[plain] : NULL;
}

static FwCfg *self(Device *d)
{
    return device_as(d, &fw_cfg_type);
}

/* --- items --- */
static void entry_set(Entry *e, const void *data, size_t n, bool copy)
{
    uint8_t *old = e->owned;

    e->owned = copy ? g_memdup2(data, n) : NULL;
    e->data = copy ? e->owned : data;
    e->size = MIN(n, (size_t)UINT32_MAX);
    g_free(old);
}

static void entry_clear(Entry *e)
{
    g_free(e->owned);
    g_free(e->name);
    *e = (Entry){ 0 };
}

static void add(Device *d, uint16_t key, const void *data, size_t n, bool copy)
{
    Entry *e = entry_of(self(d), key);

    g_assert(e && (key & KEY_ARCH || key < FW_CFG_FILE_DIR));
    entry_set(e, data, n, copy);
}

void fw_cfg_add_bytes(Device *d, uint16_t key, const void *data, size_t n)
{
    assert_control();
    add(d, key, data, n, true);
}

void fw_cfg_add_borrowed(Device *d, uint16_t key, const void *data, size_t n)
{
    assert_control();
    add(d, key, data, n, false);
}

void fw_cfg_add_string(Device *d, uint16_t key, const char *text)
{
    fw_cfg_add_bytes(d, key, text, strlen(text) + 1);
}

void fw_cfg_add_u16(Device *d, uint16_t key, uint16_t val)
{
    Le16 v = to_le16(val);

    fw_cfg_add_bytes(d, key, &v, sizeof(v));
}

void fw_cfg_add_u32(Device *d, uint16_t key, uint32_t val)
{
    Le32 v = to_le32(val);

    fw_cfg_add_bytes(d, key, &v, sizeof(v));
}

void fw_cfg_add_u64(Device *d, uint16_t key, uint64_t val)
{
    Le64 v = to_le64(val);

    fw_cfg_add_bytes(d, key, &v, sizeof(v));
}

/* Makes the directory anew from the files. */
static void make_directory(FwCfg *f)
{
    size_t n = 4 + f->file_count * sizeof(FileRow);
    g_autofree uint8_t *dir = g_malloc0(n);
    Be32 count = to_be32(f->file_count);

    memcpy(dir, &count, 4);
    for (unsigned i = 0; i < f->file_count; i++) {
        const Entry *e = &f->entries[FW_CFG_FILE_FIRST + i];
        FileRow row = { .size = to_be32((uint32_t)e->size),
                        .select = to_be16((uint16_t)(FW_CFG_FILE_FIRST + i)) };

        g_strlcpy(row.name, e->name, sizeof(row.name));
        memcpy(dir + 4 + i * sizeof(row), &row, sizeof(row));
    }
    entry_set(&f->entries[FW_CFG_FILE_DIR], dir, n, true);
}

static Entry *find_file(FwCfg *f, const char *name)
{
    for (unsigned i = 0; i < f->file_count; i++) {
        if (!strcmp(f->entries[FW_CFG_FILE_FIRST + i].name, name)) {
            return &f->entries[FW_CFG_FILE_FIRST + i];
        }
    }
    return NULL;
}

/* A new file entry at its place in the order of names; NULL: *errp is set. */
static Entry *new_file(FwCfg *f, const char *name, Error **errp)
{
    unsigned at = 0;

    if (!*name || strlen(name) > FW_CFG_NAME_MAX) {
        error_set(errp, "fw_cfg file name '%s' is not 1 to %u characters long", name, FW_CFG_NAME_MAX);
        return NULL;
    }
    if (find_file(f, name)) {
        error_set(errp, "duplicate fw_cfg file name '%s'", name);
        return NULL;
    }
    if (f->file_count == f->file_slots) {
        error_set(errp, "fw_cfg takes at most %u files, no room for '%s'", f->file_slots, name);
        return NULL;
    }
    Entry *files = f->entries + FW_CFG_FILE_FIRST;
    while (at < f->file_count && strcmp(files[at].name, name) < 0) {
        at++;
    }
    memmove(&files[at + 1], &files[at], (f->file_count - at) * sizeof(*files));
    files[at] = (Entry){ .name = g_strdup(name) };
    f->file_count++;
    return &files[at];
}

static bool add_file(Device *d, const char *name, const void *data, size_t n, bool copy, Error **errp)
{
    FwCfg *f = self(d);
    Entry *e = new_file(f, name, errp);

    if (!e) {
        return false;
    }
    entry_set(e, data, n, copy);
    make_directory(f);
    return true;
}

bool fw_cfg_add_file(Device *d, const char *name, const void *data, size_t n, Error **errp)
{
    assert_control();
    return add_file(d, name, data, n, true, errp);
}

bool fw_cfg_add_file_borrowed(Device *d, const char *name, const void *data, size_t n, Error **errp)
{
    assert_control();
    return add_file(d, name, data, n, false, errp);
}

bool fw_cfg_add_file_hooks(Device *d, const char *name, const void *data, size_t n, bool writable,
                           const FwCfgHooks *hooks, void *arg, Error **errp)
{
    assert_control();
    if (!add_file(d, name, data, n, true, errp)) {
        return false;
    }
    Entry *e = find_file(self(d), name);
    e->writable = writable;
    e->hooks = hooks;
    e->arg = arg;
    return true;
}

void fw_cfg_modify_bytes(Device *d, uint16_t key, const void *data, size_t n)
{
    Entry *e = entry_of(self(d), key);

    g_assert(e);
    entry_set(e, data, n, true);
    if (!(key & KEY_ARCH) && key >= FW_CFG_FILE_FIRST) {
        make_directory(self(d));
    }
}

bool fw_cfg_modify_file(Device *d, const char *name, const void *data, size_t n)
{
    FwCfg *f = self(d);
    Entry *e = find_file(f, name);

    if (!e) {
        return false;
    }
    bool resized = e->size != n;
    entry_set(e, data, n, true);
    if (resized) {
        make_directory(f);
    }
    return true;
}

const void *fw_cfg_file_data(Device *d, const char *name, size_t *n)
{
    const Entry *e = find_file(self(d), name);

    *n = e ? e->size : 0;
    return e ? e->data : NULL;
}

/* --- registers --- */
static void select_key(FwCfg *f, uint16_t key)
{
    const Entry *e = entry_of(f, key);

    f->offset = 0;
    f->key = e && e->data ? key : KEY_INVALID;
    TRACE(fw_cfg_select, "key=0x%04x %s%s", key, e && e->name ? e->name : "",
          f->key == KEY_INVALID ? " (none)" : "");
    if (e && e->hooks && e->hooks->selected) {
        e->hooks->selected(e->arg);
    }
}

static uint64_t ctl_read(void *dev, uint64_t off, unsigned size)
{
    FwCfg *f = dev;
    const Entry *e = f->key == KEY_INVALID ? NULL : entry_of(f, f->key);

    /* The selector is write-only; a byte read of either port is one of the data register. */
    if (size != 1 || !e || f->offset >= e->size) {
        return 0;
    }
    return e->data[f->offset++];
}

static void ctl_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    if (size == 2 && off == 0) {
        select_key(dev, (uint16_t)val);
    }
}

/* Moves @n bytes between the item and memory at @at; false: memory that is not there, or read-only. */
static bool transfer(FwCfg *f, Entry *e, uint32_t control, Iova at, uint32_t n)
{
    uint32_t left = e && f->offset < e->size ? (uint32_t)e->size - f->offset : 0;
    uint32_t some = MIN(n, left);
    bool ok = true;

    if (control & DMA_READ) {
        ok = (!some || dma_write(&f->isa.dev, at, e->data + f->offset, some))
            && (n == some || dma_fill(&f->isa.dev, at + some, 0, n - some));
    } else if (control & DMA_WRITE) {
        ok = e && e->writable && e->owned && some == n
            && dma_read(&f->isa.dev, at, e->owned + f->offset, n);
        if (ok && e->hooks && e->hooks->written) {
            e->hooks->written(e->arg, f->offset, n);
        }
    } else if (!(control & DMA_SKIP)) {
        return true;
    }
    f->offset += some;
    return ok;
}

static void run_dma(FwCfg *f)
{
    Iova at = f->dma_addr;
    DmaAccess a;

    f->dma_addr = 0;
    if (!dma_read(&f->isa.dev, at, &a, sizeof(a))) {
        guest_bug("fw_cfg", "no DMA descriptor at 0x%llx", (unsigned long long)at);
        return;
    }
    uint32_t control = be32(a.control);
    TRACE(fw_cfg_dma, "control=0x%08x length=0x%x address=0x%llx", control, be32(a.length),
          (unsigned long long)be64(a.address));
    if (control & DMA_SELECT) {
        select_key(f, control >> 16);
    }
    Entry *e = f->key == KEY_INVALID ? NULL : entry_of(f, f->key);
    Be32 done = to_be32(transfer(f, e, control, be64(a.address), be32(a.length)) ? 0 : DMA_ERROR);
    dma_write(&f->isa.dev, at + offsetof(DmaAccess, control), &done, sizeof(done));
}

static uint64_t dma_reg_read(void *dev, uint64_t off, unsigned size)
{
    static const uint8_t signature[8] = "QEMU CFG";

    return fits(off, size, 8) ? ld_n(signature + off, size) : 0;
}

static void dma_reg_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    FwCfg *f = dev;

    if (size == 8 && off == 0) {
        f->dma_addr = be64toh(val);
        run_dma(f);
    } else if (size == 4 && off == 0) {
        f->dma_addr = (uint64_t)be32toh((uint32_t)val) << 32;
    } else if (size == 4 && off == 4) {
        f->dma_addr |= be32toh((uint32_t)val);
        run_dma(f);
    }
}

static const RegionOps ctl_ops = { ctl_read, ctl_write, 1, 2, 0 };
static const RegionOps dma_ops = { dma_reg_read, dma_reg_write, 1, 8, 0 };

/* --- life --- */
static bool fw_cfg_realize(Device *d, Error **errp)
{
    FwCfg *f = self(d);
    uint32_t id = ID_TRADITIONAL | (f->dma_enabled ? ID_DMA : 0);

    f->entries = g_new0(Entry, FW_CFG_FILE_FIRST + f->file_slots);
    f->key = KEY_INVALID;
    fw_cfg_add_bytes(d, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_add_u32(d, FW_CFG_ID, id);
    make_directory(f);
    region_io(&f->ctl, d, "fw_cfg", &ctl_ops, 2);
    isa_io(d, &f->ctl, 0x510);
    if (f->dma_enabled) {
        region_io(&f->dma, d, "fw_cfg-dma", &dma_ops, 8);
        isa_io(d, &f->dma, 0x514);
    }
    if (d->machine) {
        d->machine->fw_cfg = d;
    }
    return true;
}

static void fw_cfg_unrealize(Device *d)
{
    FwCfg *f = self(d);

    if (d->machine && d->machine->fw_cfg == d) {
        d->machine->fw_cfg = NULL;
    }
    for (unsigned i = 0; i < FW_CFG_FILE_FIRST + f->file_count; i++) {
        entry_clear(&f->entries[i]);
    }
    for (unsigned i = 0; i < ARCH_KEYS; i++) {
        entry_clear(&f->arch[i]);
    }
    g_clear_pointer(&f->entries, g_free);
    g_clear_pointer(&f->written, g_byte_array_unref);
}

static void fw_cfg_reset(Device *d, ResetKind kind)
{
    FwCfg *f = self(d);

    f->key = FW_CFG_SIGNATURE;
    f->offset = 0;
    f->dma_addr = 0;
}

/* --- state: writable files as name, NUL, size, contents --- */
static void before_save(void *obj)
{
    FwCfg *f = obj;

    g_clear_pointer(&f->written, g_byte_array_unref);
    f->written = g_byte_array_new();
    for (unsigned i = 0; i < f->file_count; i++) {
        const Entry *e = &f->entries[FW_CFG_FILE_FIRST + i];

        if (e->writable) {
            Le32 n = to_le32((uint32_t)e->size);

            g_byte_array_append(f->written, (const uint8_t *)e->name, strlen(e->name) + 1);
            g_byte_array_append(f->written, (const uint8_t *)&n, 4);
            if (e->size) {
                g_byte_array_append(f->written, e->data, e->size);
            }
        }
    }
}

static bool check(void *obj, Error **errp)
{
    FwCfg *f = obj;
    size_t at = 0;

    while (f->written && at < f->written->len) {
        const uint8_t *p = f->written->data + at;
        size_t left = f->written->len - at;
        const uint8_t *nul = memchr(p, 0, left);

        if (!nul || !fits((uint64_t)(nul + 1 - p), 4, left)) {
            return error_set(errp, "cut off");
        }
        Entry *e = find_file(f, (const char *)p);
        uint32_t n = ld32(nul + 1);
        size_t head = (size_t)(nul + 5 - p);
        if (!e || !e->writable || e->size != n || !fits(head, n, left)) {
            return error_set(errp, "file '%.55s' is unknown or of another size", (const char *)p);
        }
        if (n) {
            memcpy(e->owned, p + head, n);
        }
        at += head + n;
    }
    g_clear_pointer(&f->written, g_byte_array_unref);
    return true;
}

static const StateField fw_cfg_fields[] = {
    STATE_U16(FwCfg, key), STATE_U32(FwCfg, offset), STATE_U64(FwCfg, dma_addr),
    STATE_BLOB(FwCfg, written, WRITTEN_MAX),
    { 0 },
};
static const StateDesc fw_cfg_state = {
    .name = "fw_cfg", .version = 1, .fields = fw_cfg_fields, .before_save = before_save,
    .check = check,
};

static const PropDesc fw_cfg_props[] = {
    PROP_BOOL(FwCfg, dma_enabled, "dma_enabled", true, "offer the DMA interface"),
    PROP_U16(FwCfg, file_slots, "x-file-slots", 32, 0x10, 0x3fdf, "most files in the directory"),
    { 0 },
};

const DeviceType fw_cfg_type = {
    .name = "fw_cfg_io", .summary = "firmware configuration", .slot = &isa_slot,
    .size = sizeof(FwCfg), .flags = DEV_INTERNAL, .props = fw_cfg_props, .state = &fw_cfg_state,
    .category = "Misc", .realize = fw_cfg_realize, .unrealize = fw_cfg_unrealize,
    .reset = fw_cfg_reset,
};
