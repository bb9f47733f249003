/* pam.c: programmable attribute maps: who answers at 0xa0000-0xfffff, RAM or PCI (82441FX 3.2.13,
 * Q35 5.1.14).
 *
 * 1. Over RAM lies a hole, over that a window on PCI memory, and over that each segment's piece of RAM
 *    (writable, or read-only: writes are dropped) while its map says so.  Writes-only-to-RAM reads from PCI
 *    and writes there too: nothing known depends on more, and a memory slot cannot say it. */
#include "hw/pci/host-int.h"

#define HOLE_AT 0xa0000
#define HOLE_SIZE 0x60000
#define SMRAM_SIZE 0x20000
#define HIGH_SMRAM 0xfeda0000u

static Gpa segment_at(unsigned i)
{
    return i == 0 ? 0xf0000 : 0xc0000 + (i - 1) * 0x4000;
}

static uint64_t segment_size(unsigned i)
{
    return i == 0 ? 0x10000 : 0x4000;
}

/* The RAM block behind @at of the memory that the board has put together. */
static RamBlock *low_ram(const Region *box, Gpa at, uint64_t *off)
{
    for (const Region *r = box->children; r; r = r->next) {
        if (at < r->at || at - r->at >= r->size) {
            continue;
        }
        if (r->kind == REGION_RAM) {
            *off = r->ram_at + (at - r->at);
            return r->ram;
        }
        const Region *in = r->kind == REGION_WINDOW ? r->target : r->kind == REGION_BOX ? r : NULL;
        Gpa inner = at - r->at + (r->kind == REGION_WINDOW ? r->target_at : 0);
        if (in && in->kind == REGION_RAM) {
            *off = in->ram_at + inner;
            return in->ram;
        }
        RamBlock *b = in ? low_ram(in, inner, off) : NULL;
        if (b) {
            return b;
        }
    }
    return NULL;
}

/* Reads ones, writes nothing: where no PCI device is, and what only SMM may see. */
static const RegionOps blackhole_ops = { .min = 1, .max = 8, .flags = REGION_LOCKLESS };

bool pam_init(Pam *pam, Device *d, Region *pci_mem, Error **errp)
{
    Region *root = &d->machine->mem_root;
    uint64_t off = 0;
    RamBlock *ram = low_ram(root, HOLE_AT, &off);

    if (!ram || !fits(off, HOLE_SIZE, ram->size)) {
        return error_set(errp, "the machine needs at least 1 MiB of memory");
    }
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        region_ram(&pam->ram[i], d, "pam-ram", ram, off + (segment_at(i) - HOLE_AT), segment_size(i));
        pam->shown[i] = 0;
    }
    region_ram(&pam->smram, d, "smram", ram, off, SMRAM_SIZE);
    region_ram(&pam->smm_low, d, "smm-smram", ram, off, SMRAM_SIZE);
    region_ram(&pam->smm_high, d, "smm-smram-high", ram, off, SMRAM_SIZE);
    region_ram(&pam->smm_tseg, d, "smm-tseg", ram, off, SMRAM_SIZE);
    region_window(&pam->pci, d, "pci-hole-isa", pci_mem, HOLE_AT, HOLE_SIZE);
    region_io(&pam->hole, d, "isa-hole", &blackhole_ops, HOLE_SIZE);
    region_io(&pam->tseg, d, "tseg-blackhole", &blackhole_ops, 0x800000);
    map_begin();
    map_put(root, &pam->hole, HOLE_AT, 1);
    map_put(root, &pam->pci, HOLE_AT, 2);
    map_commit();
    return true;
}

void pam_free(Pam *pam)
{
    Region *const others[] = { &pam->smram, &pam->pci, &pam->hole, &pam->tseg, &pam->smm_low, &pam->smm_high,
                               &pam->smm_tseg };

    map_begin();
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        map_drop(&pam->ram[i]);
    }
    for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
        map_drop(others[i]);
    }
    map_commit();
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        region_free(&pam->ram[i]);
    }
    for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
        region_free(others[i]);
    }
}

static void show_segment(Pam *pam, Region *root, unsigned i, uint8_t mode)
{
    bool ram = mode & 1;

    if (ram) {
        map_readonly(&pam->ram[i], !(mode & 2));
    }
    if (ram && !(pam->shown[i] & 1)) {
        map_put(root, &pam->ram[i], segment_at(i), 3);
    } else if (!ram) {
        map_drop(&pam->ram[i]);
    }
    pam->shown[i] = mode;
}

/* TSEG is taken from the end of low RAM: a hole, but for SMM. */
static void show_tseg(Pam *pam, Machine *m, uint64_t tseg)
{
    Gpa at = m->below_4g - tseg;
    uint64_t off;

    map_drop(&pam->tseg);
    map_drop(&pam->smm_tseg);
    if (tseg) {
        RamBlock *ram = m->smm != NULL ? low_ram(&m->mem_root, at, &off) : NULL;

        map_resize(&pam->tseg, tseg);
        map_put(&m->mem_root, &pam->tseg, at, 3);
        if (ram != NULL && fits(off, tseg, ram->size)) {
            map_ram_to(&pam->smm_tseg, ram, off);
            map_resize(&pam->smm_tseg, tseg);
            map_put(&m->smm_root, &pam->smm_tseg, at, 1);
        }
    }
    pam->tseg_size = tseg;
}

static void show_in_smm(Machine *m, Region *r, Gpa at, bool on, bool *shown)
{
    if (on && !*shown) {
        map_put(&m->smm_root, r, at, 1);
    } else if (!on) {
        map_drop(r);
    }
    *shown = on;
}

void pam_update(Pam *pam, const uint8_t *regs, bool smram_open, uint64_t tseg)
{
    Machine *m = pam->pci.dev->machine;
    Region *root = &m->mem_root;

    map_begin();
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        /* PAM0 has one segment in its high nibble; PAM1 to PAM6 have two each, low one first. */
        uint8_t mode = i == 0 ? regs[0] >> 4 & 3 : regs[(i + 1) / 2] >> ((i - 1) % 2 * 4) & 3;
        if (mode != pam->shown[i]) {
            show_segment(pam, root, i, mode);
        }
    }
    if (smram_open != pam->smram_shown) {
        map_drop(&pam->smram);
        if (smram_open) {
            map_put(root, &pam->smram, HOLE_AT, 3);
        }
        pam->smram_shown = smram_open;
    }
    if (tseg != pam->tseg_size && tseg < m->below_4g) {
        show_tseg(pam, m, tseg);
    }
    map_commit();
}

void pam_smm(Pam *pam, bool low, bool high)
{
    Machine *m = pam->pci.dev->machine;

    if (m->smm == NULL) {
        return;
    }
    map_begin();
    show_in_smm(m, &pam->smm_low, HOLE_AT, low, &pam->smm_low_shown);
    show_in_smm(m, &pam->smm_high, HIGH_SMRAM, high, &pam->smm_high_shown);
    map_commit();
}

void smram_wrote(PciDevice *p, unsigned reg)
{
    if (p->config[reg] & SMRAM_LCK) {
        p->config[reg] &= (uint8_t)~SMRAM_OPEN;
        p->wmask[reg] = 0;
    }
}

void smram_unlock(PciDevice *p, unsigned reg)
{
    p->wmask[reg] = p->config[reg] & SMRAM_LCK ? 0 : SMRAM_OPEN | SMRAM_CLS | SMRAM_LCK | SMRAM_E;
}
