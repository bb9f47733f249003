/* dump-elf.c: a dump as an ELF core file (System V ABI, chapters 4 and 5).
 *
 *   file header | program headers | [section header] | notes | memory, by ascending physical address
 *
 * 1. Memory is in the file once.  With paging each run of linear addresses has a program header that
 *    points into it; memory that nothing maps, and all of it without paging, has its physical address.
 * 2. The tables are a guest's: what is counted from them has bounds.
 * 3. A 64-bit file when the first vCPU is in long mode or memory goes beyond 4 GiB, else a 32-bit one. */
#include <elf.h>
#include <string.h>
#include "debug/dump-int.h"
#include "util/bytes.h"

#define MAPS_MAX (1u << 20)
#define TABLES_MAX (1u << 18)
#define CHUNK 65536u

/* A program header to be. */
typedef struct Load {
    uint64_t linear, size;
    Gpa gpa;
} Load;

typedef struct Elf {
    Dump *d;
    GArray *maps;              /* DumpMap */
    GArray *loads;             /* Load */
    bool elf64;
    uint64_t notes_at, data_at;
} Elf;

/* --- what linear addresses there are --- */

static bool add_page(const X86Page *p, void *arg)
{
    Elf *e = arg;
    DumpMap *prev = e->maps->len > 0 ? &g_array_index(e->maps, DumpMap, e->maps->len - 1) : NULL;

    if (prev != NULL && prev->linear + prev->size == p->va && prev->gpa + prev->size == p->gpa) {
        prev->size += p->size;
    } else if (e->maps->len == MAPS_MAX) {
        return false;
    } else {
        DumpMap new = { p->va, p->gpa, p->size };

        g_array_append_val(e->maps, new);
    }
    return true;
}

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int maps_by_linear(gconstpointer a, gconstpointer b)
{
    const DumpMap *x = a, *y = b;
    int order = compare(x->linear, y->linear);

    order = order != 0 ? order : compare(x->gpa, y->gpa);
    return order != 0 ? order : compare(x->size, y->size);
}

/* Processors share most of their tables: what is equal counts once. */
static void drop_equal(GArray *maps)
{
    unsigned kept = 0;

    g_array_sort(maps, maps_by_linear);
    for (unsigned i = 0; i < maps->len; i++) {
        DumpMap *m = &g_array_index(maps, DumpMap, i);

        if (kept == 0 || maps_by_linear(m, &g_array_index(maps, DumpMap, kept - 1)) != 0) {
            g_array_index(maps, DumpMap, kept++) = *m;
        }
    }
    g_array_set_size(maps, kept);
}

static bool collect_maps(Elf *e, Error **errp)
{
    unsigned tables = TABLES_MAX;
    bool all = true;

    for (unsigned i = 0; i < e->d->cpu_count && all; i++) {
        const X86Regs *r = &e->d->cpus[i];
        bool known = false;

        for (unsigned j = 0; j < i; j++) {
            known = known || (e->d->cpus[j].cr3 == r->cr3 && e->d->cpus[j].cr0 == r->cr0);
        }
        all = known || x86_each_page(r, machine()->mem, &tables, add_page, e) != X86_WALK_CUT;
    }
    drop_equal(e->maps);
    return all || error_set(errp, "dump: the guest's page tables map too much to be listed; "
                                     "dump without paging");
}

/* --- program headers --- */

static void add_load(Elf *e, uint64_t linear, Gpa gpa, uint64_t size)
{
    Load l = { .linear = linear, .gpa = gpa, .size = size };

    g_array_append_val(e->loads, l);
}

/* The part of a run that is memory. */
static void add_map_loads(Elf *e, const DumpMap *m)
{
    for (unsigned i = 0; i < e->d->ranges->len; i++) {
        const DumpRange *r = &g_array_index(e->d->ranges, DumpRange, i);
        Gpa begin = MAX(r->at, m->gpa), end = MIN(r->at + r->size, m->gpa + m->size);

        if (begin < end) {
            add_load(e, m->linear + (begin - m->gpa), begin, end - begin);
        }
    }
}

