/* gdb-regs.c: GDB's view of x86 registers, see gdb-regs.h.
 *
 * 1. The tables are in GDB's order: their index is the register's number.  The features
 *    org.gnu.gdb.i386.core, .sse and .segments are GDB's; the control registers are a feature of ours,
 *    which GDB shows as it finds it.
 * 2. Values are those of the mode described to GDB: a 32-bit one has the low halves. */
#include "debug/gdb-regs.h"

#include <string.h>
#include "util/bytes.h"

typedef enum Kind {
    KIND_GPR, KIND_RIP, KIND_FLAGS, KIND_SELECTOR, KIND_ST, KIND_FPU, KIND_XMM, KIND_MXCSR, KIND_BASE,
    KIND_KERNEL_GS, KIND_CR0, KIND_CR2, KIND_CR3, KIND_CR4, KIND_CR8, KIND_EFER,
} Kind;
enum { FPU_CTRL, FPU_STAT, FPU_TAG, FPU_ISEG, FPU_IOFF, FPU_OSEG, FPU_OOFF, FPU_OP };

typedef struct GdbReg {
    const char *name, *type;
    uint8_t bytes;
    uint8_t kind, index;
} GdbReg;

#define G64(name, i) { name, "int64", 8, KIND_GPR, i }
#define G32(name, i) { name, "int32", 4, KIND_GPR, i }
#define SEL(name, i) { name, "int32", 4, KIND_SELECTOR, i }
#define FPU(name, i) { name, "int", 4, KIND_FPU, i }
#define ST(i) { "st" #i, "i387_ext", 10, KIND_ST, i }
#define XMM(i) { "xmm" #i, "vec128", 16, KIND_XMM, i }
#define SELECTORS SEL("cs", X86_CS), SEL("ss", X86_SS), SEL("ds", X86_DS), SEL("es", X86_ES), \
                  SEL("fs", X86_FS), SEL("gs", X86_GS)
#define X87 ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7), FPU("fctrl", FPU_CTRL), \
            FPU("fstat", FPU_STAT), FPU("ftag", FPU_TAG), FPU("fiseg", FPU_ISEG), \
            FPU("fioff", FPU_IOFF), FPU("foseg", FPU_OSEG), FPU("fooff", FPU_OOFF), FPU("fop", FPU_OP)
#define XMM_LOW XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7)
#define MXCSR { "mxcsr", "i386_mxcsr", 4, KIND_MXCSR, 0 }

static const GdbReg regs64[] = {
    G64("rax", X86_RAX), G64("rbx", X86_RBX), G64("rcx", X86_RCX), G64("rdx", X86_RDX),
    G64("rsi", X86_RSI), G64("rdi", X86_RDI), { "rbp", "data_ptr", 8, KIND_GPR, X86_RBP },
    { "rsp", "data_ptr", 8, KIND_GPR, X86_RSP }, G64("r8", 8), G64("r9", 9), G64("r10", 10),
    G64("r11", 11), G64("r12", 12), G64("r13", 13), G64("r14", 14), G64("r15", 15),
    { "rip", "code_ptr", 8, KIND_RIP, 0 }, { "eflags", "i386_eflags", 4, KIND_FLAGS, 0 },
    SELECTORS, X87,
    XMM_LOW, XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15), MXCSR,
    { "fs_base", "int64", 8, KIND_BASE, X86_FS }, { "gs_base", "int64", 8, KIND_BASE, X86_GS },
    { "k_gs_base", "int64", 8, KIND_KERNEL_GS, 0 }, { "cr0", "int64", 8, KIND_CR0, 0 },
    { "cr2", "data_ptr", 8, KIND_CR2, 0 }, { "cr3", "int64", 8, KIND_CR3, 0 },
    { "cr4", "int64", 8, KIND_CR4, 0 }, { "cr8", "int64", 8, KIND_CR8, 0 },
    { "efer", "int64", 8, KIND_EFER, 0 },
};

static const GdbReg regs32[] = {
    G32("eax", X86_RAX), G32("ecx", X86_RCX), G32("edx", X86_RDX), G32("ebx", X86_RBX),
    { "esp", "data_ptr", 4, KIND_GPR, X86_RSP }, { "ebp", "data_ptr", 4, KIND_GPR, X86_RBP },
    G32("esi", X86_RSI), G32("edi", X86_RDI), { "eip", "code_ptr", 4, KIND_RIP, 0 },
    { "eflags", "i386_eflags", 4, KIND_FLAGS, 0 }, SELECTORS, X87, XMM_LOW, MXCSR,
    { "cr0", "int32", 4, KIND_CR0, 0 }, { "cr2", "data_ptr", 4, KIND_CR2, 0 },
    { "cr3", "int32", 4, KIND_CR3, 0 }, { "cr4", "int32", 4, KIND_CR4, 0 },
};

static const GdbReg *reg_of(GdbWidth w, unsigned n)
{
    return n >= gdb_regs_count(w) ? NULL : w == GDB_64 ? &regs64[n] : &regs32[n];
}

