/* hmp-mem.c: looking at the guest's memory and ports: x, xp, print, i, o, sum, addresses, page tables.
 *
 * 1. Addresses and counts are a client's: each line reads what it shows and stops at the first byte that is
 *    not there, or when the output is full. */
#include <ctype.h>
#include <string.h>
#include "core/accel.h"
#include "core/region.h"
#include "monitor/hmp-int.h"
#include "util/bytes.h"
#include "util/epoch.h"

#define LINE_BYTES 16u
#define INSN_MAX 15u           /* bytes of an x86 instruction (SDM vol. 2, 2.3.11) */
/* What one line reads at most, as control does nothing else meanwhile: bytes, and page tables (which map
 * 128 GiB by pages of 4 KiB). */
#define SUM_MAX (1u << 30)
#define TABLES_MAX (1u << 16)

/* Memory as a command sees it. */
typedef struct View {
    Space *mem;
    const X86Regs *regs;       /* virtual addresses by these; NULL: physical */
} View;

/* Reads @n bytes at @at; false: they are not all there. */
static bool view_read(const View *v, uint64_t at, uint8_t *buf, size_t n)
{
    while (n > 0) {
        uint64_t gpa = at;
        size_t len = MIN(n, 4096 - (at & 4095));

        if (v->regs != NULL) {
            X86Page p;

            if (!x86_translate(v->regs, v->mem, at, &p)) {
                return false;
            }
            gpa = p.gpa + (at & (p.size - 1));
        }
        if (space_read_bytes(v->mem, gpa, buf, len) != IO_OK) {
            return false;
        }
        buf += len;
        at += len;
        n -= len;
    }
    return true;
}

/* The machine's memory; false: there is no machine, and that was said. */
static bool view_open(Hmp *h, View *v)
{
    if (machine() == NULL) {
        hmp_printf(h, "there is no machine\n");
        return false;
    }
    v->mem = machine()->mem;
    return true;
}

/* --- values --- */

static uint64_t load(const uint8_t *p, unsigned size)
{
    return size == 1 ? *p : size == 2 ? ld16(p) : size == 4 ? ld32(p) : ld64(p);
}

static void print_char(Hmp *h, unsigned char c)
{
    static const char letters[] = "\n\r\t", names[] = "nrt";
    const char *at = c != 0 ? strchr(letters, c) : NULL;

    if (c == '\'' || c == '\\') {
        hmp_printf(h, "'\\%c'", c);
    } else if (at != NULL) {
        hmp_printf(h, "'\\%c'", names[at - letters]);
    } else if (c >= 32 && c <= 126) {
        hmp_printf(h, "'%c'", c);
    } else {
        hmp_printf(h, "'\\x%02x'", c);
    }
}

/* One value of @size bytes in the columns of a dump. */
static void print_item(Hmp *h, char conversion, uint64_t v, unsigned size)
{
    unsigned which = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
    static const uint8_t octal[] = { 3, 6, 11, 22 }, decimal[] = { 3, 5, 10, 20 };

    switch (conversion) {
    case 'o':
        hmp_printf(h, "%#*" PRIo64, octal[which], v);
        break;
    case 'u':
        hmp_printf(h, "%*" PRIu64, decimal[which], v);
        break;
    case 'd':
        hmp_printf(h, "%*" PRId64, decimal[which], (int64_t)v);
        break;
    case 'c':
        print_char(h, v);
        break;
    default:
        hmp_printf(h, "0x%0*" PRIx64, 2 * (int)size, v);
    }
}

static void dump_values(Hmp *h, const View *v, uint64_t at, HmpFormat f)
{
    unsigned line = f.size == 1 ? 8 : LINE_BYTES;
    uint64_t left = (uint64_t)f.count * f.size;

    if (f.conversion == 'c') {
        f.size = 1;
    }
    while (left > 0 && !h->truncated) {
        uint8_t buf[LINE_BYTES];
        size_t n = MIN(left, line);

        hmp_printf(h, "%016" PRIx64 ":", at);
        if (!view_read(v, at, buf, n)) {
            hmp_printf(h, " Cannot access memory\n");
            return;
        }
        for (size_t i = 0; i < n; i += f.size) {
            hmp_printf(h, " ");
            print_item(h, f.conversion, load(buf + i, f.size), f.size);
        }
        hmp_printf(h, "\n");
        at += n;
        left -= n;
    }
}