static int loads_by_gpa(gconstpointer a, gconstpointer b)
{
    return compare(((const Load *)a)->gpa, ((const Load *)b)->gpa);
}

/* Memory no load has yet, which is sorted by address. */
static void add_unmapped(Elf *e)
{
    unsigned n = e->loads->len, next = 0;

    g_array_sort(e->loads, loads_by_gpa);
    for (unsigned i = 0; i < e->d->ranges->len; i++) {
        const DumpRange *r = &g_array_index(e->d->ranges, DumpRange, i);
        Gpa at = r->at, end = r->at + r->size;

        for (; next < n && g_array_index(e->loads, Load, next).gpa < end; next++) {
            const Load l = g_array_index(e->loads, Load, next);

            if (l.gpa > at) {
                add_load(e, at, at, l.gpa - at);
            }
            at = MAX(at, l.gpa + l.size);
        }
        if (at < end) {
            add_load(e, at, at, end - at);
        }
    }
}

static bool make_loads(Elf *e, Error **errp)
{
    if (e->d->req.paging) {
        if (!collect_maps(e, errp)) {
            return false;
        }
        for (unsigned i = 0; i < e->maps->len; i++) {
            add_map_loads(e, &g_array_index(e->maps, DumpMap, i));
        }
        add_unmapped(e);
    } else {
        for (unsigned i = 0; i < e->d->ranges->len; i++) {
            const DumpRange *r = &g_array_index(e->d->ranges, DumpRange, i);

            add_load(e, r->at, r->at, r->size);
        }
    }
    return true;
}

/* Where guest-physical @gpa, which is dumped, is in the file. */
static uint64_t place_of(const Elf *e, Gpa gpa)
{
    uint64_t at = e->data_at;

    for (unsigned i = 0; i < e->d->ranges->len; i++) {
        const DumpRange *r = &g_array_index(e->d->ranges, DumpRange, i);

        if (gpa - r->at < r->size) {
            return at + (gpa - r->at);
        }
        at += r->size;
    }
    return at;
}

/* --- writing --- */

static void put_header64(const Elf *e, GByteArray *out, unsigned count, bool many)
{
    Elf64_Ehdr h = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_CORE, .e_machine = e->d->wide ? EM_X86_64 : EM_386, .e_version = EV_CURRENT,
        .e_phoff = sizeof(h), .e_ehsize = sizeof(h), .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = many ? PN_XNUM : count, .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = many,
        .e_shoff = many ? sizeof(h) + (uint64_t)count * sizeof(Elf64_Phdr) : 0,
    };

    g_byte_array_append(out, (uint8_t *)&h, sizeof(h));
}

static void put_header32(const Elf *e, GByteArray *out, unsigned count, bool many)
{
    Elf32_Ehdr h = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_CORE, .e_machine = EM_386, .e_version = EV_CURRENT, .e_phoff = sizeof(h),
        .e_ehsize = sizeof(h), .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = many ? PN_XNUM : count,
        .e_shentsize = sizeof(Elf32_Shdr), .e_shnum = many,
        .e_shoff = many ? sizeof(h) + count * sizeof(Elf32_Phdr) : 0,
    };

    g_byte_array_append(out, (uint8_t *)&h, sizeof(h));
}

static void put_phdr(const Elf *e, GByteArray *out, uint32_t type, uint64_t off, const Load *l)
{
    if (e->elf64) {
        Elf64_Phdr p = { .p_type = type, .p_offset = off, .p_vaddr = l->linear, .p_paddr = l->gpa,
                         .p_filesz = l->size, .p_memsz = l->size };

        g_byte_array_append(out, (uint8_t *)&p, sizeof(p));
    } else {
        Elf32_Phdr p = { .p_type = type, .p_offset = off, .p_vaddr = l->linear, .p_paddr = l->gpa,
                         .p_filesz = l->size, .p_memsz = l->size };

        g_byte_array_append(out, (uint8_t *)&p, sizeof(p));
    }
}

