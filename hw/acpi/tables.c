/* tables.c: ACPI tables as bytes; the DSDT is in dsdt.c.  Sections are those of ACPI 6.4.
 *
 * 1. Every table lies in one file, ACPI_TABLES_FILE; offsets in it become addresses by the linker.
 * 2. Checksums are linker commands, since pointers change them. */
#include "hw/acpi/tables.h"

#include <string.h>
#include "util/bytes.h"

enum { HEADER_SIZE = 36, CHECKSUM_AT = 9, SCI_INT = 9 };

typedef struct Build {
    Linker *l;
    GByteArray *t;
    const Machine *m;
    const AcpiBoard *b;
    unsigned listed[96];       /* offsets of the tables that RSDT and XSDT name */
    unsigned listed_count;
} Build;

static void put(GByteArray *a, uint64_t v, unsigned n)
{
    uint8_t raw[8];

    st_n(raw, n, v);
    g_byte_array_append(a, raw, n);
}

static void pad(GByteArray *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        put(a, 0, 1);
    }
}

/* Starts a table (5.2.6) and returns its offset. */
static unsigned begin(Build *k, const char *signature, unsigned revision)
{
    unsigned at;

    pad(k->t, (16 - k->t->len % 16) % 16);
    at = k->t->len;
    g_byte_array_append(k->t, (const uint8_t *)signature, 4);
    put(k->t, 0, 4);                                          /* length: end() */
    put(k->t, revision, 1);
    put(k->t, 0, 1);                                          /* checksum: the linker */
    g_byte_array_append(k->t, (const uint8_t *)"RHEA  " "RHEAPC  ", 14);
    put(k->t, 1, 4);
    g_byte_array_append(k->t, (const uint8_t *)"RHEA", 4);
    put(k->t, 1, 4);
    return at;
}

static void end(Build *k, unsigned at, bool list)
{
    st32(k->t->data + at + 4, k->t->len - at);
    linker_checksum(k->l, ACPI_TABLES_FILE, at + CHECKSUM_AT, at, k->t->len - at);
    if (list) {
        k->listed[k->listed_count++] = at;
    }
}

/* A field of @size bytes that will hold the address of offset @to in the tables file. */
static void put_pointer(Build *k, unsigned to, unsigned size)
{
    unsigned at = k->t->len;

    put(k->t, to, size);
    linker_pointer(k->l, ACPI_TABLES_FILE, at, size, ACPI_TABLES_FILE);
}

/* Generic Address Structure (5.2.3.2) in I/O space (1) or memory (0). */
static void put_gas(GByteArray *a, unsigned space, unsigned bits, unsigned access, uint64_t at)
{
    put(a, space, 1);
    put(a, bits, 1);
    put(a, 0, 1);
    put(a, access, 1);
    put(a, at, 8);
}

static unsigned facs(Build *k)
{
    unsigned at;

    pad(k->t, (64 - k->t->len % 64) % 64);
    at = k->t->len;
    g_byte_array_append(k->t, (const uint8_t *)"FACS", 4);
    put(k->t, 64, 4);
    pad(k->t, 56);
    return at;
}

static unsigned dsdt(Build *k)
{
    unsigned at = begin(k, "DSDT", 1);
    GByteArray *body = acpi_dsdt(k->m, k->b);

    g_byte_array_append(k->t, body->data, body->len);
    g_byte_array_unref(body);
    end(k, at, false);
    return at;
}

/* FADT flags (table 5-10). */
enum {
    FADT_WBINVD = 1 << 0, FADT_PROC_C1 = 1 << 2, FADT_SLP_BUTTON = 1 << 5, FADT_RTC_S4 = 1 << 7,
    FADT_RESET_REG_SUP = 1 << 10, FADT_USE_PLATFORM_CLOCK = 1 << 15, FADT_FORCE_APIC_CLUSTER = 1 << 18,
};