unsigned gdb_regs_count(GdbWidth w)
{
    return w == GDB_64 ? ARRAY_LEN(regs64) : ARRAY_LEN(regs32);
}

GdbWidth gdb_width_of(const X86Regs *r)
{
    return r->efer & X86_EFER_LMA || !(r->cr0 & X86_CR0_PE) || r->kernel64 ? GDB_64 : GDB_32;
}

/* --- description --- */

static const char *feature_of(const GdbReg *g)
{
    return g->kind < KIND_XMM ? "org.gnu.gdb.i386.core" : g->kind < KIND_BASE ? "org.gnu.gdb.i386.sse"
         : g->kind == KIND_BASE ? "org.gnu.gdb.i386.segments" : "org.rhea.i386.control";
}

/* What registers of a feature are made of, beyond GDB's own types. */
static const char flags_type[] =
    "<flags id=\"i386_eflags\" size=\"4\">"
    "<field name=\"\" start=\"22\" end=\"31\"/><field name=\"CF\" start=\"0\" end=\"0\"/>"
    "<field name=\"\" start=\"1\" end=\"1\"/><field name=\"PF\" start=\"2\" end=\"2\"/>"
    "<field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/>"
    "<field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" end=\"8\"/>"
    "<field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/>"
    "<field name=\"OF\" start=\"11\" end=\"11\"/><field name=\"NT\" start=\"14\" end=\"14\"/>"
    "<field name=\"RF\" start=\"16\" end=\"16\"/><field name=\"VM\" start=\"17\" end=\"17\"/>"
    "<field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"VIF\" start=\"19\" end=\"19\"/>"
    "<field name=\"VIP\" start=\"20\" end=\"20\"/><field name=\"ID\" start=\"21\" end=\"21\"/></flags>\n";
