/* smbios.c: SMBIOS structures, see smbios.h.  Sections are those of DSP0134 3.1.1.
 *
 * 1. Structures come in the order of their types; handles are (type << 8) + index, OEM strings excepted.
 * 2. A string that nobody gave has number 0, which guests print as "Not Specified". */
#include "hw/board/smbios.h"

#include <string.h>
#include "util/bytes.h"

enum {
    H_BIOS = 0x0000, H_SYSTEM = 0x0100, H_BASEBOARD = 0x0200, H_CHASSIS = 0x0300, H_PROCESSOR = 0x0400,
    H_OEM = 0x0e00, H_ARRAY = 0x1000, H_DEVICE = 0x1100, H_MAPPED = 0x1300, H_BOOT = 0x2000, H_END = 0x7f00,
};

/* The largest memory device made: more RAM is several of them. */
#define DEVICE_MAX (16 * GiB)

typedef struct Build {
    const Machine *m;
    const SmbiosConfigData *c;
    uint64_t cpu_signature;
    GByteArray *t;
    unsigned count, longest;           /* structures, and bytes of the longest one */
    unsigned at, strings;              /* of the structure being made: offset, strings so far */
    GByteArray *text;
} Build;

static void put(Build *k, uint64_t v, unsigned n)
{
    uint8_t raw[8];

    st_n(raw, n, v);
    g_byte_array_append(k->t, raw, n);
}

/* The number byte of string @s. */
static void put_string(Build *k, const char *s)
{
    if (s == NULL || s[0] == 0) {
        put(k, 0, 1);
        return;
    }
    g_byte_array_append(k->text, (const uint8_t *)s, strlen(s) + 1);
    put(k, ++k->strings, 1);
}

/* Header (6.1.2); the length is written by end(). */
static void begin(Build *k, unsigned type, unsigned handle)
{
    k->at = k->t->len;
    k->strings = 0;
    g_byte_array_set_size(k->text, 0);
    put(k, type, 1);
    put(k, 0, 1);
    put(k, handle, 2);
}

/* The strings (6.1.3), ended by an empty one; without any, two NULs. */
static void end(Build *k)
{
    k->t->data[k->at + 1] = k->t->len - k->at;
    g_byte_array_append(k->t, k->text->data, k->text->len);
    put(k, 0, k->strings > 0 ? 1 : 2);
    k->longest = MAX(k->longest, k->t->len - k->at);
    k->count++;
}

/* True if structures of @type shall be made: no file brought them. */
static bool mine(const Build *k, unsigned type)
{
    return !k->c->in_blob[type];
}

static const char *or_else(const char *given, const char *dflt)
{
    return given != NULL ? given : dflt;
}

/* 7.1 */
static void bios(Build *k)
{
    const SmbiosBios *b = &k->c->bios;

    if (!b->wanted || !mine(k, 0)) {
        return;
    }
    begin(k, 0, H_BIOS);
    put_string(k, b->vendor);
    put_string(k, b->version);
    put(k, 0xe800, 2);                                        /* segment */
    put_string(k, b->date);
    put(k, 0, 1);                                             /* 64 KiB of ROM */
    put(k, 1 << 3, 8);                                        /* characteristics not supported */
    put(k, 0, 1);
    put(k, 1 << 4 | 1 << 2 | (b->uefi ? 1 << 3 : 0), 1);      /* virtual machine, targeted contents */
    put(k, b->major, 1);
    put(k, b->minor, 1);
    put(k, 0xffff, 2);                                        /* no embedded controller */
    end(k);
}

/* 7.2.1: the first three fields of a UUID are little-endian. */
static void put_uuid(Build *k, const char *text)
{
    static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
    uint8_t raw[16];

    machine_uuid(text, raw);
    for (unsigned i = 0; i < 16; i++) {
        put(k, raw[order[i]], 1);
    }
}

/* 7.2 */
static void system_info(Build *k)
{
    const SmbiosSystem *s = &k->c->system;

    if (!mine(k, 1)) {
        return;
    }
    begin(k, 1, H_SYSTEM);
    put_string(k, or_else(s->manufacturer, "QEMU"));
    put_string(k, or_else(s->product, k->m->type->desc));
    put_string(k, or_else(s->version, k->m->type->name));
    put_string(k, s->serial);
    put_uuid(k, or_else(s->uuid, k->m->cfg.uuid));
    put(k, 6, 1);                                             /* power switch */
    put_string(k, s->sku);
    put_string(k, s->family);
    end(k);
}