/* 5.2.9, revision 3. */
static void fadt(Build *k, unsigned facs_at, unsigned dsdt_at)
{
    const AcpiBoard *b = k->b;
    GByteArray *t = k->t;
    unsigned at = begin(k, "FACP", 3);

    put_pointer(k, facs_at, 4);
    put_pointer(k, dsdt_at, 4);
    put(t, 0, 1);                                             /* reserved, was INT_MODEL */
    put(t, 0, 1);                                             /* preferred profile: unspecified */
    put(t, SCI_INT, 2);
    put(t, b->smi ? 0xb2 : 0, 4);                             /* SMI_CMD; none: always in ACPI mode */
    put(t, b->smi ? b->acpi_enable : 0, 1);
    put(t, b->smi ? b->acpi_disable : 0, 1);
    pad(t, 2);                                                /* S4BIOS_REQ, PSTATE_CNT */
    put(t, b->pm_base, 4);
    put(t, 0, 4);
    put(t, b->pm_base + 4, 4);
    put(t, 0, 4);
    put(t, 0, 4);                                             /* PM2_CNT */
    put(t, b->pm_base + 8, 4);
    put(t, b->gpe0, 4);
    put(t, 0, 4);
    put(t, 4, 1);                                             /* PM1_EVT_LEN */
    put(t, 2, 1);
    put(t, 0, 1);
    put(t, 4, 1);
    put(t, b->gpe0_len, 1);
    pad(t, 3);                                                /* GPE1, CST_CNT */
    put(t, 0xfff, 2);                                         /* no C2 */
    put(t, 0xfff, 2);                                         /* no C3 */
    pad(t, 2 + 2 + 1 + 1);                                    /* flush, duty */
    pad(t, 2);                                                /* DAY_ALRM, MON_ALRM */
    put(t, 0x32, 1);                                          /* CENTURY */
    put(t, b->ps2 ? 3 : 1, 2);                                /* legacy devices, 8042 */
    pad(t, 1);
    put(t, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_RTC_S4 | FADT_RESET_REG_SUP |
           FADT_USE_PLATFORM_CLOCK | (k->m->cfg.smp.max_cpus > 8 ? FADT_FORCE_APIC_CLUSTER : 0), 4);
    put_gas(t, 1, 8, 1, 0xcf9);                               /* RESET_REG */
    put(t, 0x0f, 1);
    pad(t, 3);
    put_pointer(k, facs_at, 8);
    put_pointer(k, dsdt_at, 8);
    put_gas(t, 1, 32, 0, b->pm_base);
    put_gas(t, 0, 0, 0, 0);
    put_gas(t, 1, 16, 0, b->pm_base + 4);
    put_gas(t, 0, 0, 0, 0);
    put_gas(t, 0, 0, 0, 0);
    put_gas(t, 1, 32, 0, b->pm_base + 8);
    put_gas(t, 1, b->gpe0_len * 8, 0, b->gpe0);
    put_gas(t, 0, 0, 0, 0);
    end(k, at, true);
}

void acpi_madt_cpu(GByteArray *t, const Machine *m, const AcpiBoard *b, unsigned index, bool present)
{
    uint32_t id = b->apic_id(&m->cfg.smp, index);

    if (id < 255) {
        put(t, 0, 1);                                         /* 5.2.12.2 Processor Local APIC */
        put(t, 8, 1);
        put(t, index, 1);
        put(t, id, 1);
        put(t, present, 4);
    } else {
        put(t, 9, 1);                                         /* 5.2.12.12 Processor Local x2APIC */
        put(t, 16, 1);
        put(t, 0, 2);
        put(t, id, 4);
        put(t, present, 4);
        put(t, index, 4);
    }
}

static bool cpu_present(const Machine *m, unsigned index)
{
    return m->cpus.dev != NULL ? m->cpus.dev[index] != NULL : index < m->cfg.smp.cpus;
}

/* 5.2.12.5: ISA @irq is @gsi with MPS INTI flags @flags. */
static void madt_override(GByteArray *t, unsigned irq, unsigned gsi, unsigned flags)
{
    put(t, 2, 1);
    put(t, 10, 1);
    put(t, 0, 1);
    put(t, irq, 1);
    put(t, gsi, 4);
    put(t, flags, 2);
}

static void madt(Build *k)
{
    static const uint8_t level_irqs[] = { 5, 9, 10, 11 };
    GByteArray *t = k->t;
    unsigned at = begin(k, "APIC", 3);
    bool wide = false;

    put(t, 0xfee00000, 4);
    put(t, 1, 4);                                             /* PCAT_COMPAT */
    for (unsigned i = 0; i < k->m->cfg.smp.max_cpus; i++) {
        acpi_madt_cpu(t, k->m, k->b, i, cpu_present(k->m, i));
        wide |= k->b->apic_id(&k->m->cfg.smp, i) >= 255;
    }
    put(t, 1, 1);                                             /* 5.2.12.3 I/O APIC */
    put(t, 12, 1);
    put(t, 0, 2);
    put(t, 0xfec00000, 4);
    put(t, 0, 4);
    madt_override(t, 0, 2, 0);
    for (unsigned i = 0; i < ARRAY_LEN(level_irqs); i++) {
        madt_override(t, level_irqs[i], level_irqs[i], 0xd);  /* level, active high */
    }
    put(t, 4, 1);                                             /* 5.2.12.7 LINT1 is NMI on all CPUs */
    put(t, 6, 1);
    put(t, 0xff, 1);
    put(t, 0, 2);
    put(t, 1, 1);
    if (wide) {
        put(t, 10, 1);                                        /* 5.2.12.13 the same for x2APICs */
        put(t, 12, 1);
        put(t, 0, 2);
        put(t, UINT32_MAX, 4);
        put(t, 1, 1);
        pad(t, 3);
    }
    end(k, at, true);
}