/* As many bytes at @at as there are, up to @n. */
static size_t view_read_some(const View *v, uint64_t at, uint8_t *buf, size_t n)
{
    size_t got = 0;

    while (got < n && view_read(v, at + got, buf + got, 1)) {
        got++;
    }
    return got;
}

static void dump_code(Hmp *h, const View *v, uint64_t at, unsigned count, X86Mode mode)
{
    int width = mode == X86_LONG ? 16 : 8;

    for (; count > 0 && !h->truncated; count--) {
        g_autoptr(GString) text = g_string_new(NULL);
        uint8_t code[INSN_MAX];
        bool available;
        size_t n = view_read_some(v, at, code, sizeof(code));
        unsigned len = n > 0 ? hmp_disassemble(mode, at, code, n, text, &available) : 0;

        hmp_printf(h, "0x%0*" PRIx64 ": ", width, at);
        if (n == 0) {
            hmp_printf(h, "unable to read memory\n");
            return;
        }
        if (!available) {
            hmp_printf(h, "no disassembler: it needs libcapstone and a human monitor on the command line\n");
            return;
        }
        len = MAX(len, 1);
        for (unsigned i = 0; i < len; i++) {
            hmp_printf(h, " %02x", code[i]);
        }
        hmp_printf(h, "%*s %s\n", len < 8 ? 3 * (8 - (int)len) : 0, "", text->len > 0 ? text->str : "(bad)");
        at += len;
    }
}

static void dump(Hmp *h, const HmpArgs *a, bool physical)
{
    X86Regs regs = { 0 };
    bool have_regs = hmp_try_regs(h, &regs);
    View v = { .regs = physical || !have_regs ? NULL : &regs };
    uint64_t at = hmp_int(a, "addr", 0);

    if (!view_open(h, &v)) {
        return;
    }
    if (a->format.conversion == 'i') {
        dump_code(h, &v, at, a->format.count, x86_mode(&regs));
    } else {
        dump_values(h, &v, at, a->format);
    }
}

HMP_RUN(hmp_memory_dump)
{
    dump(h, a, false);
}

HMP_RUN(hmp_physical_memory_dump)
{
    dump(h, a, true);
}

HMP_RUN(hmp_print)
{
    uint64_t v = hmp_int(a, "val", 0);

    switch (a->format.conversion) {
    case 'o':
        hmp_printf(h, "%#" PRIo64 "\n", v);
        break;
    case 'x':
        hmp_printf(h, "%#" PRIx64 "\n", v);
        break;
    case 'u':
        hmp_printf(h, "%" PRIu64 "\n", v);
        break;
    case 'c':
        print_char(h, v);
        hmp_printf(h, "\n");
        break;
    default:
        hmp_printf(h, "%" PRId64 "\n", (int64_t)v);
    }
}

/* --- ports --- */

static unsigned port_size(const HmpArgs *a)
{
    return MIN(a->format.size, 4);
}

HMP_RUN(hmp_port_read)
{
    unsigned size = port_size(a), port = hmp_int(a, "addr", 0) & 0xffff;
    uint8_t buf[8] = { 0 };

    if (machine() != NULL) {
        space_read(machine()->io, port, buf, size);
        hmp_printf(h, "port%c[0x%04x] = 0x%0*" PRIx64 "\n", " bw l"[size], port, 2 * size, load(buf, size));
    }
}

HMP_RUN(hmp_port_write)
{
    unsigned size = port_size(a), port = hmp_int(a, "addr", 0) & 0xffff;
    uint8_t buf[8];

    st64(buf, hmp_int(a, "val", 0));
    if (machine() != NULL) {
        space_write(machine()->io, port, buf, size);
    }
}

/* --- sums and addresses --- */

/* The 16-bit sum of the System V sum program, rotating before each byte. */
HMP_RUN(hmp_sum)
{
    uint64_t at = hmp_int(a, "start", 0), size = hmp_int(a, "size", 0);
    uint16_t sum = 0;
    View v = { 0 };
    uint8_t buf[4096];

    if (size > SUM_MAX) {
        hmp_printf(h, "'sum' has failed: more than %u bytes\n", SUM_MAX);
        return;
    }
    if (!view_open(h, &v)) {
        return;
    }
    while (size > 0) {
        size_t n = MIN(size, sizeof(buf));

        space_read_bytes(v.mem, at, buf, n);
        for (size_t i = 0; i < n; i++) {
            sum = sum >> 1 | sum << 15;
            sum += buf[i];
        }
        at += n;
        size -= n;
    }
    hmp_printf(h, "%05d\n", sum);
}

