/* hmp-cpu.c: a vCPU's registers and its local APIC for people (Intel SDM). */
#include <string.h>
#include "core/accel.h"
#include "monitor/hmp-int.h"
#include "util/bytes.h"

static bool regs_of(unsigned index, X86Regs *out)
{
    return accel() != NULL && accel()->vcpu_regs != NULL && accel()->vcpu_regs(index, out);
}

bool hmp_try_regs(Hmp *h, X86Regs *out)
{
    return regs_of(h->state->cpu, out);
}

bool hmp_regs(Hmp *h, X86Regs *out)
{
    if (!hmp_try_regs(h, out)) {
        hmp_printf(h, "No CPU available\n");
        return false;
    }
    return true;
}

/* --- by name, for expressions --- */

static const char *const gpr_names[16] = {
    "ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
};
static const char *const seg_names[X86_SEGMENTS] = { "es", "cs", "ss", "ds", "fs", "gs" };

typedef struct NamedReg {
    const char *name;
    size_t at;
} NamedReg;

static const NamedReg named[] = {
    { "pc", offsetof(X86Regs, rip) }, { "eip", offsetof(X86Regs, rip) }, { "rip", offsetof(X86Regs, rip) },
    { "eflags", offsetof(X86Regs, rflags) }, { "rflags", offsetof(X86Regs, rflags) },
    { "cr0", offsetof(X86Regs, cr0) }, { "cr2", offsetof(X86Regs, cr2) }, { "cr3", offsetof(X86Regs, cr3) },
    { "cr4", offsetof(X86Regs, cr4) }, { "cr8", offsetof(X86Regs, cr8) }, { "efer", offsetof(X86Regs, efer) },
};

