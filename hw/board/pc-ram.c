/* pc-ram.c: guest RAM below and above the PCI hole. */
#include "hw/board/pc.h"

#include "util/bytes.h"

/* The hole begins where the chipset's address map lets RAM end, rounded so that a gigabyte page fits:
 * QEMU's split, which firmware and guests are used to. */
static uint64_t low_limit(const PcBoard *b, const Machine *m)
{
    uint64_t limit = b->q35 ? UINT64_C(0xb0000000) : UINT64_C(0xe0000000);

    if (m->cfg.ram_size >= limit) {
        limit = b->q35 ? UINT64_C(0x80000000) : UINT64_C(0xc0000000);
    }
    if (m->cfg.max_ram_below_4g != 0) {
        limit = MIN(limit, m->cfg.max_ram_below_4g);
    }
    return limit;
}

static void map_part(PcBoard *b, Machine *m, RamBlock *ram, uint64_t at, uint64_t size, Gpa to)
{
    Region *r = &b->parts[b->part_count++];

    region_ram(r, &b->dev, ram->id, ram, at, size);
    map_put_one(&m->mem_root, r, to, 0);
}

/* Lays @ram, which begins at byte @from of guest RAM, around the hole. */
static void map_block(PcBoard *b, Machine *m, RamBlock *ram, uint64_t from)
{
    uint64_t low = from < m->below_4g ? MIN(ram->size, m->below_4g - from) : 0;

    if (low > 0) {
        map_part(b, m, ram, 0, low, from);
    }
    if (low < ram->size) {
        map_part(b, m, ram, low, ram->size - low, 4 * GiB + (from + low - m->below_4g));
    }
}

bool pc_map_ram(PcBoard *b, Machine *m, Error **errp)
{
    uint64_t from = 0, limit = low_limit(b, m);

    if (limit < 1 * MiB) {
        return error_set(errp, "-machine: max-ram-below-4g must be at least 1 MiB");
    }
    m->below_4g = MIN(m->cfg.ram_size, limit);
    m->above_4g = m->cfg.ram_size - m->below_4g;
    for (unsigned i = 0; i < m->ram_blocks->len; i++) {
        RamBlock *ram = g_ptr_array_index(m->ram_blocks, i);
        map_block(b, m, ram, from);
        from += ram->size;
    }
    return true;
}