/* 7.3 */
static void baseboard(Build *k)
{
    const SmbiosBaseboard *b = &k->c->baseboard;

    if (!b->wanted || !mine(k, 2)) {
        return;
    }
    begin(k, 2, H_BASEBOARD);
    put_string(k, or_else(b->manufacturer, "QEMU"));
    put_string(k, or_else(b->product, k->m->type->desc));
    put_string(k, or_else(b->version, k->m->type->name));
    put_string(k, b->serial);
    put_string(k, b->asset);
    put(k, 1, 1);                                             /* hosting board */
    put_string(k, b->location);
    put(k, H_CHASSIS, 2);
    put(k, 0x0a, 1);                                          /* motherboard */
    put(k, 0, 1);
    end(k);
}

/* 7.4 */
static void chassis(Build *k)
{
    const SmbiosChassis *c = &k->c->chassis;

    if (!mine(k, 3)) {
        return;
    }
    begin(k, 3, H_CHASSIS);
    put_string(k, or_else(c->manufacturer, "QEMU"));
    put(k, 1, 1);                                             /* other */
    put_string(k, or_else(c->version, k->m->type->name));
    put_string(k, c->serial);
    put_string(k, c->asset);
    put(k, 0x02030303, 4);                                    /* states safe, security unknown */
    put(k, 0, 4);
    put(k, 0, 4);                                             /* height, cords, contained elements */
    put_string(k, c->sku);
    end(k);
}

/* 7.5: one for each socket; counts over 254 are in the 16-bit fields of 3.0. */
static void processor(Build *k, unsigned socket)
{
    const SmbiosProcessor *p = &k->c->processor;
    const CpuTopology *t = &k->m->cfg.smp;
    unsigned cores = t->dies * t->cores, threads = cores * t->threads;
    g_autofree char *name = g_strdup_printf("%s %u", or_else(p->sock_pfx, "CPU"), socket);

    begin(k, 4, H_PROCESSOR + socket);
    put_string(k, name);
    put(k, 3, 1);                                             /* central processor */
    put(k, 1, 1);                                             /* family: other */
    put_string(k, or_else(p->manufacturer, "QEMU"));
    put(k, p->has_id ? p->id : k->cpu_signature, 8);
    put_string(k, or_else(p->version, k->m->type->name));
    put(k, 0, 1);
    put(k, 0, 2);                                             /* external clock unknown */
    put(k, p->max_speed_mhz != 0 ? p->max_speed_mhz : 2000, 2);
    put(k, p->current_speed_mhz != 0 ? p->current_speed_mhz : 2000, 2);
    put(k, 0x41, 1);                                          /* populated, enabled */
    put(k, 1, 1);                                             /* upgrade: other */
    put(k, UINT64_C(0xffffffffffff), 6);                      /* no cache structures */
    put_string(k, p->serial);
    put_string(k, p->asset);
    put_string(k, p->part);
    put(k, MIN(cores, 255), 1);
    put(k, MIN(cores, 255), 1);
    put(k, MIN(threads, 255), 1);
    put(k, 2, 2);                                             /* characteristics unknown */
    put(k, 1, 2);                                             /* family 2: other */
    if (k->c->entry64) {
        put(k, cores, 2);
        put(k, cores, 2);
        put(k, threads, 2);
    }
    end(k);
}

static void processors(Build *k)
{
    for (unsigned i = 0; mine(k, 4) && i < k->m->cfg.smp.sockets; i++) {
        processor(k, i);
    }
}

/* 7.12 */
static void oem_strings(Build *k)
{
    const GPtrArray *oem = k->c->oem;

    if (oem == NULL || oem->len == 0 || !mine(k, 11)) {
        return;
    }
    begin(k, 11, H_OEM);
    put(k, oem->len, 1);
    for (unsigned i = 0; i < oem->len; i++) {
        const char *s = g_ptr_array_index(oem, i);
        g_byte_array_append(k->text, (const uint8_t *)s, strlen(s) + 1);
        k->strings++;
    }
    end(k);
}

