/* gdb-break.c: breakpoints and watchpoints, see gdb-break.h.
 *
 * 1. The guest has them only while it runs: armed before, disarmed after, so whoever reads memory of a
 *    stopped machine (the debugger, a dump, a saved state) reads the guest's own.
 * 2. Debug registers go to hardware breakpoints, watchpoints and what is in ROM first; software
 *    breakpoints take what is left, since such a one changes no byte the guest could see or copy, and
 *    works in code that is not loaded yet.  The rest are INT3s. */
#include "debug/gdb-break.h"

#include <errno.h>
#include <string.h>
#include "util/bytes.h"
#include "util/trace.h"

#define INT3 0xcc
/* DR7 (SDM vol. 3, 17.2.4): bit 10 is always set, GE asks for exact data breakpoints. */
#define DR7_FIXED 0x400u
#define DR7_GE 0x200u

static GdbBreak *nth(const GdbBreaks *b, unsigned i)
{
    return &g_array_index(b->all, GdbBreak, i);
}

void gdb_breaks_init(GdbBreaks *b)
{
    *b = (GdbBreaks){ .all = g_array_new(false, true, sizeof(GdbBreak)) };
}

void gdb_breaks_clear(GdbBreaks *b)
{
    g_array_set_size(b->all, 0);
}

void gdb_breaks_free(GdbBreaks *b)
{
    g_array_unref(b->all);
    g_clear_pointer(&b->int3, g_free);
}

static int find(const GdbBreaks *b, GdbBreakKind kind, uint64_t linear, unsigned len)
{
    for (unsigned i = 0; i < b->all->len; i++) {
        const GdbBreak *k = nth(b, i);

        if (k->kind == kind && k->linear == linear && k->len == len) {
            return i;
        }
    }
    return -1;
}

static unsigned fixed_count(const GdbBreaks *b)
{
    unsigned n = 0;

    for (unsigned i = 0; i < b->all->len; i++) {
        n += nth(b, i)->fixed;
    }
    return n;
}

int gdb_break_add(GdbBreaks *b, GdbBreakKind kind, uint64_t linear, unsigned len, Gpa gpa,
                  bool fixed)
{
    bool watch = kind == GDB_WATCH_WRITE || kind == GDB_WATCH_ACCESS;
    GdbBreak new = { .kind = kind, .linear = linear, .gpa = gpa, .len = watch ? len : 1,
                     .fixed = fixed, .reg = -1 };

    if (watch && ((len != 1 && len != 2 && len != 4 && len != 8) || linear % len != 0)) {
        return -EINVAL;
    }
    if (find(b, kind, linear, new.len) >= 0) {
        return 0;
    }
    if (b->all->len == GDB_BREAKS_MAX ||
        (fixed && fixed_count(b) == GDB_DEBUG_REGISTERS)) {
        return -ENOSPC;
    }
    g_array_append_val(b->all, new);
    return 0;
}

bool gdb_break_remove(GdbBreaks *b, GdbBreakKind kind, uint64_t linear, unsigned len)
{
    bool watch = kind == GDB_WATCH_WRITE || kind == GDB_WATCH_ACCESS;
    int at = find(b, kind, linear, watch ? len : 1);

    if (at >= 0) {
        g_array_remove_index(b->all, at);
    }
    return at >= 0;
}

/* Fields R/W and LEN of debug register 0. */
static uint64_t dr7_bits(const GdbBreak *k)
{
    static const uint8_t len_code[9] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
    unsigned rw = k->kind == GDB_WATCH_WRITE ? 1 : k->kind == GDB_WATCH_ACCESS ? 3 : 0;

    return rw | len_code[k->len] << 2;
}

static bool plant(GdbBreak *k, Space *mem)
{
    static const uint8_t int3 = INT3;

    k->planted = space_read_bytes(mem, k->gpa, &k->saved, 1) == IO_OK &&
                 space_load(mem, k->gpa, &int3, 1);
    return k->planted;
}

/* One pass: those that need a register, or those that do not, get what is left. */
static void give_registers(GdbBreaks *b, bool fixed, unsigned *used)
{
    for (unsigned i = 0; i < b->all->len; i++) {
        GdbBreak *k = nth(b, i);

        if (k->fixed != fixed || *used == GDB_DEBUG_REGISTERS) {
            continue;
        }
        k->reg = (*used)++;
        b->db[k->reg] = k->linear;
        b->dr7 |= DR7_FIXED | DR7_GE | UINT64_C(2) << 2 * k->reg | dr7_bits(k) << (16 + 4 * k->reg);
    }
}

void gdb_breaks_arm(GdbBreaks *b, Space *mem)
{
    unsigned used = 0;

    if (b->armed) {
        return;
    }
    b->armed = true;
    b->dr7 = 0;
    b->int3_count = 0;
    memset(b->db, 0, sizeof(b->db));
    g_free(b->int3);
    b->int3 = g_new0(CpuInt3, MAX(b->all->len, 1));
    for (unsigned i = 0; i < b->all->len; i++) {
        nth(b, i)->reg = -1;
        nth(b, i)->planted = false;
    }
    give_registers(b, true, &used);
    give_registers(b, false, &used);
    for (unsigned i = 0; i < b->all->len; i++) {
        GdbBreak *k = nth(b, i);

        if (k->reg < 0 && plant(k, mem)) {
            b->int3[b->int3_count++] = (CpuInt3){ k->linear, k->gpa };
        }
    }
    TRACE(gdb_break_arm, "all=%u int3=%u dr7=0x%" PRIx64, b->all->len, b->int3_count, b->dr7);
}

void gdb_breaks_disarm(GdbBreaks *b, Space *mem)
{
    if (!b->armed) {
        return;
    }
    b->armed = false;
    for (unsigned i = b->all->len; i-- > 0;) {         /* backwards: two may share a byte */
        GdbBreak *k = nth(b, i);
        uint8_t now;

        /* What the guest wrote over it meanwhile stays. */
        if (k->planted && space_read_bytes(mem, k->gpa, &now, 1) == IO_OK && now == INT3) {
            space_load(mem, k->gpa, &k->saved, 1);
        }
        k->planted = false;
    }
    b->int3_count = 0;
}

const GdbBreak *gdb_break_hit(const GdbBreaks *b, const CpuStop *s)
{
    for (unsigned i = 0; i < b->all->len; i++) {
        const GdbBreak *k = nth(b, i);

        if (s->int3 ? k->reg < 0 && k->kind == GDB_BREAK_SOFT && k->linear == s->pc
                    : k->reg >= 0 && s->dr6 >> k->reg & 1) {
            return k;
        }
    }
    return NULL;
}
