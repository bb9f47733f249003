/* x86.c: walking x86 page tables for tools (Intel SDM vol. 3, chapter 4).
 *
 * 1. Tables are a guest's and may change meanwhile: each entry is read once, and only from RAM. */
#include "core/x86.h"

#include "core/region.h"
#include "util/bytes.h"
#include "util/epoch.h"

/* One of the four formats of paging: levels from the root down. */
typedef struct Walk {
    Space *mem;
    unsigned levels, entry_size;
    unsigned shift[5];             /* of the address bits that index level i; the root is first */
    unsigned bits[5];
    bool large[5];                 /* an entry there may map a page */
    bool pse36;                    /* 32-bit format: large pages have high address bits */
    unsigned va_bits;              /* canonical addresses repeat bit va_bits - 1; 32: they do not */
    uint64_t root;
} Walk;

#define GPA_MASK 0x000ffffffffff000ull

X86Mode x86_mode(const X86Regs *r)
{
    uint32_t flags = r->seg[X86_CS].flags;

    if (!(r->cr0 & X86_CR0_PE) || (r->rflags & (1u << 17))) {
        return X86_REAL;
    }
    if ((r->efer & X86_EFER_LMA) && (flags & (1u << 21))) {
        return X86_LONG;
    }
    return flags & (1u << 22) ? X86_PROTECTED32 : X86_PROTECTED16;
}

static void add_level(Walk *w, unsigned shift, unsigned bits, bool large)
{
    w->shift[w->levels] = shift;
    w->bits[w->levels] = bits;
    w->large[w->levels++] = large;
}

static Walk walk_of(const X86Regs *r, Space *mem)
{
    Walk w = { .mem = mem, .entry_size = 8, .va_bits = 32 };

    if (r->efer & X86_EFER_LMA) {
        w.root = r->cr3 & GPA_MASK;
        w.va_bits = r->cr4 & X86_CR4_LA57 ? 57 : 48;
        if (w.va_bits == 57) {
            add_level(&w, 48, 9, false);
        }
        add_level(&w, 39, 9, false);
        add_level(&w, 30, 9, true);
    } else if (r->cr4 & X86_CR4_PAE) {
        w.root = r->cr3 & 0xffffffe0;
        add_level(&w, 30, 2, false);
    } else {
        w.root = r->cr3 & 0xfffff000;
        w.entry_size = 4;
        w.pse36 = true;
        add_level(&w, 22, 10, r->cr4 & X86_CR4_PSE);
        add_level(&w, 12, 10, false);
        return w;
    }
    add_level(&w, 21, 9, true);
    add_level(&w, 12, 9, false);
    return w;
}

static bool read_entry(const Walk *w, uint64_t at, uint64_t *entry)
{
    uint64_t len = w->entry_size;

    epoch_enter();
    const uint8_t *p = space_ram(w->mem, at, &len, false);
    bool ok = p != NULL && len == w->entry_size;
    if (ok) {
        *entry = w->entry_size == 8 ? ld64(p) : ld32(p);
    }
    epoch_leave();
    return ok && (*entry & X86_PTE_PRESENT);
}

/* The first address of what entry @index of level @l below @va covers. */
static uint64_t entry_va(const Walk *w, unsigned l, uint64_t va, uint64_t index)
{
    va |= index << w->shift[l];
    if (l == 0 && w->va_bits > 32 && (va >> (w->va_bits - 1) & 1)) {
        va |= ~0ull << w->va_bits;
    }
    return va;
}

/* @rights in: of the levels above; the PAE format's four root entries have none. */
static bool is_leaf(const Walk *w, unsigned l, uint64_t entry, unsigned *rights)
{
    if (!(w->levels == 3 && w->va_bits == 32 && l == 0)) {
        *rights &= entry;
    }
    return l == w->levels - 1 || (w->large[l] && (entry & X86_PTE_LARGE));
}

static X86Page page_of(const Walk *w, unsigned l, uint64_t va, uint64_t entry, unsigned rights)
{
    X86Page p = { .va = va, .size = 1ull << w->shift[l], .entry = entry, .rights = rights };

    p.gpa = entry & GPA_MASK & ~(p.size - 1);
    if (w->pse36) {
        p.gpa &= 0xffffffff;
        if (l == 0) {
            p.gpa |= (entry >> 13 & 0xff) << 32;
        }
    }
    return p;
}

bool x86_translate(const X86Regs *r, Space *mem, uint64_t va, X86Page *out)
{
    unsigned rights = X86_PTE_WRITE | X86_PTE_USER;

    if (!(r->cr0 & X86_CR0_PG)) {
        *out = (X86Page){ .va = va & ~0xfffull, .gpa = va & ~0xfffull, .size = 4096, .rights = rights };
        return true;
    }
    Walk w = walk_of(r, mem);
    uint64_t table = w.root, entry;

    if (w.va_bits == 32) {
        va &= 0xffffffff;
    } else if ((uint64_t)((int64_t)(va << (64 - w.va_bits)) >> (64 - w.va_bits)) != va) {
        return false;
    }
    for (unsigned l = 0; l < w.levels; l++) {
        uint64_t index = va >> w.shift[l] & ((1u << w.bits[l]) - 1);

        if (!read_entry(&w, table + index * w.entry_size, &entry)) {
            return false;
        }
        if (is_leaf(&w, l, entry, &rights)) {
            *out = page_of(&w, l, va & (~0ull << w.shift[l]), entry, rights);
            return true;
        }
        table = w.entry_size == 8 ? entry & GPA_MASK : entry & 0xfffff000;
    }
    return false;
}

typedef struct EachPage {
    unsigned *tables;          /* that may still be read */
    bool (*fn)(const X86Page *p, void *arg);
    void *arg;
} EachPage;

static bool each_below(const Walk *w, unsigned l, uint64_t table, uint64_t va, unsigned above,
                       const EachPage *each)
{
    if (*each->tables == 0) {
        return false;
    }
    --*each->tables;
    for (uint64_t i = 0; i < 1u << w->bits[l]; i++) {
        uint64_t at = entry_va(w, l, va, i), entry;
        unsigned rights = above;

        if (!read_entry(w, table + i * w->entry_size, &entry)) {
            continue;
        }
        if (is_leaf(w, l, entry, &rights)) {
            X86Page p = page_of(w, l, at, entry, rights);

            if (!each->fn(&p, each->arg)) {
                return false;
            }
        } else if (!each_below(w, l + 1, w->entry_size == 8 ? entry & GPA_MASK : entry & 0xfffff000, at,
                               rights, each)) {
            return false;
        }
    }
    return true;
}

X86Walked x86_each_page(const X86Regs *r, Space *mem, unsigned *tables,
                        bool (*fn)(const X86Page *p, void *arg), void *arg)
{
    const EachPage each = { tables, fn, arg };

    if (!(r->cr0 & X86_CR0_PG)) {
        return X86_WALK_OFF;
    }
    Walk w = walk_of(r, mem);
    bool all = each_below(&w, 0, w.root, 0, X86_PTE_WRITE | X86_PTE_USER, &each);
    return all ? X86_WALK_ALL : X86_WALK_CUT;
}