/* "eax", "rax", "r8": all of the register; -1: none. */
static int gpr_index(const char *name)
{
    for (int i = 0; i < 16; i++) {
        if (strcmp(name, gpr_names[i]) == 0 ? i >= 8 :
            i < 8 && (name[0] == 'e' || name[0] == 'r') && strcmp(name + 1, gpr_names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

bool hmp_register(const X86Regs *r, const char *name, uint64_t *value)
{
    int gpr = gpr_index(name);

    if (gpr >= 0) {
        *value = r->gpr[gpr];
        return true;
    }
    for (unsigned i = 0; i < X86_SEGMENTS; i++) {
        if (g_str_has_prefix(name, seg_names[i]) && (name[2] == '\0' || strcmp(name + 2, ".base") == 0)) {
            *value = name[2] == '\0' ? r->seg[i].selector : r->seg[i].base;
            return true;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(named); i++) {
        if (strcmp(name, named[i].name) == 0) {
            memcpy(value, (const uint8_t *)r + named[i].at, sizeof(*value));
            return true;
        }
    }
    return false;
}

void hmp_each_register(void (*fn)(const char *name, void *arg), void *arg)
{
    char text[16];

    for (unsigned i = 0; i < 16; i++) {
        if (i < 8) {
            g_snprintf(text, sizeof(text), "e%s", gpr_names[i]);
            fn(text, arg);
            g_snprintf(text, sizeof(text), "r%s", gpr_names[i]);
        }
        fn(i < 8 ? text : gpr_names[i], arg);
    }
    for (unsigned i = 0; i < X86_SEGMENTS; i++) {
        fn(seg_names[i], arg);
        g_snprintf(text, sizeof(text), "%s.base", seg_names[i]);
        fn(text, arg);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(named); i++) {
        fn(named[i].name, arg);
    }
}

/* --- info registers --- */

/* What a segment is, by its flags (SDM vol. 3, 3.4.5 and 3.5). */
static void print_segment_kind(Hmp *h, const X86Segment *s, bool long_mode)
{
    static const char *const kinds[2][16] = {
        { "Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16",
          "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32",
          "TrapGate32" },
        { "Reserved", "Reserved", "LDT", "Reserved", "Reserved", "Reserved", "Reserved", "Reserved",
          "Reserved", "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64", "Reserved", "IntGate64",
          "TrapGate64" },
    };
    unsigned type = s->flags >> 8 & 15;

    hmp_printf(h, " DPL=%u ", s->flags >> 13 & 3);
    if (!(s->flags & (1u << 12))) {
        hmp_printf(h, "%s", kinds[long_mode][type]);
    } else if (type & 8) {
        hmp_printf(h, "%s [%c%c", s->flags & (1u << 21) ? "CS64" : s->flags & (1u << 22) ? "CS32" : "CS16",
                   type & 4 ? 'C' : '-', type & 2 ? 'R' : '-');
    } else {
        hmp_printf(h, "%s [%c%c", s->flags & (1u << 22) || long_mode ? "DS  " : "DS16", type & 4 ? 'E' : '-',
                   type & 2 ? 'W' : '-');
    }
    if (s->flags & (1u << 12)) {
        hmp_printf(h, "%c]", type & 1 ? 'A' : '-');
    }
}

static void print_segment(Hmp *h, const char *name, const X86Segment *s, const X86Regs *r)
{
    bool wide = r->efer & X86_EFER_LMA;

    hmp_printf(h, "%-3s=%04x %0*" PRIx64 " %08x %08x", name, s->selector, wide ? 16 : 8, s->base, s->limit,
               s->flags);
    if ((r->cr0 & X86_CR0_PE) && (s->flags & (1u << 15))) {
        print_segment_kind(h, s, wide);
    }
    hmp_printf(h, "\n");
}

static void print_flags(Hmp *h, const X86Regs *r)
{
    static const struct { unsigned bit; char letter; } bits[] = {
        { 10, 'D' }, { 11, 'O' }, { 7, 'S' }, { 6, 'Z' }, { 4, 'A' }, { 2, 'P' }, { 0, 'C' },
    };
    char text[8] = "";
    unsigned cpl = r->cr0 & X86_CR0_PE ? r->seg[X86_SS].flags >> 13 & 3 : 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++) {
        text[i] = r->rflags >> bits[i].bit & 1 ? bits[i].letter : '-';
    }
    hmp_printf(h, "[%s] CPL=%u II=0 A20=1 SMM=%d HLT=%d\n", text, cpl, r->smm, r->halted);
}

static void print_general(Hmp *h, const X86Regs *r)
{
    static const uint8_t order[16] = { X86_RAX, X86_RBX, X86_RCX, X86_RDX, X86_RSI, X86_RDI, X86_RBP, X86_RSP,
                                       8, 9, 10, 11, 12, 13, 14, 15 };
    bool wide = r->efer & X86_EFER_LMA;

    for (unsigned i = 0; i < (wide ? 16 : 8); i++) {
        g_autofree char *name = g_ascii_strup(gpr_names[order[i]], -1);

        if (i < 8) {
            hmp_printf(h, "%c%s=", wide ? 'R' : 'E', name);
        } else {
            hmp_printf(h, "%-3s=", name);
        }
        hmp_printf(h, "%0*" PRIx64 "%c", wide ? 16 : 8,
                   wide ? r->gpr[order[i]] : r->gpr[order[i]] & 0xffffffff, i % 4 == 3 ? '\n' : ' ');
    }
    hmp_printf(h, wide ? "RIP=%016" PRIx64 " RFL=%08x " : "EIP=%08" PRIx64 " EFL=%08x ", r->rip,
               (unsigned)r->rflags);
    print_flags(h, r);
}

static void print_system(Hmp *h, const X86Regs *r)
{
    static const char *const names[X86_SEGMENTS] = { "ES", "CS", "SS", "DS", "FS", "GS" };
    int width = r->efer & X86_EFER_LMA ? 16 : 8;

    for (unsigned i = 0; i < X86_SEGMENTS; i++) {
        print_segment(h, names[i], &r->seg[i], r);
    }
    print_segment(h, "LDT", &r->ldt, r);
    print_segment(h, "TR", &r->tr, r);
    hmp_printf(h, "GDT=     %0*" PRIx64 " %08x\nIDT=     %0*" PRIx64 " %08x\n", width, r->gdt_base,
               r->gdt_limit, width, r->idt_base, r->idt_limit);
    hmp_printf(h, "CR0=%08x CR2=%0*" PRIx64 " CR3=%0*" PRIx64 " CR4=%08x\n", (unsigned)r->cr0, width, r->cr2,
               width, r->cr3, (unsigned)r->cr4);
    for (unsigned i = 0; i < 4; i++) {
        hmp_printf(h, "DR%u=%016" PRIx64 " ", i, r->dr[i]);
    }
    hmp_printf(h, "\nDR6=%016" PRIx64 " DR7=%016" PRIx64 "\nEFER=%016" PRIx64 "\n", r->dr[6], r->dr[7],
               r->efer);
}

static void print_float(Hmp *h, const X86Regs *r)
{
    unsigned count = r->efer & X86_EFER_LMA ? 16 : 8;

    hmp_printf(h, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", r->fcw, r->fsw, r->fsw >> 11 & 7, r->ftw,
               r->mxcsr);
    for (unsigned i = 0; i < 8; i++) {
        hmp_printf(h, "FPR%u=%016" PRIx64 " %04x%c", i, ld64(r->st[i]), ld16(r->st[i] + 8),
                   i % 2 == 1 ? '\n' : ' ');
    }
    for (unsigned i = 0; i < count; i++) {
        hmp_printf(h, "XMM%02u=%016" PRIx64 " %016" PRIx64 "%c", i, ld64(r->xmm[i] + 8), ld64(r->xmm[i]),
                   i % 2 == 1 ? '\n' : ' ');
    }
}

static bool print_registers(Hmp *h, unsigned index)
{
    X86Regs r;

    if (!regs_of(index, &r)) {
        return false;
    }
    hmp_printf(h, "\nCPU#%u\n", index);
    print_general(h, &r);
    print_system(h, &r);
    print_float(h, &r);
    return true;
}

HMP_RUN(hmp_info_registers)
{
    int64_t index = hmp_int(a, "vcpu", h->state->cpu);

    if (hmp_flag(a, "cpustate_all")) {
        for (unsigned i = 0; print_registers(h, i); i++) {
        }
    } else if (index < 0 || index > INT32_MAX || !print_registers(h, index)) {
        hmp_printf(h, "CPU#%" PRId64 " not available\n", index);
    }
}

/* --- info lapic --- */

static uint32_t lapic_reg(const uint8_t *page, unsigned off)
{
    return ld32(page + off);
}

static void print_lvt(Hmp *h, const char *name, uint32_t v, bool timer)
{
    static const char *const modes[] = { "Fixed", "LowPri", "SMI", "...", "NMI", "INIT", "SIPI", "ExtINT" };
    static const char *const timers[] = { "one-shot", "periodic", "tsc-deadline", "reserved" };
    unsigned mode = timer ? 0 : v >> 8 & 7;

    hmp_printf(h, "%s\t 0x%08x %s %-5s %-6s %-7s %-12s %-6s", name, v,
               v & (1u << 13) ? "active-lo" : "active-hi", v & (1u << 15) ? "level" : "edge",
               v & (1u << 16) ? "masked" : "", v & (1u << 12) ? "pending" : "",
               timer ? timers[v >> 17 & 3] : "", modes[mode]);
    if (mode != 2 && mode != 4 && mode != 5) {
        hmp_printf(h, " (vec %u)", v & 0xff);
    }
    hmp_printf(h, "\n");
}

/* The vectors whose bits are set in the eight registers from @off on. */
static void print_vectors(Hmp *h, const char *name, const uint8_t *page, unsigned off)
{
    bool any = false;

    hmp_printf(h, "%s\t", name);
    for (unsigned v = 0; v < 256; v++) {
        if (lapic_reg(page, off + v / 32 * 16) >> (v % 32) & 1) {
            hmp_printf(h, " %u%s", v, lapic_reg(page, 0x180 + v / 32 * 16) >> (v % 32) & 1 ? "(level)" : "");
            any = true;
        }
    }
    hmp_printf(h, "%s\n", any ? "" : " (none)");
}

static void print_icr(Hmp *h, const uint8_t *page)
{
    static const char *const shorthands[] = { "no-shorthand", "self", "all-self", "all" };
    uint32_t icr = lapic_reg(page, 0x300), high = lapic_reg(page, 0x310);
    unsigned shorthand = icr >> 18 & 3;

    hmp_printf(h, "ICR\t 0x%08x %s %s %s %s\nICR2\t 0x%08x", icr, icr & (1u << 11) ? "logical" : "physical",
               icr & (1u << 15) ? "level" : "edge", icr & (1u << 14) ? "assert" : "de-assert",
               shorthands[shorthand], high);
    if (shorthand == 0) {
        hmp_printf(h, " cpu %u", high >> 24);
    }
    hmp_printf(h, "\n");
}

static void print_lapic(Hmp *h, unsigned index, const uint8_t *page)
{
    static const struct { const char *name; unsigned off; } lvts[] = {
        { "LVT0", 0x350 }, { "LVT1", 0x360 }, { "LVTPC", 0x340 }, { "LVTERR", 0x370 }, { "LVTTHMR", 0x330 },
    };
    uint32_t dcr = lapic_reg(page, 0x3e0), spiv = lapic_reg(page, 0xf0);
    unsigned shift = (dcr & 3) | (dcr >> 1 & 4);

    hmp_printf(h, "dumping local APIC state for CPU %-2u\n\n", index);
    for (unsigned i = 0; i < G_N_ELEMENTS(lvts); i++) {
        print_lvt(h, lvts[i].name, lapic_reg(page, lvts[i].off), false);
    }
    print_lvt(h, "LVTT", lapic_reg(page, 0x320), true);
    hmp_printf(h, "Timer\t DCR=0x%x (divide by %u) initial_count = %u current_count = %u\n", dcr & 0xb,
               shift == 7 ? 1 : 2u << shift, lapic_reg(page, 0x380), lapic_reg(page, 0x390));
    hmp_printf(h, "SPIV\t 0x%08x APIC %s, focus=%s, spurious vec %u\n", spiv,
               spiv & 0x100 ? "enabled" : "disabled", spiv & 0x200 ? "on" : "off", spiv & 0xff);
    print_icr(h, page);
    hmp_printf(h, "ESR\t 0x%08x\n", lapic_reg(page, 0x280));
    print_vectors(h, "ISR", page, 0x100);
    print_vectors(h, "IRR", page, 0x200);
    hmp_printf(h, "\nAPR 0x%02x TPR 0x%02x DFR 0x%02x LDR 0x%02x PPR 0x%02x\n", lapic_reg(page, 0x90) & 0xff,
               lapic_reg(page, 0x80) & 0xff, lapic_reg(page, 0xe0) >> 28, lapic_reg(page, 0xd0) >> 24,
               lapic_reg(page, 0xa0) & 0xff);
}

HMP_RUN(hmp_info_pic)
{
    static const char *const modes[] = { "fixed", "lowest", "SMI", "mode 3",
                                         "NMI", "INIT", "mode 6", "ExtINT" };
    IrqChips c;

    if (accel()->irq_chips == NULL || !accel()->irq_chips(&c)) {
        hmp_printf(h, "No interrupt controllers available\n");
        return;
    }
    hmp_printf(h, "ioapic0: id=0x%02x\n", c.ioapic_id >> 24 & 0xf);
    for (unsigned i = 0; i < G_N_ELEMENTS(c.rte); i++) {         /* 82093AA, 3.2.4 */
        uint64_t r = c.rte[i];

        hmp_printf(h, "  pin %-2u 0x%016" PRIx64 " dest=%u vec=%-3u active-%s %-5s %s %s %s%s%s\n", i, r,
                   (unsigned)(r >> 56), (unsigned)(r & 0xff), r >> 13 & 1 ? "lo" : "hi",
                   r >> 15 & 1 ? "level" : "edge", r >> 16 & 1 ? "masked" : "enabled", modes[r >> 8 & 7],
                   r >> 11 & 1 ? "logical" : "physical", r >> 12 & 1 ? " pending" : "",
                   r >> 14 & 1 ? " remote-irr" : "");
    }
    for (unsigned i = 2; i-- > 0;) {
        hmp_printf(h, "pic%u: irr=%02x imr=%02x isr=%02x irq_base=%02x elcr=%02x\n", i, c.pic[i].irr,
                   c.pic[i].imr, c.pic[i].isr, c.pic[i].base, c.pic[i].elcr);
    }
}

HMP_RUN(hmp_info_lapic)
{
    uint8_t page[1024];
    int64_t apic_id;
    unsigned count = accel() != NULL && accel()->vcpu_count ? accel()->vcpu_count() : 0;
    unsigned index = h->state->cpu;

    if (hmp_num(a, "apic-id", &apic_id)) {
        for (index = 0; index < count && accel()->vcpu_apic_id(index) != apic_id; index++) {
        }
    }
    if (index >= count || accel()->vcpu_lapic == NULL || !accel()->vcpu_lapic(index, page)) {
        hmp_printf(h, "No CPU available\n");
        return;
    }
    print_lapic(h, index, page);
}