static const char sse_types[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>\n"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
    "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
    "<field name=\"uint128\" type=\"uint128\"/></union>\n"
    "<flags id=\"i386_mxcsr\" size=\"4\"><field name=\"IE\" start=\"0\" end=\"0\"/>"
    "<field name=\"DE\" start=\"1\" end=\"1\"/><field name=\"ZE\" start=\"2\" end=\"2\"/>"
    "<field name=\"OE\" start=\"3\" end=\"3\"/><field name=\"UE\" start=\"4\" end=\"4\"/>"
    "<field name=\"PE\" start=\"5\" end=\"5\"/><field name=\"DAZ\" start=\"6\" end=\"6\"/>"
    "<field name=\"IM\" start=\"7\" end=\"7\"/><field name=\"DM\" start=\"8\" end=\"8\"/>"
    "<field name=\"ZM\" start=\"9\" end=\"9\"/><field name=\"OM\" start=\"10\" end=\"10\"/>"
    "<field name=\"UM\" start=\"11\" end=\"11\"/><field name=\"PM\" start=\"12\" end=\"12\"/>"
    "<field name=\"FZ\" start=\"15\" end=\"15\"/></flags>\n";

char *gdb_regs_xml(GdbWidth w)
{
    GString *x = g_string_new("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n");
    const char *feature = NULL;

    g_string_append_printf(x, "<target version=\"1.0\">\n<architecture>%s</architecture>\n",
                           w == GDB_64 ? "i386:x86-64" : "i386");
    for (unsigned i = 0; i < gdb_regs_count(w); i++) {
        const GdbReg *g = reg_of(w, i);

        if (!feature || strcmp(feature, feature_of(g)) != 0) {
            g_string_append_printf(x, "%s<feature name=\"%s\">\n", feature ? "</feature>\n" : "",
                                   feature_of(g));
            g_string_append(x, i == 0 ? flags_type : g->kind == KIND_XMM ? sse_types : "");
            feature = feature_of(g);
        }
        g_string_append_printf(x, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"", g->name, g->bytes * 8u,
                               g->type);
        g_string_append_printf(x, "%s/>\n", g->kind == KIND_FPU ? " group=\"float\"" : "");
    }
    g_string_append(x, "</feature>\n</target>\n");
    return g_string_free(x, false);
}

/* --- the x87 tag word: two bits a register by number, from the bit a register of FXSAVE --- */

static unsigned tag_of(const uint8_t *st)
{
    unsigned exponent = ld16(st + 8) & 0x7fff;
    uint64_t mantissa = ld64(st);

    if (exponent == 0 && mantissa == 0) {
        return 1;
    }
    return exponent == 0 || exponent == 0x7fff || !(mantissa >> 63) ? 2 : 0;
}

static uint16_t full_tags(const X86Regs *r)
{
    unsigned top = r->fsw >> 11 & 7, tags = 0;

    for (unsigned i = 0; i < 8; i++) {
        unsigned tag = r->ftw >> i & 1 ? tag_of(r->st[(i + 8 - top) & 7]) : 3;

        tags |= tag << 2 * i;
    }
    return tags;
}

static uint8_t short_tags(uint16_t full)
{
    unsigned tags = 0;

    for (unsigned i = 0; i < 8; i++) {
        tags |= (full >> 2 * i & 3) != 3 ? 1u << i : 0;
    }
    return tags;
}

static uint32_t fpu_get(const X86Regs *r, unsigned which)
{
    switch (which) {
    case FPU_CTRL:
        return r->fcw;
    case FPU_STAT:
        return r->fsw;
    case FPU_TAG:
        return full_tags(r);
    case FPU_ISEG:
        return r->fip >> 32 & 0xffff;
    case FPU_IOFF:
        return r->fip;
    case FPU_OSEG:
        return r->fdp >> 32 & 0xffff;
    case FPU_OOFF:
        return r->fdp;
    default:
        return r->fop & 0x7ff;
    }
}

static void fpu_set(X86Regs *r, unsigned which, uint32_t v)
{
    switch (which) {
    case FPU_CTRL:
        r->fcw = v;
        break;
    case FPU_STAT:
        r->fsw = v;
        break;
    case FPU_TAG:
        r->ftw = short_tags(v);
        break;
    case FPU_ISEG:
        r->fip = (r->fip & 0xffffffff) | (uint64_t)(v & 0xffff) << 32;
        break;
    case FPU_IOFF:
        r->fip = (r->fip & ~UINT64_C(0xffffffff)) | v;
        break;
    case FPU_OSEG:
        r->fdp = (r->fdp & 0xffffffff) | (uint64_t)(v & 0xffff) << 32;
        break;
    case FPU_OOFF:
        r->fdp = (r->fdp & ~UINT64_C(0xffffffff)) | v;
        break;
    default:
        r->fop = v & 0x7ff;
    }
}

/* --- values --- */

/* The 64-bit field a register is, or NULL. */
static uint64_t *field_of(X86Regs *r, const GdbReg *g)
{
    switch (g->kind) {
    case KIND_GPR:
        return &r->gpr[g->index];
    case KIND_RIP:
        return &r->rip;
    case KIND_FLAGS:
        return &r->rflags;
    case KIND_BASE:
        return &r->seg[g->index].base;
    case KIND_KERNEL_GS:
        return &r->kernel_gs_base;
    case KIND_CR0:
        return &r->cr0;
    case KIND_CR2:
        return &r->cr2;
    case KIND_CR3:
        return &r->cr3;
    case KIND_CR4:
        return &r->cr4;
    case KIND_CR8:
        return &r->cr8;
    case KIND_EFER:
        return &r->efer;
    default:
        return NULL;
    }
}

unsigned gdb_reg_get(GdbWidth w, unsigned n, const X86Regs *r, uint8_t out[GDB_REG_BYTES])
{
    const GdbReg *g = reg_of(w, n);
    const uint64_t *field = g ? field_of((X86Regs *)r, g) : NULL;

    if (!g) {
        return 0;
    }
    memset(out, 0, GDB_REG_BYTES);
    if (field) {
        st64(out, *field);
    } else if (g->kind == KIND_ST) {
        memcpy(out, r->st[g->index], 10);
    } else if (g->kind == KIND_XMM) {
        memcpy(out, r->xmm[g->index], 16);
    } else {
        st32(out, g->kind == KIND_SELECTOR ? r->seg[g->index].selector
                  : g->kind == KIND_MXCSR ? r->mxcsr : fpu_get(r, g->index));
    }
    return g->bytes;
}

/* In protected mode a selector stands for a descriptor, which is not loaded here. */
static bool selector_set(X86Regs *r, unsigned which, uint32_t v)
{
    X86Segment *s = &r->seg[which];

    if (v == s->selector) {
        return true;
    }
    if (v > 0xffff || r->cr0 & X86_CR0_PE) {
        return false;
    }
    s->selector = v;
    s->base = (uint64_t)v << 4;
    return true;
}

bool gdb_reg_set(GdbWidth w, unsigned n, X86Regs *r, const uint8_t in[GDB_REG_BYTES])
{
    const GdbReg *g = reg_of(w, n);
    uint64_t *field = g ? field_of(r, g) : NULL;

    if (!g) {
        return false;
    }
    if (field && g->bytes == 8) {
        *field = ld64(in);
    } else if (field) {
        /* A 32-bit view knows the low half; another value there makes the upper one meaningless. */
        *field = (uint32_t)*field == ld32(in) ? *field : ld32(in);
    } else if (g->kind == KIND_ST) {
        memcpy(r->st[g->index], in, 10);
    } else if (g->kind == KIND_XMM) {
        memcpy(r->xmm[g->index], in, 16);
    } else if (g->kind == KIND_SELECTOR) {
        return selector_set(r, g->index, ld32(in));
    } else if (g->kind == KIND_MXCSR) {
        r->mxcsr = ld32(in);
    } else {
        fpu_set(r, g->index, ld32(in));
    }
    return true;
}
