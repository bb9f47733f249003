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

/* Memory devices come after RAM; each slot may cost a GiB of alignment. */
static bool place_memory_area(Machine *m, Error **errp)
{
    const BoardConfig *c = &m->cfg;
    MemoryArea *a = &m->memory_area;

    if (c->ram_max <= c->ram_size) {
        return true;
    }
    a->limit = c->ram_max - c->ram_size;
    a->base = ALIGN_UP(4 * GiB + m->above_4g, 1 * GiB);
    a->size = a->limit + c->ram_slots * GiB;
    m->dimms.count = c->ram_slots;
    m->dimms.dev = g_new0(Device *, MAX(c->ram_slots, 1));
    m->dimm_ranges = g_new0(MachineDimm, MAX(c->ram_slots, 1));
    return a->base + a->size > a->base ||
           error_set(errp, "-m: maxmem=%" PRIu64 " is more than there are addresses", c->ram_max);
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
    return place_memory_area(m, errp);
}