/* 7.17 */
static void memory_array(Build *k, unsigned devices)
{
    uint64_t kib = k->m->cfg.ram_size / KiB;
    bool large = kib >= UINT32_C(0x80000000);

    if (!mine(k, 16)) {
        return;
    }
    begin(k, 16, H_ARRAY);
    put(k, 1, 1);                                             /* location: other */
    put(k, 3, 1);                                             /* system memory */
    put(k, 6, 1);                                             /* multi-bit ECC */
    put(k, large ? UINT32_C(0x80000000) : kib, 4);
    put(k, 0xfffe, 2);                                        /* no error structure */
    put(k, devices, 2);
    put(k, large ? k->m->cfg.ram_size : 0, 8);
    end(k);
}

/* 7.18 */
static void memory_device(Build *k, unsigned index, uint64_t size)
{
    const SmbiosMemory *d = &k->c->memory;
    uint64_t mib = ALIGN_UP(size, MiB) / MiB;
    g_autofree char *name = g_strdup_printf("%s %u", or_else(d->loc_pfx, "DIMM"), index);

    if (!mine(k, 17)) {
        return;
    }
    begin(k, 17, H_DEVICE + index);
    put(k, H_ARRAY, 2);
    put(k, 0xfffe, 2);                                        /* no error structure */
    put(k, UINT32_MAX, 4);                                    /* widths unknown */
    put(k, mib < 0x7fff ? mib : 0x7fff, 2);
    put(k, 9, 1);                                             /* DIMM */
    put(k, 0, 1);
    put_string(k, name);
    put_string(k, d->bank);
    put(k, 7, 1);                                             /* RAM */
    put(k, 1 << 1, 2);                                        /* detail: other */
    put(k, d->speed_mhz, 2);
    put_string(k, or_else(d->manufacturer, "QEMU"));
    put_string(k, d->serial);
    put_string(k, d->asset);
    put_string(k, d->part);
    put(k, 0, 1);                                             /* rank unknown */
    put(k, mib < 0x7fff ? 0 : mib, 4);
    put(k, d->speed_mhz, 2);
    put(k, 0, 6);                                             /* voltages unknown */
    end(k);
}

/* 7.20: KiB addresses; those that need more than 32 bits go to the extended fields. */
static void memory_mapped(Build *k, unsigned index, uint64_t at, uint64_t size)
{
    uint64_t last = at + size - 1;
    bool large = last / KiB >= UINT32_MAX;

    if (!mine(k, 19) || size == 0) {
        return;
    }
    begin(k, 19, H_MAPPED + index);
    put(k, large ? UINT32_MAX : at / KiB, 4);
    put(k, large ? UINT32_MAX : last / KiB, 4);
    put(k, H_ARRAY, 2);
    put(k, 1, 1);                                             /* partition width */
    put(k, large ? at : 0, 8);
    put(k, large ? last : 0, 8);
    end(k);
}

static void memory(Build *k)
{
    uint64_t size = k->m->cfg.ram_size;
    unsigned devices = MAX(ALIGN_UP(size, DEVICE_MAX) / DEVICE_MAX, 1);

    memory_array(k, devices);
    for (unsigned i = 0; i < devices; i++) {
        memory_device(k, i, MIN(size - i * DEVICE_MAX, DEVICE_MAX));
    }
    memory_mapped(k, 0, 0, k->m->below_4g);
    memory_mapped(k, 1, 4 * GiB, k->m->above_4g);
}

/* 7.33 and 7.46 */
static void boot_and_end(Build *k)
{
    if (mine(k, 32)) {
        begin(k, 32, H_BOOT);
        put(k, 0, 6);
        put(k, 0, 1);                                         /* no errors detected */
        end(k);
    }
    begin(k, 127, H_END);
    end(k);
}

/* --- files --- */

/* The whole length of the structure at @p, its strings included, or 0. */
static size_t structure_size(const uint8_t *p, size_t n)
{
    size_t at;

    if (n < 6 || p[1] < 4 || p[1] + 2u > n) {
        return 0;
    }
    for (at = p[1]; at + 1 < n; at++) {
        if (p[at] == 0 && p[at + 1] == 0) {
            return at + 2;
        }
    }
    return 0;
}

bool smbios_add_blob(SmbiosConfigData *c, const uint8_t *data, size_t n, const char *path, Error **errp)
{
    size_t at = 0;

    if (c->blob == NULL) {
        c->blob = g_byte_array_new();
    }
    while (at < n) {
        size_t len = structure_size(data + at, n - at);
        if (len == 0) {
            return error_set(errp, "'%s' has no whole SMBIOS structure at byte %zu", path, at);
        }
        if (data[at] == 127) {                                /* the end is ours to write */
            break;
        }
        c->in_blob[data[at]] = true;
        g_byte_array_append(c->blob, data + at, len);
        at += len;
    }
    return true;
}