/* More program headers than 16 bits count: section header 0 has the number (Linux' PN_XNUM). */
static void put_count(const Elf *e, GByteArray *out, uint32_t count)
{
    Elf64_Shdr s64 = { .sh_info = count };
    Elf32_Shdr s32 = { .sh_info = count };

    g_byte_array_append(out, e->elf64 ? (uint8_t *)&s64 : (uint8_t *)&s32,
                        e->elf64 ? sizeof(s64) : sizeof(s32));
}

static bool write_head(Elf *e, Error **errp)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    unsigned count = e->loads->len + 1;
    bool many = count >= PN_XNUM;
    uint64_t ehdr = e->elf64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
    uint64_t phdr = e->elf64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    uint64_t shdr = e->elf64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
    const Load notes = { .size = e->d->notes->len };

    e->notes_at = ehdr + count * phdr + (many ? shdr : 0);
    e->data_at = ALIGN_UP(e->notes_at + e->d->notes->len, DUMP_PAGE);
    if (e->elf64) {
        put_header64(e, out, count, many);
    } else {
        put_header32(e, out, count, many);
    }
    put_phdr(e, out, PT_NOTE, e->notes_at, &notes);
    for (unsigned i = 0; i < e->loads->len; i++) {
        const Load *l = &g_array_index(e->loads, Load, i);

        put_phdr(e, out, PT_LOAD, place_of(e, l->gpa), l);
    }
    if (many) {
        put_count(e, out, count);
    }
    g_byte_array_append(out, e->d->notes->data, e->d->notes->len);
    return dump_write(e->d, out->data, out->len, errp) &&
           dump_write_zeroes(e->d, e->data_at - out->len, errp);
}

/* A page that may become a hole. */
static bool is_zero_at(const Dump *d, const uint8_t *host, uint64_t at, uint64_t n)
{
    return d->sparse && n - at >= DUMP_PAGE && dump_is_zero(host + at);
}

static bool write_chunk(Dump *d, const uint8_t *host, uint64_t n, Error **errp)
{
    uint64_t end;

    for (uint64_t at = 0; at < n; at = end) {
        bool zero = is_zero_at(d, host, at, n);

        for (end = at; end < n && is_zero_at(d, host, end, n) == zero;) {
            end = MIN(end + DUMP_PAGE, n);
        }
        if (zero ? !dump_write_zeroes(d, end - at, errp) : !dump_write(d, host + at, end - at, errp)) {
            return false;
        }
    }
    return true;
}

static bool write_range(Dump *d, const DumpRange *r, Error **errp)
{
    for (uint64_t off = 0; off < r->size;) {
        bool hole;
        uint64_t n = dump_stretch(r, off, CHUNK, &hole);

        if (hole ? !dump_write_zeroes(d, n, errp) : !write_chunk(d, r->host + off, n, errp)) {
            return false;
        }
        dump_advance(d, n);
        off += n;
    }
    return true;
}

bool dump_elf(Dump *d, Error **errp)
{
    g_autoptr(GArray) maps = g_array_new(false, false, sizeof(DumpMap));
    g_autoptr(GArray) loads = g_array_new(false, false, sizeof(Load));
    const DumpRange *top = &g_array_index(d->ranges, DumpRange, d->ranges->len - 1);
    Elf e = { .d = d, .maps = maps, .loads = loads };

    e.elf64 = d->wide || top->at + top->size > UINT64_C(1) << 32 || d->total > UINT64_C(3) << 30;
    if (!make_loads(&e, errp) || !write_head(&e, errp)) {
        return false;
    }
    for (unsigned i = 0; i < d->ranges->len; i++) {
        if (!write_range(d, &g_array_index(d->ranges, DumpRange, i), errp)) {
            return false;
        }
    }
    return true;
}