HMP_RUN(hmp_gpa2hva)
{
    uint64_t gpa = hmp_int(a, "addr", 0), len = 1, off;
    View v = { 0 };

    if (!view_open(h, &v)) {
        return;
    }
    epoch_enter();
    void *host = space_ram(v.mem, gpa, &len, false);
    RamBlock *block = host != NULL ? space_ram_block(v.mem, gpa, &off) : NULL;

    if (block != NULL) {
        hmp_printf(h, "Host virtual address for 0x%" PRIx64 " (%s) is %p\n", gpa, block->id, host);
    } else {
        hmp_printf(h, "No memory is mapped at address 0x%" PRIx64 "\n", gpa);
    }
    epoch_leave();
}

HMP_RUN(hmp_gva2gpa)
{
    uint64_t va = hmp_int(a, "addr", 0);
    X86Regs regs;
    View v = { 0 };
    X86Page p;

    if (!view_open(h, &v) || !hmp_regs(h, &regs)) {
        return;
    }
    if (x86_translate(&regs, v.mem, va, &p)) {
        hmp_printf(h, "gpa: %#" PRIx64 "\n", p.gpa + (va & (p.size - 1)));
    } else {
        hmp_printf(h, "Unmapped\n");
    }
}

/* --- page tables --- */

typedef struct PageWalk {
    Hmp *h;
    uint64_t start, end;       /* info mem: of the run of pages with the same rights; equal: none */
    unsigned rights;
} PageWalk;

static void print_run(PageWalk *w)
{
    if (w->start != w->end) {
        hmp_printf(w->h, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n", w->start, w->end,
                   w->end - w->start, w->rights & X86_PTE_USER ? 'u' : '-',
                   w->rights & X86_PTE_WRITE ? 'w' : '-');
    }
}

static bool mem_page(const X86Page *p, void *arg)
{
    PageWalk *w = arg;

    if (w->start == w->end || p->va != w->end || p->rights != w->rights) {
        print_run(w);
        w->start = p->va;
        w->rights = p->rights;
    }
    w->end = p->va + p->size;
    return !w->h->truncated;
}

static bool tlb_page(const X86Page *p, void *arg)
{
    static const struct { uint64_t bit; char letter; } bits[] = {
        { X86_PTE_NX, 'X' }, { X86_PTE_GLOBAL, 'G' }, { X86_PTE_LARGE, 'P' }, { X86_PTE_DIRTY, 'D' },
        { X86_PTE_ACCESSED, 'A' }, { X86_PTE_PCD, 'C' }, { X86_PTE_PWT, 'T' }, { X86_PTE_USER, 'U' },
        { X86_PTE_WRITE, 'W' },
    };
    PageWalk *w = arg;
    uint64_t entry = p->size == 4096 ? p->entry & ~(uint64_t)X86_PTE_LARGE : p->entry;
    char text[sizeof(bits) / sizeof(bits[0]) + 1] = "";

    for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++) {
        text[i] = entry & bits[i].bit ? bits[i].letter : '-';
    }
    hmp_printf(w->h, "%016" PRIx64 ": %016" PRIx64 " %s\n", p->va, p->gpa, text);
    return !w->h->truncated;
}

static void walk(Hmp *h, bool (*fn)(const X86Page *p, void *arg))
{
    PageWalk w = { .h = h };
    unsigned tables = TABLES_MAX;
    X86Regs regs;
    View v = { 0 };

    if (!view_open(h, &v) || !hmp_regs(h, &regs)) {
        return;
    }
    X86Walked walked = x86_each_page(&regs, v.mem, &tables, fn, &w);
    print_run(&w);
    if (walked == X86_WALK_OFF) {
        hmp_printf(h, "PG disabled\n");
    } else if (walked == X86_WALK_CUT) {
        hmp_printf(h, "... more page tables than are read here (%u)\n", TABLES_MAX);
    }
}

HMP_RUN(hmp_info_mem)
{
    walk(h, mem_page);
}

HMP_RUN(hmp_info_tlb)
{
    walk(h, tlb_page);
}