enum { MADT_CPUS_AT = 44, MADT_LAPIC = 0 };

void acpi_refresh(Linker *l, const Machine *m, unsigned *at, unsigned *len)
{
    GByteArray *t = linker_blob(l, ACPI_TABLES_FILE);
    unsigned i = 0, off;
    uint8_t *madt;

    for (*at = 0; memcmp(t->data + *at, "APIC", 4) != 0; ) {
        *at = ALIGN_UP(*at + ld32(t->data + *at + 4), 16);
    }
    madt = t->data + *at;
    *len = ld32(madt + 4);
    for (off = MADT_CPUS_AT; i < m->cfg.smp.max_cpus; off += madt[off + 1], i++) {
        uint8_t *flags = madt + off + (madt[off] == MADT_LAPIC ? 4 : 8);
        /* Right both before the linker's sum and after it. */
        madt[CHECKSUM_AT] += *flags - cpu_present(m, i);
        *flags = cpu_present(m, i);
    }
}

/* IA-PC HPET 1.0a, 3.2.4. */
static void hpet(Build *k)
{
    unsigned at = begin(k, "HPET", 1);

    put(k->t, 0x8086a201, 4);
    put_gas(k->t, 0, 0, 0, 0xfed00000);
    put(k->t, 0, 1);
    put(k->t, 0, 2);
    put(k->t, 0, 1);
    end(k, at, true);
}

/* PCI Firmware 3.0, 4.1.2. */
static void mcfg(Build *k)
{
    unsigned at = begin(k, "MCFG", 1);

    pad(k->t, 8);
    put(k->t, k->b->ecam, 8);
    put(k->t, 0, 2);
    put(k->t, 0, 1);
    put(k->t, 255, 1);
    pad(k->t, 4);
    end(k, at, true);
}

enum { SRAT_ENABLED = 1, SRAT_HOT_PLUGGABLE = 2 };

static void srat_range(Build *k, unsigned node, uint64_t at, uint64_t size, unsigned flags)
{
    if (size == 0) {
        return;
    }
    put(k->t, 1, 1);                                          /* 5.2.16.2 */
    put(k->t, 40, 1);
    put(k->t, node, 4);
    put(k->t, 0, 2);
    put(k->t, at, 8);
    put(k->t, size, 8);
    put(k->t, 0, 4);
    put(k->t, flags, 4);
    put(k->t, 0, 8);
}

static void srat_memory(Build *k, unsigned node, uint64_t at, uint64_t size)
{
    srat_range(k, node, at, size, SRAT_ENABLED);
}

static void srat_cpu(Build *k, unsigned index)
{
    uint32_t id = k->b->apic_id(&k->m->cfg.smp, index);
    unsigned node = k->m->cfg.cpu_node != NULL ? k->m->cfg.cpu_node[index] : 0;

    if (id < 255) {
        put(k->t, 0, 1);                                      /* 5.2.16.1 */
        put(k->t, 16, 1);
        put(k->t, node, 1);
        put(k->t, id, 1);
        put(k->t, 1, 4);
        put(k->t, 0, 8);
    } else {
        put(k->t, 2, 1);                                      /* 5.2.16.3 */
        put(k->t, 24, 1);
        put(k->t, 0, 2);
        put(k->t, node, 4);
        put(k->t, id, 4);
        put(k->t, 1, 4);
        put(k->t, 0, 8);
    }
}

/* 5.2.16: nodes take guest RAM in order; the PCI hole splits the one that spans it. */
static void srat(Build *k)
{
    const BoardConfig *c = &k->m->cfg;
    unsigned at = begin(k, "SRAT", 1);
    uint64_t next = 0, below = k->m->below_4g;

    put(k->t, 1, 4);
    put(k->t, 0, 8);
    for (unsigned i = 0; i < c->smp.max_cpus; i++) {
        srat_cpu(k, i);
    }
    for (unsigned n = 0; n < c->numa_nodes; n++) {
        uint64_t size = c->numa[n].mem, low = next < below ? MIN(size, below - next) : 0;

        if (next < 640 * KiB && low > 1 * MiB) {              /* leave the VGA and ROM hole out */
            srat_memory(k, n, next, 640 * KiB - next);
            srat_memory(k, n, 1 * MiB, next + low - 1 * MiB);
        } else {
            srat_memory(k, n, next, low);
        }
        srat_memory(k, n, 4 * GiB + (next + low - below), size - low);
        next += size;
    }
    /* Memory that may come; which node it joins is said by its device (_PXM). */
    srat_range(k, c->numa_nodes - 1, k->m->memory_area.base, k->m->memory_area.size,
               SRAT_ENABLED | SRAT_HOT_PLUGGABLE);
    end(k, at, true);
}