static void put_blob(Build *k)
{
    const GByteArray *b = k->c->blob;

    for (size_t at = 0; b != NULL && at < b->len;) {
        size_t len = structure_size(b->data + at, b->len - at);
        k->longest = MAX(k->longest, len);
        k->count++;
        at += len;
    }
    if (b != NULL) {
        g_byte_array_append(k->t, b->data, b->len);
    }
}

/* --- entry points --- */

static void checksum(uint8_t *p, unsigned n, unsigned field)
{
    uint8_t sum = 0;

    p[field] = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += p[i];
    }
    p[field] = -sum;
}

/* 5.2.1 and 5.2.2.  Address and checksums are whoever places it to fill in. */
static void make_anchor(Smbios *s, const Build *k)
{
    uint8_t raw[31] = { 0 };

    if (k->c->entry64) {
        memcpy(raw, "_SM3_", 5);
        raw[6] = 24;
        raw[7] = 3;                                           /* version 3.0 */
        raw[10] = 1;                                          /* entry point revision */
        st32(raw + 12, s->tables->len);
        g_byte_array_append(s->anchor, raw, 24);
        return;
    }
    memcpy(raw, "_SM_", 4);
    raw[5] = 31;
    raw[6] = 2;                                               /* version 2.8 */
    raw[7] = 8;
    st16(raw + 8, k->longest);
    memcpy(raw + 16, "_DMI_", 5);
    st16(raw + 22, s->tables->len);
    st16(raw + 28, k->count);
    raw[30] = 0x28;
    g_byte_array_append(s->anchor, raw, 31);
}

bool smbios_build(Smbios *s, const Machine *m, uint64_t cpu_signature, Error **errp)
{
    static const SmbiosConfigData defaults;
    g_autoptr(GByteArray) text = g_byte_array_new();
    Build k = {
        .m = m, .c = m->cfg.smbios != NULL ? m->cfg.smbios : &defaults, .cpu_signature = cpu_signature,
        .text = text,
    };

    k.t = s->tables = g_byte_array_new();
    s->anchor = g_byte_array_new();
    put_blob(&k);
    bios(&k);
    system_info(&k);
    baseboard(&k);
    chassis(&k);
    processors(&k);
    oem_strings(&k);
    memory(&k);
    boot_and_end(&k);
    if (!k.c->entry64 && (s->tables->len > UINT16_MAX || k.count > UINT16_MAX)) {
        error_set(errp, "-smbios: the tables have %u bytes, the 32-bit entry point takes 65535",
                  s->tables->len);
        return error_hint(errp, "use -machine smbios-entry-point-type=64");
    }
    make_anchor(s, &k);
    return true;
}

void smbios_clear(Smbios *s)
{
    g_clear_pointer(&s->tables, g_byte_array_unref);
    g_clear_pointer(&s->anchor, g_byte_array_unref);
}

bool smbios_place(const Smbios *s, Gpa *at, Gpa end, Gpa *high,
                  bool (*put_bytes)(Gpa at, const void *bytes, size_t n, void *arg), void *arg)
{
    uint8_t anchor[31];
    Gpa anchor_at = ALIGN_UP(*at, 16), tables_at = ALIGN_UP(anchor_at + s->anchor->len, 16);

    if (!fits(anchor_at, s->anchor->len, end) || s->tables->len > *high) {
        return false;
    }
    if (fits(tables_at, s->tables->len, end)) {
        *at = tables_at + s->tables->len;
    } else {
        *at = anchor_at + s->anchor->len;
        tables_at = *high = ALIGN_DOWN(*high - s->tables->len, 16);
    }
    memcpy(anchor, s->anchor->data, s->anchor->len);
    if (s->anchor->len == 24) {
        st64(anchor + 16, tables_at);
        checksum(anchor, 24, 5);
    } else {
        st32(anchor + 24, tables_at);
        checksum(anchor + 16, 15, 5);
        checksum(anchor, 31, 4);
    }
    return put_bytes(anchor_at, anchor, s->anchor->len, arg) &&
           put_bytes(tables_at, s->tables->data, s->tables->len, arg);
}