/* 5.2.17. */
static void slit(Build *k)
{
    const BoardConfig *c = &k->m->cfg;
    unsigned at = begin(k, "SLIT", 1);

    put(k->t, c->numa_nodes, 8);
    for (unsigned i = 0; i < c->numa_nodes; i++) {
        for (unsigned j = 0; j < c->numa_nodes; j++) {
            uint8_t d = c->numa[i].distance[j];
            put(k->t, d != 0 ? d : i == j ? 10 : 20, 1);
        }
    }
    end(k, at, true);
}

static bool distances_given(const BoardConfig *c)
{
    for (unsigned i = 0; i < c->numa_nodes; i++) {
        for (unsigned j = 0; j < c->numa_nodes; j++) {
            if (c->numa[i].distance[j] != 0) {
                return true;
            }
        }
    }
    return false;
}

/* Windows ACPI Emulated devices Table: the PM timer is good (bit 1), RTC needs no acknowledge (bit 0). */
static void waet(Build *k)
{
    unsigned at = begin(k, "WAET", 1);

    put(k->t, 1 << 1, 4);
    end(k, at, true);
}

/* The user's own tables. */
static void more(Build *k)
{
    const GPtrArray *all = k->m->cfg.acpi_tables;

    for (unsigned i = 0; all != NULL && i < all->len; i++) {
        const GByteArray *t = g_ptr_array_index(all, i);
        unsigned at;

        pad(k->t, (16 - k->t->len % 16) % 16);
        at = k->t->len;
        g_byte_array_append(k->t, t->data, t->len);
        k->t->data[at + CHECKSUM_AT] = 0;
        end(k, at, true);
    }
}

static unsigned root_table(Build *k, const char *signature, unsigned size)
{
    unsigned at = begin(k, signature, 1);

    for (unsigned i = 0; i < k->listed_count; i++) {
        put_pointer(k, k->listed[i], size);
    }
    end(k, at, false);
    return at;
}

/* 5.2.5.3, revision 2. */
static void rsdp(Build *k, unsigned rsdt_at, unsigned xsdt_at)
{
    GByteArray *r = linker_file(k->l, ACPI_RSDP_FILE, 16, ZONE_FSEG);

    g_byte_array_append(r, (const uint8_t *)"RSD PTR ", 8);
    put(r, 0, 1);
    g_byte_array_append(r, (const uint8_t *)"RHEA  ", 6);
    put(r, 2, 1);
    put(r, rsdt_at, 4);
    put(r, 36, 4);
    put(r, xsdt_at, 8);
    put(r, 0, 4);
    linker_pointer(k->l, ACPI_RSDP_FILE, 16, 4, ACPI_TABLES_FILE);
    linker_pointer(k->l, ACPI_RSDP_FILE, 24, 8, ACPI_TABLES_FILE);
    linker_checksum(k->l, ACPI_RSDP_FILE, 8, 0, 20);
    linker_checksum(k->l, ACPI_RSDP_FILE, 32, 0, 36);
}

void acpi_build(Linker *l, const Machine *m, const AcpiBoard *b)
{
    Build k = { .l = l, .m = m, .b = b };
    unsigned facs_at, dsdt_at, rsdt_at, xsdt_at;

    k.t = linker_file(l, ACPI_TABLES_FILE, 64, ZONE_HIGH);
    facs_at = facs(&k);
    dsdt_at = dsdt(&k);
    fadt(&k, facs_at, dsdt_at);
    madt(&k);
    if (b->hpet) {
        hpet(&k);
    }
    if (b->ecam != 0) {
        mcfg(&k);
    }
    if (m->cfg.numa_nodes > 0) {
        srat(&k);
        if (distances_given(&m->cfg)) {
            slit(&k);
        }
    }
    waet(&k);
    more(&k);
    rsdt_at = root_table(&k, "RSDT", 4);
    xsdt_at = root_table(&k, "XSDT", 8);
    rsdp(&k, rsdt_at, xsdt_at);
}
